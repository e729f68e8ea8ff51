"""What moved in a run, by name: lines of one kind together, the hottest first."""

import re
import subprocess

from common import ROOT, die

ATTRIBUTE = ROOT / "target/headline/release/attribute"
# `AREA` of arch/powerpc64/src/mmu/kernel_map.rs: what the kernel maps by pages of its own.
KERNEL_AREA = range(0xC000_0000_0000_0000 + (1 << 44), 0xC000_0000_0000_0000 + (1 << 45))
USER_END = 1 << 52
# Functions that say how a line is accessed, and not what it is for.
MEANS = re.compile(r"^(kernel::sync::|kernel::task::mutex::|spin::|alloc::|core::|kcore::sync::|<)")
# Places of a line that are looked up and kept.
PLACES = 6


def answers(image, questions):
    """What `attribute` says of each question."""
    try:
        done = subprocess.run([ATTRIBUTE, image], input="\n".join(questions), text=True, capture_output=True)
    except OSError as error:
        die(f"{ATTRIBUTE}: {error.strerror}.")
    if done.returncode:
        die(f"{ATTRIBUTE.name}: {done.stderr.strip()}")
    return done.stdout.split("\n")[:len(questions)]


def kind(address, static, is_stack):
    """What kind of memory a line is."""
    if address < USER_END:
        return "user"
    if static:
        return "static"
    if is_stack:
        return "kernel stack"
    return "kernel heap" if address in KERNEL_AREA else "frame"


def meaning(functions):
    """The innermost function that is not only a means, as `Type::function`."""
    chain = functions.split(" < ")
    own = [name for name in chain if not MEANS.match(name)] or chain
    return "::".join(own[0].split("::")[-2:])


def named(ask, lines, kind=kind):
    """Groups of lines, hottest first: {name, kind, lines, transfers, misses, writers, by}.

    A line that is static has the name of its hottest field; another one that of the function
    that takes it most often. Lines of one name are one group: those of the pairs differ in
    nothing else. `ask` answers questions as `answers` does; `kind` tells the kind of memory.
    """
    # Who takes a line says more about it than who reads it.
    places = [[(int(address, 16), pc, 10 * transfers + misses) for pc, address, transfers, misses in line["at"][:PLACES]]
              for line in lines]
    questions = [f"{what} {value}" for at in places for address, pc, _ in at
                 for what, value in (("data", f"{address:#x}"), ("code", pc))]
    told = iter(ask(questions))
    groups = {}
    for line, at in zip(lines, places):
        fields, by = {}, {}
        for address, _, moves in at:
            static, functions = next(told), next(told)
            if static:
                fields[static] = fields.get(static, 0) + moves
            by[functions] = by.get(functions, 0) + moves
        hottest = sorted(by, key=by.get, reverse=True)
        field = max(fields, key=fields.get, default="")
        what = kind(at[0][0], field, line["is_stack"])
        # An index says which CPU or slot it is, and the groups are of any.
        name = re.sub(r"\[\d+\]", "[]", field) or meaning(hottest[0]) or "the program"
        group = groups.setdefault((what, name), {"name": name, "kind": what, "lines": 0, "transfers": 0, "misses": 0,
                                                 "writers": 0, "by": {}})
        group["lines"] += 1
        group["transfers"] += line["transfers"]
        group["misses"] += line["misses"]
        group["writers"] = max(group["writers"], line["writers"])
        for functions, moves in by.items():
            group["by"][functions] = group["by"].get(functions, 0) + moves
    for group in groups.values():
        group["by"] = sorted(filter(None, group["by"]), key=group["by"].get, reverse=True)[:2]
    return sorted(groups.values(), key=lambda group: -(group["transfers"] + group["misses"]))
