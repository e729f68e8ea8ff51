"""Shared by all scripts here: paths, output, and errors.

Results of the set-up are one-line files in build/config, which scripts and people can
read. An error of the user or the machine ends a script with one clear sentence on stderr
and a status, never with a traceback.
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
CONFIG = BUILD / "config"
SCRIPTS = ROOT / "qemu-scripts"

# rustup must not answer a missing component with a download of its own: without a network that
# fails or hangs, and the set-up has other ways.
os.environ["RUSTUP_AUTO_INSTALL"] = "0"

# The first QEMU whose broadcast tlbie is finished before the next instruction runs.
SYNCHRONOUS_TLBIE = (9, 1, 0)

# A status of 2 means wrong usage, as make and getopt use it.
USAGE = 2


def _interrupt(*_):
    raise KeyboardInterrupt


# A signal from outside acts like Ctrl-C: the processes that we started end with us.
for _signal in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(_signal, _interrupt)


def _one_sentence(kind, error, trace):
    """Ends a script that nothing else ends: a full disk or Ctrl-C is no error of the script."""
    name = os.path.basename(sys.argv[0])
    if issubclass(kind, KeyboardInterrupt):
        print(f"{name}: interrupted.", file=sys.stderr, flush=True)
    elif issubclass(kind, OSError):
        where = f"{error.filename}: " if error.filename else ""
        print(f"{name}: {where}{error.strerror or error}.", file=sys.stderr, flush=True)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _one_sentence

_status = {"shown": False, "told": time.monotonic()}
# How often a status becomes a line on an output that cannot replace it.
STATUS_INTERVAL_S = 20


def say(line):
    """Prints one line at once, also when the output is a pipe."""
    wiped = "\r\x1b[K" if _status["shown"] else ""
    _status.update(shown=False, told=time.monotonic())
    try:
        print(f"{wiped}{line}", flush=True)
    except BrokenPipeError:
        # The reader is gone; Python's last flush must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


def status(text):
    """Shows the progress: as the last line of a terminal, which the next one replaces; elsewhere as
    a line of its own, if nothing was printed for a while."""
    if sys.stdout.isatty():
        columns = shutil.get_terminal_size().columns
        print(f"\r\x1b[K{text[:columns - 1]}", end="", flush=True)
        _status["shown"] = True
    elif time.monotonic() - _status["told"] >= STATUS_INTERVAL_S:
        say(text)


def die(sentence, status=1):
    """Ends the script with one sentence that names the script."""
    sys.stdout.flush()
    name = os.path.basename(sys.argv[0])
    print(f"{name}: {sentence}", file=sys.stderr, flush=True)
    raise SystemExit(status)


def record(name, value):
    """Keeps a result of the set-up in build/config."""
    CONFIG.mkdir(parents=True, exist_ok=True)
    path = CONFIG / name
    if recorded(name) != value:
        path.write_text(value + "\n")


def recorded(name):
    """A result of the set-up, or None."""
    try:
        return (CONFIG / name).read_text().strip() or None
    except OSError:
        return None


def version_of(text):
    """The first dotted number in a text as a tuple: "... 10.0.2 (Debian" is (10, 0, 2)."""
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(n or 0) for n in found.groups()) if found else (0, 0, 0)


def dotted(version):
    """A version tuple as text."""
    return ".".join(map(str, version))


def old_tlbie(version):
    """The sentence for a QEMU that is too old, "" for one that is not."""
    if version >= SYNCHRONOUS_TLBIE:
        return ""
    return (f"QEMU {dotted(version)} is older than {dotted(SYNCHRONOUS_TLBIE)}: its broadcast tlbie may return before "
            "the other CPUs have dropped the translation, so a CPU can read a freed page; the kernel flushes by IPI "
            "instead (tlb=ipi).")


def output_of(command, timeout=30):
    """The stdout of a command, or None if it fails, hangs or is missing."""
    try:
        done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=timeout)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
