"""Counts of tests, and the names of those that a reader wants to see."""

import dataclasses

from common import say


@dataclasses.dataclass
class Tally:
    """What some tests came to. An expected failure that happened counts as passed."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    expected: int = 0

    def __iadd__(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.expected += other.expected
        return self

    def __str__(self):
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"

    def total(self):
        """How many tests these are."""
        return self.passed + self.failed + self.skipped


def failure(name, reason, evidence=""):
    """Reports one failed test, with the last lines of what it printed."""
    lines = [f"FAILED {name}: {reason}"]
    lines += [f"    | {line}" for line in evidence.splitlines()[-40:]]
    say("\n".join(lines))
    return Tally(failed=1)
