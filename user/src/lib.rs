//! The runtime of the programs of the default initrd.
//!
//! The programs speak the Linux system-call ABI of big-endian powerpc64 and
//! nothing else, so one file runs on this kernel and under `qemu-ppc64` on the
//! host: a difference between the two is to be explained. They are static,
//! ELFv2, without floating point, and use no C library.
//!
//! From the bottom: [`sys`] makes a call, [`process`], [`memory`], [`mod@file`],
//! [`sched`], [`time`] and [`futex`] give the calls their types, [`thread`] and
//! [`sync`] build threads and locks on clone and futex.
#![no_std]

extern crate alloc;

pub mod auxv;
pub mod file;
pub mod futex;
mod heap;
pub mod kinds;
pub mod membarrier;
pub mod memory;
mod panic;
#[macro_use]
pub mod print;
pub mod process;
pub mod random;
pub mod sched;
pub mod start;
pub mod sync;
pub mod sys;
pub mod thread;
pub mod time;
pub mod verdict;

pub use start::Env;
pub use sys::Errno;
pub use verdict::{Context, Verdict};

/// Names the function that a program starts with: `fn(&Env) -> impl Termination`.
#[macro_export]
macro_rules! main {
    ($main:path) => {
        #[unsafe(no_mangle)]
        fn user_main(env: &$crate::Env) -> i32 {
            $crate::start::Termination::report($main(env), env)
        }
    };
}
