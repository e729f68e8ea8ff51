//! Instructions as words: those that the assembler does not know by name with all their
//! fields. The kernel executes these words, and the tests decode them.
//!
//! A field's place is given by the number of its last bit, counted from the left as the
//! ISA does.

/// A field that ends at bit `last` of a word.
const fn field(value: u32, last: u32) -> u32 {
    value << (31 - last)
}

/// Primary opcode 31, with the extended opcode of the X form.
const fn x_form(extended: u32) -> u32 {
    field(31, 5) | field(extended, 30)
}

/// Operands in registers RB and RS; caches `ric`; process scoped (PRS=1), radix (R=1).
const fn tlb_invalidate(extended: u32, rb: u32, rs: u32, ric: u32) -> u32 {
    x_form(extended) | field(rs, 10) | field(ric, 13) | field(1, 14) | field(1, 15) | field(rb, 20)
}

/// `tlbie RB, RS, RIC, 1, 1` (ISA 3.0B, Book III, 5.9.3.3): on all CPUs of the partition.
#[must_use]
pub const fn tlbie(rb: u32, rs: u32, ric: u32) -> u32 {
    tlb_invalidate(306, rb, rs, ric)
}

/// `tlbiel RB, RS, RIC, 1, 1`: on this hardware thread.
#[must_use]
pub const fn tlbiel(rb: u32, rs: u32, ric: u32) -> u32 {
    tlb_invalidate(274, rb, rs, ric)
}

/// `slbia 7` (5.9.3.2): all of this thread's ERAT, whatever the context.
pub const INVALIDATE_ERAT: u32 = x_form(498) | field(7, 10);

/// `ori 0, 0, 0`: nothing.
pub const NOP: u32 = field(24, 5);

/// `b` over `distance` bytes.
///
/// # Panics
/// If it is no multiple of 4, or 32 MB or more.
#[must_use]
pub const fn branch(distance: i64) -> u32 {
    assert!(distance % 4 == 0 && -(1 << 25) <= distance && distance < 1 << 25);
    field(18, 5) | distance as u32 & 0x03ff_fffc
}

#[cfg(test)]
pub(super) mod decode {
    //! A word's fields, taken out bit by bit: a second, independent reading of the
    //! ISA's figures.

    /// One of the instructions above.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in super::super) enum Decoded {
        Tlbie(TlbFields),
        Tlbiel(TlbFields),
        Slbia { ih: u32 },
    }

    /// The fields of `tlbie` and `tlbiel`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in super::super) struct TlbFields {
        pub rs: u32,
        pub ric: u32,
        pub prs: u32,
        pub r: u32,
        pub rb: u32,
    }

    /// Decodes `word`; panics if a reserved bit is set.
    pub(in super::super) fn decode(word: u32) -> Decoded {
        let bits = |first: u32, last: u32| word << first >> first >> (31 - last);
        assert_eq!((bits(0, 5), bits(31, 31)), (31, 0), "{word:#x}");
        let tlb = || {
            assert_eq!(bits(11, 11), 0, "{word:#x}");
            let [rs, ric, prs, r, rb] =
                [(6, 10), (12, 13), (14, 14), (15, 15), (16, 20)].map(|(a, b)| bits(a, b));
            TlbFields { rs, ric, prs, r, rb }
        };
        match bits(21, 30) {
            306 => Decoded::Tlbie(tlb()),
            274 => Decoded::Tlbiel(tlb()),
            498 => {
                assert_eq!((bits(6, 7), bits(11, 20)), (0, 0), "{word:#x}");
                Decoded::Slbia { ih: bits(8, 10) }
            }
            other => panic!("{word:#x} has the extended opcode {other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::decode::{Decoded, TlbFields, decode};
    use super::{INVALIDATE_ERAT, NOP, branch, tlbie, tlbiel};

    #[test]
    fn tlb_instructions_are_radix_and_process_scoped() {
        for (rb, rs, ric) in [(4, 5, 0), (4, 5, 2), (31, 0, 1), (0, 31, 3)] {
            let fields = TlbFields { rs, ric, prs: 1, r: 1, rb };
            assert_eq!(decode(tlbie(rb, rs, ric)), Decoded::Tlbie(fields));
            assert_eq!(decode(tlbiel(rb, rs, ric)), Decoded::Tlbiel(fields));
        }
        // As binutils assembles `tlbie r4,r5,2,1,1`.
        assert_eq!(tlbie(4, 5, 2), 0x7cab_2264);
    }

    #[test]
    fn the_erat_is_invalidated_whole() {
        assert_eq!(decode(INVALIDATE_ERAT), Decoded::Slbia { ih: 7 });
    }

    #[test]
    fn branches_go_both_ways() {
        // As binutils assembles `nop`, `b .+8`, `b .-4` and the longest two.
        assert_eq!((NOP, branch(8), branch(-4)), (0x6000_0000, 0x4800_0008, 0x4bff_fffc));
        assert_eq!((branch((1 << 25) - 4), branch(-(1 << 25))), (0x49ff_fffc, 0x4a00_0000));
    }
}
