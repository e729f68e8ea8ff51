//! Address spaces: their names, their counts and their end.
//!
//! Two counts, as in Linux. `mm_users` counts the users of the memory: one per task, and
//! one per [`LazyTlb::mmget`]. `mm_count` counts the references to the struct, the root
//! and the PID: one for all users together, one per [`LazyTlb::mmgrab`], and under the
//! refcount policy one per borrow.
//!
//! When `mm_users` becomes 0, the mappings end and the mm is a zombie, which CPUs may
//! still borrow. When `mm_count` becomes 0, the mm ends.

mod copro;
mod evict;
pub mod flush;
pub mod mappers;
pub mod slots;
pub mod zombies;

use core::mem::offset_of;

use crate::LazyTlb;
use crate::cpu::{CpuId, CpuMask};
use crate::event::{Event, Reference};
use crate::lazy_tlb::policy::{Free, ask};
use crate::machine::{Machine, Point};
use crate::membarrier::Registrations;
use crate::mm::slots::Slots;
use crate::sync::{AtomicU32, AtomicU64, Counter, Ordering};

/// The MMU's process id: the tag of an address space, which the PID register holds. It is
/// never the number of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pid(u32);

impl Pid {
    /// The PID with number `n`.
    pub const fn new(n: u32) -> Self {
        Self(n)
    }

    /// Its number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// The name of an address space: a slot, which is also its PID, and a generation
/// that tells apart the mms that had the slot one after the other. A stale name
/// is caught, never followed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MmId(u64);

impl MmId {
    /// No address space.
    pub const NONE: MmId = MmId(0);
    /// The address space without user memory, which every CPU can fall back on
    /// and which is never freed (I5). Its PID is the guard PID: PID 0 would mirror
    /// the kernel into quadrant 0 and make NULL readable.
    pub const INIT_MM: MmId = MmId::new(1, 1);

    const fn new(slot: u32, generation: u32) -> Self {
        MmId((generation as u64) << 32 | slot as u64)
    }

    /// As one word, for atomics and debuggers: generation, then slot.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The reverse of [`MmId::to_bits`].
    pub const fn from_bits(bits: u64) -> Self {
        MmId(bits)
    }

    /// Whether this names no address space.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether this names an address space.
    pub const fn is_some(self) -> bool {
        self.0 != 0
    }

    /// The length of a table by slot that has room for `nr_mms` address spaces, `init_mm` included.
    pub const fn slots_for(nr_mms: usize) -> usize {
        nr_mms + MmId::INIT_MM.slot()
    }

    /// The slot in the table of address spaces.
    pub const fn slot(self) -> usize {
        self.0 as u32 as usize
    }

    /// The PID: the slot's number, so that it is reused as early as the slot.
    pub const fn pid(self) -> Pid {
        Pid(self.0 as u32)
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl core::fmt::Debug for MmId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            MmId::NONE => f.write_str("none"),
            MmId::INIT_MM => f.write_str("init_mm"),
            mm => write!(f, "mm{}.{}", mm.slot(), mm.generation()),
        }
    }
}

/// What the counts of a freed mm hold, so that arithmetic on a stale mm is noticed.
const POISON: u32 = 0xdead_dead;

/// One address space, or a free slot. `repr(C)`: debuggers read it by offset.
#[repr(C, align(128))]
pub struct Mm {
    /// The id of the mm that lives here; the *next* one's if `live` is 0.
    id: AtomicU64,
    mm_users: AtomicU32,
    mm_count: AtomicU32,
    /// How many coprocessors translate through this mm. They hear only `tlbie`.
    copros: AtomicU32,
    live: AtomicU32,
    membarrier: Registrations,
    /// What the policy keeps for this mm, see [`Mm::policy_word`].
    policy_word: AtomicU64,
    /// When it became a zombie.
    zombie_since: Counter,
    /// The CPUs that may hold translations of this mm: a superset of those that have it
    /// loaded (I4). A CPU sets its own bit before it loads the mm. While the mm lives
    /// only that CPU clears the bit, after a local flush.
    mm_cpumask: CpuMask,
}

