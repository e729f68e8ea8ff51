//! IPIs between the lanes.

use trace_format::{Kind, Mm, Operation};

use super::Scene;
use super::canvas::{Canvas, INK, SOFT};
use super::lane::Lane;

/// Attributes of the lines.
pub const SENT: &str = r#" marker-end="url(#head)""#;
/// … of an answer.
pub const ANSWERED: &str = r#" stroke-dasharray="5 3" marker-end="url(#head)""#;
/// … of an IPI that asks for nothing but a look at the run queue.
pub const RESCHED: &str = r#" stroke-dasharray="2 3" marker-end="url(#soft)""#;

/// What makes a line answer to the pointer without being seen.
const UNSEEN: &str = r#" stroke-opacity="0""#;

/// Draws each arrow of which the window has an end; if `unseen`, only what answers to the pointer for it, which is
/// wider, and belongs under all that has something to say itself.
pub fn draw(scene: &Scene, canvas: &mut Canvas, lanes: &[Lane], unseen: bool) {
    let height = |cpu: usize| lanes.iter().find(|lane| lane.cpu == cpu).map(Lane::calls_y);
    let mut arrow = |from: (usize, u64), to: (usize, u64), how: &str, colour: &str, title: &str| {
        let inside = scene.window.from <= to.1 && from.1 <= scene.window.to;
        let (Some(above), Some(below), true) = (height(from.0), height(to.0), inside) else { return };
        let ends = ((scene.x(from.1), above), (scene.x(to.1), below));
        let (width, how) = if unseen { (7.0, UNSEEN) } else { (1.3, how) };
        canvas.titled(title, |canvas| canvas.line(ends.0, ends.1, colour, width, how));
    };
    for event in scene.events.iter().filter(|event| event.record.body.kind == Kind::Resched) {
        let (target, sent) = (event.record.body.other as usize, event.record.time);
        let arrives = scene.events.iter().find(|other| {
            other.cpu == target && other.record.time >= sent && other.record.body.kind == Kind::Interrupt
        });
        if let Some(arrives) = arrives {
            let title = format!("IPI from CPU {} to CPU {target}: look at the run queue", event.cpu);
            arrow((event.cpu, sent), (target, arrives.record.time), RESCHED, SOFT, &title);
        }
    }
    for call in &scene.story.calls {
        let what = format!("{} {}", call.asks.map_or("call", Operation::name), Mm(call.mm));
        for leg in &call.legs {
            if let (Some(sent), Some(taken)) = (leg.sent, leg.taken) {
                let (from, to) = (scene.at(sent), scene.at(taken));
                let title =
                    format!("IPI from CPU {} to CPU {}: {what}\nsent {from}, taken {to}", call.by, leg.to);
                arrow((call.by, sent), (leg.to, taken), SENT, INK, &title);
            }
            if let (Some(answered), Some(done)) = (leg.answered, call.done) {
                let title = format!("CPU {} has done: {what}\nanswered {}", leg.to, scene.at(answered));
                arrow((leg.to, answered), (call.by, done), ANSWERED, INK, &title);
            }
        }
    }
}
