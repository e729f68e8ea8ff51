//! The line discipline that programs get: a line at a time, with echo.
//!
//! POSIX's canonical mode (termios, section 11.1.6) without its options: erase
//! (backspace), kill (Ctrl-U), word erase (Ctrl-W) and end of file (Ctrl-D). The
//! cursor is always at the end, since a program may have written before it on the
//! row. Signals are the caller's: it sees the bytes first.

use alloc::string::String;
use alloc::vec::Vec;

/// POSIX's MAX_CANON is at least 255; this is Linux's.
const MAX_BYTES: usize = 4096;

/// The line that is being typed.
#[derive(Default, Debug)]
pub struct Cooked {
    bytes: Vec<u8>,
}

impl Cooked {
    /// An empty line.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// Takes a byte, and adds to `echo` what the screen shows for it. Returns what
    /// a program may read now, if the byte completes it: a line with its newline,
    /// or the text that Ctrl-D ends, which is empty for the end of the file.
    pub fn push(&mut self, byte: u8, echo: &mut String) -> Option<Vec<u8>> {
        match byte {
            b'\r' | b'\n' => {
                echo.push_str("\r\n");
                self.bytes.push(b'\n');
                return Some(self.take());
            }
            0x04 => return Some(self.take()),
            0x08 | 0x7f => self.erase(echo),
            0x15 => {
                while !self.bytes.is_empty() {
                    self.erase(echo);
                }
            }
            0x17 => self.erase_word(echo),
            b'\t' | 0x20..=0x7e | 0x80.. if self.bytes.len() < MAX_BYTES => {
                self.bytes.push(byte);
                self.echo_last(echo);
            }
            // Other control characters mean nothing here.
            _ => {}
        }
        None
    }

    /// Takes the line so far and leaves it empty.
    pub fn take(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.bytes)
    }

    /// Echoes the last character once its last byte has come. A tab is shown as a
    /// blank, so that one backspace erases it.
    fn echo_last(&self, echo: &mut String) {
        let start = self.last_start();
        match core::str::from_utf8(&self.bytes[start..]) {
            Ok("\t") => echo.push(' '),
            Ok(character) => echo.push_str(character),
            Err(_) => {}
        }
    }

    /// Where the last character starts.
    fn last_start(&self) -> usize {
        let is_start = |byte: &u8| byte & 0xc0 != 0x80;
        self.bytes.iter().rposition(is_start).unwrap_or(0)
    }

    fn erase(&mut self, echo: &mut String) {
        if self.bytes.is_empty() {
            return;
        }
        let start = self.last_start();
        if core::str::from_utf8(&self.bytes[start..]).is_ok() {
            echo.push_str("\x08 \x08");
        }
        self.bytes.truncate(start);
    }

    fn erase_word(&mut self, echo: &mut String) {
        while self.bytes.last() == Some(&b' ') {
            self.erase(echo);
        }
        while self.bytes.last().is_some_and(|&byte| byte != b' ') {
            self.erase(echo);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (the text that could be read, the echo).
    fn typed(bytes: &[u8]) -> (Vec<Vec<u8>>, String) {
        let (mut cooked, mut echo) = (Cooked::default(), String::new());
        let lines = bytes.iter().filter_map(|&byte| cooked.push(byte, &mut echo)).collect();
        (lines, echo)
    }

    #[test]
    fn a_line_ends_with_return() {
        assert_eq!(typed(b"ab\rc"), (vec![b"ab\n".to_vec()], "ab\r\nc".into()));
    }

    #[test]
    fn erasing() {
        assert_eq!(typed(b"ac\x7fb\n").0, [b"ab\n"]);
        assert_eq!(typed(b"one two \x17\n").0, [b"one \n"]);
        assert_eq!(typed(b"one\x15\x7f\n").0, [b"\n"]);
        assert_eq!(typed("aä\x7f\n".as_bytes()), (vec![b"a\n".to_vec()], "aä\x08 \x08\r\n".into()));
    }

    #[test]
    fn end_of_file() {
        assert_eq!(typed(b"a\x04\x04").0, [b"a".to_vec(), b"".to_vec()]);
    }

    #[test]
    fn broken_utf8_is_kept_and_erased_whole() {
        let (lines, echo) = typed(b"\xe2\x82\x7fa\n");
        assert_eq!((lines, echo.as_str()), (vec![b"a\n".to_vec()], "a\r\n"));
        assert_eq!(typed(b"\x82\n").0, [b"\x82\n"]);
    }

    #[test]
    fn a_full_line_takes_only_its_end() {
        let (lines, _) = typed(&[vec![b'x'; MAX_BYTES + 9], vec![b'\n']].concat());
        assert_eq!(lines[0].len(), MAX_BYTES + 1);
    }
}
