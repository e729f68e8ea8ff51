//! The model: who owns a line, who shares it, and how often it moves.
//!
//! A CPU that stores needs the line alone; a CPU that loads needs a copy. Caches are infinite,
//! so a line leaves a cache only because another CPU wants it. Counted are:
//!
//! - a **transfer**: a store by a CPU that is not the owner, while another CPU has the line,
//!   whether or not the CPU that stores has a copy;
//! - a **shared miss**: a load, by a CPU without a copy, of a line that another CPU has changed
//!   since it was last read elsewhere;
//! - an **upgrade**: a store by the owner while others have copies. It moves no data.
//!
//! The two halves of an atomic are a load and a store, counted apart.

use std::collections::HashMap;

/// Bytes of a line: POWER's.
pub const LINE_BYTES: u64 = 128;

/// A set of CPUs, grown on demand.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Cpus(Vec<u64>);

impl Cpus {
    /// Whether `cpu` is in.
    pub fn contains(&self, cpu: usize) -> bool {
        self.0.get(cpu / 64).is_some_and(|word| word >> (cpu % 64) & 1 != 0)
    }

    /// Adds `cpu`.
    pub fn insert(&mut self, cpu: usize) {
        if self.0.len() <= cpu / 64 {
            self.0.resize(cpu / 64 + 1, 0);
        }
        self.0[cpu / 64] |= 1 << (cpu % 64);
    }

    /// How many are in.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether none is in.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether one is in that is not `cpu`.
    fn has_other_than(&self, cpu: usize) -> bool {
        self.len() > usize::from(self.contains(cpu))
    }

    /// Makes it `cpu` alone.
    fn become_only(&mut self, cpu: usize) {
        self.0.fill(0);
        self.insert(cpu);
    }
}

/// What an access made of the line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moved {
    /// Nothing that another CPU takes part in.
    Nothing,
    /// The line has a new owner, and its old holders lost it.
    Transfer,
    /// A CPU got a copy of what another has changed.
    SharedMiss,
    /// The other copies are gone; the owner has stayed.
    Upgrade,
}

/// How often a line moved, and by whom it was written.
#[derive(Clone, Default, Debug)]
pub struct Counts {
    /// Ownership transfers.
    pub transfers: u64,
    /// Loads that had to wait for another CPU's change.
    pub shared_misses: u64,
    /// Stores by the owner that took others' copies away.
    pub upgrades: u64,
    /// The CPUs that have stored to it.
    pub writers: Cpus,
}

/// A line.
#[derive(Default, Debug)]
struct Line {
    owner: Option<usize>,
    /// The CPUs that have a copy, the owner included.
    copies: Cpus,
    /// The owner has changed it since another CPU last read it.
    is_dirty: bool,
    counts: Counts,
}

/// All lines that were touched since the model began.
#[derive(Default, Debug)]
pub struct Model {
    lines: HashMap<u64, Line>,
}

impl Model {
    /// No CPU has anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// `cpu` loads from the line of `address`.
    pub fn load(&mut self, cpu: usize, address: u64) -> Moved {
        let line = self.lines.entry(address / LINE_BYTES).or_default();
        if line.copies.contains(cpu) {
            return Moved::Nothing;
        }
        line.copies.insert(cpu);
        if !std::mem::take(&mut line.is_dirty) {
            return Moved::Nothing;
        }
        line.counts.shared_misses += 1;
        Moved::SharedMiss
    }

    /// `cpu` stores to the line of `address`.
    pub fn store(&mut self, cpu: usize, address: u64) -> Moved {
        let line = self.lines.entry(address / LINE_BYTES).or_default();
        let others = line.copies.has_other_than(cpu);
        let moved = match line.owner {
            _ if !others => Moved::Nothing,
            Some(owner) if owner == cpu => Moved::Upgrade,
            _ => Moved::Transfer,
        };
        line.counts.transfers += u64::from(moved == Moved::Transfer);
        line.counts.upgrades += u64::from(moved == Moved::Upgrade);
        line.counts.writers.insert(cpu);
        line.owner = Some(cpu);
        line.is_dirty = true;
        line.copies.become_only(cpu);
        moved
    }

    /// What became of each line: (its first address, its counts).
    pub fn lines(&self) -> impl Iterator<Item = (u64, &Counts)> {
        self.lines.iter().map(|(number, line)| (number * LINE_BYTES, &line.counts))
    }

