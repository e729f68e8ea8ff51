"""The kinds of bad input: run(folder) of each gives (status, output)."""

import dataclasses
import os
import pathlib
import re
import shutil
import subprocess

import machine
import running
from common import BUILD, ROOT, SCRIPTS
from settings import Settings

KERNEL = BUILD / "kernel.elf"
INITRD = BUILD / "initrd.cpio"
TESTS = BUILD / "kernel-test.elf"
BOOT_LIMIT_S = 40
COMMAND_LIMIT_S = 60


@dataclasses.dataclass
class Boot:
    """A boot with bad input."""

    name: str
    last: str
    status: int = 1
    archive: bytes = None      # None: the default initrd
    append: str = "init=/init"
    said: str = ""
    bare: bool = False         # no initrd at all
    kernel: pathlib.Path = KERNEL
    smp: int = 2
    mem: str = "256M"

    def run(self, folder):
        """(status, output)"""
        path = INITRD
        if self.archive is not None:
            path = folder / (re.sub(r"\W+", "-", self.name) + ".cpio")
            path.write_bytes(self.archive)
        settings = Settings(smp=self.smp, mem=self.mem, append="report=off " + self.append)
        command = machine.command_line(settings, self.kernel, None if self.bare else path)
        outcome = running.run_quietly(command, BOOT_LIMIT_S)
        output = outcome.console.decode(errors="replace").replace("\r", "")
        if outcome.complaint:
            output += f"\n{outcome.complaint}"
        return (124 if outcome.timed_out else outcome.status), output


@dataclasses.dataclass
class Command:
    """One of our commands with bad variables."""

    name: str
    last: str
    status: int
    words: list
    variables: dict = dataclasses.field(default_factory=dict)
    fed: bytes = None          # a file to be the INITRD
    said: str = ""
    most_bytes: int = None     # in a file that it writes: a write beyond fails, as on a full disk

    def run(self, folder):
        """(status, output)"""
        environment = {**clean_environment(), **self.variables}
        if self.fed is not None:
            path = folder / re.sub(r"\W+", "-", self.name)
            path.write_bytes(self.fed)
            environment["INITRD"] = str(path)
        limit = f"ulimit -f {self.most_bytes // 1024}; " if self.most_bytes is not None else ""
        words = ["bash", "-c", limit + 'exec "$@"', "bash", *self.words] if limit else self.words
        return finished([str(word).replace("FOLDER", str(folder)) for word in words], ROOT, environment)


@dataclasses.dataclass
class Offline:
    """The set-up where programs or the network are missing: only `tools` are there."""

    name: str
    last: str
    stage: str
    tools: dict = dataclasses.field(default_factory=dict)
    status: int = 1

    def run(self, folder):
        """(status, output)"""
        place = folder / re.sub(r"\W+", "-", self.name)
        shutil.copytree(SCRIPTS, place / "qemu-scripts", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "rust-toolchain.toml", place)
        tools = place / "tools"
        tools.mkdir()
        for name in ("python3", "env", "sh"):
            (tools / name).symlink_to(shutil.which(name))
        for name, script in self.tools.items():
            (tools / name).write_text(f"#!/bin/sh\n{script}\n")
            (tools / name).chmod(0o755)
        environment = {"PATH": str(tools), "HOME": str(place)}
        return finished(["qemu-scripts/setup", self.stage], place, environment)


def clean_environment():
    """Our environment without the variables of the Makefile and of an outer make."""
    drop = ("SMP", "MEM", "CPU", "LAZY", "TLB", "IRQ", "INITRD", "INIT", "APPEND", "TIMEOUT", "ICOUNT", "QEMU", "QEMU_ARGS",
            "TEST", "TESTS", "TRACE", "TRACE_KB", "FROM", "TO", "AROUND", "STOP_AT", "MUTANT", "QUICK", "JUNIT", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")
    return {name: value for name, value in os.environ.items() if name not in drop}


def finished(words, folder, environment):
    """(status, output) of a command."""
    try:
        done = subprocess.run([str(word) for word in words], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                              timeout=COMMAND_LIMIT_S)
    except subprocess.TimeoutExpired as late:
        return 124, (late.stdout or b"").decode(errors="replace")
    # GNU make adds lines of its own on the failure.
    lines = [line for line in done.stdout.splitlines() if not line.startswith(("make:", "make["))]
    return done.returncode, "\n".join(lines)
