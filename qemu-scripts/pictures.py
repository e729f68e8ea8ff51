"""The six pictures of docs/overview.md. The addresses in the map are read from the source."""

import re

from common import ROOT, SCRIPTS
from drawing import LINE, Picture


# --- 1: the crates -------------------------------------------------------------------

def floors():
    """The rows of FLOORS in qemu-scripts/layers, the highest first: (modules, comment)."""
    block = (SCRIPTS / "layers").read_text().partition("\nFLOORS = [\n")[2].partition("\n]")[0]
    rows = [(re.findall(r'"(\w+)"', line), line.partition("# ")[2]) for line in block.splitlines()]
    return rows[::-1]


def crates():
    p = Picture(960, 670, "The crates, and which calls which")
    p.box(20, 20, 920, 46, "user", "**`user/`: programs of the initrd, and C programs of the tests")
    p.arrow((300, 66), (300, 104), says="a system call, a fault", at=(312, 90))
    p.arrow((660, 104), (660, 66), says="`rfid`", at=(672, 90))

    p.band(20, 104, 920, 276, "kernel/src: the kernel around the protocol (crate `kernel`), in floors: each names only those below it")
    p.box(36, 132, 150, 236, "kernel", "**`upcalls.rs`", "answers what the", "hardware asks, and", "what a low floor", "asks of a high one")
    rows = floors()
    height = 236 / len(rows)
    for n, (modules, what) in enumerate(rows):
        p.box(200, 132 + n * height, 724, height - 4, "kernel")
        p.text(212, 132 + n * height + height / 2 + 3, f"`{'  '.join(modules)}`", room=350)
        p.text(560, 132 + n * height + height / 2 + 3, what, size=13, room=350)

    p.box(20, 470, 280, 96, "arch", "**arch/powerpc64 (`powerpc64`)", "`boot`  `exceptions`  `context`",
          "`mmu`  `tlb`  `irq`  `hcall`  `uaccess`", "kernel/src calls it `arch`")
    p.box(420, 470, 250, 96, "core", "**kernel/core (crate `kcore`)", "the lazy-TLB protocol:",
          "no unsafe operations,", "no statics, no machine")
    p.box(710, 470, 230, 96, "plain", "**crates without a machine", "`formats`  parsers", "`vm`  areas, free memory",
          "`terminal` lines, `files` locks")

    p.arrow((250, 380), (250, 470), says="`switch_to`\n`load_pid`\n`flush_range_local`", at=(260, 405))
    p.arrow((90, 470), (90, 368), dashed=True, says="trait\n`Upcalls`", at=(100, 405))
    p.arrow((450, 380), (450, 470), says="`prepare_switch`\n`exit_mm`  `mmput`\n`flush`", at=(460, 405))
    p.arrow((600, 470), (600, 380), dashed=True, says="trait `Machine`\nin `hardware.rs`", at=(610, 405))
    p.arrow((830, 380), (830, 470), says="`elf::`\n`areas::`", at=(840, 405))
    p.arrow((300, 520), (420, 520), says="`CpuId`, `Pid`", at=(360, 512), anchor="middle")
    p.arrow((160, 566), (160, 600), (825, 600), (825, 566), says="the device tree", at=(490, 594), anchor="middle")
    p.note(20, 632, "Full line: the upper one depends on the lower one and calls it. Dashed line: the lower one calls back"
           " through traits", "that kernel/src implements. `make layers` fails when a crate or a floor names one above it.")
    return p


# --- 2: the boot ---------------------------------------------------------------------

