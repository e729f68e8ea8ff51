"""What events of the trace cost: the code behind the nops of an image (arch/powerpc64/src/patch.rs).

An event's code begins where its nop branches to when its group is on, and ends where it meets what follows the
nop. Counted is that branch, and all between: the longest way through it, or what a run has counted; less what
the compiler has copied there from behind the nop.
"""

import collections
import dataclasses
import functools
import itertools
import math
import re
import struct

from common import ROOT

NOP = 0x6000_0000
# The most instructions that an event may have.
MOST = 30
# The group of what only machines with more than 64 CPUs run: `WIDE` in kernel/src/trace/setting.rs.
WIDE = 63
# A loop that begins with it is a reservation's: it runs once, unless an interrupt comes into it.
LDARX = 31, 84
# Branches to the address in LR and in CTR.
RETURN, REGISTER = (19, 16), (19, 528)


def kinds():
    """The names of the kinds of records, by number."""
    return re.findall(r'^    \w+ = "(\w+)" in \w+,$', (ROOT / "kernel/trace/src/lib.rs").read_text(), re.MULTILINE)


def signed(value, bits):
    """A number in two's complement."""
    return value - (1 << bits) if value >> bits - 1 else value


@dataclasses.dataclass(frozen=True)
class Place:
    """A nop, the code apart, and what that code records."""

    at: int
    code: int
    what: str


class Code:
    """The instructions of an image, as a graph."""

    def __init__(self, image):
        self.image = image
        # By function: the addresses that it reaches, and what waits for it to return.
        self.seen, self.held_up, self.returning = collections.defaultdict(set), collections.defaultdict(list), set()
        place, names = {symbol.name: symbol.value for symbol in image.symbols()}, kinds()
        start, end = place["__patch_sites_start"], place["__patch_sites_end"]
        table = image.data[(at := image.file_offset(start, end - start)):at + end - start]
        places = [(group, what, start + n * 12 + to, start + n * 12 + 4 + code)
                  for n, (to, code, group, what) in enumerate(struct.iter_unpack(">iiHH", table))]
        self.places = [Place(at, code, names[what]) for group, what, at, code in places if group != WIDE]
        # Those in the code of an event: either way counts.
        self.nested = {at: code for group, _, at, code in places if group == WIDE}

    @functools.cache
    def word(self, at):
        """An instruction."""
        return struct.unpack_from(">I", self.image.data, self.image.file_offset(at, 4))[0]

    def opcode(self, at):
        """(primary, extended opcode) of an instruction."""
        return self.word(at) >> 26, self.word(at) >> 1 & 0x3FF

    def step(self, at):
        """(where the CPU goes on, the function that it calls before that or None) after an instruction."""
        word, (form, _) = self.word(at), self.opcode(at)
        if at in self.nested:
            return (at + 4, self.nested[at]), None
        base = 0 if word & 2 else at
        if form == 18:
            target = base + signed(word & 0x3FF_FFFC, 26)
            return ((at + 4,), target) if word & 1 else ((target,), None)
        if form == 16:
            return (at + 4, base + signed(word & 0xFFFC, 16)), None
        if self.opcode(at) in (RETURN, REGISTER) and word >> 21 & 0x14 == 0x14 and not word & 1:
            return (), None
        return ((at + 4,) if word else ()), None

    def learn(self, function):
        """Learns whether a function and those that it calls ever return: a call of one that does not ends a way."""
        waiting = [(function, function)]
        while waiting:
            caller, at = waiting.pop()
            if at in self.seen[caller]:
                continue
            self.seen[caller].add(at)
            after, callee = self.step(at)
            if self.opcode(at) in (RETURN, REGISTER):
                self.returning.add(caller)
                waiting += self.held_up.pop(caller, [])
            if callee is None or callee in self.returning:
                waiting += ((caller, to) for to in after)
            else:
                self.held_up[callee].append((caller, at + 4))
                waiting.append((callee, callee))

    def after(self, at):
        """[where the CPU goes on] after an instruction."""
        after, callee = self.step(at)
        if callee is not None and callee not in self.seen:
            self.learn(callee)
        return after if callee is None or callee in self.returning else ()

    @functools.cache
    def reached(self, start):
        """What a CPU may reach from an address on, until its function returns."""
        seen, waiting = set(), [start]
        while waiting:
            at = waiting.pop()
            if at not in seen:
                seen.add(at)
                waiting += self.after(at)
        return frozenset(seen)

    def own(self, place):
        """The addresses of an event's code, without the functions that it calls."""
        return self.reached(place.code) - self.reached(place.at + 4)

    def longest(self, place):
        """The most instructions of an event: infinite if it has a loop, or goes where a register says."""
        return 1 + self.way(place.code, self.own(place)) - self.copied(place)

    def copied(self, place):
        """How many instructions behind the nop an event's code has in their stead: those before the first at which the
        two meet."""
        own = self.own(place)
        meet = {to for at in own for to in self.after(at)} - own
        seen, now = set(), {place.at + 4}
        for distance in itertools.count():
            if now & meet:
                return distance
            if not now:
                return 0
            seen |= now
            now = {to for at in now for to in self.after(at)} - seen

    def way(self, start, own):
        """The longest way from an address to where it leaves `own`. One with a call that does not return is none."""
        lengths, waiting, under_way = {}, [start], set()

        def length(at):
            if at in under_way:
                return -math.inf if self.opcode(at) == LDARX else math.inf
            return lengths[at] if at in own else 0

        while waiting:
            at = waiting[-1]
            after, (_, callee) = self.after(at), self.step(at)
            if at in lengths:
                waiting.pop()
            elif at not in under_way:
                under_way.add(at)
                waiting += (to for to in after if to in own and to not in under_way)
            else:
                called = self.way(callee, self.reached(callee)) if callee and after else 0
                called = math.inf if self.opcode(at) == REGISTER else called
                lengths[at] = 1 + called + max(map(length, after), default=-math.inf if callee else 0)
                under_way.discard(waiting.pop())
        return lengths[start]

    def counted(self, runs):
        """{kind: (records, instructions)} of a run, of which `runs` has {address: how often it was run}."""
        found = collections.Counter(), collections.Counter()
        for place in self.places:
            records = runs.get(place.code, 0)
            found[0][place.what] += records
            found[1][place.what] += records * (1 - self.copied(place)) + self.spent(self.own(place), runs)
        return {what: (records, found[1][what]) for what, records in found[0].items() if records}

    def spent(self, addresses, runs):
        """The instructions of a run at these addresses, and in what they call."""
        return sum(runs.get(at, 0) * (1 + self.each(self.step(at)[1], runs)) for at in addresses)

    def each(self, function, runs):
        """The instructions of a run for each call of a function."""
        return self.spent(self.reached(function), runs) / runs[function] if function in runs else 0
