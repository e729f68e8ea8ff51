"""The rules by which assembly is broken: on instructions, registers and offsets."""

import re

INSTRUCTION = re.compile(r"^(?:\d+:|\w+:)?[ \t]+(?!\.)([A-Za-z][\w.]*[+-]?)(?:[ \t]+(.*))?$", re.M)
FENCE = re.compile(r"(?:hw|lw|pte)?sync|isync|eieio|tlbsync")
REGISTER = re.compile(r"(?<=%)([a-z]+)(\d+)")
# Neither a register nor a label such as 1f.
NUMBER = re.compile(r"(?<![\w%.{])(0x[0-9a-f]+|\d+)(?![\w:])")
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
REGISTERS = 32


class Blanked:
    """The text of a file without its comments."""

    def __init__(self, source):
        self.source = source
        self.text = COMMENT.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), source)


def instructions(code):
    """Each instruction, or macro that stands for some: (name's place, end, name)."""
    for found in INSTRUCTION.finditer(code.text):
        yield found.start(1), found.end(), found[1]


def left_out(fences):
    """A rule that leaves out fences, or all other instructions."""
    def rule(code):
        for start, end, name in instructions(code):
            if bool(FENCE.fullmatch(name)) == fences:
                yield start, end, ""
    return rule


def registers(code):
    """The next register, or the previous one."""
    for start, end, _ in instructions(code):
        for found in REGISTER.finditer(code.text, start, end):
            for other in (int(found[2]) + 1, int(found[2]) - 1):
                yield *found.span(2), str(other % REGISTERS)


def numbers(code):
    """A number off by one, an offset by a doubleword."""
    for start, end, name in instructions(code):
        for found in NUMBER.finditer(code.text, start + len(name), end):
            step = 8 if code.text.startswith("(", found.end()) else 1
            yield *found.span(), str(int(found[0], 0) + step)


RULES = {"instruction": left_out(fences=False), "fence": left_out(fences=True), "register": registers,
         "off by one": numbers}
