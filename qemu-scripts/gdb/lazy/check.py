"""The invariants I1 to I6 (docs/lazy-tlb.md) over memory and the PID registers.

The kernel changes mm, active_mm and PID register with interrupts off, one after another, so a CPU
may be stopped between two changes. Such a CPU is *in transit*: its interrupts are off, and it
executes the protocol's or the switch's code, by itself and not below an interrupt (none can come in
between). The state of such a CPU is not judged, nor are the tasks that it moves. On any other CPU a
wrong state is a violation.
"""

import dataclasses

import lazy.radix as radix
import lazy.stack as stack

# The code that changes a CPU's loaded mm.
SWITCHING_CODE = ("kcore::", "<kcore::", "kernel::task::switch::", "context_switch", "context_first_run")


@dataclasses.dataclass
class Violation:
    """An invariant that does not hold, and the CPU or task that breaks it."""

    invariant: str
    who: str
    what: str
    cpu: int = None

    def __str__(self):
        return f"{self.invariant} violated, {self.who}: {self.what}"


class Check:
    """The violations at one look at the kernel."""

    def __init__(self, kernel):
        self.kernel, self.memory = kernel, kernel.memory
        self.violations = []
        self.in_transit = {}         # {CPU: the function that it is in}
        for cpu in kernel.cpus:
            if cpu.is_started:
                self.judge_cpu(cpu)
        self.moving = {task for task in kernel.tasks.values()
                       if task.on_cpu and self.in_transit and task.cpu in self.in_transit}
        self.tasks()
        for mm in kernel.mms:
            if mm.slot:
                self.mm(mm)

    def say(self, invariant, who, what, cpu=None):
        self.violations.append(Violation(invariant, str(who), what, cpu))

    def of_cpu(self, number):
        """The violations of one CPU."""
        return [violation for violation in self.violations if violation.cpu == number]

    # --- a CPU ------------------------------------------------------------------------

    def judge_cpu(self, cpu):
        """I1, I3, I4 and I6 of a CPU, unless it is in transit."""
        before = len(self.violations)
        self.loaded(cpu)
        self.borrow(cpu)
        if len(self.violations) > before and (place := self.switching(cpu)):
            self.in_transit[cpu.number] = place
            del self.violations[before:]

    def switching(self, cpu):
        """The function of the switch or the protocol that the CPU is in, "" if in none."""
        registers = cpu.registers
        if registers is None or registers.irqs_on() or registers.in_user_mode():
            return ""
        for step in stack.of_cpu(self.memory, registers):
            if step.trap:
                break  # the interrupted code had interrupts on
            for name in stack.names_of(step):
                if name.startswith(SWITCHING_CODE):
                    return name
        return ""

    def loaded(self, cpu):
        """I1: PID register, published mm and the task agree. I4, I6: the loaded mm."""
        say = lambda invariant, what: self.say(invariant, f"CPU {cpu.number}", what, cpu.number)
        task, active = self.kernel.task_of(cpu), cpu.active
        pid = cpu.registers.pid if cpu.registers else None
        if pid is not None and pid != active.slot:
            say("I1", f"the PID register has {pid}, active_mm is {active}")
        if task is None:
            say("I1", "it runs no task")
        elif self.kernel.policy == "loaded" and task.active:
            say("I1", f"its task ({task}) names {task.active}, and only the CPU is to")
        elif self.kernel.policy != "loaded" and task.active != active:
            say("I1", f"active_mm is {active}, that of its task ({task}) is {task.active}")
        elif task.mm != cpu.mm:
            say("I1", f"it publishes mm {cpu.mm}, its task ({task}) has {task.mm}")
        if cpu.mm and cpu.mm != active:
            say("I1", f"mm is {cpu.mm}, active_mm is {active}")
        names = [("active_mm", active.slot, active)]
        if pid is not None and pid != active.slot:
            # The MMU uses the register, whatever memory has.
            names.append(("the PID register", pid, None))
        for what, slot, name in names:
            mm = self.kernel.mms[slot] if 0 < slot < len(self.kernel.mms) else None
            if mm is None:
                say("I6", f"{what} names slot {slot}, which there is not")
            elif not mm.is_live or mm.is_poisoned:
                say("I6", f"{what} names {name or f'PID {slot}'}, which was freed")
            elif name and mm.name != name:
                say("I6", f"{what} is {name}, but its slot has {mm.name}")
            elif cpu.number not in mm.mask:
                say("I4", f"{what} names {mm.name}, whose mm_cpumask has no bit for this CPU")

    def borrow(self, cpu):
        """I3: a borrow ends on its CPU, before that CPU does anything else."""
        if cpu.left_behind:
            self.say("I3", f"CPU {cpu.number}", f"the borrow of {cpu.left_behind}, which a switch ended, was not "
                     "given back", cpu.number)
        if self.kernel.policy == "eager" and not cpu.mm and not cpu.active.is_init:
            self.say("I3", f"CPU {cpu.number}", f"it borrows {cpu.active} under the eager policy", cpu.number)

    # --- tasks ------------------------------------------------------------------------

    def tasks(self):
        """I2, I3 and I6 of the tasks."""
        running = self.kernel.running()
        for address, task in self.kernel.tasks.items():
            cpus = running.get(address, [])
            if len(cpus) > 1:
                self.say("I3", f"task {task}", f"it runs on CPU {' and CPU '.join(str(c.number) for c in cpus)}")
            if task in self.moving:
                continue
            if not cpus and not task.mm and task.active and task.state != "dead":
                self.say("I2", f"task {task}", f"it does not run, owns no mm and keeps active_mm {task.active}")
            if task.mm:
                mm = self.kernel.mm_of(task.mm)
                if mm is None or not mm.is_live or mm.name != task.mm:
                    self.say("I6", f"task {task}", f"its mm {task.mm} is gone; the slot has "
                             f"{mm.name if mm and mm.is_live else 'none'}")

    # --- address spaces ---------------------------------------------------------------

    def mm(self, mm):
        """I5, and the grounds of I6: counts and the entry in the process table."""
        has_tree = self.memory.physical_u64(radix.process_entry(self.memory, mm.slot)) != 0
        if mm.slot == self.kernel.init_slot:
            if not mm.is_live or not mm.users or not mm.count or not mm.name.is_init:
                self.say("I5", "init_mm", f"state {mm.state()}, mm_users {mm.users}, mm_count {mm.count}")
            return
        if not mm.is_live:
            if has_tree:
                self.say("I6", f"slot {mm.slot}", "no mm lives there, but the process table has a tree for its PID")
            return
        users = sum(1 for task in self.kernel.tasks.values() if task.mm == mm.name and task not in self.moving)
        if mm.users < users:
            self.say("I6", mm.name, f"{users} tasks use it, mm_users is {mm.users}")
        lazies = [cpu for cpu in self.kernel.cpus if cpu.is_lazy_on(mm.name) and cpu.number not in self.in_transit]
        owed = bool(mm.users) + (len(lazies) if self.kernel.policy == "refcount" else 0)
        if mm.count < owed:
            self.say("I6", mm.name, f"mm_count is {mm.count}, but its users and {len(lazies)} borrowers count {owed}")
        if users and not has_tree:
            self.say("I6", mm.name, f"{users} tasks use it, but the process table has no tree for its PID")