/// Byte offsets of an [`Mm`]'s fields, for debuggers.
#[allow(missing_docs, reason = "named after the fields")]
pub struct MmLayout {
    pub id: usize,
    pub mm_users: usize,
    pub mm_count: usize,
    pub live: usize,
    pub mm_cpumask: usize,
    /// No offset: what both counts hold once the mm is freed, or being freed.
    pub poison: u32,
}

impl Mm {
    /// Where debuggers find the fields.
    pub const LAYOUT: MmLayout = MmLayout {
        id: offset_of!(Mm, id),
        mm_users: offset_of!(Mm, mm_users),
        mm_count: offset_of!(Mm, mm_count),
        live: offset_of!(Mm, live),
        mm_cpumask: offset_of!(Mm, mm_cpumask),
        poison: POISON,
    };

    pub(crate) fn at_slot(slot: usize) -> Self {
        let init = slot == MmId::INIT_MM.slot();
        Self {
            id: AtomicU64::new(MmId::new(slot as u32, 1).to_bits()),
            mm_users: AtomicU32::new(if init { 1 } else { POISON }),
            mm_count: AtomicU32::new(if init { 1 } else { POISON }),
            copros: AtomicU32::new(0),
            live: AtomicU32::new(init.into()),
            membarrier: Registrations::default(),
            policy_word: AtomicU64::new(0),
            zombie_since: Counter::new(),
            mm_cpumask: CpuMask::default(),
        }
    }

    /// The mm that lives in this slot, or none.
    pub fn id(&self) -> MmId {
        if self.live.load(Ordering::Relaxed) == 0 {
            return MmId::NONE;
        }
        MmId::from_bits(self.id.load(Ordering::Relaxed))
    }

    /// `mm_users`; 0 makes the mm a zombie.
    pub fn users(&self) -> u32 {
        self.mm_users.load(Ordering::Relaxed)
    }

    /// `mm_users`. If a user has given its unit back, so that it is not counted here, what
    /// that user did before happens before the return.
    pub(crate) fn observe_users(&self) -> u32 {
        // F7 acquire: orders the count before what its reader does as the only user.
        // Partner: `mmput`.
        self.mm_users.load(Ordering::Acquire)
    }

    /// What the process of this mm has registered for.
    pub(crate) fn membarrier(&self) -> &Registrations {
        &self.membarrier
    }

    /// `mm_count`.
    pub fn count(&self) -> u32 {
        self.mm_count.load(Ordering::Relaxed)
    }

    /// `mm_users` and `mm_count`, for people; none if the mm is being freed.
    pub fn counts(&self) -> Option<(u32, u32)> {
        let counts = (self.users(), self.count());
        (counts.0 != POISON && counts.1 != POISON).then_some(counts)
    }

    /// What the policy keeps for this mm. The policy's file says what it means.
    pub fn policy_word(&self) -> &AtomicU64 {
        &self.policy_word
    }

    /// The CPUs that may hold translations of this mm.
    pub fn cpumask(&self) -> &CpuMask {
        &self.mm_cpumask
    }

    /// The count itself, for the lazy references of the refcount policy.
    pub(crate) fn mm_count(&self) -> &AtomicU32 {
        &self.mm_count
    }

    /// Makes an mm of a free slot, with one user.
    fn revive(&self) -> MmId {
        self.membarrier.reset();
        self.mm_users.store(1, Ordering::Relaxed);
        self.mm_count.store(1, Ordering::Relaxed);
        self.live.store(1, Ordering::Relaxed);
        MmId::from_bits(self.id.load(Ordering::Relaxed))
    }

