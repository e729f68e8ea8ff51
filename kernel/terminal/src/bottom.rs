//! The row at the bottom of the screen, which stays there while others print above it.

use alloc::string::String;
use core::fmt::{self, Write as _};

/// The width that every terminal has. A wider one is treated as if it had this.
const COLUMNS: usize = 80;

/// Where text goes.
pub trait Screen {
    /// Shows the bytes behind the cursor.
    fn put(&mut self, bytes: &[u8]);
}

/// A screen, and the row that is being edited there.
#[derive(Debug)]
pub struct Bottom<S> {
    screen: S,
    /// The bytes that draw the row; none if nothing is being edited.
    row: String,
    /// Where the text above the row ends: 0 after a whole line.
    column: usize,
}

impl<S: Screen> Bottom<S> {
    /// Without a row.
    pub const fn new(screen: S) -> Self {
        Self { screen, row: String::new(), column: 0 }
    }

    /// Lets `print` write a piece above the row, behind the text that is there.
    pub fn above<R>(&mut self, print: impl FnOnce(&mut Self) -> R) -> R {
        if self.row.is_empty() {
            return print(self);
        }
        self.screen.put(b"\r\x1b[K");
        if self.column >= COLUMNS {
            // It may have wrapped, so nobody knows where it ends.
            self.column = 0;
        }
        let column = self.column;
        if column > 0 {
            let _ = write!(self, "\x1b[A\x1b[{column}C");
            self.column = column;
        }
        let result = print(self);
        if self.column > 0 {
            self.screen.put(b"\r\n");
        }
        self.screen.put(self.row.as_bytes());
        result
    }

    /// Writes a part of a piece.
    pub fn put(&mut self, bytes: &[u8]) {
        self.screen.put(bytes);
        for byte in bytes {
            self.column = match byte {
                b'\r' | b'\n' => 0,
                0x08 => self.column.saturating_sub(1),
                b'\t' => (self.column | 7) + 1,
                0..0x20 | 0x80..0xc0 => self.column,
                _ => self.column + 1,
            };
        }
    }

    /// Shows `echo`, which a key makes of the row. From now on the row is drawn by `row`; without text there
    /// is none, and the cursor is at the start of a line. Returns the bytes that drew it until now.
    pub fn edit(&mut self, echo: &str, row: String) -> String {
        let begins = self.row.is_empty();
        if begins && self.column > 0 {
            self.screen.put(b"\r\n");
        }
        self.screen.put(echo.as_bytes());
        if begins || row.is_empty() {
            self.column = 0;
        }
        core::mem::replace(&mut self.row, row)
    }
}

impl<S: Screen> fmt::Write for Bottom<S> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
