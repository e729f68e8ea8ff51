"""Draws sequences.

Steps are drawn one after the other, with the model at hand: an operation, then accesses
that would show it done wrongly, first by threads that still have the old translation, by
the other processes, and on the way back. Seed and number of a sequence say all of it.
"""

import random

from sequences_format import KINDS, MOST_STEPS, Sequence
from sequences_model import CELL_BYTES, CELLS, EXEC, PAGE, PAGES, PROCESSES, READ, WRITE, Impossible, Model, Step

# What a kernel may not have yet: shrinking a file that is mapped; a call that fails half-way.
FEATURES = ("truncate", "partial")

PROTECTIONS = {0: 3, READ: 5, READ | WRITE: 6, EXEC: 2, READ | EXEC: 3, READ | WRITE | EXEC: 3, WRITE: 1, WRITE | EXEC: 1}
CHANGES = {"map": 4, "protect": 8, "discard": 2, "unmap": 2, "fork": 5, "truncate": 3, "read_file": 1, "write_file": 2,
           "exec": 1, "exit": 2}
ACCESSES = {"load": 5, "store": 5, "call": 2, "kernel_load": 1, "kernel_store": 2}
KIND_WEIGHTS = dict(zip(KINDS, (8, 4, 5, 5, 1, 2)))


