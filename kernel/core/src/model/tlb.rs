//! What the model's TLBs may hold, and the detector of everything stale.
//!
//! Entries are tagged by PID and survive a change of the PID register, as on POWER9; the
//! walk cache and the process-table entry are cached as well. A freed frame, table page,
//! root or PID that some TLB still names is a panic at the moment when it is freed: a bug
//! shows even if no access meets it.

use std::collections::BTreeSet;

use super::watched::Watched;
use super::{Model, PAGE_SHIFT};
use crate::cpu::CpuId;
use crate::machine::{Cpu, PreemptOff};
use crate::mm::flush::FlushRange;
use crate::mm::{MmId, Pid};
use crate::sync::{AtomicU64, Ordering};

/// User pages that each address space of the model has.
pub const PAGES: usize = 2;

/// A page frame; numbers are never used twice, so a stale one is known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Frame(u64);

/// One thing that a TLB has cached for a PID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Cached {
    ProcessTable(u64),
    WalkCache,
    Page(usize, Frame),
    /// A stale translation, which a flush has spared. A CPU that uses it has not made the
    /// flush that it owes.
    Owed(usize, Frame),
}

type Tlb = Watched<BTreeSet<(u32, Cached)>>;

/// The memory side of one address space. Atomics of the model checker, since the table
/// walk races with changes of the tables.
struct Space {
    /// The mm whose root is here; 0 once it is freed.
    root: AtomicU64,
    /// The process-table entry: the root that the MMU finds for this PID.
    entry: AtomicU64,
    /// Page-table entries: the frame, or 0.
    ptes: [AtomicU64; PAGES],
}

/// All TLBs, the coprocessor's last, and the memory that they translate to.
pub(super) struct Tlbs {
    tlbs: Box<[Tlb]>,
    spaces: Box<[Space]>,
    memory: Watched<Memory>,
}

/// Frames in use, and address spaces that still have tables.
#[derive(Default)]
struct Memory {
    last_frame: u64,
    frames: BTreeSet<Frame>,
    tables: BTreeSet<u64>,
}

impl Tlbs {
    pub(super) fn new(cpus: usize, slots: usize) -> Self {
        let space = |slot| Space {
            root: AtomicU64::new(if slot == MmId::INIT_MM.slot() { MmId::INIT_MM.to_bits() } else { 0 }),
            entry: AtomicU64::new(0),
            ptes: core::array::from_fn(|_| AtomicU64::new(0)),
        };
        Self {
            tlbs: (0..=cpus).map(|_| Tlb::default()).collect(),
            spaces: (0..slots).map(space).collect(),
            memory: Watched::default(),
        }
    }

    fn space(&self, mm: MmId) -> &Space {
        &self.spaces[mm.slot()]
    }

    /// Drops what TLB number `tlb` has cached of `mm` in `what`.
    pub(super) fn flush(&self, tlb: usize, mm: MmId, what: FlushRange) {
        let covers = |cached: Cached| match (what, cached) {
            (FlushRange::Everything, _) => true,
            (FlushRange::Translations, Cached::Page(..) | Cached::Owed(..)) => true,
            (FlushRange::Pages { start, pages }, Cached::Page(page, _) | Cached::Owed(page, _)) => {
                let first = (start >> PAGE_SHIFT) as usize;
                (first..first + pages as usize).contains(&page)
            }
            _ => false,
        };
        let pid = mm.pid().get();
        self.tlbs[tlb].access().retain(|&(tag, cached)| tag != pid || !covers(cached));
    }

    pub(super) fn flush_all(&self, mm: MmId, what: FlushRange) {
        (0..self.tlbs.len()).for_each(|tlb| self.flush(tlb, mm, what));
    }

    /// A flush of `mm` has spared TLB number `tlb`: what is stale there may be reused.
    pub(super) fn spare(&self, tlb: usize, mm: MmId) {
        let ptes = self.space(mm).ptes.each_ref().map(|pte| pte.load(Ordering::Relaxed));
        let mark = |(tag, cached)| match cached {
            Cached::Page(page, frame) if tag == mm.pid().get() && ptes[page] != frame.0 => {
                (tag, Cached::Owed(page, frame))
            }
            _ => (tag, cached),
        };
        let mut tlb = self.tlbs[tlb].access();
        *tlb = core::mem::take(&mut *tlb).into_iter().map(mark).collect();
    }

