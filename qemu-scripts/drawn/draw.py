"""Draws mutants: the tree and the seed determine which ones, and their order.

Each place where a rule applies has a weight, so that a file's mutants are in proportion to
its lines, and within a file each rule has an equal share. A hash of the seed and of the
mutant decides the order: a change to one file leaves the order of all others unchanged.
"""

import collections
import dataclasses
import hashlib
import math

from common import ROOT

from . import assembly_rules, code, rust_rules

# Where mutants are drawn: the product.
FOLDERS = ("kernel/src", "arch/powerpc64/src", "kernel/core/src", "kernel/vm/src", "kernel/formats/src", "kernel/terminal/src",
           "kernel/files/src")
# Parts that are no product, or only report to people.
LEFT_OUT = {
    "kernel/src/selftest": "tests",
    "kernel/src/limits.rs": "tests: what they limit",
    "kernel/src/oracle": "a judge",
    "arch/powerpc64/src/mmu/observer.rs": "a judge",
    "kernel/core/src/model": "a judge",
    "kernel/core/src/sync/modelled.rs": "a judge",
    "kernel/src/crash": "crash reports",
    "kernel/src/debug.rs": "what debuggers read",
    "kernel/src/report.rs": "the report",
    "kernel/src/task/report.rs": "crash reports",
    "kernel/src/trace": "the trace",
    "kernel/src/special/trace.rs": "the trace",
    "kernel/src/syscall/traced.rs": "the trace",
    "kernel/core/src/recorded.rs": "the trace",
    "kernel/src/monitor": "the monitor",
    "arch/powerpc64/src/backtrace.rs": "crash reports",
}
TEST_FILES = ("tests.rs", "builder.rs")


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One change of one file."""

    file: str        # from the root of the tree
    line: int
    rule: str
    before: str      # the line or lines that change
    after: str
    name: str        # eight hexadecimal digits, independent of the lines' place
    start: int       # the change: the text between two places becomes `text`
    end: int
    text: str

    def applied(self, source):
        """The file with the change in it. The other lines keep their places."""
        lost = source[self.start:self.end].count("\n") - self.text.count("\n")
        return source[:self.start] + self.text + "\n" * lost + source[self.end:]


def files(where=""):
    """The files that mutants are drawn from, in a fixed order: those whose path begins with one of
    the words of `where`."""
    begins = tuple(where.split()) or ""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            name = str(path.relative_to(ROOT))
            left_out = any(name == one or name.startswith(f"{one}/") for one in LEFT_OUT)
            if path.suffix in (".rs", ".S") and name.startswith(begins) and not left_out and path.name not in TEST_FILES:
                yield name


def changes(source, is_assembly):
    """(blanked text, {rule: its changes}) of a file; no change appears under two rules."""
    module, blanked = (assembly_rules, assembly_rules.Blanked) if is_assembly else (rust_rules, code.Blanked)
    text, seen, by_rule = blanked(source), set(), {}
    for rule, places in module.RULES.items():
        new = [change for change in dict.fromkeys(places(text)) if change not in seen]
        seen.update(new)
        by_rule[rule] = new
    return text.text, {rule: new for rule, new in by_rule.items() if new}


def mutants_of(file, seed):
    """(place in the order, mutant) for each mutant of a file."""
    source = (ROOT / file).read_text()
    text, by_rule = changes(source, file.endswith(".S"))
    lines = sum(bool(line.strip()) for line in text.splitlines())
    same = collections.Counter()
    for rule, found in by_rule.items():
        weight = lines / len(by_rule) / len(found)
        for start, end, new in found:
            first, last = source.rfind("\n", 0, start) + 1, source.find("\n", end)
            before = source[first:last]
            after = source[first:start] + new + source[end:last]
            same[before, after] += 1
            identity = f"{file}\0{rule}\0{before}\0{after}\0{same[before, after]}"
            name = hashlib.sha256(identity.encode()).hexdigest()[:8]
            drawn = int.from_bytes(hashlib.sha256(f"{seed}\0{identity}".encode()).digest()[:8]) + 1
            mutant = Mutant(file, source.count("\n", 0, start) + 1, rule, before, after, name, start, end, new)
            # The order of waiting times at rates that are the weights.
            yield -math.log(drawn / (2**64 + 1)) / weight, mutant


def order(seed, where=""):
    """All mutants, in the order in which they are drawn."""
    found = [pair for file in files(where) for pair in mutants_of(file, seed)]
    return [mutant for _, mutant in sorted(found, key=lambda pair: (pair[0], pair[1].name))]
