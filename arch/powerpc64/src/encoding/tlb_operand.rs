//! Operands of `tlbie` and `tlbiel`, process scoped, radix.
//!
//! RB names the scope (IS field, bits 0xc00) and, for one page, its address and
//! size; RS names the PID; RIC, in the instruction itself, names the caches.
//! (ISA 3.0B, Book III, 5.9.3.3.) Combinations the ISA forbids cannot be built:
//! there is no way to ask for RIC 2 with a single page.

use super::PageSize;

/// Which cached state is invalidated: the RIC field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ric {
    /// Translations.
    Tlb = 0,
    /// Translations, the page-walk cache (upper levels of the tree), and the
    /// cached process-table entry.
    All = 2,
}

/// The operands of one instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operands {
    rb: u64,
    rs: u64,
    ric: Ric,
}

const IS_PID: u64 = 1 << 10;
const IS_ALL: u64 = 3 << 10;
const AP_SHIFT: u32 = 5;
const SET_SHIFT: u32 = 12;

impl Operands {
    /// One page of a process.
    #[must_use]
    pub const fn page(pid: u32, ea: u64, size: PageSize) -> Self {
        let rb = ea & !0xfff | size.ap() << AP_SHIFT;
        Operands { rb, rs: (pid as u64) << 32, ric: Ric::Tlb }
    }

    /// A whole process.
    #[must_use]
    pub const fn pid(pid: u32, ric: Ric) -> Self {
        Operands { rb: IS_PID, rs: (pid as u64) << 32, ric }
    }

    /// The whole partition.
    #[must_use]
    pub const fn all(ric: Ric) -> Self {
        Operands { rb: IS_ALL, rs: 0, ric }
    }

    /// These operands for congruence class `set`: on ISA 3.0 a `tlbiel` with the
    /// scope of a process or more reaches one set only.
    #[must_use]
    pub const fn in_set(self, set: u16) -> Self {
        Operands { rb: self.rb | (set as u64) << SET_SHIFT, ..self }
    }

    /// Register RB.
    #[inline]
    #[must_use]
    pub const fn rb(self) -> u64 {
        self.rb
    }

    /// Register RS.
    #[inline]
    #[must_use]
    pub const fn rs(self) -> u64 {
        self.rs
    }

    /// The RIC field.
    #[inline]
    #[must_use]
    pub const fn ric(self) -> Ric {
        self.ric
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_carries_address_and_size() {
        let page = Operands::page(7, 0x1234_5678, PageSize::Size4K);
        assert_eq!((page.rb(), page.rs()), (0x1234_5000, 7 << 32));
        let page = Operands::page(7, 0x1234_5678, PageSize::Size64K);
        assert_eq!(page.rb(), 0x1234_5000 | 0xa0);
        assert_eq!(Operands::page(7, 0x4020_0000, PageSize::Size2M).rb(), 0x4020_0020);
        assert_eq!(Operands::page(7, 0x4000_0000, PageSize::Size1G).rb(), 0x4000_0040);
    }

    #[test]
    fn scopes_of_process_and_partition() {
        let pid = Operands::pid(0xfff, Ric::All);
        assert_eq!((pid.rb(), pid.rs(), pid.ric()), (0x400, 0xfff_0000_0000, Ric::All));
        let all = Operands::all(Ric::All);
        assert_eq!((all.rb(), all.rs(), all.ric()), (0xc00, 0, Ric::All));
    }

    #[test]
    fn ric_as_the_isa_numbers_it() {
        assert_eq!((Ric::Tlb as u32, Ric::All as u32), (0, 2));
    }

    #[test]
    fn sets_are_in_rb_above_the_page_bits() {
        assert_eq!(Operands::pid(1, Ric::Tlb).in_set(127).rb(), 0x7f400);
    }
}
