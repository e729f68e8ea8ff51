"""The kernel broken on purpose: each variant is booted in QEMU, where a test must notice.

Each worker has a copy of the tree under build/mutants, built by the copy's own Makefile in
its own target folder: a mutant costs a build of its change, and a boot.
"""

import os
import re
import shutil
import tomllib

import initrd
import machine
import running
import sequences_runs
from commands import output_within
from common import BUILD, ROOT
from settings import Settings

TABLE = ROOT / "kernel/src/selftest/mutants.toml"
SOURCES = ROOT
FOLDERS = ("arch", "kernel", "linker", "qemu-scripts", "user")
FILES = ("Cargo.lock", "Cargo.toml", "Makefile", "rust-toolchain.toml")
IMAGE = "target/tests/powerpc64-kernel/release/kernel"
CPUS = 4
BUILD_LIMIT_S = 600
# Compiled many times, run once.
FAST_BUILD = {f"CARGO_PROFILE_RELEASE_{name}": value for name, value in
              (("LTO", "off"), ("CODEGEN_UNITS", "16"), ("DEBUG", "0"), ("INCREMENTAL", "true"))}
# The kernel's own limits stop a mutant that hangs before this.
RUN_LIMIT_S = 60


def table():
    """The mutants, in their order."""
    return tomllib.loads(TABLE.read_text())["mutant"]


def copy_if_new(source, target):
    """Copies a file only if it differs, so that cargo rebuilds no more than necessary."""
    if not target.exists() or target.read_bytes() != source.read_bytes():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


class Tree:
    """A copy of the tree, built by itself."""

    def __init__(self, place):
        self.tree = place
        wanted = {ROOT / name for name in FILES}
        for folder in FOLDERS:
            wanted |= {path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts}
        wanted = {path.relative_to(ROOT) for path in wanted}
        for path in wanted:
            copy_if_new(ROOT / path, self.tree / path)
        # Files that were removed there are removed here.
        for folder in FOLDERS:
            for path in list((self.tree / folder).rglob("*")):
                if path.is_file() and path.relative_to(self.tree) not in wanted:
                    path.unlink()
        # The copy uses the results of the tree's set-up.
        for record in (BUILD / "config").glob("*"):
            copy_if_new(record, self.tree / "build/config" / record.name)

    def environment(self):
        """The environment in which the copy is built."""
        outer = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "CARGO_TARGET_DIR")
        return {name: value for name, value in os.environ.items() if name not in outer} | FAST_BUILD

    def build(self):
        """Builds the test image of the copy; returns None, or the build's output."""
        command = ["make", "--no-print-directory", "kernel-test-nameless"]
        status, output = output_within(BUILD_LIMIT_S, command, self.tree, self.environment())
        if status is None:
            return f"no end after {BUILD_LIMIT_S} s"
        return None if status == 0 else output


def archive_for(test):
    """The initrd of a test that is a program, written anew; None for other tests."""
    if test == sequences_runs.TEST:
        return sequences_runs.archive_for_mutants()
    if not test.startswith("program_"):
        return None
    name = test.removeprefix("program_")
    path = BUILD / f"{name}.cpio"
    program = ROOT / "target/powerpc64-kernel/release" / name
    path.write_bytes(initrd.archive({f"bin/{name}": initrd.stripped(program.read_bytes())}))
    return path


class Copy(Tree):
    """A copy of the tree, for one mutant at a time."""

    def __init__(self, number):
        super().__init__(BUILD / f"mutants/kernel-{number}")

    def verdict(self, mutant):
        """Builds one mutant and boots its test: None if it was killed, else the reason."""
        original = (SOURCES / mutant["file"]).read_text()
        target = self.tree / mutant["file"]
        target.write_text(original.replace(mutant["text"], mutant["replacement"]))
        try:
            complaint = self.build()
        finally:
            target.write_text(original)
        if complaint:
            return "it does not build:\n" + complaint
        test = mutant["test"]
        settings = Settings(smp=CPUS, lazy=mutant["lazy"], append=f"test={test} {mutant.get('words', '')}".strip())
        archive = archive_for(test)
        outcome = running.run_quietly(machine.command_line(settings, self.tree / IMAGE, archive), RUN_LIMIT_S)
        console = outcome.console.decode(errors="replace")
        if f"# {test} starts" not in console:
            return f"{test} did not start:\n{console[-2000:]}"
        if re.search(rf"^ok \d+ {test}\b", console, re.M):
            return f"{test} still passes"
        if outcome.timed_out:
            return f"{test} was not over after {RUN_LIMIT_S} s"
        accused = mutant.get("accuses", "")
        if accused and not re.search(rf"^kernel panic: oracle: mm\d+\.\d+: {accused}", console, re.M):
            return f"the oracle does not say {accused!r}:\n{console[-2000:]}"
        died = re.search(r"^kernel (panic|fault): ", console, re.M)
        failed = re.search(rf"^not ok \d+ {test}\b", console, re.M)
        return None if died or failed else f"{test} did not end as a failed test:\n{console[-2000:]}"
