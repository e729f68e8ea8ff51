"""A sequence: its steps, the file that the program `sequences` reads, and the text for people."""

import dataclasses
import errno
import struct

from sequences_model import ACCERR, ADRERR, BUS, END_OF_FILE, ERRNO, EXEC, ILL, MAPERR, PROCESSES, READ, SEGV, WRITE, Model

# Operations and kinds of mappings are in the program's order.
OPS = ("map", "unmap", "protect", "discard", "load", "store", "call", "kernel_load", "kernel_store", "truncate", "read_file",
       "write_file", "fork", "exec", "exit")
KINDS = ("private memory", "shared memory", "private file", "shared file", "private read-only file", "shared read-only file")
POPULATE = 0x1000
MOST_STEPS = 96
# Results that the model never expects.
GARBAGE, NO_ANSWER, STRAY_FAULT, BAD_END, SHORT = 0x600, 0x700, 0x800, 0x900, 0xb00


@dataclasses.dataclass(frozen=True)
class Sequence:
    """A sequence as it is drawn."""

    seed: int
    number: int
    steps: tuple
    file_size: int
    homes: tuple             # the CPU of each process
    spins: bool              # whether waiting threads spin at first

    def expected(self):
        """(each step's result, the parent of each process); `Impossible` if a step is out of
        place."""
        model = Model(self.file_size)
        return [model.apply(step) for step in self.steps], model.parents

    def encoded(self, number):
        """Its bytes in the file, under `number`."""
        expected, parents = self.expected()
        parents = [parents.get(process, 0) for process in range(PROCESSES)]
        head = struct.pack(">IHH3B3BBx", number, len(self.steps), self.file_size, *self.homes, *parents, self.spins)
        return head + b"".join(map(encoded_step, self.steps, expected))


def encoded_step(step, expected):
    """One step's bytes."""
    value = step.value
    if step.op == "map":
        value |= KINDS.index(step.kind) << 4 | step.offset << 8 | POPULATE * step.populate
    return struct.pack(">BBBBBxHH", OPS.index(step.op), step.process, step.thread, step.page, step.count, value, expected)


def file_of(sequences, tell_every):
    """The file of some sequences: each under its place in the list, from 0."""
    parts = [sequence.encoded(place) for place, sequence in enumerate(sequences)]
    return struct.pack(">4sIIxxxx", b"SEQ1", len(parts), tell_every) + b"".join(parts)


# --- for people ---

def protection(bits):
    """`RW` and the like."""
    return "".join(letter for bit, letter in ((READ, "R"), (WRITE, "W"), (EXEC, "X")) if bits & bit) or "NONE"


def pages_of(step):
    """The pages of a step."""
    last = step.page + step.count - 1
    return f"page {step.page}" if step.count == 1 else f"pages {step.page} to {last}"


def text_of(step):
    """A step, in words."""
    word = f"page {step.page}" + (f", word {step.count}" if step.count else "")
    populated = ", populated" if step.populate else ""
    from_page = f" from its page {step.offset}" if "file" in step.kind else ""
    what = {
        "map": lambda: f"map {step.kind}{from_page} {protection(step.value)} at {pages_of(step)}{populated}",
        "unmap": lambda: f"munmap {pages_of(step)}",
        "protect": lambda: f"mprotect {pages_of(step)} to {protection(step.value)}",
        "discard": lambda: f"madvise(DONTNEED) {pages_of(step)}",
        "load": lambda: f"load {word}",
        "store": lambda: f"store {step.value} to {word}",
        "call": lambda: f"call {word}",
        "kernel_load": lambda: f"write() out of {word}",
        "kernel_store": lambda: f"read() {step.value} into {word}",
        "truncate": lambda: f"ftruncate the file to {step.value} bytes",
        "read_file": lambda: f"pread of the file, {word}",
        "write_file": lambda: f"pwrite {step.value} to the file, {word}",
        "fork": lambda: f"fork process {step.page}",
        "exec": lambda: "exec",
        "exit": lambda: "exit",
    }[step.op]()
    return f"process {step.process}{', the other CPU' if step.thread else ''}: {what}"


def text_of_seen(seen):
    """The result of a step, in words."""
    named = {MAPERR: "SIGSEGV (MAPERR)", ACCERR: "SIGSEGV (ACCERR)", ADRERR: "SIGBUS", ILL: "SIGILL: zeroes",
             END_OF_FILE: "end of file", GARBAGE: "a word that no step has stored", NO_ANSWER: "no answer",
             BAD_END: "a process that ends otherwise", SHORT: "not one whole word"}
    if seen < ERRNO:
        return f"{seen}"
    if seen in named:
        return named[seen]
    kind, low = seen & ~0xff, seen & 0xff
    if kind == ERRNO:
        return errno.errorcode.get(low, f"errno {low}")
    return {SEGV: f"SIGSEGV, code {low}", BUS: f"SIGBUS, code {low}",
            STRAY_FAULT: f"signal {low} outside the window"}.get(kind, f"{seen:#x}")


def told(sequence, wrong=None, seen=None):
    """A sequence, line by line; the step that went wrong with its result."""
    expected, _ = sequence.expected()
    homes = ", ".join(str(home) for home in sequence.homes[:1 + sum(step.op == "fork" for step in sequence.steps)])
    lines = [f"the file has {sequence.file_size} bytes; CPU of each process: {homes}"
             + ("; waiting threads spin" if sequence.spins else "")]
    for number, (step, value) in enumerate(zip(sequence.steps, expected)):
        shows = text_of_seen(value) if value or step.op in ("load", "kernel_load", "read_file") else "done"
        mark = f"   <-- seen: {text_of_seen(seen)}" if number == wrong else ""
        lines.append(f"{number:3}. {text_of(step)}: {shows}{mark}")
    if wrong is not None and wrong >= len(expected):
        lines.append(f"     at the end: {text_of_seen(seen)}")
    return lines
