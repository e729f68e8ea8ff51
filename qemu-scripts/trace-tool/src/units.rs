//! Times, tasks and address spaces as people read them.

use kcore::lazy_tlb::Policy;
use trace_format::Mm;

use crate::events::Trace;
use crate::story::Story;

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

/// Reads the name of an address space: its slot, and its generation unless the name is that of the slot alone.
fn parse_mm(text: &str) -> Option<(u32, Option<u32>)> {
    if text == "init_mm" {
        return Some((Mm::INIT.0 as u32, None));
    }
    match text.strip_prefix("mm").unwrap_or(text).split_once('.') {
        Some((slot, generation)) => Some((slot.parse().ok()?, Some(generation.parse().ok()?))),
        None => Some((text.strip_prefix("mm").unwrap_or(text).parse().ok()?, None)),
    }
}

/// The address spaces that a name may mean, as words: `mm3.1` and `init_mm` one, also one that the trace does
/// not have; `mm3` and `3` those of the trace that lived in that slot, the last one first.
///
/// # Errors
/// The text is no name.
pub fn named(story: &Story, text: &str) -> Result<Vec<u64>, String> {
    match parse_mm(text) {
        Some((slot, Some(generation))) => Ok(vec![u64::from(generation) << 32 | u64::from(slot)]),
        Some((slot, None)) if slot == Mm::INIT.0 as u32 => Ok(vec![Mm::INIT.0]),
        Some((slot, None)) => {
            let mut found: Vec<u64> =
                story.lives.iter().map(|life| life.mm).filter(|&mm| mm as u32 == slot).collect();
            found.sort_unstable_by_key(|&mm| core::cmp::Reverse(mm));
            Ok(found)
        }
        None => Err(format!(
            "{text} is no address space; they are written mm3.1, or mm3 for the last in that slot"
        )),
    }
}
