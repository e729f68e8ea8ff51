"""User programs: the frames of their stacks, with the names of their functions.

The initrd's programs have no symbols; the files that they were made of have. A task's name finds the
file, and the code in memory must be the file's. The frames are those of the ELF ABIs of powerpc64:
the back chain at 0(r1), the return address at 16 of the caller's frame.
"""

import bisect
import dataclasses
import os

import demangle
import elf
import lazy.radix as radix
from common import BUILD, ROOT

MOST_FRAMES = 32
CODE_BYTES = 4
# Where programs are built. INITRD may name one more.
FOLDERS = (ROOT / "target/powerpc64-kernel/release", BUILD / "c")


@dataclasses.dataclass
class Program:
    """A file with symbols."""

    image: elf.Image
    starts: list       # of functions, ascending
    functions: list    # (end, name) of each

    @classmethod
    def read(cls, path):
        """The program in a file."""
        image = elf.Image(path)
        found = sorted((image.code_of(s.value), s.size, s.name) for s in image.symbols() if s.kind == elf.STT_FUNC)
        return cls(image, [start for start, _, _ in found], [(start + size, name) for start, size, name in found])

    def function_at(self, pc):
        """The function that has an address, "" if none."""
        end, name = self.functions[at] if (at := bisect.bisect(self.starts, pc) - 1) >= 0 else (0, "")
        return demangle.shorten(demangle.demangle(name)) if pc < end else ""

    def code(self, pc):
        """The file's instruction at an address, b"" if it has none there."""
        at = self.image.file_offset(pc, CODE_BYTES)
        return b"" if at is None else bytes(self.image.data[at:at + CODE_BYTES])


_programs = {}


def _program(path):
    if path not in _programs:
        _programs[path] = Program.read(path) if path.is_file() else None
    return _programs[path]


class User:
    """The memory and the program of a task."""

    def __init__(self, memory, task):
        self.memory, self.pid, self.name = memory, task.mm.slot, task.name

    def read(self, address, size):
        """Bytes at a user address, b"" if no page is mapped there."""
        at = radix.walk(self.memory, self.pid, address).physical
        return b"" if at is None else self.memory.physical(at, size)

    def u64(self, address):
        """A doubleword at a user address, 0 if there is none."""
        return int.from_bytes(self.read(address, 8), "big") if address % 8 == 0 else 0

    def program(self, pc):
        """The program that the task runs, if its file is found."""
        own = os.environ.get("INITRD", "").strip()
        paths = [folder / self.name for folder in FOLDERS if self.name] + [ROOT / own] * bool(own)
        found = filter(None, map(_program, paths))
        return next((program for program in found if program.code(pc) and program.code(pc) == self.read(pc, CODE_BYTES)), None)

    def frames(self, pc, sp, lr):
        """A line per frame, the first for `pc`."""
        program = self.program(pc)
        name = lambda at: program.function_at(at) if program else ""
        yield f"{pc:#018x} {name(pc) or 'user program'}"
        if not program:
            return
        callers = list(self.callers(sp))
        # A function that calls none leaves its return address in LR.
        if (not callers or callers[0] != lr) and name(lr - 4) and name(lr - 4) != name(pc):
            callers[:1] = [lr] + [at for at in callers[:1] if name(at - 4) != name(pc)]
        for back_to in callers:
            yield f"{back_to:#018x} {name(back_to - 4) or '?'}"

    def callers(self, sp):
        """The return addresses on the stack."""
        for _ in range(MOST_FRAMES):
            above = self.u64(sp)
            if above <= sp or not (back_to := self.u64(above + 16)):
                return
            yield back_to
            sp = above
