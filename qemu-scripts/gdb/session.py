"""A QEMU that listens for GDB on a socket of its own, and the GDB command line for it."""

import contextlib
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import machine
from common import BUILD, SCRIPTS, die, recorded


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
