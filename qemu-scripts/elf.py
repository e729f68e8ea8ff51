"""The parts of the ELF format that the scripts need: big-endian, 64 bits, little else.

Reads section headers, symbols and program headers of the kernel image with nothing
but Python, so that no binutils for powerpc64 are needed.
"""

import dataclasses
import pathlib
import struct

from common import die

SHT_SYMTAB, SHT_NOBITS = 2, 8
SHF_EXECINSTR = 4
PT_LOAD = 1
STT_NOTYPE, STT_FUNC = 0, 2


@dataclasses.dataclass
class Section:
    """A section header."""

    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int


@dataclasses.dataclass
class Symbol:
    """An entry of the symbol table."""

    name: str
    kind: int
    is_local: bool
    section: int
    value: int
    size: int


@dataclasses.dataclass
class Segment:
    """A loadable program header."""

    address: int
    offset: int
    file_size: int
    memory_size: int


class Image:
    """An ELF file in memory; `data` may be changed and written back."""

    def __init__(self, path, data=None):
        try:
            self.data = bytearray(pathlib.Path(path).read_bytes() if data is None else data)
        except OSError as error:
            die(f"{path}: {error.strerror}.")
        if self.data[:6] != b"\x7fELF\x02\x02":
            die(f"{path} is not a big-endian 64-bit ELF file.")
        phoff, shoff = struct.unpack_from(">QQ", self.data, 32)
        phentsize, phnum, shentsize, shnum, _ = struct.unpack_from(">HHHHH", self.data, 54)
        self.segments = []
        for i in range(phnum):
            kind, _, offset, virtual, _, in_file, in_memory = struct.unpack_from(">IIQQQQQ", self.data,
                                                                               phoff + i * phentsize)
            if kind == PT_LOAD:
                self.segments.append(Segment(virtual, offset, in_file, in_memory))
        self.sections = []
        for i in range(shnum):
            fields = struct.unpack_from(">IIQQQQI", self.data, shoff + i * shentsize)
            self.sections.append(Section(*fields[1:]))

    def has_descriptors(self):
        """Whether a function's address is that of a descriptor (ELFv1), whose first word is the code's."""
        return struct.unpack_from(">I", self.data, 48)[0] & 3 != 2

    def code_of(self, address):
        """The code of a function."""
        at = self.file_offset(address, 8) if self.has_descriptors() else None
        return address if at is None else struct.unpack_from(">Q", self.data, at)[0]

    def symbols(self):
        """All symbols that are defined in a section."""
        found = []
        for table in (s for s in self.sections if s.kind == SHT_SYMTAB):
            names = self.sections[table.link].offset
            for at in range(table.offset, table.offset + table.size, 24):
                name, info, _, section, value, size = struct.unpack_from(">IBBHQQ", self.data, at)
                if 0 < section < len(self.sections):
                    end = self.data.index(0, names + name)
                    text = self.data[names + name:end].decode(errors="replace")
                    found.append(Symbol(text, info & 15, info >> 4 == 0, section, value, size))
        return found

    def file_offset(self, address, size):
        """The place in the file of `size` bytes at a link address, None if they are not in it."""
        for s in self.segments:
            if s.address <= address and address + size <= s.address + s.file_size:
                return address - s.address + s.offset
        return None
