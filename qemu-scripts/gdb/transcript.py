"""Transcripts: GDB's commands, and the answers that it must give.

A transcript looks like a session: a line `(gdb) COMMAND`, then the answer. Hexadecimal
numbers are addresses and the like, which differ from build to build: any matches any. So
does any source line. `*` matches anything within a line, a line `...` any lines. The text
before the first command is for the reader.
"""

import re

PROMPT = "(gdb) "


def sections(text):
    """[(command, its answer)] of a transcript or a session."""
    found = []
    for line in text.splitlines():
        if line.startswith(PROMPT):
            found.append((line[len(PROMPT):], []))
        elif found:
            found[-1][1].append(line.rstrip())
    return [(command, [line for line in lines if line]) for command, lines in found]


def plain(line):
    """A line without the parts that differ from build to build."""
    line = re.sub(r"0x[0-9a-f]+", "0x#", line)
    line = re.sub(r"(\.(?:rs|S)):\d+", r"\1:#", line)
    return re.sub(r" +", " ", line).strip()


def places(expected, said):
    """The number of the line that was said for each expected one, None if the answer is another. A line `...` has that
    of the first of its lines."""
    pattern = ""
    for line in map(plain, expected):
        pattern += r"((?:.*\n)*?)" if line == "..." else "(" + re.escape(line).replace(r"\*", ".*") + r"\n)"
    text = "".join(plain(line) + "\n" for line in said)
    found = re.fullmatch(pattern, text)
    return found and [text.count("\n", 0, found.start(group)) for group in range(1, len(expected) + 1)]


def agrees(expected, said):
    """Whether an answer is as expected."""
    return places(expected, said) is not None


def commands(transcript):
    """GDB's commands that replay a transcript and show each command before its answer."""
    for command, _ in sections(transcript):
        yield f"echo {PROMPT}{command}\\n"
        yield command
