"""The stages that judge a mutant, the cheapest first, one line each. A mutant that one of them
notices is not shown to the later ones."""

import dataclasses

from common import BUILD

# In a copy: the test image of the mutant, which other builds do not replace.
IMAGE = "build/mutant.elf"


@dataclasses.dataclass(frozen=True)
class Stage:
    """A command that fails on a broken tree; it runs in the root of a copy."""

    name: str
    command: tuple
    environment: dict = dataclasses.field(default_factory=dict)
    only: str = ""       # for mutants of files that begin so
    says: str = ""       # the output that a pass needs
    early: tuple = ()    # for mutants of files that begin so, it comes first
    rules: tuple = ()    # for mutants by these rules only; by all if empty


def host(package, *arguments, **environment):
    """The tests of a package, on this machine."""
    name = f"cargo test -p {package} {' '.join(arguments)}".strip()
    return Stage(name, ("cargo", "test", "--profile", "quick", "-p", package, *arguments), environment, FOLDER[package])


def boot(smp, lazy, words=""):
    """All in-kernel tests in one boot, until the first that fails."""
    command = ("qemu-scripts/run", IMAGE, str(BUILD / "initrd-test.cpio"))
    name = " ".join(filter(None, [f"in-kernel tests smp={smp} lazy={lazy}", words]))
    return Stage(name, command, {"SMP": str(smp), "LAZY": lazy, "APPEND": f"test= {words}".strip(), "TIMEOUT": "0"},
                 says="selftest: all passed")


def instructions():
    """The fences in code written in assembly, which no run shows."""
    return Stage("instructions", ("qemu-scripts/instructions", "--assembly", IMAGE))


def fences():
    """The comments that state a fence or an ordering, which no run on a PC shows. A fence of
    kernel/core is shown to loom first. A store that is left out whole is for the tests alone."""
    return Stage("fences", ("qemu-scripts/fences", "--code"), early=("kernel/src/", "arch/"), rules=("fence", "ordering"))


def programs():
    """The C programs of `make test-programs`, one boot each, until the first that fails."""
    return Stage("programs", ("qemu-scripts/test-programs", IMAGE), early=("kernel/src/syscall", "kernel/src/fs", "kernel/src/process"))


def reports(name):
    """`make test-crashes` or `make test-gdb`: what a CPU runs is written nowhere else."""
    return Stage(name, ("make", "--no-print-directory", f"test-{name}"), RELEASE)


FOLDER = {"kcore": "kernel/core/", "vm": "kernel/vm/", "formats": "kernel/formats/", "terminal": "kernel/terminal/",
          "files": "kernel/files/", "powerpc64": "arch/"}
LOOM = {"RUSTFLAGS": "--cfg loom", "CARGO_TARGET_DIR": "target/loom", "LOOM_MAX_PREEMPTIONS": "2"}
# Symbols, and calls inlined as in the image that people run.
PROFILE = {"LTO": "fat", "CODEGEN_UNITS": "1", "DEBUG": "2", "INCREMENTAL": "false"}
RELEASE = {f"CARGO_PROFILE_RELEASE_{name}": value for name, value in PROFILE.items()}

STAGES = [
    host("kcore", "--test", "unit"),
    host("vm"),
    host("formats", FUZZ_SECONDS="2"),
    host("terminal"),
    host("files"),
    host("powerpc64"),
    instructions(),
    # The cheapest boot: on one CPU nothing waits for another CPU, and errors without a race show
    # there.
    boot(1, "eager"),
    boot(4, "shootdown"),
    boot(2, "hazard", "trim=1"),
    host("kcore", "--test", "loom", **LOOM),
    boot(8, "refcount", "tlb=ipi"),
    programs(),
    fences(),
    reports("crashes"),
    reports("gdb"),
]


def stages_for(file, rule):
    """The stages that may notice a mutant of a file by a rule."""
    those = [stage for stage in STAGES if file.startswith(stage.only) and (not stage.rules or rule in stage.rules)]
    return sorted(those, key=lambda stage: not (stage.early and file.startswith(stage.early)))
