//! A row, and a terminal that shows what comes above it.

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
