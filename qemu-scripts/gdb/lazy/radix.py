"""The walk of the MMU: process table, then the tree's levels, as each entry directs. The forms of
entries are the architecture's (ISA 3.0B, Book III, 5.7.10); the software bits of a leaf are one of
the kernel's facts.
"""

import dataclasses

KERNEL_PID = 0
EA_MASK = (1 << 62) - 1
ENTRY_BYTES = 8
PROCESS_ENTRY_BYTES = 16
SIZE_FIELD = 0x1F  # RPDS of a process-table entry, NLS of a directory entry


@dataclasses.dataclass
class Step:
    """One table on the way: the entry that was read, and its value. Levels are the kernel's: the
    entries of the last level map base pages."""

    level: int
    index: int
    where: int   # physical
    entry: int


@dataclasses.dataclass
class Walk:
    """A walk, as far as it came."""

    pid: int
    root_at: int             # physical address of the process-table entry
    root: int                # the entry; 0 for none
    steps: list
    why_not: str = ""        # why it ended without a page
    leaf: int = 0
    page_bits: int = 0
    physical: int = None     # of the address itself


def tree_bits(root):
    """Address bits that a tree translates: RTS, in two parts, and 31."""
    return 31 + ((root >> 61 & 3) << 3 | root >> 5 & 7)


def process_entry(memory, pid):
    """The physical address of a PID's entry in the process table."""
    return memory.facts["process_table"] + PROCESS_ENTRY_BYTES * pid


def walk(memory, pid, ea):
    """Walks from the process-table entry of `pid` to the page at `ea`."""
    facts = memory.facts
    valid, leaf = facts["pte_valid"], facts["pte_leaf"]
    at = process_entry(memory, pid)
    address = ea & EA_MASK
    root = memory.physical_u64(at)
    found = Walk(pid, at, root, [])
    if not root:
        found.why_not = f"PID {pid} has no tree"
        return found
    bits = tree_bits(root)
    if address >> bits:
        found.why_not = f"beyond the {bits} bits of the tree"
        return found
    table, width, level = root & facts["address_of_table"], root & SIZE_FIELD, facts["root_level"]
    while True:
        bits -= width
        index = address >> bits & ((1 << width) - 1)
        where = table + ENTRY_BYTES * index
        entry = memory.physical_u64(where)
        found.steps.append(Step(level, index, where, entry))
        if not entry & valid:
            found.why_not = "the entry is empty" if not entry else "the entry is not valid"
            return found
        if entry & leaf:
            found.leaf, found.page_bits = entry, bits
            found.physical = entry & facts["address_of_page"] & -(1 << bits) | address & ((1 << bits) - 1)
            return found
        level -= 1
        table, width = entry & facts["address_of_table"], entry & SIZE_FIELD
        if not 0 < width <= bits - 12:
            found.why_not = f"a table of 2^{width} entries does not fit here"
            return found
