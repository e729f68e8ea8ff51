"""Runs of user/c/bench: boots, and the rows that they print."""

import dataclasses
import re

import machine
import running
from common import BUILD, die
from settings import Settings

PROGRAM = BUILD / "c/bench"
# On a machine that does other things, too.
LIMIT_S = 300
ROW = re.compile(rb"^row (\w+) (\d+) (\d+) (-?\d+) (-?\d+) (-?\d+)\r?$", re.MULTILINE)
END = re.compile(rb"^bench: (\d+) rows\r?$", re.MULTILINE)


@dataclasses.dataclass
class Boot:
    """One machine to run the program on."""

    on: str                  # a policy, or the name of a Linux
    cpus: int
    kernel: str
    archive: str
    append: str = ""         # instead of our kernel's command line

    def command(self, names):
        """QEMU's command line; `names` choose rows."""
        policy = {} if self.append else {"lazy": self.on}
        settings = Settings(smp=self.cpus, icount="0", init=" ".join(["/init", *names]), **policy)
        command = machine.command_line(settings, self.kernel, self.archive)
        if self.append:
            command[command.index("-append") + 1] = " ".join([self.append, "--", *names])
        return command

    def run(self, names=()):
        """The rows: [{on, cpus, name, count, ns, ipis, pidr_writes, tlb}], sums of `count` operations."""
        outcome = running.run_quietly(self.command(names), LIMIT_S)
        rows = [(found[1].decode(), *map(int, found.groups()[1:])) for found in ROW.finditer(outcome.console)]
        end = END.search(outcome.console)
        if outcome.timed_out or outcome.status != 0 or end is None or int(end[1]) != len(rows):
            die(f"{self.on}, {self.cpus} CPUs: {outcome.reason()}")
        keys = ("name", "count", "ns", "ipis", "pidr_writes", "tlb")
        return [{"on": self.on, "cpus": self.cpus, **dict(zip(keys, row))} for row in rows]


def per_operation(row, what="ns"):
    """A count of one operation; None where the kernel does not tell it."""
    return None if row[what] < 0 else row[what] / row["count"]
