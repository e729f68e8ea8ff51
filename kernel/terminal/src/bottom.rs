//! The row at the bottom of the screen, which stays there while others print above it.

use alloc::string::String;
use core::fmt::{self, Write as _};

/// The width that every terminal has. A wider one is treated as if it had this.
const COLUMNS: usize = 80;

/// Where text goes.
pub trait Screen {
    /// Shows the bytes behind the cursor.
    fn put(&mut self, bytes: &[u8]);
}

/// A screen, and the row that is being edited there.
#[derive(Debug)]
pub struct Bottom<S> {
    screen: S,
    /// The bytes that draw the row; none if nothing is being edited.
    row: String,
    /// Where the text above the row ends: 0 after a whole line.
    column: usize,
}

impl<S: Screen> Bottom<S> {
    /// Without a row.
    pub const fn new(screen: S) -> Self {
        Self { screen, row: String::new(), column: 0 }
    }

    /// Lets `print` write a piece above the row, behind the text that is there.
    pub fn above<R>(&mut self, print: impl FnOnce(&mut Self) -> R) -> R {
        if self.row.is_empty() {
            return print(self);
        }
        self.screen.put(b"\r\x1b[K");
        if self.column >= COLUMNS {
            // It may have wrapped, so nobody knows where it ends.
            self.column = 0;
        }
        let column = self.column;
        if column > 0 {
            let _ = write!(self, "\x1b[A\x1b[{column}C");
            self.column = column;
        }
        let result = print(self);
        if self.column > 0 {
            self.screen.put(b"\r\n");
        }
        self.screen.put(self.row.as_bytes());
        result
    }

    /// Writes a part of a piece.
    pub fn put(&mut self, bytes: &[u8]) {
        self.screen.put(bytes);
        for byte in bytes {
            self.column = match byte {
                b'\r' | b'\n' => 0,
                0x08 => self.column.saturating_sub(1),
                b'\t' => (self.column | 7) + 1,
                0..0x20 | 0x80..0xc0 => self.column,
                _ => self.column + 1,
            };
        }
    }

    /// Shows `echo`, which a key makes of the row. From now on the row is drawn by `row`; without text there
    /// is none, and the cursor is at the start of a line. Returns the bytes that drew it until now.
    pub fn edit(&mut self, echo: &str, row: String) -> String {
        let begins = self.row.is_empty();
        if begins && self.column > 0 {
            self.screen.put(b"\r\n");
        }
        self.screen.put(echo.as_bytes());
        if begins || row.is_empty() {
            self.column = 0;
        }
        core::mem::replace(&mut self.row, row)
    }
}

impl<S: Screen> fmt::Write for Bottom<S> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A terminal of a few rows, as far as these bytes need one.
    #[derive(Default)]
    struct Paper {
        rows: Vec<Vec<char>>,
        at: (usize, usize),
        escape: Option<String>,
    }

    impl Screen for Paper {
        fn put(&mut self, bytes: &[u8]) {
            for c in core::str::from_utf8(bytes).unwrap().chars() {
                let (row, column) = &mut self.at;
                self.rows.resize((*row + 1).max(self.rows.len()), Vec::new());
                match (c, &mut self.escape) {
                    (_, Some(escape)) if !c.is_alphabetic() => escape.push(c),
                    ('A', Some(_)) => *row -= 1,
                    ('C', Some(by)) => *column += by[1..].parse::<usize>().unwrap(),
                    ('K', Some(_)) => self.rows[*row].truncate(*column),
                    (_, Some(escape)) => panic!("{escape}{c}"),
                    ('\x1b', None) => {
                        self.escape = Some(String::new());
                        continue;
                    }
                    ('\r', None) => *column = 0,
                    ('\n', None) => (*row, *column) = (*row + 1, 0),
                    (_, None) => {
                        let line = &mut self.rows[*row];
                        line.resize((*column + 1).max(line.len()), ' ');
                        line[*column] = c;
                        *column += 1;
                    }
                }
                if c.is_alphabetic() {
                    self.escape = None;
                }
            }
        }
    }

    fn rows(bottom: &Bottom<Paper>) -> Vec<String> {
        bottom.screen.rows.iter().map(|row| row.iter().collect()).collect()
    }

    /// The screen after pieces that come while `> ab` is typed.
    fn after(before: &str, pieces: &[&str]) -> Vec<String> {
        let mut bottom = Bottom::new(Paper::default());
        bottom.above(|above| above.put(before.as_bytes()));
        bottom.edit("> a", "> a".into());
        bottom.edit("b", "> ab".into());
        for piece in pieces {
            bottom.above(|above| above.put(piece.as_bytes()));
        }
        rows(&bottom)
    }

    #[test]
    fn lines_come_above_the_row() {
        assert_eq!(after("", &["one\n", "two\nthree\n"]), ["one", "two", "three", "> ab"]);
    }

    #[test]
    fn a_line_that_comes_in_pieces_is_one_line() {
        assert_eq!(after("", &["o"]), ["o", "> ab"]);
        assert_eq!(after("", &["o", "né", "!\ntw", "o\n"]), ["oné!", "two", "> ab"]);
    }

    #[test]
    fn a_line_that_may_have_wrapped_is_broken() {
        let long = "x".repeat(COLUMNS);
        assert_eq!(after("", &[&long, "y\n"]), [&long, "y", "> ab"]);
    }

    #[test]
    fn the_row_begins_on_a_line_of_its_own() {
        assert_eq!(after("no end", &[]), ["no end", "> ab"]);
        assert_eq!(after("no end", &["one\n"]), ["no end", "one", "> ab"]);
    }

    #[test]
    fn without_a_row_text_is_as_it_comes() {
        let mut bottom = Bottom::new(Paper::default());
        bottom.edit("> a", "> a".into());
        assert_eq!(bottom.edit("\r\n", String::new()), "> a");
        bottom.above(|above| write!(above, "on{}", 1).unwrap());
        bottom.above(|above| above.put(b"\ntwo"));
        assert_eq!(rows(&bottom), ["> a", "on1", "two"]);
    }
}
