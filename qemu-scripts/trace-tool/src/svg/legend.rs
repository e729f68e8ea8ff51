//! What the signs mean.

use super::arrows::{ANSWERED, RESCHED, SENT};
use super::canvas::{Canvas, GREY, INK, LEFT, PLOT, RIGHT, SOFT, colour, width};

/// Draws it in lines as wide as the picture. Returns the lower edge of the picture.
pub fn draw(canvas: &mut Canvas, top: f64) -> f64 {
    let blue = colour(Some(0));
    let edge = LEFT + PLOT + RIGHT - 20.0;
    canvas.line((20.0, top), (edge, top), "#d9dee5", 1.0, "");
    let bar = |fill: String, hatched| {
        move |canvas: &mut Canvas, x: f64, y: f64| {
            canvas.bar((x, y - 11.0), (30.0, 14.0), &fill, hatched, &[]);
            for edge in [y - 11.0, y + 3.0] {
                let edge_colour = if fill == "#ffffff" { SOFT } else { &fill };
                canvas.line((x, edge), (x + 30.0, edge), edge_colour, 1.4, "");
            }
        }
    };
    let thin = |fill: &'static str| {
        move |canvas: &mut Canvas, x: f64, y: f64| canvas.bar((x, y - 7.0), (30.0, 6.0), fill, false, &[])
    };
    let arrow = |how: &'static str, ink: &'static str| {
        move |canvas: &mut Canvas, x: f64, y: f64| {
            canvas.line((x, y - 4.0), (x + 30.0, y - 4.0), ink, 1.3, how)
        }
    };
    type Sign = Box<dyn Fn(&mut Canvas, f64, f64)>;
    let signs: [(Sign, &str); 12] = [
        (Box::new(bar(blue.clone(), false)), "loaded, and owned by the task that runs"),
        (Box::new(bar(blue, true)), "borrowed: the CPU is lazy on it"),
        (Box::new(bar(GREY.into(), false)), "init_mm: no user memory"),
        (Box::new(arrow(SENT, INK)), "IPI of a cross-call, sent to taken"),
        (Box::new(arrow(ANSWERED, INK)), "answered"),
        (Box::new(arrow(RESCHED, SOFT)), "IPI: look at the run queue"),
        (Box::new(thin("#aab4c0")), "waits for its call"),
        (Box::new(thin(INK)), "does what a call asks"),
        (Box::new(bar("#e6eaef".into(), false)), "the task that runs"),
        (Box::new(bar("#ffffff".into(), false)), "zombie: no user is left"),
        (Box::new(bar(INK.into(), false)), "dying: no reference is left"),
        (
            Box::new(|canvas, x, y| {
                for n in 0..4 {
                    let x = x + 6.0 + 6.0 * f64::from(n);
                    canvas.line((x, y - 8.0), (x, y - 1.0), SOFT, 1.4, "");
                }
            }),
            "one event each; the pointer shows which",
        ),
    ];
    let (mut x, mut y) = (20.0, top + 22.0);
    for (sign, words) in signs {
        let room = 36.0 + width(words, 12.0);
        if x + room > edge {
            (x, y) = (20.0, y + 22.0);
        }
        sign(canvas, x, y);
        canvas.text(x + 36.0, y, 12.0, INK, "start", false, words);
        x += room + 14.0;
    }
    y + 18.0
}
