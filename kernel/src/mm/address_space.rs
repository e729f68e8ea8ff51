//! Address spaces: the machine's part of an mm.
//!
//! The protocol (kcore) names mms and counts their users. The page tables, the areas and the
//! break are here. Each slot of the protocol's table has one [`AddressSpace`], so that an id
//! finds its state by index.
//!
//! The end comes in two steps. When the last user is gone, [`disconnect`] and
//! [`free_user_memory`] free user memory and page tables. When the last borrower is gone too,
//! [`free_mm`] frees the root and the PID.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut, Range};
use core::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use arch::mmu::tree::RadixTree;
use kcore::mm::MmId;
use vm::area::{Area, Prot};
use vm::areas::AreaSet;
use vm::brk::Break;

use super::backing::Backing;
use super::gather::Gather;
use super::page_tables::{self, PageTables};
use crate::errno::Errno;
use crate::machine::lazy_tlb;
use crate::memory::heap;
use crate::memory::kernel_map::process_table;
use crate::memory::tables::TableFrames;
use crate::oracle;
use crate::sync::Fixed;
use crate::task::{self, FaultPlace, Mutex, MutexGuard};
use crate::upcalls::Text;

/// The machine's part of one mm, or of a free slot.
struct AddressSpace {
    /// The mm that lives here, or none. An id that differs is stale.
    id: AtomicU64,
    /// Pages that tasks which have left had filled in without the lock.
    filled: AtomicI64,
    /// A sleeping lock. Guards the areas, the break, and *all changes of the user page tables*,
    /// but one: a fault near the task's last one fills an empty entry without it
    /// ([`kcore::gate`]). The MMUs read the tables without it. It is held over flushes, which wait
    /// for other CPUs: no lock that is taken with interrupts off is held outside it. Its holder
    /// touches no user memory, since a fault takes this lock. Order: parent before child; outside
    /// the objects' and the allocators' locks.
    mmap_lock: Mutex<Map>,
}

/// The state that `mmap_lock` guards.
pub(super) struct Map {
    pub(super) mm: MmId,
    pub(super) tables: PageTables,
    pub(super) areas: AreaSet<Backing>,
    pub(super) heap: Break,
    /// It is a fork's parent or child: a page of its anonymous memory may be another's, too.
    pub(super) forked: bool,
    /// Keeps the program's file from being written: Linux's `exe_file`.
    pub(super) text: Option<Text>,
}

static SPACES: Fixed<Box<[AddressSpace]>> = Fixed::unset();

/// Makes room for `nr_mms` address spaces, as many as the protocol was made for.
/// Once, on the boot CPU, after the heap.
pub(crate) fn init(nr_mms: usize) {
    let slots = MmId::slots_for(nr_mms);
    assert!(slots <= arch::mmu::process_table::PIDS, "more mms than PIDs");
    let free = || AddressSpace {
        id: AtomicU64::new(MmId::NONE.to_bits()),
        filled: AtomicI64::new(0),
        mmap_lock: Mutex::new(Map::new(MmId::NONE, None)),
    };
    page_tables::init_gates();
    // SAFETY: the boot CPU is alone.
    unsafe { SPACES.set((0..slots).map(|_| free()).collect()) };
}

impl AddressSpace {
    /// Pages that the tables map, but for those that tasks have filled in since they last had the
    /// lock.
    fn resident(&self, map: &Map) -> i64 {
        // Relaxed: the last user's `mmput` orders what the others have added before the teardown.
        map.tables.resident + self.filled.load(Ordering::Relaxed)
    }
}

/// The current task is about to give up its address space, and does not touch user memory before
/// that: counts the pages there that it has filled in without the lock.
pub(crate) fn leave() {
    let task = task::current();
    let (place, filled) = (task.fault_place().replace(FaultPlace::NONE), task.filled().take());
    if filled != 0 {
        SPACES.get()[place.mm.slot()].filled.fetch_add(filled.into(), Ordering::Relaxed);
    }
}

impl Map {
    fn new(mm: MmId, tree: Option<RadixTree>) -> Self {
        let tables = PageTables { tree, resident: 0 };
        Self { mm, tables, areas: AreaSet::default(), heap: Break::default(), forked: false, text: None }
    }
}

