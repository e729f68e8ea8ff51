"""The protocol and the shadow TLB broken on purpose: each variant is compiled, and its test run under
loom or on this machine.

Each worker has a copy of the crates under build/mutants, and target folders for it: a mutant costs
a build of its change, and one test.
"""

import json
import os
import re
import shutil
import tomllib

from commands import output_within
from common import BUILD, ROOT

# By package: its folder, with a table in it.
CRATES = {"kcore": "kernel/core", "shadow-tlb": "kernel/shadow-tlb"}
# What a copy has: they and what they use.
COPIED = [*CRATES.values(), "kernel/trace"]
SOURCES = ROOT
PROGRAMS = (("kcore", "loom"), ("kcore", "unit"), ("shadow-tlb", "unit"))
# A limit against hangs: a crowded machine may be ten times slower.
BUILD_LIMIT_S = 900
TEST_LIMIT_S = 300
PREEMPTIONS = 2


def table():
    """The mutants, in their order, with their package, and files from the root of the tree."""
    return [mutant | {"package": package, "file": f"{folder}/src/{mutant['file']}"} for package, folder in CRATES.items()
            for mutant in tomllib.loads((ROOT / folder / "mutants/mutants.toml").read_text())["mutant"]]


def write_if_new(path, text):
    """Writes a file only if it changes, so that cargo rebuilds no more than necessary."""
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


class Copy:
    """A copy of the crates alone in a workspace of its own, for one mutant at a time."""

    def __init__(self, number):
        self.tree = BUILD / f"mutants/core-{number}"
        self.target = BUILD / f"mutants/core-{number}-target"
        workspace = (ROOT / "Cargo.toml").read_text()
        workspace = re.sub(r"(?ms)^members = \[.*?\]", f"members = {json.dumps(COPIED)}", workspace)
        workspace = re.sub(r"(?ms)^default-members = \[.*?\]\n", "", workspace)
        write_if_new(self.tree / "Cargo.toml", workspace)
        for name in ("Cargo.lock", "rust-toolchain.toml"):
            if not (self.tree / name).exists():
                shutil.copy(ROOT / name, self.tree / name)
        wanted = set()
        for path in (path for folder in COPIED for path in (ROOT / folder).rglob("*")):
            if path.is_file() and path.suffix in (".rs", ".toml"):
                place = self.tree / path.relative_to(ROOT)
                wanted.add(place)
                write_if_new(place, path.read_text())
        # Files that were removed there are removed here.
        for path in (path for folder in COPIED for path in list((self.tree / folder).rglob("*"))):
            if path.is_file() and path not in wanted:
                path.unlink()

    def take_over(self, other):
        """Takes what another copy has built of the libraries: a new target folder is built once."""
        if not self.target.exists():
            for package, program in PROGRAMS:
                other.run(package, program, ["--no-run"], BUILD_LIMIT_S)
            shutil.copytree(other.target, self.target)

    def run(self, package, program, arguments, limit_s, preemptions=PREEMPTIONS):
        """Runs cargo in the copy: (exit status or None after the time limit, output)."""
        env = dict(os.environ, RUST_BACKTRACE="0", CARGO_TERM_COLOR="never")
        env["CARGO_TARGET_DIR"] = str(self.target / program)
        # Two preemptions reveal an error sooner than the models' own bounds.
        env["LOOM_MAX_PREEMPTIONS"] = str(preemptions)
        if program == "loom":
            env["RUSTFLAGS"] = "--cfg loom"
        command = ["cargo", "test", "-q", "-p", package, "--profile", "quick", "--test", program, *arguments]
        return output_within(limit_s, command, self.tree, env)

    def verdict(self, mutant):
        """Applies one mutant and runs its test: None if it was killed, else the reason."""
        original = (SOURCES / mutant["file"]).read_text()
        program, test = mutant["test"].split("::", 1)
        broken, package = self.tree / mutant["file"], mutant["package"]
        broken.write_text(original.replace(mutant["text"], mutant["replacement"]))
        try:
            status, output = self.run(package, program, ["--no-run"], BUILD_LIMIT_S)
            if status is None:
                return f"it was not built after {BUILD_LIMIT_S} s"
            if status != 0:
                return "it does not build:\n" + output
            preemptions = mutant.get("preemptions", PREEMPTIONS)
            status, output = self.run(package, program, ["--", "--exact", test], TEST_LIMIT_S, preemptions)
        finally:
            broken.write_text(original)
        if status is None:
            return f"{mutant['test']} was not over after {TEST_LIMIT_S} s"
        if "running 1 test" not in output:
            return f"there is no test {mutant['test']}:\n" + output
        if status == 0:
            return f"{mutant['test']} still passes"
        return None if "1 failed" in output else f"{mutant['test']} did not end as a failed test:\n{output}"
