//! Why an address space lived as long as it did, and what a CPU did, in sentences.

mod cpu;
mod end;

pub use cpu::explain_cpu;

use trace_format::{Kind, Mm, Why};

use crate::events::{Event, Trace};
use crate::story::{Gone, Hold, Life, Moved, Stage, Story, Stretch, Use};
use crate::units::named;

/// So many users are named.
const MOST: usize = 16;

/// The address space that `text` names, or without a name the last that was freed. With a line that says which
/// one it is, if the name fits several.
///
/// # Errors
/// There is none, or the text is no name.
pub fn find_mm(story: &Story, text: Option<&str>) -> Result<(u64, String), String> {
    let Some(text) = text else {
        let freed = story.lives.iter().filter(|life| life.at(Stage::Freed).is_some());
        let last = freed.max_by_key(|life| life.at(Stage::Freed));
        return last
            .map(|life| (life.mm, String::new()))
            .ok_or("the trace has no address space that is freed".into());
    };
    match named(story, text)?[..] {
        [mm] if story.life(mm).is_some() => Ok((mm, String::new())),
        [mm, _, ..] => Ok((mm, format!("{text} is {}, the last of that slot in the trace.\n", Mm(mm)))),
        _ => Err(format!("the trace has no address space {text}")),
    }
}

/// What the sentences about one address space need.
struct Told<'a> {
    trace: &'a Trace,
    story: &'a Story,
    life: &'a Life,
    lines: Vec<String>,
}

/// The life of an address space that the trace has.
///
/// # Panics
/// The trace does not have it.
pub fn explain_mm(trace: &Trace, story: &Story, mm: u64) -> String {
    let life = story.life(mm).expect("a name that was looked up");
    let mut told = Told { trace, story, life, lines: Vec::new() };
    told.beginning();
    told.users();
    told.holders();
    told.earlier_borrows();
    told.end();
    told.lines.push(String::new());
    told.lines.join("\n")
}

