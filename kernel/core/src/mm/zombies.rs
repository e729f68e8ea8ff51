//! Statistics of zombies: what a way to keep borrowed mms costs in memory and PIDs.

use crate::sync::Counter;

/// The mms that have no users and are not freed yet. Every CPU writes it, at an exit.
#[derive(Default)]
pub struct Zombies {
    now: Counter,
    /// The most at a time.
    pub peak: Counter,
    /// For how long they were zombies, in ticks of the machine's clock, all together.
    pub ticks: Counter,
    /// For how long one was at most.
    pub longest: Counter,
}

impl Zombies {
    /// One more.
    pub(super) fn begins(&self) {
        self.now.add(1);
        self.peak.raise_to(self.now.get());
    }

    /// One that has been it for `ticks` is about to be freed.
    pub(super) fn ends(&self, ticks: u64) {
        self.now.sub(1);
        self.ticks.add(ticks);
        self.longest.raise_to(ticks);
    }
}
