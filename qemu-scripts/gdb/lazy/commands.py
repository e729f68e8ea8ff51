"""The commands: each prints one look at the kernel."""

import gdb

import lazy.programs as programs
import lazy.radix as radix
import lazy.stack as stack
from lazy.check import Check
from lazy.kernel import Kernel
from lazy.memory import needs_machine, symbol


class Command(gdb.Command):
    """A command, described by its class's text; errors end in one sentence."""

    def __init__(self):
        super().__init__(self.name, gdb.COMMAND_STATUS)

    def invoke(self, arguments, _from_tty):
        """Runs `show`, which yields lines."""
        try:
            for line in self.show(gdb.string_to_argv(arguments)):
                print(line)
        except (gdb.MemoryError, gdb.error) as error:
            if isinstance(error, gdb.GdbError):
                raise
            raise gdb.GdbError(f"{self.name}: cannot read the kernel's state: {error}") from None


def table(rows):
    """Rows as lines, each column as wide as it must be; the last is free."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths)]
        yield "  ".join([*cells, row[-1]]).rstrip()


def ranges(numbers):
    """A set of numbers as 0-3,7; - for none."""
    found = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in found) or "-"


class LazyCpus(Command):
    """lazy-cpus: each CPU's task, mm, active_mm, PID register, mask bit and a verdict."""

    name = "lazy-cpus"

    def show(self, _arguments):
        """A heading, then a line per CPU."""
        kernel = Kernel()
        check = Check(kernel)
        yield f"{kernel.policy}, {len(kernel.cpus)} CPU{'s' if len(kernel.cpus) > 1 else ''}"
        rows = [("CPU", "task", "mm", "active_mm", "PIDR", "mask", "verdict")]
        rows += [self.row(kernel, check, cpu) for cpu in kernel.cpus]
        yield from table(rows)

    def row(self, kernel, check, cpu):
        """One CPU's line."""
        if not cpu.is_started:
            return cpu.number, "-", "-", "-", "-", "-", "not started"
        mm = kernel.mm_of(cpu.active)
        pid = cpu.registers.pid if cpu.registers else None
        return (cpu.number, kernel.task_of(cpu) or "none", cpu.mm, cpu.active, "?" if pid is None else pid,
                "-" if mm is None else int(cpu.number in mm.mask), self.verdict(check, cpu))

    def verdict(self, check, cpu):
        """The CPU's state, or its violations."""
        if wrong := check.of_cpu(cpu.number):
            return f"WRONG ({wrong[0].invariant}): {wrong[0].what}"
        if cpu.number in check.in_transit:
            return f"in transit: {check.in_transit[cpu.number]}"
        if cpu.mm:
            return "user"
        return "kernel, init_mm" if cpu.active.is_init else "lazy: borrows active_mm"


class LazyMms(Command):
    """lazy-mms: each address space: state, users, count, PID, mask, and the CPUs lazy on it."""

    name = "lazy-mms"

    def show(self, _arguments):
        """A line for each mm that is not free."""
        kernel = Kernel()
        rows = [("mm", "state", "users", "count", "PID", "mask", "lazy", "tasks")]
        for mm in kernel.mms:
            if not mm.slot or not mm.is_live:
                continue
            lazy = {cpu.number for cpu in kernel.cpus if cpu.is_lazy_on(mm.name)}
            tasks = [task for task in kernel.tasks.values() if task.mm == mm.name]
            rows.append((mm.name, mm.state(), *mm.counts(), mm.slot, ranges(mm.mask), ranges(lazy),
                         ", ".join(map(str, tasks[:4])) + (", …" if len(tasks) > 4 else "") or "-"))
        yield from table(rows)


class LazyTasks(Command):
    """lazy-tasks: each task: number, name, state, CPU, mm, active_mm."""

    name = "lazy-tasks"

    def show(self, _arguments):
        """Idle tasks first, then by number."""
        kernel = Kernel()
        rows = [("task", "name", "does", "CPU", "mm", "active_mm")]
        running = kernel.running()
        for address, task in sorted(kernel.tasks.items(), key=lambda item: (item[1].tid, item[1].cpu)):
            does = task.doing()
            if does == "running" and address not in running:
                does = "leaving"  # its stack is in use, but its CPU has named the next task
            rows.append((task.tid, task.name, does, task.cpu, task.mm, task.active))
        yield from table(rows)


