//! A screen that is drawn anew in place, like that of `top`.

use alloc::string::String;

/// Leaves what the terminal shows for an empty screen; [`LEAVE`] brings it back.
pub const ENTER: &str = "\x1b[?1049h\x1b[2J";
/// The end of [`ENTER`]'s screen, at the left edge of the old one.
pub const LEAVE: &str = "\x1b[?1049l\r";

/// The bytes that show the lines of `text` from the top of the screen, and nothing else. A line
/// that is longer than `columns` is cut, so that none takes two rows.
#[must_use]
pub fn drawn(text: &str, columns: usize) -> String {
    let mut bytes = String::from("\x1b[H");
    for line in text.lines() {
        bytes.extend(line.chars().take(columns));
        // What was there before goes up to the row's end.
        bytes.push_str("\x1b[K\n");
    }
    bytes.push_str("\x1b[J");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_clears_the_rest_of_its_row() {
        assert_eq!(drawn("a\nbc\n", 80), "\x1b[Ha\x1b[K\nbc\x1b[K\n\x1b[J");
        assert_eq!(drawn("", 80), "\x1b[H\x1b[J");
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        assert_eq!(drawn("abcdé…", 5), "\x1b[Habcdé\x1b[K\n\x1b[J");
    }
}
