"""Commands of the debugger's own test: they make the kernel's state wrong and mend it.

    test-break WHAT   a wrong value in memory; WHAT is a function's name below
    test-mend         restores all values
    test-transit      stops a CPU in the middle of a switch from a kernel thread to a user
    test-switches N   stops N times where a PID register is loaded, and some instructions
                      later, and judges the kernel there
    test-stays N      N times: `finish` leaves a switch with the task that came
    test-count WHAT…  goes on to the machine's end, and counts what lazy-break stops at
    test-complete X   what Tab offers for X
    test-print WHAT   a cpu, an mm, a task, the entry of a page, as `print` shows them
"""

import gdb

import lazy.breaks as breaks
import lazy.memory
import lazy.places as places
import lazy.radix as radix
import lazy.steps as steps
from lazy.check import Check
from lazy.kernel import Kernel

_mend = []


def write(kernel, address, value, size=8):
    """Changes a word at a kernel address, and remembers the old one."""
    where = kernel.memory.to_physical(address)
    _mend.append((where, kernel.memory.physical(where, size)))
    write_physical(where, value.to_bytes(size, "big"))


def write_physical(where, data):
    """Bytes to physical memory."""
    gdb.execute("maintenance packet Qqemu.PhyMemMode:1", to_string=True)
    try:
        gdb.selected_inferior().write_memory(where, data)
    finally:
        gdb.execute("maintenance packet Qqemu.PhyMemMode:0", to_string=True)


def cpu_field(kernel, number, offset):
    """The address of a field of a CPU's state."""
    return kernel.memory.cpu_states + number * kernel.memory.cpu_state_size + offset


def mm_field(kernel, slot, offset):
    """The address of a field of an mm."""
    return kernel.memory.mms + slot * kernel.memory.mm_size + offset


def a_sleeping_worker(kernel):
    """A kernel thread that does not run."""
    return next(task for task in kernel.tasks.values() if task.name == "worker" and not task.on_cpu)


def borrowed(kernel):
    """The mm that the CPUs of the quiet kernel borrow."""
    return kernel.cpus[1].active


class Breakages:
    """Values to break: for each invariant, and for each of its parts."""

    def active_mm(kernel):
        """CPU 1 records init_mm; its task and its PID register differ."""
        write(kernel, cpu_field(kernel, 1, kernel.memory.cpu_active_mm), kernel.memory.init_mm)

    def worker_keeps_mm(kernel):
        """A sleeping kernel thread has an active_mm."""
        write(kernel, a_sleeping_worker(kernel).address + kernel.memory.task_active_mm, borrowed(kernel).bits)

    def borrow_left(kernel):
        """CPU 2 has a borrow that no switch gave back."""
        write(kernel, cpu_field(kernel, 2, kernel.memory.cpu_prev_mm), borrowed(kernel).bits)

    def mask_bit(kernel):
        """CPU 3 is not in the mask of its loaded mm."""
        address = mm_field(kernel, borrowed(kernel).slot, kernel.memory.mm_cpumask)
        write(kernel, address, kernel.memory.u64(address) & ~(1 << 3))

    def init_mm_count(kernel):
        """init_mm has no reference."""
        write(kernel, mm_field(kernel, kernel.init_slot, kernel.memory.mm_count), 0, 4)

    def mm_freed(kernel):
        """The borrowed mm's slot has the next generation."""
        mm = borrowed(kernel)
        write(kernel, mm_field(kernel, mm.slot, kernel.memory.mm_id), mm.bits + (1 << 32))

    def mm_users(kernel):
        """The mm has more tasks than users."""
        write(kernel, mm_field(kernel, borrowed(kernel).slot, kernel.memory.mm_users), 1, 4)

    def mm_buried(kernel):
        """The mm's counts are poisoned: its slot is free next."""
        for word in (kernel.memory.mm_users, kernel.memory.mm_count):
            write(kernel, mm_field(kernel, borrowed(kernel).slot, word), kernel.memory.mm_poison, 4)

    def tree_gone(kernel):
        """The process table has no tree for the mm's PID."""
        where = radix.process_entry(kernel.memory, borrowed(kernel).slot)
        _mend.append((where, kernel.memory.physical(where, 8)))
        write_physical(where, bytes(8))

    def call_taken(kernel):
        """CPU 0 waits for CPU 1, whose handler runs or has lost the answer."""
        memory = kernel.memory
        write(kernel, cpu_field(kernel, 0, memory.call_words), memory.operation_shoot)
        write(kernel, cpu_field(kernel, 0, memory.call_words + 8), borrowed(kernel).bits)
        write(kernel, cpu_field(kernel, 0, memory.call_waiting), 1 << 1)

    def call_posted(kernel):
        """CPU 0 waits for CPU 1, which has not taken the call."""
        Breakages.call_taken(kernel)
        write(kernel, cpu_field(kernel, 1, kernel.memory.cpu_mailbox), 1 << 0)


