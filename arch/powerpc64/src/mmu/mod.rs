//! Translation: trees, the process table, and how the kernel's own map is made
//! and turned on.

pub mod cursor;
mod entry;
pub mod kernel_map;
pub mod observer;
pub mod process_table;
pub mod tree;

use crate::hcall::{self, Status};
use crate::isa;
use crate::reg::{Msr, spr};
use core::arch::asm;
use kcore::mm::Pid;
use process_table::{LOG2_BYTES, ProcessTable};
use tree::RadixTree;

/// The kernel's entry of the process table: quadrant 3 of every process.
pub const KERNEL_PID: Pid = Pid::new(0);

/// Registers the process table with the hypervisor, loads the guard PID and turns
/// the MMU on. On the boot CPU, in real mode, with interrupts off; other CPUs turn
/// theirs on when they start. With `gtse` this partition may use `tlbie`.
///
/// # Errors
/// The hypervisor's status; the MMU is off then.
///
/// # Safety
/// `kernel` maps all that the kernel uses, at the addresses it uses; the entry of
/// `guard` in `table` is empty.
pub unsafe fn enable(table: ProcessTable, kernel: &RadixTree, guard: Pid, gtse: bool) -> Result<(), Status> {
    table.set(KERNEL_PID, kernel.root());
    // SAFETY: `table` and `kernel` are good by contract; with the guard PID no low address is
    // mapped.
    unsafe {
        hcall::h_register_proc_tbl(table.base().0, LOG2_BYTES, gtse)?;
        load_pid(guard);
        // rfid, because it changes IR and DR together with the address of the
        // next instruction, and synchronises the context.
        asm!(
            "bcl 20, 31, 2f",
            "2: mflr {next}",
            "addi {next}, {next}, 3f - 2b",
            "or {next}, {next}, {linear}",
            "mtspr {srr0}, {next}",
            "mtspr {srr1}, {msr}",
            "rfid",
            "3:",
            next = out(reg_nonzero) _,
            linear = in(reg) crate::addr::LINEAR_BASE,
            // All of it: firmware leaves floating point on.
            msr = in(reg) Msr::KERNEL.bits(),
            srr0 = const spr::SRR0,
            srr1 = const spr::SRR1,
            out("lr") _,
            options(nostack),
        );
    }
    Ok(())
}

/// Loads `pid`: this CPU translates user addresses through its tree from here on.
///
/// The `isync` before the write orders earlier accesses into the old space. The one after it
/// orders later accesses into the new one.
///
/// # Safety
/// The caller records that this CPU has the address space loaded (mm_cpumask, active_mm).
/// Interrupts off.
#[inline]
pub unsafe fn load_pid(pid: Pid) {
    isa::isync();
    // SAFETY: passed to the caller.
    unsafe { isa::mtspr::<{ spr::PIDR }>(pid.get().into()) };
    isa::isync();
}

/// The PID that this CPU has loaded.
#[inline]
#[must_use]
pub fn loaded_pid() -> Pid {
    Pid::new(isa::mfspr::<{ spr::PIDR }>() as u32)
}
