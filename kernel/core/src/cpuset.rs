//! CPUs by their names, and sets of them: a plain value, or a mask that CPUs share.

use crate::sync::{AtomicU64, Ordering};

/// The most CPUs that a mask can name.
pub const MAX_CPUS: usize = if cfg!(loom) { 64 } else { 1024 };
/// Words of 64 bits in a mask. One under loom: sixteen would make its search too long.
const WORDS: usize = MAX_CPUS / 64;

/// A CPU's logical number. The boot CPU has 0, and the numbers have no gaps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(transparent)]
pub struct CpuId(u32);

impl CpuId {
    /// The boot CPU.
    pub const BOOT: CpuId = CpuId(0);

    /// The CPU with logical number `n`; panics if no mask could hold it.
    pub const fn new(n: usize) -> Self {
        assert!(n < MAX_CPUS, "CPU number out of range");
        CpuId(n as u32)
    }

    /// As an index into per-CPU arrays.
    #[inline(always)]
    pub const fn index(self) -> usize {
        // No more than a mask: the number is in range. Arrays of that many need no other check.
        self.0 as usize % MAX_CPUS
    }
}

impl core::fmt::Display for CpuId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "CPU {}", self.0)
    }
}

/// A set of CPUs that several CPUs change at once. In a cpumask and in `online` a CPU
/// changes only its own bit. In a mailbox a sender changes only its own bit, and the
/// receiver takes all. Each way to access a mask has a name. The plain ones are relaxed:
/// they are for a CPU's own bit, or stand beside a named fence.
pub struct CpuMask([AtomicU64; WORDS]);

