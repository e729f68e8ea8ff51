//! Which part of a trace a picture shows.

use trace_format::{Kind, Mm};

use crate::events::{Event, Trace};
use crate::story::{Life, Stage, Story};
use crate::units::named;

/// A stretch of time, and why it was chosen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Window {
    /// Its first tick.
    pub from: u64,
    /// Its last tick.
    pub to: u64,
    /// What it shows.
    pub why: String,
}

/// What the user asks for.
#[derive(Default, Clone, Debug)]
pub struct Asked {
    /// Its beginning in microseconds.
    pub from: Option<f64>,
    /// Its end in microseconds.
    pub to: Option<f64>,
    /// An event, `shoot` or `free:mm3.1`.
    pub around: Option<String>,
}

/// The most events of a window that the user has not measured out.
const MOST: usize = 4000;

impl Window {
    /// The window that is asked for; without a wish, that of the first end.
    ///
    /// # Errors
    /// There is nothing of this kind in the trace.
    pub fn choose(trace: &Trace, story: &Story, asked: &Asked) -> Result<Window, String> {
        let (first, last) = story.span;
        if asked.from.is_some() || asked.to.is_some() {
            let from = asked.from.map_or(first, |us| trace.from_us(us));
            let to = asked.to.map_or(last, |us| trace.from_us(us));
            return match from < to {
                true => Ok(Window { from, to, why: "a chosen part".into() }),
                false => Err("FROM is not before TO".into()),
            };
        }
        let found = match &asked.around {
            Some(around) => Self::around(trace, story, around)?,
            None => Self::first_end(trace, story),
        };
        Ok(found.narrowed(trace))
    }

    /// Without what is too much for a picture: the end stays.
    fn narrowed(self, trace: &Trace) -> Window {
        let place = |time: u64| trace.events.partition_point(|event| event.record.time < time);
        let (first, behind) = (place(self.from), place(self.to + 1));
        if behind - first <= MOST {
            return self;
        }
        Window {
            from: trace.events[behind - MOST].record.time,
            why: format!("{} (its last part)", self.why),
            ..self
        }
    }

    /// The first end of an address space on which other CPUs were lazy, or else the first end, or else all.
    fn first_end(trace: &Trace, story: &Story) -> Window {
        let mut freed: Vec<&Life> = story
            .lives
            .iter()
            .filter(|life| life.at(Stage::Freed).and(life.at(Stage::Zombie)).is_some())
            .collect();
        freed.sort_by_key(|life| life.at(Stage::Freed));
        let watched = |life: &&&Life| {
            let zombie = life.stamps[Stage::Zombie as usize];
            zombie.is_some_and(|end| {
                story.borrows(life.mm).any(|borrow| {
                    borrow.cpu != end.cpu
                        && borrow.from < end.time
                        && borrow.to.is_none_or(|to| to > end.time)
                })
            })
        };
        match freed.iter().find(watched).or(freed.first()) {
            Some(life) => Self::of_end(trace, story, life),
            None => Window { from: story.span.0, to: story.span.1, why: "the whole trace".into() },
        }
    }

    /// The end of a life, with a good part of what came before.
    fn of_end(trace: &Trace, story: &Story, life: &Life) -> Window {
        let freed = life.at(Stage::Freed).unwrap_or(story.span.1);
        let zombie = life.at(Stage::Zombie).unwrap_or(freed);
        let waits = trace.us(freed - zombie);
        let mut why = format!("the end of {}", Mm(life.mm));
        if life.at(Stage::Zombie).is_some() && life.at(Stage::Freed).is_some() {
            why += &format!(", freed {waits:.2} µs after its last user had gone");
        }
        Self::padded(trace, story, (zombie, freed), why)
    }

    fn padded(trace: &Trace, story: &Story, (begin, end): (u64, u64), why: String) -> Window {
        let length = trace.us(end - begin);
        let (before, after) = ((length * 0.6).max(10.0), (length * 0.15).max(4.0));
        let from = begin.saturating_sub(trace.from_us(before)).max(story.span.0);
        Window { from, to: (end + trace.from_us(after)).min(story.span.1).max(from + 1), why }
    }

    /// Around `KIND` or `KIND:MM`. Of several that lived in a slot the last that has such an event.
    fn around(trace: &Trace, story: &Story, text: &str) -> Result<Window, String> {
        let (name, mm) = text.split_once(':').map_or((text, None), |(name, mm)| (name, Some(mm)));
        let wanted = mm.map(|mm| named(story, mm)).transpose()?;
        let name = match name {
            "free" => "freed",
            name => name,
        };
        // Both are evictions.
        let cause = ["kick", "trim"].iter().position(|cause| *cause == name);
        let named = |kind: &&Kind| kind.name() == name || cause.is_some() && **kind == Kind::Evict;
        let Some(&kind) = Kind::ALL.iter().find(named) else {
            return Err(format!("there is no event {name}; kernel/trace/src/lib.rs lists them"));
        };
        let first = |mm: Option<u64>| {
            let fits = |event: &&Event| {
                let body = event.record.body;
                let fits = cause.is_none_or(|cause| usize::from(body.sub) == cause);
                fits && body.kind == kind && mm.is_none_or(|mm| body.mm == mm)
            };
            // A shoot or an eviction that asks nobody shows little.
            let asks = |event: &&Event| fits(event) && event.record.body.other > 0;
            let event = match kind {
                Kind::Shoot | Kind::Evict | Kind::Scan => trace.events.iter().find(asks),
                _ => None,
            };
            event.or_else(|| trace.events.iter().find(fits))
        };
        let found: Vec<&Event> = match wanted {
            Some(mms) => mms.into_iter().filter_map(|mm| first(Some(mm))).collect(),
            None => first(None).into_iter().collect(),
        };
        let mut window = match found[..] {
            [] => return Err(format!("the trace has no event {text}")),
            [event, ..] => Self::around_event(trace, story, name, event),
        };
        if found.len() > 1 {
            window.why += &format!(" ({} in that slot have such an event; it is the last)", found.len());
        }
        Ok(window)
    }

    /// Around an event that is called `name`.
    fn around_event(trace: &Trace, story: &Story, name: &str, event: &Event) -> Window {
        let (time, kind, mm) = (event.record.time, event.record.body.kind, event.record.body.mm);
        match (Stage::of(kind), story.life(mm)) {
            (Some(stage), Some(life)) if stage != Stage::Created => {
                return Self::of_end(trace, story, life);
            }
            _ => {}
        }
        let ends =
            |call: &crate::story::Call| call.by == event.cpu && call.posted.is_some_and(|at| at >= time);
        let end = story.calls.iter().find(|call| ends(call) && call.mm == mm).and_then(|call| call.done);
        let end = end.filter(|_| matches!(kind, Kind::Shoot | Kind::Evict | Kind::Scan | Kind::Posted));
        let what = if mm == 0 { name.into() } else { format!("{name} of {}", Mm(mm)) };
        Self::padded(trace, story, (time, end.unwrap_or(time)), format!("the first {what}"))
    }
}
