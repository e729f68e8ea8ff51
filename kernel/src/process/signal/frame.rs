//! The frame of a signal handler: the interrupted context on the user stack, as
//! Linux lays it out for ppc64 (arch/powerpc/kernel/signal_64.c), because
//! unwinders and handlers read it.
//!
//! ```text
//! old r1 ->  | ...                        |
//!            | 512 bytes for leaf functions (their red zone)
//! frame  ->  | ucontext | tramp | siginfo |
//! new r1 ->  | 128 bytes: the handler's caller's frame, back chain to old r1 |
//! ```
//! The handler returns to the trampoline, a page of ours in every address space.

use alloc::boxed::Box;
use core::mem::offset_of;
use core::sync::atomic::Ordering;

use powerpc64::addr::PAGE_SIZE;
use powerpc64::context::fpu::VectorState;
use powerpc64::exceptions::TrapFrame;
use powerpc64::reg::Msr;

use super::action::{SA_ONSTACK, SA_SIGINFO};
use super::queue::LinuxInfo;
use super::{Action, Info};
use crate::errno::Errno;
use crate::process::user_memory::{self, Plain};
use crate::process::{current_thread, exec};

/// Below the stack pointer: what leaf functions may use without asking.
const RED_ZONE: u64 = 512;
/// The handler's caller's stack frame.
const CALLER_FRAME: u64 = 128;

/// The page with the code that handlers return to. Unwinders know the instructions,
/// and the word at 32 bytes: minus the distance that a kernel's own page has.
pub(crate) static TRAMPOLINE_PAGE: [u8; PAGE_SIZE as usize] = {
    let mut page = [0; PAGE_SIZE as usize];
    // addi r1,r1,128; li r0,__NR_rt_sigreturn; sc
    let code = [0x3821_0080_u32, 0x3800_00ac, 0x4400_0002];
    let mut at = 0;
    while at < 12 {
        page[at] = code[at / 4].to_be_bytes()[at % 4];
        at += 1;
    }
    let magic = (-168_i64).to_be_bytes();
    while at < 20 {
        page[at + 20] = magic[at - 12];
        at += 1;
    }
    page
};

/// `struct sigcontext` with what follows it in `ucontext`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Registers {
    unused: [u64; 4],
    signal: u32,
    pad: u32,
    handler: u64,
    old_mask: u64,
    /// Address of `gprs`.
    regs: u64,
    gprs: [u64; 32],
    nip: u64,
    msr: u64,
    orig_gpr3: u64,
    ctr: u64,
    lr: u64,
    xer: u64,
    cr: u64,
    soft_enabled: u64,
    trap: u64,
    dar: u64,
    dsisr: u64,
    result: u64,
    gpr_rest: [u64; 4],
    /// FPR 0 to 31.
    fprs: [u64; 32],
    fpscr: u64,
    /// Address of `vrs`, or 0.
    v_regs: u64,
    /// Aligns `vrs` to 16 bytes.
    vr_pad: u64,
    /// VR 0 to 31, then VSCR in the last word of a quadword.
    vrs: [[u64; 2]; 32],
    vscr: [u64; 2],
    vrsave: [u64; 2],
    /// The second halves of VSR 0 to 31.
    vsr_low: [u64; 32],
}

/// `struct rt_sigframe`.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct Frame {
    flags: u64,
    link: u64,
    stack_base: u64,
    stack_flags: u64,
    stack_size: u64,
    mask: u64,
    mask_rest: [u64; 15],
    registers: Registers,
    unused: [u64; 2],
    tramp: [u32; 6],
    info_address: u64,
    context_address: u64,
    info: LinuxInfo,
    gap: [u64; 65],
}

// SAFETY: integers only; every gap is a named field (checked below).
unsafe impl Plain for Frame {}

