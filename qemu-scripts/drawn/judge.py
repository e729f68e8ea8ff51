"""Builds a mutant and runs one stage after another until one notices it.

Each worker has a copy of the tree under build/mutants-drawn, with a target folder of its
own: a mutant costs a build of its change. Every stage first runs in the unchanged copy: all
must pass there, and their times give the limits after which a mutant is taken to hang.
"""

import hashlib
import json
import re
import shutil
import time

import elf
import kernel_mutants
from commands import lines_within, output_within
from common import BUILD, ROOT, die

from .stages import IMAGE, STAGES, stages_for

PLACE = BUILD / "mutants-drawn"
# The place of a panic without its column: a mutant that only moves a column makes an equal image.
FLAGS = {"CARGO_TARGET_POWERPC64_KERNEL_RUSTFLAGS": "-Zlocation-detail=file,line", "CARGO_TERM_COLOR": "never"}
SETTINGS_OF_RUNS = ("SMP", "LAZY", "TLB", "IRQ", "APPEND", "INIT", "INITRD", "TEST", "TESTS", "TIMEOUT", "JUNIT", "SEED", "QEMU_ARGS",
                    "ICOUNT", "MEM", "CPU", "FIRMWARE")
PROGRAMS = ("make", "--no-print-directory", "user-programs", "c-programs")
FIRST_FAILURE = re.compile(r"test .* \.\.\. FAILED|not ok |FAILED |kernel (?:panic|fault|stopped): ")
UNBUILT = re.compile(r"^error: could not compile", re.M)
# How many times its time without a mutant a stage may take.
PATIENCE = 6
LEAST_LIMIT_S = 60
UNMUTATED_LIMIT_S = 900


def loaded(image):
    """The parts of an image that are loaded into memory."""
    file = elf.Image(image)
    return [bytes(file.data[part.offset:part.offset + part.file_size]) for part in file.segments]


class Copy(kernel_mutants.Tree):
    """A copy of the tree, for one mutant at a time."""

    def __init__(self, number):
        super().__init__(PLACE / f"copy-{number}")
        self.name = f"copy-{number}"
        self.seconds = {}

    def environment(self):
        """The environment in which the copy is built and its stages run."""
        outer = {name: value for name, value in super().environment().items() if name not in SETTINGS_OF_RUNS}
        return outer | FLAGS

    def fingerprint(self):
        """A hash of all that the copy is built from."""
        digest = hashlib.sha256()
        for folder in (*kernel_mutants.FOLDERS, *kernel_mutants.FILES):
            top = self.tree / folder
            for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
                name = path.relative_to(self.tree)
                if path.is_file() and not {"__pycache__", "drawn", "mutants-drawn"} & set(name.parts):
                    digest.update(f"{name}\0".encode() + path.read_bytes())
        return digest.hexdigest()

    def build(self):
        """Builds the image fast, like the other mutants', and keeps it."""
        complaint = super().build()
        if not complaint:
            shutil.copy(self.tree / kernel_mutants.IMAGE, self.tree / IMAGE)
        return complaint

    def run(self, stage, limit_s):
        """(None if the stage passes, else its first failure; all its output)."""
        environment = self.environment() | stage.environment
        status, output, line = lines_within(limit_s, stage.command, self.tree, environment, FIRST_FAILURE)
        if status == 0 and not line:
            return None if stage.says in output else f"it does not say {stage.says!r}", output
        if status is None:
            return f"no end after {limit_s:.0f} s", output
        return line or f"status {status}: {(output.strip().splitlines() or ['no output'])[-1]}", output

    def prepare(self, tell):
        """Builds the unchanged tree and measures each stage, unless the times are known."""
        if complaint := self.build():
            die(f"the tree does not build without a mutant:\n{complaint}")
        self.unmutated = loaded(self.tree / IMAGE)
        status, output = output_within(UNMUTATED_LIMIT_S, PROGRAMS, self.tree, self.environment())
        if status != 0:
            die(f"the programs of the tests cannot be built:\n{output[-3000:]}")
        known, wanted = PLACE / f"{self.name}.json", self.fingerprint()
        before = json.loads(known.read_text()) if known.exists() else {}
        self.seconds = before.get("seconds", {}) if before.get("tree") == wanted else {}
        for stage in STAGES:
            if stage.name in self.seconds:
                continue
            tell(f"without a mutant: {stage.name}")
            begun = time.monotonic()
            # Twice: the first run also builds the stage's tools.
            why, output = self.run(stage, UNMUTATED_LIMIT_S)
            if why is None and time.monotonic() - begun > LEAST_LIMIT_S:
                begun = time.monotonic()
                why, output = self.run(stage, UNMUTATED_LIMIT_S)
            if why is not None:
                die(f"{stage.name} fails without a mutant: {why}\n{output[-3000:]}")
            self.seconds[stage.name] = time.monotonic() - begun
            known.write_text(json.dumps({"tree": wanted, "seconds": self.seconds}, indent=1))

    def judge(self, mutant, equivalent, tell, log=None):
        """{outcome, by} of a mutant; `equivalent` is the reason why it must survive, if one is
        known. The output of all stages goes to the file `log`, if it is given."""
        original = (ROOT / mutant.file).read_text()
        target = self.tree / mutant.file
        target.write_text(mutant.applied(original))
        try:
            tell("built")
            if complaint := self.build():
                return {"outcome": "unbuilt", "by": complaint.strip()[-300:]}
            if loaded(self.tree / IMAGE) == self.unmutated:
                return {"outcome": "equivalent", "by": "the same instructions and data"}
            if equivalent:
                return {"outcome": "equivalent", "by": equivalent}
            for stage in stages_for(mutant.file, mutant.rule):
                tell(stage.name)
                why, output = self.patiently(stage)
                if log:
                    log.write(f"==== {stage.name}: {why or 'passes'}\n{output}\n")
                if why and UNBUILT.search(output):
                    return {"outcome": "unbuilt", "by": why}
                if why:
                    return {"outcome": "killed", "by": f"{stage.name}: {why}"}
            return {"outcome": "survived", "by": ""}
        finally:
            target.write_text(original)

    def patiently(self, stage):
        """Runs a stage. If it does not end, it runs again with twice the limit."""
        limit_s = max(LEAST_LIMIT_S, PATIENCE * self.seconds[stage.name])
        why, output = self.run(stage, limit_s)
        return self.run(stage, 2 * limit_s) if why and why.startswith("no end") else (why, output)