class Drawer:
    """Draws one sequence."""

    def __init__(self, seed, number, without):
        self.random = random.Random(f"{seed}/{number}")
        self.without = without
        draw = self.random
        self.file_size = CELL_BYTES * draw.choice((PAGES * CELLS, PAGES * CELLS, draw.randrange(PAGES * CELLS + 1)))
        self.homes = tuple(draw.randrange(4) for _ in range(PROCESSES))
        self.spins = draw.random() < 0.5
        self.two_threads = draw.random() < 0.7
        # Most that happens happens to one page.
        self.focus = draw.randrange(PAGES)
        self.model, self.steps, self.value = Model(self.file_size), [], 0
        self.sequence = Sequence(seed, number, self.steps, self.file_size, self.homes, self.spins)

    def pick(self, weights):
        """One of the keys, by weight."""
        return self.random.choices(list(weights), weights.values())[0]

    def chance(self, probability):
        """True so often."""
        return self.random.random() < probability

    def process(self):
        """A living process."""
        return self.random.choice(list(self.model.spaces))

    def thread(self):
        """A thread of a process."""
        return int(self.two_threads and self.chance(0.4))

    def page(self):
        """A page, mostly the same one."""
        return self.focus if self.chance(0.75) else self.random.randrange(PAGES)

    def pages(self):
        """(the first, how many), mostly with the focus among them."""
        first = self.page()
        return first, self.random.randint(1, PAGES - first) if self.chance(0.3) else 1

    def fresh(self):
        """A value that nobody has stored."""
        self.value += 1
        return self.value

    def add(self, step):
        """Adds a step if it can stand here; whether it does."""
        if len(self.steps) >= MOST_STEPS:
            return False
        if step.op == "protect" and "partial" in self.without and self.may_fail_half_way(step):
            return False
        try:
            self.model.apply(step)
        except Impossible:
            return False
        self.steps.append(step)
        return True

    def may_fail_half_way(self, step):
        """Whether an mprotect of several pages fails."""
        mappings = self.model.spaces[step.process][step.page:step.page + step.count]
        wrong = [mapping is None or bool(step.value & WRITE) and not mapping.may_write for mapping in mappings]
        return len(wrong) > 1 and any(wrong)

    # --- steps ---

    def access(self, process=None, thread=None, page=None):
        """One access to a word."""
        process = self.process() if process is None else process
        thread = self.thread() if thread is None else thread
        op = self.pick(ACCESSES)
        value = self.fresh() if "store" in op else 0
        self.add(Step(op, process, thread, self.page() if page is None else page, self.cell(), value))

    def cell(self):
        """A word of a page, mostly the first."""
        return int(self.chance(0.2))

    def probe(self, page, by):
        """Accesses that would show that what `by` did to the page was not done everywhere."""
        process, thread = by
        if process in self.model.spaces:
            for other in ([1 - thread, thread] if self.two_threads else [thread]):
                if self.chance(0.7):
                    self.access(process, other, page)
        for other in list(self.model.spaces):
            if other != process and self.chance(0.5):
                self.access(other, None, page)

    def change(self, op, process, thread):
        """One step that is no access, and what would show it."""
        first, count = self.pages()
        if op in ("protect", "discard", "unmap") and self.model.spaces[process][first] is None and self.chance(0.8):
            first, count = self.focus, 1
        if op == "map":
            self.map(process, thread, first, count)
        elif op == "protect":
            self.protect(process, thread, first, count)
        elif op in ("discard", "unmap"):
            self.add(Step(op, process, thread, first, count))
        elif op == "truncate":
            self.truncate(process, thread)
        elif op in ("read_file", "write_file"):
            value = self.fresh() if op == "write_file" else 0
            self.add(Step(op, process, thread, self.page(), self.cell(), value))
        elif op == "fork":
            self.fork(process, thread)
        else:
            self.add(Step(op, process, thread))
        self.probe(first, (process, thread))

    def map(self, process, thread, first, count):
        """Maps something."""
        kind, offset = self.pick(KIND_WEIGHTS), 0
        if "file" in kind:
            offset = min(first if self.chance(0.8) else self.random.randrange(PAGES), PAGES - count)
        prot = READ | WRITE | EXEC * self.chance(0.2) if self.chance(0.8) else self.pick(PROTECTIONS)
        if kind == "shared read-only file" and self.chance(0.8):
            prot &= ~WRITE
        self.add(Step("map", process, thread, first, count, prot, kind, offset, self.chance(0.2)))

    def fork(self, process, thread):
        """A fork, mostly of a process that has stored to the page; then each side uses it, with
        or without a way round by mprotect."""
        page, child = self.focus, len(self.model.parents)
        if self.chance(0.7):
            self.add(Step("store", process, self.thread(), page, 0, self.fresh()))
        if not self.add(Step("fork", process, thread, child)):
            return
        for _ in range(self.random.randint(0, 3)):
            side = self.random.choice((process, child))
            if self.chance(0.5):
                for prot in (self.pick(PROTECTIONS), READ | WRITE | EXEC * self.chance(0.3))[self.chance(0.5):]:
                    self.add(Step("protect", side, self.thread(), page, 1, prot))
            self.access(side, None, page)
            self.add(Step("load", process + child - side, self.thread(), page, 0))

    def protect(self, process, thread, first, count):
        """To a protection, and mostly back."""
        self.add(Step("protect", process, thread, first, count, self.pick(PROTECTIONS)))
        while self.chance(0.6):
            self.probe(first, (process, thread))
            thread = self.thread()
            back = READ | WRITE | EXEC * self.chance(0.3) if self.chance(0.7) else self.pick(PROTECTIONS)
            self.add(Step("protect", process, thread, first, count, back))

    def truncate(self, process, thread):
        """To another size, and perhaps to a third."""
        for _ in range(self.random.randint(1, 2)):
            size = CELL_BYTES * self.random.randrange(PAGES * CELLS + 1)
            if "truncate" in self.without:
                size = max(size, self.model.file.size)
            self.add(Step("truncate", process, thread, value=size))
            self.probe(self.focus, (process, thread))

    def draw(self):
        """The sequence."""
        self.map(0, 0, self.focus, 1)
        for _ in range(self.random.randint(4, 14)):
            process, thread = self.process(), self.thread()
            if self.model.spaces[process][self.focus] is None and self.chance(0.8):
                self.map(process, thread, self.focus, 1)
            elif self.chance(0.35):
                self.access(process, thread)
            else:
                self.change(self.pick(CHANGES), process, thread)
        # All that is to be seen at the end.
        for process in list(self.model.spaces):
            for page in range(PAGES):
                if self.model.spaces[process][page] is not None:
                    self.add(Step("load", process, self.thread(), page, self.cell()))
        return Sequence(self.sequence.seed, self.sequence.number, tuple(self.steps), self.file_size, self.homes, self.spins)


def draw(seed, number, without=()):
    """Sequence `number` of a seed, without some of the features."""
    return Drawer(seed, number, without).draw()