class LazyCheck(Command):
    """lazy-check: the invariants I1 to I6, over memory and the PID register of each vCPU."""

    name = "lazy-check"

    def show(self, _arguments):
        """A line per violation, a line per CPU in transit, then the verdict."""
        kernel = Kernel()
        check = Check(kernel)
        for violation in check.violations:
            yield str(violation)
        for number, place in check.in_transit.items():
            yield f"in transit, CPU {number}: in {place} with interrupts off, not judged"
        started = sum(cpu.is_started for cpu in kernel.cpus)
        live = sum(mm.is_live for mm in kernel.mms)
        looked_at = f"{started} CPUs, {live} mms, {len(kernel.tasks)} tasks"
        count = len(check.violations)
        yield (f"lazy-check: {count} violation{'s' if count > 1 else ''} ({looked_at})" if count
               else f"lazy-check: I1 to I6 hold ({looked_at})")


class LazyBt(Command):
    """lazy-bt [TASK]: backtraces of every CPU and every task that does not run, through
    exception frames; or of the tasks with that number or name."""

    name = "lazy-bt"

    def show(self, arguments):
        """Each stack under a line that names its task and CPU."""
        kernel = Kernel()
        memory, running = kernel.memory, kernel.running()
        wanted = lambda task: not arguments or task and arguments[0] in (str(task.tid), task.name)
        if not any(map(wanted, kernel.tasks.values())):
            raise gdb.GdbError(f"there is no task {arguments[0]}: lazy-tasks lists them.")
        for cpu in kernel.cpus:
            task = kernel.task_of(cpu) if cpu.is_started else None
            if wanted(task) and cpu.registers:
                who = f"task {task}, mm {cpu.mm}, active_mm {cpu.active}" if task else "not started"
                yield f"CPU {cpu.number}: {who}"
                yield from self.lines(memory, task, stack.of_cpu(memory, cpu.registers) if task else ())
        for address, task in sorted(kernel.tasks.items(), key=lambda item: (item[1].tid, item[1].cpu)):
            if address not in running and wanted(task):
                yield f"task {task}: {task.doing()}, CPU {task.cpu}, mm {task.mm}"
                # The stack of a task that a CPU is just leaving is shown with that CPU.
                yield from self.lines(memory, task, () if task.on_cpu else stack.of_sleeper(memory, task))

    def lines(self, memory, task, steps):
        """The lines of one stack: the kernel's frames, and the program's."""
        for number, line in enumerate(line for step in steps for line in self.frames(memory, task, step)):
            yield f"  #{number:<2} {line}"

    def frames(self, memory, task, step):
        """The lines of a step: those of a whole stack if it is in a program."""
        if not step.user:
            return [stack.describe(step)]
        first, *rest = programs.User(memory, task).frames(step.pc, *step.user)
        return [first + stack.interruption(step), *rest]


class LazyWalk(Command):
    """lazy-walk EA [MM]: the walk of the page tables for an address, level by level.

    A user address is looked up in MM (mm7.2, mm7, 7), or without MM in the selected vCPU's
    loaded tree; a kernel address in the kernel's tree."""

    name = "lazy-walk"

    def show(self, arguments):
        """A line per table, then the result."""
        if not 1 <= len(arguments) <= 2:
            raise gdb.GdbError("usage: lazy-walk EA [MM]")
        ea = int(gdb.parse_and_eval(arguments[0])) & (1 << 64) - 1
        kernel = Kernel()
        memory = kernel.memory
        pid, whose = self.space(kernel, ea, arguments[1:])
        found = radix.walk(memory, pid, ea)
        yield f"{ea:#018x}: {whose}, PID {pid}"
        yield f"process table, entry at {found.root_at:#x}: {found.root:#018x}" + (
            f": {radix.tree_bits(found.root)}-bit tree, root of 2^{found.root & radix.SIZE_FIELD} entries at "
            f"{found.root & memory.address_of_table:#x}" if found.root else "")
        for step in found.steps:
            yield (f"level {step.level}, index {step.index:#x} at {step.where:#x}: {step.entry:#018x}"
                   f"{self.entry(memory, step.entry)}")
        if found.physical is None:
            yield f"not mapped: {found.why_not}"
        else:
            yield f"physical address {found.physical:#x}, in a page of {size(1 << found.page_bits)}"

    def space(self, kernel, ea, named):
        """(PID, name of its tree) for an address."""
        quadrant = ea >> 62
        if quadrant == 3:
            return radix.KERNEL_PID, "kernel address"
        if quadrant:
            raise gdb.GdbError(f"{ea:#x} is in quadrant {quadrant}, which translates nothing here.")
        if named:
            mm = kernel.find_mm(named[0])
            return mm.slot, f"user address, {mm.name} ({mm.state()})"
        cpu = kernel.cpus[min(kernel.selected, len(kernel.cpus) - 1)]
        return cpu.registers.pid or cpu.active.slot, f"user address, loaded on CPU {cpu.number}"

    def entry(self, memory, entry):
        """The meaning of a table's entry."""
        if not entry & memory.pte_valid:
            return ""
        if not entry & memory.pte_leaf:
            return f": table of 2^{entry & radix.SIZE_FIELD} entries at {entry & memory.address_of_table:#x}"
        flags = [name for bit, name in memory.names("pte_").items() if entry & bit and name not in ("valid", "leaf")]
        return f": leaf, page at {entry & memory.address_of_page:#x}, {' '.join(flags)}"


