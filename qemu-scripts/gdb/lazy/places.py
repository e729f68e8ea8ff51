"""The kernel's functions by their bare names, also those that are inlined wherever they are called.

GDB 13 finds a function only where it has code of its own, and completing a name that has generic
arguments ends it (`std::length_error`). So names are looked up and completed here, by one walk over
the blocks of the code.
"""

import dataclasses
import re

import gdb

import demangle

WORD = 4
# Where several functions have a name, that of the protocol is meant.
PROTOCOL = ("kcore::", "<kcore::")
LIBRARY = ("core::", "alloc::", "compiler_builtins::")


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a function begins: its own code, or a copy that is inlined in another function."""

    address: int
    name: str
    inlined_in: str = ""


class Copy:
    """The code of a function, or of a copy that is inlined."""

    def __init__(self, inlined_in, lowest):
        self.inlined_in, self.lowest = inlined_in, lowest
        self.files = {}  # name: [instructions, the first line of them, where that begins]

    def note(self, name, line, pc):
        """Notes an instruction that comes from a line."""
        file = self.files.setdefault(name, [0, line, pc])
        file[0] += 1
        if line < file[1]:
            file[1:] = line, pc

    def first(self):
        """Where the first line begins of the file that most instructions come from: the compiler may
        have put other parts at lower addresses. A copy without lines of its own begins at the lowest."""
        return max(self.files.values())[2] if self.files else self.lowest


class Index:
    """All places of the image, by bare name."""

    def __init__(self):
        self.by_name = {}
        start, end = (int(gdb.parse_and_eval(f"(unsigned long)&{name}")) for name in ("__text_start", "__text_end"))
        found = {}
        for pc in range(start, end, WORD):
            # Each instruction: a row of the line table may end, for GDB, behind the next block's beginning.
            self.note(pc, gdb.find_pc_line(pc), found)
        for (begin, stop, name), copy in found.items():
            name = demangle.shorten(name)
            at = copy.first() if copy.inlined_in else behind_prologue(begin, stop)
            self.by_name.setdefault(bare(name), []).append(Place(at, name, copy.inlined_in))

    def note(self, pc, row, found):
        """Notes the functions that an instruction is in."""
        chain, block = [], gdb.block_for_pc(pc)
        while block is not None and not block.is_static and not block.is_global:
            if block.function is not None:
                chain.append(block)
            block = block.superblock
        # What is inlined in a function has, for GDB, the file and the line of the call.
        lines = [(row.symtab, row.line), *((block.function.symtab, block.function.line) for block in chain)]
        for block, (symtab, line) in zip(chain, lines):
            # By its name: the file of an inlined function is that of the call.
            if block.function.name.lstrip("<").startswith(LIBRARY):
                continue
            key = block.start, block.end, block.function.name
            if key not in found:
                outer = "" if block is chain[-1] else demangle.shorten(chain[-1].function.name)
                found[key] = Copy(outer, pc)
            if symtab is not None and line:
                found[key].note(symtab.filename, line, pc)

    def find(self, text):
        """The places that a name means: `leave_lazy`, `LazyTlb::borrow`, `kcore::LazyTlb::borrow`."""
        text = demangle.shorten(text)
        found = [place for place in self.by_name.get(bare(text), ())
                 if place.name == text or place.name.endswith(f"::{text}")]
        return [place for place in found if place.name.startswith(PROTOCOL)] or found


def locations(found):
    """The places for GDB. One that GDB finds by itself goes by its name: GDB then shows the function,
    not what is inlined at its beginning."""
    if len(found) == 1 and not found[0].inlined_in and len(index().by_name[bare(found[0].name)]) == 1:
        return [bare(found[0].name)]
    return [f"*{place.address:#x}" for place in found]


def bare(name):
    """The last part of a path."""
    return name.rsplit("::", 1)[-1]


def behind_prologue(start, end):
    """Where a function has its frame and its arguments: the second row of its lines, as GDB has it."""
    last = gdb.find_pc_line(start).last
    return last + 1 if last is not None and start <= last < end else start


_index = {}


def index():
    """The index of the image that is loaded; made at the first use."""
    program = gdb.current_progspace().filename
    if program not in _index:
        language = gdb.parameter("language")
        gdb.execute("set language c", to_string=True)
        try:
            _index[program] = Index()
        finally:
            gdb.execute(f"set language {language}", to_string=True)
    return _index[program]


def is_name(text):
    """Whether a location can be the name of a function of ours."""
    return re.fullmatch(r"[A-Za-z_<][\w:<>#{}]*", text) is not None


def completions(word):
    """The names that begin with a word: bare ones, or whole paths if it has `::`."""
    by_name = index().by_name
    if "::" not in word:
        return sorted(name for name in by_name if name.startswith(word))
    tails = {place.name[at:] for places in by_name.values() for place in places
             for at in (0, *(found.end() for found in re.finditer("::", place.name)))}
    return sorted(tail for tail in tails if tail.startswith(word))