class TestBreak(gdb.Command):
    """test-break WHAT: makes one thing wrong."""

    def invoke(self, what, _from_tty):
        getattr(Breakages, what)(Kernel())


class TestMend(gdb.Command):
    """test-mend: restores all that test-break changed, the last first."""

    def invoke(self, _arguments, _from_tty):
        while _mend:
            write_physical(*_mend.pop())


class TestTransit(gdb.Command):
    """test-transit: goes on until a CPU is in transit to a user's task, at most some switches long."""

    def invoke(self, _arguments, _from_tty):
        place = gdb.Breakpoint(f"*{lazy.memory.symbol('context_switch'):#x}", internal=True)
        place.silent = True
        try:
            for _ in range(200):
                gdb.execute("continue", to_string=True)
                kernel = Kernel()
                if any(kernel.cpus[number].mm for number in Check(kernel).in_transit):
                    return
        finally:
            place.delete()
        raise gdb.GdbError("no CPU was seen in transit to a user's task")


class TestSwitches(gdb.Command):
    """test-switches N: checks that states in the middle of switches are not reported as
    violations."""

    MOST_STEPS = 9

    def invoke(self, count, _from_tty):
        place, in_transit = gdb.Breakpoint("powerpc64::mmu::load_pid", internal=True), 0
        violations = 0
        place.silent = True
        try:
            for stop in range(int(count)):
                gdb.execute("continue", to_string=True)
                for _ in range(stop % self.MOST_STEPS):
                    gdb.execute("stepi", to_string=True)
                check = Check(Kernel())
                in_transit += bool(check.in_transit)
                violations += len(check.violations)
                for violation in check.violations:
                    print(violation)
        finally:
            place.delete()
        often = "most" if 2 * in_transit > int(count) else "few"
        print(f"{count} stops in switches, {violations} violations, CPUs in transit at {often} of them")


class TestStays(gdb.Command):
    """test-stays N: `finish` over a switch ends in the task that began it."""

    def invoke(self, count, _from_tty):
        # An idle task never ends, and those of the other CPUs return to the same place.
        its_task = Kernel().cpus[1].idle_task
        stayed = 0
        for _ in range(int(count)):
            place = Of(its_task, places.index().find("switch::schedule")[0].address)
            gdb.execute("continue", to_string=True)
            place.delete()
            said = gdb.execute("finish", to_string=True)
            stayed += steps.current_task() == its_task and "another task" not in said
        print(f"{stayed} of {count} switches end in the task that began them")


class Of(gdb.Breakpoint):
    """A place that only one task stops at."""

    def __init__(self, task, address):
        self.its_task = task
        super().__init__(f"*{address:#x}", internal=True)
        self.silent = True

    def stop(self):
        return steps.current_task() == self.its_task


class Counted(breaks.Happening):
    """A place of lazy-break that only counts."""

    times = {}

    def stop(self):
        Counted.times[self.what] += 1
        return False


class TestCount(gdb.Command):
    """test-count WHAT…: how often each begins until the machine ends."""

    def invoke(self, arguments, _from_tty):
        for what in gdb.string_to_argv(arguments):
            Counted.times[what] = 0
            for place in places.locations(places.index().find(breaks.HAPPENINGS[what][0])):
                Counted(what, place, None, None)
        try:
            gdb.execute("continue", to_string=True)
        except gdb.error:
            pass  # QEMU may end before it says so
        for what, times in Counted.times.items():
            print(f"{what}: {times} times")


class TestComplete(gdb.Command):
    """test-complete X: what Tab offers."""

    def invoke(self, text, _from_tty):
        print(gdb.execute(f"complete {text}", to_string=True), end="")


class TestPrint(gdb.Command):
    """test-print cpu|mm|task|pte: what `print` shows of one of CPU 1's, or of the kernel's first page."""

    def invoke(self, what, _from_tty):
        kernel = Kernel()
        name, address = {
            "cpu": ("kcore::cpu::CpuState", cpu_field(kernel, 1, 0)),
            "mm": ("kcore::mm::Mm", mm_field(kernel, borrowed(kernel).slot, 0)),
            "task": ("kernel::task::descriptor::Task", kernel.cpus[1].task),
            "pte": ("powerpc64::encoding::pte::Pte", radix.walk(kernel.memory, radix.KERNEL_PID,
                                                                lazy.memory.symbol("__text_start")).steps[-1].where | 0xC << 60),
        }[what]
        value = gdb.Value(address).cast(gdb.lookup_type(name).pointer()).dereference()
        print(value.format_string())


TestPrint("test-print", gdb.COMMAND_OBSCURE)
TestStays("test-stays", gdb.COMMAND_OBSCURE)
TestCount("test-count", gdb.COMMAND_OBSCURE)
TestComplete("test-complete", gdb.COMMAND_OBSCURE)
TestSwitches("test-switches", gdb.COMMAND_OBSCURE)
TestBreak("test-break", gdb.COMMAND_OBSCURE)
TestMend("test-mend", gdb.COMMAND_OBSCURE)
TestTransit("test-transit", gdb.COMMAND_OBSCURE)
