"""The text of a Rust file in which only the product's code is left.

Everything else is blanked, character by character, so that a place in the blanked text is
a place in the file: comments, the contents of strings, attributes, imports, messages and
assertions, the implementations of Debug and Display, and all that only test builds
compile.
"""

import re

OPENING, CLOSING = "([{", ")]}"
# Comments, strings and characters. A lifetime is not matched.
TEXT = re.compile(r"""
    //[^\n]*
  | /\*.*?\*/
  | [bc]?r(?P<hashes>\#*)".*?"(?P=hashes)
  | [bc]?"(?:\\.|[^"\\])*"
  | b?'(?:\\(?:x[0-9a-fA-F]{2}|u\{[^}]*\}|.)|[^'\\\n])'
""", re.X | re.S)
ATTRIBUTE = re.compile(r"#!?\[")
MESSAGE = re.compile(r"\b(?:e?print(?:ln)?|panic|unreachable|format_args|invariant|note|(?:debug_)?assert(?:_eq|_ne)?)!\s*[(\[{]")
IMPORT = re.compile(r"^[ \t]*(?:pub(?:\([^)]*\))? )?use [^;]*;", re.M)
SHOWN = re.compile(r"\bimpl(?:<[^>]*>)? (?:core::)?(?:fmt::)?(?:Debug|Display) for [^{]*")
TEST_BLOCK = re.compile(r"\bif (cfg!\([^{]*)(?=\{)")
# The kernel's calls of the tests, the oracle and the trace.
HOOK = re.compile(r"\b(?:(?:oracle|points|selftest)::|trace::(?:observe|switch|name|take_setting)\b)[^;{]*(?=;)")
ONLY_IN_TESTS = re.compile(r"\b(?:test|loom)\b|\"(?:selftest|checks|model)\"")


def closing(text, opening):
    """The place of the bracket that closes the one at `opening`."""
    depth = 0
    for at in range(opening, len(text)):
        if text[at] in OPENING:
            depth += 1
        elif text[at] in CLOSING:
            depth -= 1
            if depth == 0:
                return at
    return len(text) - 1


def find_outside(text, start, wanted):
    """The first place from `start` on that has one of `wanted` outside of all brackets, or the
    place of the bracket that closes the one around `start`."""
    at = start
    while at < len(text):
        if any(text.startswith(one, at) for one in wanted) or text[at] in CLOSING:
            return at
        at = closing(text, at) + 1 if text[at] in OPENING else at + 1
    return len(text)


def only_in_tests(condition):
    """Whether a `cfg` holds in test builds alone."""
    return "cfg" in condition and bool(ONLY_IN_TESTS.search(re.sub(r"\bnot\([^()]*\)", "", condition)))


class Blanked:
    """A text, and its blanked form."""

    def __init__(self, source):
        self.source, self.text = source, source
        for found in TEXT.finditer(source):
            quoted = found[0].endswith(('"', "'"))
            self.blank(found.start() + quoted, found.end() - quoted)
        self.attributes()
        for found in re.finditer(MESSAGE, self.text):
            self.blank(found.start(), closing(self.text, found.end() - 1) + 1)
        for pattern in (IMPORT, HOOK):
            for found in pattern.finditer(self.text):
                self.blank(*found.span())
        for found in [*SHOWN.finditer(self.text), *self.test_blocks()]:
            self.blank(found.start(), closing(self.text, found.end()) + 1)

    def blank(self, start, end):
        """Blanks all between two places, except for line ends."""
        self.text = self.text[:start] + re.sub(r"[^\n]", " ", self.text[start:end]) + self.text[end:]

    def attributes(self):
        """Blanks attributes, and the items that they restrict to tests."""
        while found := ATTRIBUTE.search(self.text):
            end = closing(self.text, found.end() - 1) + 1
            if only_in_tests(self.source[found.start():end]):
                body = find_outside(self.text, end, ("{", ";", ","))
                end = closing(self.text, body) + 1 if self.text[body:body + 1] == "{" else body + 1
            self.blank(found.start(), end)

    def test_blocks(self):
        """The blocks that only test builds keep."""
        return [found for found in TEST_BLOCK.finditer(self.text)
                if only_in_tests(self.source[found.start():found.end()])]
