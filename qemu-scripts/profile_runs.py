"""One run with its instructions counted: what the plugin wrote, with names.

The result is a list of stacks with their instructions. A stack begins with how the CPU came into the kernel
(or with the program's name), and goes on with the function and what is inlined into it.
"""

import bisect
import collections
import dataclasses
import os
import re
import struct

import elf
import event_cost
import headline_lines
import headline_runs
import initrd
import machine
import running
from common import BUILD, ROOT, die, dotted

OUT = BUILD / "profile"
DEFAULT_INIT = "/bin/demo"
USER_END = headline_lines.USER_END
VECTORS = range(0xC000_0000_0000_4000, 0xC000_0000_0000_5000)
# Entries of a path, as qemu-scripts/plugin/src/profile.rs writes them.
CALL, NEW = 0x10000, 0x20000
TRAPS = {0x100: "system reset", 0x200: "machine check", 0x300: "data fault", 0x380: "data segment", 0x400: "instruction fault",
         0x480: "instruction segment", 0x500: "external interrupt", 0x600: "alignment", 0x700: "program check", 0x800: "FP unavailable",
         0x900: "decrementer", 0xD00: "trace", 0xF20: "VMX unavailable", 0xF40: "VSX unavailable", 0xF60: "facility unavailable"}
# Nobody's call: idle, and the workers.
NO_ENTRY = "kernel threads"


@dataclasses.dataclass(frozen=True)
class Frame:
    """A level of a stack. `kind` is entry, user, function, or inlined."""

    name: str
    kind: str
    place: str = ""          # file:line of the instruction, or of the call inside; the file if no line is known


def calls():
    """{number: name} of the system calls, from the kernel's table."""
    text = (ROOT / "kernel/src/syscall/mod.rs").read_text()
    names = {}
    for number, call, comment in re.findall(r"^\s+table\[(\d+)\] = (.*?);(?: // (\w+))?", text, re.MULTILINE):
        functions = re.findall(r"(\w+)\(", call.replace("call!(", ""))
        names[int(number)] = comment or (functions[-1] if functions else f"call {number}")
    return names


def entry_name(entry, names):
    """How a CPU came into the kernel."""
    if entry >= NEW:
        return "first run of a task"
    if entry >= CALL:
        return names.get(entry - CALL, f"call {entry - CALL}")
    return TRAPS.get(entry, f"trap {entry:#x}")


def members(archive):
    """{name: data} of a newc archive."""
    found, at = {}, 0
    while archive[at:at + 6] == b"070701":
        size, name_size = int(archive[at + 54:at + 62], 16), int(archive[at + 94:at + 102], 16)
        name = archive[at + 110:at + 109 + name_size].decode(errors="replace")
        start = at + 110 + name_size + 3 & ~3
        found[name.lstrip("./")] = archive[start:start + size]
        at = start + size + 3 & ~3
    return found


def symbols_of(member, settings):
    """The file with the symbols of a program of the archive, None if there is none that we know."""
    folder, _, name = member.rpartition("/")
    given = bool(settings.initrd) and open(settings.initrd, "rb").read(4) == b"\x7fELF"
    path = settings.initrd if given else {"bin": ROOT / "target/powerpc64-kernel/release", "c": BUILD / "c"}.get(folder, BUILD) / name
    return str(path) if os.path.isfile(path) else None


class Names:
    """Stacks of functions for stretches of code: the kernel's, and of the programs that hold their words."""

    def __init__(self, kernel, programs):
        self.kernel = kernel
        self.programs = programs     # paths, the likeliest first
        self.images = {}

    def owner(self, address, words):
        """The file that a stretch is of, None if nobody's."""
        if address >= USER_END:
            return self.kernel
        for path in self.programs:
            image = self.images[path] = self.images.get(path) or elf.Image(path)
            at = image.file_offset(address, len(words))
            if at is not None and image.data[at:at + len(words)] == words:
                return path
        return None

    def frames(self, path, addresses):
        """{address: frames} of a file, the outermost first. What core brings along is left out."""
        if path in self.images and self.images[path].has_descriptors():
            return by_symbol(self.images[path], addresses)
        told = headline_lines.answers(path, [f"frames {address:#x}" for address in addresses])
        return {address: frames(text, address) for address, text in zip(addresses, told)}


def shown_path(file):
    """A source's path from the root of the project, of Rust's library or of cargo's registry."""
    return re.sub(r"^.*/(?=library/)|^.*/registry/src/[^/]*/", "", file.removeprefix(f"{ROOT}/"))


