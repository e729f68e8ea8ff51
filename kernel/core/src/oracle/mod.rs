//! The shadow TLB oracle: what each CPU may have cached of one PID.
//!
//! Emulators keep no PID tags, no walk cache and no process-table cache, so a
//! missing flush of those shows nowhere. This is the software that shows it. It
//! keeps no list of what is cached but assumes the worst that the ISA allows
//! (Power ISA 3.0B, Book III, 5.7.8 and 5.10):
//!
//! - while a PID is loaded and its process-table entry is set, *or cached*, a CPU
//!   may cache at any moment all that the tree shows at that moment;
//! - what is cached survives a write of PIDR, under its PID tag;
//! - a flush with RIC=0 drops translations only, RIC=2 everything of the PID;
//!   `tlbiel` on its own CPU, `tlbie` on all;
//! - a cached process-table entry lets a CPU refill everything below it, a cached
//!   directory lets it refill translations, whatever memory says meanwhile.
//!
//! A coprocessor caches the same things, and only `tlbie` reaches it. All of them
//! together are one more holder.
//!
//! A CPU that stops fetches nothing, and keeps what it has. One that starts may
//! have anything in its TLB, so it flushes all of it before it loads a PID.
//!
//! So for each CPU and each [`Kind`] of thing one number is enough: since when it
//! may hold some. What went out of the tree *before* that moment it cannot hold;
//! what went out after it must not be reused yet. A check costs one comparison a
//! CPU, and memory is fixed: one [`Shadow`] a PID.
//!
//! [`Stamp`]s order the events of one PID. Two rules keep the oracle from crying
//! wolf and from sleeping: a load is told *after* the CPU's bit in the mask is set
//! and *before* PIDR is written; and who takes something out of the tree asks for a
//! stamp *after* the store and *before* reading the mask. A flush counts from its
//! beginning, a departure from its end.

mod history;

use alloc::boxed::Box;
use core::ops::Range;

use crate::cpu::CpuId;
use crate::machine::Stamp;
use crate::mm::flush::FlushRange;

use history::History;
pub use history::{Event, Record};

/// log2 of a base page's size in bytes.
const PAGE_SHIFT: u32 = 12;

/// What a CPU may cache of an address space. Each lets the MMU refill those after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The process-table entry: where the root is.
    Entry,
    /// Directories: where the tables are (page-walk cache).
    Walk,
    /// Translations: where the page frames are.
    Translation,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::Entry, Kind::Walk, Kind::Translation];
}

/// Who caches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holder {
    /// A CPU.
    Cpu(CpuId),
    /// Any of the coprocessors.
    Coprocessor,
}

/// What is reused too soon.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subject {
    /// Page frames that were mapped, or more permissively mapped, in this range.
    Frames(Range<u64>),
    /// Tables that were taken out of the tree.
    Tables,
    /// The PID and the root of the tree.
    Pid,
    /// Whatever was freed before, by a CPU that started and has not flushed its TLB.
    Start,
}

/// Something is about to be reused while somebody may still hold it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// What.
    pub subject: Subject,
    /// The first who may hold it.
    pub holder: Holder,
    /// As what it may hold it; none if the PID is not cached but loaded.
    pub held: Option<Kind>,
    /// Since when that one may hold things of this kind.
    pub since: Stamp,
    /// When it went out of the tree; for a PID, the moment of the check.
    pub removed: Stamp,
}

/// A flush of some pages.
#[derive(Clone, Copy, Default)]
struct PageFlush {
    start: u64,
    pages: u32,
    began: Stamp,
}

impl PageFlush {
    fn covers(&self, span: &Range<u64>) -> bool {
        self.start <= span.start && span.end <= self.start + (u64::from(self.pages) << PAGE_SHIFT)
    }
}

/// How many flushes of pages are remembered. Flushes of one address space's pages
/// come one after the other (its `mmap_lock`), each before its check.
const PAGE_FLUSHES: usize = 2;

/// What one CPU, or all coprocessors, may hold of the PID.
#[derive(Clone, Copy, Default)]
struct Holding {
    loaded: bool,
    /// When it last loaded another PID.
    left: Stamp,
    /// By [`Kind`]: since when it may hold some; none if it cannot.
    since: [Option<Stamp>; 3],
    /// The last flushes that dropped single pages from it, the latest first.
    pages: [PageFlush; PAGE_FLUSHES],
}

impl Holding {
    fn may_hold(&self, kind: Kind) -> bool {
        self.since[kind as usize].is_some()
    }

    /// Whether the MMU can come by things of `kind`: from memory, or through
    /// something that it has cached.
    fn can_reach(&self, kind: Kind, entry_set: bool) -> bool {
        entry_set || Kind::ALL[..kind as usize].iter().any(|&above| self.may_hold(above))
    }

