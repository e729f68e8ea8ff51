"""The trace of a run: read out of the memory of a machine that has stopped.

QEMU pauses instead of ending when the guest powers off or crashes, and tells it over QMP. Then the
header at the symbol LAZY_TRACE and the rings are saved, and QEMU is ended. A machine that hangs is
paused first.
"""

import dataclasses
import json
import socket
import struct
import tempfile
import threading
import time
from pathlib import Path

from elf import Image
from running import Run

LINE, PAGE, RECORD_BYTES = 128, 4096, 32
# The linear map, and with it the image, is the physical address under this nibble.
PHYSICAL = (1 << 60) - 1


class NoTrace(Exception):
    """Why there is no trace, as a sentence."""


class Qmp:
    """A connection to QEMU's machine protocol."""

    def __init__(self, path, limit_s=20):
        self.socket, self.events = socket.socket(socket.AF_UNIX), []
        deadline = time.monotonic() + limit_s
        while True:
            try:
                self.socket.connect(str(path))
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise NoTrace("QEMU opened no QMP socket") from None
                time.sleep(0.02)
        self.stream = self.socket.makefile("rw", encoding="utf-8")
        self.read()
        self.do("qmp_capabilities")

    def read(self):
        """The next message."""
        line = self.stream.readline()
        if not line:
            raise NoTrace("QEMU ended before its memory was read")
        return json.loads(line)

    def do(self, command, **arguments):
        """Runs a command; events that come meanwhile are kept."""
        self.stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.stream.flush()
        while "event" in (message := self.read()):
            self.events.append(message["event"])
        if "error" in message:
            raise NoTrace(f"QEMU refuses {command}: {message['error']['desc']}")
        return message["return"]

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


def dump(qmp, kernel, folder):
    """The trace of the machine, which is paused."""
    address = next((symbol.value for symbol in Image(kernel).symbols() if symbol.name == "LAZY_TRACE"), None)
    if address is None:
        raise NoTrace(f"{kernel} has no trace")
    header, = struct.unpack(">Q", qmp.memory(address & PHYSICAL, 8, folder))
    if not header:
        raise NoTrace("the kernel has recorded nothing: it needs trace=on, or ended before it read that")
    _, _, cpus, records = struct.unpack(">4Q", qmp.memory(header, 32, folder))
    head = qmp.memory(header, -(-2 * LINE * (cpus + 1) // PAGE) * PAGE, folder)
    rings = [struct.unpack_from(">Q", head, 2 * LINE * (cpu + 1) + 24)[0] for cpu in range(cpus)]
    return head + b"".join(qmp.memory(ring, records * RECORD_BYTES, folder) for ring in rings)


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
            self.qmp = Qmp(self.socket)
            self.panicked = self.qmp.end_of_guest() == "GUEST_PANICKED"
            self.trace = dump(self.qmp, self.kernel, self.folder.name)
        except (NoTrace, OSError) as error:
            self.why_not = str(error)
        try:
            if self.qmp:
                self.qmp.do("quit")
        except (NoTrace, OSError):
            pass

    def finish(self):
        """As for any run; a guest that crashed gives status 1."""
        if self.timed_out and self.qmp:
            self.qmp.pause()
        self.reader.join(timeout=60)
        outcome = super().finish()
        status = 1 if self.panicked and outcome.status == 0 else outcome.status
        return dataclasses.replace(outcome, status=status)
