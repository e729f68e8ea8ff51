//! What a test expects of each policy: the one table.
//!
//! A test asks the ledger of the policy that it runs under, and names no policy. A
//! further policy is a row here.

use crate::Config;
use crate::lazy_tlb::Policy;

/// The facts about a policy from which a test's counts follow.
#[derive(Clone, Copy, Debug)]
pub struct Ledger {
    policy: Policy,
    /// A kernel thread stays on the mm before it: the CPU is lazy on it.
    pub borrows: bool,
    /// A borrow is a unit of `mm_count`.
    pub counts: bool,
    /// An mm without users lives on while CPUs borrow it.
    pub lingers: bool,
    /// The final flush of an exit sends the lazy CPUs away, by IPI.
    pub kicks: bool,
    /// The last drop sends away the CPUs that still borrow the mm: other CPUs by IPI, its
    /// own directly.
    pub shoots: bool,
    /// A kernel thread's use of an mm holds a unit of `mm_users`, not of `mm_count`.
    pub uses: bool,
    /// A flush of pages leaves out the CPUs that are lazy.
    pub spares: bool,
    /// A task names what is loaded while it runs.
    pub names: bool,
    /// After the last drop the mm waits until every CPU has left it.
    pub waits: bool,
}

const fn row(
    policy: Policy,
    [borrows, counts, lingers, kicks, shoots, uses, spares, names, waits]: [u8; 9],
) -> Ledger {
    Ledger {
        policy,
        borrows: borrows != 0,
        counts: counts != 0,
        lingers: lingers != 0,
        kicks: kicks != 0,
        shoots: shoots != 0,
        uses: uses != 0,
        spares: spares != 0,
        names: names != 0,
        waits: waits != 0,
    }
}

#[rustfmt::skip]
const LEDGERS: [Ledger; Policy::ALL.len()] = [
    //                       borrows, counts, lingers, kicks, shoots, uses, spares, names, waits
    row(Policy::Eager,      [0,       0,      0,       0,     0,      0,    0,      1,     0]),
    row(Policy::Refcount,   [1,       1,      1,       0,     0,      0,    0,      1,     0]),
    row(Policy::Shootdown,  [1,       0,      0,       1,     1,      0,    0,      1,     0]),
    row(Policy::Hazard,     [1,       0,      0,       0,     1,      0,    0,      1,     0]),
    row(Policy::Evict,      [1,       0,      0,       1,     0,      1,    0,      1,     0]),
    row(Policy::Generation, [1,       0,      0,       1,     1,      0,    1,      1,     0]),
    row(Policy::Loaded,     [1,       0,      0,       1,     1,      0,    0,      0,     0]),
    row(Policy::Quiescent,  [1,       0,      1,       0,     0,      0,    0,      1,     1]),
];

impl Ledger {
    /// The row of `policy`.
    ///
    /// # Panics
    /// If the policy has no row.
    pub fn of(policy: Policy) -> Ledger {
        LEDGERS.into_iter().find(|row| row.policy == policy).expect("a policy without a row in the ledger")
    }

    /// The row of the policy in force, without the eviction that an option leaves out.
    ///
    /// # Panics
    /// If the policy has no row.
    pub fn with(config: &Config) -> Ledger {
        let row = Ledger::of(config.policy);
        Ledger { kicks: row.kicks && (config.exit_kick || !row.shoots), ..row }
    }

    /// `n` if the policy borrows, else 0.
    pub fn borrowed<T: Default>(&self, n: T) -> T {
        when(self.borrows, n)
    }

    /// `n` if borrows are counted, else 0.
    pub fn counted<T: Default>(&self, n: T) -> T {
        when(self.counts, n)
    }

    /// `n` if an mm lives on while it is borrowed, else 0.
    pub fn lingering<T: Default>(&self, n: T) -> T {
        when(self.lingers, n)
    }

    /// `n` if an exit evicts lazy CPUs, else 0.
    pub fn kicked<T: Default>(&self, n: T) -> T {
        when(self.kicks, n)
    }

    /// `n` if the last drop shoots, else 0.
    pub fn shot<T: Default>(&self, n: T) -> T {
        when(self.shoots, n)
    }

    /// `n` if an exit evicts lazy CPUs or the last drop shoots them, else 0.
    pub fn sent_away<T: Default>(&self, n: T) -> T {
        when(self.kicks || self.shoots, n)
    }

    /// `n` if the last drop shoots and no exit's eviction comes before it, else 0.
    pub fn shot_unkicked<T: Default>(&self, n: T) -> T {
        when(self.shoots && !self.kicks, n)
    }
}

fn when<T: Default>(fact: bool, n: T) -> T {
    if fact { n } else { T::default() }
}
