"""The kernel's CPUs, address spaces and tasks, while the machine is stopped."""

import struct

import gdb

import lazy.core as core
from lazy.memory import Memory, core_file

MSR_PR, MSR_EE = 0x4000, 0x8000
NAME_BYTES = 16


class MmName:
    """An mm by its name: the slot, which is the PID, in the low half, the generation in the high
    half."""

    def __init__(self, bits, init_mm):
        self.bits, self.slot, self.generation = bits, bits & 0xFFFFFFFF, bits >> 32
        self.is_init = bits == init_mm

    def __bool__(self):
        return self.bits != 0

    def __eq__(self, other):
        return self.bits == other.bits

    def __hash__(self):
        return hash(self.bits)

    def __str__(self):
        return "none" if not self else "init_mm" if self.is_init else f"mm{self.slot}.{self.generation}"

    def answers_to(self, text):
        """Whether a user means it: mm7.2, init_mm, or mm7 or 7 for whatever is in that slot."""
        return text in (str(self), f"mm{self.slot}", str(self.slot))


def mask_at(memory, address):
    """The CPUs in a mask."""
    words = (memory.nr_cpus + 63) // 64
    mask = struct.unpack(f">{words}Q", memory.read(address, 8 * words))
    return {64 * word + bit for word, bits in enumerate(mask) for bit in range(64) if bits >> bit & 1}


class Mm:
    """A slot of the table of mms."""

    def __init__(self, memory, slot):
        base = memory.mms + slot * memory.mm_size
        self.slot = slot
        self.name = MmName(memory.u64(base + memory.mm_id), memory.init_mm)
        self.users, self.count = memory.u32(base + memory.mm_users), memory.u32(base + memory.mm_count)
        # Its counts are poisoned one after the other, then it is not live any more.
        self.is_poisoned = memory.mm_poison in (self.users, self.count)
        self.is_live = memory.u32(base + memory.mm_live) != 0
        self.mask = mask_at(memory, base + memory.mm_cpumask)

    def counts(self):
        """Users and count as people read them."""
        return ("-", "-") if self.is_poisoned else (self.users, self.count)

    def state(self):
        """Its state of life."""
        if not self.is_live:
            return "free"
        if self.is_poisoned:
            return "freed"
        return "dying" if not self.count else "zombie" if not self.users else "live"


class Task:
    """A task."""

    def __init__(self, memory, address):
        self.address = address
        self.tid, self.cpu = memory.u32(address + memory.task_tid), memory.u32(address + memory.task_cpu)
        self.name = memory.text(address + memory.task_name, NAME_BYTES)
        self.on_cpu = memory.u32(address + memory.task_on_cpu) != 0
        number = memory.u32(address + memory.task_state)
        self.state = memory.names("state_").get(number, f"state {number}")
        self.mm = MmName(memory.u64(address + memory.task_mm), memory.init_mm)
        self.active = MmName(memory.u64(address + memory.task_active_mm), memory.init_mm)
        self.sp = memory.u64(address + memory.task_sp)

    def __str__(self):
        return f"{self.tid} {self.name}"

    def doing(self):
        """Its state, for people: a task that is awake but on no CPU waits for one."""
        return "waiting" if self.state == "running" and not self.on_cpu else self.state


class Registers:
    """A vCPU's registers that matter here."""

    def __init__(self, pc, msr, sp, lr, number):
        self.pc, self.msr, self.sp, self.lr, self.number = pc, msr, sp, lr, number
        self.pid = self.special("pid")

    def special(self, name):
        """A special register, None if QEMU does not know it.

        Through the monitor: QEMU 7 shows GDB these registers of the first CPU only.
        """
        if path := core_file():
            with open(path, "rb") as file:
                return core.registers(file, self.number)[name]
        _monitor(f"cpu {self.number}")
        return core.special(name, _monitor)

    def in_user_mode(self):
        """Whether it runs a user program."""
        return self.msr & MSR_PR != 0

    def irqs_on(self):
        """Whether it takes interrupts."""
        return self.msr & MSR_EE != 0


