//! Spinning, with a limit and a message.
//!
//! A lock holder here runs a few hundred instructions with preemption off, so
//! twenty seconds mean a deadlock or a lost hand-off even on a crowded host.

use arch::{isa, timer};

use crate::limits;

/// Turns without a pause. A holder that runs is done by then.
const TURNS_UNPAUSED: u32 = 64;
/// Turns between two looks at the clock.
const TURNS_PER_CLOCK_READ: u32 = 4096;

/// One wait by spinning. Call [`SpinWait::turn`] each time round the loop.
pub(crate) struct SpinWait {
    what: &'static str,
    turns: u32,
    since_tb: u64,
}

impl SpinWait {
    /// A wait for `what`, the name in the panic if it never ends.
    #[inline(always)]
    pub(crate) const fn new(what: &'static str) -> Self {
        Self { what, turns: 0, since_tb: 0 }
    }

    /// One more turn.
    ///
    /// # Panics
    /// When the wait has lasted twenty seconds ([`limits::spin_ms`]).
    #[cold]
    pub(crate) fn turn(&mut self) {
        self.turns = self.turns.wrapping_add(1);
        if self.turns < TURNS_UNPAUSED {
            return;
        }
        // Where several virtual CPUs share a host's CPU, the hint also hands that to the CPU we
        // wait for.
        isa::relax();
        if self.turns.is_multiple_of(TURNS_PER_CLOCK_READ) {
            self.check_clock();
        }
    }

    fn check_clock(&mut self) {
        let now = timer::now_tb();
        if self.since_tb == 0 {
            self.since_tb = now;
        }
        let waited_ms = (now - self.since_tb) / (timer::ticks_per_us() * 1000);
        assert!(waited_ms < limits::spin_ms(), "waited {waited_ms} ms for {}: deadlock", self.what);
    }
}