def boot():
    p = Picture(960, 1010, "The boot: its steps, and what each one needs")
    rows = [
        (30, "**real mode,|the firmware lives", "arch", [
            ("`_start` (entry.S)", "64-bit mode, bss, r1, r2, r13", "The firmware jumps here, big-endian, 32-bit."),
            ("`prepare`, first half", "console, RTAS tokens, negotiation", "First the means to report a failure."),
            ("`describe`", "copies the device tree, then `quiesce`", "After it all memory is the kernel's.")]),
        (232, "**real mode,|one CPU, alone", "arch", [
            ("`prepare`, second half", "`exceptions::init_cpu`, timer", "The firmware used these registers too."),
            ("`install`, `install_vectors`", "handlers, then the vectors", "Before the map makes their pages read-only."),
            ("`memory::init`, its begin", "`frame::init`, then `build_kernel_map`", "The tree takes frames: `frame` knows them first.")]),
        (434, "**MMU on,|one CPU,|interrupts off", "kernel", [
            ("`kernel_map::init`, its end", "`mmu::enable`, then `h_set_mode_ail3`", "From here on handlers run with the MMU on."),
            ("`heap::init`, `Config::parse`", "the heap, then the command line", "The options are strings on the heap."),
            ("`machine::init`", "the protocol; then `init_address_spaces`", "The options say which policy."),
            ("`task::init`", "per CPU: an area, stacks, an idle task", "Kernel stacks lie outside the linear map.")]),
        (698, "**MMU on,|interrupts on", "kernel", [
            ("`start_secondaries`", "one CPU first, then all others", "Each new CPU reports by an IPI."),
            ("`fs::init`, `special::init`", "then `start_init`", "A kernel thread execs the first program."),
            ("`idle_loop`", "the boot context, from here on", "This context is CPU 0's idle task.")]),
    ]
    before = None
    for top, title, fill, steps in rows:
        p.band(16, top - 12, 928, len(steps) * 62 + 6, "")
        for n, line in enumerate(title.split("|")):
            p.text(28, top + 16 + n * LINE, line if n == 0 else "**" + line)
        for n, (name, what, why) in enumerate(steps):
            y = top + n * 62
            p.box(190, y, 330, 44, "kernel" if name.startswith("`memory") else fill, "**" + name, what)
            p.note(536, y + 27, why)
            if before is not None:
                p.arrow((355, before), (355, y))
            before = y + 44
    p.box(190, 906, 330, 44, "arch", "**`secondary_entry` (secondary.S)", "real mode: loads the guard PID, `rfid`")
    p.box(600, 906, 330, 44, "kernel", "**`secondary_main`", "`LazyTlb::start_cpu`, `ONLINE`, `idle_loop`")
    p.arrow((190, 720), (150, 720), (150, 928), (190, 928), says="RTAS\n`start-cpu`", at=(60, 910))
    p.arrow((520, 928), (600, 928), says="MMU on", at=(560, 920), anchor="middle")
    p.note(28, 978, "Each step needs those above it. One other CPU comes up alone, through the two lowest boxes; then all the"
           " rest do, side by side.")
    return p


# --- 3: the map of effective addresses ------------------------------------------------

CONSTANTS = ("arch/**/addr.rs", "arch/**/kernel_map.rs", "kernel/src/**/kernel_map.rs", "kernel/src/**/mmap.rs",
             "kernel/src/**/load.rs")


def constants():
    """The addresses of the source, by name; a range is a pair."""
    known = {}
    for path in (path for pattern in CONSTANTS for path in ROOT.glob(pattern)):
        for name, value in re.findall(r"const (\w+): (?:u32|u64|Range<u64>) = ([^;]*);", path.read_text()):
            ends = [re.sub(r"(\w+)\.(start|end)", lambda m: str(known[m[1]][m[2] == "end"]), end)
                    for end in value.split("..")]
            values = [eval(end, {}, known) for end in ends if re.fullmatch(r"[\w\s()+<-]+", end)]
            if len(values) == len(ends):
                known[name] = values[0] if len(values) == 1 else tuple(values)
    script = (ROOT / "linker/powerpc64-kernel.ld").read_text()
    known["KERNEL_VIRT_BASE"] = int(re.search(r"KERNEL_VIRT_BASE = (0x\w+);", script)[1], 16)
    known["VIRT_VECTORS"] = int(re.search(r"\.vectors\.virt (0x\w+)", script)[1], 16)
    return known


