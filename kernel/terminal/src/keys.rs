//! From the bytes of a terminal to keys.
//!
//! Control characters have their meaning in a shell. Arrows and the like come as
//! escape sequences (ECMA-48, and the older `ESC O` form). An unknown sequence
//! is swallowed whole, so that it does not end up in the line.

/// A key, or its action.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    /// A printable character.
    Char(char),
    /// Return.
    Enter,
    /// Tab: complete.
    Tab,
    /// Deletes the character before the cursor.
    Backspace,
    /// Deletes the character under the cursor.
    Delete,
    /// One to the left.
    Left,
    /// One to the right.
    Right,
    /// To the start of the line.
    Home,
    /// To the end of the line.
    End,
    /// The line before, in the history.
    Up,
    /// The line after.
    Down,
    /// Ctrl-K: deletes to the end of the line.
    KillToEnd,
    /// Ctrl-U: deletes to the start of the line.
    KillToStart,
    /// Ctrl-W: deletes the word before the cursor.
    KillWord,
    /// Ctrl-L: an empty screen.
    ClearScreen,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D.
    EndOfInput,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Ground,
    /// After ESC.
    Escape,
    /// After `ESC [` and perhaps a number.
    Csi(u8),
    /// After `ESC O`.
    Ss3,
    /// Inside a character of UTF-8, with this many bytes still to come.
    Utf8 {
        missing: u8,
        value: u32,
    },
}

/// Takes bytes, gives keys.
#[derive(Debug)]
pub struct Decoder(State);

impl Default for Decoder {
    fn default() -> Self {
        Self(State::Ground)
    }
}

impl Decoder {
    /// Takes the next byte; returns the key that it completes, if any.
    pub fn push(&mut self, byte: u8) -> Option<Key> {
        let state = core::mem::replace(&mut self.0, State::Ground);
        match (state, byte) {
            (State::Escape, b'[') => self.go_on(State::Csi(0)),
            (State::Escape, b'O') => self.go_on(State::Ss3),
            (State::Escape, 0x20..) => None,
            (State::Csi(number), b'0'..=b'9') => {
                self.go_on(State::Csi(number.saturating_mul(10).saturating_add(byte - b'0')))
            }
            // Further parameters are modifiers, which are not distinguished.
            (State::Csi(number), 0x20..=0x3f) => self.go_on(State::Csi(number)),
            (State::Csi(number), b'~') => by_number(number),
            (State::Csi(_) | State::Ss3, 0x40..) => by_letter(byte),
            (State::Utf8 { missing, value }, 0x80..=0xbf) => self.continued(missing - 1, value, byte),
            // Not what was expected: the byte starts a new key.
            _ => self.start(byte),
        }
    }

    fn go_on(&mut self, state: State) -> Option<Key> {
        self.0 = state;
        None
    }

    fn start(&mut self, byte: u8) -> Option<Key> {
        let utf8 = |missing, value: u8| State::Utf8 { missing, value: value.into() };
        match byte {
            0x1b => self.go_on(State::Escape),
            0x20..=0x7e => Some(Key::Char(byte.into())),
            0xc2..=0xdf => self.go_on(utf8(1, byte & 0x1f)),
            0xe0..=0xef => self.go_on(utf8(2, byte & 0x0f)),
            0xf0..=0xf4 => self.go_on(utf8(3, byte & 0x07)),
            _ => control(byte),
        }
    }

    fn continued(&mut self, missing: u8, value: u32, byte: u8) -> Option<Key> {
        let value = value << 6 | u32::from(byte & 0x3f);
        if missing != 0 {
            return self.go_on(State::Utf8 { missing, value });
        }
        char::from_u32(value).filter(|c| !c.is_control()).map(Key::Char)
    }
}

/// A control character; the comment behind each is its letter with Ctrl.
fn control(byte: u8) -> Option<Key> {
    let key = match byte {
        0x01 => Key::Home,             // A
        0x02 => Key::Left,             // B
        0x03 => Key::Interrupt,        // C
        0x04 => Key::EndOfInput,       // D
        0x05 => Key::End,              // E
        0x06 => Key::Right,            // F
        0x08 | 0x7f => Key::Backspace, // H
        0x09 => Key::Tab,              // I
        0x0a | 0x0d => Key::Enter,     // J, M
        0x0b => Key::KillToEnd,        // K
        0x0c => Key::ClearScreen,      // L
        0x0e => Key::Down,             // N
        0x10 => Key::Up,               // P
        0x15 => Key::KillToStart,      // U
        0x17 => Key::KillWord,         // W
        _ => return None,
    };
    Some(key)
}

