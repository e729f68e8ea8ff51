"""lazy-trace: what the kernel has recorded, from its rings in memory."""

import pathlib
import re
import subprocess
import tempfile

import gdb

import tracing
from common import ROOT
from lazy.commands import Command
from lazy.core import LINEAR
from lazy.memory import Memory, needs_machine, read_physical, symbol

TOOL = ROOT / "target/headline/release/trace-tool"
MOST = 40


class Rings:
    """The machine's memory, for the reader of rings."""

    def __init__(self):
        self.of = Memory()

    def memory(self, address, size, _folder):
        """Bytes at a physical address."""
        return self.of.physical(address, size)


class LazyTrace(Command):
    """lazy-trace [CPU|MM] [N]: the last N events (40), of all CPUs or of one, or those that name an mm
    (mm3.1, or mm3 for the last one of slot 3).

    The kernel records while `trace=on` (make gdb APPEND=trace=on), or a part of its events."""

    name = "lazy-trace"

    def show(self, arguments):
        """A line per event, in ftrace's form."""
        of, most = "", MOST
        for word in arguments:
            if word.isdigit() and (of or len(arguments) == 1 and int(word) >= len(gdb.selected_inferior().threads())):
                most = int(word)
            elif not of:
                of = word
            else:
                raise gdb.GdbError("usage: lazy-trace [CPU|MM] [N]")
        lines = [line for line in self.text().splitlines() if not line.startswith("#")]
        if of.isdigit():
            lines = [line for line in lines if f"[{int(of):03}]" in line]
        elif of:
            names = [set(re.split(r"[ =]", line)) for line in lines]
            # Of those that lived in a slot the last one. init_mm is alone in its own.
            lives = {name for of_line in names for name in of_line if re.fullmatch(rf"{re.escape(of)}\.\d+", name)}
            name = max(lives, key=lambda name: int(name.partition(".")[2]), default=of)
            lines = [line for line, of_line in zip(lines, names) if name in of_line]
            if len(lives) > 1:
                yield f"{of} is {name}, the last of {len(lives)} in what is recorded"
        yield from lines[-most:] or ["no such event is recorded"]

    def text(self):
        """All that is left in the rings."""
        if not TOOL.exists():
            raise gdb.GdbError("the trace's tool is not built: make trace-tool")
        with tempfile.TemporaryDirectory() as folder:
            try:
                binary = tracing.dump(Rings(), gdb.current_progspace().filename, folder)
            except tracing.Refused as why:
                raise gdb.GdbError(f"no trace: {why}") from None
            path = pathlib.Path(folder) / "trace.bin"
            path.write_bytes(binary)
            return subprocess.run([TOOL, "text", path], capture_output=True, text=True, check=True).stdout


class LazyStopAt(gdb.Command):
    """lazy-stop-at CPU N: goes on until that CPU has recorded its event number N, counted from 0. The
    kernel begins with its trace on, and its ring has room for so many events."""

    def __init__(self):
        super().__init__("lazy-stop-at", gdb.COMMAND_RUNNING)

    def invoke(self, arguments, _from_tty):
        """First to where there are rings, then to the store that completes the record."""
        words = gdb.string_to_argv(arguments)
        if len(words) != 2 or not all(word.isdigit() for word in words):
            raise gdb.GdbError("usage: lazy-stop-at CPU N")
        needs_machine()
        cpu, number = map(int, words)
        address = symbol("LAZY_TRACE")
        if address is None:
            raise gdb.GdbError("this image has no trace.")
        # The kernel's facts are not there yet.
        u64 = lambda at: int.from_bytes(read_physical(at, 8), "big")
        # The boot clears the word first.
        while not (header := u64(address & tracing.PHYSICAL)):
            self.go_to_store(address)
        block = header + 2 * tracing.LINE * (cpu + 1)
        ring, records = u64(block + 24), u64(header + 24)
        if number >= records:
            raise gdb.GdbError(f"a ring has room for {records} events: TRACE_KB= gives it more.")
        # The second word of a record is the last to be written.
        self.go_to_store(LINEAR | ring + tracing.RECORD_BYTES * number + 8)

    def go_to_store(self, address):
        """Goes on until something is stored there."""
        language = gdb.parameter("language")
        gdb.execute("set language c", to_string=True)
        try:
            place = gdb.Breakpoint(f"*(unsigned long *){address:#x}", gdb.BP_WATCHPOINT, internal=True)
        finally:
            gdb.execute(f"set language {language}", to_string=True)
        try:
            gdb.execute("continue")
        finally:
            if place.is_valid():
                place.delete()


LazyTrace()
LazyStopAt()
