"""Runs sequences on the kernel, reads which steps had unexpected results, and finds the shortest
sequence that fails.

A boot does all sequences of a file, as the in-kernel test `program_sequences`, which then
checks that all memory came back. The program prints:

    sequences: at 300                                 now and then
    sequences: 312 step 7: seen 0x0201 (0x0)          one went wrong; the next goes on
    sequences: 499 of 500 as expected                 the last line

If a boot dies, or loses memory, no single step is to blame: then fewer sequences are tried.
"""

import concurrent.futures
import dataclasses
import os
import re
import tempfile
import threading
import time

import initrd
import machine
import running
from common import BUILD, ROOT, USAGE, die, say, status
from kernel_tests import CRASH, what_matters
from sequences_draw import FEATURES, draw
from sequences_format import file_of, told
from sequences_model import Impossible
from settings import POLICIES, from_environment
from soak_runs import number
from tally import failure, one

KERNEL = BUILD / "kernel-test.elf"
PROGRAM = "target/powerpc64-kernel/release/sequences"
TEST = "program_sequences"
SEQUENCES = 10_000
# CPUs, share of the sequences, more words for the kernel's command line; with each policy.
MACHINES = ((1, 6, ""), (4, 1, ""), (2, 1, "tlb=ipi trim=3"))
# The number in the initrd of all in-kernel tests, and the number in which a mutant must be noticed.
FEW, ENOUGH = 20, 200
# The members of FEATURES that the kernel lacks.
NOT_YET = ()
TELL_EVERY = 50
BOOT_LIMIT_S = 240
# The limit of a boot with few sequences.
SHORT_LIMIT_S = 60
# The limit of the search for the shortest sequence.
SHRINK_LIMIT_S = 150
# The first batch that fails takes it and keeps it.
SHRINKING = threading.Lock()
# A loss of memory must exceed the memory that the kernel keeps for the next sequence.
REPEATS = 3

WRONG = re.compile(r"sequences: (\d+) step (\d+): seen 0x([0-9a-f]+) \(0x([0-9a-f]+)\)")
AT = re.compile(r"sequences: at (\d+)")
PASSED = re.compile(rf"ok \d+ {TEST}\b(?! # SKIP)")


@dataclasses.dataclass
class Result:
    """The result of a boot."""

    passed: bool
    wrong: dict              # (step, result) of each sequence with an unexpected result, by its place
    last: int                # the last place that the program reported
    reason: str
    console: list            # its lines
    seconds: float

    def died(self):
        """Whether there is a fault without a step to blame."""
        return not self.passed and not self.wrong

    def brief(self, sequences):
        """The kernel's last words, or the number of sequences that went wrong."""
        if self.wrong:
            return [f"{len(self.wrong)} of {len(sequences)} sequences were not as expected"]
        return what_matters([line for line in self.console if not AT.match(line)], 15)


def archive_of(file):
    """The initrd with the program and its file."""
    return initrd.archive({"bin/sequences": initrd.stripped((ROOT / PROGRAM).read_bytes()), "sequences": file})


def fixed_file(count):
    """The file with the first `count` sequences of a fixed seed."""
    return file_of([draw(1, place, left_out()) for place in range(count)], 0)


def archive_for_mutants():
    """The initrd with enough of them, written anew."""
    path = BUILD / "sequences.cpio"
    path.write_bytes(archive_of(fixed_file(ENOUGH)))
    return path


def why(lines):
    """The kernel's reason for its end, or for the test's failure; None if there is none."""
    for before, line in zip([""] + lines, lines):
        if CRASH.match(line):
            return line
        if line.startswith("not ok ") and before.startswith("# "):
            return before[2:]
    return None


