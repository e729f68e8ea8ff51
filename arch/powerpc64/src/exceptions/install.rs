//! Assembles the entry code and puts the vectors where the hardware looks.

use super::dispatch;
use super::frame::{self, CR0_SO, KERNEL_FRAME_BYTES, WHOLE};
use super::upcalls::{MAX_ERRNO, NEEDS_WHOLE_FRAME, NR_SYSTEM_CALLS};
use crate::addr::PhysAddr;
use crate::isa;
use crate::percpu::{self, STACK_SIZE};
use crate::reg::{AMR_CLOSED, IAMR_KERNEL_NO_EXEC, Msr, spr};
use core::arch::global_asm;

global_asm!(
    include_str!("macros.S"),
    include_str!("vectors.S"),
    include_str!("entry.S"),
    include_str!("capture.S"),
    FRAME = const KERNEL_FRAME_BYTES,
    PROTECTED_ZONE = const frame::PROTECTED_ZONE_BYTES,
    HEADER = const frame::HEADER_BYTES,
    GPR = const frame::offset::GPR,
    NIP = const frame::offset::NIP,
    MSR = const frame::offset::MSR,
    LR = const frame::offset::LR,
    CTR = const frame::offset::CTR,
    XER = const frame::offset::XER,
    CR = const frame::offset::CR,
    DAR = const frame::offset::DAR,
    DSISR = const frame::offset::DSISR,
    TRAP = const frame::offset::TRAP,
    ORIG_GPR3 = const frame::offset::ORIG_GPR3,
    AMR = const frame::offset::AMR,
    WHOLE = const WHOLE,
    CR0_SO_HIGH = const CR0_SO >> 16,
    SYSTEM_CALLS = const percpu::offset::SYSTEM_CALLS,
    NR_SYSTEM_CALLS = const NR_SYSTEM_CALLS,
    MAX_ERRNO = const MAX_ERRNO,
    NEEDS_WHOLE_FRAME = const NEEDS_WHOLE_FRAME,
    CHECKS = const cfg!(feature = "checks") as u32,
    OVERFLOW = const dispatch::OVERFLOW,
    USER_FRAME = const percpu::offset::USER_FRAME,
    TOC = const percpu::offset::TOC,
    WORK = const percpu::offset::WORK,
    SCRATCH = const percpu::offset::SCRATCH,
    RESERVATION = const percpu::offset::RESERVATION,
    NMI_SCRATCH = const percpu::offset::NMI_SCRATCH,
    NMI_DEPTH = const percpu::offset::NMI_DEPTH,
    NMI_FRAME = const percpu::offset::NMI_FRAME,
    EMERGENCY_FRAME = const percpu::offset::EMERGENCY_FRAME,
    STACK_BIT = const STACK_SIZE,
    AMR_CLOSED = const AMR_CLOSED.cast_signed(),
    MSR_PR = const Msr::PR.bits(),
    // As a signed number of 16 bits.
    MSR_EE_RI = const (Msr::EE.bits() | Msr::RI.bits()) as u16 as i16,
    MSR_RI = const Msr::RI.bits(),
    MSR_IR_DR = const Msr::IR.bits() | Msr::DR.bits(),
    SRR0 = const spr::SRR0,
    SRR1 = const spr::SRR1,
    SPRG0 = const spr::SPRG0,
    SPRG1 = const spr::SPRG1,
    SPRG2 = const spr::SPRG2,
    AMR_SPR = const spr::AMR,
    DAR_SPR = const spr::DAR,
    DSISR_SPR = const spr::DSISR,
    trap_handler = sym dispatch::trap,
    syscall_end_handler = sym dispatch::syscall_end,
    check_handler = sym dispatch::syscall_check,
    irq_handler = sym dispatch::irq,
    return_to_user_handler = sym dispatch::return_to_user,
    preempt_handler = sym dispatch::preempt,
    nmi_handler = sym dispatch::nmi,
    overflow_handler = sym dispatch::overflow,
);

unsafe extern "C" {
    static trap_text_start: u8;
    static trap_text_end: u8;
    // From the linker script: where the two sets are in the image, one after
    // the other, and how long each is.
    static __vectors_image: u8;
    static __vectors_real_size: u8;
    static __vectors_virt_size: u8;
}

/// Where the vectors for translated code run, with AIL=3.
const VIRT_VECTORS: PhysAddr = PhysAddr(0x4000);
const REAL_VECTORS: PhysAddr = PhysAddr(0);

/// Copies both sets of vectors to where the hardware looks. On the boot CPU,
/// with interrupts off, once the firmware is done with low memory, and before
/// the MMU map makes those pages read-only.
pub fn install_vectors() {
    let image = &raw const __vectors_image;
    // The linker script gives sizes as addresses.
    let real_bytes = (&raw const __vectors_real_size).addr();
    let virt_bytes = (&raw const __vectors_virt_size).addr();
    // SAFETY: both destinations lie in the first 64 KiB, which is reserved for
    // vectors, and the sources in the image.
    unsafe {
        copy_code(image, REAL_VECTORS, real_bytes);
        copy_code(image.add(real_bytes), VIRT_VECTORS, virt_bytes);
    }
}

/// # Safety
/// `from` is readable and `to` writable and unused for `bytes`.
unsafe fn copy_code(from: *const u8, to: PhysAddr, bytes: usize) {
    let to: *mut u8 = to.as_mut_ptr();
    // SAFETY: passed to the caller; image and low memory do not overlap.
    unsafe { core::ptr::copy_nonoverlapping(from, to, bytes) };
    isa::sync_instruction_cache(to);
}

/// Readies this CPU for exceptions: r13 must point to its `PerCpu`. Interrupts
/// off. Closes to users the facilities that the kernel does not switch (FSCR),
/// and closes user pages to the kernel.
pub fn init_cpu() {
    // SAFETY: SPRG0 is what the entry code expects; closing facilities and
    // pages takes permissions away; RI is due from here on.
    unsafe {
        isa::mtspr::<{ spr::SPRG0 }>(core::ptr::from_ref(percpu::this()).addr() as u64);
        isa::mtspr::<{ spr::FSCR }>(0);
        isa::mtspr::<{ spr::UAMOR }>(0);
        isa::mtspr::<{ spr::AMR }>(AMR_CLOSED);
        isa::mtspr::<{ spr::IAMR }>(IAMR_KERNEL_NO_EXEC);
        isa::mtmsrd_ee_ri(Msr::RI.bits());
    }
    isa::isync();
}

/// The code that calls handlers with a trap frame on the stack. A return
/// address inside it marks a trap frame in a backtrace.
#[must_use]
pub fn trap_text() -> core::ops::Range<u64> {
    let start = (&raw const trap_text_start).addr();
    let end = (&raw const trap_text_end).addr();
    start as u64..end as u64
}
