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

#[inline(always)]
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

    /// Whether none of the first `nr_cpus` CPUs is in.
    #[inline]
    pub(super) fn is_empty(&self, nr_cpus: usize) -> bool {
        (0..nr_cpus.div_ceil(64)).all(|word| self.word(word) == 0)
    }

    /// Whether of the first `nr_cpus` CPUs only `cpu`, which is in, is in.
    #[inline]
    pub(super) fn is_only(&self, cpu: CpuId, nr_cpus: usize) -> bool {
        let (own, bit) = place(cpu);
        let others_are_out = || (0..nr_cpus.div_ceil(64)).all(|word| word == own || self.word(word) == 0);
        self.0[own].load(Ordering::Relaxed) == bit && (nr_cpus <= 64 || others_are_out())
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

    /// Word `word`, below [`WORDS`].
    #[inline(always)]
    pub(crate) fn word(&self, word: usize) -> u64 {
        self.0[word % WORDS].load(Ordering::Relaxed)
    }
}

/// The first answer of `take` to a CPU whose bit is in the word that `word_of` has for it; of the
/// first `nr_cpus` CPUs, from behind `start` and around to it.
#[inline(always)]
pub(crate) fn search<T>(
    word_of: impl Fn(usize) -> u64,
    start: CpuId,
    nr_cpus: usize,
    mut take: impl FnMut(CpuId) -> Option<T>,
) -> Option<T> {
    let (first, bit) = place(start);
    let upto = bit | (bit - 1);
    let mut look = |word: usize, mask: u64| {
        let mut bits = word_of(word) & mask;
        while bits != 0 {
            let taken = take(CpuId::new(word * 64 + bits.trailing_zeros() as usize));
            if taken.is_some() {
                return taken;
            }
            bits &= bits - 1;
        }
        None
    };
    // The start's word twice: its upper part first, its lower part last.
    let words = nr_cpus.div_ceil(64);
    look(first, !upto)
        .or_else(|| (1..words).find_map(|turn| look((first + turn) % words, u64::MAX)))
        .or_else(|| look(first, upto))
}
