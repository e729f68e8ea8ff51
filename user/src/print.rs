//! Lines of text, each in one write, so that lines of several processes do not
//! mix inside. A line longer than the buffer takes more than one.

use core::fmt::{self, Write};

use crate::file::Fd;

const LINE_BYTES: usize = 512;

struct Line {
    to: Fd,
    used: usize,
    bytes: [u8; LINE_BYTES],
}

impl Line {
    fn flush(&mut self) {
        // If the console refuses, nothing is left to report to.
        let _ = self.to.write_all(&self.bytes[..self.used]);
        self.used = 0;
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if self.used == LINE_BYTES {
                self.flush();
            }
            self.bytes[self.used] = byte;
            self.used += 1;
        }
        Ok(())
    }
}

/// Writes `text` and `end` to `to`; the macros' back end.
pub fn print(to: Fd, text: fmt::Arguments<'_>, end: &str) {
    let mut line = Line { to, used: 0, bytes: [0; LINE_BYTES] };
    let _ = line.write_fmt(text).and_then(|()| line.write_str(end));
    line.flush();
}

/// Prints to standard output.
#[macro_export]
macro_rules! print {
    ($($text:tt)*) => {
        $crate::print::print($crate::file::STDOUT, format_args!($($text)*), "")
    };
}

/// Prints a line to standard output.
#[macro_export]
macro_rules! println {
    ($($text:tt)*) => {
        $crate::print::print($crate::file::STDOUT, format_args!($($text)*), "\n")
    };
}

/// Prints a line to standard error.
#[macro_export]
macro_rules! eprintln {
    ($($text:tt)*) => {
        $crate::print::print($crate::file::STDERR, format_args!($($text)*), "\n")
    };
}
