//! The trap frame: the interrupted context as the entry code saves it.
//!
//! It sits above a minimal ELFv2 stack frame, so that the handler may be called
//! at once and a backtrace can step across it. Which registers are saved, and
//! which are loaded again, depends on the way in:
//!
//! | entry | saved | loaded on the way out |
//! |---|---|---|
//! | system call | r0 to r8, r13, LR, CR; the others before the frame is [whole](TrapFrame::is_whole) | what was saved |
//! | external, decrementer | volatile ones; the others before `return_to_user` | what was saved |
//! | everything else | all, and DAR, DSISR | all |

use core::mem::offset_of;

use crate::reg::Msr;

/// Bytes of the ELFv2 frame header below the trap frame: back chain, CR save,
/// LR save and TOC save.
pub(crate) const HEADER_BYTES: u64 = 32;
/// How much the ELFv2 ABI lets a function use below its stack pointer. The
/// compiler does: it saves r14 to r31 there before it moves r1.
#[cfg(target_os = "none")]
pub(crate) const PROTECTED_ZONE_BYTES: u64 = 288;
/// How much of a kernel stack an entry takes, without the protected zone that
/// follows interrupted kernel code.
pub const KERNEL_FRAME_BYTES: u64 = HEADER_BYTES + size_of::<TrapFrame>() as u64;

/// CR0\[SO\]: a system call failed.
pub(crate) const CR0_SO: u64 = 1 << 28;
/// Set in `trap` of a system call whose frame is whole. Vector numbers are multiples of
/// 0x10.
pub(crate) const WHOLE: u64 = 1;

/// The interrupted context. Layout shared with assembly through `offset_of!`.
#[derive(Clone, Debug, Default)]
#[repr(C, align(16))]
pub struct TrapFrame {
    pub(crate) gpr: [u64; 32],
    /// The interrupted instruction, and where the context goes on.
    pub nip: u64,
    /// Its MSR.
    pub msr: u64,
    /// Its link register.
    pub lr: u64,
    /// Its count register.
    pub ctr: u64,
    /// Its XER.
    pub xer: u64,
    /// Its condition register, in the low half.
    pub cr: u64,
    /// Address of a faulting access (0x300, 0x380, 0x600).
    pub dar: u64,
    /// Cause of a data storage interrupt, in the low half.
    pub dsisr: u64,
    pub(crate) trap: u64,
    /// r3 as a system call found it, for restarts: the result overwrites r3.
    pub orig_gpr3: u64,
    /// AMR of an interrupted kernel context. Not used for user contexts.
    pub(crate) amr: u64,
}

/// Byte offsets for assembly, from the stack pointer of the handler.
#[cfg(target_os = "none")]
pub(crate) mod offset {
    use super::{HEADER_BYTES, TrapFrame};
    use core::mem::offset_of;
    const H: usize = HEADER_BYTES as usize;
    pub(crate) const GPR: usize = H + offset_of!(TrapFrame, gpr);
    pub(crate) const NIP: usize = H + offset_of!(TrapFrame, nip);
    pub(crate) const MSR: usize = H + offset_of!(TrapFrame, msr);
    pub(crate) const LR: usize = H + offset_of!(TrapFrame, lr);
    pub(crate) const CTR: usize = H + offset_of!(TrapFrame, ctr);
    pub(crate) const XER: usize = H + offset_of!(TrapFrame, xer);
    pub(crate) const CR: usize = H + offset_of!(TrapFrame, cr);
    pub(crate) const DAR: usize = H + offset_of!(TrapFrame, dar);
    pub(crate) const DSISR: usize = H + offset_of!(TrapFrame, dsisr);
    pub(crate) const TRAP: usize = H + offset_of!(TrapFrame, trap);
    pub(crate) const ORIG_GPR3: usize = H + offset_of!(TrapFrame, orig_gpr3);
    pub(crate) const AMR: usize = H + offset_of!(TrapFrame, amr);
}

/// Byte offsets of the fields of a [`TrapFrame`], for debuggers.
#[allow(missing_docs, reason = "named after the fields")]
pub struct TrapFrameLayout {
    pub gpr: usize,
    pub nip: usize,
    pub msr: usize,
    pub lr: usize,
    pub trap: usize,
    /// The stack frame's header, which is below the trap frame.
    pub header: u64,
}

impl TrapFrame {
    /// The byte offsets, for debuggers.
    pub const LAYOUT: TrapFrameLayout = TrapFrameLayout {
        gpr: offset_of!(TrapFrame, gpr),
        nip: offset_of!(TrapFrame, nip),
        msr: offset_of!(TrapFrame, msr),
        lr: offset_of!(TrapFrame, lr),
        trap: offset_of!(TrapFrame, trap),
        header: HEADER_BYTES,
    };

