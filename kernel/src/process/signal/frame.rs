//! The frame of a signal handler: the interrupted context on the user stack, in Linux's layout for
//! ppc64 (arch/powerpc/kernel/signal_64.c), because unwinders and handlers read it.
//!
//! ```text
//! old r1 ->  | ...                        |
//!            | 512 bytes for leaf functions (their red zone)
//! frame  ->  | ucontext | tramp | siginfo |
//! new r1 ->  | 128 bytes: the handler's caller's frame, back chain to old r1 |
//! ```
//! The handler returns to the trampoline, a page of the kernel's in every address space.

use alloc::boxed::Box;
use core::mem::offset_of;

use arch::addr::PAGE_SIZE;
use arch::context::fpu::VectorState;
use arch::context::ungated;
use arch::exceptions::TrapFrame;
use arch::reg::Msr;

use super::action::{SA_ONSTACK, SA_SIGINFO};
use super::alternate::AlternateStack;
use super::queue::LinuxInfo;
use super::{Action, Info};
use crate::errno::Errno;
use crate::mm::user_memory::{self, Plain, UserAddr};
use crate::process::{current, current_thread, exec};

/// The bytes below the stack pointer that leaf functions use without moving it.
const RED_ZONE: u64 = 512;
/// The handler's caller's stack frame.
const CALLER_FRAME: u64 = 128;

/// The page with the code that handlers return to. Unwinders recognise Linux's trampoline (it
/// begins with `addi r1,r1,128`) and expect unwind tables with it. They do not recognise this one,
/// so they stop here, as thread cancellation needs.
pub(crate) static TRAMPOLINE_PAGE: [u8; PAGE_SIZE as usize] = {
    let mut page = [0; PAGE_SIZE as usize];
    // li r0,__NR_rt_sigreturn; sc
    let code = [0x3800_00ac_u32, 0x4400_0002];
    let mut at = 0;
    while at < 8 {
        page[at] = code[at / 4].to_be_bytes()[at % 4];
        at += 1;
    }
    page
};

/// `struct sigcontext`, and the fields behind it in `ucontext`.
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
    /// Address of `vrs`. Set even if no vector register was used: VRSAVE is always stored.
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
    stack: AlternateStack,
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

// SAFETY: integers only; every gap is a named field (the sizes below).
unsafe impl Plain for Frame {}
const _: () = assert!(offset_of!(Frame, registers) == 168);
const _: () = assert!(offset_of!(Frame, info) == 1752);
const _: () = assert!(size_of::<Frame>() == 2400);
/// `v_regs` points to a multiple of 16.
const VRS: u64 = (offset_of!(Frame, registers) + offset_of!(Registers, vrs)) as u64;
const _: () = assert!(VRS.is_multiple_of(16));

/// Stores the context of `frame` on the user stack, and turns `frame` into the handler's. `blocked`
/// is restored when the handler returns.
pub(super) fn push(frame: &mut TrapFrame, info: &Info, action: &Action, blocked: u64) -> Result<(), Errno> {
    let old_stack = frame.gpr(1);
    let alternate = &current_thread().alternate_stack;
    let alternate_top = alternate.free_top(old_stack).filter(|_| action.flags & SA_ONSTACK != 0);
    let top = alternate_top.unwrap_or(old_stack.wrapping_sub(RED_ZONE));
    let at = top.wrapping_sub(size_of::<Frame>() as u64) & !15;
    let stack = at.wrapping_sub(CALLER_FRAME);

    // Filled in on the heap: a `Frame` is too large for the stack.
    let mut saved: Box<Frame> = user_memory::zeroed();
    saved.stack = alternate.stored();
    saved.mask = blocked;
    saved.info_address = at + offset_of!(Frame, info) as u64;
    saved.context_address = at;
    saved.info = info.to_linux();
    let registers = &mut saved.registers;
    (registers.signal, registers.handler, registers.old_mask) = (info.signal, action.handler, blocked);
    save(frame, registers, at);
    UserAddr(at).write_from(&*saved)?;
    UserAddr(stack).write(old_stack)?;

    let process = current();
    let (entry, toc) = match process.is_elf_v2() {
        true => (action.handler, None),
        // The handler is named by its function descriptor.
        false => {
            let [entry, toc]: [u64; 2] = UserAddr(action.handler).read()?;
            (entry, Some(toc))
        }
    };
    let second = match action.flags & SA_SIGINFO != 0 {
        true => saved.info_address,
        false => at + offset_of!(Frame, registers) as u64,
    };
    frame.set_gpr(1, stack);
    frame.set_gpr(2, toc.unwrap_or(frame.gpr(2)));
    frame.set_gpr(3, u64::from(info.signal));
    frame.set_gpr(4, second);
    frame.set_gpr(5, at);
    frame.set_gpr(6, at);
    frame.set_gpr(12, entry);
    frame.lr = exec::TRAMPOLINE;
    frame.nip = entry;
    alternate.disarm();
    Ok(())
}

