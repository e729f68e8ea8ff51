//! Sets of CPUs that all CPUs change: CPUs that others may take tasks from, CPUs where a task
//! may run.
//!
//! Single bits, relaxed: each is a hint that the run-queue lock confirms.

use core::sync::atomic::{AtomicU64, Ordering};

use kcore::cpu::{CpuId, CpuSet, MAX_CPUS};

const WORDS: usize = MAX_CPUS / 64;

/// One bit per CPU, in lines of its own: readers of a set that does not change miss nothing.
#[repr(C, align(128))]
pub(crate) struct CpuBits([AtomicU64; WORDS]);

fn place(cpu: CpuId) -> (usize, u64) {
    (cpu.index() / 64, 1 << (cpu.index() % 64))
}

impl CpuBits {
    pub(crate) const fn empty() -> Self {
        Self([const { AtomicU64::new(0) }; WORDS])
    }

    pub(crate) fn of(set: &CpuSet) -> Self {
        Self(core::array::from_fn(|word| AtomicU64::new(set.word(word))))
    }

    pub(super) fn store(&self, set: &CpuSet) {
        self.0.iter().enumerate().for_each(|(i, word)| word.store(set.word(i), Ordering::Relaxed));
    }

    /// Makes it `new`, as far as it still is `old`: a word that another CPU has changed stays.
    pub(super) fn replace(&self, old: &CpuSet, new: &CpuSet) {
        for (i, word) in self.0.iter().enumerate() {
            let _ = word.compare_exchange(old.word(i), new.word(i), Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    pub(crate) fn snapshot(&self) -> CpuSet {
        let mut set = CpuSet::EMPTY;
        self.0.iter().enumerate().for_each(|(i, word)| set.set_word(i, word.load(Ordering::Relaxed)));
        set
    }

    #[inline]
    pub(crate) fn contains(&self, cpu: CpuId) -> bool {
        let (word, bit) = place(cpu);
        self.0[word].load(Ordering::Relaxed) & bit != 0
    }

    /// Adds `cpu`; a plain load if it is in already.
    #[inline]
    pub(crate) fn insert(&self, cpu: CpuId) {
        let (word, bit) = place(cpu);
        if self.0[word].load(Ordering::Relaxed) & bit == 0 {
            self.0[word].fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Takes `cpu` out and returns whether it was in. A plain load if it was not.
    #[inline]
    pub(crate) fn take(&self, cpu: CpuId) -> bool {
        let (word, bit) = place(cpu);
        self.0[word].load(Ordering::Relaxed) & bit != 0
            && self.0[word].fetch_and(!bit, Ordering::Relaxed) & bit != 0
    }

    /// Of the first `nr_cpus` CPUs, the first that is in both sets, searched from behind `start`
    /// and around.
    pub(crate) fn first_common(&self, other: &CpuBits, start: CpuId, nr_cpus: usize) -> Option<CpuId> {
        let words = nr_cpus.div_ceil(64);
        let (first, bit) = place(start);
        let behind = !(bit | (bit - 1));
        // The start's word twice: its upper part first, its lower part last.
        (0..=words).find_map(|turn| {
            let word = (first + turn) % words;
            let mask = match turn {
                0 => behind,
                _ if turn == words => !behind,
                _ => u64::MAX,
            };
            let common = self.0[word].load(Ordering::Relaxed) & other.0[word].load(Ordering::Relaxed);
            let bits = common & mask;
            (bits != 0).then(|| CpuId::new(word * 64 + bits.trailing_zeros() as usize))
        })
    }
}
