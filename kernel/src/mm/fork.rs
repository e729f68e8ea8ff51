//! Fork: the child gets the parent's areas, and shares its private pages until one of the two
//! stores to them.

use core::convert::Infallible;
use core::ops::Range;

use arch::encoding::pte::{Pte, PteFlags};
use arch::mmu::cursor::Entry;
use arch::mmu::cursor::leaf_tables::{Copies, Pairs};
use arch::mmu::cursor::visit::Eight;
use arch::mmu::tree::OutOfMemory;
use kcore::mm::MmId;
use vm::page_down;

use super::address_space::{self, Map};
use super::backing::Backing;
use super::fault::{copy_of, frame_of};
use super::gather::{Gather, NO_SPAN};
use super::page_tables::PageTables;
use super::unmap::runs;
use crate::errno::Errno;
use crate::machine::lazy_tlb;
use crate::memory::frame::Counts;
use crate::memory::heap;
use crate::memory::tables::TableFrames;

/// No page's address.
const NOTHING: u64 = u64::MAX;
/// The most that an area costs on the heap: itself, and its place in an object's list of mappers.
const AREA_BYTES: usize = 256;

/// A copy of `parent` with one user, the caller. `busy` are addresses that both will store to at
/// once, such as their stack pointer: the child gets copies of these pages, which costs less than
/// two faults and a flush. Interrupts and preemption on; may sleep. Not inlined: the rest of clone
/// would have its gather on the stack, too.
///
/// # Errors
/// `ENOMEM`, or `EAGAIN` if all PIDs are in use.
#[inline(never)]
pub(crate) fn fork(parent: MmId, busy: [u64; 2]) -> Result<MmId, Errno> {
    let child = address_space::create()?;
    let copied = {
        let mut from = address_space::lock(parent);
        // The lock order is parent before child, and no other task knows the child yet.
        let mut to = address_space::lock(child);
        // With another thread the parent might store to such a page while it is copied: the child
        // could see a store and not the one before it.
        let alone = lazy_tlb().mm(parent).users() == 1;
        from.copy_to(&mut to, if alone { busy.map(page_down) } else { [NOTHING; 2] })
    };
    lazy_tlb().membarrier_fork(parent, child);
    copied.map(|()| child).map_err(|OutOfMemory| {
        lazy_tlb().mmput(child);
        Errno::ENOMEM
    })
}

impl Map {
    fn copy_to(&mut self, child: &mut Map, busy: [u64; 2]) -> Result<(), OutOfMemory> {
        if !heap::ensure_room(self.areas.len() * AREA_BYTES) {
            return Err(OutOfMemory);
        }
        // The child enters the objects' lists before it gets an entry. So a cut of a file either
        // removes entries before they are copied, or finds the child.
        let child_mm = child.mm;
        let contents = |backing: &Backing| Ok::<_, Infallible>(backing.for_child(child_mm));
        child.areas = self.areas.copy_with(contents).map_err(|_| OutOfMemory)?;
        child.heap = self.heap;
        (self.forked, child.forked) = (true, true);
        child.text = self.text.clone();
        // The parent's entries lose their write permission: one flush for all, when `gather` is
        // dropped, with the lock still held. Until then other threads of the parent may store to
        // pages that the child will read. The child has not run yet: these stores count as made
        // before the fork.
        let mut gather = Gather::new(self.mm);
        // Shared areas need no copy: the child's faults find the object's pages.
        for run in runs(&self.areas, |area| !area.shared) {
            self.tables.copy_to(run, &mut child.tables, busy, &mut gather)?;
        }
        Ok(())
    }
}

impl PageTables {
    /// Shares the private pages in `range` with the child, but for those at `busy`. Not inlined: the
    /// caller's stack frame has the gather.
    #[inline(never)]
    fn copy_to(
        &mut self,
        range: Range<u64>,
        child: &mut PageTables,
        busy: [u64; 2],
        gather: &mut Gather,
    ) -> Result<(), OutOfMemory> {
        let mut sharing = Sharing { counts: Counts::get(), busy, copied: 0, weakened: NO_SPAN };
        let mut copies = child.cursor(range.clone());
        let result = self.cursor(range).for_each_pair(&mut copies, &mut TableFrames, &mut sharing);
        gather.weakened(sharing.weakened);
        child.resident += sharing.copied;
        result
    }
}

/// A walk that gives a child the entries of its parent.
struct Sharing {
    counts: Counts,
    busy: [u64; 2],
    /// How many pages.
    copied: i64,
    /// The addresses of entries that have lost their write permission.
    weakened: Range<u64>,
}

impl Sharing {
    /// The child's entry like `pte` gets its reference.
    #[inline(always)]
    fn share(&self, pte: Pte) {
        if pte.flags().contains(PteFlags::COUNTED) {
            self.counts.share(pte.page());
        }
    }
}

impl Pairs for Sharing {
    #[inline(always)]
    fn one(&mut self, mut entry: Entry<'_>, mut copy: Entry<'_>) {
        let mut pte = entry.get();
        self.copied += 1;
        if pte.flags().contains(PteFlags::WRITE) {
            if self.busy.contains(&entry.ea())
                && let Some(own) = copy_for_child(pte)
            {
                return copy.set(own);
            }
            pte = pte.with_flags(pte.flags() - PteFlags::WRITE);
            entry.set_same_page(pte);
            self.weakened = self.weakened.start.min(entry.ea())..entry.page().end;
        }
        self.share(pte);
        copy.set(pte);
    }

    #[inline(always)]
    fn eight(&mut self, entries: &Eight<'_>, copies: Copies<'_>) -> bool {
        let in_any = entries.in_any().flags();
        if in_any.contains(PteFlags::WRITE) {
            return false;
        }
        if in_any.contains(PteFlags::COUNTED) {
            entries.held().iter().for_each(|&pte| self.share(pte));
        }
        copies.set(entries);
        self.copied += entries.pages();
        true
    }
}

/// An entry for a copy of the page that `pte` names. None without memory, and for code, which would
/// have to be made fetchable. Not inlined: the loop over the pages needs its registers.
#[inline(never)]
fn copy_for_child(pte: Pte) -> Option<Pte> {
    if pte.flags().contains(PteFlags::EXECUTE) {
        return None;
    }
    let page = copy_of(&frame_of(pte)).ok()?;
    Some(Pte::leaf(page.leak(), pte.flags() | PteFlags::COUNTED))
}