    /// Drops all that TLB number `tlb` has cached.
    pub(super) fn flush_cpu(&self, tlb: usize) {
        self.tlbs[tlb].access().clear();
    }

    /// The MMU's way from an address to a frame through TLB number `tlb`; none
    /// is a page fault.
    fn translate(&self, tlb: usize, pid: Pid, page: usize) -> Option<Frame> {
        let cached = |found: &dyn Fn(&Cached) -> bool| {
            let tlb = self.tlbs[tlb].access();
            tlb.iter().find(|(tag, cached)| *tag == pid.get() && found(cached)).map(|e| e.1)
        };
        let fill = |cached| {
            self.tlbs[tlb].access().insert((pid.get(), cached));
        };
        if let Some(Cached::Page(_, frame)) = cached(&|c| matches!(c, Cached::Page(p, _) if *p == page)) {
            self.check_frame(frame, "through a stale translation");
            return Some(frame);
        }
        let owed = cached(&|c| matches!(c, Cached::Owed(p, _) if *p == page));
        assert!(owed.is_none(), "{owed:?} is used by a CPU that owes a flush");
        let space = &self.spaces[pid.get() as usize];
        let root = match cached(&|c| matches!(c, Cached::ProcessTable(_))) {
            Some(Cached::ProcessTable(root)) => root,
            _ => space.entry.load(Ordering::Relaxed),
        };
        if root == 0 {
            return None;
        }
        fill(Cached::ProcessTable(root));
        let pte = space.ptes[page].load(Ordering::Relaxed);
        let tables = self.memory.access().tables.contains(&root);
        assert!(tables, "a walk through freed page tables of {:?}", MmId::from_bits(root));
        fill(Cached::WalkCache);
        (pte != 0).then(|| {
            let frame = Frame(pte);
            self.check_frame(frame, "by a walk that saw a stale PTE");
            fill(Cached::Page(page, frame));
            frame
        })
    }

    fn check_frame(&self, frame: Frame, how: &str) {
        let in_use = self.memory.access().frames.contains(&frame);
        assert!(in_use, "access to the freed {frame:?} {how}");
    }

    /// Panics if any TLB holds something of `mm` that `stale` picks.
    fn check_tlbs(&self, mm: MmId, what: &str, stale: impl Fn(Cached) -> bool) {
        for (cpu, tlb) in self.tlbs.iter().enumerate() {
            let found = tlb.access().iter().any(|&(tag, c)| tag == mm.pid().get() && stale(c));
            assert!(!found, "{what} of {mm:?} freed, and TLB {cpu} still holds some of it");
        }
    }

    /// `mm` gets a root and a process-table entry.
    fn create(&self, mm: MmId) {
        self.memory.access().tables.insert(mm.to_bits());
        self.space(mm).root.store(mm.to_bits(), Ordering::Relaxed);
        self.space(mm).entry.store(mm.to_bits(), Ordering::Relaxed);
    }

    /// Panics if `mm`, which is about to be loaded, has no root any more.
    pub(super) fn check_root(&self, mm: MmId) {
        let root = MmId::from_bits(self.space(mm).root.load(Ordering::Relaxed));
        assert!(root == mm, "use after free: {mm:?} is loaded, and its root is {root:?}'s");
    }

    /// From now on the MMU finds a root for this PID only where it is cached.
    pub(super) fn clear_entry(&self, mm: MmId) {
        self.space(mm).entry.store(0, Ordering::Relaxed);
    }

    /// After the exit's flush: the tables go, and the frames that they map.
    pub(super) fn free_tables(&self, mm: MmId) {
        self.check_tlbs(mm, "page tables", |_| true);
        self.memory.access().tables.remove(&mm.to_bits());
        for pte in &self.space(mm).ptes {
            let frame = pte.swap(0, Ordering::Relaxed);
            if frame != 0 {
                self.free_frame(mm, Frame(frame));
            }
        }
    }

    /// After the policy's clean-up: the root goes, and the PID.
    pub(super) fn free_root(&self, mm: MmId) {
        self.check_root(mm);
        self.check_tlbs(mm, "PID", |_| true);
        self.space(mm).root.store(0, Ordering::Relaxed);
    }

