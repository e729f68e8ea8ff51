//! Address spaces: the machine's part of an mm.
//!
//! The protocol (kcore) names mms and counts their users; here is what it counts
//! for: the page tables, the areas, the break. One [`AddressSpace`] a slot of the
//! protocol's table, so that an id finds its state by index.
//!
//! The end comes in two steps. [`disconnect`] and [`free_user_memory`] when the last user is
//! gone: user memory and page tables go. [`free_mm`] when the last borrower is gone too: the
//! root and the PID go.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut, Range};
use core::sync::atomic::{AtomicU64, Ordering};

use arch::mmu::tree::RadixTree;
use kcore::mm::MmId;
use vm::area::{Area, Prot};
use vm::areas::AreaSet;
use vm::brk::Break;

use super::backing::Backing;
use super::gather::Gather;
use super::page_tables::PageTables;
use crate::errno::Errno;
use crate::machine::lazy_tlb;
use crate::memory::heap;
use crate::memory::kernel_map::process_table;
use crate::memory::tables::TableFrames;
use crate::oracle;
use crate::sync::Fixed;
use crate::task::{Mutex, MutexGuard};
use crate::upcalls::Text;

/// The machine's part of one mm, or of a free slot.
struct AddressSpace {
    /// The mm that lives here, or none: another than asked for is a stale id.
    id: AtomicU64,
    /// Sleeping. Guards the areas, the break, and *all changes of the user page
    /// tables*; the MMUs read those without it. Held over flushes, which wait for
    /// other CPUs, so no lock that is taken with interrupts off is held outside
    /// it. No user memory is touched under it: that may fault, and the fault takes
    /// it. Parent before child; outside the objects' and the allocators' locks.
    mmap_lock: Mutex<Map>,
}

/// What `mmap_lock` guards.
pub(super) struct Map {
    pub(super) mm: MmId,
    pub(super) tables: PageTables,
    pub(super) areas: AreaSet<Backing>,
    pub(super) heap: Break,
    /// Keeps the program's file from being written: Linux's `exe_file`.
    pub(super) text: Option<Text>,
}

static SPACES: Fixed<Box<[AddressSpace]>> = Fixed::unset();

/// Makes room for `nr_mms` address spaces, as many as the protocol was made for.
/// Once, on the boot CPU, after the heap.
pub(crate) fn init(nr_mms: usize) {
    let slots = nr_mms + MmId::INIT_MM.slot();
    assert!(slots <= arch::mmu::process_table::PIDS, "more mms than PIDs");
    let free = || AddressSpace {
        id: AtomicU64::new(MmId::NONE.to_bits()),
        mmap_lock: Mutex::new(Map::new(MmId::NONE, None)),
    };
    // SAFETY: the boot CPU is alone.
    unsafe { SPACES.set((0..slots).map(|_| free()).collect()) };
}

impl Map {
    fn new(mm: MmId, tree: Option<RadixTree>) -> Self {
        let tables = PageTables { tree, resident: 0 };
        Self { mm, tables, areas: AreaSet::default(), heap: Break::default(), text: None }
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
    assert!(lives == mm.to_bits(), "{mm:?} has no address space; its slot has {:?}", MmId::from_bits(lives));
    Locked(space.mmap_lock.lock())
}

/// An area as it is shown. Not the area itself: that one has its place among the mappers
/// of an object, which ends with the address space.
pub(crate) struct Shown {
    /// The addresses.
    pub(crate) range: Range<u64>,
    /// What the program may do.
    pub(crate) prot: Prot,
    /// Stores are seen by others.
    pub(crate) shared: bool,
    /// The object's number, and what of it is at the start.
    pub(crate) object: Option<(u64, u64)>,
}

impl Shown {
    fn of(area: &Area<Backing>) -> Self {
        let object = area.contents.object().map(|(object, offset)| (object.id(), offset));
        Self { range: area.range(), prot: area.prot, shared: area.shared, object }
    }
}

/// What is mapped in `mm`, as /proc shows it.
#[derive(Default)]
pub(crate) struct Layout {
    /// The areas, in order.
    pub(crate) areas: Vec<Shown>,
    /// The break's area: from where it begins to where it is.
    pub(crate) heap: Range<u64>,
    /// Pages that the tables map.
    pub(crate) resident: u64,
}

/// A copy of what is mapped in `mm`, which may be any process's: nothing if it is gone.
/// May sleep.
///
/// # Errors
/// `ENOMEM` for a copy of very many areas.
pub(crate) fn layout(mm: MmId) -> Result<Layout, Errno> {
    let Some(space) = SPACES.get().get(mm.slot()) else { return Ok(Layout::default()) };
    let map = space.mmap_lock.lock();
    if map.mm != mm {
        // A slot's map keeps its name until it is the next one's.
        return Ok(Layout::default());
    }
    heap::check_room(map.areas.len() * size_of::<Shown>())?;
    Ok(Layout {
        areas: map.areas.iter().map(Shown::of).collect(),
        heap: map.heap.range(),
        resident: map.tables.resident,
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
        // SAFETY: no process has had it.
        unsafe { tree.free(&mut TableFrames) };
        return Err(Errno::EAGAIN);
    };
    let space = &SPACES.get()[mm.slot()];
    *space.mmap_lock.lock() = Map::new(mm, Some(tree));
    // Relaxed: whoever learns of the mm learns of it through a lock or a switch.
    space.id.store(mm.to_bits(), Ordering::Relaxed);
    // Ends in ptesync and isync: the entry before any CPU loads the PID.
    process_table().set(mm.pid(), root);
    Ok(mm)
}

/// Cuts the tables of `mm` off: no CPU finds its root any more, but for what is cached.
/// A CPU may still be lazy on it; a speculative walk finds the empty process-table entry.
pub(crate) fn disconnect(mm: MmId) {
    process_table().clear(mm.pid());
}

/// Frees all that `mm` mapped, tables included: it is disconnected, and nothing of it is
/// cached any more. Interrupts and preemption on; may sleep.
pub(crate) fn free_user_memory(mm: MmId) {
    let mut map = lock(mm);
    let mut gather = Gather::after_exit_flush(mm);
    map.unmap_everything(&mut gather);
    map.areas = AreaSet::default();
    map.heap = Break::default();
    map.text = None;
}

/// `mm`, which is new, runs `text`. May sleep.
pub(crate) fn set_text(mm: MmId, text: Text) {
    lock(mm).text = Some(text);
}

/// No CPU has `mm` loaded and none can load it: frees its root. Its PID may be
/// reused after the return.
pub(crate) fn free_mm(mm: MmId) {
    let mut map = lock(mm);
    assert!(!process_table().is_set(mm.pid()), "{mm:?} is freed with a process-table entry");
    let resident = map.tables.resident;
    assert!(resident == 0 && map.areas.is_empty(), "{mm:?} is freed with {resident} pages");
    let tree = map.tables.tree.take().expect("freed twice");
    SPACES.get()[mm.slot()].id.store(MmId::NONE.to_bits(), Ordering::Relaxed);
    // SAFETY: the entry is cleared (checked), and `exit_mmap` has flushed behind that and has
    // taken out the other tables.
    unsafe { tree.free(&mut TableFrames) };
}
