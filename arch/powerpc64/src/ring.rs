//! A CPU's ring of records, and the instructions that write one.

use core::arch::{asm, naked_asm};
use core::mem::offset_of;
use core::sync::atomic::AtomicU64;

use crate::percpu::offset;

/// Where a CPU records events. Layout shared with assembly.
#[repr(C)]
pub struct Ring {
    /// How many bytes of records were begun.
    pub position: AtomicU64,
    /// The records.
    pub records: *mut [AtomicU64; 4],
    /// How many bytes they have, a power of two, less one.
    pub last: u64,
}

// SAFETY: the records are atomics.
unsafe impl Sync for Ring {}

/// The ring of a CPU whose events nobody wants: its one record is overwritten by all.
pub(crate) const SINK: *const Ring = &raw const DROPPING;
static DROPPING: Ring =
    Ring { position: AtomicU64::new(0), records: (&raw const DROPPED).cast_mut(), last: 0 };
static DROPPED: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

/// The instructions of a record. The second word is the last to be written: `head`, whose lowest 16 bits are
/// zero, with bits 8 to 23 of the record's number.
macro_rules! written {
    ($asm:ident, $end:literal, $($operands:tt)+) => {
        $asm!(
            "ld      {ring}, {RING}(13)",
            "2: ldarx {number}, 0, {ring}",
            "addi    {at}, {number}, 32",
            "stdcx.  {at}, 0, {ring}",
            "bne-    2b",
            "ld      {at}, {LAST}({ring})",
            "ld      {ring}, {RECORDS}({ring})",
            "and     {at}, {at}, {number}",
            // A record has 32 bytes: the bits of its number are 13 to 28 here.
            "rlwimi  {head}, {number}, 19, 16, 31",
            "mfspr   {number}, 268",
            "stdux   {number}, {ring}, {at}",
            "std     {second}, 16({ring})",
            "std     {third}, 24({ring})",
            "std     {head}, 8({ring})",
            $end,
            RING = const offset::RING,
            RECORDS = const offset_of!(Ring, records),
            LAST = const offset_of!(Ring, last),
            $($operands)+
        )
    };
}

/// Records an event in this CPU's ring, wherever an interrupt or a move to another CPU comes in. The
/// place is taken by one atomic addition.
///
/// Not a call: it would cost the functions that record something their registers, even while nothing
/// is recorded.
#[inline(always)]
pub fn record(head: u64, second: u64, third: u64) {
    // SAFETY: a ring, and the sink, has `last` + 1 bytes, a power of two, or one record.
    unsafe {
        written!(
            asm,
            "",
            head = inout(reg) head => _,
            second = in(reg) second,
            third = in(reg) third,
            ring = out(reg_nonzero) _,
            number = out(reg_nonzero) _,
            at = out(reg) _,
            out("cr0") _,
            options(nostack),
        );
    }
}

/// [`record`], for functions that call others anyway: a call of three registers' changes.
#[inline(always)]
pub fn record_apart(head: u64, second: u64, third: u64) {
    // SAFETY: `apart` changes these registers, and has no frame.
    unsafe {
        asm!(
            "bl      {apart}",
            apart = sym apart,
            inout("r3") head => _,
            in("r4") second,
            in("r5") third,
            out("r6") _,
            out("r7") _,
            out("r8") _,
            out("cr0") _,
            out("lr") _,
            options(nostack),
        );
    }
}

/// [`record`] of r3, r4 and r5. It changes r3, r6, r7, r8 and cr0.
#[unsafe(naked)]
extern "C" fn apart() {
    written!(
        naked_asm,
        "blr",
        head = const 3,
        second = const 4,
        third = const 5,
        ring = const 6,
        number = const 7,
        at = const 8,
    )
}
