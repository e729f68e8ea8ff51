"""The chart of docs/headline.md: modelled switches per second by CPUs, as an SVG by hand."""

import math

# Tones that can be read on white and on black.
COLOURS = {"eager": "#b8860b", "refcount": "#d1495b", "shootdown": "#2f81c7", "hazard": "#3c9d5d",
           "evict": "#7e57c2", "generation": "#2aa198", "loaded": "#8d6e63", "quiescent": "#b5536f"}
DASHES = {"eager": "2 4", "refcount": "", "shootdown": "", "hazard": "7 4", "evict": "2 3 7 3", "generation": "9 3 2 3",
          "loaded": "1 3", "quiescent": "5 2"}
INK = "#7d8590"
WIDTH, HEIGHT = 460, 330
LEFT, RIGHT, TOP, BOTTOM = 58, 104, 44, 44
TICKS_X = (1, 32, 64, 96, 128, 160, 192)
TICKS_Y = [step * 10 ** decade for decade in range(3, 11) for step in (1, 2, 5)]


def scale(low, high):
    """(x of a number of CPUs, y of a rate) within a panel."""
    decades = math.log10(high / low)
    x = lambda cpus: LEFT + (cpus - 1) / 191 * (WIDTH - LEFT - RIGHT)
    y = lambda rate: HEIGHT - BOTTOM - math.log10(rate / low) / decades * (HEIGHT - TOP - BOTTOM)
    return x, y


def spread(wanted, gap=14):
    """Heights of labels near `wanted`, none on another."""
    placed, last = {}, -math.inf
    for name, height in sorted(wanted.items(), key=lambda item: item[1]):
        last = placed[name] = max(height, last + gap)
    return placed


def million(rate):
    """A rate as a short number."""
    return f"{rate / 1e6:.0f} M" if rate >= 1e7 else f"{rate / 1e6:.1f} M"


def panel(title, curves, dots, low, high):
    """One kind of switches; `curves` and `dots` are {policy: [(cpus, rate)]}."""
    x, y = scale(low, high)
    out = [f'<text x="{LEFT}" y="24" font-size="14" font-weight="600">{title}</text>']
    for line in (line for line in TICKS_Y if low <= line <= high):
        at = y(line)
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="{INK}" stroke-opacity=".3"/>')
        text = f"{line // 10 ** 6} M" if line >= 10 ** 6 else f"{line // 1000} k"
        out.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{text}</text>')
    for cpus in TICKS_X:
        out.append(f'<text x="{x(cpus):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{cpus}</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">CPUs</text>')
    labels = spread({policy: y(points[-1][1]) for policy, points in curves.items()})
    for policy, points in curves.items():
        colour = COLOURS[policy]
        way = " ".join(f"{x(cpus):.1f},{y(rate):.1f}" for cpus, rate in points)
        out.append(f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{DASHES[policy]}"/>')
        out += [f'<circle cx="{x(cpus):.1f}" cy="{y(rate):.1f}" r="2.5" fill="{colour}"/>' for cpus, rate in dots[policy]]
        end = points[-1][1]
        out.append(f'<text x="{x(points[-1][0]) + 6:.1f}" y="{labels[policy] + 4:.1f}" fill="{colour}">{policy} {million(end)}</text>')
    return out


def chart(panels):
    """The whole picture; `panels` are (title, curves, dots)."""
    rates = [rate for _, curves, _ in panels for points in curves.values() for _, rate in points]
    low = max((line for line in TICKS_Y if line <= min(rates)), default=TICKS_Y[0])
    high = min((line for line in TICKS_Y if line >= max(rates)), default=TICKS_Y[-1])
    width = WIDTH * len(panels) + 10
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}" '
           f'font-family="sans-serif" font-size="11" fill="{INK}">',
           "<title>Modelled context switches per second, by CPUs</title>"]
    for number, (title, curves, dots) in enumerate(panels):
        out += [f'<g transform="translate({number * WIDTH} 0)">', *panel(title, curves, dots, low, high), "</g>"]
    return "\n".join([*out, "</svg>", ""])
