//! What was typed and is not read yet: from bytes to the pieces that readers take.
//!
//! Bytes for a process group go through the line discipline ([`Cooked`]); others arrive as
//! they were sent.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use crate::cooked::Cooked;

/// Bytes that wait to be read at most, more or less. Bare bytes beyond that stay in
/// the hypervisor, which holds the sender up; of a line that nobody reads, nobody
/// will miss them.
const MAX_WAITING: usize = 4096;

const CTRL_C: u8 = 0x03;
const CTRL_BACKSLASH: u8 = 0x1c;

/// What a control character does to a program in the foreground.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Ctrl-C: SIGINT.
    Interrupt,
    /// Ctrl-\: SIGQUIT.
    Quit,
}

/// Whose the terminal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// All who read: nobody sits at it.
    Anybody,
    /// The monitor.
    Kernel,
    /// A process group: the foreground.
    Group(u32),
}

/// What a byte does beside being there to be read.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Effect {
    /// What the screen is to show.
    pub echo: String,
    /// To which process group, and which.
    pub signal: Option<(u32, Key)>,
}

/// What was typed.
#[derive(Debug)]
pub struct Input {
    /// What can be read, oldest first. An empty piece is the end of the file, once,
    /// and parts what comes before from what comes after.
    pieces: VecDeque<Vec<u8>>,
    /// Bytes in `pieces`.
    waiting: usize,
    /// Who may read them.
    owner: Owner,
    /// The line that is being typed for a process group.
    line: Cooked,
}

impl Input {
    /// Nothing, for anybody.
    #[expect(clippy::new_without_default, reason = "it is the constant start of a lock")]
    #[must_use]
    pub const fn new() -> Self {
        Self { pieces: VecDeque::new(), waiting: 0, owner: Owner::Anybody, line: Cooked::new() }
    }

    /// Whose it is.
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// Whether `reader` has something to read.
    #[must_use]
    pub fn has_for(&self, reader: Owner) -> bool {
        !self.pieces.is_empty() && (self.owner == Owner::Anybody || self.owner == reader)
    }

    fn is_full(&self) -> bool {
        self.waiting >= MAX_WAITING
    }

    /// Whether what is typed has to wait where it is. Never behind the back of a
    /// program that Ctrl-C is to reach.
    #[must_use]
    pub fn must_wait(&self) -> bool {
        self.is_full() && !matches!(self.owner, Owner::Group(_))
    }

    /// Takes a byte.
    pub fn put(&mut self, byte: u8) -> Effect {
        match (self.owner, byte) {
            (Owner::Group(group), CTRL_C) => self.interrupt(group, Key::Interrupt, "^C\n"),
            (Owner::Group(group), CTRL_BACKSLASH) => self.interrupt(group, Key::Quit, "^\\\n"),
            (Owner::Group(_), byte) => self.discipline(byte),
            (Owner::Anybody | Owner::Kernel, byte) => {
                self.add(&[byte]);
                Effect::default()
            }
        }
    }

    fn interrupt(&mut self, group: u32, key: Key, echo: &str) -> Effect {
        self.line.take();
        Effect { echo: echo.into(), signal: Some((group, key)) }
    }

    fn discipline(&mut self, byte: u8) -> Effect {
        let mut effect = Effect::default();
        match self.line.push(byte, &mut effect.echo) {
            // The end of the file is a piece of its own.
            Some(piece) if piece.is_empty() => self.pieces.push_back(piece),
            Some(piece) if !self.is_full() => self.add(&piece),
            _ => {}
        }
        effect
    }

    /// Adds bytes, at least one, behind those that wait; [`Input::take`] finds the lines in them.
    fn add(&mut self, bytes: &[u8]) {
        self.waiting += bytes.len();
        match self.pieces.back_mut() {
            Some(piece) if !piece.is_empty() => piece.extend_from_slice(bytes),
            _ => self.pieces.push_back(bytes.into()),
        }
    }

    /// Moves what `reader` may read, of one line at most, to `to`. Returns how many bytes, 0
    /// for the end of the file, and whether there is room again where there was none; none
    /// if there is nothing for it now.
    pub fn take(&mut self, reader: Owner, to: &mut [u8]) -> Option<(usize, bool)> {
        if !self.has_for(reader) {
            return None;
        }
        let piece = self.pieces.front_mut()?;
        let end = piece.iter().position(|&byte| byte == b'\n' || byte == b'\r');
        let count = end.map_or(piece.len(), |at| at + 1).min(to.len());
        to[..count].copy_from_slice(&piece[..count]);
        piece.drain(..count);
        if piece.is_empty() {
            self.pieces.pop_front();
        }
        let was_full = self.is_full();
        self.waiting -= count;
        Some((count, was_full && !self.is_full()))
    }

