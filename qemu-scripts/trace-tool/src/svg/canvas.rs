//! Lines, bars and words as SVG.

use std::fmt::Write;

/// The edges of the plot, in pixels.
pub const LEFT: f64 = 92.0;
/// Its width.
pub const PLOT: f64 = 960.0;
/// The room on its right, for words that begin at its edge.
pub const RIGHT: f64 = 132.0;
/// The house's colours of words, as in qemu-scripts/drawing.py.
pub const INK: &str = "#1b2430";
/// … of less important ones.
pub const SOFT: &str = "#5a6778";
/// Of `init_mm`.
pub const GREY: &str = "#c3cad3";
const FONT: &str = "DejaVu Sans, Verdana, Helvetica, sans-serif";
/// On paper the whole picture, on one page.
const PRINT: &str = "@page { size: landscape } @media print { svg { width: 100%; height: 99vh } }";
/// Colours that readers with any vision tell apart (Okabe and Ito), without the yellow.
const COLOURS: [&str; 6] = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"];

/// The colour of an address space by its number; without one it is that of `init_mm`.
pub fn colour(number: Option<usize>) -> String {
    number.map_or(GREY, |number| COLOURS[number % COLOURS.len()]).into()
}

/// Whether words on this colour are white.
fn dark(fill: &str) -> bool {
    ["#0072b2", "#009e73", "#d55e00", INK].contains(&fill)
}

/// The widest that a line of text is, in pixels.
pub fn width(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * 0.6
}

/// `&`, `<` and `>` as text.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A drawing.
#[derive(Default)]
pub struct Canvas {
    parts: String,
    /// Words in bars, which lie over the arrows; what is under them answers to the pointer.
    over: String,
}

impl Canvas {
    fn add(&mut self, part: std::fmt::Arguments) {
        writeln!(self.parts, "{part}").expect("a string takes what is written");
    }

    /// One line of words; `y` is its baseline.
    #[allow(clippy::too_many_arguments, reason = "what a line of words is")]
    pub fn text(&mut self, x: f64, y: f64, size: f64, colour: &str, anchor: &str, bold: bool, text: &str) {
        let weight = if bold { " font-weight=\"bold\"" } else { "" };
        let text = escape(text);
        self.add(format_args!(
            r##"<text x="{x:.1}" y="{y:.1}" font-size="{size}" fill="{colour}" text-anchor="{anchor}"{weight} stroke="#fff" stroke-width="4" paint-order="stroke">{text}</text>"##
        ));
    }

    /// A line; `more` are further attributes.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str, width: f64, more: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.add(format_args!(
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{colour}" stroke-width="{width}"{more}/>"#
        ));
    }

    /// Room that is not seen, and answers to the pointer.
    pub fn room(&mut self, (x, y): (f64, f64), (wide, high): (f64, f64)) {
        self.add(format_args!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{wide}" height="{high}" fill="none" pointer-events="all"/>"#
        ));
    }

    /// What lies under the pointer there is `title`.
    pub fn titled(&mut self, title: &str, draw: impl FnOnce(&mut Canvas)) {
        let title = escape(title);
        self.add(format_args!("<g><title>{title}</title>"));
        draw(self);
        self.add(format_args!("</g>"));
    }

    /// A bar in the colour of an address space, hatched if it is borrowed, with the longest of `words` that
    /// fits.
    pub fn bar(
        &mut self,
        (x, y): (f64, f64),
        (wide, high): (f64, f64),
        fill: &str,
        hatched: bool,
        words: &[&str],
    ) {
        let wide = wide.max(1.0);
        let shown = if hatched { format!("url(#h{})", fill.trim_start_matches('#')) } else { fill.into() };
        self.add(format_args!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{wide:.1}" height="{high}" fill="{shown}" stroke="{fill}"/>"#
        ));
        let size = if high < 16.0 { 10.0 } else { 12.0 };
        let Some(word) = words.iter().find(|word| width(word, size) + 10.0 <= wide) else { return };
        let (middle, base) = (x + wide / 2.0, y + high / 2.0 + size * 0.36);
        let (room, ink) = (width(word, size) + 6.0, if dark(fill) && !hatched { "#ffffff" } else { INK });
        let (left, top, tall) = (middle - room / 2.0, y + 3.0, high - 6.0);
        let paper = if hatched { "#ffffff" } else { fill };
        writeln!(
            self.over,
            r#"<rect x="{left:.1}" y="{top:.1}" width="{room:.1}" height="{tall}" rx="3" fill="{paper}"/><text x="{middle:.1}" y="{base:.1}" font-size="{size}" fill="{ink}" text-anchor="middle">{}</text>"#,
            escape(word)
        )
        .expect("a string takes what is written");
    }

    /// A dot.
    pub fn dot(&mut self, x: f64, y: f64, fill: &str) {
        self.add(format_args!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="3.4" fill="{fill}" stroke="{INK}"/>"#));
    }

    /// The whole, as a file.
    pub fn finish(self, wide: f64, high: f64, title: &str) -> String {
        let hatches: Vec<String> = COLOURS.iter().map(|colour| hatch(colour)).collect();
        let marker = |id: &str, fill: &str| {
            format!(
                r#"<marker id="{id}" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto"><path d="M0,0.5 L8,4 L0,7.5 z" fill="{fill}"/></marker>"#
            )
        };
        [
            format!(
                r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" font-family="{FONT}" role="img">"#
            ),
            format!("<title>{}</title><style>{PRINT}</style>", escape(title)),
            format!("<defs>{}{}{}</defs>", marker("head", INK), marker("soft", SOFT), hatches.concat()),
            format!(r##"<rect width="{wide}" height="{high}" fill="#ffffff"/>"##),
            self.parts,
            format!("<g pointer-events=\"none\">{}</g>\n</svg>\n", self.over),
        ]
        .join("\n")
    }
}

/// Slanted stripes of a colour.
fn hatch(colour: &str) -> String {
    let id = colour.trim_start_matches('#');
    format!(
        r##"<pattern id="h{id}" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="6" height="6" fill="#fff"/><rect width="2.6" height="6" fill="{colour}"/></pattern>"##
    )
}