    fn free_frame(&self, mm: MmId, frame: Frame) {
        self.check_tlbs(mm, "a frame", |cached| matches!(cached, Cached::Page(_, f) if f == frame));
        let known = self.memory.access().frames.remove(&frame);
        assert!(known, "{frame:?} freed twice");
    }
}

impl Model {
    /// A new address space with a root and one user, the caller.
    pub fn create_mm(&self) -> MmId {
        let mm = self.lazy_tlb().mm_alloc().expect("a free PID");
        self.tlbs.create(mm);
        mm
    }

    /// Maps a fresh frame at `page` of `mm`.
    pub fn map(&self, mm: MmId, page: usize) -> Frame {
        let frame = {
            let mut memory = self.tlbs.memory.access();
            memory.last_frame += 1;
            let frame = Frame(memory.last_frame);
            memory.frames.insert(frame);
            frame
        };
        self.tlbs.space(mm).ptes[page].store(frame.0, Ordering::Relaxed);
        frame
    }

    /// Whether the PTE of `page` names a frame.
    pub fn is_mapped(&self, mm: MmId, page: usize) -> bool {
        self.tlbs.space(mm).ptes[page].load(Ordering::Relaxed) != 0
    }

    /// Clears the PTE of `page`: the first half of an unmapping. The caller flushes next,
    /// then calls [`Model::free_frame`].
    pub fn clear_pte(&self, mm: MmId, page: usize) -> Frame {
        Frame(self.tlbs.space(mm).ptes[page].swap(0, Ordering::Relaxed))
    }

    /// Frees a frame of `mm`, which no TLB may map any more.
    pub fn free_frame(&self, mm: MmId, frame: Frame) {
        self.tlbs.free_frame(mm, frame);
    }

    /// All of an unmapping of `page`.
    pub fn unmap(&self, mm: MmId, page: usize) {
        let frame = self.clear_pte(mm, page);
        self.lazy_tlb().flush(mm, FlushRange::Pages { start: (page as u64) << PAGE_SHIFT, pages: 1 });
        self.free_frame(mm, frame);
    }

    /// This CPU accesses `page` of the mm that its PID register names.
    pub fn access(&self, page: usize) -> Option<Frame> {
        self.access_with(page, |frame| frame)
    }

    /// This CPU accesses `page`, and what it does there is `touch`.
    pub fn access_with<R>(&self, page: usize, touch: impl FnOnce(Frame) -> R) -> Option<R> {
        let cpu = self.context().cpu;
        // A `tlbie` is complete when every walk and access that began before is complete.
        // So a walk and its access are one step for it.
        self.with_preempt_off(|t| {
            let pid = self.loaded(cpu).pid();
            self.bus.with(t, |()| self.tlbs.translate(cpu.index(), pid, page).map(touch))
        })
    }

    /// A coprocessor that is attached to `mm` touches `page` of it.
    pub fn copro_access(&self, mm: MmId, page: usize) -> Option<Frame> {
        self.copro_access_with(mm, page, |frame| frame)
    }

    /// A coprocessor that is attached to `mm` accesses `page` of it, and what it does
    /// there is `touch`.
    pub fn copro_access_with<R>(&self, mm: MmId, page: usize, touch: impl FnOnce(Frame) -> R) -> Option<R> {
        // A `tlbie` waits for this access too. A coprocessor runs on no CPU, so any token
        // will do.
        let t = PreemptOff::of_model(CpuId::BOOT);
        self.bus.with(&t, |()| self.tlbs.translate(self.cpus.len(), mm.pid(), page).map(touch))
    }

    /// How many things the TLB of `cpu` has cached for `mm`.
    pub fn cached(&self, cpu: CpuId, mm: MmId) -> usize {
        let tlb = self.tlbs.tlbs[cpu.index()].access();
        tlb.iter().filter(|(tag, _)| *tag == mm.pid().get()).count()
    }

    /// The mm that the PID register of `cpu` names.
    pub fn loaded(&self, cpu: CpuId) -> MmId {
        MmId::from_bits(self.cpus[cpu.index()].pidr.load(Ordering::Relaxed))
    }
}