def addresses():
    known = constants()
    p = Picture(960, 810, "The map of effective addresses")

    def column(x, title, top, rows):
        """Boxes from high addresses to low ones; the address at each lower edge."""
        p.text(x + 307, top - 12, "**" + title, "middle")
        for height, fill, lines, lowest in rows:
            p.box(x + 165, top, 285, height, fill, *lines)
            top += height
            if lowest is not None:
                digits = f"{lowest:016x}"
                p.text(x + 157, top + 5, f"`{' '.join(digits[n:n + 4] for n in range(0, 16, 4))}`", "end", size=13)

    p.box(20, 30, 920, 48, "plain", "The two highest bits of an address choose a quadrant. Quadrants 1 and 2 are not for a guest:",
          "an access there arrives at vector 0x380, and gives a program SIGSEGV.")
    area, heap, stacks = (known[name] for name in ("AREA", "HEAP", "STACKS"))
    base = known["LINEAR_BASE"]
    column(10, "quadrant 3: the kernel, always", 120, [
        (44, "none", ("nothing",), area[1]),
        (40, "none", ("rest of `AREA`: nothing yet",), stacks[1]),
        (62, "kernel", ("**kernel stacks", "16 KiB, above a guard of 16 KiB"), stacks[0]),
        (62, "kernel", ("**heap", "grows page by page, never shrinks"), heap[0]),
        (44, "none", ("nothing",), None),
        (96, "arch", ("**the linear map goes on", "all of memory: frames, page tables,",
                      "areas per CPU, NMI stacks;", "pages of 1 GiB, 2 MiB or 4 KiB"), None),
        (84, "warn", ("**image", "data: read, write; constants: read;", "text: read, execute"), known["KERNEL_VIRT_BASE"]),
        (44, "arch", ("memory below the image",), known["VIRT_VECTORS"] + 0x4000),
        (40, "warn", ("vectors with the MMU on: execute",), known["VIRT_VECTORS"]),
        (40, "warn", ("vectors of real mode: read",), base)])
    column(480, "quadrant 0: by PIDR", 120, [
        (44, "none", ("nothing: beyond the tree's 52 bits",), known["USER_END"]),
        (62, "user", ("only for a hint above `STACK_TOP`", "(mmap)"), known["STACK_TOP"] + 0x1000),
        (44, "user", ("`TRAMPOLINE`: return from signals",), known["STACK_TOP"]),
        (62, "user", ("**stack", "grows down on a fault"), known["MMAP_TOP"]),
        (96, "user", ("**mappings", "placed from here downwards"), None),
        (96, "user", ("**heap of the program", "grows upwards: `brk`"), None),
        (80, "user", ("**program", "position-independent ones from here"), known["PIE_BASE"]),
        (40, "user", ("programs that are linked lower",), known["LOWEST"]),
        (40, "none", ("nothing: a null pointer faults",), 0)])
    p.note(20, 722, "Quadrant 3 is translated by entry 0 of the process table (`KERNEL_PID`) on every CPU, whatever PIDR holds."
           " That is why a kernel", "thread can stay on any address space. Quadrant 0 is translated by the entry that PIDR names;"
           " `init_mm` has no tree there.", "In real mode a CPU ignores the four highest bits: an address of the linear map is then its"
           " physical address.", "Nothing is both writable and executable. What `AREA` maps is never unmapped: no kernel address is"
           " ever flushed.")
    return p


# --- 4: the path of a trap ------------------------------------------------------------

