"""Runs the soak: the test image under random use, for each policy and its options.

A run is one boot (`soak=SECONDS soak_seed=SEED` on the kernel's command line). It does rounds until
its time is over. After each round the kernel checks that everything came back. Seed and number
determine a round's programs. The kernel prints:

    soak: seed 7, 20 s from round 1
    soak: 10 s, round 3, 812 address spaces freed       now and then
    soak: seed 7, round 4: what is wrong                a failure, then the end
    soak: 9 rounds, all came back                       the last line of a good run

With `soak_loses=WHAT` the kernel loses an object in its first round, and must report it.
"""

import dataclasses
import os
import re
import time

import machine
import running
from common import BUILD, USAGE, die, say, status
from kernel_tests import what_matters
from settings import POLICIES, Settings, from_environment
from tally import Tally, failure, one

KERNEL = BUILD / "kernel-test.elf"
INITRD = BUILD / "initrd-test.cpio"
# The kernel's options besides the policy. A run in four has none.
OPTIONS = ["", "trim=3", "tlb=ipi", "trim=3 tlb=ipi filter_lazies=on"]
# A shorter run would hardly get past the boot.
LEAST_S = 15
# Beyond its time a run needs its boot, the end of its last round, and a margin for a crowded host.
GRACE_S = 200
# The kernel's own limits end it earlier, with a report.
SILENCE_LIMIT_S = 180

PROGRESS = re.compile(r"soak: (\d+) s, (round \d+, .*)")
END = re.compile(r"soak: (\d+) rounds, all came back")
ROUND = re.compile(r"\bround (\d+)\b")
# Programs that end by a fault on purpose, and programs that succeed.
EXPECTED = re.compile(r"soak: (pid \d+: SIGSEGV: |ok$)")


# The objects that the kernel can lose on purpose, and the count that must show it.
LOSSES = {"frame": "free frames", "mm_count": "address spaces", "mm_users": "address spaces", "block": "bytes of the heap",
          "init_mm": "counts of init_mm"}
LOSS_LIMIT_S = 120


@dataclasses.dataclass
class Plan:
    """One run."""

    settings: object
    options: str
    seconds: int
    seed: int
    first: int           # the first round

    def label(self):
        """Its policy and options."""
        return " ".join(["lazy=" + self.settings.lazy, self.options]).strip()

    def replay(self, at):
        """The command that does round `at` of this run first."""
        words = [f"make soak MINUTES=1 SEED={self.seed} ROUND={at} SMP={self.settings.smp} LAZY={self.settings.lazy}"]
        words.append(f'OPTIONS="{self.options}"')
        if self.settings.append:
            words.append(f'APPEND="{self.settings.append}"')
        return " ".join(words)

    def command(self):
        """QEMU's command line."""
        words = [f"soak={self.seconds} soak_seed={self.seed} soak_from={self.first} report=off", self.options,
                 self.settings.append]
        settings = dataclasses.replace(self.settings, append=" ".join(filter(None, words)))
        return machine.command_line(settings, KERNEL, machine.archive_for(settings, INITRD))


def run(plan):
    """Runs a plan to its end; returns a tally of one."""
    began, last, rest, at, done = time.monotonic(), time.monotonic(), b"", plan.first, None
    lines, silent = [], False
    with running.Run(plan.command(), plan.seconds + GRACE_S) as qemu:
        for data in qemu.pieces(idle_s=1):
            *new, rest = (rest + data).split(b"\n")
            for line in (line.decode(errors="replace").strip() for line in new):
                last = time.monotonic()
                if EXPECTED.match(line):
                    continue
                lines.append(line)
                if end := END.match(line):
                    done = int(end.group(1))
                elif progress := PROGRESS.match(line):
                    at = int(ROUND.search(line).group(1))
                    say(f"  {plan.label()}: {progress.group(1)} s, {progress.group(2)}")
                elif line.startswith("soak: seed ") and (number := ROUND.search(line)):
                    at = int(number.group(1))
            status(f"  {plan.label()}: round {at}, {time.monotonic() - began:.0f} of {plan.seconds} s")
            silent = time.monotonic() - last > SILENCE_LIMIT_S
            if silent:
                break
        if silent:
            qemu.stop()
        outcome = qemu.finish()
    if rest:
        lines.append(rest.decode(errors="replace").strip())
    seconds = time.monotonic() - began
    if done and outcome.status == 0 and not silent:
        say(f"  {plan.label():40} {done} rounds in {seconds:.0f} s")
        return one(f"soak ({plan.label()}, seed {plan.seed})", seconds=seconds)
    reason = f"silent for {SILENCE_LIMIT_S} s" if silent else outcome.reason()
    tally = failure(f"soak ({plan.label()})", reason, "\n".join(what_matters(lines)), seconds)
    say(f"    seed {plan.seed}, round {at}; again: {plan.replay(max(at, 1))}")
    return tally


def is_missed(what):
    """One round in which `what` is lost: a passed test if the kernel ends with its report."""
    settings = Settings(smp=2, append=f"soak=1 soak_seed=1 soak_loses={what} report=off")
    outcome = running.run_quietly(machine.command_line(settings, KERNEL, INITRD), LOSS_LIMIT_S)
    wanted = rf"soak: seed 1, round 1: not all came back: .*\b{LOSSES[what]}: \d+ after \d+.*"
    if outcome.status == 1 and re.fullmatch(wanted, outcome.reason()):
        return one(f"soak misses a lost {what}", seconds=outcome.seconds)
    console = outcome.console.decode(errors="replace")
    return failure(f"soak misses a lost {what}", f"ends with: {outcome.reason()}", console, outcome.seconds)


def number(name, default, least):
    """A whole number of the environment."""
    text = os.environ.get(name, "").strip() or str(default)
    if not text.isascii() or not text.isdigit() or int(text) < least:
        die(f"{name}={text} is not a number of {least} or more.", USAGE)
    return int(text)


def plans(total_s):
    """The runs that share `total_s` seconds: each policy, with as many of its options as there is
    time for. LAZY and OPTIONS in the environment restrict them."""
    base = from_environment()
    if not os.environ.get("SMP", "").strip():
        base.smp = 8
    seed = number("SEED", time.time_ns() % 1_000_000_000, 0)
    first = number("ROUND", 1, 1)
    policies = [base.lazy] if os.environ.get("LAZY", "").strip() else POLICIES
    options = [os.environ["OPTIONS"].strip()] if "OPTIONS" in os.environ else OPTIONS
    if "tlb=" in base.append or base.tlb:
        options = [words for words in options if "tlb=" not in words] or [""]
    # In turn: the first four runs have all policies and all options once.
    pairs = [(policies[n % len(policies)], options[(n + n // len(policies)) % len(options)])
             for n in range(len(policies) * len(options))]
    chosen = pairs[:max(len(policies), min(len(pairs), total_s // LEAST_S))]
    each_s = max(1, total_s // len(chosen))
    return [Plan(dataclasses.replace(base, lazy=policy), words, each_s, seed, first) for policy, words in chosen]


def run_all(total_s):
    """Runs all plans, one after another: a guest of 8 CPUs has the host to itself."""
    tally, wanted = Tally(), plans(total_s)
    say(f"  seed {wanted[0].seed}: {len(wanted)} runs of {wanted[0].seconds} s on {wanted[0].settings.smp} CPUs")
    for plan in wanted:
        tally += run(plan)
    return tally
