//! A visit of every page that is mapped in a range, eight neighbours at a time where all of them are.

use core::convert::Infallible;
use core::ops::Range;

use super::super::entry::AtomicPte;
use super::super::tree::TakeApart;
use super::{Cursor, Entry};
use crate::addr::{PAGE_SIZE, PhysAddr};
use crate::encoding::pte::{Pte, PteFlags};

/// Entries that are looked at together.
pub const TOGETHER: usize = 8;

/// What is done with the entries of the pages that are mapped.
pub trait Visit {
    /// What is left to say at the end.
    type Sum;

    /// The entry of a page.
    fn one(&mut self, entry: Entry<'_>);

    /// Entries of neighbours, each of which maps a page.
    fn eight(&mut self, entries: Eight<'_>);

    /// Entries of neighbours, some of which map a page. None holds a reference.
    #[inline(always)]
    fn uncounted(&mut self, entries: Eight<'_>)
    where
        Self: Sized,
    {
        entries.one_by_one(self);
    }

    /// The end of the visit.
    fn end(self) -> Self::Sum;
}

/// Entries side by side.
#[derive(Debug)]
pub struct Eight<'c> {
    /// The first one's address.
    ea: u64,
    entries: &'c [AtomicPte; TOGETHER],
    held: [Pte; TOGETHER],
}

impl<'c> Eight<'c> {
    #[inline(always)]
    pub(super) fn look(entries: &'c [AtomicPte; TOGETHER], ea: u64) -> Self {
        Self { ea, entries, held: entries.each_ref().map(AtomicPte::load) }
    }

    /// The bits that are set in all.
    #[inline(always)]
    #[must_use]
    pub fn in_all(&self) -> Pte {
        Pte(self.held.iter().fold(u64::MAX, |bits, pte| bits & pte.0))
    }

    /// The bits that are set in some.
    #[inline(always)]
    #[must_use]
    pub fn in_any(&self) -> Pte {
        Pte(self.held.iter().fold(0, |bits, pte| bits | pte.0))
    }

    /// What they hold.
    #[inline(always)]
    #[must_use]
    pub fn held(&self) -> &[Pte; TOGETHER] {
        &self.held
    }

    /// How many map a page.
    #[inline(always)]
    #[must_use]
    pub fn pages(&self) -> i64 {
        self.held.iter().map(|pte| i64::from(pte.is_valid())).sum()
    }

    /// The addresses that they serve.
    #[inline(always)]
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.ea..self.ea + TOGETHER as u64 * PAGE_SIZE
    }

    /// Visits them one by one.
    #[inline(always)]
    pub fn one_by_one(self, visitor: &mut impl Visit) {
        each_mapped(self.entries, self.ea, visitor);
    }

    /// The first one, if the others differ from it by their pages alone.
    #[inline(always)]
    #[must_use]
    pub fn like_first(&self) -> Option<Pte> {
        let first = self.held[0];
        let differ = self.held.iter().fold(0, |bits, pte| bits | (pte.0 ^ first.0));
        (differ & !Pte::LEAF_ADDRESS == 0).then_some(first)
    }

    /// Sets the flags of `changed` that are clear in each, and clears those that are set, as
    /// [`Entry::set_same_page`] does.
    #[inline(always)]
    pub fn flip(&mut self, changed: PteFlags) {
        for (entry, held) in self.entries.iter().zip(self.held) {
            entry.store_no_new_page(Pte(held.0 ^ changed.bits()));
        }
    }

    /// As [`Entry::take`], of each: the pages.
    #[inline(always)]
    pub fn take(self) -> [PhysAddr; TOGETHER] {
        self.entries.iter().for_each(|entry| entry.store_no_new_page(Pte::NONE));
        self.held.map(Pte::page)
    }
}

impl Cursor<'_> {
    /// Calls `f` with the entry of every page that is mapped in the range, in order.
    #[inline]
    pub fn for_each(&mut self, f: impl FnMut(Entry<'_>)) {
        struct Each<F>(F);
        impl<F: FnMut(Entry<'_>)> Visit for Each<F> {
            type Sum = ();

            fn one(&mut self, entry: Entry<'_>) {
                (self.0)(entry);
            }

            fn eight(&mut self, entries: Eight<'_>) {
                entries.one_by_one(self);
            }

            fn end(self) {}
        }
        self.visit(Each(f));
    }

    /// Shows `visitor` the entry of every page that is mapped in the range, in order.
    #[inline(always)]
    pub fn visit<V: Visit>(&mut self, mut visitor: V) -> V::Sum {
        let Range { start, end } = self.range;
        if end != start.wrapping_add(PAGE_SIZE) {
            return self.visit_many(visitor);
        }
        if let Some(entry) = self.tree.walk(start).map(|pte| Entry { ea: start, pte }) {
            (self.owner.before)(entry.table());
            if entry.get().is_leaf() {
                visitor.one(entry);
            }
        }
        visitor.end()
    }

    /// As [`Cursor::visit`], for more than a page.
    // Not inlined: a visit of one page saves no registers for it.
    #[inline(never)]
    fn visit_many<V: Visit>(&mut self, visitor: V) -> V::Sum {
        // A copy, which can be in registers.
        let mut visitor = visitor;
        let Ok(()) = self.for_each_table(|start, own| {
            visit_piece(own, start, &mut visitor);
            Ok::<(), Infallible>(())
        });
        visitor.end()
    }

    /// [`Cursor::visit`] and [`Cursor::detach_tables`] in one walk. `gone` gets the visitor, too.
    #[inline]
    pub fn visit_and_detach<V: Visit>(
        &mut self,
        unused: &Range<u64>,
        mut visitor: V,
        gone: impl FnMut(&mut V, PhysAddr),
    ) -> V::Sum {
        struct Apart<'a, 't, V, F>(&'a Cursor<'t>, &'a mut V, F);
        impl<V: Visit, F: FnMut(&mut V, PhysAddr)> TakeApart for Apart<'_, '_, V, F> {
            #[inline(always)]
            fn leaf_table(&mut self, table: PhysAddr, range: Range<u64>) {
                let (cursor, visitor) = (self.0, &mut *self.1);
                let first = cursor.tree.entry(table, 0, range.start);
                let Ok(()) = cursor.owner.pieces(table, first, &range, &mut |start, own| {
                    visit_piece(own, start, visitor);
                    Ok::<(), Infallible>(())
                });
            }

            #[inline(always)]
            fn gone(&mut self, table: PhysAddr) {
                (self.2)(self.1, table);
            }
        }
        self.tree.take_apart(self.range.clone(), unused, &mut Apart(self, &mut visitor, gone));
        visitor.end()
    }
}

/// Shows `visitor` the entries that map a page, of a part of a table whose first serves `start`.
#[inline(always)]
fn visit_piece(own: &[AtomicPte], start: u64, visitor: &mut impl Visit) {
    let (groups, rest) = own.as_chunks::<TOGETHER>();
    let (mut groups, mut ea) = (groups.iter(), start);
    while let Some(entries) = groups.next() {
        let eight = Eight::look(entries, ea);
        if eight.in_all().is_leaf() {
            visitor.eight(eight);
        } else if eight.in_any().flags().contains(PteFlags::COUNTED) {
            each_mapped(entries, ea, visitor);
        } else if eight.in_any() != Pte::NONE {
            visitor.uncounted(eight);
        } else {
            // Most of a stack or a heap is not mapped: its entries only have to be zero.
            let empty = groups.as_slice().iter().take_while(|entries| are_empty(entries)).count();
            groups = groups.as_slice()[empty..].iter();
            ea += (empty * TOGETHER) as u64 * PAGE_SIZE;
        }
        ea += TOGETHER as u64 * PAGE_SIZE;
    }
    each_mapped(rest, ea, visitor);
}

/// Whether none of the entries maps a page.
#[inline(always)]
pub(super) fn are_empty(entries: &[AtomicPte; TOGETHER]) -> bool {
    entries.iter().fold(0, |bits, pte| bits | pte.load().0) == 0
}

/// Shows `visitor` the entries that map a page, the first of which serves `ea`.
#[inline]
fn each_mapped(entries: &[AtomicPte], mut ea: u64, visitor: &mut impl Visit) {
    for pte in entries {
        if pte.load().is_leaf() {
            visitor.one(Entry { ea, pte });
        }
        ea += PAGE_SIZE;
    }
}
