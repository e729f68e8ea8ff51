//! The kernel's own memory, which exists before address spaces and tasks do.
//!
//! | file | its idea |
//! |---|---|
//! | [`frame`], `account` | page frames and their references, memory in use |
//! | [`kernel_map`], [`tables`] | the kernel's page tables, and the frames of all tables |
//! | [`heap`], [`kstack`] | small objects, and stacks |
//!
//! Locks, outermost first: kernel stacks, the heap, a frame cache, the buddy allocator,
//! all with interrupts off.

#[cfg(feature = "selftest")]
mod account;
pub(crate) mod frame;
pub(crate) mod heap;
pub(crate) mod kernel_map;
mod kstack;
pub(crate) mod tables;

use arch::addr::PAGE_SIZE;
use arch::boot::BootInfo;

#[cfg(feature = "selftest")]
pub(crate) use account::Account;
#[cfg(feature = "selftest")]
pub(crate) use kernel_map::{DEVICES, kernel_tree};
pub(crate) use kernel_map::{ForInterrupts, process_table_address};
pub(crate) use kstack::KernelStack;

use crate::console::cannot_start;

/// The memory that the kernel takes before init runs, in KiB: its map, the process table, the
/// tables of address spaces and tasks, and init's own first pages.
const TAKES_KIB: u64 = 3 << 10;
/// The memory that each CPU takes, in KiB: its stacks, its worker's, its areas.
const TAKES_KIB_EACH_CPU: u64 = 64;

/// Ends the boot of a machine in which it would run out of memory half-way.
fn check_enough(info: &BootInfo) {
    let cpus = info.cpus.len().min(kcore::cpu::MAX_CPUS) as u64;
    let has_kib = frame::free_count() * PAGE_SIZE / 1024;
    let takes_kib = TAKES_KIB + cpus * TAKES_KIB_EACH_CPU;
    if has_kib < takes_kib {
        cannot_start(format_args!(
            "too little memory: {has_kib} KiB are free, {takes_kib} KiB are needed for {cpus} CPUs and init"
        ));
    }
}

/// Makes the frame allocator, the kernel's map and the heap, and turns the MMU on. Called once,
/// on the boot CPU, in real mode with interrupts off.
pub(crate) fn init(info: &BootInfo) {
    frame::init(info);
    check_enough(info);
    kernel_map::init(info);
    heap::init();
}
