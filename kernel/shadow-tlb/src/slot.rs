//! A PID, free or in use: its [`Shadow`] lives as long as its mm.
//!
//! When a PID is freed no holder has anything of it, so nothing need be remembered until the
//! PID is handed out again. So the oracle's memory grows with the number of address spaces, not
//! with the number of PIDs.

use alloc::boxed::Box;

use kcore::cpu::CpuId;
use kcore::event::Stamp;

use crate::{Holder, Shadow, Subject, Violation};

/// A PID.
#[derive(Default)]
pub struct Slot {
    /// Where the clock of the last shadow stood. The next shadow's clock goes on from there.
    /// Else the end of an old flush would look like one of its own.
    clock: u64,
    shadow: Option<Box<Shadow>>,
}

impl Slot {
    /// What may be cached of the PID; none while it is free.
    pub fn shadow(&mut self) -> Option<&mut Shadow> {
        self.shadow.as_deref_mut()
    }

    /// The process-table entry is about to be set, on a machine with `nr_cpus` CPUs:
    /// the PID is handed out.
    ///
    /// # Errors
    /// See [`Shadow::set_entry`].
    pub fn set_entry(&mut self, cpu: CpuId, nr_cpus: usize) -> Result<(), Violation> {
        let clock = self.clock;
        self.shadow.get_or_insert_with(|| Box::new(Shadow::new(nr_cpus, clock))).set_entry(cpu)
    }

    /// [`Shadow::load`], of a PID that may be free.
    ///
    /// # Errors
    /// The PID is free; else see [`Shadow::load`].
    pub fn load(&mut self, cpu: CpuId, unflushed: bool) -> Result<(), Violation> {
        let Some(shadow) = &mut self.shadow else {
            let (since, removed) = (Stamp::FIRST, Stamp::new(self.clock));
            return Err(Violation {
                subject: Subject::NoMm,
                holder: Holder::Cpu(cpu),
                held: None,
                since,
                removed,
            });
        };
        shadow.load(cpu, unflushed)
    }

    /// The root and the PID are about to be freed.
    ///
    /// # Errors
    /// See [`Shadow::free_pid`].
    pub fn free(&mut self, cpu: CpuId) -> Result<(), Violation> {
        if let Some(shadow) = &mut self.shadow {
            shadow.free_pid(cpu)?;
            self.clock = shadow.clock;
            self.shadow = None;
        }
        Ok(())
    }
}
