"""How `print` and `info locals` show the kernel's types: an mm by its name, a mask by its ranges,
an entry by its bits; nested atomics as the number that they hold."""

import re

import gdb

import demangle
import lazy.radix as radix
from lazy.breaks import scalar
from lazy.kernel import MmName
from lazy.memory import Memory

_FLAGS = ("valid", "leaf", "referenced", "changed", "device", "privileged", "read", "write", "execute")


def facts():
    """The kernel's facts, None before it has them."""
    try:
        return Memory()
    except (gdb.error, gdb.GdbError):
        return None


def mm(value):
    """An MmId, or a word that publishes one."""
    known = facts()
    return str(MmName(scalar(value), known.init_mm if known else 1 << 32 | 1))


def mask(value):
    """CPUs as ranges."""
    from lazy.commands import ranges
    words = value[value.type.strip_typedefs().fields()[0]]
    low, high = words.type.strip_typedefs().range()
    return ranges(64 * word + bit for word in range(low, high + 1) for bit in range(64)
                  if scalar(words[word]) >> bit & 1)


def entry(value):
    """An entry of a page table."""
    bits, known = scalar(value), facts()
    if known is None or not bits:
        return f"{bits:#x}"
    if not bits & known.pte_valid:
        return f"{bits:#x}, not valid"
    if not bits & known.pte_leaf:
        return f"table of 2^{bits & radix.SIZE_FIELD} at {bits & known.address_of_table:#x}"
    flags = (name for name in _FLAGS[2:] if bits & getattr(known, f"pte_{name}"))
    return f"page at {bits & known.address_of_page:#x}, {' '.join(flags)}"


def frame(value):
    """A trap frame: where, how, and what the system call or the access was."""
    word = lambda name: scalar(value[name])
    mode = "user" if word("msr") & 0x4000 else "kernel"
    return f"{{{mode} mode at {word('nip'):#x}, trap {word('trap') & ~0xF:#x}, msr {word('msr'):#x}, lr {word('lr'):#x}, dar {word('dar'):#x}}}"


def text(words):
    """The name of a task, from its words."""
    low, high = words.type.strip_typedefs().range()
    return b"".join(scalar(words[word]).to_bytes(8, "big") for word in range(low, high + 1)).split(b"\0")[0].decode(errors="replace")


def task_mm(value):
    """What a task owns and has loaded."""
    return f"{{mm {mm(value['mm'])}, active_mm {mm(value['active_mm'])}}}"


def task(value):
    """A task, by what lazy-tasks shows of it."""
    return f"{{task {scalar(value['tid'])}, CPU {scalar(value['cpu'])}, mm {mm(value['mm']['mm'])}, active_mm {mm(value['mm']['active_mm'])}}}"


def cpu_state(value):
    """A CPU's words of the protocol."""
    return (f"{{mm {mm(value['curr_mm'])}, active_mm {mm(value['active_mm'])}, prev_mm {mm(value['prev_mm'])}, "
            f"call waits for {mask(value['call']['waiting'])}, mailbox {mask(value['mailbox']['__0'])}}}")


def address_space(value):
    """An mm: its name and its counts."""
    known, counts = facts(), [scalar(value[name]) for name in ("mm_users", "mm_count")]
    if not scalar(value["live"]):
        return f"{{free slot, next {mm(value['id'])}}}"
    if known and known.mm_poison in counts:
        return f"{{{mm(value['id'])}, being freed}}"
    return f"{{{mm(value['id'])}, users {counts[0]}, count {counts[1]}, mask {mask(value['mm_cpumask'])}}}"


SHOWN = {"kcore::mm::MmId": mm, "kcore::cpu::PublishedMm": mm, "kcore::lazy_tlb::EndedBorrow": mm,
         "kcore::cpuset::CpuMask": mask, "kcore::cpuset::CpuSet": mask,
         "kcore::cpuset::CpuId": lambda value: f"CPU {scalar(value)}",
         "kcore::cpu::CpuState": cpu_state, "kcore::mm::Mm": address_space, "kcore::task::TaskMm": task_mm,
         "kernel::task::descriptor::Task": task, "powerpc64::encoding::pte::Pte": entry,
         "powerpc64::exceptions::frame::TrapFrame": frame}
NUMBER = re.compile(r"core::sync::atomic::Atomic(\w+)|core::cell::(Unsafe)?Cell")


class Printer:
    """A value by a function that makes a text of it."""

    def __init__(self, value, show):
        self.value, self.show = value, show

    def to_string(self):
        """The text; the raw number where the value cannot be read."""
        try:
            return self.show(self.value)
        except (gdb.error, KeyError, ValueError) as error:
            return f"<not readable: {error}>"


def printer(value):
    """The printer of a value, None if it has none of ours."""
    kind = value.type.strip_typedefs()
    if kind.code != gdb.TYPE_CODE_STRUCT or not kind.name:
        return None
    name = demangle.shorten(kind.name)
    if name in SHOWN:
        return Printer(value, SHOWN[name])
    if NUMBER.fullmatch(name):
        return Printer(value, lambda value: str(scalar(value)))
    return None


gdb.pretty_printers.append(printer)