def size(count):
    """Bytes as people write them."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count} {unit}"
        count >>= 10
    return f"{count} TiB"


class LazyCalls(Command):
    """lazy-calls: each cross-call in flight, and how far each of its targets has come.

    `posted`: the target has not taken it, so its interrupt is on the way, is masked or is lost.
    `taken`: its handler runs, or its answer is lost. CPUs that have answered are not listed."""

    name = "lazy-calls"

    def show(self, _arguments):
        """A line for each target that has not answered."""
        kernel = Kernel()
        rows = [("from", "asks", "mm", "of", "is", "the target is in")]
        for cpu in kernel.cpus:
            if not cpu.is_started or not (call := cpu.call(kernel.memory)):
                continue
            what, mm, waiting = call
            for number in sorted(waiting):
                target = kernel.cpus[number]
                taken = cpu.number not in target.mailbox(kernel.memory)
                rows.append((cpu.number, what, mm or "-", number, "taken" if taken else "posted",
                             self.place(kernel, target)))
        if len(rows) == 1:
            yield "no cross-call is in flight"
        else:
            yield from table(rows)

    def place(self, kernel, cpu):
        """Where a CPU is, and whether it takes interrupts there."""
        if not cpu.registers:
            return "?"
        if cpu.registers.in_user_mode():
            return "a user program"
        names = next((names for step in stack.of_cpu(kernel.memory, cpu.registers) if (names := stack.names_of(step))), "?")
        return f"{names[-1]}, interrupts {'on' if cpu.registers.irqs_on() else 'off'}"


class LazyWhy(Command):
    """lazy-why MM: why that mm is not freed: who holds its users and counts, who is lazy on it, and
    what will send these away."""

    name = "lazy-why"
    # What moves a borrower away once the last count is gone.
    AT_THE_END = {"eager": "nobody borrows under eager", "refcount": "each borrow is a count, so none is left then",
                  "shootdown": "the last mmdrop shoots every CPU in the mask", "hazard": "the last mmdrop scans what CPUs publish",
                  "evict": "the exit of the last user has sent every CPU away",
                  "generation": "the last mmdrop shoots every CPU in the mask",
                  "loaded": "the last mmdrop shoots the CPUs in the mask that have it loaded",
                  "quiescent": "it waits until every CPU has left it; an idle one leaves after idle_limit= milliseconds"}

    def show(self, arguments):
        """A sentence per holder."""
        if len(arguments) != 1:
            raise gdb.GdbError("usage: lazy-why MM")
        kernel = Kernel()
        mm = kernel.find_mm(arguments[0])
        if not mm.is_live:
            yield f"{mm.name} does not exist: its slot is free, and the next mm there has this name."
            return
        if mm.name.is_init:
            yield "init_mm is never freed (I5)."
            return
        if mm.is_poisoned:
            yield f"{mm.name} is being freed: its counts are poison already, its slot is free next. No CPU may have it loaded."
            return
        yield f"{mm.name} is {'a ' if mm.state() == 'zombie' else ''}{mm.state()}: mm_users {mm.users}, mm_count {mm.count}, under {kernel.policy}."
        users = [task for task in kernel.tasks.values() if task.mm == mm.name]
        lazy = [cpu for cpu in kernel.cpus if cpu.is_lazy_on(mm.name)]
        if mm.users:
            yield f"users: {', '.join(map(str, users)) or 'no task'}{self.others(mm.users - len(users), 'unit', 'no task')}."
            yield "They hold one count together."
        counted = (1 if mm.users else 0) + (len(lazy) if kernel.policy == "refcount" else 0)
        if kernel.policy == "refcount" and lazy:
            yield f"Borrowers hold {len(lazy)} more: CPU {ranges(cpu.number for cpu in lazy)}."
        if mm.count > counted:
            yield f"{mm.count - counted} more count{'s are' if mm.count - counted > 1 else ' is'} held by code in flight (an exit that has not ended, mmgrab, or a switch that has not settled)."
        for cpu in lazy:
            yield f"CPU {cpu.number} is lazy on it, in task {kernel.task_of(cpu)}."
        for cpu in kernel.cpus:
            if cpu.is_started and (call := cpu.call(kernel.memory)) and call[1] == mm.name:
                yield f"CPU {cpu.number} waits for CPU {ranges(call[2])}: {call[0]} (lazy-calls)."
        when = "It is freed when users and counts are 0" if mm.count else "Its last count is gone, and the free is under way"
        yield f"{when}; {self.AT_THE_END.get(kernel.policy, kernel.policy)}."

    def others(self, count, one, of):
        """How many units have no holder that is a task."""
        return f", and {count} {one}{'s' if count > 1 else ''} of {of}" if count > 0 else ""


class LazyHelp(gdb.Command):
    """The commands of the lazy-TLB kernel. `help lazy-…` tells more; docs/debugging.md shows them at work.

    lazy-cpus           each CPU: task, mm, active_mm, PID register, mask bit, a verdict
    lazy-mms            each address space: state, users, count, mask, lazy CPUs, tasks
    lazy-tasks          each task: state, CPU, mm, active_mm
    lazy-check          the invariants I1 to I6
    lazy-why MM         why that mm is not freed
    lazy-calls          each cross-call in flight, and how far each target has come
    lazy-bt [TASK]      stacks of CPUs and tasks, through exceptions
    lazy-walk EA [MM]   a walk of the page tables
    lazy-trace [CPU|MM] [N]  the last events, if the kernel records (APPEND=trace=on)
    lazy-stop-at CPU N  goes on to that event (make gdb ICOUNT=0 STOP_AT=line finds it)
    lazy-break WHAT     stops at a shoot, kick, scan, free, borrow, leave or fault
    lazy-watch WORD OF  stops after each store to a word of a CPU or an mm
    lazy-test           goes on to the next in-kernel test (make gdb TEST=…)

    break NAME          takes a function's bare name, inlined copies too; Tab completes it
    next, finish        stay with the task, also over a switch and on another CPU"""

    def __init__(self):
        super().__init__("lazy", gdb.COMMAND_STATUS)

    def invoke(self, _arguments, _from_tty):
        """The page itself."""
        print(self.__doc__)


class LazyTest(Command):
    """lazy-test: goes on to the first instruction of the next in-kernel test (test image)."""

    name = "lazy-test"
    hook = "selftest_begins"

    def show(self, _arguments):
        """Prints which test it is."""
        hook = symbol(self.hook)
        if hook is None:
            raise gdb.GdbError("this image has no tests: `make gdb TEST=pattern` starts the one that has.")
        needs_machine()
        stop_at(f"*{hook:#x}")
        if not at(hook):
            yield "stopped before the next test began."
            return
        name, length, run = (int(gdb.parse_and_eval(f"$r{n}")) & (1 << 64) - 1 for n in (3, 4, 5))
        text = bytes(gdb.selected_inferior().read_memory(name, length)).decode(errors="replace")
        stop_at(f"*{run:#x}")
        cpu = gdb.selected_thread().num - 1
        yield f"test {text} starts on CPU {cpu}" if at(run) else f"stopped before test {text} began."


def stop_at(place):
    """Goes on to a place, or to anything else that stops the machine."""
    breakpoint = gdb.Breakpoint(place, internal=True)
    breakpoint.silent = True
    try:
        gdb.execute("continue", to_string=True)
    except gdb.error:
        pass  # reported below
    finally:
        breakpoint.delete()
    if gdb.selected_thread() is None:
        raise gdb.GdbError("the machine ended before a test began: the console says why.")


def at(address):
    """Whether the selected vCPU is at the address."""
    return int(gdb.parse_and_eval("$pc")) & (1 << 64) - 1 == address


for command in (LazyCpus, LazyMms, LazyTasks, LazyCheck, LazyWhy, LazyCalls, LazyBt, LazyWalk, LazyTest,
                LazyHelp):
    command()