    /// Makes a free slot of the mm `id`. The next mm here has the next generation.
    fn bury(&self, id: MmId, nr_cpus: usize) {
        self.mm_users.store(POISON, Ordering::Relaxed);
        self.mm_count.store(POISON, Ordering::Relaxed);
        self.live.store(0, Ordering::Relaxed);
        self.mm_cpumask.store(&crate::CpuSet::EMPTY, nr_cpus);
        let next = MmId::new(id.slot() as u32, id.generation().wrapping_add(1).max(1));
        self.id.store(next.to_bits(), Ordering::Relaxed);
    }
}

#[cold]
#[inline(never)]
fn not_alive(id: MmId, instead: MmId) -> ! {
    panic!("{id:?} is not alive (use after free of an mm); its slot has {instead:?}")
}

impl<M: Machine> LazyTlb<M> {
    /// The mm that `id` names. Panics if it was freed: the caller should have held a
    /// reference.
    #[inline]
    pub fn mm(&self, id: MmId) -> &Mm {
        let mm = &self.mms[id.slot()];
        // A reference keeps `live` and `id` as they are, so relaxed loads are enough.
        // Without one, which is a bug, they most likely detect it.
        if id.is_none() || mm.id() != id {
            not_alive(id, mm.id());
        }
        mm
    }

    /// The slot of `id`, whichever mm lives there now: for readers of another CPU's
    /// published id, which hold no reference.
    pub(crate) fn slot_of(&self, id: MmId) -> &Mm {
        &self.mms[id.slot()]
    }

    /// A new address space with one user, the caller; none when all PIDs are in use. The
    /// lowest free PID is taken, so that a missed flush shows soon. The caller adds the
    /// machine's part (root, process-table entry) before any CPU can load it. Interrupts and
    /// preemption on: CPUs may be asked to let go of mms that wait for them.
    pub fn mm_alloc(&self) -> Option<MmId> {
        self.alloc_free_slot()
            .or_else(|| ask!(self, free_waiting()).then(|| self.alloc_free_slot()).flatten())
    }

    fn alloc_free_slot(&self) -> Option<MmId> {
        self.machine.with_preempt_off(|t| {
            let slot = self.slots.with(t, Slots::take_lowest)?;
            let mm = self.mms[slot].revive();
            self.event(t, Event::Created(mm));
            ask!(self, mm_begins(t, mm));
            Some(mm)
        })
    }

    /// Keeps the struct, root and PID of `mm`. The caller has a reference of
    /// some kind already, so no ordering is needed.
    pub fn mmgrab(&self, mm: MmId) {
        self.mm(mm).mm_count.fetch_add(1, Ordering::Relaxed);
        self.machine.refers(mm, Reference::Grab);
    }

    /// Takes a unit of `mm_users`. The caller is a user, or knows that one stays.
    pub fn mmget(&self, mm: MmId) {
        self.one_more_user(mm);
        self.machine.refers(mm, Reference::Get);
    }

    /// [`LazyTlb::mmget`] for a task that is made, which gives the unit back.
    pub fn mmget_for_task(&self, mm: MmId) {
        self.one_more_user(mm);
        self.machine.refers(mm, Reference::GetForTask);
    }

    fn one_more_user(&self, mm: MmId) {
        let before = self.mm(mm).mm_users.fetch_add(1, Ordering::Relaxed);
        invariant!(before != 0 && before != POISON, "mmget of {mm:?}, which has no users");
    }

    /// Takes a unit of `mm_users` unless it is 0; returns whether it did. The caller
    /// holds a unit of `mm_count`.
    pub fn mmget_not_zero(&self, mm: MmId) -> bool {
        let users = &self.mm(mm).mm_users;
        let up = |n| if n == 0 { None } else { Some(n + 1) };
        let taken = users.fetch_update(Ordering::Relaxed, Ordering::Relaxed, up).is_ok();
        if taken {
            self.machine.refers(mm, Reference::Get);
        }
        taken
    }