def boot(settings, sequences, limit_s=SHORT_LIMIT_S):
    """Boots once with a file of sequences."""
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="sequences-") as folder:
        archive = os.path.join(folder, "initrd.cpio")
        with open(archive, "wb") as file:
            file.write(archive_of(file_of(sequences, TELL_EVERY)))
        words = " ".join(filter(None, (f"test={TEST}", settings.append)))
        command = machine.command_line(dataclasses.replace(settings, append=words), KERNEL, archive)
        outcome = running.run_quietly(command, limit_s)
    lines = [line.strip() for line in outcome.console.decode(errors="replace").splitlines()]
    wrong, last = {}, 0
    for line in lines:
        if found := WRONG.match(line):
            wrong[int(found.group(1))] = int(found.group(2)), int(found.group(3), 16)
        elif found := AT.match(line):
            last = int(found.group(1))
    passed = outcome.status == 0 and not outcome.timed_out and any(map(PASSED.match, lines))
    reason = "" if passed else outcome.reason() if outcome.timed_out else why(lines) or outcome.reason()
    return Result(passed, wrong, last, reason, lines, outcome.seconds)


# --- the shortest that fails ----------------------------------------------------------

class Shrinker:
    """Makes sequences that fail shorter while they still fail, within a time."""

    def __init__(self, settings):
        self.settings = settings
        self.end = time.monotonic() + SHRINK_LIMIT_S

    def late(self):
        """Whether the time is over."""
        return time.monotonic() > self.end

    def failing(self, candidates, dies):
        """The first of these lists of sequences that fails; None if none does. If steps have
        failed, one boot tries all, each a list of one; else each takes a boot, side by side."""
        if not dies:
            result = boot(self.settings, [one_only for (one_only,) in candidates])
            return candidates[min(result.wrong)] if result.wrong else None
        fails = lambda candidate: not boot(self.settings, candidate).passed
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for at in range(0, len(candidates), 2):
                pair = candidates[at:at + 2]
                for candidate, failed in zip(pair, pool.map(fails, pair)):
                    if failed:
                        return candidate
                if self.late():
                    break
        return None

    def fewest(self, sequences):
        """The shortest run of these sequences with which the kernel dies."""
        while len(sequences) > 1 and not self.late():
            half = (len(sequences) + 1) // 2
            found = self.failing([sequences[:half], sequences[half:]], True)
            if found is None:
                break
            sequences = found
        return sequences

    def shortest(self, sequence, dies):
        """The sequence with as few steps as possible."""
        repeats = REPEATS if dies else 1
        size = max(1, len(sequence.steps) // 2)
        while size and not self.late():
            status(f"  shrinking: {len(sequence.steps)} steps, without {size} at a time")
            candidates = [[shorter] * repeats for shorter in without_each(sequence, size)]
            found = candidates and self.failing(candidates, dies)
            if found:
                sequence = found[0]
                size = min(size, max(1, len(sequence.steps) // 2))
            else:
                size //= 2
        return sequence


def without_each(sequence, size):
    """The sequence without some steps, for each place where that is possible."""
    shorter = []
    for at in range(0, len(sequence.steps), size):
        candidate = dataclasses.replace(sequence, steps=sequence.steps[:at] + sequence.steps[at + size:])
        try:
            candidate.expected()
        except Impossible:
            continue
        if candidate.steps:
            shorter.append(candidate)
    return shorter


# --- a batch --------------------------------------------------------------------------

@dataclasses.dataclass
class Batch:
    """Some sequences on one machine."""

    settings: object
    seed: int
    first: int
    count: int
    without: tuple

    def name(self):
        """The name of its test."""
        more = f" {self.settings.append}" if self.settings.append else ""
        return f"sequences (smp={self.settings.smp} lazy={self.settings.lazy}{more})"

    def again(self, sequence):
        """The command that does one sequence on this machine."""
        words = [f"make test-sequences SEED={self.seed} SEQUENCE={sequence} SMP={self.settings.smp} LAZY={self.settings.lazy}"]
        if self.settings.append:
            words.append(f'APPEND="{self.settings.append}"')
        if self.without != NOT_YET:
            words.append(f'WITHOUT="{" ".join(self.without)}"')
        return " ".join(words)

    def run(self):
        """Does all of it; returns a tally of one."""
        sequences = [draw(self.seed, self.first + place, self.without) for place in range(self.count)]
        result = boot(self.settings, sequences, BOOT_LIMIT_S)
        steps = sum(len(sequence.steps) for sequence in sequences)
        if result.passed:
            say(f"  {self.name()}: {self.count} sequences, {steps} steps, {result.seconds:.0f} s")
            return one(self.name(), seconds=result.seconds)
        # A kernel with a bug fails in many batches: one detailed report is enough.
        story = self.story(result, sequences) if SHRINKING.acquire(blocking=False) else result.brief(sequences)
        return failure(self.name(), f"seed {self.seed}: {result.reason}", "\n".join(story), result.seconds)

    def story(self, result, sequences):
        """The report: the kernel's last words, the shortest sequence, the command."""
        shrinker, dies, lines = Shrinker(self.settings), result.died(), result.brief(sequences)
        if dies:
            # A missing frame may be noticed late, in another sequence.
            near = sequences[max(0, result.last - TELL_EVERY):result.last + TELL_EVERY]
            culprits = shrinker.fewest(near if not boot(self.settings, near).passed else sequences)
        else:
            culprits = [sequences[min(result.wrong, key=lambda place: result.wrong[place][0])]]
        if len(culprits) > 1:
            return [*lines, f"no single sequence is to blame: {culprits[0].number} to {culprits[-1].number}; "
                            f"again: {self.again(f'{culprits[0].number}-{culprits[-1].number}')}"]
        found = shrinker.shortest(culprits[0], dies)
        last = boot(self.settings, [found] * (REPEATS if dies else 1))
        wrong = last.wrong.get(0, (None, None))
        return [*lines, f"sequence {found.number} of seed {self.seed}, cut to the shortest that still fails:", *told(found, *wrong),
                *([last.reason] if dies else []), f"to run all of it again: {self.again(found.number)}"]


def left_out():
    """The features that are not drawn: WITHOUT in the environment."""
    without = tuple(os.environ.get("WITHOUT", " ".join(NOT_YET)).split())
    for feature in without:
        if feature not in FEATURES:
            die(f"WITHOUT={feature} is not one of {', '.join(FEATURES)}.", USAGE)
    return without


def batches():
    """The batches of a run: each policy on each machine, or those that SMP and LAZY leave. The
    environment also has SEED, SEQUENCE (one, or `first-last`), SEQUENCES and WITHOUT."""
    base = from_environment()
    seed = number("SEED", time.time_ns() % 1_000_000_000, 0)
    without = left_out()
    total = number("SEQUENCES", SEQUENCES, 1)
    policies = [base.lazy] if os.environ.get("LAZY", "").strip() else POLICIES
    machines = [(base.smp, 1, "")] if os.environ.get("SMP", "").strip() else MACHINES
    shares = len(policies) * sum(share for _, share, _ in machines)
    plans, at = [], 0
    for cpus, share, words in machines:
        for policy in policies:
            append = " ".join(filter(None, (base.append, words)))
            settings = dataclasses.replace(base, smp=cpus, lazy=policy, append=append)
            count = -(-total * share // shares)
            plans.append(Batch(settings, seed, at, count, without))
            at += count
    wanted = os.environ.get("SEQUENCE", "").strip()
    if wanted:
        found = re.fullmatch(r"(\d+)(?:-(\d+))?", wanted)
        if not found:
            die(f"SEQUENCE={wanted} is not a number, or first-last.", USAGE)
        first, last = int(found.group(1)), int(found.group(2) or found.group(1))
        plans = [dataclasses.replace(plan, first=first, count=last - first + 1) for plan in plans]
    return plans


def run(at_a_time):
    """Does all batches, some at a time; yields their tallies."""
    plans = batches()
    say(f"  seed {plans[0].seed}: {sum(plan.count for plan in plans)} sequences, {len(plans)} boots"
        + (f", without {', '.join(plans[0].without)}" if plans[0].without else ""))
    yield from at_a_time(Batch.run, plans)