    /// From `now` on it fills what it can reach.
    fn fill(&mut self, entry_set: bool, now: Stamp) {
        for kind in Kind::ALL {
            if self.can_reach(kind, entry_set) {
                self.since[kind as usize].get_or_insert(now);
            }
        }
    }

    /// A flush of `dropped` kinds that began at `began` is complete. `entry_set`:
    /// the entry was, at some moment since then.
    fn flush(&mut self, dropped: &[Kind], began: Stamp, entry_set: bool) {
        // It may have been refilled behind the flush if the PID was loaded meanwhile.
        let active = self.loaded || self.left > began;
        for &kind in dropped {
            let refilled = active && self.can_reach(kind, entry_set);
            let since = &mut self.since[kind as usize];
            // A later first fill than the flush is not undone by it.
            if since.is_some_and(|since| since < began) {
                *since = refilled.then_some(began);
            }
        }
    }

    fn flush_pages(&mut self, flush: PageFlush) {
        self.pages.rotate_right(1);
        self.pages[0] = flush;
    }

    /// Whether what was in `span` until `removed` may be left in the TLB.
    fn may_translate(&self, span: &Range<u64>, removed: Stamp) -> bool {
        let flushed = |flush: &PageFlush| flush.began > removed && flush.covers(span);
        self.holds_from_before(Kind::Translation, removed) && !self.pages.iter().any(flushed)
    }

    fn holds_from_before(&self, kind: Kind, removed: Stamp) -> bool {
        self.since[kind as usize].is_some_and(|since| since < removed)
    }
}

/// All that may be cached of one PID, by every CPU and by coprocessors.
pub struct Shadow {
    clock: u64,
    /// The process-table entry is set.
    entry_set: bool,
    /// When it was last cleared.
    cleared: Stamp,
    /// How many coprocessors translate through the PID.
    coprocessors: u32,
    /// One a CPU, the coprocessors' last.
    holdings: Box<[Holding]>,
    history: History,
}

impl Shadow {
    /// A PID that nobody has loaded, on a machine with `nr_cpus` CPUs.
    pub fn new(nr_cpus: usize) -> Self {
        Self {
            clock: 0,
            entry_set: false,
            cleared: Stamp::default(),
            coprocessors: 0,
            holdings: (0..=nr_cpus).map(|_| Holding::default()).collect(),
            history: History::default(),
        }
    }

    /// The moment now: later than every event told so far, earlier than all to come.
    pub fn now(&mut self) -> Stamp {
        self.clock += 1;
        Stamp::new(self.clock)
    }

    /// `cpu` is about to load the PID; its bit in the mask is set. `unflushed`: it
    /// started and has not dropped everything since.
    ///
    /// # Errors
    /// It may hold what it had before it stopped, or anything else.
    pub fn load(&mut self, cpu: CpuId, unflushed: bool) -> Result<(), Violation> {
        let now = self.told(cpu, Event::Load);
        if unflushed {
            let since = Stamp::default();
            let holder = Holder::Cpu(cpu);
            return Err(Violation { subject: Subject::Start, holder, held: None, since, removed: now });
        }
        self.begin(Holder::Cpu(cpu), now);
        Ok(())
    }

    /// `cpu` has loaded another PID. What it cached stays.
    pub fn leave(&mut self, cpu: CpuId) {
        let now = self.told(cpu, Event::Leave);
        self.end(Holder::Cpu(cpu), now);
    }

    /// A coprocessor, told by `cpu`, is about to translate through the PID; it is
    /// counted.
    pub fn copro_load(&mut self, cpu: CpuId) {
        let now = self.told(cpu, Event::CoproLoad);
        self.coprocessors += 1;
        self.begin(Holder::Coprocessor, now);
    }

    /// A coprocessor does not translate through the PID any more. What it cached
    /// stays.
    pub fn copro_leave(&mut self, cpu: CpuId) {
        let now = self.told(cpu, Event::CoproLeave);
        self.coprocessors -= 1;
        if self.coprocessors == 0 {
            self.end(Holder::Coprocessor, now);
        }
    }

    /// `cpu` has flushed itself (`tlbiel`); the flush began at `began`.
    pub fn flush_local(&mut self, cpu: CpuId, what: FlushRange, began: Stamp) {
        self.told(cpu, Event::FlushLocal(what, began));
        let entry_set = self.entry_set || self.cleared > began;
        apply(self.holding(Holder::Cpu(cpu)), what, began, entry_set);
    }

    /// `cpu` has flushed all CPUs and coprocessors (`tlbie`); the flush began at
    /// `began`.
    pub fn flush_global(&mut self, cpu: CpuId, what: FlushRange, began: Stamp) {
        self.told(cpu, Event::FlushGlobal(what, began));
        let entry_set = self.entry_set || self.cleared > began;
        self.holdings.iter_mut().for_each(|holding| apply(holding, what, began, entry_set));
    }

