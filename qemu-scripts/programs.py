"""Programs on the kernel, and what they should say.

The list is programs.list: `same PROGRAM ARGUMENTS` runs a program as init and under
`qemu-ppc64` on this machine, and compares output and exit status; where a file
user/c/PROGRAM.expected exists, it is compared with that (user-mode QEMU cannot exec).
`good PROGRAM ARGUMENTS` only wants it to exit with 0.
"""

import dataclasses
import pathlib
import re
import shlex
import subprocess

import machine
from common import BUILD, ROOT, SCRIPTS

KERNEL = BUILD / "kernel.elf"
INITRD = BUILD / "initrd-test.cpio"
LIMIT_S = 60

# The kernel's own lines around a program's output.
BEGIN = re.compile(r"^run /.*$", re.M)
END = re.compile(r"^(?:init exited with status (\d+)|init killed by signal (\d+)).*$", re.M)
# A kernel line in between, such as the note about a system call that is not there.
KERNEL_LINE = re.compile(r"^kernel: .*\n", re.M)


@dataclasses.dataclass
class Case:
    """One line of the list."""

    kind: str
    program: str
    arguments: str

    def __str__(self):
        return f"{self.program} {self.arguments}".strip()


def cases():
    """All lines of the list."""
    found = []
    for line in (SCRIPTS / "programs.list").read_text().splitlines():
        words = line.split("#")[0].split(None, 2)
        if words:
            found.append(Case(words[0], words[1], words[2] if len(words) > 2 else ""))
    return found


def on_the_kernel(case):
    """(output, status) of a program as init, or (None, reason, console)."""
    settings = machine.Settings(init=f"/bin/{case.program} {case.arguments}".strip(), timeout_s=LIMIT_S)
    outcome = machine.run_quietly(machine.command_line(settings, KERNEL, INITRD), LIMIT_S)
    console = outcome.console.decode(errors="replace").replace("\r\n", "\n")
    begin = BEGIN.search(console)
    end = END.search(console, begin.end()) if begin else None
    if outcome.timed_out or begin is None or end is None:
        return None, outcome.reason(), console
    status = int(end.group(1)) if end.group(1) else 128 + int(end.group(2))
    return KERNEL_LINE.sub("", console[begin.end() + 1:end.start()]), status, console


def on_this_machine(case):
    """(output, status) of the same binary in user-mode QEMU, or of the recorded output."""
    recorded = ROOT / f"user/c/{case.program}.expected"
    if recorded.exists():
        return recorded.read_text(), 0
    path = next((p for p in (BUILD / f"c/{case.program}", ROOT / f"target/powerpc64-kernel/release/{case.program}")
                 if p.exists()), pathlib.Path("missing"))
    command = ["qemu-ppc64", "-0", f"/bin/{case.program}", str(path), *shlex.split(case.arguments)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=LIMIT_S, text=True, errors="replace", env={"PATH": "/bin"}, cwd="/")
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{error}\n", -1
    # QEMU itself says that a signal was uncaught; so does the kernel, in its own words.
    output = re.sub(r"^qemu: uncaught target signal.*\n", "", done.stdout, flags=re.M)
    return output, done.returncode if done.returncode >= 0 else 128 - done.returncode


def check(case):
    """(case, None) if all is well, else (case, (reason, evidence))."""
    output, status, console = on_the_kernel(case)
    if output is None:
        return case, (status, console)
    if case.kind == "good":
        return case, None if status == 0 else (f"exited with {status}", console)
    wanted, wanted_status = on_this_machine(case)
    if output != wanted:
        return case, ("prints something else than under qemu-ppc64",
                      f"wanted:\n{wanted}\ngot:\n{output}")
    if status != wanted_status:
        return case, (f"exited with {status}, under qemu-ppc64 with {wanted_status}", console)
    return case, None
