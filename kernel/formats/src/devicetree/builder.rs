//! Writes a flattened device tree into a buffer.
//!
//! The blob holds a header, an empty reservation map, the strings and the
//! structure, in this order. The strings have a room of fixed size. So the
//! structure can grow behind them in one pass over a tree whose size is not known yet.

use super::{BEGIN_NODE, END, END_NODE, HEADER_BYTES, MAGIC, OLDEST_COMPATIBLE, PROP, VERSION};

/// One empty entry ends the memory reservation map.
const RESERVATIONS_BYTES: usize = 16;
const STRINGS: usize = HEADER_BYTES + RESERVATIONS_BYTES;
/// A machine has some 200 different property names of some 20 bytes.
const STRINGS_BYTES: usize = 8192;
const STRUCTURE: usize = STRINGS + STRINGS_BYTES;

/// The buffer is too small, or the machine has too many property names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A tree under construction. Call [`begin_node`](Self::begin_node),
/// [`property`](Self::property) and [`end_node`](Self::end_node) in the order of a
/// depth-first walk, properties before children, then [`finish`](Self::finish).
#[derive(Debug)]
pub struct Builder<'b> {
    buffer: &'b mut [u8],
    /// Where the next item of the structure goes.
    at: usize,
    strings_len: usize,
    /// Where the string after the one used last starts. Sibling nodes have equal
    /// properties in equal order, so it is the best guess for the next.
    guess: usize,
}

impl<'b> Builder<'b> {
    /// Starts a tree in `buffer`.
    ///
    /// # Errors
    /// The buffer does not even hold an empty tree.
    pub fn new(buffer: &'b mut [u8]) -> Result<Self, Full> {
        buffer.get_mut(..STRUCTURE).ok_or(Full)?.fill(0);
        Ok(Self { buffer, at: STRUCTURE, strings_len: 0, guess: 0 })
    }

    fn word(&mut self, value: u32) -> Result<(), Full> {
        self.bytes(&value.to_be_bytes())
    }

    /// Appends bytes and pads them to a word.
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let end = self.at.checked_add(bytes.len()).ok_or(Full)?.next_multiple_of(4);
        let room = self.buffer.get_mut(self.at..end).ok_or(Full)?;
        let (value, padding) = room.split_at_mut(bytes.len());
        value.copy_from_slice(bytes);
        padding.fill(0);
        self.at = end;
        Ok(())
    }

    /// Opens a node; `name` with its unit address, empty for the root.
    ///
    /// # Errors
    /// The buffer is full.
    pub fn begin_node(&mut self, name: &str) -> Result<(), Full> {
        self.word(BEGIN_NODE)?;
        self.bytes(name.as_bytes())?;
        // The NUL of the name is in the padding of `bytes`, unless there was none.
        if name.len().is_multiple_of(4) { self.word(0) } else { Ok(()) }
    }

    /// Closes the node that was opened last.
    ///
    /// # Errors
    /// The buffer is full.
    pub fn end_node(&mut self) -> Result<(), Full> {
        self.word(END_NODE)
    }

    /// Adds a property of `length` bytes, which `fill` writes in place and may cut
    /// short: it returns how many bytes are good, or None to leave the property out.
    ///
    /// # Errors
    /// The buffer is full.
    pub fn property(
        &mut self,
        name: &str,
        length: usize,
        fill: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Result<(), Full> {
        let name_offset = self.string(name)?;
        let value = self.at + 12;
        let room = value.checked_add(length).ok_or(Full)?;
        let Some(good) = fill(self.buffer.get_mut(value..room).ok_or(Full)?) else {
            return Ok(());
        };
        let good = good.min(length);
        self.word(PROP)?;
        self.word(good as u32)?;
        self.word(name_offset as u32)?;
        let end = (value + good).next_multiple_of(4);
        self.buffer.get_mut(value + good..end).ok_or(Full)?.fill(0);
        self.at = end;
        Ok(())
    }

    /// The offset of `name` in the strings, where it is added if it is new.
    fn string(&mut self, name: &str) -> Result<usize, Full> {
        let strings = &mut self.buffer[STRINGS..STRUCTURE];
        let matches = |at: usize, strings: &[u8]| {
            let end = at + name.len();
            strings.get(at..end) == Some(name.as_bytes()) && strings.get(end) == Some(&0)
        };
        let mut at = 0;
        if self.guess < self.strings_len && matches(self.guess, strings) {
            at = self.guess;
        } else {
            while at < self.strings_len && !matches(at, strings) {
                let rest = &strings[at..self.strings_len];
                at += rest.iter().position(|&byte| byte == 0).unwrap_or(rest.len()) + 1;
            }
        }
        let end = at + name.len();
        self.guess = end + 1;
        if at >= self.strings_len {
            strings.get_mut(at..end).ok_or(Full)?.copy_from_slice(name.as_bytes());
            *strings.get_mut(end).ok_or(Full)? = 0;
            self.strings_len = end + 1;
        }
        Ok(at)
    }

    /// Ends the tree and writes its header; returns the length of the whole blob.
    /// The header's field for the boot CPU stays 0: only a walk of the tree could
    /// find it.
    ///
    /// # Errors
    /// The buffer is full.
    pub fn finish(mut self) -> Result<usize, Full> {
        self.word(END)?;
        let header = [
            MAGIC,
            self.at as u32,
            STRUCTURE as u32,
            STRINGS as u32,
            HEADER_BYTES as u32,
            VERSION,
            OLDEST_COMPATIBLE,
            0,
            self.strings_len as u32,
            (self.at - STRUCTURE) as u32,
        ];
        for (field, value) in self.buffer.chunks_exact_mut(4).zip(header) {
            field.copy_from_slice(&value.to_be_bytes());
        }
        Ok(self.at)
    }
}
