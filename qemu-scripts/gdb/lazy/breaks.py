"""Breakpoints: `break` for functions by their bare names, lazy-break for what the protocol does,
lazy-watch for a word of its state."""

import re

import gdb

import demangle
import lazy.places as places
from lazy.kernel import Kernel, Mm, MmName
from lazy.memory import Memory, needs_machine

# What lazy-break stops at: the function where it begins, and the variable that names its mm. ""
# stands for the mm that the CPU has loaded.
HAPPENINGS = {
    "shoot": ("shoot_lazies", "mm"),
    "kick": ("evict", "mm"),
    "scan": ("publishers_of", "mm"),
    "free": ("LazyTlb::free", "mm"),
    "borrow": ("LazyTlb::borrow", "mm"),
    "leave": ("leave_lazy", ""),
    "fault": ("process::fault::page_fault", ""),
}
MOST_PLACES = 32
# How many callers may have the variable.
MOST_FRAMES = 4


# What stops have said. `next` and `finish` go on by commands whose output is not shown, and say it again.
SAID = []


def say(line):
    """Says why the machine stops."""
    SAID.append(line)
    print(line)


class InFunction(gdb.Breakpoint):
    """A place inside of a function, `function`: a stop there selects its frame."""

    def __init__(self, at, function, **options):
        self.function = function
        super().__init__(at, **options)

    def frame(self):
        """The frame of the function; the innermost one if the function has none. What is inlined at its
        beginning has frames inside of it."""
        newest = frame = gdb.newest_frame()
        while frame is not None and frame.is_valid():
            if frame.name() and places.bare(demangle.shorten(frame.name())) == self.function:
                return frame
            if frame.type() != gdb.INLINE_FRAME:
                break
            frame = frame.older()
        return newest

    @staticmethod
    def stopped(event):
        """Selects the frame, and shows it."""
        for breakpoint in getattr(event, "breakpoints", ()):
            if isinstance(breakpoint, InFunction):
                if (frame := breakpoint.frame()) != gdb.newest_frame():
                    # GDB has shown the innermost one.
                    frame.select()
                    gdb.execute("frame")
                return


gdb.events.stop.connect(InFunction.stopped)


class Break(gdb.Command):
    """break [PLACE] [thread N] [if CONDITION]: stops there.

    PLACE is what GDB takes, or the name of a function of the kernel without its path and its
    generic arguments; all inlined copies of the function count."""

    def __init__(self, name, **options):
        self.options = options
        super().__init__(name, gdb.COMMAND_BREAKPOINTS)

    def invoke(self, arguments, _from_tty):
        """One breakpoint per place."""
        place, rest = re.fullmatch(r"\s*(.*?)((?:\s+(?:if|thread)\b.*|if\s*\(.*)?)", arguments).groups()
        found = places.index().find(place) if places.is_name(place) else []
        if len(found) > MOST_PLACES:
            raise gdb.GdbError(f"{place} is inlined in {len(found)} places: name a function that calls it.")
        where = places.locations(found) or [place or f"*{gdb.selected_frame().pc():#x}"]
        thread = re.search(r"\bthread\s+(\d+)", rest)
        condition = re.search(r"\bif\b\s*(.*)", rest)
        for at in where:
            breakpoint = InFunction(at, places.bare(demangle.shorten(place)) if found else "", **self.options)
            if breakpoint.pending:
                breakpoint.delete()
                raise gdb.GdbError(f"{place} is no place in this image.")
            if thread:
                breakpoint.thread = int(thread.group(1))
            if condition:
                breakpoint.condition = condition.group(1)

    def complete(self, _text, word):
        """Names of functions."""
        return places.completions(word)


def scalar(value):
    """The number in a value of nested structures of one field each."""
    while value.type.strip_typedefs().code == gdb.TYPE_CODE_STRUCT:
        value = value[value.type.strip_typedefs().fields()[0]]
    return int(value) & (1 << 64) - 1


def mm_in(frame, name):
    """The bits of a variable, from the innermost frame that still has it. None if the compiler keeps
    it in none: what begins here may be inlined in its caller, which has it under the same name."""
    for _ in range(MOST_FRAMES):
        try:
            return scalar(frame.read_var(name))
        except (gdb.error, ValueError):
            frame = frame.older()
            if frame is None:
                break
    return None


