//! The lane of a CPU: words, calls, what is loaded, the task, and a tick for each event.

use trace_format::{Kind, Mm, Operation, Why};

use super::Scene;
use super::canvas::{Canvas, INK, SOFT, colour};
use super::flags::{self, Flag};
use crate::events::Event;
use crate::story::{Moved, Stretch};

/// Heights, in pixels.
const CALL: f64 = 6.0;
const BAR: f64 = 24.0;
const TASK: f64 = 14.0;
const TICK: f64 = 6.0;
const GAP: f64 = 16.0;
/// The width in which the pointer finds an event.
const CELL: f64 = 4.0;
/// The most events that it names at once.
const LINES: usize = 10;

/// A lane.
pub struct Lane {
    /// Its CPU.
    pub cpu: usize,
    flags: Vec<Flag>,
    rows: usize,
    /// The upper edge of the row of calls.
    top: f64,
}

impl Lane {
    /// Its flags, without a place.
    pub fn new(scene: &Scene, cpu: usize) -> Lane {
        let flag = |event: &&Event| {
            let (rank, words) = flags::words(&event.record.body)?;
            let (x, title, mm) = (scene.x(event.record.time), scene.trace.line(event), event.record.body.mm);
            Some(Flag { x, words, rank, row: None, title: title.trim().into(), mm })
        };
        let mut flags: Vec<Flag> =
            scene.events.iter().filter(|event| event.cpu == cpu).filter_map(flag).collect();
        let rows = flags::arrange(&mut flags);
        Lane { cpu, flags, rows, top: 0.0 }
    }

    /// Puts it below `y`, and returns its lower edge.
    pub fn place(&mut self, y: f64) -> f64 {
        self.top = y + self.rows as f64 * flags::ROW + 6.0;
        self.top + CALL + BAR + TASK + TICK + GAP
    }

    /// Where arrows begin and end.
    pub fn calls_y(&self) -> f64 {
        self.top + CALL / 2.0
    }

    /// Draws it.
    pub fn draw(&self, scene: &Scene, canvas: &mut Canvas) {
        let bar = self.top + CALL;
        canvas.text(20.0, bar + 17.0, 14.0, INK, "start", true, &format!("CPU {}", self.cpu));
        self.figures(scene, canvas, bar + BAR + 11.0);
        for stretch in scene.stretches().filter(|stretch| stretch.cpu == self.cpu) {
            self.loaded(scene, canvas, stretch, bar);
        }
        self.tasks(scene, canvas, bar + BAR);
        self.calls(scene, canvas);
        self.ticks(scene, canvas, bar + BAR + TASK);
    }

    /// Below its name: what it did in the window.
    fn figures(&self, scene: &Scene, canvas: &mut Canvas, y: f64) {
        let count = |kind| {
            scene
                .events
                .iter()
                .filter(|event| event.cpu == self.cpu && event.record.body.kind == kind)
                .count()
        };
        let loads = count(Kind::Load);
        let text = format!("{loads} load{}", if loads == 1 { "" } else { "s" });
        canvas.text(20.0, y, 11.0, SOFT, "start", false, &text);
    }

    fn loaded(&self, scene: &Scene, canvas: &mut Canvas, stretch: &Stretch, y: f64) {
        let Some((from, to)) = scene.ends(stretch.from, stretch.to) else { return };
        let mm = Mm(stretch.mm).to_string();
        let how = match (stretch.mm == Mm::INIT.0, stretch.lazy) {
            (true, _) => "loaded: nothing is borrowed".into(),
            (_, true) => {
                format!("borrowed: lazy{}", stretch.moved.map_or(String::new(), |why| until(scene, why)))
            }
            _ => "owned by the task that runs".into(),
        };
        let end = stretch.to.map_or("the end".into(), |to| scene.at(to));
        let title = format!("CPU {}: {mm} {how}\n{} to {end}", self.cpu, scene.at(stretch.from));
        let fill = scene.colour(stretch.mm);
        let lazy = format!("{mm} lazy");
        let words: &[&str] = if stretch.lazy { &[&lazy, &mm] } else { &[&mm] };
        canvas.titled(&title, |canvas| canvas.bar((from, y), (to - from, BAR), &fill, stretch.lazy, words));
    }

