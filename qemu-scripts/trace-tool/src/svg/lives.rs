//! The lives of the address spaces, below the lanes.

use trace_format::Mm;

use super::Scene;
use super::canvas::{Canvas, INK, SOFT};
use crate::story::{Life, Stage};

const BAR: f64 = 18.0;
const ROW: f64 = 26.0;

/// Draws a bar for each address space that the window shows. Returns the lower edge.
pub fn draw(scene: &Scene, canvas: &mut Canvas, top: f64) -> f64 {
    let shown = |life: &&Life| {
        let (from, to) = (life.at(Stage::Created).unwrap_or(0), life.at(Stage::Freed));
        scene.colours.contains_key(&life.mm) && scene.ends(from, to).is_some_and(|(from, to)| from < to)
    };
    canvas.text(
        20.0,
        top + 16.0,
        12.0,
        SOFT,
        "start",
        false,
        "address spaces: their state, and how many CPUs are lazy on each",
    );
    let mut y = top + 26.0;
    for life in scene.story.lives.iter().filter(shown) {
        canvas.text(20.0, y + 13.0, 12.0, INK, "start", true, &Mm(life.mm).to_string());
        bar(scene, canvas, life, y);
        y += ROW;
    }
    y
}

/// The state of an address space from a stage on.
fn state(stage: Option<Stage>) -> &'static str {
    match stage {
        None | Some(Stage::Created) => "live",
        Some(Stage::Zombie) => "zombie",
        Some(Stage::Dying | Stage::Dead) => "dying",
        Some(Stage::Freed) => "freed",
    }
}

/// Pieces of one state and one number of borrowers each.
fn bar(scene: &Scene, canvas: &mut Canvas, life: &Life, y: f64) {
    let (from, to) = (life.at(Stage::Created).unwrap_or(scene.story.span.0), life.at(Stage::Freed));
    let borrows: Vec<_> = scene.story.borrows(life.mm).collect();
    let mut cuts: Vec<u64> =
        borrows.iter().flat_map(|borrow| [Some(borrow.from), borrow.to]).flatten().collect();
    cuts.extend(Stage::ALL.iter().filter_map(|&stage| life.at(stage)));
    cuts.extend([scene.window.from, scene.window.to]);
    let end = to.unwrap_or(scene.window.to);
    cuts.retain(|&cut| cut >= from.max(scene.window.from) && cut <= end.min(scene.window.to));
    cuts.extend([from.max(scene.window.from), end.min(scene.window.to)]);
    cuts.sort_unstable();
    cuts.dedup();
    let at = |time: u64| {
        let stage = Stage::ALL.into_iter().rfind(|&stage| life.at(stage).is_some_and(|at| at <= time));
        let lazy =
            borrows.iter().filter(|held| held.from <= time && held.to.is_none_or(|to| to > time)).count();
        (state(stage), lazy)
    };
    let last = cuts.pop();
    cuts.dedup_by_key(|cut| at(*cut));
    cuts.extend(last);
    for piece in cuts.windows(2) {
        let (state, lazy) = at(piece[0]);
        let (left, right) = (scene.x(piece[0]), scene.x(piece[1]));
        let fill = match state {
            "live" => scene.colour(life.mm),
            "zombie" => "#ffffff".into(),
            _ => INK.into(),
        };
        let words = match lazy {
            0 => [state.into(), state.into(), String::new()],
            1 => [format!("{state}, 1 CPU lazy"), format!("{state}, 1"), "1".into()],
            _ => [format!("{state}, {lazy} CPUs lazy"), format!("{state}, {lazy}"), lazy.to_string()],
        };
        let title = format!("{} {}, from {}", Mm(life.mm), words[0], scene.at(piece[0]));
        canvas.titled(&title, |canvas| {
            canvas.bar((left, y), (right - left, BAR), &fill, false, &words.each_ref().map(String::as_str));
            outline(scene, canvas, life, (left, right), y);
            // What parts it from the piece before, where there is room to see it.
            if piece[0] > cuts[0] && right - left > 3.0 {
                let ink = if state == "zombie" { scene.colour(life.mm) } else { "#ffffff".into() };
                canvas.line((left, y), (left, y + BAR), &ink, 1.0, "");
            }
        });
    }
    if let Some(freed) = to.filter(|freed| (scene.window.from..=scene.window.to).contains(freed)) {
        let x = scene.x(freed);
        canvas.titled(&format!("{} freed, {}", Mm(life.mm), scene.at(freed)), |canvas| {
            canvas.line((x, y - 2.0), (x, y + BAR + 2.0), INK, 2.0, "");
            canvas.text(x + 5.0, y + 13.0, 11.0, INK, "start", false, "freed");
        });
    }
}

/// The edge of a piece, in the colour of the address space.
fn outline(scene: &Scene, canvas: &mut Canvas, life: &Life, (left, right): (f64, f64), y: f64) {
    let colour = scene.colour(life.mm);
    for edge in [y, y + BAR] {
        canvas.line((left, edge), (right, edge), &colour, 1.6, "");
    }
}
