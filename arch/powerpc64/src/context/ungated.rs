//! The user registers that no bit of the MSR or FSCR guards: VRSAVE and PPR (ISA 3.0B,
//! Book I, 3.2.3; Book II, 3.1).
//!
//! A program may use them at any moment and the kernel does not see it. So they hold the
//! values of the user context that runs here, or ran last. In between the kernel leaves
//! them unchanged ([`isa::relax`] restores PPR). A switch to another user context saves
//! and loads them.

use crate::isa;
use crate::reg::spr;
use core::sync::atomic::{AtomicU64, Ordering};

/// The values of a user context that does not run. Atomic, because the CPU that switches
/// away from a context and the next one that runs it differ; `on_cpu` orders them.
#[derive(Debug)]
pub struct Ungated {
    vrsave: AtomicU64,
    ppr: AtomicU64,
}

impl Ungated {
    /// The values of a new program. PPR: priority 3, "medium low", is the normal one.
    #[must_use]
    pub const fn fresh() -> Self {
        Ungated { vrsave: AtomicU64::new(0), ppr: AtomicU64::new(3 << 50) }
    }

    /// A copy of the running user context's values (fork).
    #[must_use]
    pub fn of_running() -> Self {
        let new = Self::fresh();
        new.save();
        new
    }

    /// Saves the registers. Any context: they are those of the running user context.
    #[inline]
    pub fn save(&self) {
        self.vrsave.store(vrsave(), Ordering::Relaxed);
        self.ppr.store(isa::mfspr::<{ spr::PPR }>(), Ordering::Relaxed);
    }

    /// Loads the registers, for the user context that is about to run, or runs.
    #[inline]
    pub fn load(&self) {
        set_vrsave(self.vrsave.load(Ordering::Relaxed));
        let ppr = self.ppr.load(Ordering::Relaxed);
        // A write of PPR takes longer than a read, and few programs change it.
        if isa::mfspr::<{ spr::PPR }>() != ppr {
            // SAFETY: a thread's priority among those of its core, and nothing else.
            unsafe { isa::mtspr::<{ spr::PPR }>(ppr) };
        }
    }
}

/// VRSAVE of the user context that runs.
#[inline]
#[must_use]
pub fn vrsave() -> u64 {
    isa::mfspr::<{ spr::VRSAVE }>()
}

/// Sets VRSAVE of the user context that runs.
#[inline]
pub fn set_vrsave(value: u64) {
    // SAFETY: a number that the hardware keeps for programs.
    unsafe { isa::mtspr::<{ spr::VRSAVE }>(value) };
}
