"""Breaks the kernel in every way that has a name, and reads the report that follows.

The test image breaks itself as `crash=KIND` on its command line says. A report is

    kernel panic: …                      the cause, in one line
    CPU 0: task 6 (crash), …             each CPU, the reporting one first: its task,
      task: mm …                         its lazy-TLB state, its registers, its
      lazy tlb: PIDR …                   backtrace
      …
    --- lazy-tlb report ---
    …
    --- end of report ---
    kernel panic: …                      the cause again, as the last line

and QEMU ends with status 1. Lines of any other form come from CPUs that print together.
"""

import dataclasses
import os
import re
import subprocess
import tempfile

import machine
import qmp
import running
import tracing
from common import BUILD, ROOT
from settings import Settings
from tally import failure, one

KERNEL = BUILD / "kernel-test.elf"
INITRD = BUILD / "initrd-test.cpio"
TOOL = ROOT / "target/headline/release/trace-tool"
CPUS = 4
LIMIT_S = 60
# A short limit of the kernel's watchdogs, in milliseconds, for the tests that need one to act.
WATCHDOG = "watchdog=1500"
ANY = None

HEAD = re.compile(r"CPU (\d+): (task \d+ \(.*\)|no task yet), (in (kernel|user) mode, interrupts (on|off)|does not answer .*)$")
# The other lines in the part of a CPU.
BODY = [re.compile(form) for form in (
    r"  task: mm \S+, active_mm \S+$",
    r"  lazy tlb: PIDR (\d+|unknown), active_mm \S+( \(lazy\))?, curr_mm \S+, prev_mm \S+$",
    r"  call: waits for CPU \d+, which has (not )?taken it",
    r"  nip ", r"  lr  ", r"  msr [0-9a-f]{16} ctr ", r"  dar [0-9a-f]{16} dsisr ", r"  r(0|4|8|12|16|20|24|28) +([0-9a-f]{16} ?){4}$",
    r"  backtrace:$", r"    0x[0-9a-f]{16} ", r"    exception 0x[0-9a-f]+ ", r"    … \d+ more of the same$")]
BEGIN, END = "--- lazy-tlb report ---", "--- end of report ---"
CUT = "the report is cut short by a second failure: "


@dataclasses.dataclass
class Crash:
    """One way to break, and the expected report."""

    kind: str
    cause: str                   # a pattern for the whole line
    on: int = None               # the CPU that reports, if that is known
    shows: dict = dataclasses.field(default_factory=dict)    # CPU, or ANY: names in its part, in this order
    silent: tuple = ()           # CPUs that do not stop
    cut: str = ""                # the report ends with a second failure, whose line has this
    words: str = ""              # more command line
    tells: tuple = ()            # patterns of whole lines before the cause, in this order

    def wrong(self, report):
        """What is wrong between the two lines with the cause, "" if nothing is."""
        if BEGIN not in report or report[-1] != END:
            return "no counters between the CPUs and the last line"
        counters = report[report.index(BEGIN):]
        if not counters[1].startswith("policy") or not counters[2].startswith("counter"):
            return "the counters are damaged"
        return wrong_parts(self, report[:report.index(BEGIN)])

    def run(self):
        """Boots, lets the kernel break and reads the report; returns a tally."""
        settings = Settings(smp=CPUS, append=f"crash={self.kind} {self.words}".strip())
        outcome = running.run_quietly(machine.command_line(settings, KERNEL, INITRD), LIMIT_S)
        return judge(self, outcome)


def crash_in(name):
    """The function of the test that breaks, in the form of a backtrace."""
    return f"::{name}+"


def _fault(kind, cause, function, vector):
    return Crash(kind, rf"kernel fault: {cause}", 0, {0: [f"exception {vector}", crash_in(function)]})


class Early(Crash):
    """A crash before there are other CPUs to report."""

    def wrong(self, report):
        if not HEAD.match(report[0]) or report[1] != "  lazy tlb: not yet up":
            return f"the part of the boot CPU begins with {report[:2]}"
        return missing(self, {0: report})


class Traced(Crash):
    """A crash whose trace is read afterwards: its last event is the oracle's complaint."""

    def run(self):
        settings = Settings(smp=CPUS, append=f"crash={self.kind} trace=oracle,mm")
        with tracing.TracedRun(machine.command_line(settings, KERNEL, INITRD), KERNEL, LIMIT_S) as run:
            for _ in run.pieces():
                pass
            outcome = run.finish()
        tally, name = judge(self, outcome), f"crash {self.kind} > the oracle in the trace"
        with tempfile.NamedTemporaryFile() as file:
            file.write(run.trace or b"")
            file.flush()
            done = subprocess.run([TOOL, "text", file.name], capture_output=True, text=True, check=False)
        last = done.stdout.splitlines()[-1:]
        found = last and re.search(r" \[000\] .*: oracle: mm=mm2\.1$", last[0])
        tally += one(name) if found else failure(name, run.why_not or f"the trace ends with {last}", done.stderr)
        return tally


