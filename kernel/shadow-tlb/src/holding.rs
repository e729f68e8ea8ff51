//! What one CPU, or all coprocessors together, may hold of a PID.

use kcore::event::Stamp;

use crate::Kind;

/// Moments are those of the PID's clock.
#[derive(Clone, Copy)]
pub(super) struct Holding {
    /// Until when the holder had the PID loaded: `NEVER` while it has.
    until: Stamp,
    /// By [`Kind`]: since when the holder may have some; `NEVER` if it cannot.
    since: [Stamp; 3],
    /// The newest change that the holder was spared the flush of: `FIRST` if it owes none. It is
    /// lazy, and uses no translation until it has dropped all of them.
    owed: Stamp,
}

impl Holding {
    /// Nothing.
    pub(super) const NONE: Holding =
        Holding { until: Stamp::FIRST, since: [Stamp::NEVER; 3], owed: Stamp::FIRST };

    /// Since when the holder may have something of `kind`; `NEVER` if it cannot.
    pub(super) fn since(&self, kind: Kind) -> Stamp {
        self.since[kind as usize]
    }

    pub(super) fn may_hold(&self, kind: Kind) -> bool {
        self.since(kind) != Stamp::NEVER
    }

    /// Whether the holder may have something of `kind` from before `at`, and may use it.
    pub(super) fn may_use(&self, kind: Kind, at: Stamp) -> bool {
        self.since(kind) < at && !(kind == Kind::Translation && at <= self.owed)
    }

    /// Whether the holder has yet to make a flush that it was spared.
    pub(super) fn owes(&self) -> bool {
        self.owed != Stamp::FIRST
    }

    /// The holder is spared the flush of a translation that changed at `at`.
    pub(super) fn spare(&mut self, at: Stamp) {
        if self.since(Kind::Translation) < at {
            self.owed = self.owed.max(at);
        }
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.until == Stamp::NEVER
    }

    /// From `now` on the PID is loaded and it fills what it can reach. `entry_set`:
    /// memory shows the process-table entry.
    pub(super) fn load(&mut self, entry_set: bool, now: Stamp) {
        self.until = Stamp::NEVER;
        for kind in Kind::ALL {
            if self.can_reach(kind, entry_set) {
                self.since[kind as usize] = self.since(kind).min(now);
            }
        }
    }

    /// The PID is not loaded any more. What was cached stays.
    pub(super) fn leave(&mut self, now: Stamp) {
        self.until = now;
    }

    /// Everything is dropped; nothing is refilled, since the PID is not loaded.
    pub(super) fn drop_all(&mut self) {
        (self.since, self.owed) = ([Stamp::NEVER; 3], Stamp::FIRST);
    }

    /// A flush of `dropped` kinds that began at `began` is complete. `entry_set`:
    /// the entry was, at some moment since then.
    pub(super) fn flush(&mut self, dropped: &[Kind], began: Stamp, entry_set: bool) {
        // It may have been refilled after the flush if the PID was loaded meanwhile.
        let active = self.until > began;
        for &kind in dropped {
            let refilled = active && self.can_reach(kind, entry_set);
            let since = &mut self.since[kind as usize];
            // A flush does not undo a first fill that came after it.
            if *since < began {
                *since = if refilled { began } else { Stamp::NEVER };
            }
        }
        if dropped.contains(&Kind::Translation) && self.owed < began {
            self.owed = Stamp::FIRST;
        }
    }

    /// Whether the MMU can come by things of `kind`: from memory, or through
    /// something that it has cached.
    fn can_reach(&self, kind: Kind, entry_set: bool) -> bool {
        entry_set || Kind::ALL[..kind as usize].iter().any(|&above| self.may_hold(above))
    }
}
