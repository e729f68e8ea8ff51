//! A test program's verdict: all well, or one line why not.

pub use alloc::format;
use alloc::string::String;
use core::fmt::Display;

use crate::file;
use crate::process::{self, Status};

/// `Ok`, or the reason of the failure.
pub type Verdict = Result<(), String>;

/// Gives an error the name of the operation that failed.
pub trait Context<T> {
    /// `what: error` as a verdict's reason.
    ///
    /// # Errors
    /// If `self` is one.
    fn context(self, what: impl Display) -> Result<T, String>;
}

impl<T, E: Display> Context<T> for Result<T, E> {
    fn context(self, what: impl Display) -> Result<T, String> {
        self.map_err(|error| format!("{what}: {error}"))
    }
}

/// Returns with the reason from the function if the condition does not hold.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($reason:tt)*) => {
        if !$condition {
            return Err($crate::verdict::format!($($reason)*));
        }
    };
}

/// Runs `child` in a process of its own and checks how it ends.
///
/// # Errors
/// If it cannot be made, or ends otherwise.
pub fn child_ends(what: &str, expected: Status, child: impl FnOnce() -> i32) -> Verdict {
    let pid = process::spawn(child).context("fork")?;
    let status = process::wait(pid).context("wait")?.without_core();
    ensure!(status == expected, "{what}: {status}, not {expected}");
    Ok(())
}

/// Whether this is no kernel with a lazy-TLB report, but `qemu-ppc64` on a
/// host: checks that mean nothing there are skipped.
#[must_use]
pub fn on_foreign_kernel() -> bool {
    match file::open(c"/proc/lazy_tlb") {
        Ok(report) => {
            let _ = report.close();
            false
        }
        Err(_) => true,
    }
}