    fn tasks(&self, scene: &Scene, canvas: &mut Canvas, y: f64) {
        for ran in scene.story.ran.iter().filter(|ran| ran.cpu == self.cpu) {
            let Some((from, to)) = scene.ends(ran.from, ran.to) else { continue };
            let (task, fill) = (scene.trace.task(ran.tid), if ran.tid == 0 { "#ffffff" } else { "#e6eaef" });
            let title = format!("CPU {} runs {task}, {} on", self.cpu, scene.at(ran.from));
            canvas.titled(&title, |canvas| {
                canvas.bar((from, y), (to - from, TASK), fill, false, &[&task]);
                canvas.line((from, y), (from, y + TASK), SOFT, 0.8, "");
            });
        }
    }

    /// Dark while a call of another CPU runs here, pale while this CPU waits for one of its own.
    fn calls(&self, scene: &Scene, canvas: &mut Canvas) {
        for call in &scene.story.calls {
            let what = format!("{} {}", call.asks.map_or("call", Operation::name), Mm(call.mm));
            if let (true, Some(posted)) = (call.by == self.cpu, call.posted)
                && let Some((from, to)) = scene.ends(posted, call.done)
            {
                let title = format!("CPU {} waits for its call: {what}, {}", self.cpu, scene.at(posted));
                canvas.titled(&title, |canvas| {
                    canvas.bar((from, self.top), (to - from, CALL), "#aab4c0", false, &[])
                });
            }
            for leg in call.legs.iter().filter(|leg| leg.to == self.cpu) {
                let Some((from, to)) = leg.taken.and_then(|taken| scene.ends(taken, leg.answered)) else {
                    continue;
                };
                let title = format!("CPU {} does for CPU {}: {what}", self.cpu, call.by);
                canvas.titled(&title, |canvas| {
                    canvas.bar((from, self.top), (to - from, CALL), INK, false, &[])
                });
            }
        }
    }

    /// The pointer finds all events of a cell at once: ticks that lie over one another would hide all but the last.
    fn ticks(&self, scene: &Scene, canvas: &mut Canvas, y: f64) {
        let here: Vec<_> = scene.events.iter().copied().filter(|event| event.cpu == self.cpu).collect();
        let cell = |event: &Event| (scene.x(event.record.time) / CELL).floor();
        for events in here.chunk_by(|one, other| cell(one) == cell(other)) {
            let lines: Vec<_> = events.iter().map(|event| scene.trace.line(event).trim().into()).collect();
            canvas.titled(&at_most(lines), |canvas| {
                canvas.room((cell(events[0]) * CELL, y), (CELL, TICK + 4.0));
                for x in events.iter().map(|event| scene.x(event.record.time)) {
                    canvas.line((x, y + 1.0), (x, y + 1.0 + TICK), SOFT, 1.4, "");
                }
            });
        }
    }

    /// Draws its flags, over the arrows.
    pub fn words(&self, scene: &Scene, canvas: &mut Canvas) {
        for flag in &self.flags {
            let fill = colour(scene.colours.get(&flag.mm).copied());
            canvas.titled(&flag.title, |canvas| {
                if let Some(row) = flag.row {
                    let base = self.top - 4.0 - row as f64 * flags::ROW;
                    canvas.line((flag.x, base - 9.0), (flag.x, self.top + CALL), SOFT, 0.8, "");
                    canvas.text(flag.x + 3.0, base, flags::SIZE, INK, "start", false, &flag.words);
                }
                canvas.dot(flag.x, self.top + CALL, &fill);
            });
        }
    }
}

/// Lines for the pointer. Browsers cut off what is much longer.
fn at_most(mut lines: Vec<String>) -> String {
    if lines.len() > LINES {
        let more = lines.split_off(LINES - 1).len();
        lines.push(format!("and {more} more: a smaller window (FROM=, TO=) draws them apart"));
    }
    lines.join("\n")
}

/// What ended a borrow, as the end of a sentence.
fn until(scene: &Scene, why: Moved) -> String {
    match why {
        Moved::Back(tid) => format!(" until {} runs again", scene.trace.task(tid)),
        Moved::On(tid, mm) => format!(" until {} of {} runs", scene.trace.task(tid), Mm(mm)),
        Moved::Takes(mm) => format!(" until it takes {}", Mm(mm)),
        Moved::Left(why, by) => {
            let by = by.map_or("it".into(), |by| format!("CPU {by}"));
            match why {
                Why::Shoot => format!(" until {by} shoots at the last drop"),
                Why::LetGo => format!(" until {by} finds no free PID"),
                Why::Kick => format!(" until {by} kicks for an exit"),
                Why::Trim => format!(" until {by} trims the mask"),
                Why::Offline => " until it goes offline".into(),
                Why::Idle => " until it has been idle for long".into(),
                Why::Switch | Why::Takes | Why::Policy => String::new(),
            }
        }
    }
}
