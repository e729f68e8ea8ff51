"""Transcripts: what GDB is told, and what it must answer.

A transcript is what a session shows: a line `(gdb) COMMAND`, then the answer. Numbers in
hexadecimal are addresses and the like, which differ from build to build: any stands for
any. So do lines of source. `*` stands for anything in a line, a line `...` for any lines.
What comes before the first command tells a reader what he sees.
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
    """A line without what differs from build to build."""
    line = re.sub(r"0x[0-9a-f]+", "0x#", line)
    line = re.sub(r"(\.(?:rs|S)):\d+", r"\1:#", line)
    return re.sub(r" +", " ", line).strip()


def agrees(expected, said):
    """Whether an answer is as expected."""
    pattern = ""
    for line in map(plain, expected):
        pattern += r"(?:.*\n)*?" if line == "..." else re.escape(line).replace(r"\*", ".*") + r"\n"
    return re.fullmatch(pattern, "".join(plain(line) + "\n" for line in said)) is not None


def commands(transcript):
    """GDB's commands that replay a transcript and show each command before its answer."""
    for command, _ in sections(transcript):
        yield f"echo {PROMPT}{command}\\n"
        yield command
