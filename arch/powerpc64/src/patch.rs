//! Places in the code that are switched while it runs: each is a nop, or a branch to code apart.
//!
//! While it is off, such a place costs a nop: no load, no test, no register. [`patchable!`](crate::patchable)
//! makes one, [`set`] switches them in groups. Other CPUs may be executing there: a nop and an unconditional branch may
//! replace each other, and a CPU executes one of the two (ISA 3.0B, Book II, "Concurrent Modification
//! and Execution of Instructions"). An interrupt has the CPU fetch anew.

use crate::addr::VirtAddr;
use crate::encoding::instruction::{NOP, branch};
use crate::{irqflags, isa};

/// Runs a block, apart, while the group is on: `patchable!(group, what, { ... })`. A group is a number below
/// 64; `what`, of 16 bits, is for those who read the table in the image.
#[macro_export]
macro_rules! patchable {
    ($group:expr, $what:expr, $code:block) => {
        // SAFETY: a nop, and a record of its place. The block is what it may become a branch to.
        unsafe {
            core::arch::asm!(
                "2: nop",
                ".pushsection __patch_sites, \"a\"",
                ".balign 4",
                ".long 2b - .",
                ".long {code} - .",
                ".short {group}, {what}",
                ".popsection",
                group = const $group as u16,
                what = const $what as u16,
                code = label {
                    core::hint::cold_path();
                    $code
                },
                options(nomem, nostack, preserves_flags)
            )
        }
    };
}

/// A place: distances from a field to the instruction, and to the code apart.
#[repr(C)]
struct Site {
    at: i32,
    code: i32,
    group: u16,
    _what: u16,
}

unsafe extern "C" {
    static __patch_sites_start: Site;
    static __patch_sites_end: Site;
    static __text_start: u8;
}

/// What a field points at.
fn target(field: &i32) -> VirtAddr {
    VirtAddr((core::ptr::from_ref(field).addr() as u64).wrapping_add_signed(i64::from(*field)))
}

/// Switches the places of `groups`, as bits, on and all others off: on this CPU from here on, on another one
/// from its next interrupt on. The caller lets nobody else in.
pub fn set(groups: u64) {
    let (start, end) = (&raw const __patch_sites_start, &raw const __patch_sites_end);
    // SAFETY: the linker script puts both around the table.
    let sites = unsafe { core::slice::from_raw_parts(start, end.offset_from_unsigned(start)) };
    let _off = irqflags::disable();
    for site in sites {
        let (at, code) = (target(&site.at), target(&site.code));
        let taken = branch(code.0.wrapping_sub(at.0).cast_signed());
        // SAFETY: text is mapped for reading.
        let now = unsafe { core::ptr::with_exposed_provenance::<u32>(at.0 as usize).read_volatile() };
        assert!(now == NOP || now == taken, "{at:?} has {now:#010x}, which nobody patched");
        // SAFETY: the place may have either.
        unsafe { isa::store_real(at.to_phys(), if groups >> site.group & 1 == 1 { taken } else { NOP }) };
    }
    isa::sync_instruction_cache(&raw const __text_start);
}
