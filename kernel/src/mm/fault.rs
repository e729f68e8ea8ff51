//! Page faults: a missing page is made, a shared one is copied.
//!
//! A fault in anonymous memory near the task's last fault, or in its last new mapping, fills its
//! entry without the `mmap_lock`, beside the faults of other threads and beside changes elsewhere:
//! [`kcore::gate`] has the argument. All other faults take the lock, and remember where they were.
//!
//! An entry that maps a page of an object holds no reference to it: the object does, and gives the page up
//! only behind the flush of the last entry that names it. So a fork or an exit need not look at the counts
//! of a program's code.
//!
//! Every other present page is owned by its entry: the entry holds one reference (`COUNTED`). A page of a *private*
//! area is writable only while that reference is the sole one ([`is_own`]); else a store faults and gets
//! its own copy.

use core::mem::ManuallyDrop;

use arch::addr::PhysAddr;
use arch::encoding::pte::{Pte, PteFlags};
use arch::mmu::cursor::leaf_tables::{PART_SPAN, Parts, TABLE_SPAN};
use arch::mmu::cursor::{Entry, after_store, entry_in};
use arch::mmu::tree::TableSource;
use arch::{isa, page};
use kcore::mm::MmId;
use kcore::mm::flush::FlushRange;
use vm::area::{Area, Prot};
use vm::page_down;

use super::address_space::{self, Map};
use super::backing::Backing;
use super::page_tables::{PageTables, close_gate, gate_of};
use crate::machine::lazy_tlb;
use crate::memory::frame::{self, Frame};
use crate::memory::tables::TableFrames;
use crate::sync::preempt;
use crate::task::{self, FaultPlace};

/// The access that a program tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Access {
    /// A store.
    pub(crate) write: bool,
    /// An instruction fetch.
    pub(crate) exec: bool,
}

impl Access {
    /// What an entry must permit.
    fn flags(self) -> PteFlags {
        match self {
            Access { exec: true, .. } => PteFlags::EXECUTE,
            Access { write: true, .. } => PteFlags::WRITE,
            _ => PteFlags::READ,
        }
    }
}

/// The reason why a fault cannot be resolved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FaultError {
    /// Nothing is mapped there (SIGSEGV, `SEGV_MAPERR`).
    MapErr,
    /// The area does not allow it (SIGSEGV, `SEGV_ACCERR`).
    AccErr,
    /// Behind the end of the mapped object (SIGBUS).
    Bus,
    /// Out of memory.
    Oom,
}

/// Resolves a fault of the current task at `addr` without the lock, if it is near the task's last
/// one, and counts it. True if the access is to be tried again. Interrupts and preemption on.
///
/// The task is a user of its mm, so the mm lives on, and its exit has not begun. The gate's number
/// shows that since the place was remembered nobody has changed an entry of the table, or taken the table
/// away; while we are inside nobody does. Areas change with their entries, so ours is there, with
/// its permissions: those that were only added, or grew, concern other addresses.
#[inline]
pub(crate) fn fault_nearby(addr: u64, access: Access) -> bool {
    let task = task::current();
    let place = task.fault_place().get();
    let (ea, needs) = (page_down(addr), access.flags());
    let Some(gate) = place.gate.filter(|_| place.serves(task.mm.mm(), ea, needs)) else { return false };
    let preempt_off = preempt::disable();
    let filled = gate.enter(place.number, || {
        // SAFETY: see above.
        let mut entry = unsafe { entry_in(place.table, ea) };
        let old = entry.get();
        if old.is_valid() {
            // Another thread was here first, or the fault was spurious.
            return old.flags().contains(needs).then_some(0);
        }
        let page = frame::alloc_zeroed()?;
        set_data(&mut entry, page, place.flags).then_some(1)
    });
    drop(preempt_off);
    let Some(Some(filled)) = filled else { return false };
    task.filled().set(task.filled().get() + filled);
    task.count_fault();
    true
}

/// Resolves a fault of the current task, whose mm is `mm`, at `addr`. The access is to be tried
/// again after `Ok`. Interrupts and preemption on; may sleep.
///
/// # Errors
/// See [`FaultError`].
pub(crate) fn handle_fault(mm: MmId, addr: u64, access: Access) -> Result<(), FaultError> {
    let mut map = address_space::lock(mm);
    match map.fault(addr, access) {
        Err(FaultError::MapErr) if map.grow_stack(addr) => map.fault(addr, access),
        result => result,
    }
}

