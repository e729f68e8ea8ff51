"""The charts of docs/bench.md, as SVG by hand."""

import math
from xml.sax.saxutils import escape

from bench_page import LINUXES, OPERATIONS, PEER, USUAL
from headline_chart import COLOURS, DASHES, INK, spread

LINUX_COLOURS = {"linux-6.1-64k": "#b8860b", "linux-6.12-64k": "#8e6bbf", "linux-6.12-4k": "#d1495b"}
ROW, TOP, RIGHT, WIDTH = 21, 64, 60, 960
# The width of a letter of the usual size, no font's is more on the average.
LETTER = 6.3
# What the second chart shows: (row, what is counted, title).
PANELS = (("exit_lazy", "ns", "exit, the other CPUs idle on its mm"), ("exit_parked", "ns", "exit_group, a thread parked on each CPU"),
          ("membarrier_busy", "ns", "membarrier, the other CPUs busy"), ("exit_lazy", "ipis", "IPIs of that exit"),
          ("exit_parked", "ipis", "IPIs of that exit_group"), ("pipe_2cpus", "ns", "pipe round trip, two CPUs through idle"))
PANEL, HEIGHT, MARGIN = 412, 250, (56, 116, 40, 36)
COLUMNS = 3


def head(width, height, title):
    return [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'font-family="sans-serif" font-size="12" fill="{INK}">', f"<title>{escape(title)}</title>"]


def words(x, y, text, anchor="start", colour=INK, more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{more}>{escape(text)}</text>'


def short(number):
    """A count in few letters."""
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:.3g} {letter}"
    return f"{number:.3g}"


def beside_linux(figures):
    """A row per operation, on a scale of powers of ten: this kernel and Linux."""
    rows = [(text, {on: figures.value(on, cpus, name) for on in (USUAL, *LINUXES)}) for name, (text, cpus, _) in OPERATIONS.items()]
    rows = [(text, {on: value for on, value in values.items() if value}) for text, values in rows if values[USUAL]]
    every = [value for _, values in rows for value in values.values()] or [1, 10]
    low, high = (10 ** round_(math.log10(bound)) for round_, bound in ((math.floor, min(every)), (math.ceil, max(every))))
    left = 20 + LETTER * max((len(text) for text, _ in rows), default=0)
    x = lambda value: left + math.log(value / low) / math.log(high / low) * (WIDTH - left - RIGHT)
    height = TOP + ROW * len(rows) + 14
    out = head(WIDTH, height, "Instructions per operation, beside Linux")
    out.append(words(12, 22, "Instructions per operation, all CPUs together", more=' font-size="14" font-weight="600"'))
    colours = {USUAL: COLOURS[USUAL], **LINUX_COLOURS}
    at = 12
    for on in (on for on in colours if any(on in values for _, values in rows)):
        name = LINUXES.get(on, f"this kernel, {on}")
        out += [f'<circle cx="{at + 5}" cy="38" r="5" fill="{colours[on]}"/>', words(at + 15, 42, name)]
        at += 40 + 7 * len(name)
    tick = low
    while tick <= high:
        out += [f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{TOP - 2}" y2="{height - 8}" stroke="{INK}" stroke-opacity=".3"/>',
                words(x(tick), TOP - 6, short(tick), "middle")]
        tick *= 10
    for number, (text, values) in enumerate(rows):
        y = TOP + ROW * number + ROW / 2
        out.append(words(left - 12, y + 4, text, "end"))
        ends = min(values.values()), max(values.values())
        out.append(f'<line x1="{x(ends[0]):.1f}" x2="{x(ends[1]):.1f}" y1="{y}" y2="{y}" stroke="{INK}" stroke-opacity=".6"/>')
        out += [f'<circle cx="{x(value):.1f}" cy="{y}" r="{5 if on == USUAL else 4}" fill="{colours[on]}"/>'
                for on, value in reversed(values.items())]
        if PEER in values:
            out.append(words(WIDTH - 8, y + 4, f"× {values[PEER] / values[USUAL]:.1f}", "end"))
    if any(PEER in values for _, values in rows):
        out.append(words(WIDTH - 8, TOP - 26, f"{LINUXES[PEER]} / this kernel", "end"))
    return "\n".join([*out, "</svg>", ""])


def policy_curves(figures, name, what):
    """One operation by the number of CPUs: {policy: [(CPUs, count)]}."""
    curves = {on: [(cpus, figures.value(on, cpus, name, what)) for cpus in figures.cpus(on)] for on in COLOURS}
    curves = {on: [point for point in points if point[1] is not None] for on, points in curves.items()}
    return {on: points for on, points in curves.items() if points}


def panel(title, curves, axis="CPUs", looks=None, ticks=None):
    """A line per curve of {name: [(number, count)]}, its name at its end; `looks` are {name: (colour, dashes)}.

    The numbers are placed side by side, or with `ticks` on a scale where these are named.
    """
    left, right, top, bottom = MARGIN
    looks = looks or {on: (COLOURS[on], DASHES[on]) for on in curves}
    out = [words(left, 22, title, more=' font-size="13" font-weight="600"')]
    if not curves:
        return out
    every = ticks or sorted({cpus for points in curves.values() for cpus, _ in points})
    highest = max(value for points in curves.values() for _, value in points) or 1
    step = next(step for step in (m * 10 ** e for e in range(-2, 9) for m in (1, 2, 5)) if highest / step <= 4)
    top_value = step * math.ceil(highest / step)
    share = (lambda cpus: cpus / every[-1]) if ticks else (lambda cpus: every.index(cpus) / max(len(every) - 1, 1))
    x = lambda cpus: left + share(cpus) * (PANEL - left - right)
    y = lambda value: HEIGHT - bottom - value / top_value * (HEIGHT - top - bottom)
    for value in (step * number for number in range(round(top_value / step) + 1)):
        out += [f'<line x1="{left}" x2="{PANEL - right}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="{INK}" stroke-opacity=".3"/>',
                words(left - 8, y(value) + 4, short(value), "end")]
    out += [words(x(cpus), HEIGHT - bottom + 18, str(cpus), "middle") for cpus in every]
    out.append(words((left + PANEL - right) / 2, HEIGHT - 4, axis, "middle"))
    labels = spread({on: y(points[-1][1]) for on, points in curves.items()})
    # None below the axis.
    lift = max(0, max(labels.values()) - y(0))
    for on, points in curves.items():
        colour, dashes = looks[on]
        way = " ".join(f"{x(cpus):.1f},{y(value):.1f}" for cpus, value in points)
        out += [f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>',
                *(f'<circle cx="{x(cpus):.1f}" cy="{y(value):.1f}" r="2.5" fill="{colour}"/>' for cpus, value in points),
                words(PANEL - right + 6, labels[on] - lift + 4, f"{on} {short(points[-1][1])}", colour=colour)]
    return out


def side_by_side(panels, title):
    """A picture of panels."""
    lines = math.ceil(len(panels) / COLUMNS)
    out = head(PANEL * min(len(panels), COLUMNS), (HEIGHT + 16) * lines, title)
    for number, parts in enumerate(panels):
        place = f"{number % COLUMNS * PANEL} {number // COLUMNS * (HEIGHT + 16)}"
        out += [f'<g transform="translate({place})">', *parts, "</g>"]
    return "\n".join([*out, "</svg>", ""])


def by_cpus(figures):
    """What depends on the policy and on the number of CPUs."""
    return side_by_side([panel(title, policy_curves(figures, name, what)) for name, what, title in PANELS],
                        "Instructions and IPIs by the number of CPUs")
