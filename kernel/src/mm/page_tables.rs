//! The page tables of an address space, and the right to write them.

use alloc::boxed::Box;
use core::ops::Range;

use arch::addr::{PAGE_SIZE, PhysAddr};
use arch::encoding::pte::Pte;
use arch::mmu::cursor::Cursor;
use arch::mmu::cursor::leaf_tables::{Parts, TABLE_SPAN};
use arch::mmu::tree::{Owner, RadixTree};
use kcore::gate::Gate;

use super::gather::{Gather, NO_SPAN, Taking};
use crate::machine::lazy_tlb;
use crate::memory::frame;
use crate::sync::{Fixed, SpinWait};

/// The gates of all leaf tables, by the table's frame. A CPU takes frames in runs of 32, so its
/// tables' gates lie in lines of their own.
static GATES: Fixed<Box<[Gate]>> = Fixed::unset();
/// How many gates there are for each CPU.
const GATES_PER_CPU: usize = 128;

/// Makes the gates. Once, on the boot CPU, after the heap.
pub(super) fn init_gates() {
    let gates = (lazy_tlb().nr_cpus() * GATES_PER_CPU).next_power_of_two();
    // SAFETY: the boot CPU is alone.
    unsafe { GATES.set((0..gates).map(|_| Gate::default()).collect()) };
}

/// The gate of a leaf table.
#[inline]
pub(super) fn gate_of(table: PhysAddr) -> &'static Gate {
    let gates = GATES.get();
    &gates[table.page_number() as usize & (gates.len() - 1)]
}

/// Before the entries of a leaf table are changed, other than from empty: stops the faults that
/// fill it without the `mmap_lock`, until they have taken it once.
#[inline]
pub(super) fn close_gate(table: PhysAddr) {
    gate_of(table).close(|| {
        let mut wait = SpinWait::new("faults in a page table");
        move || wait.turn()
    });
}

/// What the walks ask. A fault without the lock fills entries only in parts that a fault has added under
/// the lock.
const OWNER: Owner = Owner { before: close_gate, parts: |table| Parts(frame::parts_of(table)) };

/// In a [`Map`](super::address_space::Map): a caller with a mutable reference holds the
/// `mmap_lock`.
pub(super) struct PageTables {
    /// None in a free slot.
    pub(super) tree: Option<RadixTree>,
    /// Pages that the tree maps, less those that are not counted yet ([`leave`](super::leave)):
    /// below 0 if more of these were taken.
    pub(super) resident: i64,
}

impl PageTables {
    fn tree_mut(&mut self) -> &mut RadixTree {
        self.tree.as_mut().expect("an address space without page tables")
    }

    /// The right to write the entries of `range`. [`Cursor::visit`] closes the tables' gates.
    #[inline(always)]
    pub(super) fn cursor(&mut self, range: Range<u64>) -> Cursor<'_> {
        self.tree_mut().cursor(range, OWNER)
    }

    /// The right to write the entry of the page at `ea`.
    #[inline(always)]
    pub(super) fn cursor_at(&mut self, ea: u64) -> Cursor<'_> {
        self.cursor(ea..ea + PAGE_SIZE)
    }

    /// As [`PageTables::cursor`], for two ranges that do not overlap.
    pub(super) fn cursors(&mut self, one: Range<u64>, other: Range<u64>) -> (Cursor<'_>, Cursor<'_>) {
        self.tree_mut().cursors(one, other, OWNER)
    }

    /// Whether a page is mapped at `ea`.
    pub(super) fn is_present(&self, ea: u64) -> bool {
        self.tree.as_ref().and_then(|tree| tree.look(ea)).is_some_and(Pte::is_valid)
    }

    /// Takes the pages in `range` out of the tree. Tables stay.
    #[inline(always)]
    pub(super) fn take(&mut self, range: Range<u64>, gather: &mut Gather) {
        self.resident -= self.cursor(range).visit(Taking { gather, span: NO_SPAN, taken: 0 });
    }

    /// Takes the pages in `range` out of the tree, and the tables that serve an address there and none
    /// outside `unused`.
    pub(super) fn take_apart(&mut self, range: Range<u64>, unused: &Range<u64>, gather: &mut Gather) {
        let taking = Taking { gather, span: NO_SPAN, taken: 0 };
        self.resident -= self.cursor(range).visit_and_detach(unused, taking, Taking::detached);
    }

    /// Takes the tables out that serve an address in `range`, and none outside `unused`.
    #[inline]
    pub(super) fn detach_tables(&mut self, range: Range<u64>, unused: &Range<u64>, gather: &mut Gather) {
        // The usual case of a small range: not one table is unused.
        let first = unused.start.next_multiple_of(TABLE_SPAN).max(range.start & !(TABLE_SPAN - 1));
        if first >= range.end || unused.end - first < TABLE_SPAN {
            return;
        }
        self.cursor(range).detach_tables(unused, |table| gather.detached(table));
    }
}