/// The flags of a page in an area with `prot`, for an entry that owns it; `sole` if a store needs no copy.
pub(super) fn leaf_flags(prot: Prot, sole: bool) -> PteFlags {
    let mut flags = PteFlags::PAGE | PteFlags::COUNTED;
    // The hardware's write permission includes reads.
    flags.set(PteFlags::READ, prot.intersects(Prot::READ | Prot::WRITE));
    flags.set(PteFlags::WRITE, sole && prot.contains(Prot::WRITE));
    flags.set(PteFlags::EXECUTE, prot.contains(Prot::EXEC));
    flags
}

/// The frame that a valid entry names; the reference stays the entry's, or the object's. The caller
/// holds the `mmap_lock`, which keeps the entry as it is.
pub(super) fn frame_of(pte: Pte) -> ManuallyDrop<Frame> {
    // SAFETY: the owner's reference is borrowed and never dropped.
    ManuallyDrop::new(unsafe { Frame::from_phys(pte.page(), 0) })
}

/// Whether the page that a valid entry of a private area names is the entry's alone. As [`frame_of`].
pub(super) fn is_own(pte: Pte) -> bool {
    pte.flags().contains(PteFlags::COUNTED) && frame_of(pte).is_sole()
}

fn permits(prot: Prot, access: Access) -> bool {
    match access {
        Access { exec: true, .. } => prot.contains(Prot::EXEC),
        Access { write: true, .. } => prot.contains(Prot::WRITE),
        _ => prot.intersects(Prot::READ | Prot::WRITE),
    }
}

impl Map {
    /// As [`handle_fault`], with the lock held.
    pub(super) fn fault(&mut self, addr: u64, access: Access) -> Result<(), FaultError> {
        self.present_if(addr, access.write, |prot| permits(prot, access)).map(drop)
    }

    /// Makes the page of `addr` present under any protection of the area; for `write`, one whose
    /// contents may be changed. Returns its address, which is good while the lock is held.
    pub(super) fn make_present(&mut self, addr: u64, write: bool) -> Result<PhysAddr, FaultError> {
        self.present_if(addr, write, |_| true)
    }

    #[inline]
    fn present_if(
        &mut self,
        addr: u64,
        write: bool,
        allowed: impl FnOnce(Prot) -> bool,
    ) -> Result<PhysAddr, FaultError> {
        let ea = page_down(addr);
        let area = self.areas.find(ea).ok_or(FaultError::MapErr)?;
        if !allowed(area.prot) {
            return Err(FaultError::AccErr);
        }
        let mut cursor = self.tables.cursor_at(ea);
        let mut entry = cursor.entry(ea, &mut TableFrames).map_err(|_| FaultError::Oom)?;
        let mut filled = 0;
        if !entry.get().is_valid() && fill(entry.lend(), area, write)? {
            filled = 1 + remember(self.mm, &entry, area);
        } else if write && !entry.get().flags().contains(PteFlags::WRITE) {
            make_writable(self.mm, entry.lend(), area)?;
        }
        // Else another thread was here first, or the fault was spurious.
        let page = entry.get().page();
        self.tables.resident += filled;
        Ok(page)
    }
}

impl PageTables {
    /// The current task is about to touch new memory at `ea`, in `area` of `mm`: lets that fault, too,
    /// go without the lock, if the page table is there.
    #[inline(always)]
    pub(super) fn expect_fault(&mut self, mm: MmId, ea: u64, area: &Area<Backing>) {
        if area.prot.intersects(Prot::READ | Prot::WRITE)
            && let Some(entry) = self.cursor_at(ea).find(ea)
        {
            let filled = remember(mm, &entry, area);
            self.resident += filled;
        }
    }
}

/// Lets the current task's next faults nearby go without the lock, if `area` is anonymous and the
/// mm its own. Returns how many pages it has filled in without the lock and not counted.
#[inline(always)]
fn remember(mm: MmId, entry: &Entry<'_>, area: &Area<Backing>) -> i64 {
    let task = task::current();
    let private = matches!(area.contents, Backing::Anonymous) && !area.prot.contains(Prot::EXEC);
    if !private || task.user.is_none() || task.mm.mm() != mm {
        return 0;
    }
    let (table, ea) = (entry.table(), entry.ea());
    let gate = gate_of(table);
    let part = |span: u64| (area.start.max(ea & !(span - 1)), area.end.min((ea | (span - 1)) + 1));
    // Who begins with the first page, or has left its part, is likely to fill many more.
    let (whole, last) = (part(TABLE_SPAN), task.fault_place().get());
    let goes_on = last.mm == mm && last.table == table && !last.range().contains(&ea);
    let window = if ea == whole.0 || goes_on { whole } else { part(PART_SPAN) };
    TableFrames.filling(table, Parts::of(&(window.0..window.1)));
    task.fault_place().set(FaultPlace {
        mm,
        window,
        table,
        gate: Some(gate),
        number: gate.number(),
        flags: leaf_flags(area.prot, true),
    });
    task.filled().take().into()
}

