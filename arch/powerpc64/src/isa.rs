//! One function per instruction: the only file with single-instruction `asm!`.
//!
//! Functions that are `unsafe` can break memory safety when used wrongly (translation,
//! interrupt state, another task's registers); barriers and reads cannot. The purpose of
//! a barrier is stated at its use.

use crate::addr::PhysAddr;
use crate::encoding::instruction;
use crate::encoding::tlb_operand::{Operands, Ric};
use crate::reg::{Msr, spr};
use core::arch::asm;

/// Reads a special-purpose register.
#[inline(always)]
#[must_use]
pub fn mfspr<const SPR: u32>() -> u64 {
    let value;
    // SAFETY: reading an SPR has no side effect on memory.
    unsafe { asm!("mfspr {}, {}", out(reg) value, const SPR, options(nostack, preserves_flags)) };
    value
}

/// Writes a special-purpose register.
/// The compiler does not move memory accesses across the write.
///
/// # Safety
/// The caller answers for the register's effect.
#[inline(always)]
pub unsafe fn mtspr<const SPR: u32>(value: u64) {
    // SAFETY: passed to the caller.
    unsafe { asm!("mtspr {1}, {0}", in(reg) value, const SPR, options(nostack, preserves_flags)) };
}

/// Reads the machine state register.
#[inline(always)]
#[must_use]
pub fn mfmsr() -> u64 {
    let value;
    // SAFETY: a read.
    unsafe { asm!("mfmsr {}", out(reg) value, options(nostack, preserves_flags)) };
    value
}

/// `mtmsrd` with L=1: changes MSR\[EE\] and MSR\[RI\] only. Execution synchronising, and
/// a compiler barrier: no access leaves the section that it opens or closes.
///
/// # Safety
/// Turning EE on lets interrupts in: no lock that a handler takes may be held.
#[inline(always)]
pub unsafe fn mtmsrd_ee_ri(value: u64) {
    // SAFETY: passed to the caller.
    unsafe { asm!("mtmsrd {}, 1", in(reg) value, options(nostack, preserves_flags)) };
}

macro_rules! plain_instructions {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name() {
            // SAFETY: only orders accesses; also a compiler barrier.
            unsafe { asm!($text, options(nostack, preserves_flags)) };
        }
    )*};
}

plain_instructions! {
    /// Full barrier (heavyweight sync, L=0). Also orders the table walks of
    /// other processors against this one's stores, which `lwsync` does not.
    sync = "sync";
    /// Context synchronising: later instructions are fetched and translated in
    /// the context that earlier ones made.
    isync = "isync";
    /// Orders storage and *translation*: PTE stores before later walks, and the
    /// completion of `tlbie`/`tlbiel` before later accesses.
    ptesync = "ptesync";
    /// Orders `tlbie` before `tlbsync`.
    eieio = "eieio";
    /// Waits until every other processor has done the preceding `tlbie`s.
    tlbsync = "tlbsync";
}

/// Hints that this thread is waiting, by a moment of low priority. Then restores the
/// priority, which is the user context's own ([`crate::context::ungated`]).
#[inline(always)]
pub fn relax() {
    let priority = mfspr::<{ spr::PPR }>();
    // SAFETY: the register is copied to itself; the form is the hint.
    unsafe { asm!("or 1, 1, 1", options(nomem, nostack, preserves_flags)) };
    // SAFETY: writes back the value that was read.
    unsafe { mtspr::<{ spr::PPR }>(priority) };
}

/// Reads the time base.
#[inline(always)]
#[must_use]
pub fn mftb() -> u64 {
    mfspr::<{ spr::TB }>()
}

// Where `tlb_instruction` puts the numbers of its registers.
const _: () = assert!(instruction::tlbie(4, 5, 0) == instruction::tlbie(0, 0, 0) | 4 << 11 | 5 << 21);

/// RIC is a field of the instruction, not of a register: one instruction per value.
macro_rules! tlb_instruction {
    ($name:ident, $operands:ident) => {
        match $operands.ric() {
            Ric::Tlb => tlb_instruction!($name, $operands, Ric::Tlb),
            Ric::All => tlb_instruction!($name, $operands, Ric::All),
        }
    };
    ($name:ident, $operands:ident, $ric:path) => {
        // SAFETY: drops cached translations, which is always allowed; the right order is
        // the caller's contract.
        unsafe {
            // A register is written as its number: the compiler may choose it, and need not move the
            // operand of each set of a whole flush.
            asm!(".long {word} | ({rb} << 11) | ({rs} << 21)", word = const instruction::$name(0, 0, $ric as u32),
                rb = in(reg) $operands.rb(), rs = in(reg) $operands.rs(),
                options(nostack, preserves_flags))
        }
    };
}

/// Broadcast TLB invalidate.
///
/// # Safety
/// Must be used in the sequence of [`crate::encoding::tlb_sequence`].
#[inline(always)]
pub unsafe fn tlbie(operands: Operands) {
    tlb_instruction!(tlbie, operands);
}

/// Local TLB invalidate.
///
/// # Safety
/// Must be used in the sequence of [`crate::encoding::tlb_sequence`].
#[inline(always)]
pub unsafe fn tlbiel(operands: Operands) {
    tlb_instruction!(tlbiel, operands);
}

/// Invalidates this thread's ERAT, with the translations of every context. The TLB
/// supplies them again.
#[inline(always)]
pub fn erat_invalidate() {
    // SAFETY: drops cached translations, which is always allowed.
    unsafe { asm!(".long {}", const instruction::INVALIDATE_ERAT, options(nostack, preserves_flags)) };
}

/// Stores a word in real mode, where no map makes memory read-only.
///
/// # Safety
/// Interrupts are off, and the word at `address` may be `value`.
pub unsafe fn store_real(address: PhysAddr, value: u32) {
    // SAFETY: instructions stay translated, and nothing else is accessed with data translation off.
    unsafe {
        asm!(
            "mfmsr   {on}",
            "andc    {off}, {on}, {off}",
            "mtmsrd  {off}",
            "isync",
            "stw     {value}, 0({address})",
            "mtmsrd  {on}",
            "isync",
            on = out(reg) _,
            off = inout(reg) Msr::DR.bits() => _,
            value = in(reg) value,
            address = in(reg_nonzero) address.0,
            options(nostack, preserves_flags),
        );
    }
}

/// Invalidates the instruction cache block at `address`.
#[inline(always)]
pub fn icbi(address: *const u8) {
    // SAFETY: a cache hint with the translation of a load.
    unsafe { asm!("icbi 0, {}", in(reg) address, options(nostack, preserves_flags)) };
}

/// Makes instructions that were just stored visible to fetches on this CPU and, after
/// their own `isync`, on all other CPUs.
///
/// The instruction caches of POWER9 and POWER10 see the stores of all CPUs, as those since POWER4
/// do. What is left are instructions that were fetched ahead: one `icbi`, of any address, has them
/// fetched again (Linux: `flush_coherent_icache`).
pub fn sync_instruction_cache(start: *const u8) {
    // Orders the stores before the fetches that come after the `icbi`.
    sync();
    icbi(start);
    // Orders the `icbi` on all CPUs before this CPU refetches.
    sync();
    isync();
}
