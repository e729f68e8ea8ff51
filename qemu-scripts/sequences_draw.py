"""Draws sequences.

Steps are drawn one after another, with the model at hand: an operation, then accesses that would
show an error in it. Those come first from threads that still have the old translation, then from
the other processes and the thread of the operation. Seed and number determine a sequence.
"""

import random

from sequences_format import KINDS, MOST_STEPS, Sequence
from sequences_model import CELL_BYTES, CELLS, EXEC, PAGE, PAGES, PROCESSES, READ, WRITE, Impossible, Model, Step

# Features that a kernel may lack: shrinking a file that is mapped; a call that fails half-way.
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
        # Most steps use one page.
        self.focus = draw.randrange(PAGES)
        self.model, self.steps, self.value = Model(self.file_size), [], 0
        self.sequence = Sequence(seed, number, self.steps, self.file_size, self.homes, self.spins)

    def pick(self, weights):
        """One of the keys, by weight."""
        return self.random.choices(list(weights), weights.values())[0]

    def chance(self, probability):
        """True with this probability."""
        return self.random.random() < probability

    def process(self):
        """A living process."""
        return self.random.choice(list(self.model.spaces))

    def thread(self):
        """A thread of a process."""
        return int(self.two_threads and self.chance(0.4))

    def page(self):
        """A page, mostly the focus."""
        return self.focus if self.chance(0.75) else self.random.randrange(PAGES)

    def pages(self):
        """(the first, how many), mostly with the focus among them."""
        first = self.page()
        return first, self.random.randint(1, PAGES - first) if self.chance(0.4) else 1

    def fresh(self):
        """A value that was never stored."""
        self.value += 1
        return self.value

    def add(self, step):
        """Adds a step if it is possible here; returns whether."""
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

    def probe(self, pages, by):
        """Accesses that would show that an operation of `by` on these pages was not done
        everywhere."""
        process, thread = by
        page = self.random.choice(pages)
        if process in self.model.spaces:
            for other in ([1 - thread, thread] if self.two_threads else [thread]):
                if self.chance(0.7):
                    self.access(process, other, page)
        for other in list(self.model.spaces):
            if other != process and self.chance(0.5):
                self.access(other, None, page)

    def change(self, op, process, thread):
        """One step that is no access, and accesses that show its effect."""
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
        self.probe(range(first, first + count), (process, thread))

    def map(self, process, thread, first, count):
        """Maps some pages."""
        kind, offset = self.pick(KIND_WEIGHTS), 0
        if "file" in kind:
            offset = min(first if self.chance(0.8) else self.random.randrange(PAGES), PAGES - count)
        prot = READ | WRITE | EXEC * self.chance(0.2) if self.chance(0.8) else self.pick(PROTECTIONS)
        if kind == "shared read-only file" and self.chance(0.8):
            prot &= ~WRITE
        populate = self.chance(0.25)
        self.add(Step("map", process, thread, first, count, prot, kind, offset, populate))
        if populate and self.chance(0.3):
            # Private pages that may be stored to do not follow the file any more.
            self.add(Step("write_file", process, thread, offset, 0, self.fresh()))
            self.add(Step("load", process, thread, first, 0))

    def fork(self, process, thread):
        """A fork, mostly of a process that has stored to the page. Then each side uses the page,
        perhaps after a change of protection and back by mprotect."""
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
        """Changes the protection, and mostly back; translations from before must not be used
        after."""
        for page in range(first, first + count):
            if self.chance(0.5):
                self.access(process, thread, page)
        self.add(Step("protect", process, thread, first, count, self.pick(PROTECTIONS)))
        while self.chance(0.6):
            self.probe(range(first, first + count), (process, thread))
            thread = self.thread()
            back = READ | WRITE | EXEC * self.chance(0.3) if self.chance(0.7) else self.pick(PROTECTIONS)
            self.add(Step("protect", process, thread, first, count, back))

    def truncate(self, process, thread):
        """Truncates the file to another size, and perhaps to a third."""
        for _ in range(self.random.randint(1, 2)):
            size = CELL_BYTES * self.random.randrange(PAGES * CELLS + 1)
            if "truncate" in self.without:
                size = max(size, self.model.file.size)
            self.add(Step("truncate", process, thread, value=size))
            self.probe(range(PAGES), (process, thread))

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
        # Reads everything at the end.
        for process in list(self.model.spaces):
            for page in range(PAGES):
                if self.model.spaces[process][page] is not None:
                    self.add(Step("load", process, self.thread(), page, self.cell()))
        return Sequence(self.sequence.seed, self.sequence.number, tuple(self.steps), self.file_size, self.homes, self.spins)


def draw(seed, number, without=()):
    """Sequence `number` of a seed, without some of the features."""
    return Drawer(seed, number, without).draw()
