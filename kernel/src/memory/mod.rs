//! The kernel's own memory: what is there before address spaces and tasks are.
//!
//! | file | its idea |
//! |---|---|
//! | [`frame`], [`account`] | who has which page frame, how many are in use |
//! | [`kernel_map`], [`tables`] | the kernel's page tables, and what all tables are made of |
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
pub(crate) use kernel_map::kernel_tree;
pub(crate) use kernel_map::process_table_address;
pub(crate) use kstack::KernelStack;

use crate::console::cannot_start;

/// What the kernel takes before init runs: its map, the process table, the tables of
/// address spaces and tasks, and init's own first pages.
const TAKES_KIB: u64 = 3 << 10;
/// What a CPU takes: three stacks, its worker's, its areas.
const TAKES_KIB_EACH_CPU: u64 = 96;

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

/// From real mode to an MMU that is on and a heap: frames, the kernel's map, the
/// heap. Once, on the boot CPU, entered in real mode with interrupts off.
pub(crate) fn init(info: &BootInfo) {
    frame::init(info);
    check_enough(info);
    kernel_map::init(info);
    heap::init();
}