class Happening(InFunction):
    """A place where something of the protocol begins; stops for one mm or one CPU only, if told."""

    def __init__(self, what, place, mm, cpu):
        self.what, self.mm, self.wanted_cpu = what, mm, cpu
        super().__init__(place, places.bare(HAPPENINGS[what][0]))

    def stop(self):
        """Whether it is the wanted one; says which it is."""
        cpu = gdb.selected_thread().num - 1
        if self.wanted_cpu is not None and cpu != self.wanted_cpu:
            return False
        name = self.its_mm(Memory(), cpu)
        if self.mm and name is not None and not name.answers_to(self.mm):
            return False
        kernel = Kernel()
        which = name if name is not None else "an mm that the compiler keeps nowhere here"
        say(f"{self.what}: {which}, CPU {cpu}, task {kernel.task_of(kernel.cpus[cpu]) or 'none'}")
        return True

    def its_mm(self, memory, cpu):
        """The mm that it is about, None if it cannot be read here."""
        variable = HAPPENINGS[self.what][1]
        bits = (mm_in(gdb.newest_frame(), variable) if variable
                else memory.u64(memory.cpu_states + cpu * memory.cpu_state_size + memory.cpu_active_mm))
        return None if bits is None else MmName(bits, memory.init_mm)


class LazyBreak(gdb.Command):
    """lazy-break shoot|kick|scan|free|borrow|leave|fault [MM|CPU]: stops where that begins.

    shoot: the last mmdrop sends borrowers away. kick: a flush or an exit evicts lazy CPUs. scan:
    hazard looks for borrowers. free: an mm is freed. borrow: a borrow begins. leave: a CPU leaves
    the mm that it borrows. fault: a page fault. MM (mm3.1, or mm3 for whatever slot 3 holds; it need not
    exist yet) or CPU (a number) limits it."""

    def __init__(self):
        super().__init__("lazy-break", gdb.COMMAND_BREAKPOINTS)

    def invoke(self, arguments, _from_tty):
        """Breakpoints at all places of the function."""
        what, *rest = gdb.string_to_argv(arguments) or [""]
        if what not in HAPPENINGS or len(rest) > 1:
            raise gdb.GdbError(f"usage: lazy-break {'|'.join(HAPPENINGS)} [mm|cpu]")
        needs_machine()
        mm, cpu = limit(rest[0] if rest else "")
        found = places.index().find(HAPPENINGS[what][0])
        if not found:
            raise gdb.GdbError(f"{HAPPENINGS[what][0]} has no code in this image.")
        for place in places.locations(found):
            Happening(what, place, mm, cpu)

    def complete(self, text, word):
        """What can happen."""
        return [what for what in HAPPENINGS if what.startswith(word)] if " " not in text.strip() else []


def limit(text):
    """(an mm's name, CPU): what a user limits a breakpoint to. Neither need exist yet."""
    if text.isdigit():
        return None, int(text)
    if text and not re.fullmatch(r"init_mm|mm\d+(\.\d+)?", text):
        raise gdb.GdbError(f"{text} is neither an mm (mm3.1, mm3, init_mm) nor a CPU (a number).")
    return text, None