    /// Gives the terminal to `owner`, with what was typed and is not read yet: to a
    /// program through the discipline, as if it were typed now.
    pub fn give(&mut self, owner: Owner) -> Vec<Effect> {
        let rest = self.line.take();
        if !rest.is_empty() {
            self.add(&rest);
        }
        self.owner = owner;
        if !matches!(owner, Owner::Group(_)) {
            return Vec::new();
        }
        self.waiting = 0;
        let typed = core::mem::take(&mut self.pieces);
        typed.into_iter().flatten().map(|byte| self.put(byte)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Owner = Owner::Group(7);
    const OTHERS: Owner = Owner::Group(8);

    /// Input that was typed for `owner`.
    fn typed(owner: Owner, bytes: &[u8]) -> Input {
        let mut input = Input::new();
        input.give(owner);
        for &byte in bytes {
            input.put(byte);
        }
        input
    }

    /// What `reader` takes, up to 8 bytes at a time, until there is nothing for it.
    fn taken(input: &mut Input, reader: Owner) -> Vec<Vec<u8>> {
        let mut piece = [0; 8];
        let take = || input.take(reader, &mut piece).map(|(count, _)| piece[..count].to_vec());
        core::iter::from_fn(take).collect()
    }

    #[test]
    fn bare_bytes_are_taken_by_lines() {
        let mut input = typed(Owner::Anybody, b"a\x03b\nc\rd");
        assert_eq!(taken(&mut input, US), [b"a\x03b\n".to_vec(), b"c\r".to_vec(), b"d".to_vec()]);
        assert_eq!(input.waiting, 0);
    }

    #[test]
    fn only_the_owner_reads() {
        let mut input = typed(US, b"line\n");
        assert!(taken(&mut input, OTHERS).is_empty() && !input.has_for(Owner::Kernel));
        assert!(input.has_for(US) && input.owner() == US);
        assert_eq!(taken(&mut input, US), [b"line\n"]);
    }

    #[test]
    fn a_long_line_comes_in_parts_and_an_end_of_file_by_itself() {
        let mut input = typed(US, b"0123456789\n\x04rest\x04");
        let expected: [&[u8]; 4] = [b"01234567", b"89\n", b"", b"rest"];
        assert_eq!(taken(&mut input, US), expected);
    }

    #[test]
    fn control_characters_signal_the_foreground_and_end_the_line() {
        let mut input = typed(US, b"gone");
        assert_eq!(input.put(CTRL_C), Effect { echo: "^C\n".into(), signal: Some((7, Key::Interrupt)) });
        assert_eq!(input.put(CTRL_BACKSLASH), Effect { echo: "^\\\n".into(), signal: Some((7, Key::Quit)) });
        assert_eq!(input.put(b'x'), Effect { echo: "x".into(), signal: None });
        input.put(b'\n');
        assert_eq!(taken(&mut input, US), [b"x\n"]);
    }

    #[test]
    fn what_was_typed_goes_with_the_terminal() {
        let mut input = typed(Owner::Kernel, b"run\nta");
        let echoes: String = input.give(US).into_iter().map(|effect| effect.echo).collect();
        assert_eq!(echoes, "run\r\nta");
        assert_eq!((taken(&mut input, US), input.waiting), (vec![b"run\n".to_vec()], 0));
        // The line that is being typed, too.
        assert!(input.give(Owner::Kernel).is_empty());
        assert_eq!((input.waiting, taken(&mut input, Owner::Kernel)), (2, vec![b"ta".to_vec()]));
    }

    #[test]
    fn too_much_waits_or_is_lost() {
        let mut input = typed(Owner::Anybody, &[b'x'; MAX_WAITING]);
        assert!(input.must_wait());
        assert_eq!(input.take(US, &mut [0; 8]), Some((8, true)));
        assert!(!input.must_wait());
        assert_eq!(input.take(US, &mut [0; 8]), Some((8, false)));
        // Behind a program's back nothing waits: Ctrl-C is to reach it.
        let mut input = typed(US, &[[b'x'; MAX_WAITING - 1].as_slice(), b"\nlost\n\x04"].concat());
        assert!(!input.must_wait());
        assert_eq!(input.take(US, &mut [0; 2 * MAX_WAITING]), Some((MAX_WAITING, true)));
        assert_eq!(taken(&mut input, US), [b""]);
    }
}
