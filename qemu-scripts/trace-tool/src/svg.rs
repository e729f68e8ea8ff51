//! The timeline: a lane for each CPU, a bar for each address space.

mod arrows;
mod canvas;
mod flags;
mod lane;
mod legend;
mod lives;
mod window;

pub use window::{Asked, Window};

use std::collections::HashMap;

use trace_format::Mm;

use crate::events::{Event, Trace};
use crate::story::{Story, Stretch};
use canvas::{Canvas, INK, LEFT, PLOT, RIGHT, SOFT};
use lane::Lane;

/// The most events that a picture shows.
const MOST: usize = 20_000;
/// Up to so many CPUs have a lane even if nothing happens there.
const ALL_LANES: usize = 8;

/// What every part of the picture needs.
struct Scene<'a> {
    trace: &'a Trace,
    story: &'a Story,
    window: &'a Window,
    events: Vec<&'a Event>,
    /// The address spaces of the picture, by their number of colour.
    colours: HashMap<u64, usize>,
}

impl Scene<'_> {
    /// The place of a time, in pixels.
    fn x(&self, time: u64) -> f64 {
        let time = time.clamp(self.window.from, self.window.to) - self.window.from;
        LEFT + PLOT * time as f64 / (self.window.to - self.window.from).max(1) as f64
    }

    /// Both ends of a stretch of time, in pixels. None if the window has nothing of it.
    fn ends(&self, from: u64, to: Option<u64>) -> Option<(f64, f64)> {
        let to = to.unwrap_or(self.story.span.1);
        (from <= self.window.to && to >= self.window.from).then(|| (self.x(from), self.x(to)))
    }

    /// A time as text.
    fn at(&self, time: u64) -> String {
        format!("{:.2} µs", self.trace.us(time))
    }

    fn colour(&self, mm: u64) -> String {
        canvas::colour(self.colours.get(&mm).copied())
    }

    fn stretches(&self) -> impl Iterator<Item = &Stretch> {
        self.story.stretches.iter().filter(|stretch| self.ends(stretch.from, stretch.to).is_some())
    }
}

/// Draws the window.
///
/// # Errors
/// It has no event, or too many.
pub fn draw(trace: &Trace, story: &Story, window: &Window) -> Result<String, String> {
    let inside = |event: &&Event| (window.from..=window.to).contains(&event.record.time);
    let events: Vec<&Event> = trace.events.iter().filter(inside).collect();
    match events.len() {
        0 => return Err("the window has no event".into()),
        count if count > MOST => {
            return Err(format!("the window has {count} events, and a picture shows {MOST} at most"));
        }
        _ => {}
    }
    let mut scene = Scene { trace, story, window, events, colours: HashMap::new() };
    scene.colours = colours(&scene);
    let lanes = lanes(&scene);
    let mut canvas = Canvas::default();
    head(&scene, &mut canvas, lanes.len());
    let mut top = 74.0;
    let mut placed = Vec::new();
    for mut lane in lanes {
        top = lane.place(top);
        placed.push(lane);
    }
    let axis = top + 4.0;
    grid(&scene, &mut canvas, 70.0, axis);
    arrows::draw(&scene, &mut canvas, &placed, true);
    for lane in &placed {
        lane.draw(&scene, &mut canvas);
    }
    arrows::draw(&scene, &mut canvas, &placed, false);
    for lane in &placed {
        lane.words(&scene, &mut canvas);
    }
    let end = lives::draw(&scene, &mut canvas, axis + 26.0);
    let end = legend::draw(&mut canvas, end + 14.0);
    let title = format!("What each CPU has loaded: {}", window.why);
    Ok(canvas.finish(LEFT + PLOT + RIGHT, end, &title))
}

/// A lane for each CPU on which something happens, and for all if they are few.
fn lanes(scene: &Scene) -> Vec<Lane> {
    let busy =
        |cpu: &usize| scene.trace.cpus <= ALL_LANES || scene.events.iter().any(|event| event.cpu == *cpu);
    (0..scene.trace.cpus).filter(busy).map(|cpu| Lane::new(scene, cpu)).collect()
}

/// A colour for each address space, in the order of their first appearance.
fn colours(scene: &Scene) -> HashMap<u64, usize> {
    let mut found = HashMap::new();
    let shown = scene.stretches().map(|stretch| stretch.mm);
    for mm in shown.chain(scene.events.iter().map(|event| event.record.body.mm)) {
        let next = found.len();
        if mm != 0 && mm != Mm::INIT.0 && scene.story.life(mm).is_some() {
            found.entry(mm).or_insert(next);
        }
    }
    found
}

/// Title and subtitle.
fn head(scene: &Scene, canvas: &mut Canvas, lanes: usize) {
    let (trace, window) = (scene.trace, scene.window);
    canvas.text(
        20.0,
        30.0,
        17.0,
        INK,
        "start",
        true,
        &format!("policy {}: {}", trace.policy_name(), window.why),
    );
    let hidden = trace.cpus - lanes;
    let rest = if hidden > 0 {
        format!("; {hidden} CPUs on which nothing happens have no lane")
    } else {
        String::new()
    };
    let line = format!(
        "{:.2} to {:.2} µs, {} events on {} CPUs{rest}",
        trace.us(window.from),
        trace.us(window.to),
        scene.events.len(),
        trace.cpus
    );
    canvas.text(20.0, 49.0, 12.0, SOFT, "start", false, &line);
}

/// Vertical lines at round times, and the times below.
fn grid(scene: &Scene, canvas: &mut Canvas, top: f64, bottom: f64) {
    let (from, to) = (scene.trace.us(scene.window.from), scene.trace.us(scene.window.to));
    let raw = ((to - from) / 10.0).max(0.001);
    let power = 10_f64.powf(raw.log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].map(|by| by * power).into_iter().find(|step| *step >= raw).unwrap_or(raw);
    let digits = (-step.log10().floor()).max(0.0) as usize;
    let mut n = (from / step).ceil();
    while n * step <= to {
        let x = LEFT + PLOT * (n * step - from) / (to - from);
        canvas.line((x, top), (x, bottom), "#d9dee5", 1.0, "");
        canvas.text(x, bottom + 14.0, 11.0, SOFT, "middle", false, &format!("{:.digits$}", n * step));
        n += 1.0;
    }
    canvas.text(LEFT + PLOT + RIGHT - 20.0, bottom + 14.0, 11.0, SOFT, "end", false, "µs since boot");
}

#[cfg(test)]
mod tests;
