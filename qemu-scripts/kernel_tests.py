"""Runs the test image and reads its verdicts: KTAP, version 1, on the console.

The kernel's lines, and their meaning:

    KTAP version 1
    1..N
    # exit_with_lazy_cpus starts      so that a hang has a name
    ok 7 exit_with_lazy_cpus # 12 ms
    ok 8 name # SKIP reason
    ok 9 name # XFAIL reason          a known failure, as expected: passed, and shown
    not ok 10 name                    the lines since its start say why

The kernel ends itself after the last test. If it hangs or dies in a test, that test has failed and
the kernel starts again with the next test (`test_from=N` on its command line; `test=PATTERN` runs
the tests with that in their names). Tests keep their numbers across restarts.
"""

import dataclasses
import os
import re
import time

import machine
from common import BUILD, status
from running import Run
from settings import POLICIES, from_environment, in_kernel_test
from tally import Case, Tally

KERNEL = BUILD / "kernel-test.elf"
INITRD = BUILD / "initrd-test.cpio"
# The longest silence of a test, boot included; the kernel's own limits are shorter.
SILENCE_LIMIT_S = 60
# All tests of one configuration, for each 64 CPUs begun.
TOTAL_LIMIT_S = 300

VERDICT = re.compile(r"(ok|not ok) (\d+) (\S+)(?: # (?:(SKIP|XFAIL)\b)?(.*))?$")
START = re.compile(r"# (\S+) starts$")
TOOK = re.compile(r"(\d+) ms$")
CRASH = re.compile(r"kernel (panic|fault|stopped): ")
PLAN = re.compile(r"1\.\.(\d+)$")


@dataclasses.dataclass
class Boot:
    """The output of one boot of the test image so far."""

    plan: int = None
    number: int = 0          # the test that runs, or the last one that has ended
    name: str = ""           # of the test that runs, "" between tests
    evidence: list = dataclasses.field(default_factory=list)
    events: int = 0          # lines of KTAP, which shows that a test is not silent