fn by_letter(letter: u8) -> Option<Key> {
    let key = match letter {
        b'A' => Key::Up,
        b'B' => Key::Down,
        b'C' => Key::Right,
        b'D' => Key::Left,
        b'H' => Key::Home,
        b'F' => Key::End,
        _ => return None,
    };
    Some(key)
}

/// `ESC [ number ~`.
fn by_number(number: u8) -> Option<Key> {
    match number {
        1 | 7 => Some(Key::Home),
        4 | 8 => Some(Key::End),
        3 => Some(Key::Delete),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut decoder = Decoder::default();
        bytes.iter().filter_map(|&byte| decoder.push(byte)).collect()
    }

    #[test]
    fn letters_and_controls() {
        assert_eq!(keys(b"a\x01\x7f\r"), [Key::Char('a'), Key::Home, Key::Backspace, Key::Enter]);
    }

    #[test]
    fn every_control_has_its_key() {
        use Key::*;
        let all = b"\x01\x02\x03\x04\x05\x06\x08\x09\x0a\x0b\x0c\x0d\x0e\x10\x15\x17\x7f";
        let wanted = [
            Home,
            Left,
            Interrupt,
            EndOfInput,
            End,
            Right,
            Backspace,
            Tab,
            Enter,
            KillToEnd,
            ClearScreen,
            Enter,
            Down,
            Up,
            KillToStart,
            KillWord,
            Backspace,
        ];
        assert_eq!(keys(all), wanted);
        let others = (0..0x20).filter(|byte| !all.contains(byte) && *byte != 0x1b).collect::<Vec<_>>();
        assert_eq!(keys(&others), []);
        assert_eq!(keys(b" ~"), [Char(' '), Char('~')]);
    }

    #[test]
    fn arrows_in_both_forms() {
        assert_eq!(keys(b"\x1b[A\x1bOB\x1b[1;5D"), [Key::Up, Key::Down, Key::Left]);
        assert_eq!(keys(b"\x1bOC\x1bOD\x1bOH\x1bOF"), [Key::Right, Key::Left, Key::Home, Key::End]);
        assert_eq!(keys(b"\x1b[3~\x1b[1~\x1b[8~"), [Key::Delete, Key::Home, Key::End]);
        assert_eq!(keys(b"\x1b[7~\x1b[4~\x1b[2~\x1b[5~"), [Key::Home, Key::End]);
    }

    #[test]
    fn an_unknown_sequence_leaves_nothing() {
        assert_eq!(keys(b"\x1b[15~\x1b[999999Z\x1bxb"), [Key::Char('b')]);
    }

    #[test]
    fn a_sequence_that_breaks_off_starts_anew() {
        assert_eq!(keys(b"\x1b\x1b[A\x1b[\x03"), [Key::Up, Key::Interrupt]);
    }

    #[test]
    fn utf8_is_one_key() {
        assert_eq!(keys("ä€😀".as_bytes()), [Key::Char('ä'), Key::Char('€'), Key::Char('😀')]);
        // The first and the last of each length and lead byte.
        let leads = (0xa1..=0x7ff)
            .step_by(0x40)
            .chain((0x800..0xd800).step_by(0x1000))
            .chain((0x1_0000..=0x10_ffff).step_by(0x4_0000));
        let edges = [0xa1, 0x7ff, 0x800, 0xfffd, 0x1_0000, 0xf_ffff, 0x10_ffff].into_iter();
        for c in leads.chain(edges).filter_map(char::from_u32) {
            assert_eq!(keys(c.encode_utf8(&mut [0; 4]).as_bytes()), [Key::Char(c)], "{c:?}");
        }
        // Cut off, alone, and too long: no key, and the bytes behind are not lost.
        assert_eq!(keys(b"\xe2\x82a\x80\xc0\xffb"), [Key::Char('a'), Key::Char('b')]);
    }
}
