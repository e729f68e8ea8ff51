"""One QEMU machine: its settings checked, its command line, and a run of it.

Everything that starts QEMU comes through here, so that a test, a measurement and
`make run` see the same machine. The settings are the variables of the Makefile, read
from the environment.
"""

import dataclasses
import os
import pathlib
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import termios
import time

import initrd
from common import BUILD, USAGE, die, output_of, recorded, version_of

POLICIES = ("eager", "refcount", "shootdown")
# The first QEMU whose broadcast tlbie is finished before the next instruction runs.
SYNCHRONOUS_TLBIE = (9, 1, 0)
# Transactional memory and the speculation mitigations have no meaning under TCG, and
# QEMU refuses their defaults there. VOF is the small firmware inside QEMU.
MACHINE = "pseries,x-vof=on,cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-ccf-assist=off"


@dataclasses.dataclass
class Settings:
    """The variables of `make run`, checked."""

    smp: int = 4
    mem: str = "512M"
    cpu: str = "power9"
    lazy: str = "shootdown"
    initrd: str = ""
    init: str = ""
    append: str = ""
    timeout_s: float = 120
    icount: str = ""
    qemu: str = ""
    qemu_args: str = ""
    tlb: str = ""


def _number(name, text, least, unit=""):
    if not text.isascii() or not text.isdigit() or int(text) < least:
        die(f"{name}={text} is not a number of {least} or more{unit}.", USAGE)
    return int(text)


def settings_from_environment():
    """Reads and checks the variables; a bad value ends the script with one sentence."""
    get = lambda name, default="": os.environ.get(name, "").strip() or default
    s = Settings()
    s.smp = _number("SMP", get("SMP", "4"), 1)
    s.mem = get("MEM", "512M")
    if not re.fullmatch(r"[1-9][0-9]*[MmGg]?", s.mem):
        die(f"MEM={s.mem} is not a size such as 512M or 2G.", USAGE)
    s.cpu = get("CPU", "power9")
    s.lazy = get("LAZY", "shootdown")
    if s.lazy not in POLICIES:
        die(f"LAZY={s.lazy} is not one of {', '.join(POLICIES)}.", USAGE)
    s.tlb = get("TLB")
    if s.tlb not in ("", "tlbie", "ipi"):
        die(f"TLB={s.tlb} is not one of tlbie, ipi.", USAGE)
    timeout = get("TIMEOUT", "120")
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", timeout):
        die(f"TIMEOUT={timeout} is not a number of seconds (0 for none).", USAGE)
    s.timeout_s = float(timeout)
    s.icount = get("ICOUNT")
    if s.icount and not (s.icount.isdigit() and int(s.icount) <= 10):
        die(f"ICOUNT={s.icount} is not a shift of 0 to 10 (an instruction takes 2^shift ns).", USAGE)
    s.initrd, s.init, s.append = get("INITRD"), get("INIT"), get("APPEND")
    s.qemu, s.qemu_args = get("QEMU"), get("QEMU_ARGS")
    if s.init and not s.init.startswith("/"):
        die(f"INIT={s.init} does not start with an absolute path, such as /bin/hello.", USAGE)
    try:
        shlex.split(s.qemu_args)
    except ValueError as error:
        die(f"QEMU_ARGS is not well quoted: {error}.", USAGE)
    return s


def find_qemu(given=""):
    """(path, version) of the QEMU to use: the given one, else what the set-up chose."""
    path = given or recorded("qemu")
    if not path:
        die("no QEMU is set up: run `qemu-scripts/setup qemu`, or give QEMU=path.")
    resolved = shutil.which(path)
    if resolved is None:
        die(f"QEMU={path} is not a program." if given else f"{path} is gone: run `qemu-scripts/setup qemu`.", USAGE)
    told = output_of([resolved, "--version"])
    if told is None or "QEMU" not in told:
        die(f"{path} does not run, or is not a QEMU.", USAGE)
    return resolved, version_of(told)