def trap():
    p = Picture(960, 826, "The path of a trap")
    for x, width, title in ((16, 190, "vectors.S"), (216, 150, "entry.S"), (376, 150, "dispatch.rs"),
                            (536, 170, "trait `Upcalls`"), (716, 228, "the kernel")):
        p.text(x + width / 2, 30, "**" + title, "middle")
    rows = [
        (46, "0xc00: system call", "`syscall_entry`", "`syscall_end`", ["`system_calls`"], ["`syscall::TABLE`"]),
        (96, "0x300, 0x400: storage", "`trap_entry`", "`trap`", ["`page_fault`"], ["`process::page_fault`", "then `mm::handle_fault`"]),
        (154, "0x600, 0x700, 0x380 …", "`trap_entry`", "`trap`", ["`user_fault`"], ["`user_fault`: a signal"]),
        (204, "0x800, 0xf20, 0xf40", "`trap_entry`", "`trap`", ["`fpu_unavailable`"], ["`load_vector`"]),
        (254, "0x500: external", "`irq_entry`", "`irq`", ["`interrupt`"], ["`handle_calls`, `handle_ipi`,", "`console::input::interrupt`"]),
        (312, "0x900: decrementer", "`irq_entry`", "`irq`", ["`timer`"], ["`task::timer_tick`"]),
        (362, "0x100, 0x200: NMI", "`nmi_entry`", "`nmi`", ["`nmi`"], ["`crash::nmi`"]),
        (412, "any, in kernel code", "any", "any", ["`kernel_fault`"], ["`crash::kernel_fault`"]),
    ]
    for y, vector, entry, dispatch, upcall, kernel in rows:
        h = 40 if len(kernel) == 1 else 48
        p.box(16, y, 190, h, "plain", vector)
        p.box(216, y, 150, h, "arch", entry)
        p.box(376, y, 150, h, "arch", dispatch)
        p.box(536, y, 170, h, "arch", *upcall)
        p.box(716, y, 228, h, "kernel", *kernel)
        for x in (206, 366, 526, 706):
            p.arrow((x, y + h / 2), (x + 10, y + h / 2))
    p.band(16, 474, 928, 248, "the way out (entry.S): interrupts are off from the look at the work flag to `rfid`")
    p.arrow((60, 500), (60, 572), says="the handler\nreturns", at=(68, 522))
    p.box(40, 572, 150, 48, "arch", "**`trap_exit`", "to user mode?")
    p.arrow((190, 596), (260, 596), says="yes", at=(225, 588), anchor="middle")
    p.box(260, 572, 150, 48, "warn", "work flag set?", "(`work` in `PerCpu`)")
    p.arrow((410, 596), (700, 596), says="no", at=(555, 588), anchor="middle")
    p.box(700, 572, 220, 48, "arch", "**`exit_to_user`", "registers, `rfid`")
    p.arrow((335, 572), (335, 548), says="yes", at=(343, 565))
    p.box(260, 500, 240, 48, "kernel", "`user_work`: `return_to_user`", "reschedule, signals, an end")
    p.arrow((260, 524), (165, 524), (165, 572), says="again", at=(212, 518), anchor="middle")
    p.arrow((115, 620), (115, 684), (260, 684), says="no: to kernel code", at=(122, 676))
    p.box(260, 660, 150, 48, "warn", "work flag set?", "(interrupts only)")
    p.arrow((410, 684), (450, 684), says="yes", at=(428, 676), anchor="middle")
    p.box(450, 660, 220, 48, "kernel", "`preempt_from_interrupt`", "if preemption is on")
    p.arrow((670, 684), (700, 684))
    p.box(700, 660, 220, 48, "arch", "**`exit_to_kernel`", "AMR, registers, `rfid`")
    p.arrow((335, 660), (335, 640), (810, 640), (810, 660), says="no", at=(343, 656))
    p.note(20, 752, "`syscall_entry` and `irq_entry` hold this way out in line, and `syscall_entry` calls the rows of the table.", "System calls"
           " run with interrupts on; all other handlers begin with them off. A CPU sets its own work flag", "with interrupts off: in the"
           " switch, and in `look`, after a timer tick or an IPI. A request that comes after the exit has", "tested the flag is not lost:"
           " its interrupt arrives after `rfid`.")
    return p


# --- 5: the life of a task ------------------------------------------------------------

def task():
    p = Picture(960, 720, "The life of a task")
    p.text(20, 34, "**`RunState`, and `on_cpu`: whether a CPU uses the task's stack")
    p.box(30, 170, 170, 62, "plain", "**new", "made asleep: `create`")
    p.box(300, 170, 190, 62, "core", "**RUNNING, queued", "`on_cpu` 0")
    p.box(690, 170, 190, 62, "core", "**RUNNING, on a CPU", "`on_cpu` 1")
    p.box(690, 306, 190, 62, "core", "**PREPARING", "`on_cpu` 1")
    p.box(300, 306, 190, 62, "core", "**SLEEPING", "`on_cpu` 1, then 0")
    p.box(690, 60, 190, 62, "plain", "**DEAD", "`on_cpu` 1, then 0")
    p.box(300, 60, 190, 62, "none", "**gone", "stack and `Task` freed")
    p.arrow((200, 201), (300, 201), says="`start`", at=(250, 193), anchor="middle")
    p.arrow((490, 186), (690, 186), says="`pick_next`, then `switch_to`", at=(590, 178), anchor="middle")
    p.arrow((690, 218), (490, 218), says="preempted, or its slice ends", at=(590, 236), anchor="middle")
    p.arrow((810, 232), (810, 306), says="`prepare`", at=(818, 284))
    p.arrow((745, 306), (745, 232), says="woken first", at=(737, 284), anchor="end")
    p.arrow((690, 337), (490, 337), says="`fall_asleep`", at=(590, 329), anchor="middle")
    p.arrow((395, 306), (395, 232), says="`wake`: its waker queues it\n(`placement::queue`)", at=(385, 266), anchor="end")
    p.arrow((785, 170), (785, 122), says="`die`", at=(793, 152))
    p.arrow((690, 91), (490, 91), says="`finish_slow` of the next", at=(590, 83), anchor="middle")
    p.note(30, 400, "The arrows to SLEEPING and away from it are each one compare-and-swap: exactly one waker queues the task, and"
           " a wake-up", "that comes before `fall_asleep` keeps the task awake. The waker waits until `on_cpu` is 0, so no task runs on"
           " two CPUs.")

    p.text(20, 464, "**The handoff: one switch, on one CPU, with interrupts off")
    p.box(30, 480, 205, 96, "kernel", "**`schedule`", "`pick_next`: run queue,", "else `steal`,", "else the idle task")
    p.box(260, 480, 205, 96, "core", "**`prepare_switch`", "one of four arms:", "borrow, hand on,", "end borrow, load")
    p.box(490, 480, 205, 96, "arch", "**`switch_to`", "registers and stack", "of the previous task", "for those of the next")
    p.box(720, 480, 220, 96, "kernel", "**`finish`: the new stack", "`finish_switch`; then", "`on_cpu` of the previous", "task becomes 0")
    for x in (235, 465, 695):
        p.arrow((x, 528), (x + 25, 528))
    p.box(490, 606, 450, 76, "kernel", "**then, with interrupts on: `finish_slow`", "`settle_switch` gives back the borrow that ended;",
          "frees a dead task; queues one that may not run here")
    p.arrow((830, 576), (830, 606))
    p.note(30, 628, "A new task begins in `first_run`, which calls", "`finish` like every task that is switched to.",
           "The blue boxes are code of kernel/core, and so", "are `finish_switch` and `settle_switch`.")
    return p