/// Stores the context of `frame` in `registers`, which are zero and belong to the [`Frame`] for the
/// address `at`.
fn save(frame: &mut TrapFrame, registers: &mut Registers, at: u64) {
    registers.regs = at + (offset_of!(Frame, registers) + offset_of!(Registers, gprs)) as u64;
    registers.gprs = *frame.gprs();
    (registers.nip, registers.msr, registers.orig_gpr3) = (frame.nip, frame.msr, frame.orig_gpr3);
    (registers.ctr, registers.lr, registers.xer, registers.cr) = (frame.ctr, frame.lr, frame.xer, frame.cr);
    (registers.trap, registers.dar, registers.dsisr) = (frame.vector(), frame.dar, frame.dsisr);
    registers.soft_enabled = 1;
    registers.v_regs = at + VRS;
    registers.vrsave[0] = ungated::vrsave() << 32;
    current_thread().vector_for_handler(frame, |vector| {
        registers.msr |= Msr::VECTOR_STATE.bits();
        for n in 0..32 {
            [registers.fprs[n], registers.vsr_low[n]] = vector.vsr[n];
            registers.vrs[n] = vector.vsr[32 + n];
        }
        (registers.fpscr, registers.vscr) = (vector.fpscr, vector.vscr);
    });
}

/// rt_sigreturn: restores the context above the handler's caller's frame, to which the stack
/// pointer points again. `EFAULT` if it cannot be read: the program is lost.
pub(crate) fn sigreturn(frame: &mut TrapFrame) -> Result<(), Errno> {
    let saved: Box<Frame> = UserAddr(frame.gpr(1).wrapping_add(CALLER_FRAME)).read_boxed()?;
    let registers = &saved.registers;
    frame.set_gprs(&registers.gprs);
    // The MSR is not the program's to change.
    (frame.nip, frame.ctr, frame.lr) = (registers.nip & !3, registers.ctr, registers.lr);
    (frame.xer, frame.cr) = (registers.xer, registers.cr & 0xffff_ffff);
    let used = registers.msr & Msr::VECTOR_STATE.bits() != 0;
    let vector = used.then(|| {
        let mut vector = Box::<VectorState>::default();
        for n in 0..32 {
            vector.vsr[n] = [registers.fprs[n], registers.vsr_low[n]];
            vector.vsr[32 + n] = registers.vrs[n];
        }
        (vector.fpscr, vector.vscr) = (registers.fpscr, registers.vscr);
        vector
    });
    ungated::set_vrsave(registers.vrsave[0] >> 32);
    current_thread().set_vector(vector, frame);
    super::set_blocked(saved.mask);
    // As in Linux, a stack that cannot be set is no error here.
    let _ = current_thread().alternate_stack.set(saved.stack, frame.gpr(1));
    Ok(())
}
