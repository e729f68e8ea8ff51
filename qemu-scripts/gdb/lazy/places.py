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
NO_LINE = 1 << 30  # after all lines
# Where several functions have a name, that of the protocol is meant.
PROTOCOL = ("kcore::", "<kcore::")
OWN_CODE = ("kernel/", "arch/")


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a function begins: its own code, or a copy that is inlined in another function."""

    address: int
    name: str
    inlined_in: str = ""


class Index:
    """All places of the image, by bare name."""

    def __init__(self):
        self.by_name = {}
        start, end = (int(gdb.parse_and_eval(f"(unsigned long)&{name}")) for name in ("__text_start", "__text_end"))
        found = {}
        for pc in range(start, end, WORD):
            # Each instruction: a row of the line table may end, for GDB, behind the next block's beginning.
            self.note(pc, gdb.find_pc_line(pc), found)
        for (begin, stop, _), (name, inlined_in, _, pc) in found.items():
            place = Place(pc if inlined_in else behind_prologue(begin, stop), name, inlined_in)
            self.by_name.setdefault(bare(name), []).append(place)

    def note(self, pc, row, found):
        """Notes the functions that a row of code is in. An inlined copy begins at the row of its own
        first line: the compiler may have put other parts of it at lower addresses."""
        chain, block = [], gdb.block_for_pc(pc)
        while block is not None and not block.is_static and not block.is_global:
            if block.function is not None:
                chain.append(block)
            block = block.superblock
        for block in chain:
            symbol = block.function
            key = block.start, block.end, symbol.name
            is_own = block is chain[0] and row.symtab is not None and row.symtab.filename == symbol.symtab.filename
            line = row.line if is_own else NO_LINE
            path = symbol.symtab.filename
            if "library/" in path or not any(part in path for part in OWN_CODE):
                continue
            if key not in found:
                outer = "" if block is chain[-1] else demangle.shorten(chain[-1].function.name)
                found[key] = demangle.shorten(symbol.name), outer, line, pc
            elif line < found[key][2]:
                found[key] = *found[key][:2], line, pc

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
