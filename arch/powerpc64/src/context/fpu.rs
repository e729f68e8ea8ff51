//! Vector state: the 64 VSX registers, of which the floating-point registers are
//! the left halves of the first 32 and the VMX registers the last 32.
//!
//! The kernel uses none of it. A user program starts with FP, VMX and VSX off. Its
//! first use gives an "unavailable" exception, where the kernel loads the whole
//! state and turns all three on in the frame. A switch away from such a program
//! saves the state and turns them off again.

use crate::exceptions::frame::TrapFrame;
use crate::reg::Msr;
use core::arch::global_asm;
use core::mem::offset_of;

/// The vector registers of one task. A new program's are zero, but for [`VSCR_NJ`].
#[derive(Clone, Debug)]
#[repr(C, align(16))]
pub struct VectorState {
    /// VSR 0 to 63, in two doublewords.
    pub vsr: [[u64; 2]; 64],
    /// Vector status and control, in the last word.
    pub vscr: [u64; 2],
    /// Floating-point status and control, all 64 bits.
    pub fpscr: u64,
}

/// VSCR\[NJ\]: VMX flushes denormal numbers to zero. Linux starts programs with it
/// (`start_thread`).
const VSCR_NJ: u64 = 0x1_0000;

global_asm!(
    include_str!("fpu.S"),
    FPSCR = const offset_of!(VectorState, fpscr),
    VSCR = const offset_of!(VectorState, vscr),
    MSR_FP = const Msr::FP.bits(),
    MSR_VEC_VSX_HIGH = const (Msr::VEC.bits() | Msr::VSX.bits()) >> 16,
);

unsafe extern "C" {
    fn fpu_save(state: *mut VectorState);
    fn fpu_restore(state: *const VectorState);
}

impl Default for VectorState {
    fn default() -> Self {
        VectorState { vsr: [[0; 2]; 64], vscr: [0, VSCR_NJ], fpscr: 0 }
    }
}

impl VectorState {
    /// Saves the registers if `frame`, the running task's user context, has them
    /// loaded, and turns them off there. Preemption stays off until the task is
    /// switched away from or done: afterwards the registers belong to no task.
    pub fn save(&mut self, frame: &mut TrapFrame) {
        if is_loaded(frame) {
            // SAFETY: `self` has room for all that the routine stores.
            unsafe { fpu_save(self) };
            frame.msr &= !Msr::VECTOR_STATE.bits();
        }
    }

    /// Saves the registers if `frame` has them loaded, and leaves them loaded
    /// (fork). Preemption off.
    pub fn copy_live(&mut self, frame: &TrapFrame) {
        if is_loaded(frame) {
            // SAFETY: `self` has room for all that the routine stores.
            unsafe { fpu_save(self) };
        }
    }

    /// Loads the registers and turns them on in `frame`, the running task's user
    /// context. Preemption off: between load and the mark in the frame the task
    /// must not be switched away from.
    pub fn load(&self, frame: &mut TrapFrame) {
        // SAFETY: any values are good ones.
        unsafe { fpu_restore(self) };
        frame.msr |= Msr::VECTOR_STATE.bits();
    }
}

/// Does the user context `frame` have its vector state in the registers?
#[inline]
#[must_use]
pub fn is_loaded(frame: &TrapFrame) -> bool {
    // Volatile: a task that holds the frame may be switched away from. Then the
    // switch has saved the registers and turned them off in the frame.
    // SAFETY: a field of the borrowed frame.
    unsafe { (&raw const frame.msr).read_volatile() & Msr::FP.bits() != 0 }
}
