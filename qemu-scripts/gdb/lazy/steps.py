"""`next` and `finish` that stay with the task.

GDB's own stay with the vCPU: over a switch they go on in another task, and if theirs comes back on
another CPU they never stop. These put a breakpoint behind the call and pass it by until the task
itself comes there, in the same frame, on any CPU.
"""

import gdb

from lazy.breaks import SAID
from lazy.kernel import Kernel
from lazy.memory import Memory, needs_machine

WORD = 4
KERNEL = 0xC  # the quadrant of kernel addresses
# Facts that do not change once the kernel is up.
_known = {}
MASK = (1 << 64) - 1


def register(name):
    """A register of the selected vCPU."""
    return int(gdb.newest_frame().read_register(name)) & MASK


def current_task():
    """The address of the task on the selected vCPU; 0 before there are tasks."""
    try:
        memory = _known.get("memory") or _known.setdefault("memory", Memory())
    except gdb.error:
        return 0
    # In kernel mode r13 has the CPU's area. A breakpoint's condition must be quick.
    if register("pc") >> 60 == KERNEL and register("r13") >> 60 == KERNEL:
        return int.from_bytes(bytes(gdb.selected_inferior().read_memory(register("r13") + memory.percpu_current, 8)), "big")
    memory = Memory()
    area = memory.u64(memory.percpus + 8 * (gdb.selected_thread().num - 1))
    return memory.u64(area + memory.percpu_current)


class Return(gdb.Breakpoint):
    """Where a task comes back to a frame."""

    def __init__(self, address, sp):
        self.its_task, self.sp = current_task(), sp
        super().__init__(f"*{address & MASK:#x}", internal=True)
        self.silent = True

    def stop(self):
        """Whether it is this task and this frame."""
        return register("r1") == self.sp and current_task() == self.its_task


def others_hit():
    """The user's own breakpoints, with their counts of hits."""
    return {b.number: b.hit_count for b in gdb.breakpoints() if b.number > 0}


def go(command, address=None, sp=None, alone=False):
    """Goes on by a command, to a return if one is given; whether nothing else stopped the machine.
    With `alone` the other CPUs stay where they are."""
    hits, thread = others_hit(), gdb.selected_thread().num
    place = Return(address, sp) if address is not None else None
    gdb.execute("set suppress-cli-notifications on")
    gdb.execute(f"set scheduler-locking {'on' if alone else 'off'}")
    try:
        gdb.execute(command, to_string=True)
        if gdb.selected_thread() is None:
            return False
        # A breakpoint of the user's, also one that is gone since it was for one stop.
        if others_hit() != hits:
            return False
        if place is not None:
            return register("pc") == address & MASK and place.stop()
        return gdb.selected_thread().num == thread
    finally:
        gdb.execute("set suppress-cli-notifications off")
        gdb.execute("set scheduler-locking off")
        if place is not None and place.is_valid():
            place.delete()


def is_call(word):
    """Whether an instruction calls: bl, bcl, bclrl, bctrl, sc."""
    opcode = word >> 26
    return opcode == 17 or word & 1 and (opcode in (16, 18) or opcode == 19 and word >> 1 & 0x3FF in (16, 528))


def step_over(seen):
    """One instruction, or a whole call; whether nothing else stopped the machine.

    A step is alone: a stop of another CPU in the middle of it would leave it unfinished in QEMU,
    which reports it later. Not in a loop, which may wait for another CPU."""
    pc = register("pc")
    alone = pc not in seen
    seen.add(pc)
    word = int.from_bytes(bytes(gdb.selected_inferior().read_memory(pc, WORD)), "big")
    return go("continue", pc + WORD, register("r1")) if is_call(word) else go("stepi", alone=alone)


def functions(pc):
    """The functions that an instruction is in, the innermost first: (name, start of the block)."""
    found, block = [], gdb.block_for_pc(pc)
    while block is not None and not block.is_static and not block.is_global:
        if block.function is not None:
            found.append((block.function.name, block.start))
        block = block.superblock
    return found


def line_of(pc):
    """(file, line), and whether the instruction is the first of it."""
    found = gdb.find_pc_line(pc)
    return (found.symtab.filename if found.symtab else None, found.line), found.pc == pc


def next_line():
    """Over calls and inlined functions to another line of this function, or out of it; whether
    nothing else stopped the machine."""
    pc = register("pc")
    chain, (line, _) = functions(pc), line_of(pc)
    if not chain:
        raise gdb.GdbError("next: there are no lines here: stepi and nexti go by instructions.")
    seen = set()
    while step_over(seen):
        pc = register("pc")
        now = functions(pc)
        where, is_first = line_of(pc)
        if chain[0] not in now or now[0] == chain[0] and is_first and where != line:
            return True
    return False


class Next(gdb.Command):
    """next [N]: to the next line, over calls; stays with the task, on whichever CPU it goes on."""

    def __init__(self):
        super().__init__("next", gdb.COMMAND_RUNNING)

    def invoke(self, arguments, _from_tty):
        """N lines."""
        needs_machine()
        count = int(gdb.parse_and_eval(arguments or "1"))
        with_task(lambda: all(next_line() for _ in range(count)))


class Finish(gdb.Command):
    """finish: to the return of the selected function; stays with the task, on whichever CPU it goes on."""

    def __init__(self):
        super().__init__("finish", gdb.COMMAND_RUNNING)

    def invoke(self, _arguments, _from_tty):
        """To the caller of the selected frame's own code."""
        needs_machine()
        frame = gdb.selected_frame()
        while frame.type() == gdb.INLINE_FRAME:
            frame = frame.older()
        caller = frame.older()
        if caller is None or not caller.is_valid():
            raise gdb.GdbError("finish: this function has no caller that GDB knows.")
        address, sp = caller.pc() & MASK, int(caller.read_register("r1")) & MASK
        with_task(lambda: go("continue", address, sp))


def with_task(run):
    """Runs it, and shows where the task is afterwards and whether it has changed CPUs."""
    cpu, task = gdb.selected_thread().num - 1, current_task()
    SAID.clear()
    run()
    for line in SAID:
        print(line)
    if gdb.selected_thread() is None:
        raise gdb.GdbError("the machine has ended: the console says why.")
    now = gdb.selected_thread().num - 1
    if task and current_task() == task and now != cpu:
        print(f"the task goes on on CPU {now}")
    elif task and current_task() != task:
        print(f"stopped in another task, {Kernel().tasks.get(current_task(), 'unknown')}")
    gdb.execute("frame")


Next()
Finish()