impl Told<'_> {
    fn say(&mut self, line: String) {
        self.lines.push(line);
    }

    fn at(&self, time: u64) -> String {
        format!("{:.2} µs", self.trace.us(time))
    }

    /// A task, if it is known.
    fn who(&self, tid: Option<u32>) -> String {
        tid.map_or("a task".into(), |tid| self.trace.task(tid))
    }

    /// Events of a kind about the address space.
    fn events(&self, kind: Kind) -> impl Iterator<Item = &Event> {
        let mm = self.life.mm;
        self.trace
            .events
            .iter()
            .filter(move |event| event.record.body.kind == kind && event.record.body.mm == mm)
    }

    fn beginning(&mut self) {
        let (mm, policy) = (Mm(self.life.mm), self.trace.policy_name());
        self.say(match self.life.stamps[Stage::Created as usize] {
            Some(made) => {
                let who = self.who(made.tid);
                format!("{mm}, policy {policy}: {who} made it on CPU {} at {}.", made.cpu, self.at(made.time))
            }
            None => format!("{mm}, policy {policy}: it was made before the trace begins."),
        });
    }

    fn users(&mut self) {
        let uses: Vec<Use> = self.story.uses.iter().filter(|used| used.mm == self.life.mm).copied().collect();
        if uses.is_empty() {
            self.say("No task ran with it.".into());
        }
        for used in uses.iter().take(MOST) {
            let (who, from) = (self.trace.task(used.tid), self.at(used.from));
            self.say(match used.to {
                Some(to) => {
                    let how = match used.gone {
                        Gone::GaveUp => "gave it up".into(),
                        Gone::Took(mm) => format!("took {}", Mm(mm)),
                        Gone::Exited => "exited".into(),
                    };
                    format!(
                        "{who} used it from {from} to {}, when it {how} on CPU {}.",
                        self.at(to),
                        used.cpu
                    )
                }
                None => format!("{who} used it from {from} on, and still does when the trace ends."),
            });
        }
        if uses.len() > MOST {
            self.say(format!("{} more tasks used it.", uses.len() - MOST));
        }
    }

    /// Others who kept it.
    fn holders(&mut self) {
        let holds: Vec<Hold> =
            self.story.holds.iter().filter(|hold| hold.mm == self.life.mm).copied().collect();
        for hold in holds.iter().take(MOST) {
            let (who, from) = (self.trace.task(hold.tid), self.at(hold.from));
            let what = if hold.of == Kind::Users { "a unit of mm_users" } else { "a reference" };
            self.say(match hold.to {
                Some((to, by)) if by == hold.tid => {
                    format!("{who} held {what} from {from} to {}.", self.at(to))
                }
                Some((to, by)) => {
                    let by = self.trace.task(by);
                    format!("{who} took {what} at {from}, which {by} gave back at {}.", self.at(to))
                }
                None if hold.of == Kind::Users => format!("{who} took {what} at {from}."),
                None => format!("{who} holds {what} from {from} on, and still does when the trace ends."),
            });
        }
        if holds.len() > MOST {
            self.say(format!("{} more references were held.", holds.len() - MOST));
        }
    }

    /// The borrows that ended while it had users, in sum.
    fn earlier_borrows(&mut self) {
        let end = self.life.at(Stage::Zombie).unwrap_or(u64::MAX);
        for cpu in 0..self.trace.cpus {
            let ended = |borrow: &&Stretch| borrow.cpu == cpu && borrow.to.is_some_and(|to| to <= end);
            let borrows: Vec<_> = self.story.borrows(self.life.mm).filter(ended).collect();
            let Some(last) = borrows.last() else { continue };
            let ticks: u64 =
                borrows.iter().map(|borrow| borrow.to.unwrap_or(borrow.from) - borrow.from).sum();
            let returns =
                borrows.iter().filter(|borrow| matches!(borrow.moved, Some(Moved::Back(_)))).count();
            let times = if borrows.len() == 1 { "once".into() } else { format!("{} times", borrows.len()) };
            let back = match returns {
                1 if borrows.len() == 1 => ", and went back to a task that uses it".into(),
                n if n == borrows.len() => ", and each time went back to a task that uses it".into(),
                0 => String::new(),
                n => format!(", and {n} of the times went back to a task that uses it"),
            };
            let last = last.to.map_or(String::new(), |to| self.at(to));
            self.say(format!(
                "CPU {cpu} was lazy on it {times} while it had users, {} in all{back}; the last time ended at {last}.",
                self.at(ticks)
            ));
        }
    }
}

/// What moved a CPU away from what it had borrowed, after "CPU 1 …".
fn moved(trace: &Trace, why: Option<Moved>) -> String {
    match why {
        None => "left it".into(),
        Some(Moved::Back(tid)) => format!("went back to {}, which uses it,", trace.task(tid)),
        Some(Moved::On(tid, mm)) => format!("went on to {} of {}", trace.task(tid), Mm(mm)),
        Some(Moved::Takes(mm)) => format!("took {}", Mm(mm)),
        Some(Moved::Left(why, by)) => left(why, by),
    }
}

/// Why a CPU went to `init_mm`, asked by another one or not.
fn left(why: Why, by: Option<usize>) -> String {
    match (why, by) {
        (Why::Shoot, Some(by)) => format!("was shot by CPU {by}"),
        (Why::Shoot, None) => "left it for its own last drop".into(),
        (Why::LetGo, Some(by)) => format!("was asked to leave by CPU {by}, which found no free PID,"),
        (Why::LetGo, None) => "left it, as it found no free PID,".into(),
        (Why::Kick, Some(by)) => format!("was kicked by CPU {by}"),
        (Why::Kick, None) => "left it for a flush of its own".into(),
        (Why::Trim, Some(by)) => format!("was sent away by CPU {by}, which trimmed the mask,"),
        (Why::Trim, None) => "left it, as its own trim was due,".into(),
        (Why::Offline, _) => "went offline".into(),
        (Why::Idle, _) => "left it, as it had been idle for long,".into(),
        (Why::Switch | Why::Takes | Why::Policy, _) => "left it".into(),
    }
}

#[cfg(test)]
mod tests;