def kernel_command_line(s, version):
    """The -append text. What follows ` -- ` is init's, so APPEND comes before it."""
    words = [f"lazy_tlb={s.lazy}"]
    tlb = s.tlb or ("" if version >= SYNCHRONOUS_TLBIE else "ipi")
    if tlb:
        words.append(f"tlb={tlb}")
    # The kernel's expected failures name the QEMU that they are expected on.
    words.append("qemu=" + ".".join(map(str, version)))
    path, _, arguments = s.init.partition(" ")
    if not path and s.initrd:
        path = "/init"
    if path:
        words.append(f"init={path}")
    if s.append:
        words.append(s.append)
    if arguments.strip():
        words += ["--", arguments.strip()]
    return " ".join(words)


def command_line(s, kernel, archive=None):
    """The whole command line of QEMU."""
    qemu, version = find_qemu(s.qemu)
    words = [qemu]
    # A QEMU that lies beside the system's finds its firmware through -L.
    data = pathlib.Path(qemu).resolve().parent.parent / "share/qemu"
    if (data / "vof.bin").exists():
        words += ["-L", str(data)]
    words += ["-M", MACHINE, "-cpu", s.cpu, "-m", s.mem, "-smp", str(s.smp), "-nodefaults", "-display", "none",
              "-serial", "stdio", "-monitor", "none", "-action", "panic=exit-failure", "-accel", "tcg"]
    if s.icount:
        # The same instructions in the same order each time: CPUs in turn, time from
        # the instruction count, a clock and a random seed that do not change.
        words += ["-icount", f"shift={s.icount},sleep=off", "-seed", "1",
                  "-rtc", "base=2026-01-01T00:00:00,clock=vm"]
    words += ["-kernel", str(kernel)]
    if archive:
        words += ["-initrd", str(archive)]
    words += ["-append", kernel_command_line(s, version)]
    return words + shlex.split(s.qemu_args)


def archive_for(s, default):
    """The initrd of a run: the default one, a cpio archive, or a program packed as one."""
    if not s.initrd:
        return default if default and pathlib.Path(default).exists() else None
    path = pathlib.Path(s.initrd)
    try:
        data = path.read_bytes()
    except OSError as error:
        die(f"INITRD={s.initrd} cannot be read: {error.strerror}.", USAGE)
    if data.startswith(b"\x7fELF"):
        wrong = initrd.why_not_a_program(data)
        if wrong:
            die(f"INITRD={s.initrd} {wrong}.", USAGE)
        packed = BUILD / f"initrd-{path.name}.cpio"
        names = {"init", s.init.partition(" ")[0].lstrip("/") or "init"}
        BUILD.mkdir(exist_ok=True)
        packed.write_bytes(initrd.archive({name: data for name in names}))
        return packed
    if not data.startswith(b"070701"):
        die(f"INITRD={s.initrd} is neither a newc cpio archive nor an ELF program (a compressed archive: unpack it).",
            USAGE)
    return path


# --- running --------------------------------------------------------------------------

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
    """Ends every run, in whichever thread, and allows no new one."""
    global _ending
    _ending = True
    for run in list(_running):
        run.child.kill()


class Run:
    """A running QEMU. Reads its console in pieces and never outlives its limit.

    QEMU stays in our process group: with a terminal it must be in the foreground to
    read keys. Only this one child is ever killed.
    """

    def __init__(self, command, timeout_s=0, keys=False):
        stdin = subprocess.DEVNULL
        self.terminal = None
        if keys and sys.stdin is not None:
            try:
                fd = sys.stdin.fileno()
                if not os.isatty(fd):
                    stdin = fd
                elif os.tcgetpgrp(fd) == os.getpgrp():
                    # In the background a terminal would stop QEMU at its first look.
                    stdin, self.terminal = fd, (fd, termios.tcgetattr(fd))
            except OSError:
                pass
        if _ending:
            raise KeyboardInterrupt
        self.started = time.monotonic()
        self.limit = self.started + timeout_s if timeout_s else None
        try:
            self.child = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        except OSError as error:
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
        """Waits for QEMU, or ends it; gives back how it went."""
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
        """Gives the terminal back as it was."""
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
    """Runs QEMU to its end and gives back the outcome with the console in it."""
    with Run(command, timeout_s) as run:
        for _ in run.pieces():
            pass
        return run.finish()