class Cpu:
    """A CPU: the kernel's record of it, and the hardware's registers."""

    def __init__(self, memory, number, registers):
        state = memory.cpu_states + number * memory.cpu_state_size
        name = lambda offset: MmName(memory.u64(state + offset), memory.init_mm)
        self.number, self.registers = number, registers
        self.mm, self.active = name(memory.cpu_curr_mm), name(memory.cpu_active_mm)
        self.left_behind = name(memory.cpu_prev_mm)
        self.is_started = bool(self.active)
        area = memory.u64(memory.percpus + 8 * number)
        self.task = memory.u64(area + memory.percpu_current)
        self.idle_task = memory.u64(memory.u64(area + memory.percpu_local) + memory.sched_idle)

    def call(self, memory):
        """(what it asks for, the mm or None, the CPUs that have not answered): none if it calls nobody."""
        state = memory.cpu_states + self.number * memory.cpu_state_size
        waiting = mask_at(memory, state + memory.call_waiting)
        operation, mm = (memory.u64(state + memory.call_words + 8 * word) for word in (0, 1))
        what = memory.names("operation_").get(operation, f"operation {operation}").replace("_", " ")
        return (what, MmName(mm, memory.init_mm) if mm else None, waiting) if waiting else None

    def mailbox(self, memory):
        """The CPUs whose calls it has not taken."""
        return mask_at(memory, memory.cpu_states + self.number * memory.cpu_state_size + memory.cpu_mailbox)

    def is_lazy_on(self, mm):
        """Whether it borrows that mm."""
        return self.is_started and not self.mm and self.active == mm


class Kernel:
    """A look at the whole kernel."""

    def __init__(self):
        thread = gdb.selected_thread()
        self.selected = thread.num - 1 if thread else 0
        registers = _registers()
        self.memory = memory = Memory()
        self.init_slot = memory.init_mm & 0xFFFFFFFF
        self.policy = memory.names("policy_").get(memory.policy, f"policy {memory.policy}")
        self.cpus = [Cpu(memory, n, registers[n] if n < len(registers) else None) for n in range(memory.nr_cpus)]
        self.mms = [Mm(memory, slot) for slot in range(memory.nr_mms)]
        idle = {cpu.idle_task: Task(memory, cpu.idle_task) for cpu in self.cpus}
        self.tasks = {**idle, **{task: Task(memory, task) for task in _listed_tasks(memory)}}
        # A task that exits is in no list any more, but runs.
        for cpu in self.cpus:
            if cpu.task and cpu.task not in self.tasks:
                self.tasks[cpu.task] = Task(memory, cpu.task)

    def running(self):
        """{address of a task: the CPUs that record it as running}."""
        found = {}
        for cpu in self.cpus:
            if cpu.is_started:
                found.setdefault(cpu.task, []).append(cpu)
        return found

    def task_of(self, cpu):
        """The task that a CPU records as running, or None."""
        return self.tasks.get(cpu.task)

    def mm_of(self, name):
        """The slot that a name points into, or None if there is none."""
        return self.mms[name.slot] if 0 < name.slot < len(self.mms) else None

    def find_mm(self, text):
        """The mm that a user names: mm7.2, mm7, 7 (slot or PID), init_mm."""
        for mm in self.mms:
            if mm.slot and mm.name.answers_to(text):
                return mm
        raise gdb.GdbError(f"there is no address space {text}: lazy-mms lists them.")


def _listed_tasks(memory):
    for number in range(memory.nr_task_lists):
        node = memory.u64(memory.task_lists + number * memory.list_size + memory.list_head)
        seen = set()
        while node and node not in seen:
            seen.add(node)
            yield memory.u64(node + memory.node_value)
            node = memory.u64(node + memory.node_next)


def _monitor(command):
    """The answer of QEMU's monitor."""
    return gdb.execute(f"monitor {command}", to_string=True).strip()


def _registers():
    """The registers of each vCPU, in order. vCPU n is taken for the kernel's CPU n."""
    selected, found = gdb.selected_thread(), []
    try:
        for number, thread in enumerate(sorted(gdb.selected_inferior().threads(), key=lambda t: t.num)):
            thread.switch()
            value = lambda name: int(gdb.parse_and_eval(name)) & (1 << 64) - 1
            found.append(Registers(value("$pc"), value("$msr"), value("$r1"), value("$lr"), number))
    finally:
        if selected is not None:
            selected.switch()
    return found
