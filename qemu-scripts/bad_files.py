"""Programs and archives with an error in them, made from a good program."""

import functools
import struct

import initrd
from common import ROOT

PROGRAMS = ROOT / "target/powerpc64-kernel/release"
LINK, FILE, FIFO = 0o120777, 0o100755, 0o010644

# --- programs -------------------------------------------------------------------------

@functools.cache
def good_program():
    """A good program, without its symbols."""
    return initrd.stripped((PROGRAMS / "hello").read_bytes())


def patched(*patches, base=None):
    """The good program with (offset, format, value) replaced."""
    data = bytearray(base or good_program())
    for offset, form, value in patches:
        struct.pack_into(">" + form, data, offset, value)
    return bytes(data)


def load_headers():
    """Offsets of the PT_LOAD headers of the good program."""
    at, count = struct.unpack_from(">Q", good_program(), 32)[0], struct.unpack_from(">H", good_program(), 56)[0]
    offsets = [at + 56 * n for n in range(count)]
    return [offset for offset in offsets if struct.unpack_from(">I", good_program(), offset)[0] == initrd.PT_LOAD]


def field(offset):
    """The 64-bit field at `offset`."""
    return struct.unpack_from(">Q", good_program(), offset)[0]


def many_segments():
    """65,535 program headers, the most that a file can have, of one page each."""
    code = 128 + 56 * 65535
    code += -code % 4096
    head = patched(base=good_program()[:64])
    head = patched((24, "Q", 0x10000), (32, "Q", 128), (56, "H", 65535), base=head)
    table = b"".join(struct.pack(">IIQQQQQQ", 1, 5, code, 0x10000 + 4096 * n, 0, 4096, 4096, 4096) for n in range(65535))
    # `trap`, so that it ends at once.
    return (head + bytes(64) + table).ljust(code, b"\0") + b"\x7f\xe0\0\x08".ljust(4096, b"\0")


# --- archives -------------------------------------------------------------------------

def members(*entries, trailer=True):
    """An archive of (name, mode, data[, inode, links])."""
    parts = []
    for number, (name, mode, data, *rest) in enumerate(entries, 1):
        inode, links = rest or (number, 1)
        head = initrd.entry(inode, name, mode, data)
        parts.append(head[:38] + b"%08x" % links + head[46:])
    return b"".join(parts) + (initrd.entry(0, "TRAILER!!!", 0, b"") if trailer else b"")


def init(program):
    """An archive with this /init."""
    return members(("init", FILE, program))


def with_field(archive, number, value):
    """The first header's field `number` (of 13) replaced by 8 characters."""
    return archive[:6 + 8 * number] + value + archive[14 + 8 * number:]
