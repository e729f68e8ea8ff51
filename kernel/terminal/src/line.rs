//! A line of text with a cursor in it, and the editing keys' actions on it.

use alloc::string::String;
use alloc::vec::Vec;

/// More than a person types; a pasted file stops here.
const MAX_CHARS: usize = 1000;

/// The line.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Line {
    text: Vec<char>,
    /// The index of the character behind the cursor; `text.len()` at the end.
    cursor: usize,
}

impl Line {
    /// A line with the cursor at its end.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let text: Vec<char> = text.chars().take(MAX_CHARS).collect();
        Self { cursor: text.len(), text }
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> String {
        self.text.iter().collect()
    }

    /// Its characters.
    #[must_use]
    pub fn chars(&self) -> &[char] {
        &self.text
    }

    /// The index of the character behind the cursor.
    #[must_use]
    pub fn cursor(&self) -> usize {
        self.cursor
    }

    /// Whether it has no text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether the cursor is at the end.
    #[must_use]
    pub fn at_end(&self) -> bool {
        self.cursor == self.text.len()
    }

    /// Puts `c` before the cursor; false if the line is full.
    pub fn insert(&mut self, c: char) -> bool {
        let fits = self.text.len() < MAX_CHARS;
        if fits {
            self.text.insert(self.cursor, c);
            self.cursor += 1;
        }
        fits
    }

    /// Deletes the character before the cursor.
    pub fn backspace(&mut self) {
        self.delete_back_to(self.cursor.saturating_sub(1));
    }

    /// Deletes the character under the cursor.
    pub fn delete(&mut self) {
        if !self.at_end() {
            self.text.remove(self.cursor);
        }
    }

    /// Deletes from the start to the cursor.
    pub fn kill_to_start(&mut self) {
        self.delete_back_to(0);
    }

    /// Deletes from the cursor to the end.
    pub fn kill_to_end(&mut self) {
        self.text.truncate(self.cursor);
    }

    /// Deletes the word before the cursor, with the blanks after it.
    pub fn kill_word(&mut self) {
        let before = &self.text[..self.cursor];
        let word_end = before.iter().rposition(|&c| c != ' ').map_or(0, |at| at + 1);
        let word_start = before[..word_end].iter().rposition(|&c| c == ' ').map_or(0, |at| at + 1);
        self.delete_back_to(word_start);
    }

    fn delete_back_to(&mut self, start: usize) {
        self.text.drain(start..self.cursor);
        self.cursor = start;
    }

    /// Moves the cursor by one; stays inside the line.
    pub fn left(&mut self) {
        self.cursor = self.cursor.saturating_sub(1);
    }

    /// Moves the cursor by one to the right; stays inside the line.
    pub fn right(&mut self) {
        self.cursor = (self.cursor + 1).min(self.text.len());
    }

    /// Moves the cursor to the start.
    pub fn home(&mut self) {
        self.cursor = 0;
    }

    /// Moves the cursor to the end.
    pub fn end(&mut self) {
        self.cursor = self.text.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line with `|` where the cursor is.
    fn shown(line: &Line) -> String {
        let (before, after) = line.chars().split_at(line.cursor());
        before.iter().chain(&['|']).chain(after).collect()
    }

    #[test]
    fn inserts_and_deletes_at_the_cursor() {
        let mut line = Line::of("abd");
        line.left();
        line.insert('c');
        assert_eq!(shown(&line), "abc|d");
        line.backspace();
        line.delete();
        assert_eq!(shown(&line), "ab|");
        line.delete();
        line.home();
        line.backspace();
        assert_eq!(shown(&line), "|ab");
    }

    #[test]
    fn kills() {
        let mut line = Line::of("run /bin/echo  one  ");
        line.kill_word();
        assert_eq!(shown(&line), "run /bin/echo  |");
        line.kill_word();
        assert_eq!(shown(&line), "run |");
        line.left();
        line.kill_to_start();
        assert_eq!(shown(&line), "| ");
        line.kill_to_end();
        line.kill_word();
        assert_eq!(shown(&line), "|");
    }

    #[test]
    fn the_cursor_stays_inside() {
        let mut line = Line::of("a");
        line.right();
        assert_eq!(shown(&line), "a|");
        line.left();
        line.left();
        assert_eq!(shown(&line), "|a");
        line.end();
        assert_eq!(shown(&line), "a|");
    }

    #[test]
    fn a_full_line_takes_no_more() {
        let mut line = Line::of(&"x".repeat(MAX_CHARS + 5));
        assert_eq!(line.chars().len(), MAX_CHARS);
        assert!(!line.insert('y'));
    }
}
