"""A QEMU that listens for GDB on a socket of its own, and the GDB command line for it."""

import contextlib
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import machine
from common import BUILD, SCRIPTS, die, recorded

ANSWER_LIMIT_S = 60

_children = set()
_ending = False


def end_all():
    """Ends the QEMUs of all threads, and allows no new one."""
    global _ending
    _ending = True
    for child in list(_children):
        child.kill()


@contextlib.contextmanager
def listening(settings, kernel, archive, stopped, logs="gdb", options=()):
    """Starts QEMU; gives (child, GDB's socket, console file), and ends it afterwards. Beside the socket
    is QMP's, named qmp. `logs` begins the
    names of the files in build/ that hold the console and QEMU's messages. `options` are QEMU's.

    QEMU has a session of its own: Ctrl-C is for GDB, and stops the kernel, not QEMU.
    """
    console = BUILD / f"{logs}-console.log"
    if _ending:
        raise KeyboardInterrupt
    BUILD.mkdir(exist_ok=True)
    console.write_bytes(b"")
    with tempfile.TemporaryDirectory(prefix="kernel-gdb-") as folder:
        path = pathlib.Path(folder) / "gdb"
        command = machine.command_line(settings, kernel, archive)
        command[command.index("stdio")] = f"file:{console}"
        command += ["-chardev", f"socket,path={path},server=on,wait=off,id=gdb", "-gdb", "chardev:gdb"]
        command += ["-S"] if stopped else []
        command += ["-qmp", f"unix:{path.with_name('qmp')},server=on,wait=off", *options]
        with open(BUILD / f"{logs}-qemu.log", "wb") as log:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                     start_new_session=True)
        _children.add(child)
        try:
            yield child, path, console
        finally:
            child.kill()
            child.wait()
            _children.discard(child)


def gdb_command(kernel, target, *commands):
    """GDB with the kernel's symbols and our commands, and a target: `remote SOCKET` or `core FILE`."""
    program = recorded("gdb")
    if program is None:
        die("no GDB is set up: run `qemu-scripts/setup gdb`.")
    words = [program, "-q", "-nx"]
    for line in ("set confirm off", "set architecture powerpc:common64", f"file {kernel}",
                 f"source {SCRIPTS / 'gdb/lazy_tlb.py'}", f"target {target}", *commands):
        words += ["-ex", line]
    return words


def answers(path):
    """Whether a QEMU serves GDB at `path`. It listens before it has checked its other arguments."""
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(1)
            line.connect(str(path))
            line.sendall(b"$?#3f")
            return bool(line.recv(1))
    except OSError:
        return False


def wait_for_gdb(qemu, place):
    """Waits until a QEMU that was just started serves GDB; its end is ours, with its reason."""
    limit = time.monotonic() + ANSWER_LIMIT_S
    while not answers(place) and qemu.poll() is None:
        if time.monotonic() > limit:
            die(f"QEMU has not answered GDB within {ANSWER_LIMIT_S} s.")
        time.sleep(0.05)
    if qemu.poll() is not None:
        log = BUILD / "gdb-qemu.log"
        reason = (log.read_text(errors="replace").splitlines() or ["it printed nothing"])[-1]
        die(f"QEMU stopped with status {qemu.returncode}: {reason} (all of it: {log})")
