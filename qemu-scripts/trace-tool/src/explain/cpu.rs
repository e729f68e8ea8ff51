//! What a CPU had loaded, and why.

use trace_format::Mm;

use super::moved;
use crate::events::Trace;
use crate::story::{Story, Stretch};

/// So many stretches have a line, the last ones.
const MOST: usize = 60;

/// What `cpu` had loaded, stretch by stretch.
///
/// # Errors
/// The machine has no such CPU.
pub fn explain_cpu(trace: &Trace, story: &Story, cpu: &str) -> Result<String, String> {
    let number = cpu.parse().ok().filter(|&number: &usize| number < trace.cpus);
    let Some(number) = number else {
        let all =
            if trace.cpus == 1 { "CPU 0 alone".into() } else { format!("CPUs 0 to {}", trace.cpus - 1) };
        return Err(format!("there is no CPU {cpu}; the machine has {all}"));
    };
    let stretches: Vec<_> = story.stretches.iter().filter(|stretch| stretch.cpu == number).collect();
    let (lazy, told) = (stretches.iter().filter(|stretch| stretch.lazy).count(), stretches.len().min(MOST));
    let mut lines = vec![format!(
        "CPU {number}, policy {}: {} stretches of one address space, {lazy} of them lazy.",
        trace.policy_name(),
        stretches.len()
    )];
    if told < stretches.len() {
        lines.push(format!("The last {told}:"));
    }
    lines.extend(stretches[stretches.len() - told..].iter().map(|stretch| line(trace, story, stretch)));
    lines.push(String::new());
    Ok(lines.join("\n"))
}

fn line(trace: &Trace, story: &Story, stretch: &Stretch) -> String {
    let at = |time| format!("{:.2}", trace.us(time));
    let until = stretch.to.map_or("the end".into(), |to| format!("{} µs", at(to)));
    let tasks = tasks(trace, story, stretch);
    let what = match (stretch.mm == Mm::INIT.0, stretch.lazy) {
        (true, _) => format!("init_mm, nothing borrowed, while {tasks} ran"),
        (_, true) => format!("lazy on {} while {tasks} ran", Mm(stretch.mm)),
        _ => format!("{}, owned by {tasks}", Mm(stretch.mm)),
    };
    let then = stretch
        .moved
        .map_or(String::new(), |why| format!("; then it {}", moved(trace, Some(why)).trim_end_matches(',')));
    format!("{} to {until}: {what}{then}.", at(stretch.from))
}

/// The tasks that ran meanwhile, three at most. Where the address space is owned, its owners; elsewhere, tasks
/// that own none: the next task is there for a moment before it loads its own.
fn tasks(trace: &Trace, story: &Story, stretch: &Stretch) -> String {
    let end = stretch.to.unwrap_or(u64::MAX);
    let meanwhile = |ran: &&crate::story::Ran| {
        ran.cpu == stretch.cpu && ran.from < end && ran.to.is_none_or(|to| to > stretch.from)
    };
    let own = stretch.mm != Mm::INIT.0 && !stretch.lazy;
    let fits = |tid: u32| {
        let mut uses = story.uses.iter().filter(|used| used.tid == tid && used.from <= end);
        match own {
            true => uses.any(|used| used.mm == stretch.mm),
            false => uses.all(|used| used.to.is_some_and(|to| to <= stretch.from)),
        }
    };
    let mut names: Vec<String> = Vec::new();
    for ran in story.ran.iter().filter(meanwhile).filter(|ran| fits(ran.tid)) {
        let name = trace.task(ran.tid);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    match names.len() {
        0 => "a task".into(),
        1 => names.remove(0),
        n if n > 3 => format!("{}, {} and {} others", names[0], names[1], n - 2),
        n => format!("{} and {}", names[..n - 1].join(", "), names[n - 1]),
    }
}
