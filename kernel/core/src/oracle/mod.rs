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
//! So for each holder and each [`Kind`] of thing one number is enough: since when it
//! may hold some. What went out of the tree *before* that moment it cannot hold;
//! what went out after it must not be reused yet. A check costs one comparison a
//! holder, and memory is fixed: one [`Shadow`] an address space, in the [`Slot`] of
//! its PID.
//!
//! [`Stamp`]s order the events of one PID. Two rules keep the oracle from crying
//! wolf and from sleeping: a load is told *after* the CPU's bit in the mask is set
//! and *before* PIDR is written; and who takes something out of the tree asks for a
//! stamp *after* the store and *before* reading the mask. A flush counts from its
//! beginning, a departure from its end.

mod history;
mod holding;
mod slot;
mod violation;

use alloc::boxed::Box;
use core::ops::Range;

use crate::cpu::CpuId;
use crate::machine::Stamp;
use crate::mm::flush::FlushRange;

use history::History;
pub use history::{Event, Record};
use holding::Holding;
pub use slot::Slot;
pub use violation::{Subject, Violation};

/// log2 of a base page's size in bytes.
const PAGE_SHIFT: u32 = 12;

/// What may be cached of an address space. Each lets the MMU refill those after it.
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
    /// The pages that were flushed last. Flushes of pages come one after the other
    /// (the `mmap_lock`), each before its check, so one range is enough.
    pages: Range<u64>,
    history: History,
}

impl Shadow {
    /// A PID that nobody has loaded, on a machine with `nr_cpus` CPUs, from the
    /// moment number `clock` on.
    pub fn new(nr_cpus: usize, clock: u64) -> Self {
        Self {
            clock,
            entry_set: false,
            cleared: Stamp::FIRST,
            coprocessors: 0,
            holdings: alloc::vec![Holding::NONE; nr_cpus + 1].into_boxed_slice(),
            pages: 0..0,
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
        let (now, entry_set) = (self.told(cpu, Event::Load), self.entry_set);
        let holder = Holder::Cpu(cpu);
        if unflushed {
            let since = Stamp::FIRST;
            return Err(Violation { subject: Subject::Start, holder, held: None, since, removed: now });
        }
        self.holding(holder).load(entry_set, now);
        Ok(())
    }

    /// `cpu` has loaded another PID. What it cached stays.
    pub fn leave(&mut self, cpu: CpuId) {
        let now = self.told(cpu, Event::Leave);
        self.holding(Holder::Cpu(cpu)).leave(now);
    }

    /// A coprocessor, told by `cpu`, is about to translate through the PID; it is
    /// counted.
    pub fn copro_load(&mut self, cpu: CpuId) {
        let (now, entry_set) = (self.told(cpu, Event::CoproLoad), self.entry_set);
        self.coprocessors += 1;
        self.holding(Holder::Coprocessor).load(entry_set, now);
    }

    /// A coprocessor does not translate through the PID any more. What it cached
    /// stays.
    pub fn copro_leave(&mut self, cpu: CpuId) {
        let now = self.told(cpu, Event::CoproLeave);
        self.coprocessors -= 1;
        if self.coprocessors == 0 {
            self.holding(Holder::Coprocessor).leave(now);
        }
    }

    /// `cpu` has flushed itself (`tlbiel`); the flush began at `began`.
    pub fn flush_local(&mut self, cpu: CpuId, what: FlushRange, began: Stamp) {
        self.told(cpu, Event::FlushLocal(what, began));
        let holder = self.index(Holder::Cpu(cpu));
        self.apply(holder..holder + 1, what, began);
    }

    /// `cpu` has flushed all CPUs and coprocessors (`tlbie`); the flush began at
    /// `began`.
    pub fn flush_global(&mut self, cpu: CpuId, what: FlushRange, began: Stamp) {
        self.told(cpu, Event::FlushGlobal(what, began));
        self.apply(0..self.holdings.len(), what, began);
    }

    /// `cpu` has dropped everything of every PID, as before it stops and when it
    /// starts. If it had the PID loaded it may have been refilled since.
    pub fn flush_cpu(&mut self, cpu: CpuId) {
        let holding = self.holding(Holder::Cpu(cpu));
        if !holding.is_loaded() && Kind::ALL.iter().any(|&kind| holding.may_hold(kind)) {
            holding.drop_all();
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
        let covered = self.pages.start <= span.start && span.end <= self.pages.end;
        let stale = self.first(|holding| {
            let flushed = covered && holding.pages_flushed > removed;
            holding.since(Kind::Translation) < removed && !flushed
        });
        self.verdict(stale, Some(Kind::Translation), removed, || Subject::Frames(span))
    }

    /// Tables are about to be freed that were all out of the tree before `removed`.
    ///
    /// # Errors
    /// Somebody may still walk through one of them.
    pub fn free_tables(&mut self, cpu: CpuId, removed: Stamp) -> Result<(), Violation> {
        self.told(cpu, Event::TablesFreed);
        let stale = self.first(|holding| holding.since(Kind::Walk) < removed);
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
        let loaded = self.first(Holding::is_loaded);
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
        let since = held.map_or(Stamp::FIRST, |kind| self.holdings[index].since(kind));
        let is_cpu = index != self.index(Holder::Coprocessor);
        let holder = if is_cpu { Holder::Cpu(CpuId::new(index)) } else { Holder::Coprocessor };
        Err(Violation { subject: subject(), holder, held, since, removed })
    }

    fn index(&self, whose: Holder) -> usize {
        match whose {
            Holder::Cpu(cpu) => cpu.index(),
            Holder::Coprocessor => self.holdings.len() - 1,
        }
    }

    fn holding(&mut self, whose: Holder) -> &mut Holding {
        &mut self.holdings[self.index(whose)]
    }

    /// What a flush does to those that it reaches: the rules of RIC.
    fn apply(&mut self, reached: Range<usize>, what: FlushRange, began: Stamp) {
        let dropped: &[Kind] = match what {
            FlushRange::Pages { start, pages } => {
                return self.apply_to_pages(reached, start..start + (u64::from(pages) << PAGE_SHIFT), began);
            }
            FlushRange::Translations => &[Kind::Translation],
            FlushRange::Everything => &Kind::ALL,
        };
        let entry_set = self.entry_set || self.cleared > began;
        self.holdings[reached].iter_mut().for_each(|holding| holding.flush(dropped, began, entry_set));
    }

    fn apply_to_pages(&mut self, reached: Range<usize>, pages: Range<u64>, began: Stamp) {
        if self.pages != pages {
            self.pages = pages;
            self.holdings.iter_mut().for_each(|holding| holding.pages_flushed = Stamp::FIRST);
        }
        self.holdings[reached]
            .iter_mut()
            .for_each(|holding| holding.pages_flushed = holding.pages_flushed.max(began));
    }

    fn told(&mut self, cpu: CpuId, event: Event) -> Stamp {
        let at = self.now();
        self.history.push(Record { at, cpu, event });
        at
    }
}
