//! Where a guest's instructions go: counts by address and by what brought the CPU there.
//!
//! An emulator translates blocks of instructions, and says when a CPU begins one. A CPU may leave
//! a block before its end, where an access faults or a trap is taken; [`stretches`] cuts blocks
//! behind each such instruction, so a stretch is run whole or not at all. A faulting instruction
//! counts each time that it is tried.
//!
//! A CPU's [path](Path) is how it came into the kernel: a system call, a trap, an interrupt in one
//! of these. A task that waits keeps its path ([`Tally::switch`]), so what it does later is still
//! its call's.

use std::collections::HashMap;
use std::ops::Range;

/// Entries of the kernel that a CPU is in, the first one first: numbers of the caller's choice.
pub type Path = Vec<u32>;

/// Addresses below it are a program's.
pub const USER_END: u64 = 1 << 52;

/// A path that would be longer stays as it is.
const MOST_NESTED: usize = 8;

/// Whether a CPU may leave the block at this PowerPC instruction although others follow. False for
/// arithmetic of integers alone.
fn may_leave(word: u32) -> bool {
    !matches!(word >> 26, 7..=16 | 18 | 20..=30)
}

/// Cuts a block into runs of indices. `is_mark` are instructions that belong to none.
pub fn stretches(words: &[u32], is_mark: impl Fn(u32) -> bool) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    for (at, word) in words.iter().enumerate() {
        let end = if is_mark(*word) { at } else { at + 1 };
        let is_last = end == words.len();
        if is_mark(*word) || may_leave(*word) || is_last {
            found.extend((start < end).then_some(start..end));
            start = at + 1;
        }
    }
    found
}

/// A stretch of code: two programs may have different ones at one address.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Stretch {
    pub address: u64,
    pub words: Vec<u32>,
}

/// The counts of all CPUs.
pub struct Tally {
    is_on: bool,
    is_marked: bool,
    stretches: Vec<Stretch>,
    stretch_ids: HashMap<Stretch, usize>,
    paths: Vec<Path>,
    path_ids: HashMap<Path, usize>,
    /// The path of each CPU.
    on: Vec<usize>,
    /// The path of each task that has left its CPU.
    parked: HashMap<u64, usize>,
    /// Runs, by path and stretch.
    runs: Vec<Vec<u64>>,
}

impl Tally {
    /// For `cpus` CPUs; nothing is counted yet.
    pub fn new(cpus: usize) -> Self {
        Tally {
            is_on: false,
            is_marked: false,
            stretches: Vec::new(),
            stretch_ids: HashMap::new(),
            paths: vec![Path::new()],
            path_ids: HashMap::from([(Path::new(), 0)]),
            on: vec![0; cpus],
            parked: HashMap::new(),
            runs: vec![Vec::new()],
        }
    }

    /// Counts from now on, if no mark does it. The program itself has begun.
    pub fn start(&mut self) {
        self.is_on |= !self.is_marked;
    }

    /// A first mark: what was counted before any mark is dropped. Regions add up.
    pub fn begin(&mut self) {
        if !self.is_marked {
            self.runs.iter_mut().for_each(Vec::clear);
        }
        (self.is_on, self.is_marked) = (true, true);
    }

    /// A second mark.
    pub fn end(&mut self) {
        self.is_on &= !self.is_marked;
    }

    /// Whether runs are counted.
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Whether there was a mark.
    pub fn is_marked(&self) -> bool {
        self.is_marked
    }

    /// The number by which `run` knows this stretch.
    pub fn stretch(&mut self, stretch: Stretch) -> usize {
        let next = self.stretches.len();
        *self.stretch_ids.entry(stretch).or_insert_with_key(|stretch| {
            self.stretches.push(stretch.clone());
            next
        })
    }

    /// `cpu` runs a stretch.
    pub fn run(&mut self, cpu: usize, stretch: usize) {
        if self.stretches[stretch].address < USER_END {
            self.on[cpu] = 0;
        }
        if self.is_on {
            let runs = &mut self.runs[self.on[cpu]];
            if runs.len() <= stretch {
                runs.resize(stretch + 1, 0);
            }
            runs[stretch] += 1;
        }
    }

    /// `cpu` comes into the kernel, or is interrupted in it.
    pub fn enter(&mut self, cpu: usize, by: u32) {
        let mut path = self.paths[self.on[cpu]].clone();
        if path.len() < MOST_NESTED {
            path.push(by);
        }
        self.on[cpu] = self.path(path);
    }

    /// `cpu` returns from the innermost entry.
    pub fn leave(&mut self, cpu: usize) {
        let mut path = self.paths[self.on[cpu]].clone();
        path.pop();
        self.on[cpu] = self.path(path);
    }

    /// `cpu` leaves one task for another; the numbers name them.
    pub fn switch(&mut self, cpu: usize, from: u64, to: u64) {
        self.parked.insert(from, self.on[cpu]);
        self.on[cpu] = self.parked.remove(&to).unwrap_or(0);
    }

    /// The task on `cpu` is a new one, which came in by nothing but `by`.
    pub fn renew(&mut self, cpu: usize, by: u32) {
        self.on[cpu] = self.path(vec![by]);
    }

    fn path(&mut self, path: Path) -> usize {
        let next = self.paths.len();
        *self.path_ids.entry(path).or_insert_with_key(|path| {
            self.paths.push(path.clone());
            self.runs.push(Vec::new());
            next
        })
    }