class Watch(gdb.Breakpoint):
    """A watchpoint on one word, which tells the old and the new value as names.

    QEMU 10 reports the stop as a plain SIGTRAP, which GDB cannot tell from others: so every stop
    compares the value. `what` and `show` make texts, of the word and of a value."""

    alive = []
    # Whether the command that runs goes backwards, and whether it is `continue`. Typed at the prompt, it returns before
    # the machine stops: so it is over at the stop, or, if it could not begin, at the next prompt.
    backwards = continues = False

    def __init__(self, what, address, size, show):
        self.what, self.address, self.size, self.show = what, address, size, show
        self.value = self.read()
        language = gdb.parameter("language")
        gdb.execute("set language c", to_string=True)
        try:
            super().__init__(f"*(unsigned {'long' if size == 8 else 'int'} *){address:#x}", gdb.BP_WATCHPOINT)
        finally:
            gdb.execute(f"set language {language}", to_string=True)
        Watch.alive.append(self)

    def read(self):
        """The word as it is now."""
        memory = Memory()
        return memory.u64(self.address) if self.size == 8 else memory.u32(self.address)

    @staticmethod
    def stopped(event):
        """Tells each changed word, or that one was stored that had the value already."""
        Watch.alive = [watch for watch in Watch.alive if watch.is_valid()]
        changed = False
        for watch in Watch.alive:
            try:
                new = watch.read()
            except gdb.GdbError:  # the kernel has not described itself yet: the run was gone back so far
                continue
            if new != watch.value:
                changed = True
                # Backwards the later value was seen first, and the store may be far from here: QEMU stops behind a store.
                before, after, how = (new, watch.value, "gone back over") if Watch.backwards else \
                    (watch.value, new, f"stored by CPU {gdb.selected_thread().num - 1}")
                say(f"{watch.what()}: {watch.show(before)} -> {watch.show(after)}, {how}")
                watch.value = new
        # QEMU 10 alone stops there. GDB's own event tells it from the stop of a step as little as its SIGTRAP.
        watches = sum(breakpoint.type == gdb.BP_HARDWARE_WATCHPOINT for breakpoint in gdb.breakpoints())
        if Watch.continues and not changed and type(event) is gdb.StopEvent and len(Watch.alive) == watches == 1:
            say(f"{watch.what()}: {watch.show(watch.value)} again, stored by CPU {gdb.selected_thread().num - 1}")
        Watch.over()

    @staticmethod
    def over():
        """No command runs."""
        Watch.backwards = Watch.continues = False


gdb.events.stop.connect(Watch.stopped)
gdb.events.before_prompt.connect(Watch.over)
for _command in ("continue", "step", "stepi", "next", "nexti", "finish"):
    gdb.execute(f"define hook-reverse-{_command}\npython lazy.breaks.Watch.backwards = True\nend")
gdb.execute("define hook-continue\npython lazy.breaks.Watch.continues = True\nend")


class LazyWatch(gdb.Command):
    """lazy-watch active_mm|mm|prev_mm CPU, or users|count|live MM: stops after each store to that word of
    the CPU or the mm, and tells the old and the new value."""

    CPU_WORDS = {"active_mm": "cpu_active_mm", "mm": "cpu_curr_mm", "prev_mm": "cpu_prev_mm"}
    MM_WORDS = {"users": "mm_users", "count": "mm_count", "live": "mm_live"}

    def __init__(self):
        super().__init__("lazy-watch", gdb.COMMAND_BREAKPOINTS)

    def invoke(self, arguments, _from_tty):
        """One watchpoint."""
        words = gdb.string_to_argv(arguments)
        if len(words) != 2 or words[0] not in {**self.CPU_WORDS, **self.MM_WORDS}:
            raise gdb.GdbError("usage: lazy-watch active_mm|mm|prev_mm CPU, or lazy-watch users|count|live MM")
        needs_machine()
        what, which = words
        kernel = Kernel()
        memory = kernel.memory
        if what in self.MM_WORDS:
            mm = kernel.find_mm(which)
            at = memory.mms + mm.slot * memory.mm_size + getattr(memory, self.MM_WORDS[what])
            # Another one may live in the slot by then.
            Watch(lambda: f"{what} of {Mm(Memory(), mm.slot).name}", at, 4, lambda word: "poison" if word == memory.mm_poison else str(word))
            return
        if not which.isdigit() or int(which) >= len(kernel.cpus):
            raise gdb.GdbError(f"there is no CPU {which}: the machine has {len(kernel.cpus)}.")
        at = memory.cpu_states + int(which) * memory.cpu_state_size + getattr(memory, self.CPU_WORDS[what])
        Watch(lambda: f"{what} of CPU {which}", at, 8, lambda bits: MmName(bits, memory.init_mm))

    def complete(self, text, word):
        """The words of the state."""
        return [what for what in (*self.CPU_WORDS, *self.MM_WORDS) if what.startswith(word)] \
            if " " not in text.strip() else []


for name, options in (("break", {}), ("tbreak", {"temporary": True}),
                      ("hbreak", {"type": gdb.BP_HARDWARE_BREAKPOINT})):
    Break(name, **options)
LazyBreak()
LazyWatch()
