"""Counts of tests, with the output of those that failed."""

import dataclasses

from common import say


@dataclasses.dataclass
class Case:
    """One test and how it ended."""

    name: str
    outcome: str             # "passed", "failed", "skipped", or "expected": a known failure
    seconds: float = None    # None if it was not measured
    reason: str = ""
    evidence: str = ""
    stage: str = ""          # filled in by the driver


@dataclasses.dataclass
class Tally:
    """The result of some tests. An expected failure that happened counts as passed.

    The numbers count all tests; `cases` has those that are known by name.
    """

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    expected: int = 0
    cases: list = dataclasses.field(default_factory=list)

    def __iadd__(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.expected += other.expected
        self.cases += other.cases
        return self

    def __str__(self):
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"

    def total(self):
        """The number of tests."""
        return self.passed + self.failed + self.skipped

    def add(self, case):
        """Counts one test."""
        self.passed += case.outcome in ("passed", "expected")
        self.failed += case.outcome == "failed"
        self.skipped += case.outcome == "skipped"
        self.expected += case.outcome == "expected"
        self.cases.append(case)


def one(name, outcome="passed", **details):
    """The tally of one test."""
    tally = Tally()
    tally.add(Case(name, outcome, **details))
    return tally


def failure(name, reason, evidence="", seconds=None):
    """Reports one failed test, with the last lines of what it printed."""
    last = evidence.splitlines()[-40:]
    say("\n".join([f"FAILED {name}: {reason}", *(f"    | {line}" for line in last)]))
    return one(name, "failed", seconds=seconds, reason=reason, evidence="\n".join(last))


def slowest(cases, count=10):
    """The slowest tests that were measured, as lines."""
    measured = sorted((case for case in cases if case.seconds), key=lambda case: -case.seconds)
    return [f"{case.seconds:8.2f} s  {case.stage}: {case.name}" for case in measured[:count]]
