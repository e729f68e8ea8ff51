"""The headline's program on Debian's kernels: boots under the model, and names for what moved."""

import bisect
import re

import headline_lines
import headline_runs
import initrd
import machine
import running
from bench_linux import APPEND, FOLDER, PROGRAM
from common import die
from settings import Settings

HEADLINE = FOLDER / "headline"
SWITCH = "_switch"
SYMBOL = re.compile(rb"^symbol ([0-9a-f]{16}) (\w) (\S+)\r?$", re.MULTILINE)
# Plugin or not, a Linux boots slowly on a machine that does other things, too.
LIMIT_S = 300
# Per CPU: QEMU runs all of them at once, or one after another.
MORE_LIMIT_S = 12


def command(on, smp, words):
    """QEMU's command line for a kernel whose init has the options `words`."""
    archive = FOLDER / "initrd-headline.cpio"
    archive.write_bytes(initrd.archive({"init": PROGRAM.read_bytes(), "headline": HEADLINE.read_bytes()}))
    kernel = FOLDER / on / "vmlinux"
    if not kernel.exists():
        die(f"{kernel} is missing: make headline-linux fetches it.")
    line = machine.command_line(Settings(smp=smp, mem="1G" if smp > 32 else "512M"), kernel, archive)
    line[line.index("-append") + 1] = f"{APPEND} -- {words}"
    return line


class Symbols:
    """A kernel's functions and data. A kernel tells them once, and they are kept."""

    def __init__(self, on):
        path = FOLDER / on / "symbols"
        if not path.exists():
            outcome = running.run_quietly(command(on, 1, "--symbols"), LIMIT_S)
            if outcome.timed_out or outcome.status != 0 or not SYMBOL.search(outcome.console):
                die(f"{on} does not tell its symbols: {outcome.reason()}")
            path.write_bytes(b"\n".join(b" ".join(found.groups()) for found in SYMBOL.finditer(outcome.console)))
        words = (line.split() for line in path.read_text().splitlines())
        every = sorted((int(address, 16), kind, name) for address, kind, name in words)
        places = {name: address for address, _, name in every}
        # What only the start needed is free memory since then. A kernel without symbols of data ends there.
        start, end = places["__init_begin"], places.get("__init_end", every[-1][0] + 1)
        self.all = sorted([symbol for symbol in every if not start <= symbol[0] < end] + [(start, "", "")])

    def address(self, name):
        """The address of a function."""
        return next((address for address, _, own in self.all if own == name), None) or die(f"the kernel has no {name}.")

    def answers(self, questions):
        """As `attribute` answers: `code ADDRESS` by the function, `data ADDRESS` by the static, "" if there is none."""
        for question in questions:
            what, _, text = question.partition(" ")
            at = bisect.bisect(self.all, (int(text, 16), "~")) - 1
            kind, name = self.all[at][1:] if 0 <= at < len(self.all) - 1 else ("", "")
            yield name if (kind.lower() in "tw") == (what == "code") else ""


def named(on, lines):
    """As headline_lines.named, of a Linux, whose types and inlined functions are not known."""
    return headline_lines.named(Symbols(on).answers, lines, kind)


def kind(address, static, is_stack):
    """What kind of memory a line is."""
    if address < headline_lines.USER_END:
        return "user"
    return "static" if static else "kernel stack" if is_stack else "allocated"


def run(on, smp, words):
    """As headline_runs.run, of a Linux."""
    options = f"turn={headline_runs.TURN},slow={headline_runs.SLOW},little=on,count={Symbols(on).address(SWITCH):#x}"
    return headline_runs.modelled(on, smp, words, command(on, smp, f"--run /headline {words}"), options, LIMIT_S + MORE_LIMIT_S * smp)