IDLE = "kernel::task::idle::idle_loop+"

CRASHES = [
    Early("early", r"kernel panic: a test of two lines .*", shows={0: [" r28", crash_in("plain_panic"), "kmain+", "_start+"]}),
    Crash("panic", r"kernel panic: a test of two lines \(kernel/src/selftest/crashes/faults\.rs:\d+\)", 0,
          {0: [crash_in("plain_panic"), "context_first_run+"], 1: ["exception 0x100", IDLE, "secondary_main+"], 2: [IDLE]}),
    _fault("null-read", r"read of 0x0, a null pointer, .*::null_read\+\S+", "null_read", "0x300"),
    _fault("write-text", r"write of 0xc0\S+, which the page does not permit, .*::write_text\+\S+", "write_text", "0x300"),
    _fault("exec-data", r"execution of 0xc0\S+, which the page does not permit, at 0xc0\S+ \?", "exec_data", "0x400"),
    _fault("bad-address", r"access to 0x4000000000000000, which is no address, .*::bad_address\+\S+", "bad_address", "0x380"),
    _fault("illegal", r"program exception 0x700 .*::illegal_instruction\+\S+", "illegal_instruction", "0x700"),
    Crash("stack-overflow", r"kernel fault: stack overflow: task \d+ \(crash\) has used up its kernel stack at .*", 0,
          {0: [crash_in("recurse"), "more of the same", crash_in("stack_overflow"), "context_first_run+"]}),
    Crash("big-frames", r"kernel fault: stack overflow: task \d+ \(crash\) has used up its kernel stack at .*", 0,
          {0: [crash_in("recurse_in_big_frames"), crash_in("big_frames")]}),
    Crash("frame-freed-twice", r"kernel panic: frame 0x\S+ freed twice .*", 0, {0: [crash_in("frame_freed_twice")]}),
    Crash("frame-written-late", r"kernel panic: frame 0x\S+ was written to after it was freed: 0x6b6bf4ee6b6bf401 at offset 0x78 .*", 0,
          {0: [crash_in("frame_written_late")]}),
    Crash("panic-in-interrupt", r"kernel panic: a call that panics .*", 1,
          {1: [crash_in("panic_in_call"), "irq_entry+", "exception 0x500 at", "secondary_main+"], 0: ["call_awaited", crash_in("panic_in_interrupt")]}),
    Crash("two-panics", r"kernel panic: one of two .*", None,
          {0: ["one_of_two_panics+", crash_in("two_panics")], 1: ["one_of_two_panics+", "context_first_run+"]}),
    Crash("double-panic", r"kernel panic: the first of two .*", 0, {0: [crash_in("double_panic")]},
          cut="read of 0x0, a null pointer"),
    Crash("panic-in-message", r"kernel panic: a message with a ?", cut="read of 0x0, a null pointer"),
    Crash("panic-with-program", r"kernel panic: while a program runs .*", 0,
          {0: [crash_in("panic_with_program")], ANY: ["active_mm mm"]}),
    Crash("t20_mmdrop_irqs_off", r"kernel panic: T20: the last mmdrop of mm\d+\.\d+ with interrupts off: .*", 0,
          {0: ["give_back+", crash_in("mmdrop_with_irqs_off")]}),
    Crash("t20_mmdrop_in_interrupt", r"kernel panic: T20: the last mmdrop of mm\d+\.\d+ with interrupts off: .*", 1,
          {1: ["give_back+", crash_in("mmdrop_in_call"), "irq_entry+"], 0: ["  call: waits for CPU 1, which has taken it", "call_awaited", crash_in("mmdrop_in_interrupt")]}),
    Traced("coprocessor-not-counted", r"kernel panic: oracle: mm2\.1: frame 0x[0-9a-f]+ is freed and a coprocessor may hold translations "
          r"of before #\d+, not flushed since #\d+ .*", 0, {0: ["kernel::oracle::accuse_holder+", crash_in("coprocessor_not_counted")]},
          tells=(r"oracle: the last \d+ events of PID 2:", *(rf"oracle: [> ] #\d+ CPU 0: {event}" for event in (
              "sets the process-table entry", "loads the PID", "lets a coprocessor load the PID",
              r"has changed entries, that of 0x[0-9a-f]+ first", "tlbiel .*", r"frees frame 0x[0-9a-f]+")))),
    Crash("nmi-deaf", r"kernel panic: one CPU will not stop .*", 0, {0: [crash_in("nmi_deaf")]}, silent=(1,)),
    Crash("spin-deadlock", r"kernel panic: waited \d+ ms for a lock of this test: deadlock .*", 0,
          {0: ["SpinWait>::turn+", crash_in("spin_deadlock")]}, words=WATCHDOG),
    Crash("ipi-silent", r"kernel panic: CPU 0: .* was not answered by CPU 1 for \d+ ms; CPU 1 has not taken it: .*", 0,
          {0: ["  call: waits for CPU 1, which has not taken it", "call_awaited+", crash_in("ipi_silent")], 1: ["interrupts off", "exception 0x100", "spin_with_irqs_off+"]},
          words=WATCHDOG),
    Crash("irqs-off", r"kernel panic: CPU 1 has taken no interrupt for \d+ ms: interrupts are off there .*", None,
          {1: ["(silent), in kernel mode, interrupts off", "exception 0x100", "spin_with_irqs_off+"]}, words=WATCHDOG),
    Crash("no-yield", r"kernel panic: task \d+ \(crash\) has kept CPU 0 for \d+ ms with preemption off .*, while 1 wait for it .*", 0,
          {0: ["irq_entry+", "exception 0x900", crash_in("no_yield")]}, words=WATCHDOG),
]


