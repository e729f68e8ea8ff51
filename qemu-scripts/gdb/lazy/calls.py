"""lazy-calls: the cross-calls in flight, by the records and mailboxes in memory; since when, by the trace."""

import re

import gdb

import lazy.stack as stack
from lazy.commands import Command, table
from lazy.kernel import Kernel
from lazy.trace import recorded

# The settings of the trace are events as well: while calls are not recorded, those of before go on unseen.
EVENT = re.compile(r".*\[(\d+)\] +([\d.]+): (posted|sent|taken|answered|done|setting): (?:.*(?:target|by)=cpu(\d+))?")


class Traced:
    """What is recorded of the last call of each CPU."""

    def __init__(self):
        self.of = {}  # initiator: {(what, target): seconds}; empty when the call is over
        try:
            lines, self.ticks = recorded()
        except gdb.GdbError:  # nothing is recorded
            lines, self.ticks = [], 1
        for cpu, time, what, other in (found.groups() for found in map(EVENT.match, lines) if found):
            cpu, other = int(cpu), other and int(other)
            if what in ("posted", "done", "setting"):
                self.of[cpu] = {("posted", None): float(time)} if what == "posted" else {}
            elif what == "sent":
                self.of.setdefault(cpu, {})[what, other] = float(time)
            elif other in self.of:
                self.of[other][what, cpu] = float(time)

    def at(self, by, what, target):
        """When that happened, in seconds of the timebase; None if it did not, or is not recorded."""
        return self.of.get(by, {}).get((what, None if what == "posted" else target))

    def answered(self, by):
        """The CPUs that have answered the call of a CPU."""
        return {target for what, target in self.of.get(by, ()) if what == "answered"}


class LazyCalls(Command):
    """lazy-calls: each cross-call in flight, how far it has come with each of its targets, and since when.

    `posted`: it is in the target's mailbox. `sent`: and the interrupt was sent, so that is on the way, is
    masked or is lost. `taken`: the target's handler runs, or its answer is lost. `answered`: the CPU that
    asks has not looked yet, or waits for others. What is sent or answered, and since when, is known while
    the trace records calls (APPEND=trace=call)."""

    name = "lazy-calls"

    def show(self, _arguments):
        """A line for each target."""
        kernel, traced = Kernel(), Traced()
        now = next((tb for cpu in kernel.cpus if cpu.registers and (tb := cpu.registers.special("tb"))), 0)
        now /= traced.ticks
        rows = []
        for cpu in kernel.cpus:
            if not cpu.is_started:
                continue
            what, mm, waiting = cpu.last_call(kernel.memory)
            for number in sorted(waiting | traced.answered(cpu.number)):
                target = kernel.cpus[number]
                state = self.state(kernel, traced, cpu, target, number in waiting)
                at = traced.at(cpu.number, state, number)
                rows.append((cpu.number, what, mm or "-", number, state,
                             "-" if at is None else f"{(now - at) * 1e6:.1f} µs", self.place(kernel, target)))
        if not rows:
            yield "no cross-call is in flight"
            return
        yield from table([("from", "asks", "mm", "of", "is", "for", "the target is in"), *rows])
        if any(row[5] == "-" for row in rows):
            yield "-: not recorded; APPEND=trace=call, or `trace call` in the monitor, records when calls are sent, taken and answered"

    def state(self, kernel, traced, cpu, target, waits):
        """How far it has come."""
        if not waits:
            return "answered"
        if cpu.number not in target.mailbox(kernel.memory):
            return "taken"
        return "posted" if traced.at(cpu.number, "sent", target.number) is None else "sent"

    def place(self, kernel, cpu):
        """Where a CPU is, and whether it takes interrupts there."""
        if not cpu.registers:
            return "?"
        if cpu.registers.in_user_mode():
            return "a user program"
        names = next((names for step in stack.of_cpu(kernel.memory, cpu.registers) if (names := stack.names_of(step))), "?")
        return f"{names[-1]}, interrupts {'on' if cpu.registers.irqs_on() else 'off'}"


LazyCalls()