def what_matters(lines, most=40):
    """The last lines, or of a crash report the first: the cause, and the CPU that reported it."""
    cause = next((at for at, line in enumerate(lines) if CRASH.match(line)), None)
    return lines[-most:] if cause is None else lines[max(0, cause - most // 2):][:most]


class Configuration:
    """One configuration of the matrix and its results."""

    def __init__(self, settings, pattern="", total_limit_s=None):
        self.settings = settings
        self.pattern = pattern
        self.total_limit_s = total_limit_s or TOTAL_LIMIT_S * -(-settings.smp // 64)
        options = [settings.tlb and f"tlb={settings.tlb}", settings.irq and f"irq={settings.irq}", settings.append]
        self.label = " ".join(filter(None, [f"smp={settings.smp} lazy={settings.lazy}", *options]))
        self.tally = Tally()
        self.shown = []          # failures and oddities, in order

    def fail(self, name, reason, evidence=()):
        """Counts a failed test and keeps its output."""
        lines = what_matters(list(evidence))
        self.count(name, "failed", reason=reason, evidence="\n".join(lines))
        story = "".join(f"\n    | {line}" for line in lines)
        self.shown.append(f"FAILED {name} ({self.label}): {reason}{story}")

    def count(self, name, outcome, **details):
        """Counts one test under its full name."""
        self.tally.add(Case(f"{name} ({self.label})", outcome, **details))

    def read(self, line, boot):
        """Takes one line of the console."""
        line = line.strip()
        if plan := PLAN.match(line):
            boot.plan = int(plan.group(1))
        elif start := START.match(line):
            boot.number, boot.name = boot.number + 1, start.group(1)
            boot.evidence.clear()
            status(f"  {self.label}: test {boot.number} of {boot.plan}, {boot.name}")
        elif verdict := VERDICT.match(line):
            self.judge(verdict, boot)
        else:
            boot.evidence.append(line)
            return
        boot.events += 1

    def judge(self, verdict, boot):
        """Counts one verdict."""
        word, number, name, directive, reason = verdict.groups()
        boot.number, reason = int(number), (reason or "").strip()
        took = TOOK.match(reason)
        if directive == "SKIP":
            self.count(name, "skipped", reason=reason)
            # With LAZY one policy is tried: the reasons tell what it is not tested for.
            if os.environ.get("LAZY"):
                self.shown.append(f"skipped {name} ({self.label}): {reason}")
        elif directive == "XFAIL":
            self.count(name, "expected", reason=reason)
            self.shown.append(f"expected failure {name} ({self.label}): {reason}")
        elif word == "ok":
            self.count(name, "passed", seconds=int(took.group(1)) / 1000 if took else None)
        else:
            said = boot.evidence and boot.evidence[-1].startswith("# ")
            self.fail(name, boot.evidence[-1][2:] if said else "its own verdict", boot.evidence)
        boot.name = ""
        boot.evidence.clear()

    def boot(self, first, limit_s):
        """One boot from test `first` on. Returns the test to go on from, None at the end."""
        words = [f"test={self.pattern}"] + [f"test_from={first}"] * (first > 1)
        settings = dataclasses.replace(self.settings, append=" ".join([*words, self.settings.append]).strip())
        command = machine.command_line(settings, KERNEL, machine.archive_for(settings, INITRD))
        boot, rest, last_event, seen, silent = Boot(number=first - 1), b"", time.monotonic(), 0, False
        with Run(command, limit_s) as run:
            for data in run.pieces(idle_s=1):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self.read(line.decode(errors="replace"), boot)
                now = time.monotonic()
                if boot.events != seen:
                    last_event, seen = now, boot.events
                if now - last_event > SILENCE_LIMIT_S:
                    silent = True
                    break
            if silent:
                run.stop()
            outcome = run.finish()
        if rest:
            self.read(rest.decode(errors="replace"), boot)
        how = "hangs" if silent or outcome.timed_out else f"the kernel ended: {outcome.reason()}"
        if boot.plan is None:
            self.fail("boot", f"no test plan; {how}", boot.evidence)
            return None
        if boot.name or boot.number < boot.plan:
            # Died in a test, or between two: then the next one is counted as failed.
            number = boot.number if boot.name else boot.number + 1
            self.fail(boot.name or f"test {number}", how, boot.evidence)
            return number + 1 if number < boot.plan else None
        if silent or outcome.timed_out:
            self.fail("power-off", "the kernel does not end after its last test", boot.evidence)
        return None

    def run(self):
        """Runs the configuration to its end."""
        end, first = time.monotonic() + self.total_limit_s, 1
        while first is not None:
            left = end - time.monotonic()
            if left < 1:
                self.fail(f"test {first} and later", f"not run: {self.total_limit_s} s are over")
                break
            first = self.boot(first, left)
        if self.tally.total() == 0:
            self.fail("no test", f"no test matches {self.pattern!r}" if self.pattern else "the plan is empty")
        return self


def matrix():
    """The configurations to run: all, or those that SMP and LAZY in the environment leave.

    Without TLB each number of CPUs has one way for its flushes to travel, so that both ways
    are tested under each policy. Without IRQ half of the boots use the interrupt controller that is not
    the usual one: each policy runs with each pair of a controller and a way of flushes. Shootdown as the
    series had it runs on 4 CPUs.
    """
    base = from_environment()
    cpus = [base.smp] if os.environ.get("SMP") else [1, 2, 4, 8]
    policies = [base.lazy] if os.environ.get("LAZY") else POLICIES
    pattern = os.environ.get("TEST", "")
    in_kernel_test("TEST=", pattern)
    tlb = lambda n: base.tlb or ("ipi" if n in (2, 8) else "")
    irq = lambda n, policy: base.irq or ("xics" if (n in (2, 4)) == (POLICIES.index(policy) % 2 == 0) else "")
    plain = f"exit_kick=off {base.append}".strip()
    rows = [(n, policy, base.append) for n in cpus for policy in policies]
    rows += [(4, "shootdown", plain)] * (4 in cpus and "shootdown" in policies and "exit_kick" not in base.append)
    return [Configuration(dataclasses.replace(base, smp=n, lazy=policy, tlb=tlb(n), irq=irq(n, policy), append=words), pattern)
            for n, policy, words in rows]
