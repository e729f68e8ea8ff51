"""The flame graph of `make profile`, as an SVG by hand: the wider, the more instructions."""

from xml.sax.saxutils import escape

WIDTH, ROW, LEFT, TOP = 1200, 17, 8, 46
INK = "#7d8590"
# Tones that can be read on white and on black, with dark letters on them.
COLOURS = {"all": "#a9b1ba", "entry": "#8fb8de", "user": "#a5cfa0", "function": "#e8a87c", "inlined": "#f0cf8e"}
LABELS = {"entry": "how the CPU came into the kernel", "user": "program", "function": "function", "inlined": "inlined"}
# Narrower boxes are left out; a letter's width.
LEAST_WIDTH, LETTER = 0.6, 6.3


class Node:
    """A frame in its place: the instructions in it and in what is above it."""

    def __init__(self, name, kind):
        self.name, self.kind, self.count, self.inner = name, kind, 0, {}


def tree(stacks):
    """The tree of {stack: instructions}. Places within a function are one."""
    root = Node("all", "all")
    for stack, count in stacks.items():
        node = root
        node.count += count
        for frame in stack:
            node = node.inner.setdefault((frame.name, frame.kind), Node(frame.name, frame.kind))
            node.count += count
    return root


def boxes(node, x, scale, depth=0):
    """(node, x, width, depth) of each box that is wide enough, by size within a box."""
    if node.count * scale < LEAST_WIDTH:
        return
    yield node, x, node.count * scale, depth
    for inner in sorted(node.inner.values(), key=lambda inner: (-inner.count, inner.name)):
        yield from boxes(inner, x, scale, depth + 1)
        x += inner.count * scale


def label(name, width):
    """What of a name fits into a box: its end tells most."""
    room = int((width - 6) / LETTER)
    if len(name) <= room:
        return name
    short = "::".join(name.split("::")[-2:])
    return short if len(short) <= room else short[:room - 1] + "…" if room > 3 else ""


def chart(stacks, title):
    """The picture, outermost frames at the bottom."""
    root = tree(stacks)
    drawn = list(boxes(root, LEFT, (WIDTH - 2 * LEFT) / max(root.count, 1)))
    deepest = max((depth for *_, depth in drawn), default=0)
    height = TOP + (deepest + 1) * ROW + 8
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
           'font-family="sans-serif" font-size="11">',
           f"<title>{escape(title)}</title>",
           f'<text x="{LEFT}" y="18" font-size="14" font-weight="600" fill="{INK}">{escape(title)}</text>']
    x = LEFT
    for kind, text in LABELS.items():
        out.append(f'<rect x="{x}" y="27" width="10" height="10" fill="{COLOURS[kind]}"/>'
                   f'<text x="{x + 14}" y="36" fill="{INK}">{text}</text>')
        x += 40 + LETTER * len(text)
    for node, x, width, depth in drawn:
        y = TOP + (deepest - depth) * ROW
        told = f"{node.name}: {node.count:,} instructions, {100 * node.count / root.count:.2f} %"
        text = label(node.name, width)
        letters = f'<text x="{x + 3:.1f}" y="{y + 12}" fill="#1b1f24">{escape(text)}</text>' if text else ""
        out.append(f'<g><title>{escape(told)}</title><rect x="{x:.1f}" y="{y}" width="{max(width - 0.4, 0.3):.1f}" '
                   f'height="{ROW - 1}" rx="1" fill="{COLOURS[node.kind]}"/>{letters}</g>')
    return "\n".join([*out, "</svg>", ""])
