"""The time from QEMU's start to init, and what QEMU takes of it for itself."""

import dataclasses
import os
import re
import time

import machine
from common import die
from running import Run
from settings import Settings

LIMIT_S = 300
# `run /init` is the last line before init; in brackets the time since the machine started.
RUN_LINE = re.compile(rb"^run /\S*[^\n]*\((\d+) us\)\r?\n", re.M)
# What QEMU's monitor prints when the machine is made.
READY = re.compile(rb"^\(qemu\)", re.M)
TICKS_S = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass
class Start:
    """A start until a line of the console."""

    wall_s: float
    cpu_s: float             # of QEMU's process, all threads
    guest_us: int            # the time that the kernel tells; 0 if it is none that is waited for


def cpu_seconds(pid):
    """What a process has used, from /proc/PID/stat: the 12th and 13th word behind its name."""
    with open(f"/proc/{pid}/stat") as file:
        words = file.read().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS_S


def until(line, command):
    """Runs QEMU until `line` is on its console."""
    with Run(command, LIMIT_S) as run:
        for _ in run.pieces():
            if found := line.search(run.console):
                told = int(found[1]) if line.groups else 0
                return Start(time.monotonic() - run.started, cpu_seconds(run.child.pid), told)
        outcome = run.finish()
    die(f"the kernel does not reach init: {outcome.reason()}.")


def until_init(kernel, archive, **changes):
    """The start until the line that announces init."""
    return until(RUN_LINE, machine.command_line(dataclasses.replace(Settings(), **changes), kernel, archive))


def of_qemu_alone(kernel, archive, **changes):
    """The start until the machine is made, and no instruction has run."""
    command = machine.command_line(dataclasses.replace(Settings(), **changes), kernel, archive)
    for option, value in (("-serial", "none"), ("-monitor", "stdio")):
        command[command.index(option) + 1] = value
    return until(READY, [*command, "-S"])
