//! A prompt, and a terminal of one row that shows its echo.

use super::*;

/// A terminal of one row: the effect of the escape sequences that a prompt sends.
#[derive(Default)]
struct Screen {
    row: Vec<char>,
    column: usize,
}

impl Screen {
    fn take(&mut self, echo: &str) {
        let mut chars = echo.chars();
        while let Some(c) = chars.next() {
            match c {
                '\r' => self.column = 0,
                '\n' => *self = Self { column: self.column, ..Self::default() },
                '\x1b' => {
                    assert_eq!(chars.next(), Some('['));
                    let rest: String = chars.by_ref().take_while_inclusive_letter();
                    match rest.as_str() {
                        "K" => self.row.truncate(self.column),
                        "H" => self.column = 0,
                        "2J" => self.row.clear(),
                        back => self.column -= back.strip_suffix('D').unwrap().parse::<usize>().unwrap(),
                    }
                }
                c => {
                    self.row.resize(self.row.len().max(self.column + 1), ' ');
                    self.row[self.column] = c;
                    self.column += 1;
                }
            }
        }
    }
}

trait UntilLetter {
    fn take_while_inclusive_letter(self) -> String;
}

impl<I: Iterator<Item = char>> UntilLetter for I {
    fn take_while_inclusive_letter(mut self) -> String {
        let mut text = String::new();
        for c in &mut self {
            text.push(c);
            if c.is_ascii_alphabetic() {
                break;
            }
        }
        text
    }
}

struct Session {
    prompt: Prompt,
    screen: Screen,
}

impl Session {
    fn new(columns: usize) -> Self {
        let prompt = Prompt::new("> ", columns, vec!["mms", "poweroff", "ps", "report", "run"]);
        let mut session = Self { prompt, screen: Screen::default() };
        session.show();
        session
    }

    fn show(&mut self) {
        let mut echo = String::new();
        self.prompt.show(&mut echo);
        self.screen.take(&echo);
    }

    /// Types `text`; returns the events.
    fn types(&mut self, text: &str) -> Vec<Event> {
        let mut events = Vec::new();
        for byte in text.bytes() {
            let mut echo = String::new();
            let event = self.prompt.push(byte, &mut echo);
            self.screen.take(&echo);
            if let Some(event) = event {
                events.push(event);
                self.show();
            }
        }
        events
    }

    /// The row, with `|` where the cursor is.
    fn row(&self) -> String {
        let mut row = self.screen.row.clone();
        row.insert(self.screen.column, '|');
        row.into_iter().collect()
    }
}

fn entered(text: &str) -> Event {
    Event::Entered(text.into())
}

#[test]
fn a_line_is_echoed_and_entered() {
    let mut session = Session::new(80);
    assert_eq!(session.types("ps"), []);
    assert_eq!(session.row(), "> ps|");
    assert_eq!(session.types("\r"), [entered("ps")]);
    assert_eq!(session.row(), "> |");
}

#[test]
fn editing_shows_where_it_happens() {
    let mut session = Session::new(80);
    session.types("helo\x1b[Dl");
    assert_eq!(session.row(), "> hell|o");
    session.types("\x01\x1b[C\x7f");
    assert_eq!(session.row(), "> |ello");
    session.types("h\x05 wrld\x17world");
    assert_eq!(session.row(), "> hello world|");
    session.types("\x1b[D\x1b[D\x0b");
    assert_eq!(session.row(), "> hello wor|");
    session.types("\x15");
    assert_eq!(session.row(), "> |");
}

#[test]
fn the_screen_is_the_line_whatever_is_typed() {
    // Every key in some random order, on a row that is too short.
    let keys = [
        "a", "b ", "\x1b[A", "\x1b[B", "\x1b[C", "\x1b[D", "\x01", "\x05", "\x7f", "\x04", "\x0b", "\x15",
        "\x17", "ü", "\r", "\x03",
    ];
    let mut random = 12345_u64;
    let mut session = Session::new(12);
    for _ in 0..20_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        session.types(keys[(random >> 33) as usize % keys.len()]);
        let mut fresh = Screen::default();
        let mut echo = String::new();
        session.prompt.show(&mut echo);
        fresh.take(&echo);
        assert_eq!((&session.screen.row, session.screen.column), (&fresh.row, fresh.column));
        assert!(session.screen.column < 12);
    }
}

#[test]
fn a_long_line_is_seen_through_a_window() {
    let mut session = Session::new(10);
    session.types("abcdefghijkl");
    assert_eq!(session.row(), "> ghijkl|");
    session.types("\x01");
    assert_eq!(session.row(), "> |abcdefg");
    assert_eq!(session.types("\r"), [entered("abcdefghijkl")]);
}

#[test]
fn history_with_the_arrows() {
    let mut session = Session::new(80);
    session.types("ps\rmms\rdraft\x1b[A\x1b[A");
    assert_eq!(session.row(), "> ps|");
    session.types("\x1b[B\x1b[B");
    assert_eq!(session.row(), "> draft|");
    assert_eq!(session.types("\x1b[A\r"), [entered("mms")]);
}

#[test]
fn ctrl_c_gives_up_and_ctrl_d_ends() {
    let mut session = Session::new(80);
    assert_eq!(session.types("abc\x03"), [Event::GivenUp]);
    assert_eq!(session.row(), "> |");
    assert_eq!(session.types("ab\x01\x04"), []);
    assert_eq!(session.row(), "> |b");
    assert_eq!(session.types("\x04\x04"), [Event::EndOfInput]);
}

#[test]
fn tab_completes_the_first_word() {
    let mut session = Session::new(80);
    session.types("m\t");
    assert_eq!(session.row(), "> mms |");
    session.types("\x15p\t");
    assert_eq!(session.row(), "> p|");
    session.types("o\t");
    assert_eq!(session.row(), "> poweroff |");
    session.types("\x15r\t\t");
    assert_eq!(session.row(), "> r|");
    session.types("x\t");
    assert_eq!(session.row(), "> rx|");
    session.types("\x15run p\t");
    assert_eq!(session.row(), "> run p|");
}
