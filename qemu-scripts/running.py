"""A run of QEMU: its console read as it comes, its end within a limit, its reason."""

import concurrent.futures
import dataclasses
import os
import select
import signal
import subprocess
import sys
import termios
import time

from common import die

AT_A_TIME = 3  # QEMU runs, of which some sleep; more only make the CPUs of a guest wait for each other


@dataclasses.dataclass
class Outcome:
    """How a run ended."""

    status: int          # QEMU's exit status, negative for a signal
    timed_out: bool
    seconds: float
    console: bytes       # everything the kernel printed, without NULs
    complaint: str       # QEMU's own last words, "" if it had none

    def reason(self):
        """Why the run failed, in one line."""
        if self.timed_out:
            return f"no end after {self.seconds:.0f} s, stopped"
        if self.status < 0:
            return f"QEMU died of signal {-self.status}"
        if self.complaint:
            return f"QEMU stopped with status {self.status}: {self.complaint}"
        lines = [line.strip() for line in self.console.decode(errors="replace").splitlines()]
        return next((line for line in reversed(lines) if line), "no output")


_running = set()
_ending = False


def end_all():
    """Ends the runs of all threads, and allows no new one."""
    global _ending
    _ending = True
    for run in list(_running):
        run.child.kill()


def terminal():
    """The descriptor of the terminal whose keys we may read, None if there is none."""
    try:
        fd = sys.stdin.fileno()
        # In the background a terminal would stop QEMU at its first read.
        return fd if os.isatty(fd) and os.tcgetpgrp(fd) == os.getpgrp() else None
    except (OSError, AttributeError):
        return None


def is_interactive():
    """Whether a person types and sees the answers."""
    return terminal() is not None and sys.stdout.isatty()


# The only key that the runner takes while a kernel has the keyboard: Ctrl-], as in telnet.
ESCAPE = b"\x1d"


def give_keys(fd):
    """Makes the terminal send Ctrl-C and its like as bytes, and an interrupt for ESCAPE.

    QEMU takes the rest of cooked mode away when it starts, and leaves this alone.
    """
    state = termios.tcgetattr(fd)
    off = bytes([os.fpathconf(fd, "PC_VDISABLE")])
    for key in (termios.VQUIT, termios.VSUSP):
        state[6][key] = off
    state[6][termios.VINTR] = ESCAPE
    termios.tcsetattr(fd, termios.TCSANOW, state)


class Run:
    """A running QEMU. Reads its console in pieces and never outlives its limit.

    With `keys`, QEMU reads our standard input; with `all_keys`, Ctrl-C is one of them.
    QEMU stays in our process group: with a terminal it must be in the foreground to
    read keys. Only this one child is ever killed.
    """

    def __init__(self, command, timeout_s=0, keys=False, all_keys=False):
        stdin = subprocess.DEVNULL
        self.terminal = None
        if keys and sys.stdin is not None:
            try:
                fd = terminal()
                if fd is not None:
                    stdin, self.terminal = fd, (fd, termios.tcgetattr(fd))
                    if all_keys:
                        give_keys(fd)
                elif not os.isatty(sys.stdin.fileno()):
                    stdin = sys.stdin.fileno()
            except (OSError, termios.error):
                pass
        if _ending:
            self.restore()
            raise KeyboardInterrupt
        self.started = time.monotonic()
        self.limit = self.started + timeout_s if timeout_s else None
        try:
            self.child = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        except OSError as error:
            self.restore()
            die(f"cannot start {command[0]}: {error.strerror}.")
        _running.add(self)
        self.console = bytearray()
        self.errors = bytearray()
        self.timed_out = False

    def pieces(self, idle_s=None):
        """Yields the console's output as it comes, b"" when nothing came for `idle_s`.

        Ends at the end of the output or at the time limit.
        """
        console, errors = self.child.stdout.fileno(), self.child.stderr.fileno()
        open_ends = [console, errors]
        while open_ends:
            wait = idle_s
            if self.limit is not None:
                left = self.limit - time.monotonic()
                if left <= 0:
                    self.timed_out = True
                    return
                wait = left if wait is None else min(wait, left)
            ready, _, _ = select.select(open_ends, [], [], wait)
            if not ready and idle_s is not None:
                yield b""
            for fd in ready:
                data = os.read(fd, 65536)
                if not data:
                    open_ends.remove(fd)
                elif fd == errors:
                    self.errors += data
                else:
                    data = data.replace(b"\0", b"")
                    self.console += data
                    yield data

    def complaint(self):
        """QEMU's last line on stderr, without its echo of os-term and its warnings."""
        lines = self.errors.decode(errors="replace").splitlines()
        return next((line for line in reversed(lines)
                     if line.strip() and "OS terminated:" not in line and ": warning:" not in line), "")

    def finish(self):
        """Waits for QEMU, or ends it; returns the outcome."""
        try:
            self.child.wait(timeout=0 if self.timed_out else 10)
        except subprocess.TimeoutExpired:
            self.stop()
        return Outcome(self.child.returncode, self.timed_out, time.monotonic() - self.started, bytes(self.console),
                       self.complaint())

    def stop(self):
        """Ends QEMU: politely, so that it restores the terminal, then for good."""
        for action in (self.child.terminate, self.child.kill):
            if self.child.poll() is None:
                action()
                try:
                    self.child.wait(timeout=2)
                except subprocess.TimeoutExpired:
                    pass
        _running.discard(self)
        self.restore()

    def restore(self):
        """Restores the terminal's settings."""
        if self.terminal:
            fd, state = self.terminal
            # A background process that touches the terminal is stopped; we may be one by now.
            old = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            try:
                termios.tcsetattr(fd, termios.TCSANOW, state)
            except termios.error:
                pass
            signal.signal(signal.SIGTTOU, old)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def run_quietly(command, timeout_s):
    """Runs QEMU to its end and returns the outcome with the console in it."""
    with Run(command, timeout_s) as run:
        for _ in run.pieces():
            pass
        return run.finish()


def side_by_side(function, items):
    """Yields function(item) for each item, in their order; an interrupt ends all of them."""
    pool = concurrent.futures.ThreadPoolExecutor(AT_A_TIME)
    try:
        yield from pool.map(function, items)
    except BaseException:
        end_all()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
