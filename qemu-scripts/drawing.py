"""Boxes, arrows and words as SVG, for the pictures of docs/overview.md.

A picture is a light card with a border of its own, so it reads on a white and on a dark page. Text in
backticks is a name of the tree: it is set in a fixed pitch, and `names` collects it.
"""

import re
from html import escape

WORDS = "DejaVu Sans, Verdana, Helvetica, sans-serif"
NAMES = "DejaVu Sans Mono, Menlo, Consolas, monospace"
INK, SOFT, PAPER = "#1b2430", "#5a6778", "#ffffff"
FILLS = {"plain": "#f4f6f8", "core": "#dcebfb", "arch": "#fbe6d4", "kernel": "#e2f1df", "user": "#f0e4f7",
         "warn": "#fdf3c8", "none": "#ffffff"}
SIZE, LINE = 14, 19
# The greatest width of each kind of character, as a part of the size; fonts differ.
WIDE_WORD, WIDE_BOLD, WIDE_NAME = 0.56, 0.66, 0.605


class Picture:
    """One drawing; coordinates are pixels from the upper left corner."""

    def __init__(self, width, height, says):
        self.width, self.height, self.says, self.parts = width, height, says, []
        self.names, self.wrong = [], []

    def text(self, x, y, line, anchor="start", size=SIZE, colour=INK, room=None):
        """One line; `**` in front makes it bold. It must fit into `room` pixels."""
        bold = line.startswith("**")
        pieces = re.split(r"`([^`]+)`", line.removeprefix("**"))
        self.names += pieces[1::2]
        wide = WIDE_BOLD if bold else WIDE_WORD
        width = sum(len(piece) * size * (WIDE_NAME if n % 2 else wide) for n, piece in enumerate(pieces))
        if room and width > room:
            self.wrong.append(f"{width:.0f} pixels do not fit into {room}: {line}")
        spans = "".join(f'<tspan font-family="{NAMES}" font-size="{size - 1}">{escape(piece)}</tspan>' if n % 2
                        else escape(piece) for n, piece in enumerate(pieces))
        weight = ' font-weight="bold"' if bold else ""
        self.parts.append(f'<text x="{x}" y="{y}" font-size="{size}" fill="{colour}" text-anchor="{anchor}"{weight} '
                          f'xml:space="preserve">{spans}</text>')

    def box(self, x, y, width, height, fill, *lines, left=False):
        """A box and its lines, centred in it, or from the left."""
        self.parts.append(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{FILLS[fill]}" '
                          f'stroke="{INK}" stroke-width="1.3"/>')
        top = y + height / 2 - LINE * len(lines) / 2 + 14
        for n, line in enumerate(lines):
            at, anchor = (x + 10, "start") if left else (x + width / 2, "middle")
            self.text(at, top + n * LINE, line, anchor, room=width - 8)

    def band(self, x, y, width, height, title):
        """A part of the picture that boxes lie in, with its title above on the left."""
        self.parts.append(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="none" '
                          f'stroke="{SOFT}" stroke-dasharray="3 4"/>')
        self.text(x + 10, y + 19, title, colour=SOFT, room=width - 12)

    def arrow(self, *points, says="", at=None, anchor="start", dashed=False, both=False):
        """A line through `points` with a head at its end; the text `says` stands at `at`."""
        path = " ".join(f"{x},{y}" for x, y in points)
        dash = ' stroke-dasharray="6 4"' if dashed else ""
        start = ' marker-start="url(#tail)"' if both else ""
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{INK}" stroke-width="1.5"{dash}{start} '
                          'marker-end="url(#head)"/>')
        if says:
            self.note(*(at or points[0]), *says.split("\n"), anchor=anchor)

    def note(self, x, y, *lines, anchor="start", colour=INK):
        """Words beside an object, one line below the other. They end within the picture."""
        left, right = x - 4, self.width - 4 - x
        room = {"start": right, "end": left, "middle": 2 * min(left, right)}[anchor]
        for n, line in enumerate(lines):
            self.text(x, y + n * (LINE - 2), line, anchor, size=13, colour=colour, room=room)

    def svg(self):
        """The whole as text."""
        head = '<path d="M0,0 L9,4.5 L0,9 z" fill="{0}"/></marker>'.format(INK)
        tail = '<path d="M9,0 L0,4.5 L9,9 z" fill="{0}"/></marker>'.format(INK)
        marker = ('<marker id="{0}" viewBox="0 0 9 9" refX="{1}" refY="4.5" markerWidth="9" markerHeight="9" '
                  'markerUnits="userSpaceOnUse" orient="auto">')
        return "\n".join([
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}" '
            f'font-family="{WORDS}" role="img">',
            f"<title>{escape(self.says)}</title>",
            f'<defs>{marker.format("head", 9)}{head}{marker.format("tail", 0)}{tail}</defs>',
            f'<rect x="1" y="1" width="{self.width - 2}" height="{self.height - 2}" rx="12" fill="{PAPER}" '
            'stroke="#8a97a6" stroke-width="2"/>',
            *self.parts, "</svg>", ""])
