//! The shadow TLB oracle: what each CPU may have cached of one PID.
//!
//! Emulators keep no PID tags, no walk cache and no process-table cache, so a missing flush of
//! those shows nowhere. This crate shows it. It keeps no list of what is cached, but assumes
//! the worst that the ISA allows (Power ISA 3.0B, Book III, 5.7.8 and 5.10):
//!
//! - while a PID is loaded and its process-table entry is set, *or cached*, a CPU
//!   may cache at any moment all that the tree shows at that moment;
//! - what is cached survives a write of PIDR, under its PID tag;
//! - a flush with RIC=0 drops translations only, RIC=2 everything of the PID;
//!   `tlbiel` on its own CPU, `tlbie` on all;
//! - a cached process-table entry lets a CPU refill everything below it, a cached
//!   directory lets it refill translations, even if memory shows other ones by then.
//!
//! A coprocessor caches these things too, and only `tlbie` reaches it. All coprocessors
//! together are one more holder.
//!
//! A CPU that stops fetches nothing, and keeps what it has. One that starts may
//! have anything in its TLB, so it flushes all of it before it loads a PID.
//!
//! So for each holder and each [`Kind`] of thing one number is enough: since when the holder
//! may have some. It cannot hold what went out of the tree *before* that moment. What went out
//! after it is *stale*. The oracle remembers it, with the frames that it named, until flushes
//! have reached every holder. These are the checks:
//!
//! - a frame, or a table, is given back to the allocator: is it among the stale?
//! - an empty entry is filled: is what it was before stale?
//! - the address space is unlocked, and programs count on its changes: is anything stale?
//! - a CPU is not lazy any more: does it owe a flush?
//! - the PID is freed, or handed out: does any holder have anything?
//!
//! The code that changes the tree reports nothing: the oracle sees every store to an entry, and
//! the allocator asks. There is one [`Shadow`] per address space, in the [`Slot`] of its PID.
//! Its memory grows with the changes that are not flushed yet.
//!
//! [`Stamp`]s order the events of one PID. Two rules keep the oracle from false alarms and from
//! missing an error. A load is reported *after* the CPU's bit in the mask is set and *before*
//! PIDR is written. A change is seen *after* the store and *before* the mask is read. A flush
//! counts from its beginning, a departure from its end.
//!
//! A flush may *spare* a CPU that is lazy: no access of that CPU uses what it translates. Until it
//! has dropped all translations it may hold stale ones, and not come back from its laziness. Nothing
//! excuses walk-cache entries: its MMU may walk on its own.
//!
//! The oracle does not need one lock for the whole address space: several CPUs may change and
//! flush parts of it at once.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod changes;
mod flushed;
mod history;
mod holding;
mod slot;
mod stale;
mod violation;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

use kcore::cpu::CpuId;
use kcore::event::Stamp;
use kcore::mm::flush::FlushRange;

use flushed::Flushed;
use history::History;
pub use history::{Record, Told};
use holding::Holding;
pub use slot::Slot;
pub use stale::FrameNumber;
use stale::StaleSet;
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

/// A holder: a CPU, or the coprocessors.
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
    /// One per CPU, then one for the coprocessors.
    holdings: Box<[Holding]>,
    /// When the last flush began.
    flushing: Stamp,
    /// When the PID was last loaded.
    loading: Stamp,
    /// Leaf entries that were emptied, or lost permissions, and tables that were taken out
    /// of the tree.
    stale: StaleSet,
    /// Which holders have dropped pages of these.
    flushed: Flushed,
    /// Frames and tables that no holder can reach any more, one entry each time.
    released: Vec<FrameNumber>,
    history: History,
}

impl Shadow {
    /// A PID that no CPU has loaded, on a machine with `nr_cpus` CPUs, from the moment number
    /// `clock` on.
    pub fn new(nr_cpus: usize, clock: u64) -> Self {
        Self {
            clock,
            entry_set: false,
            cleared: Stamp::FIRST,
            coprocessors: 0,
            holdings: alloc::vec![Holding::NONE; nr_cpus + 1].into_boxed_slice(),
            flushing: Stamp::FIRST,
            loading: Stamp::FIRST,
            stale: StaleSet::default(),
            flushed: Flushed::default(),
            released: Vec::new(),
            history: History::default(),
        }
    }

    /// The moment now: later than every event reported so far, earlier than all to come.
    pub fn now(&mut self) -> Stamp {
        self.clock += 1;
        Stamp::new(self.clock)
    }

    /// A flush is about to begin, here or elsewhere: the moment that it counts from.
    pub fn flush_begins(&mut self) -> Stamp {
        self.flushing = self.now();
        self.flushing
    }

    /// `cpu` is about to load the PID; its bit in the mask is set. `unflushed`: the CPU has
    /// started and has not dropped everything since.
    ///
    /// # Errors
    /// An unflushed CPU may hold what it had before it stopped, or anything else.
    pub fn load(&mut self, cpu: CpuId, unflushed: bool) -> Result<(), Violation> {
        let (now, entry_set) = (self.told(cpu, Told::Load), self.entry_set);
        let holder = Holder::Cpu(cpu);
        if unflushed {
            let since = Stamp::FIRST;
            return Err(Violation { subject: Subject::Start, holder, held: None, since, removed: now });
        }
        self.loading = now;
        self.holding(holder).load(entry_set, now);
        Ok(())
    }