    /// The context of a new user program: `entry` with `stack`, all other
    /// registers 0.
    #[must_use]
    pub fn new_user(entry: u64, stack: u64) -> Self {
        let mut frame = TrapFrame { nip: entry, msr: Msr::USER.bits(), ..Default::default() };
        frame.gpr[1] = stack;
        frame
    }

    /// General-purpose register `n`.
    #[inline]
    #[must_use]
    pub fn gpr(&self, n: usize) -> u64 {
        self.gpr[n]
    }

    /// Changes a general-purpose register; takes effect when the context goes on.
    #[inline]
    pub fn set_gpr(&mut self, n: usize, value: u64) {
        self.gpr[n] = value;
    }

    /// All general-purpose registers, for signal frames and dumps.
    #[must_use]
    pub fn gprs(&self) -> &[u64; 32] {
        &self.gpr
    }

    /// Replaces all general-purpose registers (sigreturn).
    pub fn set_gprs(&mut self, gprs: &[u64; 32]) {
        self.gpr = *gprs;
    }

    /// Whether the frame of a system call has all registers, which are then all loaded on
    /// the way out. Until then the program's r14 to r31 are where the compiler keeps them,
    /// and the frame has only number, arguments and r1, r2 and r13.
    #[inline]
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.trap & WHOLE != 0
    }

    /// The interrupt vector, 0x100 to 0xf60.
    #[inline]
    #[must_use]
    pub fn vector(&self) -> u64 {
        self.trap & !0xf
    }

    /// Whether the context is a user program.
    #[inline]
    #[must_use]
    pub fn is_user(&self) -> bool {
        self.msr & Msr::PR.bits() != 0
    }

    /// Whether the context had interrupts on.
    #[inline]
    #[must_use]
    pub fn irqs_were_on(&self) -> bool {
        self.msr & Msr::EE.bits() != 0
    }

    /// False if an NMI hit while SRR0 and SRR1 were in use: it cannot return.
    #[inline]
    #[must_use]
    pub fn is_recoverable(&self) -> bool {
        self.msr & Msr::RI.bits() != 0
    }

    /// The system call's number (Linux ABI: r0).
    #[inline]
    #[must_use]
    pub fn syscall_number(&self) -> u64 {
        self.gpr[0]
    }

    /// Sets a system call's outcome in the Linux way: -4095 to -1 is an error,
    /// returned as the positive errno with CR0\[SO\] set; anything else is the
    /// result, with CR0\[SO\] clear.
    #[inline]
    pub fn set_result(&mut self, result: i64) {
        const MAX_ERRNO: i64 = 4095;
        if (-MAX_ERRNO..0).contains(&result) {
            self.gpr[3] = result.unsigned_abs();
            self.cr |= CR0_SO;
        } else {
            self.gpr[3] = result.cast_unsigned();
            self.cr &= !CR0_SO;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stack_stays_aligned_to_16_bytes() {
        assert_eq!(KERNEL_FRAME_BYTES % 16, 0);
    }

    #[test]
    fn results_follow_the_linux_abi() {
        let mut frame = TrapFrame::default();
        frame.set_result(-2);
        assert_eq!((frame.gpr(3), frame.cr & CR0_SO), (2, CR0_SO));
        frame.set_result(42);
        assert_eq!((frame.gpr(3), frame.cr & CR0_SO), (42, 0));
        // An address in the upper half is a result, not an error.
        frame.set_result(-4096);
        assert_eq!((frame.gpr(3), frame.cr & CR0_SO), (-4096_i64 as u64, 0));
        frame.set_result(-4095);
        assert_eq!((frame.gpr(3), frame.cr & CR0_SO), (4095, CR0_SO));
    }

    #[test]
    fn a_new_program_has_nothing_in_its_registers() {
        let frame = TrapFrame::new_user(0x1000, 0x2000);
        let stack = |n| if n == 1 { 0x2000 } else { 0 };
        assert!((0..32).all(|n| frame.gpr(n) == stack(n)));
        assert_eq!([frame.lr, frame.ctr, frame.xer, frame.cr], [0; 4]);
        assert_eq!((frame.nip, frame.msr), (0x1000, Msr::USER.bits()));
    }

    #[test]
    fn registers_change_by_name_and_all_at_once() {
        let mut frame = TrapFrame::default();
        let values = core::array::from_fn(|n| n as u64);
        frame.set_gprs(&values);
        frame.set_gpr(0, 7);
        assert_eq!((frame.gprs()[31], frame.syscall_number()), (31, 7));
    }

    #[test]
    fn a_whole_frame_has_the_vector_of_its_call() {
        let frame = |trap| TrapFrame { trap, ..Default::default() };
        assert_eq!((frame(0xc00).is_whole(), frame(0xc00).vector()), (false, 0xc00));
        assert_eq!((frame(0xc00 | WHOLE).is_whole(), frame(0xc00 | WHOLE).vector()), (true, 0xc00));
    }
}