/// An address space whose `mmap_lock` the current task holds.
pub(super) struct Locked(MutexGuard<'static, Map>);

impl Deref for Locked {
    type Target = Map;

    #[inline(always)]
    fn deref(&self) -> &Map {
        &self.0
    }
}

impl DerefMut for Locked {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Map {
        &mut self.0
    }
}

impl Drop for Locked {
    #[inline(always)]
    fn drop(&mut self) {
        oracle::unlocked(self.mm);
    }
}

/// Takes the `mmap_lock` of `mm`, to which the caller has a reference: a stale id
/// is our own bug and panics. May sleep.
pub(super) fn lock(mm: MmId) -> Locked {
    let space = &SPACES.get()[mm.slot()];
    let lives = space.id.load(Ordering::Relaxed);
    if lives != mm.to_bits() {
        has_none(mm, lives);
    }
    Locked(space.mmap_lock.lock())
}

#[cold]
#[inline(never)]
fn has_none(mm: MmId, lives: u64) -> ! {
    panic!("{mm:?} has no address space; its slot has {:?}", MmId::from_bits(lives))
}

/// A copy of an area for /proc. A clone of the [`Area`] itself would enter the object's list of
/// mappers, where its place ends with the address space.
pub(crate) struct Shown {
    /// The addresses.
    pub(crate) range: Range<u64>,
    /// The accesses that the program may make.
    pub(crate) prot: Prot,
    /// Stores are seen by others.
    pub(crate) shared: bool,
    /// The object's number, and the offset (bytes) of the area's start.
    pub(crate) object: Option<(u64, u64)>,
}

impl Shown {
    fn of(area: &Area<Backing>) -> Self {
        let object = area.contents.object().map(|(object, offset)| (object.id(), offset));
        Self { range: area.range(), prot: area.prot, shared: area.shared, object }
    }
}

/// The mappings of an mm, as /proc shows them.
#[derive(Default)]
pub(crate) struct Layout {
    /// The areas, in order.
    pub(crate) areas: Vec<Shown>,
    /// The heap: from its begin to the break.
    pub(crate) heap: Range<u64>,
    /// Pages that the tables map; some of the last ones may be missing.
    pub(crate) resident: u64,
}

/// A copy of the mappings of `mm`, which may be any process's; empty if the mm is gone. May
/// sleep.
///
/// # Errors
/// `ENOMEM` if the heap has no room for the copy.
pub(crate) fn layout(mm: MmId) -> Result<Layout, Errno> {
    let Some(space) = SPACES.get().get(mm.slot()) else { return Ok(Layout::default()) };
    let map = space.mmap_lock.lock();
    if map.mm != mm {
        // A slot's map keeps its mm's id until the next mm takes the slot.
        return Ok(Layout::default());
    }
    heap::check_room(map.areas.len() * size_of::<Shown>())?;
    Ok(Layout {
        areas: map.areas.iter().map(Shown::of).collect(),
        heap: map.heap.range(),
        resident: space.resident(&map).max(0) as u64,
    })
}

/// A new, empty address space with one user, the caller.
///
/// # Errors
/// `ENOMEM` without memory for the root, `EAGAIN` if all PIDs are in use.
pub(crate) fn create() -> Result<MmId, Errno> {
    let tree = RadixTree::new(&mut TableFrames).map_err(|_| Errno::ENOMEM)?;
    let root = tree.root();
    let Some(mm) = lazy_tlb().mm_alloc() else {
        // SAFETY: no process has had the tree.
        unsafe { tree.free(&mut TableFrames) };
        return Err(Errno::EAGAIN);
    };
    let space = &SPACES.get()[mm.slot()];
    *space.mmap_lock.lock() = Map::new(mm, Some(tree));
    // Relaxed: other CPUs learn of the mm through a lock or a switch.
    space.id.store(mm.to_bits(), Ordering::Relaxed);
    // `set` ends in ptesync and isync, which order the entry before any CPU's load of the PID.
    process_table().set(mm.pid(), root);
    Ok(mm)
}

/// Cuts off the tables of `mm`: no CPU finds its root any more, except in a cache. A CPU may
/// still be lazy on `mm`; its speculative walks find the empty process-table entry.
pub(crate) fn disconnect(mm: MmId) {
    process_table().clear(mm.pid());
}

/// Frees all that `mm` mapped, tables included. `mm` is disconnected, and no CPU caches a
/// translation of it. Interrupts and preemption on; may sleep.
pub(crate) fn free_user_memory(mm: MmId) {
    let mut map = lock(mm);
    let mut gather = Gather::after_exit_flush(mm);
    map.unmap_everything(&mut gather);
    map.areas = AreaSet::default();
    map.heap = Break::default();
    map.text = None;
}

/// Records that `mm`, which is new, runs `text`. May sleep.
pub(crate) fn set_text(mm: MmId, text: Text) {
    lock(mm).text = Some(text);
}

/// Frees the root of `mm`, which no CPU has loaded or can load. Its PID may be reused after the
/// return.
pub(crate) fn free_mm(mm: MmId) {
    let mut map = lock(mm);
    assert!(!process_table().is_set(mm.pid()), "{mm:?} is freed with a process-table entry");
    let space = &SPACES.get()[mm.slot()];
    let resident = space.resident(&map);
    assert!(resident == 0 && map.areas.is_empty(), "{mm:?} is freed with {resident} pages");
    let tree = map.tables.tree.take().expect("freed twice");
    space.id.store(MmId::NONE.to_bits(), Ordering::Relaxed);
    space.filled.store(0, Ordering::Relaxed);
    // SAFETY: the entry is cleared (checked). Afterwards `exit_mmap` flushed and took out the
    // other tables.
    unsafe { tree.free(&mut TableFrames) };
}
