//! The line that is being typed, on a screen of one row: bytes in, echo out.
//!
//! The row is drawn anew after every key but the commonest, a character at the
//! end. A line that is wider than the row is seen through a window that follows
//! the cursor, so nothing depends on how a terminal wraps.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use crate::history::History;
use crate::keys::{Decoder, Key};
use crate::line::Line;

/// The effect of a byte, beside the echo.
#[derive(PartialEq, Eq, Debug)]
pub enum Event {
    /// A line was entered. The cursor is on a new row; [`Prompt::row`] is next.
    Entered(String),
    /// Ctrl-C: the line is given up. The cursor is on a new row.
    GivenUp,
    /// Ctrl-D on an empty line. The cursor is on a new row.
    EndOfInput,
}

/// A prompt, the line after it and the earlier lines.
#[derive(Debug)]
pub struct Prompt {
    prompt: &'static str,
    /// Columns of the screen; the last one stays free, or the cursor would wrap.
    columns: usize,
    /// First words that Tab completes.
    words: Vec<&'static str>,
    decoder: Decoder,
    line: Line,
    history: History,
}

impl Prompt {
    /// With `prompt` at the start of the row; Tab completes `words`, which are
    /// sorted.
    #[must_use]
    pub fn new(prompt: &'static str, columns: usize, words: Vec<&'static str>) -> Self {
        let (decoder, line, history) = (Decoder::default(), Line::default(), History::default());
        Self { prompt, columns, words, decoder, line, history }
    }

    /// The bytes that draw the row, as it is, at the left edge.
    #[must_use]
    pub fn row(&self) -> String {
        let mut row = String::new();
        self.show(&mut row);
        row
    }

    fn show(&self, echo: &mut String) {
        let room = self.columns.saturating_sub(self.prompt.len() + 1).max(1);
        let (chars, cursor) = (self.line.chars(), self.line.cursor());
        let start = (cursor + 1).saturating_sub(room);
        let end = chars.len().min(start + room);
        echo.push('\r');
        echo.push_str(self.prompt);
        echo.extend(&chars[start..end]);
        // Erases what the row showed further right; then moves to the cursor.
        echo.push_str("\x1b[K");
        if cursor < end {
            let _ = write!(echo, "\x1b[{}D", end - cursor);
        }
    }

    /// Takes a byte, and adds to `echo` what the screen shows for it.
    pub fn push(&mut self, byte: u8, echo: &mut String) -> Option<Event> {
        match self.decoder.push(byte)? {
            Key::Enter => {
                echo.push_str("\r\n");
                let text = core::mem::take(&mut self.line).text();
                self.history.add(&text);
                return Some(Event::Entered(text));
            }
            Key::Interrupt => {
                echo.push_str("^C\r\n");
                self.line = Line::default();
                self.history.add("");
                return Some(Event::GivenUp);
            }
            Key::EndOfInput if self.line.is_empty() => {
                echo.push_str("\r\n");
                return Some(Event::EndOfInput);
            }
            Key::Char(c) if self.line.at_end() && self.has_room() => {
                if self.line.insert(c) {
                    echo.push(c);
                }
                return None;
            }
            Key::ClearScreen => echo.push_str("\x1b[H\x1b[2J"),
            Key::Tab => self.complete(echo),
            key => self.edit(key),
        }
        self.show(echo);
        None
    }

    /// Whether one more character at the end fits without moving the window.
    fn has_room(&self) -> bool {
        self.prompt.len() + self.line.chars().len() + 2 < self.columns
    }

    fn edit(&mut self, key: Key) {
        let line = &mut self.line;
        match key {
            Key::Char(c) => drop(line.insert(c)),
            Key::Backspace => line.backspace(),
            Key::Delete | Key::EndOfInput => line.delete(),
            Key::Left => line.left(),
            Key::Right => line.right(),
            Key::Home => line.home(),
            Key::End => line.end(),
            Key::KillToEnd => line.kill_to_end(),
            Key::KillToStart => line.kill_to_start(),
            Key::KillWord => line.kill_word(),
            Key::Up => {
                if let Some(older) = self.history.older(&line.text()) {
                    *line = Line::of(older);
                }
            }
            Key::Down => {
                if let Some(newer) = self.history.newer() {
                    *line = Line::of(newer);
                }
            }
            Key::Enter | Key::Interrupt | Key::ClearScreen | Key::Tab => {}
        }
    }

    /// Completes the first word as far as it is certain. If that adds nothing,
    /// lists the choices.
    fn complete(&mut self, echo: &mut String) {
        let typed: String = self.line.chars()[..self.line.cursor()].iter().collect();
        if !self.line.at_end() || typed.contains(' ') {
            return;
        }
        let fitting: Vec<&str> = self.words.iter().copied().filter(|word| word.starts_with(&typed)).collect();
        let Some(common) = common_start(&fitting) else { return };
        if common.len() > typed.len() || fitting.len() == 1 {
            self.line = Line::of(common);
            if fitting.len() == 1 {
                self.line.insert(' ');
            }
            return;
        }
        echo.push_str("\r\n");
        echo.push_str(&fitting.join("  "));
        echo.push_str("\r\n");
    }
}

/// The common start of all of `words`, which are ASCII; None without words.
fn common_start<'a>(words: &[&'a str]) -> Option<&'a str> {
    let (first, rest) = words.split_first()?;
    let same = |word: &&str| first.bytes().zip(word.bytes()).take_while(|(a, b)| a == b).count();
    let length = rest.iter().map(same).min().unwrap_or(first.len());
    first.get(..length)
}

#[cfg(test)]
mod tests;
