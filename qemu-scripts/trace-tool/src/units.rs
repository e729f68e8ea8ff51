//! Times, tasks and address spaces as people read them.

use kcore::lazy_tlb::Policy;
use trace_format::Mm;

use crate::events::Trace;

impl Trace {
    /// The policy's name.
    pub fn policy_name(&self) -> &'static str {
        Policy::ALL.get(self.policy as usize).map_or("unknown", |policy| policy.name())
    }

    /// Ticks as microseconds.
    pub fn us(&self, ticks: u64) -> f64 {
        ticks as f64 * 1e6 / self.ticks as f64
    }

    /// Microseconds as ticks.
    pub fn from_us(&self, us: f64) -> u64 {
        (us * self.ticks as f64 / 1e6).round() as u64
    }

    /// A task as `demo-6`; task 0 is the idle task of the CPU.
    pub fn task(&self, tid: u32) -> String {
        match self.names.get(&tid) {
            _ if tid == 0 => "idle".into(),
            Some(name) => format!("{name}-{tid}"),
            None => format!("task {tid}"),
        }
    }
}

/// Reads `mm3.1`, or `init_mm`: the address space as a word.
pub fn parse_mm(text: &str) -> Option<u64> {
    if text == "init_mm" {
        return Some(Mm::INIT.0);
    }
    let (slot, generation) = text.strip_prefix("mm")?.split_once('.')?;
    let (slot, generation): (u32, u32) = (slot.parse().ok()?, generation.parse().ok()?);
    Some(u64::from(generation) << 32 | u64::from(slot))
}
