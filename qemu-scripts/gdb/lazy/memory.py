"""The memory of the stopped machine, and the list of facts about its layout.

Everything is read by physical address, through a mode that QEMU's stub has for it, or from a
memory image (core). So the
selected vCPU does not matter, nor whether its MMU is on, nor whether it is in a user
program; and no register is changed for a look. Kernel addresses are translated here, by
the trees that the MMU walks. A `Memory` is good for one command: it reads each page once,
and the machine is stopped meanwhile.
"""

import re
import struct

import gdb

import elf
import lazy.core as core
import lazy.radix as radix

MAGIC = 0x4C5A544C42444247  # "LZTLBDBG"
VERSION = 2
NAME_BYTES = 24
PAGE = 4096
# The linear map is the physical address under this nibble: its pages need no walk, so the facts,
# which give the trees' places, can be read.
QUADRANT_BITS = 60


class Absent(gdb.MemoryError):
    """No page is mapped there."""


def core_file():
    """The name of the memory image that is looked at, None if the machine lives."""
    connection = gdb.selected_inferior().connection
    if connection is None or connection.type != "core":
        return None
    return re.search(r"core dump file:\s+`(.*)', file type", gdb.execute("info files", to_string=True))[1]


def needs_machine():
    """Ends a command that runs the kernel where there is a dump, or nothing any more."""
    if gdb.selected_thread() is None or core_file():
        raise gdb.GdbError("The program is not being run.")


def read_physical(address, size):
    """Bytes at a physical address, read now."""
    if core_file():
        return bytes(gdb.selected_inferior().read_memory(core.LINEAR | address, size))
    gdb.execute("maintenance packet Qqemu.PhyMemMode:1", to_string=True)
    try:
        return bytes(gdb.selected_inferior().read_memory(address, size))
    finally:
        gdb.execute("maintenance packet Qqemu.PhyMemMode:0", to_string=True)


class Memory:
    """Physical and kernel memory, as it is now."""

    def __init__(self):
        self.pages = {}
        self.facts = _facts(self)

    def __getattr__(self, name):
        """A fact of the kernel's list, as `memory.mm_size`."""
        if name.startswith("_") or name == "facts":
            raise AttributeError(name)
        try:
            return self.facts[name]
        except KeyError:
            raise gdb.GdbError(f"the kernel's facts lack {name}: kernel and scripts are of different versions.") from None

    def names(self, prefix):
        """{number: name} of the facts whose names begin with `prefix`."""
        return {value: name[len(prefix):] for name, value in self.facts.items() if name.startswith(prefix)}

    def physical(self, address, size):
        """Bytes at a physical address."""
        data = bytearray()
        while size:
            page, offset = address & -PAGE, address % PAGE
            if page not in self.pages:
                self.pages[page] = read_physical(page, PAGE)
            part = self.pages[page][offset:offset + size]
            data += part
            address, size = address + len(part), size - len(part)
        return bytes(data)

    def physical_u64(self, address):
        """A doubleword at a physical address."""
        return struct.unpack(">Q", self.physical(address, 8))[0]

    def to_physical(self, address):
        """The physical address of a kernel address, by the kernel's own tree."""
        found = radix.walk(self, radix.KERNEL_PID, address).physical
        if found is None:
            raise Absent(f"nothing is mapped at {address:#x}")
        return found

    def read(self, address, size):
        """Bytes at a kernel address."""
        data = bytearray()
        while size:
            length = min(size, PAGE - address % PAGE)
            data += self.physical(self.to_physical(address), length)
            address, size = address + length, size - length
        return bytes(data)

    def u64(self, address):
        """A doubleword at a kernel address."""
        return struct.unpack(">Q", self.read(address, 8))[0]

    def u32(self, address):
        """A word at a kernel address."""
        return struct.unpack(">I", self.read(address, 4))[0]

    def text(self, address, size):
        """A text that NULs pad."""
        return self.read(address, size).split(b"\0")[0].decode(errors="replace")


def symbol(name):
    """The address of a symbol, or None."""
    language = gdb.parameter("language")
    gdb.execute("set language c", to_string=True)  # in Rust a linker symbol has no address
    try:
        return int(gdb.parse_and_eval(f"(unsigned long)&{name}"))
    except gdb.error:
        return None
    finally:
        gdb.execute(f"set language {language}", to_string=True)


# Images that were found to be the ones in memory.
_fitting = set()
SAMPLES = 32
NOP, BRANCH = 0x60000000, 18


def _may_be(wanted, found):
    """Whether an instruction of the image is the one in memory: a nop may have become a branch (`patch.rs`)."""
    return found == wanted or wanted == NOP and found >> 26 == BRANCH


def _check_image(memory):
    """Compares samples of the image's code with memory: the symbols of another build would only
    give wrong answers."""
    program = gdb.current_progspace().filename
    if program in _fitting:
        return
    image, text = elf.Image(program), symbol("__text_start")
    # Other code is copied to its place during the boot.
    for section in (section for section in image.sections if section.address == text and section.flags & elf.SHF_EXECINSTR):
        for at in range(0, section.size & -8, max(section.size // SAMPLES & -8, 8)):
            wanted = image.data[section.offset + at:section.offset + at + 8]
            found = memory.physical(section.address + at & (1 << QUADRANT_BITS) - 1, 8)
            if not all(map(_may_be, struct.unpack(">2I", wanted), struct.unpack(">2I", found))):
                raise gdb.GdbError(f"the kernel in memory is another build than {program}: load the one that was "
                                   "booted with `file`, or boot again.")
    _fitting.add(program)


def _facts(memory):
    """{name: number}. Errors in them are a GdbError."""
    address = symbol("LAZY_TLB_DEBUG")
    if address is None:
        raise gdb.GdbError("LAZY_TLB_DEBUG is not in this image: load the kernel with `file`.")
    _check_image(memory)
    address &= (1 << QUADRANT_BITS) - 1
    magic, version, count = struct.unpack(">3Q", memory.physical(address, 24))
    if magic != MAGIC:
        raise gdb.GdbError("no kernel in memory yet: LAZY_TLB_DEBUG has no magic number.")
    if version != VERSION:
        raise gdb.GdbError(f"the kernel's layout has version {version}, this script knows {VERSION}.")
    entry = struct.Struct(f">{NAME_BYTES}sQ")
    facts = {name.rstrip(b"\0").decode(): value
             for name, value in entry.iter_unpack(memory.physical(address + 24, count * entry.size))}
    if not facts.get("percpus"):
        raise gdb.GdbError("the kernel has not set up its CPUs yet: continue, and interrupt it later.")
    return facts
