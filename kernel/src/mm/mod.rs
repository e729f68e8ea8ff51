//! Memory: frames, the kernel's own memory, and address spaces.
//!
//! | file | its idea |
//! |---|---|
//! | [`frame`], [`account`] | who has which page frame, how many are in use |
//! | [`heap`], [`kstack`], [`kernel_map`] | the kernel's own memory |
//! | [`object`], [`backing`], [`mapping`] | what a mapping shows, and who maps a file |
//! | [`address_space`] | the machine's part of an mm, its begin and end |
//! | [`mmap`], [`change`], [`unmap`], [`mremap`], [`detach`] | what programs ask for |
//! | [`size_limit`] | how much of it they may have |
//! | [`advice`], [`mincore`] | what they say or ask about memory |
//! | [`fault`], [`fork`], [`grow`] | made on demand, copied on write |
//! | [`gather`] | flush before free |
//!
//! Locks, outermost first: an inode's `writing` (of [`fs`](crate::fs)), `mmap_lock` (parent
//! before child), an object's pages (all three sleep), its list of mappers, kernel stacks,
//! the heap, a frame cache, the buddy allocator (all with interrupts off). Only the first
//! two are ever held over a cross-call.

#[cfg(feature = "selftest")]
mod account;
mod address_space;
mod advice;
mod backing;
mod change;
mod detach;
mod fault;
mod fork;
pub(crate) mod frame;
mod gather;
mod grow;
pub(crate) mod heap;
mod kernel_map;
mod kstack;
mod mapping;
mod mincore;
mod mmap;
mod mremap;
mod object;
mod size_limit;
mod tables;
mod unmap;

use arch::addr::PAGE_SIZE;
use arch::boot::BootInfo;

#[cfg(feature = "selftest")]
pub(crate) use account::Account;
pub(crate) use address_space::{
    Layout, create, exit_mmap, free_mm, init as init_address_spaces, layout, set_text,
};
pub(crate) use advice::{Advice, madvise, mlock, mlockall, msync, munlock};
pub(crate) use backing::Backing;
pub(crate) use change::{Reach, mprotect, munmap, poke, poke_writable, shared_key};
pub(crate) use detach::detach;
pub(crate) use fault::{Access, FaultError, handle_fault};
pub(crate) use fork::fork;
#[cfg(feature = "selftest")]
pub(crate) use kernel_map::kernel_tree;
pub(crate) use kernel_map::process_table_address;
pub(crate) use kstack::KernelStack;
pub(crate) use mincore::mincore;
pub(crate) use mmap::{LOWEST, MMAP_TOP, MapFlags, STACK_MAX, STACK_TOP, brk, mmap, set_brk_start};
pub(crate) use mremap::{RemapFlags, mremap};
pub(crate) use object::Object;
pub(crate) use vm::area::Prot;

use crate::shutdown::cannot_start;

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