/// Fills an empty entry; false if another thread's fault without the lock was first. No CPU can
/// have a translation of it: no flush.
fn fill(mut entry: Entry<'_>, area: &Area<Backing>, write: bool) -> Result<bool, FaultError> {
    let Some((object, number)) = area.contents.page_at(entry.ea() - area.start) else {
        let page = frame::alloc_zeroed().ok_or(FaultError::Oom)?;
        return Ok(set(&mut entry, page, leaf_flags(area.prot, true)));
    };
    let page = object.page(number)?;
    if write && !area.shared {
        return Ok(set(&mut entry, copy_of(&page)?, leaf_flags(area.prot, true)));
    }
    // The object keeps the page: a cut that takes it out now waits for our `mmap_lock` before it frees it.
    Ok(set_kept(&mut entry, page, leaf_flags(area.prot, area.shared)))
}

/// The first store to a page that was read-only.
#[inline(never)]
fn make_writable(mm: MmId, mut entry: Entry<'_>, area: &Area<Backing>) -> Result<(), FaultError> {
    let flags = leaf_flags(area.prot, true);
    let old = entry.get();
    if area.shared || is_own(old) {
        // The page stays and its permissions grow. A CPU that cached fewer walks again when an
        // access needs more (ISA 3.0B, Book III 5.10.1.2): no flush.
        entry.set_same_page(old.permitting(flags));
        after_store();
        return Ok(());
    }
    let shared_page = frame_of(old);
    let copy = copy_of(&shared_page)?;
    // Another frame behind a valid entry: clear, flush, set. Else one CPU could
    // store to the new frame while another still reads the old one. Meanwhile no fault may find
    // it empty.
    close_gate(entry.table());
    entry.take();
    lazy_tlb().flush(mm, FlushRange::Pages { start: entry.ea(), pages: 1 });
    let filled = set(&mut entry, copy, flags);
    assert!(filled, "{mm:?}: {:#x} was filled while its page was copied", entry.ea());
    if old.flags().contains(PteFlags::COUNTED) {
        // The entry's reference to the old frame; no CPU translates to it any more.
        drop(ManuallyDrop::into_inner(shared_page));
    }
    Ok(())
}

/// A page with the contents of `page`.
pub(super) fn copy_of(page: &Frame) -> Result<Frame, FaultError> {
    let copy = frame::alloc().ok_or(FaultError::Oom)?;
    // SAFETY: `copy` is ours alone. `page` is mapped read-only, or belongs to a file whose
    // readers accept that it changes.
    unsafe { page::copy(copy.phys(), page.phys()) };
    Ok(copy)
}

/// Fills an empty entry with `page`, whose reference becomes the entry's. False, and the page is
/// given back, if the entry is not empty any more.
#[inline]
fn set(entry: &mut Entry<'_>, page: Frame, flags: PteFlags) -> bool {
    if flags.contains(PteFlags::EXECUTE) {
        make_fetchable(page.phys());
    }
    set_data(entry, page, flags)
}

/// As [`set`], for an object's page, to which the entry gets no reference.
fn set_kept(entry: &mut Entry<'_>, page: Frame, flags: PteFlags) -> bool {
    if flags.contains(PteFlags::EXECUTE) {
        make_fetchable(page.phys());
    }
    let filled = entry.fill(Pte::leaf(page.phys(), flags - PteFlags::COUNTED)).is_ok();
    after_store();
    filled
}

/// As [`set`], for flags without `EXECUTE`.
#[inline]
fn set_data(entry: &mut Entry<'_>, page: Frame, flags: PteFlags) -> bool {
    if entry.fill(Pte::leaf(page.phys(), flags)).is_err() {
        give_back(page);
        return false;
    }
    page.leak();
    after_store();
    true
}

#[cold]
fn give_back(page: Frame) {
    drop(page);
}

/// Makes the kernel's stores to `page` visible to instruction fetches.
pub(super) fn make_fetchable(page: PhysAddr) {
    isa::sync_instruction_cache(page.as_mut_ptr());
}
