"""A memory image as an ELF core: what QEMU leaves out of it, and what GDB then needs to know.

QEMU's core says nothing of effective addresses, and lacks special registers. Memory gets the
addresses of the linear map. The special registers go where QEMU puts registers of the SPE, a unit
that 64-bit server CPUs lack.
"""

import re
import struct

HEADER, SEGMENT, NOTE = 64, struct.Struct(">IIQQQQQQ"), struct.Struct(">III")
PT_LOAD, PT_NOTE = 1, 4
NT_PRSTATUS, NT_PPC_SPE = 1, 0x101
PRSTATUS_PID = 32       # where a thread's number lies in its status
LINEAR = 0xC << 60
# Each special register by the names that QEMU's monitor has for it: QEMU 7 has pid, later versions pidr.
# The timebase is in none of its lists that is right in QEMU 10, but in what it prints of all registers.
SPECIAL = {"pid": ("pidr", "pid"), "srr0": ("srr0",), "srr1": ("srr1",), "tb": ()}
TIMEBASE = re.compile(r"^TB (\d+) (\d+)", re.M)
VALUES = struct.Struct(f">{len(SPECIAL)}Q")


def special(name, monitor):
    """A special register, None if QEMU does not know it; `monitor` gives the answer to a line."""
    if not SPECIAL[name]:
        found = TIMEBASE.search(monitor("info registers"))
        return found and int(found[1]) << 32 | int(found[2])
    answers = (monitor(f"print/x ${known}") for known in SPECIAL[name])
    return next((int(text, 0) for text in answers if text.startswith("0")), None)


def _segments(file):
    """(place of the program header, its fields) of each segment."""
    file.seek(0)
    header = file.read(HEADER)
    first, = struct.unpack_from(">Q", header, 32)
    count, = struct.unpack_from(">H", header, 56)
    for number in range(count):
        place = first + number * SEGMENT.size
        file.seek(place)
        yield place, list(SEGMENT.unpack(file.read(SEGMENT.size)))


def _notes(file, wanted):
    """Where the contents of each note of a kind lie, in the order of CPUs."""
    for _, (kind, _, offset, _, _, size, *_) in list(_segments(file)):
        end = offset + size if kind == PT_NOTE else offset
        while offset < end:
            file.seek(offset)
            name, length, note = NOTE.unpack(file.read(NOTE.size))
            place = offset + NOTE.size + (name + 3 & -4)
            if note == wanted:
                yield place
            offset = place + (length + 3 & -4)


def mend(file, cpus):
    """Makes QEMU's core one that GDB and these scripts can use. `cpus` has {name: value} of the special
    registers of each CPU."""
    for place, fields in list(_segments(file)):
        if fields[0] == PT_LOAD:
            fields[3] = LINEAR | fields[4]
            file.seek(place)
            file.write(SEGMENT.pack(*fields))
    # QEMU's only section has no name, which tools complain about.
    file.seek(40)
    file.write(bytes(8))
    file.seek(58)
    file.write(bytes(6))
    # QEMU 7 gives all threads one number.
    for number, place in enumerate(list(_notes(file, NT_PRSTATUS)), 1):
        file.seek(place + PRSTATUS_PID)
        file.write(struct.pack(">I", number))
    for place, cpu in zip(list(_notes(file, NT_PPC_SPE)), cpus, strict=True):
        file.seek(place)
        file.write(VALUES.pack(*(cpu[name] for name in SPECIAL)))


def registers(file, number):
    """{name: value} of the special registers of a CPU."""
    file.seek(list(_notes(file, NT_PPC_SPE))[number])
    return dict(zip(SPECIAL, VALUES.unpack(file.read(VALUES.size))))


def write(machine, path):
    """Writes the core of a machine, which stands still meanwhile; returns its number of CPUs. `machine`
    is a connection to QEMU (qmp.Qmp)."""
    cpus = []
    was_running = machine.do("query-status")["running"]
    machine.do("stop")
    try:
        path.unlink(missing_ok=True)
        machine.do("dump-guest-memory", paging=False, protocol=f"file:{path.resolve()}")
        for cpu in range(len(machine.do("query-cpus-fast"))):
            ask = lambda line: machine.monitor(line, cpu)
            cpus.append({name: special(name, ask) for name in SPECIAL})
    finally:
        if was_running:
            machine.do("cont")
    path.chmod(0o644)
    with path.open("r+b") as file:
        mend(file, cpus)
    return len(cpus)