    /// All that was counted: (path, stretch, its runs), in an order that is the same for equal runs.
    pub fn counted(&self) -> Vec<(&Path, &Stretch, u64)> {
        let all = self.runs.iter().zip(&self.paths).flat_map(|(runs, path)| {
            let each = runs.iter().zip(&self.stretches).filter(|(runs, _)| **runs > 0);
            each.map(move |(runs, stretch)| (path, stretch, *runs))
        });
        let mut all: Vec<_> = all.collect();
        all.sort_by_key(|(path, stretch, _)| (*path, stretch.address, &stretch.words));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADD: u32 = 0x3863_0001; // addi 3,3,1
    const LOAD: u32 = 0xe863_0000; // ld 3,0(3)
    const MARK: u32 = 0x7fde_f038; // and 30,30,30
    const KERNEL: u64 = 0xc << 60;
    const CALL: u32 = 1;
    const TICK: u32 = 2;

    fn cut(words: &[u32]) -> Vec<Range<usize>> {
        stretches(words, |word| word == MARK)
    }

    fn stretch(tally: &mut Tally, address: u64) -> usize {
        tally.stretch(Stretch { address, words: vec![ADD; 3] })
    }

    /// (path, address, runs)
    fn told(tally: &Tally) -> Vec<(Path, u64, u64)> {
        tally
            .counted()
            .into_iter()
            .map(|(path, stretch, runs)| (path.clone(), stretch.address, runs))
            .collect()
    }

    #[test]
    fn a_stretch_ends_where_a_cpu_may_leave() {
        assert_eq!(cut(&[ADD, ADD, LOAD, ADD, LOAD]), [0..3, 3..5]);
        assert_eq!(cut(&[LOAD, ADD, ADD]), [0..1, 1..3]);
        assert_eq!(cut(&[]), []);
    }

    #[test]
    fn a_mark_is_in_no_stretch() {
        assert_eq!(cut(&[ADD, MARK, ADD, ADD]), [0..1, 2..4]);
        assert_eq!(cut(&[MARK]), []);
        assert_eq!(cut(&[ADD, ADD, MARK, LOAD]), [0..2, 3..4]);
    }

    #[test]
    fn without_marks_all_counts_from_the_start() {
        let mut tally = Tally::new(1);
        let a = stretch(&mut tally, KERNEL);
        tally.run(0, a);
        tally.start();
        tally.run(0, a);
        tally.run(0, a);
        tally.end();
        tally.run(0, a);
        assert_eq!(told(&tally), [(vec![], KERNEL, 3)]);
    }

    #[test]
    fn between_marks_alone_and_regions_add_up() {
        let mut tally = Tally::new(1);
        let a = stretch(&mut tally, KERNEL);
        tally.start();
        tally.run(0, a);
        for _ in 0..2 {
            tally.begin();
            tally.run(0, a);
            tally.end();
            tally.run(0, a);
            tally.start();
            tally.run(0, a);
        }
        assert_eq!(told(&tally), [(vec![], KERNEL, 2)]);
    }

    #[test]
    fn one_address_may_hold_two_programs() {
        let mut tally = Tally::new(1);
        let one = tally.stretch(Stretch { address: 0x1000, words: vec![ADD] });
        let other = tally.stretch(Stretch { address: 0x1000, words: vec![LOAD] });
        assert_ne!(one, other);
        assert_eq!(tally.stretch(Stretch { address: 0x1000, words: vec![ADD] }), one);
    }

    #[test]
    fn an_interrupt_in_a_call_is_the_calls() {
        let mut tally = Tally::new(1);
        let (user, kernel) = (stretch(&mut tally, 0x1000), stretch(&mut tally, KERNEL));
        tally.start();
        tally.run(0, user);
        tally.enter(0, CALL);
        tally.run(0, kernel);
        tally.enter(0, TICK);
        tally.run(0, kernel);
        tally.leave(0);
        tally.run(0, kernel);
        tally.leave(0);
        tally.run(0, user);
        let wanted = [(vec![], 0x1000, 2), (vec![CALL], KERNEL, 2), (vec![CALL, TICK], KERNEL, 1)];
        assert_eq!(told(&tally), wanted);
    }

    #[test]
    fn a_program_that_runs_has_left_the_kernel() {
        let mut tally = Tally::new(1);
        let (user, kernel) = (stretch(&mut tally, 0x1000), stretch(&mut tally, KERNEL));
        tally.start();
        tally.enter(0, CALL);
        tally.run(0, user);
        tally.enter(0, TICK);
        tally.run(0, kernel);
        assert_eq!(told(&tally), [(vec![], 0x1000, 1), (vec![TICK], KERNEL, 1)]);
    }

    #[test]
    fn a_task_takes_its_path_to_another_cpu() {
        let mut tally = Tally::new(2);
        let kernel = stretch(&mut tally, KERNEL);
        tally.start();
        tally.enter(0, CALL);
        tally.switch(0, 7, 8);
        tally.run(0, kernel);
        tally.enter(1, TICK);
        tally.switch(1, 9, 7);
        tally.run(1, kernel);
        tally.run(1, kernel);
        // The number of a dead task may be a new task's.
        tally.switch(0, 8, 9);
        tally.renew(0, 5);
        tally.run(0, kernel);
        assert_eq!(told(&tally), [(vec![], KERNEL, 1), (vec![CALL], KERNEL, 2), (vec![5], KERNEL, 1)]);
    }
}
