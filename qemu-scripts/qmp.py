"""QEMU's machine protocol, and the machines that can be reached by it: those that people start.

Each such machine has a socket in build/machines, named by the number of the process that started
it; beside it a file names the kernel's image.
"""

import contextlib
import itertools
import json
import os
import pathlib
import socket
import time

from common import BUILD, die

MACHINES = BUILD / "machines"
# A socket's name is limited; a longer one leaves the machine out of reach.
MOST_BYTES = 100
# A dump of gigabytes takes some seconds.
ANSWER_S = 30


class Refused(Exception):
    """Why QEMU did not answer, as a sentence."""


class Silent(Refused):
    """QEMU has taken too long."""


class Qmp:
    """A connection to a QEMU, which has one at a time. No answer takes longer than `answer_s`. `child` is QEMU's
    process: once it has ended, its socket is not waited for."""

    def __init__(self, path, limit_s=20, answer_s=ANSWER_S, child=None):
        self.socket, self.events, self.numbers = socket.socket(socket.AF_UNIX), [], itertools.count()
        self.answer_s = answer_s
        self.socket.settimeout(answer_s)
        deadline = time.monotonic() + limit_s
        while True:
            try:
                self.socket.connect(str(path))
                break
            except OSError:
                ended = child and child.poll() is not None
                if ended or time.monotonic() > deadline:
                    self.socket.close()
                    raise Refused("QEMU ended" if ended else "QEMU opened no QMP socket") from None
                time.sleep(0.02)
        self.stream = self.socket.makefile("r", encoding="utf-8")
        self.read()
        self.do("qmp_capabilities")

    def read(self):
        """The next message."""
        try:
            line = self.stream.readline()
        except TimeoutError:
            raise Silent(f"QEMU has not answered within {self.answer_s} s") from None
        except OSError:
            line = ""
        if not line:
            raise Refused("QEMU ended")
        return json.loads(line)

    def send(self, command, **arguments):
        """Sends a command; returns its number, which its answer bears. Any thread may do so."""
        number = next(self.numbers)
        try:
            self.socket.sendall(f"{json.dumps({'execute': command, 'arguments': arguments, 'id': number})}\n".encode())
        except OSError:
            raise Refused("QEMU ended") from None
        return number

    def do(self, command, **arguments):
        """Runs a command; events that come meanwhile are kept, and the answer to a mere `send` is left out."""
        number = self.send(command, **arguments)
        while (message := self.read()).get("id") != number:
            if "event" in message:
                self.events.append(message["event"])
        if "error" in message:
            raise Refused(f"QEMU refuses {command}: {message['error']['desc']}")
        return message["return"]

    def monitor(self, line, cpu=0):
        """The answer of QEMU's own monitor, as seen from a vCPU."""
        return self.do("human-monitor-command", **{"command-line": line, "cpu-index": cpu}).strip()

    def close(self):
        """Ends the connection; the machine goes on."""
        self.socket.close()


@contextlib.contextmanager
def reachable(kernel):
    """Options for a QEMU that is about to start, by which `newest` finds it."""
    MACHINES.mkdir(parents=True, exist_ok=True)
    path = MACHINES / str(os.getpid())
    name, image = os.path.relpath(path), path.with_suffix(".kernel")
    image.write_text(f"{pathlib.Path(kernel).resolve()}\n")
    try:
        yield ["-qmp", f"unix:{name},server=on,wait=off"] if len(name) < MOST_BYTES else []
    finally:
        path.unlink(missing_ok=True)
        image.unlink(missing_ok=True)


def newest():
    """(connection, the kernel's image) of the machine that was started last."""
    images = sorted(MACHINES.glob("*.kernel"), key=lambda path: path.stat().st_mtime, reverse=True)
    for image in images:
        try:
            return Qmp(os.path.relpath(image.with_suffix("")), 0), image.read_text().strip()
        except Silent:
            die("the machine answers to another command: end `make attach` first.")
        except (Refused, OSError):
            continue        # its starter was killed
    die("no machine runs: start one with `make run` in another terminal.")