class FromOutside(Crash):
    """Nothing breaks, but a non-maskable interrupt comes from outside the machine."""

    def run(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "qmp")
            # `cat` waits for input that never comes.
            settings = Settings(smp=CPUS, init="/bin/cat", qemu_args=f"-qmp unix:{path},server=on,wait=off")
            with running.Run(machine.command_line(settings, KERNEL, INITRD), LIMIT_S) as run:
                asked = False
                for _ in run.pieces():
                    if not asked and b"lazy-tlb: " in run.console:
                        asked = inject_nmi(path)
                return judge(self, run.finish())


def inject_nmi(path):
    """Asks QEMU at that socket for a non-maskable interrupt on all CPUs."""
    try:
        qmp.Qmp(path, LIMIT_S, LIMIT_S).do("inject-nmi")
    except qmp.Refused:
        pass        # the kernel has ended the machine before QEMU answered
    return True


CRASHES.append(FromOutside("nmi from outside", r"kernel stopped: a system reset from outside, .*", None, {1: ["exception 0x100"]}))


def judge(crash, outcome):
    """One passed or one failed test."""
    console = outcome.console.decode(errors="replace")
    lines = [line.rstrip("\r") for line in console.splitlines()]
    wrong = f"no end after {LIMIT_S} s" if outcome.timed_out else what_is_wrong(crash, lines)
    if not wrong and outcome.status != 1:
        wrong = f"QEMU ended with status {outcome.status}, not 1"
    return failure(f"crash {crash.kind}", wrong, console) if wrong else one(f"crash {crash.kind}")


def what_is_wrong(crash, lines):
    """The first error in a report, "" if there is none."""
    cause = lines[-1] if lines else ""
    if not re.fullmatch(crash.cause, cause):
        return f"the last line is not the cause: {cause!r}"
    if crash.cut:
        cut = [line for line in lines if line.startswith(CUT)]
        if len(cut) != 1 or crash.cut not in cut[0] or lines[-2] != cut[0]:
            return f"the line before the last is not the second failure: {lines[-2]!r}"
        # The second failure may come in the middle of a line: it starts a new one.
        lines = [*lines[:-3], BEGIN, "policy", "counter", END, cause]
        if crash.kind == "panic-in-message":
            return ""  # the first line could not be written
    if lines.count(cause) != 2:
        return f"the cause is printed {lines.count(cause)} times, not first and last"
    before = iter(lines[:lines.index(cause)])
    for told in crash.tells:
        if not any(re.fullmatch(told, line) for line in before):
            return f"no line before the cause matches, in this order: {told}"
    return crash.wrong(lines[lines.index(cause) + 1:-1])


def wrong_parts(crash, report):
    """The first error in the parts of the CPUs."""
    parts, order = {}, []
    for line in report:
        if head := HEAD.match(line):
            order.append(int(head.group(1)))
            parts[order[-1]] = [line]
        elif not order or not any(form.match(line) for form in BODY):
            return f"a line that is torn or has no place: {line!r}"
        else:
            parts[order[-1]].append(line)
    if crash.on is not None and order[:1] != [crash.on]:
        return f"CPU {crash.on} does not come first, but {order[:1]}"
    if crash.cut:
        return missing(crash, parts)
    if sorted(order) != list(range(CPUS)):
        return f"the CPUs in the report are {order}"
    for cpu, part in parts.items():
        rows = sum(line.startswith("  r") and line[3].isdigit() for line in part)
        if cpu in crash.silent:
            if "does not answer" not in part[0] or rows:
                return f"CPU {cpu} has stopped, against the plan: {part[0]!r}"
        elif rows != 8 or "  backtrace:" not in part:
            return f"CPU {cpu} lacks registers or a backtrace"
        if not any("PIDR" in line for line in part) or not any("active_mm" in line for line in part):
            return f"CPU {cpu} lacks its lazy-TLB state"
    return missing(crash, parts)


def missing(crash, parts):
    """The first name that a part lacks."""
    for cpu, names in crash.shows.items():
        lines = [line for part in parts.values() for line in part] if cpu is ANY else parts.get(cpu, [])
        text, at = "\n".join(lines), 0
        for name in names:
            at = text.find(name, at) + len(name)
            if at < len(name):
                return f"the part of {'any CPU' if cpu is ANY else f'CPU {cpu}'} does not show {name} (in its place)"
    return ""