    /// Gives back a unit of `mm_users`; the last one ends the mappings. Interrupts and
    /// preemption on, no spin lock held: it may wait for other CPUs.
    pub fn mmput(&self, mm: MmId) {
        self.machine.refers(mm, Reference::Put);
        // F7 acqrel: orders the users' accesses before the teardown. Partners: `mmput`,
        // `observe_users`.
        if self.mm(mm).mm_users.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.machine.point(Point::MmputLast);
            self.exit_mmap(mm);
            self.machine.refers(mm, Reference::DropShared);
            self.give_back(mm);
        }
    }

    /// The last user of `mm` is gone: gives back what it mapped. CPUs may still be lazy
    /// on it; they access no user memory, but may walk its tables at any time.
    ///
    /// docs/lazy-tlb.md#the-order-of-an-exit: first no new walk can begin, then caches
    /// drop what walks have left there, then the tables and pages are freed.
    fn exit_mmap(&self, mm: MmId) {
        self.zombies.begins();
        self.mm(mm).zombie_since.set(self.machine.ticks());
        self.machine.disconnect(mm);
        self.exit_flush(mm);
        self.machine.free_user_memory(mm);
    }

    /// Gives back a unit of `mm_count`; the last one frees the mm. Interrupts on, no spin
    /// lock held: the last one may wait for other CPUs.
    pub fn mmdrop(&self, mm: MmId) {
        self.machine.refers(mm, Reference::Drop);
        self.give_back(mm);
    }

    /// [`LazyTlb::mmdrop`] for a caller that has recorded it.
    pub(crate) fn give_back(&self, mm: MmId) {
        // F8 acqrel: orders every holder's accesses, its load of the next PID included,
        // before the free. Partner: `give_back`.
        if self.mm(mm).mm_count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.__mmdrop(mm);
        }
    }

    /// The end of `mm`: no reference to it can be taken any more. CPUs may still be lazy
    /// on it. The policy sends them away, then `mm` is freed.
    fn __mmdrop(&self, mm: MmId) {
        assert!(mm != MmId::INIT_MM, "I5: the last reference to init_mm was dropped");
        assert!(
            self.machine.irqs_enabled(),
            "T20: the last mmdrop of {mm:?} with interrupts off: it may wait for IPIs"
        );
        invariant!(
            self.mm(mm).copros.load(Ordering::Relaxed) == 0,
            "{mm:?} dies with a coprocessor attached"
        );
        self.machine.point(Point::MmdropLast);
        let when = self.machine.with_preempt_off(|t| {
            self.event(t, Event::Dying(mm));
            assert!(
                self.this_cpu(t).curr_mm.own() != mm,
                "the last mmdrop of {mm:?} by one of its own tasks"
            );
            ask!(self, last_drop(t, mm))
        });
        if when == Free::Now {
            self.free(mm);
        }
    }

    /// Frees `mm`, which has no reference and which no CPU has loaded. Interrupts and
    /// preemption on.
    pub(crate) fn free(&self, mm: MmId) {
        if self.config.debug_shoot_lazies {
            self.machine.with_preempt_off(|t| self.check_nobody_is_lazy(t, mm));
        }
        self.check_nobody_has(mm);
        self.machine.point(Point::MmdropClean);
        self.zombies.ends(self.machine.ticks() - self.mm(mm).zombie_since.get());
        self.machine.with_preempt_off(|t| self.event(t, Event::Dead(mm)));
        self.machine.free_mm(mm);
        self.machine.with_preempt_off(|t| {
            self.event(t, Event::Freed(mm));
            self.mms[mm.slot()].bury(mm, self.nr_cpus());
            self.slots.with(t, |slots| slots.give_back(mm.slot()));
        });
    }

    /// I6 at the last moment: no CPU has `mm` loaded, not even one that is offline or on
    /// its way there.
    fn check_nobody_has(&self, mm: MmId) {
        if cfg!(any(feature = "checks", loom, test)) {
            for cpu in (0..self.nr_cpus()).map(CpuId::new) {
                let has = self.cpu(cpu).active_mm.peek();
                assert!(has != mm, "I6: {mm:?} is about to be freed and {cpu} still has it loaded");
            }
        }
    }
}
