//! The earlier lines, and the walk through them with up and down.

use alloc::collections::VecDeque;
use alloc::string::String;

/// How many lines are kept.
const MAX_LINES: usize = 100;

/// The lines, and where the walk through them stands.
#[derive(Default, Debug)]
pub struct History {
    /// Oldest first.
    lines: VecDeque<String>,
    /// How many lines back the walk is; 0 when it is at the new line.
    back: usize,
    /// The new line as the walk left it.
    draft: String,
}

impl History {
    /// Remembers a line that was entered, unless it is empty or repeats the last.
    /// The next walk starts at the end.
    pub fn add(&mut self, line: &str) {
        (self.back, self.draft) = (0, String::new());
        if line.trim().is_empty() || self.lines.back().is_some_and(|last| last == line) {
            return;
        }
        if self.lines.len() == MAX_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line.into());
    }

    /// The line before the walk's place, if there is one. `now` is what the
    /// screen shows.
    pub fn older(&mut self, now: &str) -> Option<&str> {
        if self.back == self.lines.len() {
            return None;
        }
        if self.back == 0 {
            self.draft = now.into();
        }
        self.back += 1;
        Some(&self.lines[self.lines.len() - self.back])
    }

    /// The line after the walk's place; in the end, the new line as the walk
    /// left it.
    pub fn newer(&mut self) -> Option<&str> {
        self.back = self.back.checked_sub(1)?;
        Some(if self.back == 0 { &self.draft } else { &self.lines[self.lines.len() - self.back] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_and_down() {
        let mut history = History::default();
        assert_eq!(history.older("x"), None);
        ["one", "two", "two", " "].iter().for_each(|line| history.add(line));
        assert_eq!(history.older("dra"), Some("two"));
        assert_eq!(history.older("two"), Some("one"));
        assert_eq!(history.older("one"), None);
        assert_eq!(history.newer(), Some("two"));
        assert_eq!(history.newer(), Some("dra"));
        assert_eq!(history.newer(), None);
    }

    #[test]
    fn entering_ends_the_walk() {
        let mut history = History::default();
        history.add("one");
        history.older("");
        history.add("two");
        assert_eq!(history.newer(), None);
        assert_eq!(history.older(""), Some("two"));
    }

    #[test]
    fn the_oldest_go() {
        let mut history = History::default();
        (0..=MAX_LINES).for_each(|n| history.add(&format!("{n}")));
        let seen = (0..MAX_LINES).map(|_| history.older("").unwrap().to_string()).last();
        assert_eq!(seen.as_deref(), Some("1"));
        assert_eq!(history.older(""), None);
    }
}
