//! The checker: what no right kernel records.
//!
//! It follows the state of each CPU, address space and cross-call through the events. What the trace
//! does not tell, because it begins too late, is unknown, and nothing is said about it.

mod calls;

use std::collections::HashMap;
use std::fmt;

use trace_format::{Body, Kind, Mm};

use crate::events::{Event, Trace};
use calls::Call;

/// Kinds of the life of an address space, in their order.
const LIFE: [Kind; 5] = [Kind::Created, Kind::Zombie, Kind::Dying, Kind::Dead, Kind::Freed];
/// The place of [`Kind::Dying`] there.
const DYING: usize = 2;

/// What is wrong with a trace.
#[derive(Debug)]
pub struct Fault {
    /// The rule that it breaks.
    pub rule: &'static str,
    /// Where, and how.
    pub text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.text)
    }
}

/// What a right trace has.
#[derive(Default, Debug)]
pub struct Checked {
    calls: usize,
    borrows: usize,
    freed: usize,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} calls, {} borrows, {} mms freed: right", self.calls, self.borrows, self.freed)
    }
}

/// What is known of a CPU. None is unknown.
#[derive(Clone, Default)]
struct Cpu {
    /// The loaded mm; 0 for none.
    loaded: Option<u64>,
    /// What was loaded before, until its `leave` comes.
    before: Option<u64>,
    /// What is borrowed; 0 where a task runs that owns what is loaded.
    borrowed: Option<u64>,
    /// Flushes that have begun here.
    flushes: HashMap<u64, usize>,
    /// When it last went offline.
    offline: Option<u64>,
    /// The number of its last call.
    call: Option<u32>,
}

struct Checker<'a> {
    trace: &'a Trace,
    cpus: Vec<Cpu>,
    /// Where in [`LIFE`] an mm is.
    life: HashMap<u64, usize>,
    /// Whether the CPU's bit is set in the mm's mask.
    masks: HashMap<(u64, usize), bool>,
    /// Units of `mm_users` and of `mm_count` of what was created.
    users: HashMap<u64, i64>,
    counts: HashMap<u64, i64>,
    /// By the CPU that posted it, and its number.
    calls: HashMap<(usize, u32), Call>,
    found: Checked,
}

/// Checks every rule but that of the counters.
///
/// # Errors
/// The first event that breaks a rule.
pub fn check(trace: &Trace) -> Result<Checked, Fault> {
    let start = match trace.is_complete() {
        true => Cpu { loaded: Some(0), ..Cpu::default() },
        false => Cpu::default(),
    };
    let mut checker = Checker {
        trace,
        cpus: vec![start; trace.cpus],
        life: HashMap::new(),
        masks: HashMap::new(),
        users: HashMap::new(),
        counts: HashMap::new(),
        calls: HashMap::new(),
        found: Checked::default(),
    };
    for event in &trace.events {
        checker
            .take(event)
            .map_err(|(rule, why)| Fault { rule, text: format!("{why}, at{}", said(trace, event)) })?;
    }
    Ok(checker.found)
}

fn said(trace: &Trace, event: &Event) -> String {
    format!(" record {} of its CPU: {}", event.number, trace.line(event).trim_start())
}