    /// `cpu` has dropped everything of every PID, as before it stops and when it
    /// starts. If it had the PID loaded it may have been refilled since.
    pub fn flush_cpu(&mut self, cpu: CpuId) {
        let holding = self.holding(Holder::Cpu(cpu));
        if !holding.loaded && Kind::ALL.iter().any(|&kind| holding.may_hold(kind)) {
            holding.since = [None; 3];
            self.told(cpu, Event::FlushCpu);
        }
    }

    /// The process-table entry is about to be set: the PID is used anew.
    ///
    /// # Errors
    /// Somebody may hold something of whoever had the PID before.
    pub fn set_entry(&mut self, cpu: CpuId) -> Result<(), Violation> {
        let now = self.told(cpu, Event::EntrySet);
        self.nobody_holds_anything(now)?;
        self.entry_set = true;
        Ok(())
    }

    /// The process-table entry was cleared. Copies of it stay.
    pub fn clear_entry(&mut self, cpu: CpuId) {
        self.cleared = self.told(cpu, Event::EntryCleared);
        self.entry_set = false;
    }

    /// Page frames are about to be freed, or to lose permissions for good, whose
    /// entries in `span` were all changed before `removed`.
    ///
    /// # Errors
    /// Somebody may still translate to one of them.
    pub fn free_frames(&mut self, cpu: CpuId, span: Range<u64>, removed: Stamp) -> Result<(), Violation> {
        self.told(cpu, Event::FramesFreed(span.start, span.end));
        let stale = self.first(|holding| holding.may_translate(&span, removed));
        self.verdict(stale, Some(Kind::Translation), removed, || Subject::Frames(span))
    }

    /// Tables are about to be freed that were all out of the tree before `removed`.
    ///
    /// # Errors
    /// Somebody may still walk through one of them.
    pub fn free_tables(&mut self, cpu: CpuId, removed: Stamp) -> Result<(), Violation> {
        self.told(cpu, Event::TablesFreed);
        let stale = self.first(|holding| holding.holds_from_before(Kind::Walk, removed));
        self.verdict(stale, Some(Kind::Walk), removed, || Subject::Tables)
    }

    /// The root and the PID are about to be freed.
    ///
    /// # Errors
    /// Somebody has the PID loaded or may hold something under its tag.
    pub fn free_pid(&mut self, cpu: CpuId) -> Result<(), Violation> {
        let now = self.told(cpu, Event::PidFreed);
        self.nobody_holds_anything(now)
    }

    /// The last events, the oldest first.
    pub fn history(&self) -> impl Iterator<Item = &Record> {
        self.history.iter()
    }

    fn nobody_holds_anything(&self, now: Stamp) -> Result<(), Violation> {
        for kind in Kind::ALL {
            let holder = self.first(|holding| holding.may_hold(kind));
            self.verdict(holder, Some(kind), now, || Subject::Pid)?;
        }
        let loaded = self.first(|holding| holding.loaded);
        self.verdict(loaded, None, now, || Subject::Pid)
    }

    fn first(&self, wrong: impl Fn(&Holding) -> bool) -> Option<usize> {
        self.holdings.iter().position(wrong)
    }

    fn verdict(
        &self,
        stale: Option<usize>,
        held: Option<Kind>,
        removed: Stamp,
        subject: impl FnOnce() -> Subject,
    ) -> Result<(), Violation> {
        let Some(index) = stale else { return Ok(()) };
        let since = held.and_then(|kind| self.holdings[index].since[kind as usize]).unwrap_or_default();
        let is_cpu = index < self.holdings.len() - 1;
        let holder = if is_cpu { Holder::Cpu(CpuId::new(index)) } else { Holder::Coprocessor };
        Err(Violation { subject: subject(), holder, held, since, removed })
    }

    fn holding(&mut self, whose: Holder) -> &mut Holding {
        let index = match whose {
            Holder::Cpu(cpu) => cpu.index(),
            Holder::Coprocessor => self.holdings.len() - 1,
        };
        &mut self.holdings[index]
    }

    /// From `now` on `who` has the PID loaded.
    fn begin(&mut self, who: Holder, now: Stamp) {
        let entry_set = self.entry_set;
        let holding = self.holding(who);
        holding.loaded = true;
        holding.fill(entry_set, now);
    }

    fn end(&mut self, who: Holder, now: Stamp) {
        let holding = self.holding(who);
        (holding.loaded, holding.left) = (false, now);
    }

    fn told(&mut self, cpu: CpuId, event: Event) -> Stamp {
        let at = self.now();
        self.history.push(Record { at, cpu, event });
        at
    }
}

/// What a flush does to whom it reaches: the rules of RIC.
fn apply(holding: &mut Holding, what: FlushRange, began: Stamp, entry_set: bool) {
    match what {
        FlushRange::Pages { start, pages } => holding.flush_pages(PageFlush { start, pages, began }),
        FlushRange::Translations => holding.flush(&[Kind::Translation], began, entry_set),
        FlushRange::Everything => holding.flush(&Kind::ALL, began, entry_set),
    }
}
