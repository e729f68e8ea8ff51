//! Interrupts and exceptions: from the vector to the kernel's handler and back.
//!
//! `vectors.S` holds the vectors, `entry.S` the common entry and exit,
//! [`frame`] the saved registers. `dispatch` finds the cause, and `Upcalls`
//! is the kernel's half.
//!
//! Rules that the assembly keeps: no interrupt is enabled while SRR0, SRR1,
//! SPRG1 or a scratch slot holds a live value, and MSR\[RI\] shows that to an
//! NMI; the work flag is read with interrupts off, and they stay off to `rfid`;
//! r13 is loaded from a frame only on the way to user mode.

pub mod frame;

#[cfg(all(target_os = "none", feature = "checks"))]
pub mod authority;
#[cfg(target_os = "none")]
mod dispatch;
#[cfg(target_os = "none")]
mod install;
#[cfg(target_os = "none")]
mod upcalls;

#[cfg(target_os = "none")]
pub use frame::TrapFrame;
#[cfg(target_os = "none")]
pub use install::{init_cpu, install_vectors, trap_text};
#[cfg(target_os = "none")]
pub(crate) use upcalls::system_calls;
#[cfg(target_os = "none")]
pub use upcalls::{
    Fault, FaultCause, KernelFault, NEEDS_WHOLE_FRAME, NR_SYSTEM_CALLS, Outcome, SystemCall, SystemCalls,
    Upcalls, UserFault, install,
};
