"""Archives in cpio's "newc" format, with bytes that depend on the contents alone.

Deterministic: entries in the order of their names, counted inode numbers, no times, no
owners. A program carries no debug information in the archive: exec reads only its program
headers and segments, so the file ends with its last segment.
"""

import struct

EM_PPC64 = 21
PT_LOAD, PT_INTERP = 1, 3
DIRECTORY, PROGRAM = 0o040755, 0o100755


def _program_headers(elf):
    """(type, offset, file size) of each program header of a big-endian 64-bit ELF file.

    A file that ends too early is a ValueError or a struct.error.
    """
    at, size, count = struct.unpack_from(">Q", elf, 32)[0], *struct.unpack_from(">HH", elf, 54)
    if at + size * count > len(elf):
        raise ValueError
    for i in range(count):
        kind, _, offset, _, _, length = struct.unpack_from(">IIQQQQ", elf, at + i * size)
        yield kind, offset, length


def why_not_a_program(elf):
    """Why the kernel could not run an ELF file, None if it can."""
    if elf[4:6] != b"\x02\x02" or len(elf) < 64 or struct.unpack_from(">H", elf, 18)[0] != EM_PPC64:
        return "is not a big-endian powerpc64 program (build it with powerpc64-linux-gnu-gcc -static)"
    try:
        headers = list(_program_headers(elf))
    except (struct.error, ValueError):
        return "is a truncated ELF file"
    if any(kind == PT_INTERP for kind, _, _ in headers):
        return "is dynamically linked: link it with -static"
    return None


def stripped(elf):
    """An ELF program cut behind its last segment, without section headers."""
    headers = struct.unpack_from(">Q", elf, 32)[0] + 56 * struct.unpack_from(">H", elf, 56)[0]
    end = max([headers] + [offset + length for kind, offset, length in _program_headers(elf) if kind == PT_LOAD])
    short = bytearray(elf[:end])
    struct.pack_into(">Q", short, 40, 0)             # e_shoff
    struct.pack_into(">HHH", short, 58, 0, 0, 0)     # e_shentsize, e_shnum, e_shstrndx
    return bytes(short)


def entry(inode, name, mode, data):
    """One member: the header of 13 hexadecimal fields, the name, the data, each padded to 4."""
    name = name.encode() + b"\0"
    links = 2 if mode == DIRECTORY else 1
    fields = (inode, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name
    pad = lambda part: part + bytes(-len(part) % 4)
    return pad(head) + pad(data)


def archive(files):
    """A newc archive of {name: content}, with the folders that the names need."""
    folders = {"/".join(name.split("/")[:i]) for name in files for i in range(1, name.count("/") + 1)}
    members = {name: (DIRECTORY, b"") for name in folders}
    members |= {name: (PROGRAM, data) for name, data in files.items()}
    parts = [entry(inode, name, *members[name]) for inode, name in enumerate(sorted(members), 1)]
    return b"".join(parts) + entry(0, "TRAILER!!!", 0, b"")