    /// `cpu` has loaded another PID. What it cached stays.
    pub fn leave(&mut self, cpu: CpuId) {
        let now = self.told(cpu, Told::Leave);
        self.holding(Holder::Cpu(cpu)).leave(now);
    }

    /// A coprocessor is about to translate through the PID, and is counted. `cpu` reports it.
    pub fn copro_load(&mut self, cpu: CpuId) {
        let (now, entry_set) = (self.told(cpu, Told::CoproLoad), self.entry_set);
        self.coprocessors += 1;
        self.loading = now;
        self.holding(Holder::Coprocessor).load(entry_set, now);
    }

    /// A coprocessor does not translate through the PID any more. What it cached
    /// stays.
    pub fn copro_leave(&mut self, cpu: CpuId) {
        let now = self.told(cpu, Told::CoproLeave);
        self.coprocessors -= 1;
        if self.coprocessors == 0 {
            self.holding(Holder::Coprocessor).leave(now);
        }
    }

    /// `cpu` has flushed itself (`tlbiel`); the flush began at `began`.
    pub fn flush_local(&mut self, cpu: CpuId, what: FlushRange, began: Stamp) {
        self.told(cpu, Told::FlushLocal(what, began));
        let holder = self.index(Holder::Cpu(cpu));
        self.apply(holder..holder + 1, what, began);
    }

    /// `cpu` has flushed all CPUs and coprocessors (`tlbie`); the flush began at
    /// `began`.
    pub fn flush_global(&mut self, cpu: CpuId, what: FlushRange, began: Stamp) {
        self.told(cpu, Told::FlushGlobal(what, began));
        self.apply(0..self.holdings.len(), what, began);
    }

    /// `cpu` has dropped everything of every PID, as it does before it stops and when it
    /// starts. If it had the PID loaded, it may have been refilled since.
    pub fn flush_cpu(&mut self, cpu: CpuId) {
        let holding = self.holding(Holder::Cpu(cpu));
        if !holding.is_loaded() && Kind::ALL.iter().any(|&kind| holding.may_hold(kind)) {
            holding.drop_all();
            self.told(cpu, Told::FlushCpu);
            self.release();
        }
    }

    /// The process-table entry is about to be set: the PID is used anew.
    ///
    /// # Errors
    /// A holder may have something of the mm that had the PID before.
    pub fn set_entry(&mut self, cpu: CpuId) -> Result<(), Violation> {
        let now = self.told(cpu, Told::EntrySet);
        self.nobody_holds_anything(now)?;
        self.entry_set = true;
        Ok(())
    }

    /// The process-table entry was cleared. Copies of it stay.
    pub fn clear_entry(&mut self, cpu: CpuId) {
        self.cleared = self.told(cpu, Told::EntryCleared);
        self.entry_set = false;
    }

    /// The root and the PID are about to be freed.
    ///
    /// # Errors
    /// A holder has the PID loaded, or may have something under its tag.
    pub fn free_pid(&mut self, cpu: CpuId) -> Result<(), Violation> {
        let now = self.told(cpu, Told::PidFreed);
        self.nobody_holds_anything(now)
    }

    /// The last events, the oldest first.
    pub fn history(&self) -> impl Iterator<Item = &Record> {
        self.history.iter()
    }

    fn nobody_holds_anything(&self, now: Stamp) -> Result<(), Violation> {
        for kind in Kind::ALL {
            if let Some(holder) = self.first(|holding| holding.may_hold(kind)) {
                return Err(self.violation(holder, Some(kind), now, Subject::Pid));
            }
        }
        match self.first(Holding::is_loaded) {
            Some(holder) => Err(self.violation(holder, None, now, Subject::Pid)),
            None => Ok(()),
        }
    }

    fn first(&self, wrong: impl Fn(&Holding) -> bool) -> Option<usize> {
        self.holdings.iter().position(wrong)
    }

    /// The violation of holder number `index`.
    fn violation(&self, index: usize, held: Option<Kind>, removed: Stamp, subject: Subject) -> Violation {
        let since = held.map_or(Stamp::FIRST, |kind| self.holdings[index].since(kind));
        let is_cpu = index != self.index(Holder::Coprocessor);
        let holder = if is_cpu { Holder::Cpu(CpuId::new(index)) } else { Holder::Coprocessor };
        Violation { subject, holder, held, since, removed }
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

    /// What a flush does to the holders that it reaches: the rules of RIC.
    fn apply(&mut self, reached: Range<usize>, what: FlushRange, began: Stamp) {
        let dropped: &[Kind] = match what {
            FlushRange::Pages { start, pages } => {
                self.apply_to_pages(reached, &(start..start + (u64::from(pages) << PAGE_SHIFT)), began);
                return self.release();
            }
            FlushRange::Translations => &[Kind::Translation],
            FlushRange::Everything => &Kind::ALL,
        };
        let entry_set = self.entry_set || self.cleared > began;
        self.holdings[reached].iter_mut().for_each(|holding| holding.flush(dropped, began, entry_set));
        self.release();
    }

    fn told(&mut self, cpu: CpuId, told: Told) -> Stamp {
        let at = self.now();
        self.history.push(Record { at, cpu, told });
        at
    }
}