# --- 6: the life of a process ---------------------------------------------------------

def process():
    p = Picture(960, 700, "The life of a process, and of its address space")
    p.text(20, 34, "**the process: `Process`, in the table from clone to wait")
    steps = (
        (20, "**`clone`", "`start_child`:", "`new_process` or", "one more thread"),
        (250, "**`exec`", "`prepare`: all that can", "fail; then the other", "threads end"),
        (480, "**`exit_thread`", "the last thread calls", "`die`: files, alarms,", "children to init"),
        (710, "**`wait`", "`take_dead_child`:", "the parent takes the", "status and the number"))
    for x, *lines in steps:
        p.box(x, 50, 210, 96, "kernel", *lines)
    for x, says in ((230, ""), (460, ""), (690, "")):
        p.arrow((x, 98), (x + 20, 98), says=says)
    p.note(500, 168, "`family::bury`: dead, SIGCHLD to the parent;", "until wait it keeps only its status", colour="#5a6778")

    p.text(137, 230, "**its mm: `mm_users` / `mm_count`")
    p.box(20, 244, 210, 96, "core", "**new copy: 1 / 1", "`mm::fork`", "or shared: users + 1", "(`mmget`, CLONE_VM)")
    p.box(250, 244, 210, 96, "core", "**new, empty: 1 / 1", "`mm::create`;", "`exec_mmap` loads it,", "`mmput` of the old one")
    p.box(480, 244, 210, 96, "core", "**`exit_mm`", "the task becomes a", "borrower, then `mmput`:", "users − 1")
    p.box(710, 244, 230, 96, "plain", "other threads use it:", "users 1 or more,", "nothing else happens")
    p.arrow((125, 146), (125, 244))
    p.arrow((355, 146), (355, 244))
    p.arrow((490, 146), (490, 244))
    p.arrow((690, 292), (710, 292))
    p.arrow((585, 340), (585, 376), says="users 0: nobody uses the memory any more", at=(595, 363))
    p.box(300, 376, 640, 76, "core", "**zombie: 0 / 1, and under refcount + 1 per borrow",
          "`exit_mmap`: disconnect it, flush (`exit_flush`), then free pages and page tables",
          "CPUs may still be lazy on it; then `mmdrop`: count − 1")
    p.arrow((585, 452), (585, 488), says="count 0: nobody can take a reference any more", at=(595, 475))
    p.box(300, 488, 640, 58, "core", "**`__mmdrop`: `last_drop`", "the policy finds the CPUs that still have it loaded, and sends them to `init_mm`")
    p.arrow((585, 546), (585, 582), says="no CPU has it loaded", at=(595, 569))
    p.box(300, 582, 640, 40, "kernel", "`free_mm`: the root and the PID go; the slot gets its next generation")
    p.box(20, 376, 250, 118, "warn", "**why two counts", "A borrower needs the root and", "the PID, not the memory:", "it holds `mm_count`, or what", "its policy has in its place.")
    p.note(20, 650, "The root and the PID can outlive the process. Under refcount they stay until each CPU that is lazy on them"
           " has switched;", "under shootdown and hazard the exit or the last `mmdrop` sends those CPUs away.", "docs/lazy-tlb.md goes on from here: where a borrow begins and ends, and what each policy does for it.")
    return p


ALL = {"crates": crates, "boot": boot, "addresses": addresses, "trap": trap, "task": task, "process": process}