def frames(text, address):
    """The frames of an answer of `attribute`."""
    if address in VECTORS or not text:
        return (Frame("vectors" if address in VECTORS else "unknown", "function"),)
    words = text.split("\t")
    found = [(name, f"{shown_path(file)}:{line}".removesuffix(":0") if file else "") for name, file, line in zip(*[iter(words)] * 3)]
    own = [frame for n, frame in enumerate(found) if n == 0 or not frame[1].startswith("library/core/")]
    return tuple(Frame(name, "inlined" if n else "function", place) for n, (name, place) in enumerate(own))


def by_symbol(image, addresses):
    """{address: frames} where functions have descriptors, by the symbol before the address."""
    functions = sorted((image.code_of(symbol.value), symbol.size, symbol.name) for symbol in image.symbols()
                       if symbol.kind == elf.STT_FUNC)
    found = {}
    for address in addresses:
        start, size, name = functions[bisect.bisect(functions, (address + 1,)) - 1] if functions else (0, 0, "")
        found[address] = (Frame(name if start <= address < start + size else "unknown", "function"),)
    return found


def read(text):
    """(are there marks, [(runs, address, words, path)]) of the plugin's file."""
    head, *lines = text.splitlines()
    rows = (line.split() for line in lines)
    return head == "marks", [(int(runs), int(address, 16), bytes.fromhex(words), tuple(int(entry, 16) for entry in path))
                             for runs, address, words, *path in rows]


def stacks(rows, names):
    """{stack of Frames: instructions} of the plugin's rows."""
    owners, wanted, call_names = {}, {}, calls()
    for _, address, words, _ in rows:
        owner = owners.setdefault((address, words), names.owner(address, words))
        if owner:
            wanted.setdefault(owner, set()).update(range(address, address + len(words), 4))
    known = {owner: names.frames(owner, sorted(addresses)) for owner, addresses in wanted.items()}
    found = {}
    for runs, address, words, path in rows:
        owner = owners[address, words]
        if address < USER_END:
            base = (Frame(f"program {os.path.basename(owner)}" if owner else "user", "user"),)
        else:
            base = tuple(Frame(entry_name(entry, call_names), "entry") for entry in path) or (Frame(NO_ENTRY, "entry"),)
        for at in range(address, address + len(words), 4):
            stack = base + (known[owner][at] if owner else ())
            found[stack] = found.get(stack, 0) + runs
    return found


def event_costs(rows, kernel):
    """{kind: (records, instructions)} of the trace's events in the plugin's rows."""
    runs = collections.Counter()
    for count, address, words, _ in rows:
        runs.update(dict.fromkeys(range(address, address + len(words), 4), count))
    return event_cost.Code(elf.Image(kernel)).counted(runs)


def run(settings, kernel, default_initrd, show=lambda data: None):
    """Boots and counts; (how the run ended, the plugin's text, paths of the programs)."""
    version = machine.find_qemu(settings.qemu)[1]
    if version < headline_runs.LEAST_QEMU:
        die(f"QEMU {dotted(version)} is too old for the plugin: its interface 4 came with {dotted(headline_runs.LEAST_QEMU)}.")
    archive = machine.archive_for(settings, default_initrd)
    programs = members(open(archive, "rb").read()) if archive else {}
    init = (settings.init.partition(" ")[0] or ("/init" if settings.initrd else DEFAULT_INIT)).lstrip("/")
    image = elf.Image(init, programs[init]) if programs.get(init, b"")[:6] == b"\x7fELF\x02\x02" else None
    start = image.code_of(struct.unpack_from(">Q", image.data, 24)[0]) if image else 0
    place = {symbol.name: symbol.value for symbol in elf.Image(kernel).symbols()}
    OUT.mkdir(parents=True, exist_ok=True)
    out = OUT / "counted"
    out.unlink(missing_ok=True)
    command = machine.command_line(settings, kernel, archive)
    command += ["-plugin", f"{headline_runs.PLUGIN},out={out},profile={start:#x},switch={place['context_switch']:#x},"
                           f"first_run={place['context_first_run']:#x},single={'on' if settings.icount else 'off'}"]
    with running.Run(command, settings.timeout_s) as child:
        for data in child.pieces():
            show(data)
        outcome = child.finish()
    if outcome.timed_out or not out.exists():
        die(outcome.reason())
    likeliest = sorted((name for name, data in programs.items() if data[:4] == b"\x7fELF"), key=lambda name: (name != init, name))
    return outcome, out.read_text(), [path for path in (symbols_of(name, settings) for name in likeliest) if path]
