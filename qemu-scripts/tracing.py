"""The trace of a run: read out of the memory of a machine that has stopped.

QEMU pauses instead of ending when the guest powers off or crashes, and tells it over QMP. Then the
header at the symbol LAZY_TRACE and the rings are saved, and QEMU is ended. A machine that hangs is
paused first.
"""

import contextlib
import dataclasses
import os
import re
import struct
import tempfile
import threading
from pathlib import Path

from common import BUILD, ROOT, USAGE, die
from elf import Image
from qmp import Qmp, Refused, Silent
from running import Run
from settings import in_kernel_test

LINE, PAGE, RECORD_BYTES = 128, 4096, 32
# Where the header has the ticks per second.
TICKS = 32
# Of reading the trace, once the machine stands still.
READ_S = 60
# What `make trace` writes.
TEXT = BUILD / "trace/trace.txt"
# The format's names of groups and events, and the sizes of a CPU's ring that the kernel takes.
_FORMAT = (ROOT / "kernel/trace/src/lib.rs").read_text()
GROUPS = re.findall(r' = "(\w+)",$', re.search(r"^groups! \{\n(.*?)^\}", _FORMAT, re.MULTILINE | re.DOTALL)[1], re.MULTILINE)
EVENTS = re.findall(r'^    \w+ = "(\w+)" in \w+,$', _FORMAT, re.MULTILINE)
RINGS_KB = [str(8 << shift) for shift in range(10)]
# The linear map, and with it the image, is the physical address under this nibble.
PHYSICAL = (1 << 60) - 1


def from_environment(name, otherwise=""):
    """The value of a variable."""
    return os.environ.get(name, "").strip() or otherwise


def traced(settings):
    """The settings of a run that is traced as the environment says (TRACE, TRACE_KB, TEST). A bad value ends
    the script."""
    events, kb = from_environment("TRACE", "on"), from_environment("TRACE_KB", "2048")
    if events != "on" and not set(events.split(",")) <= set(GROUPS):
        die(f"TRACE={events} is not on, or some of {','.join(GROUPS)}.", USAGE)
    if kb not in RINGS_KB:
        die(f"TRACE_KB={kb} is not one of {', '.join(RINGS_KB)}.", USAGE)
    words = ["report=all", f"trace={events}", f"trace_kb={kb}"]
    if pattern := from_environment("TEST"):
        words.append(f"test={in_kernel_test('TEST=', pattern)}")
    return dataclasses.replace(settings, append=" ".join([*words, settings.append]).strip())


def asked():
    """The part of the timeline that the environment asks for (FROM, TO, AROUND), as the tool takes it. A bad value
    ends the script; whether there is such an event only the trace tells."""
    words = {name: from_environment(name) for name in ("FROM", "TO", "AROUND")}
    for name in ("FROM", "TO"):
        if words[name] and not re.fullmatch(r"[0-9]+(\.[0-9]*)?", words[name]):
            die(f"{name}={words[name]} is not a number of microseconds.", USAGE)
    if words["AROUND"] and (kind := words["AROUND"].partition(":")[0]) not in (*EVENTS, "kick", "trim", "free"):
        die(f"AROUND={words['AROUND']}: {kind} is no event; kick, trim, free, or one of {', '.join(EVENTS)}.", USAGE)
    return [f"{name.lower()}={word}" for name, word in words.items() if word]


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
        """Waits for the end, however long it takes: "SHUTDOWN", "GUEST_PANICKED", or "STOP" after `pause`."""
        ends = ("SHUTDOWN", "GUEST_PANICKED", "STOP")
        self.socket.settimeout(None)
        while not (found := [event for event in self.events if event in ends]):
            self.events = [event] if (event := self.read().get("event")) else []
        self.socket.settimeout(self.answer_s)
        return found[0]

    def pause(self):
        """Pauses the machine. From another thread than the one that reads."""
        self.send("stop")

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
        self.connected = threading.Event()  # or given up
        self.reader = threading.Thread(target=self.watch, daemon=True)
        # It starts once it is watched: its end is an event that comes once.
        super().__init__([*command, "-S", "-qmp", f"unix:{self.socket},server=on,wait=off",
                          "-action", "panic=pause,shutdown=pause"], timeout_s, **options)
        self.reader.start()

    def watch(self):
        """Saves the trace when the guest has ended, and ends QEMU."""
        try:
            self.qmp = Guest(self.socket, child=self.child)
            self.qmp.do("cont")
            self.connected.set()
            self.panicked = self.qmp.end_of_guest() == "GUEST_PANICKED"
            self.trace = dump(self.qmp, self.kernel, self.folder.name)
        except (Refused, OSError) as error:
            self.why_not = self.why_not or str(error)
        self.connected.set()
        try:
            if self.qmp:
                self.qmp.do("quit")
                return
        except Silent:
            pass
        except Refused:
            return
        self.child.kill()

    def finish(self):
        """As for any run; a guest that crashed gives status 1."""
        if self.timed_out:
            self.connected.wait()
            if self.qmp:
                with contextlib.suppress(Refused):
                    self.qmp.pause()
        self.reader.join(READ_S)
        if self.reader.is_alive():
            self.why_not = f"QEMU has not given it within {READ_S} s"
            self.stop()
            self.reader.join()
        outcome = super().finish()
        status = 1 if self.panicked and outcome.status == 0 else outcome.status
        outcome = dataclasses.replace(outcome, status=status)
        if self.trace is None and status and not self.timed_out:
            self.why_not = outcome.reason()  # not that nothing was recorded then
        return outcome
