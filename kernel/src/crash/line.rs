//! One line of text, neither allocated nor guarded by a lock.
//!
//! The bytes are atomics, so that a failure in the middle of a write leaves a
//! shorter line and nothing worse.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// The longest line, in bytes. A longer text loses its end.
const BYTES: usize = 320;

/// A line. One CPU writes and reads it, so relaxed accesses do.
pub(super) struct Line {
    bytes: [AtomicU8; BYTES],
    len: AtomicUsize,
}

impl Line {
    /// No text.
    pub(super) const fn empty() -> Self {
        Self { bytes: [const { AtomicU8::new(0) }; BYTES], len: AtomicUsize::new(0) }
    }

    /// Replaces the text. Line ends and other control characters become spaces.
    pub(super) fn set(&self, text: fmt::Arguments<'_>) {
        self.len.store(0, Ordering::Relaxed);
        // The sink takes everything; a formatter that fails ends the line there.
        let _ = Sink(self).write_fmt(text);
    }

    /// Whether there is no text.
    pub(super) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0
    }

    /// Calls `f` with the text.
    pub(super) fn with<R>(&self, f: impl FnOnce(&str) -> R) -> R {
        let bytes: [u8; BYTES] = core::array::from_fn(|i| self.bytes[i].load(Ordering::Relaxed));
        let text = &bytes[..self.len.load(Ordering::Relaxed).min(BYTES)];
        // The end of a line that was too long may be half a character.
        f(text.utf8_chunks().next().map_or("", |chunk| chunk.valid()))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with(|text| f.write_str(text))
    }
}

struct Sink<'a>(&'a Line);

impl Write for Sink<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let line = self.0;
        for byte in text.bytes() {
            let len = line.len.load(Ordering::Relaxed);
            let Some(slot) = line.bytes.get(len) else { break };
            slot.store(if byte.is_ascii_control() { b' ' } else { byte }, Ordering::Relaxed);
            line.len.store(len + 1, Ordering::Relaxed);
        }
        Ok(())
    }
}
