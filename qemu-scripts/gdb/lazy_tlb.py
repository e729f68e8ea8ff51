"""GDB's side of the lazy TLB: `lazy-cpus` tells what every CPU has loaded, and why.

The kernel describes itself in one static, LAZY_TLB_DEBUG (kernel/src/debug.rs): where
its arrays are and at which offsets their fields. No type information is used. The PID
register is the vCPU's own, so the table compares what the kernel believes with what
the hardware has. vCPU n is taken for the kernel's CPU n.
"""

import collections
import struct

import gdb

MAGIC = 0x4C5A544C42444247  # "LZTLBDBG"
VERSION = 1
POLICIES = ("eager", "refcount", "shootdown")
MSR_PR = 0x4000

# The fields of LazyTlbDebug in their order, each a u64.
Layout = collections.namedtuple("Layout", """
    magic version nr_cpus policy
    cpu_states cpu_state_size cpu_curr_mm cpu_active_mm
    mms nr_mms mm_size mm_id mm_users mm_count mm_live mm_cpumask
    percpus percpu_current task_mm task_active_mm task_tid task_name""")

INIT_MM_SLOT = 1


def read(address, size):
    """Bytes of the kernel's memory."""
    return bytes(gdb.selected_inferior().read_memory(address, size))


def u64(address):
    """A doubleword of the kernel's memory."""
    return struct.unpack(">Q", read(address, 8))[0]


def u32(address):
    """A word of the kernel's memory."""
    return struct.unpack(">I", read(address, 4))[0]


class KernelView:
    """Lets GDB read kernel memory through the selected vCPU.

    QEMU translates addresses with the rights of the vCPU, and a user program's do not
    reach the kernel: the problem-state bit is taken off meanwhile.
    """

    def __enter__(self):
        self.msr = int(gdb.parse_and_eval("$msr")) & (1 << 64) - 1
        if self.msr & MSR_PR:
            gdb.execute(f"set $msr = {self.msr & ~MSR_PR:#x}", to_string=True)

    def __exit__(self, *_):
        if self.msr & MSR_PR:
            gdb.execute(f"set $msr = {self.msr:#x}", to_string=True)


def layout():
    """The kernel's description of itself; a GdbError says what is wrong with it."""
    language = gdb.parameter("language")
    gdb.execute("set language c", to_string=True)  # in Rust's, a linker symbol has no address
    try:
        address = int(gdb.parse_and_eval("(unsigned long)&LAZY_TLB_DEBUG"))
    except gdb.error:
        raise gdb.GdbError("LAZY_TLB_DEBUG is not in this image: load the kernel with `file`.") from None
    finally:
        gdb.execute(f"set language {language}", to_string=True)
    words = len(Layout._fields)
    found = Layout(*struct.unpack(f">{words}Q", read(address, 8 * words)))
    if found.magic != MAGIC:
        raise gdb.GdbError("no kernel in memory yet: LAZY_TLB_DEBUG has no magic number.")
    if found.version != VERSION:
        raise gdb.GdbError(f"the kernel's layout has version {found.version}, this script knows {VERSION}.")
    if not found.cpu_states or not found.percpus:
        raise gdb.GdbError("the kernel has not set up its CPUs yet: continue, and interrupt it later.")
    return found


class Mm:
    """An mm by its name: slot in the low, generation in the high half."""

    def __init__(self, bits):
        self.bits, self.slot = bits, bits & 0xFFFFFFFF

    def __str__(self):
        if not self.bits:
            return "none"
        return "init_mm" if self.slot == INIT_MM_SLOT else f"mm{self.slot}.{self.bits >> 32}"

    def is_live(self, at):
        """Whether the slot still holds this very mm."""
        base = at.mms + self.slot * at.mm_size
        return self.slot < at.nr_mms and u64(base + at.mm_id) == self.bits and u32(base + at.mm_live) != 0

    def mask_bit(self, at, cpu):
        """The CPU's bit in mm_cpumask."""
        word = u64(at.mms + self.slot * at.mm_size + at.mm_cpumask + 8 * (cpu // 64))
        return word >> (cpu % 64) & 1


def monitor(command):
    """What QEMU's monitor answers."""
    return gdb.execute(f"monitor {command}", to_string=True).strip()


def pid_registers():
    """The PID register of each vCPU, None where QEMU does not tell.

    Through the monitor: QEMU 7 shows GDB the special registers of the first CPU only.
    It calls the register pid, later versions pidr.
    """
    values = []
    for cpu in range(len(gdb.selected_inferior().threads())):
        monitor(f"cpu {cpu}")
        answers = (monitor(f"print/x ${name}") for name in ("pidr", "pid"))
        values.append(next((int(text, 0) for text in answers if text.startswith("0")), None))
    return values


def verdict(at, cpu, curr, active, pidr):
    """What the CPU is, or what is wrong with it. A CPU may be caught in the middle of a
    switch: its PID register changes just before active_mm does."""
    if not active.bits:
        return "starting"
    if pidr is not None and pidr != active.slot:
        return "WRONG: PIDR is not active_mm's"
    if active.slot != INIT_MM_SLOT:
        if not active.is_live(at):
            return "WRONG: active_mm is gone"
        if not active.mask_bit(at, cpu):
            return "WRONG: not in mm_cpumask"
    if not curr.bits:
        return "kernel, init_mm" if active.slot == INIT_MM_SLOT else "lazy: borrows active_mm"
    return "user" if curr.bits == active.bits else "WRONG: mm is not active_mm"


class LazyCpus(gdb.Command):
    """lazy-cpus: each CPU's task, mm, active_mm, PID register, mask bit and a verdict."""

    def __init__(self):
        super().__init__("lazy-cpus", gdb.COMMAND_STATUS)

    def invoke(self, _arguments, _from_tty):
        """Prints the table."""
        try:
            registers = pid_registers()
            with KernelView():
                self.show(layout(), registers)
        except (gdb.MemoryError, gdb.error) as error:
            raise gdb.GdbError(f"cannot read the kernel's state: {error}") from None

    def show(self, at, registers):
        """The heading, then a line a CPU."""
        policy = POLICIES[at.policy] if at.policy < len(POLICIES) else f"policy {at.policy}"
        print(f"{policy}, {at.nr_cpus} CPUs")
        print(f"{'CPU':>3}  {'task':<22} {'mm':<10} {'active_mm':<10} {'PIDR':>5}  {'mask':>4}  verdict")
        for cpu in range(at.nr_cpus):
            print(self.row(at, cpu, registers[cpu] if cpu < len(registers) else None))

    def row(self, at, cpu, pidr):
        """One CPU's line."""
        area = u64(at.percpus + 8 * cpu)
        if not area:
            return f"{cpu:>3}  offline"
        task = u64(area + at.percpu_current)
        who = "none"
        if task:
            name = read(task + at.task_name, 16).split(b"\0")[0].decode(errors="replace")
            who = f"{u32(task + at.task_tid)} {name}"
        state = at.cpu_states + cpu * at.cpu_state_size
        curr, active = Mm(u64(state + at.cpu_curr_mm)), Mm(u64(state + at.cpu_active_mm))
        mask = active.mask_bit(at, cpu) if active.bits else "-"
        register = "?" if pidr is None else pidr
        return (f"{cpu:>3}  {who:<22} {curr!s:<10} {active!s:<10} {register:>5}  {mask:>4}  "
                f"{verdict(at, cpu, curr, active, pidr)}")


LazyCpus()
