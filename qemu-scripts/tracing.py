"""The trace of a run: read out of the memory of a machine that has stopped.

QEMU pauses instead of ending when the guest powers off or crashes, and tells it over QMP. Then the
header at the symbol LAZY_TRACE and the rings are saved, and QEMU is ended. A machine that hangs is
paused first.
"""

import dataclasses
import os
import re
import struct
import tempfile
import threading
from pathlib import Path

from common import BUILD
from elf import Image
from qmp import Qmp, Refused
from running import Run

LINE, PAGE, RECORD_BYTES = 128, 4096, 32
# Where the header has the ticks per second.
TICKS = 32
# What `make trace` writes.
TEXT = BUILD / "trace/trace.txt"
# The linear map, and with it the image, is the physical address under this nibble.
PHYSICAL = (1 << 60) - 1


def traced(settings):
    """The settings of a run that is traced as the environment says (TRACE, TRACE_KB, TEST)."""
    get = lambda name, otherwise: os.environ.get(name, "").strip() or otherwise
    words = ["report=all", f"trace={get('TRACE', 'on')}", f"trace_kb={get('TRACE_KB', '2048')}"]
    if pattern := get("TEST", ""):
        words.append(f"test={pattern}")
    return dataclasses.replace(settings, append=" ".join([*words, settings.append]).strip())


def last_text():
    """The lines of the last trace."""
    try:
        return TEXT.read_text().splitlines()
    except OSError:
        raise Refused(f"{TEXT} is missing: `make trace` with the variables of this run writes it") from None


def place_of(lines, line):
    """(CPU, its event's number) of a line of a trace's text, counted from 1 as editors do."""
    cpu_of = lambda text: found and int(found[1]) if (found := re.search(r" \[(\d{3,})\] ", text)) else None
    if not 0 < line <= len(lines) or cpu_of(lines[line - 1]) is None:
        raise Refused(f"line {line} of the trace is no event")
    cpu = cpu_of(lines[line - 1])
    return cpu, sum(cpu_of(text) == cpu for text in lines[:line]) - 1


class Guest(Qmp):
    """The machine, until it has ended."""

    def end_of_guest(self):
        """Waits for the end: "SHUTDOWN", "GUEST_PANICKED", or "STOP" after `pause`."""
        ends = ("SHUTDOWN", "GUEST_PANICKED", "STOP")
        while True:
            for event in self.events:
                if event in ends:
                    return event
            self.events = [event] if (event := self.read().get("event")) else []

    def pause(self):
        """Pauses the machine. From another thread than the one that reads."""
        self.stream.write('{"execute": "stop"}\n')
        self.stream.flush()

    def memory(self, address, size, folder):
        """The bytes at a physical address."""
        path = Path(folder) / "memory"
        self.do("pmemsave", val=address, size=size, filename=str(path))
        data = path.read_bytes()
        path.unlink()
        return data


def dump(machine, kernel, folder):
    """The trace of a machine that stands still: `machine.memory(address, size, folder)` reads physical
    memory, perhaps by a file in that folder."""
    address = next((symbol.value for symbol in Image(kernel).symbols() if symbol.name == "LAZY_TRACE"), None)
    if address is None:
        raise Refused(f"{kernel} has no trace")
    header, = struct.unpack(">Q", machine.memory(address & PHYSICAL, 8, folder))
    if not header:
        raise Refused("the kernel has recorded nothing: it needs trace=on, or ended before it read that")
    _, _, cpus, records = struct.unpack(">4Q", machine.memory(header, 32, folder))
    head = machine.memory(header, -(-2 * LINE * (cpus + 1) // PAGE) * PAGE, folder)
    rings = [struct.unpack_from(">Q", head, 2 * LINE * (cpu + 1) + 24)[0] for cpu in range(cpus)]
    return head + b"".join(machine.memory(ring, records * RECORD_BYTES, folder) for ring in rings)


class TracedRun(Run):
    """A run whose trace is in `trace` once it is finished: bytes, or None and `why_not`."""

    def __init__(self, command, kernel, timeout_s=0, **options):
        self.folder = tempfile.TemporaryDirectory(prefix="lazy-trace-")
        self.socket, self.kernel = Path(self.folder.name) / "qmp", kernel
        self.trace, self.why_not, self.panicked, self.qmp = None, "", False, None
        self.reader = threading.Thread(target=self.watch, daemon=True)
        super().__init__([*command, "-qmp", f"unix:{self.socket},server=on,wait=off",
                          "-action", "panic=pause,shutdown=pause"], timeout_s, **options)
        self.reader.start()

    def watch(self):
        """Saves the trace when the guest has ended, and ends QEMU."""
        try:
            self.qmp = Guest(self.socket)
            self.panicked = self.qmp.end_of_guest() == "GUEST_PANICKED"
            self.trace = dump(self.qmp, self.kernel, self.folder.name)
        except (Refused, OSError) as error:
            self.why_not = str(error)
        try:
            if self.qmp:
                self.qmp.do("quit")
        except (Refused, OSError):
            pass

    def finish(self):
        """As for any run; a guest that crashed gives status 1."""
        if self.timed_out and self.qmp:
            self.qmp.pause()
        self.reader.join(timeout=60)
        outcome = super().finish()
        status = 1 if self.panicked and outcome.status == 0 else outcome.status
        return dataclasses.replace(outcome, status=status)