impl Default for CpuMask {
    fn default() -> Self {
        Self(core::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl CpuMask {
    fn place(cpu: CpuId) -> (usize, u64) {
        (cpu.index() / 64, 1 << (cpu.index() % 64))
    }

    /// Whether `cpu` is in the set.
    pub fn test(&self, cpu: CpuId) -> bool {
        let (word, bit) = Self::place(cpu);
        self.0[word].load(Ordering::Relaxed) & bit != 0
    }

    /// Adds `cpu`.
    pub fn set(&self, cpu: CpuId) {
        self.add(cpu, Ordering::Relaxed);
    }

    /// Adds `cpu`. Orders all that this CPU did before the new bit.
    pub fn publish(&self, cpu: CpuId) {
        self.add(cpu, Ordering::Release);
    }

    /// Removes `cpu`.
    pub fn clear(&self, cpu: CpuId) {
        self.remove(cpu, Ordering::Relaxed);
    }

    /// Removes `cpu`. Orders all that this CPU did before the cleared bit.
    pub fn retract(&self, cpu: CpuId) {
        self.remove(cpu, Ordering::Release);
    }

    /// Removes `cpu`. Returns whether it was in the set.
    pub(crate) fn take(&self, cpu: CpuId) -> bool {
        self.remove(cpu, Ordering::Relaxed)
    }

    fn add(&self, cpu: CpuId, order: Ordering) {
        let (word, bit) = Self::place(cpu);
        self.0[word].fetch_or(bit, order);
    }

    fn remove(&self, cpu: CpuId, order: Ordering) -> bool {
        let (word, bit) = Self::place(cpu);
        self.0[word].fetch_and(!bit, order) & bit != 0
    }

    /// Takes all of the first `nr_cpus` CPUs out, a word at a time, and calls `f` with each that was
    /// in. Orders what a CPU did before its [`CpuMask::publish`] before `f`.
    #[inline(always)]
    pub(crate) fn take_each(&self, nr_cpus: usize, mut f: impl FnMut(CpuId)) {
        for (word, bits) in self.0[..nr_cpus.div_ceil(64)].iter().enumerate() {
            if bits.load(Ordering::Relaxed) != 0 {
                bits_of(bits.swap(0, Ordering::Acquire)).for_each(|bit| f(CpuId::new(word * 64 + bit)));
            }
        }
    }

    /// The first word, of those with the first `nr_cpus` CPUs, that has a CPU. It may be out of
    /// date.
    #[inline(always)]
    pub(crate) fn first_word(&self, nr_cpus: usize) -> Option<usize> {
        let has_some = |&word: &usize| self.0[word].load(Ordering::Relaxed) != 0;
        if has_some(&0) {
            return Some(0);
        }
        if nr_cpus <= 64 { None } else { (1..nr_cpus.div_ceil(64)).find(has_some) }
    }

    /// Takes all CPUs of word `word` out. Orders like [`CpuMask::take_each`].
    #[inline(always)]
    pub(crate) fn take_word(&self, word: usize) -> WordOfCpus {
        WordOfCpus { word, bits: self.0[word].swap(0, Ordering::Acquire) }
    }

    /// Whether `cpu` is in the set. Orders like [`CpuMask::observe`].
    pub(crate) fn observe_one(&self, cpu: CpuId) -> bool {
        let (word, bit) = Self::place(cpu);
        self.0[word].load(Ordering::Acquire) & bit != 0
    }

    /// Calls `f` with the CPUs of each word that has some, of the first `nr_cpus` CPUs.
    #[inline(always)]
    pub(crate) fn peek_words(&self, nr_cpus: usize, mut f: impl FnMut(WordOfCpus)) {
        for (word, bits) in self.0[..nr_cpus.div_ceil(64)].iter().enumerate() {
            let bits = bits.load(Ordering::Relaxed);
            if bits != 0 {
                f(WordOfCpus { word, bits });
            }
        }
    }

    /// A copy of the first `nr_cpus` CPUs of the set. It may be out of date.
    pub fn peek(&self, nr_cpus: usize) -> CpuSet {
        self.copy(nr_cpus, Ordering::Relaxed)
    }

    /// A copy of the first `nr_cpus` CPUs of the set. Orders what each CPU did before it
    /// changed its bit by [`CpuMask::publish`] or [`CpuMask::retract`] before what
    /// follows here.
    pub fn observe(&self, nr_cpus: usize) -> CpuSet {
        self.copy(nr_cpus, Ordering::Acquire)
    }

    /// Whether `me` is in the set, and whether another of the first `nr_cpus` CPUs is. Orders like
    /// [`CpuMask::observe`].
    #[inline(always)]
    pub(crate) fn observe_sides(&self, nr_cpus: usize, me: CpuId) -> (bool, bool) {
        let (_, bit) = Self::place(me);
        if nr_cpus > 64 {
            return self.observe_sides_of_many(nr_cpus, me);
        }
        let bits = self.0[0].load(Ordering::Acquire);
        (bits & bit != 0, bits & !bit != 0)
    }

    #[inline(never)]
    fn observe_sides_of_many(&self, nr_cpus: usize, me: CpuId) -> (bool, bool) {
        let set = self.observe(nr_cpus);
        (set.contains(me), !set.without(me).is_empty())
    }

    fn copy(&self, nr_cpus: usize, order: Ordering) -> CpuSet {
        let mut set = CpuSet::EMPTY;
        for word in 0..nr_cpus.div_ceil(64) {
            set.0[word] = self.0[word].load(order);
        }
        set
    }

    /// Whether none of the first `nr_cpus` CPUs is in the set. Orders like
    /// [`CpuMask::observe`].
    pub(crate) fn observe_empty(&self, nr_cpus: usize) -> bool {
        let is_empty = |word: &AtomicU64| word.load(Ordering::Acquire) == 0;
        is_empty(&self.0[0]) && (nr_cpus <= 64 || self.0[1..nr_cpus.div_ceil(64)].iter().all(is_empty))
    }

    /// Makes the set equal to `set`. Only for masks that no other CPU changes meanwhile.
    pub(crate) fn store(&self, set: &CpuSet, nr_cpus: usize) {
        for word in 0..nr_cpus.div_ceil(64) {
            self.0[word].store(set.0[word], Ordering::Relaxed);
        }
    }

    /// Makes the set those of the first `nr_cpus` CPUs in `all` for which `wanted` says so. Only
    /// for masks that no other CPU changes meanwhile. Orders like [`CpuMask::observe`] of `all`.
    #[inline(always)]
    pub(crate) fn store_those(&self, nr_cpus: usize, all: &CpuMask, wanted: impl Fn(CpuId) -> bool) {
        for (word, (to, all)) in self.0.iter().zip(&all.0).take(nr_cpus.div_ceil(64)).enumerate() {
            let those =
                bits_of(all.load(Ordering::Acquire)).filter(|&bit| wanted(CpuId::new(word * 64 + bit)));
            to.store(those.fold(0, |bits, bit| bits | 1 << bit), Ordering::Relaxed);
        }
    }
}

/// A set of CPUs as a plain value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuSet([u64; WORDS]);

impl CpuSet {
    /// No CPU.
    pub const EMPTY: CpuSet = CpuSet([0; WORDS]);

    /// The CPUs 0 to `n - 1`.
    pub fn first(n: usize) -> CpuSet {
        let mut set = Self::EMPTY;
        (0..n).for_each(|cpu| set.insert(CpuId::new(cpu)));
        set
    }

    /// Only `cpu`.
    pub fn only(cpu: CpuId) -> CpuSet {
        let mut set = Self::EMPTY;
        set.insert(cpu);
        set
    }

    /// Adds `cpu`.
    pub fn insert(&mut self, cpu: CpuId) {
        self.0[cpu.index() / 64] |= 1 << (cpu.index() % 64);
    }

    /// Removes `cpu`.
    pub fn remove(&mut self, cpu: CpuId) {
        self.0[cpu.index() / 64] &= !(1 << (cpu.index() % 64));
    }

    /// Whether `cpu` is in the set.
    pub fn contains(&self, cpu: CpuId) -> bool {
        self.0[cpu.index() / 64] & (1 << (cpu.index() % 64)) != 0
    }

    /// How many CPUs the set has.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether the set has no CPU.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    /// The CPUs in both sets.
    pub fn and(&self, other: &CpuSet) -> CpuSet {
        CpuSet(core::array::from_fn(|i| self.0[i] & other.0[i]))
    }

    /// The set without `cpu`.
    pub fn without(mut self, cpu: CpuId) -> CpuSet {
        self.remove(cpu);
        self
    }

    /// The CPUs of the set in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = CpuId> {
        cpus_of(self.0.iter().copied())
    }

    /// Calls `f` with those of the first `nr_cpus` CPUs that are in the set.
    #[inline(always)]
    pub(crate) fn for_each(&self, nr_cpus: usize, mut f: impl FnMut(CpuId)) {
        for (word, &bits) in self.0[..nr_cpus.div_ceil(64)].iter().enumerate() {
            bits_of(bits).for_each(|bit| f(CpuId::new(word * 64 + bit)));
        }
    }

    /// Removes those of the first `nr_cpus` CPUs for which `keep` says no.
    #[inline(always)]
    pub(crate) fn retain(&mut self, nr_cpus: usize, mut keep: impl FnMut(CpuId) -> bool) {
        for (word, bits) in self.0[..nr_cpus.div_ceil(64)].iter_mut().enumerate() {
            bits_of(*bits)
                .filter(|bit| !keep(CpuId::new(word * 64 + bit)))
                .for_each(|bit| *bits &= !(1 << bit));
        }
    }

    /// The 64 CPUs of word `word` as bits, lowest CPU in bit 0.
    pub fn word(&self, word: usize) -> u64 {
        self.0.get(word).copied().unwrap_or(0)
    }

    /// Sets the 64 CPUs of word `word`; words beyond the last are ignored.
    pub fn set_word(&mut self, word: usize, bits: u64) {
        if let Some(slot) = self.0.get_mut(word) {
            *slot = bits;
        }
    }
}

/// The CPUs of a set's `words`, ascending.
fn cpus_of(words: impl Iterator<Item = u64>) -> impl Iterator<Item = CpuId> {
    words.enumerate().flat_map(|(word, bits)| bits_of(bits).map(move |bit| CpuId::new(word * 64 + bit)))
}

/// Some of the 64 CPUs of one word of a set.
pub(crate) struct WordOfCpus {
    word: usize,
    bits: u64,
}

impl WordOfCpus {
    /// The CPU, if it is one.
    #[inline(always)]
    pub(crate) fn lone(&self) -> Option<CpuId> {
        self.bits.is_power_of_two().then(|| CpuId::new(self.word * 64 + self.bits.trailing_zeros() as usize))
    }

    /// Calls `f` with each of them.
    #[inline(always)]
    pub(crate) fn for_each(&self, mut f: impl FnMut(CpuId)) {
        bits_of(self.bits).for_each(|bit| f(CpuId::new(self.word * 64 + bit)));
    }
}

/// The positions of the one bits of `bits`, ascending.
fn bits_of(mut bits: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        (bits != 0).then(|| {
            let bit = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            bit
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_of_a_mask() {
        for (nr_cpus, me, other) in [(4, 0, 3), (64, 63, 0), (70, 0, 66), (70, 66, 0), (70, 66, 67)] {
            let (mask, me, other) = (CpuMask::default(), CpuId::new(me), CpuId::new(other));
            let sides = || mask.observe_sides(nr_cpus, me);
            assert_eq!(sides(), (false, false));
            mask.set(other);
            assert_eq!(sides(), (false, true));
            mask.set(me);
            assert_eq!(sides(), (true, true));
            mask.clear(other);
            assert_eq!(sides(), (true, false));
        }
    }
}