    /// Forgets the counts, and keeps what the caches have: a measurement begins warm.
    pub fn reset_counts(&mut self) {
        self.lines.values_mut().for_each(|line| line.counts = Counts::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (transfers, shared misses, upgrades, writers) of the line of `address`.
    fn counts(model: &Model, address: u64) -> (u64, u64, u64, usize) {
        let (_, counts) =
            model.lines().find(|(start, _)| *start == address / LINE_BYTES * LINE_BYTES).unwrap();
        (counts.transfers, counts.shared_misses, counts.upgrades, counts.writers.len())
    }

    #[test]
    fn a_line_of_one_cpu_never_moves() {
        let mut model = Model::new();
        for _ in 0..10 {
            assert_eq!(model.load(3, 0x100), Moved::Nothing);
            assert_eq!(model.store(3, 0x17f), Moved::Nothing);
        }
        assert_eq!(counts(&model, 0x100), (0, 0, 0, 1));
    }

    #[test]
    fn two_cpus_that_store_by_turns_transfer_each_time_but_the_first() {
        let mut model = Model::new();
        for turn in 0..10 {
            model.store(turn % 2, 0x80);
        }
        assert_eq!(counts(&model, 0x80), (9, 0, 0, 2));
    }

    #[test]
    fn an_atomic_is_a_shared_miss_and_a_transfer() {
        let mut model = Model::new();
        model.store(0, 0);
        assert_eq!(model.load(1, 0), Moved::SharedMiss);
        assert_eq!(model.store(1, 0), Moved::Transfer);
        assert_eq!(counts(&model, 0), (1, 1, 0, 2));
    }

    #[test]
    fn a_copyless_cpu_transfers_too() {
        let mut model = Model::new();
        model.store(0, 0);
        assert_eq!(model.store(1, 0), Moved::Transfer);
        assert_eq!(counts(&model, 0), (1, 0, 0, 2));
    }

    #[test]
    fn what_was_read_since_its_change_misses_no_more() {
        let mut model = Model::new();
        model.store(0, 0);
        assert_eq!(model.load(1, 0), Moved::SharedMiss);
        // Memory has it by now: a third CPU takes nothing from a cache.
        assert_eq!(model.load(2, 0), Moved::Nothing);
        assert_eq!(model.load(1, 0), Moved::Nothing);
        assert_eq!(counts(&model, 0), (0, 1, 0, 1));
    }

    #[test]
    fn an_owner_that_stores_takes_copies_away_and_stays_the_owner() {
        let mut model = Model::new();
        model.store(0, 0);
        model.load(1, 0);
        assert_eq!(model.store(0, 0), Moved::Upgrade);
        assert_eq!(model.load(1, 0), Moved::SharedMiss);
        assert_eq!(counts(&model, 0), (0, 2, 1, 1));
    }

    #[test]
    fn a_line_without_an_owner_that_others_have_read_transfers() {
        let mut model = Model::new();
        model.load(0, 0);
        assert_eq!(model.store(1, 0), Moved::Transfer);
        assert_eq!(counts(&model, 0), (1, 0, 0, 1));
    }

    #[test]
    fn lines_are_128_bytes_and_strangers_to_each_other() {
        let mut model = Model::new();
        model.store(0, 127);
        assert_eq!(model.store(1, 128), Moved::Nothing);
        assert_eq!(model.store(1, 0), Moved::Transfer);
    }

    #[test]
    fn counts_begin_anew_and_caches_do_not() {
        let mut model = Model::new();
        model.store(0, 0);
        model.store(1, 0);
        model.reset_counts();
        assert_eq!(model.store(0, 0), Moved::Transfer);
        assert_eq!(counts(&model, 0), (1, 0, 0, 1));
    }

    #[test]
    fn a_round_of_three_worked_out_by_hand() {
        // Three CPUs take a ticket from one counter, by an atomic each, and read a second line
        // that CPU 0 writes each round. Per round and counter: 3 misses and 3 transfers, but
        // in the first round CPU 0 finds nobody: 2 and 2. The second line: 2 readers of which
        // the first misses, and an upgrade each round but the first.
        let mut model = Model::new();
        for _ in 0..4 {
            model.store(0, 0x1000);
            for cpu in 0..3 {
                model.load(cpu, 0);
                model.store(cpu, 0);
                model.load(cpu, 0x1000);
            }
        }
        assert_eq!(counts(&model, 0), (11, 11, 0, 3));
        assert_eq!(counts(&model, 0x1000), (0, 4, 3, 1));
    }

    #[test]
    fn cpus_beyond_64_count() {
        let mut model = Model::new();
        for cpu in 0..192 {
            model.store(cpu, 0);
        }
        assert_eq!(counts(&model, 0), (191, 0, 0, 192));
    }
}