type Step = Result<(), (&'static str, String)>;

/// Fails with the rule's name unless the condition holds.
fn must(holds: bool, rule: &'static str, why: impl FnOnce() -> String) -> Step {
    if holds { Ok(()) } else { Err((rule, why())) }
}

/// Whether a value is unknown or `wanted`.
fn may_be<T: PartialEq>(known: Option<T>, wanted: T) -> bool {
    known.is_none_or(|known| known == wanted)
}

impl Checker<'_> {
    fn take(&mut self, event: &Event) -> Step {
        match event.record.body.kind {
            Kind::Switch | Kind::Borrow | Kind::End | Kind::Load | Kind::Leave | Kind::Mask | Kind::Cpu => {
                self.on_cpu(event)
            }
            Kind::Unit | Kind::Users | Kind::Count => self.of_counts(event),
            Kind::Posted | Kind::Sent | Kind::Taken | Kind::Answered | Kind::Done => self.of_call(event),
            Kind::FlushBegins | Kind::FlushLocal | Kind::FlushGlobal => self.of_flush(event),
            // What happens while a group is off is not known afterwards.
            Kind::Setting if event.record.body.sub == 0 => {
                self.cpus.fill_with(Cpu::default);
                self.life.clear();
                self.masks.clear();
                self.users.clear();
                self.counts.clear();
                self.calls.clear();
                Ok(())
            }
            kind if LIFE.contains(&kind) => self.of_life(event),
            _ => Ok(()),
        }
    }

    fn on_cpu(&mut self, event: &Event) -> Step {
        let (n, body) = (event.cpu, event.record.body);
        let (complete, eager) = (self.trace.is_complete(), self.trace.policy_name() == "eager");
        let (mm, cpu) = (body.mm, &mut self.cpus[n]);
        let loaded = cpu.loaded;
        let shown = move || format!("CPU {n} has {} loaded", Mm(loaded.unwrap_or_default()));
        match body.kind {
            Kind::Switch => {
                must(may_be(loaded, mm), "I1 switch", shown)?;
                let owns = body.sub & 3 == 0 || body.sub & 3 == 3;
                must(may_be(cpu.borrowed.map(|borrowed| borrowed == 0), owns), "I2 switch", || {
                    format!("CPU {n} borrows {}", Mm(cpu.borrowed.unwrap_or_default()))
                })?;
                cpu.borrowed = if owns { Some(0) } else { cpu.borrowed };
                cpu.loaded = Some(mm);
            }
            Kind::Borrow => {
                must(may_be(loaded, mm), "I3 borrow", shown)?;
                must(self.life.get(&mm) < Some(&DYING), "borrow of a dying mm", || Mm(mm).to_string())?;
                cpu.borrowed = Some(mm);
                self.found.borrows += 1;
            }
            Kind::End => {
                let held = match cpu.borrowed {
                    // Under eager a kernel thread leaves what the task before owned.
                    Some(0) => eager,
                    Some(borrowed) => borrowed == mm,
                    None => true,
                };
                must(held, "end of no borrow", || {
                    format!("CPU {n} borrows {}", Mm(cpu.borrowed.unwrap_or_default()))
                })?;
                // It went to `init_mm`, or a task that owns what is loaded took over.
                cpu.borrowed = loaded.map(|loaded| if loaded == Mm::INIT.0 { loaded } else { 0 });
            }
            Kind::Load => {
                must(self.life.get(&mm) < Some(&DYING), "load of a dying mm", || Mm(mm).to_string())?;
                let bit = self.masks.get(&(mm, n)).copied().or(complete.then_some(false));
                must(may_be(bit, true), "I4 load", || format!("CPU {n} is not in the mask of {}", Mm(mm)))?;
                (cpu.before, cpu.loaded) = (loaded, Some(mm));
            }
            Kind::Leave => {
                must(may_be(cpu.before, mm), "I1 leave", || {
                    format!("CPU {n} had {} loaded", Mm(cpu.before.unwrap_or_default()))
                })?;
                cpu.before = None;
            }
            Kind::Mask => {
                must(body.sub == 1 || loaded != Some(mm), "I4 mask", shown)?;
                self.masks.insert((mm, n), body.sub == 1);
            }
            _ if body.sub == 0 => {
                (cpu.loaded, cpu.borrowed) = (Some(0), None);
                cpu.offline = Some(event.record.time);
            }
            _ => cpu.borrowed = Some(Mm::INIT.0),
        }
        Ok(())
    }

    /// Counts of what was created before are unknown.
    fn of_counts(&mut self, event: &Event) -> Step {
        let Body { kind, sub, mm, .. } = event.record.body;
        let given_back = sub == 1 || sub == 2 && kind == Kind::Count;
        let (counts, rule) = match kind {
            Kind::Users => (&mut self.users, "users below 0"),
            _ => (&mut self.counts, "count below 0"),
        };
        let Some(units) = counts.get_mut(&mm) else { return Ok(()) };
        *units += if given_back { -1 } else { 1 };
        must(*units >= 0, rule, || Mm(mm).to_string())
    }

    fn of_flush(&mut self, event: &Event) -> Step {
        let (n, body) = (event.cpu, event.record.body);
        let begun = self.cpus[n].flushes.entry(body.mm).or_default();
        if body.kind == Kind::FlushBegins {
            *begun += 1;
            return Ok(());
        }
        must(*begun > 0 || !self.trace.is_complete(), "flush not begun", || {
            format!("CPU {n}, {}", Mm(body.mm))
        })?;
        *begun = begun.saturating_sub(1);
        Ok(())
    }

    fn of_life(&mut self, event: &Event) -> Step {
        let body = event.record.body;
        let (mm, stage) = (body.mm, LIFE.iter().position(|&kind| kind == body.kind).unwrap_or_default());
        must(mm != Mm::INIT.0, "I5 end of init_mm", || "init_mm ends".into())?;
        let before = self.life.insert(mm, stage);
        let known = before.is_some() || self.trace.is_complete();
        must(!known || before.map_or(0, |before| before + 1) == stage, "life out of order", || {
            let was = before.map_or("new", |before| LIFE[before].name());
            format!("{} was {was}", Mm(mm))
        })?;
        if body.kind == Kind::Zombie {
            let user = self.cpus.iter().position(|cpu| cpu.loaded == Some(mm) && cpu.borrowed == Some(0));
            must(user.is_none(), "zombie in use", || {
                format!("CPU {} runs a task of {}", user.unwrap_or_default(), Mm(mm))
            })?;
        }
        let (count, rule) = match body.kind {
            Kind::Zombie => (self.users.get(&mm), "users at the end"),
            Kind::Dying => (self.counts.get(&mm), "count at the end"),
            _ => (None, ""),
        };
        must(count.is_none_or(|&units| units == 0), rule, || {
            format!("{} units of {} are not given back", count.unwrap(), Mm(mm))
        })?;
        // The creator's unit, and that of all users together.
        if body.kind == Kind::Created && self.trace.is_complete() {
            self.users.insert(mm, 1);
            self.counts.insert(mm, 1);
        }
        if matches!(body.kind, Kind::Dead | Kind::Freed) {
            let holder = self.cpus.iter().position(|cpu| cpu.loaded == Some(mm));
            must(holder.is_none(), "I6 freed while loaded", || {
                format!("CPU {} has {} loaded", holder.unwrap_or_default(), Mm(mm))
            })?;
        }
        self.found.freed += usize::from(body.kind == Kind::Freed);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
