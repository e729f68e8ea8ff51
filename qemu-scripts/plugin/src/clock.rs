// SPDX-License-Identifier: GPL-2.0-or-later
//! The guest's clock, slower.
//!
//! Under the model a guest runs some ten thousand times slower than a machine, and its clock,
//! which is the host's, does not: time slices would end and timers ring within a few switches. QEMU's
//! own way for a plugin to set the time (`qemu_plugin_update_ns`) does nothing under TCG: in
//! QEMU 10.0 that accelerator has no setter of the clock. So the plugin is also preloaded
//! (`LD_PRELOAD`), and QEMU, which derives all time of the guest from `CLOCK_MONOTONIC`, asks
//! this file for it. Not preloaded, nothing here has an effect.
//!
//! Nothing in this package may wait for an absolute time of that clock: `Condvar::wait_timeout`
//! and its like would return at once.

use std::sync::RwLock;

/// How the clock that is shown follows the host's. Nanoseconds.
struct Clock {
    host_ns: i64,
    shown_ns: i64,
    slow: i64,
}

static CLOCK: RwLock<Clock> = RwLock::new(Clock { host_ns: 0, shown_ns: 0, slow: 1 });

impl Clock {
    fn shown(&self, host_ns: i64) -> i64 {
        self.shown_ns + (host_ns - self.host_ns) / self.slow
    }
}

/// Lets the clock run at one `slow`th of the host's from now on.
pub(crate) fn slow_down(slow: i64) {
    let mut clock = CLOCK.write().unwrap();
    let host_ns = host_ns();
    *clock = Clock { host_ns, shown_ns: clock.shown(host_ns), slow };
}

fn host_ns() -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel of the host writes one `timespec`, which is ours.
    unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// `clock_gettime` as libc has it, for everyone in the process.
///
/// # Safety
/// `time` points to a `timespec` that may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(id: libc::clockid_t, time: *mut libc::timespec) -> libc::c_int {
    if id == libc::CLOCK_MONOTONIC {
        let shown_ns = CLOCK.read().unwrap().shown(host_ns());
        // SAFETY: the caller's promise.
        unsafe {
            *time = libc::timespec { tv_sec: shown_ns / 1_000_000_000, tv_nsec: shown_ns % 1_000_000_000 }
        };
        return 0;
    }
    // SAFETY: the caller's promise.
    unsafe { libc::syscall(libc::SYS_clock_gettime, id, time) as libc::c_int }
}
