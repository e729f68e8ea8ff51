"""Kernel stacks: the back chain, and on through exception frames into the interrupted code.

Nothing is trusted: a frame must be aligned, lie above the previous one and in its stack,
unless an exception changed stacks; and the walk has a limit.
"""

import dataclasses
import os

import gdb

import demangle
from lazy.kernel import MSR_PR

MOST_STEPS = 64


@dataclasses.dataclass
class Step:
    """One step of a backtrace: code that runs, or that a call returns to."""

    pc: int
    is_return: bool = True
    trap: int = 0           # an exception with that vector interrupted here
    user: tuple = ()        # in a user program, with that stack pointer and LR: the end


def of_cpu(memory, registers):
    """The steps of a vCPU."""
    if registers.pc & ~0xFFF != VECTOR_BASE:
        yield from _interrupted(memory, registers.pc, registers.sp, registers.lr, registers.in_user_mode(), 0)
        return
    # Just arrived: the interrupted code is in SRR0 and SRR1, all other registers are unchanged.
    yield Step(registers.pc, False)
    pc, msr = registers.special("srr0"), registers.special("srr1")
    if pc is not None and msr is not None:
        yield from _interrupted(memory, pc, registers.sp, registers.lr, msr & MSR_PR != 0,
                                registers.pc - VECTOR_BASE & 0xF80)


def of_sleeper(memory, task):
    """The steps of a task that does not run."""
    yield from _chain(memory, task.sp, MOST_STEPS)


def _interrupted(memory, pc, sp, lr, user, trap):
    """From code that stopped between any two instructions."""
    yield Step(pc, False, trap, (sp, lr) if user else ())
    if user:
        return
    rest = list(_chain(memory, sp, MOST_STEPS))
    # A function without a frame, or not yet with one, has its caller in LR only. If LR is the
    # address that the frame above returns to, the chain has it already. If it points into the
    # function itself, a call that the function made has left it.
    in_chain = rest and lr == rest[0].pc
    if lr >> 60 == 0xC and not in_chain and function_at(lr) not in ("", function_at(pc)):
        yield Step(lr)
    yield from rest


def _chain(memory, sp, left):
    """Along the back chain, from a frame that is complete."""
    while left and (end := _stack_end(memory, sp)):
        left -= 1
        try:
            caller = memory.u64(sp)
            if caller <= sp or caller % 16 or caller + memory.frame_header > end:
                return
            back_to = memory.u64(caller + 16)
            if not back_to:
                return
            yield Step(back_to)
            frame = caller + memory.frame_header
            if memory.trap_text_start <= back_to < memory.trap_text_end and frame + memory.frame_size <= end:
                word = lambda offset: memory.u64(frame + offset)
                yield from _interrupted(memory, word(memory.frame_nip), word(memory.frame_gpr + 8),
                                        word(memory.frame_lr), word(memory.frame_msr) & MSR_PR != 0,
                                        word(memory.frame_trap) & ~0xF)
                return
        except gdb.MemoryError:
            return
        sp = caller


def _stack_end(memory, sp):
    """The end of the stack that a pointer points into; None if it points into none."""
    start = sp & -memory.stack_size
    return start + memory.stack_size if sp >> 60 == 0xC and not sp % 16 and start & memory.stack_size else None


# --- names ----------------------------------------------------------------------------

def function_at(pc):
    """The function whose code holds an address, "" if none."""
    return _symbol_at(pc)[0]


def _symbol_at(pc):
    """(symbol, offset in it) of code, ("", 0) if it has none."""
    told = gdb.execute(f"info symbol {pc:#x}", to_string=True)
    if " in section " not in told:
        return "", 0
    place = told.split(" in section ")[0]
    name, plus, offset = place.rpartition(" + ")  # the name may contain one, too
    return (name, int(offset)) if plus and offset.isdigit() else (place, 0)


def names_of(step):
    """The functions that a step is in, the innermost first, without generics: those that were
    inlined, and the one that has the code."""
    pc = _place(step)
    names, block = [], gdb.block_for_pc(pc)
    while block is not None and not block.is_global and not block.is_static:
        if block.function is not None:
            names.append(demangle.shorten(block.function.print_name))
        block = block.superblock
    if not names and (name := function_at(pc)):
        names.append(demangle.shorten(demangle.demangle(name)))
    return names


def _place(step):
    """The instruction of a step: for a return address the call before it, unless a new stack begins
    with the address of a function."""
    return step.pc - 4 if step.is_return and _symbol_at(step.pc)[1] else step.pc


def interruption(step):
    """The exception that interrupted a step, for the end of its line."""
    return f", interrupted by {vector(step.trap)}" if step.trap else ""


def describe(step):
    """A step of the kernel as a line: address, function, source line, and the exception that interrupted
    it."""
    interrupted = interruption(step)
    if step.pc & ~0xFFF == VECTOR_BASE:
        return f"{step.pc:#018x} vector {vector(step.pc - VECTOR_BASE & 0xF80)}{interrupted}"
    names = names_of(step) or ["?"]
    # The last function has the code; the first is the innermost. The functions between them seldom help.
    shown = names if len(names) < 3 else [names[0], "…", names[-1]]
    line = gdb.find_pc_line(_place(step))
    where = f" ({_tree_path(line.symtab.filename)}:{line.line})" if line.symtab else ""
    return f"{step.pc:#018x} {' < '.join(shown)}{where}{interrupted}"


# With AIL=3 exceptions of translated code arrive here.
VECTOR_BASE = 0xC000000000004000
VECTORS = {0x100: "system reset", 0x200: "machine check", 0x300: "data storage", 0x380: "data segment",
           0x400: "instruction storage", 0x480: "instruction segment", 0x500: "external interrupt",
           0x600: "alignment", 0x700: "program", 0x800: "FP unavailable", 0x900: "decrementer",
           0xC00: "system call", 0xF20: "VMX unavailable", 0xF40: "VSX unavailable"}


def vector(number):
    """An exception by number and name."""
    name = VECTORS.get(number)
    return f"{number:#x} ({name})" if name else f"{number:#x}"


def _tree_path(path):
    """A source file, from the root of its tree."""
    for part in ("kernel/", "arch/", "library/"):
        if f"/{part}" in path:
            return part + path.split(f"/{part}", 1)[1]
    return os.path.basename(path) if path.startswith("/") else path
