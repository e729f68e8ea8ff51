//! What a debugger needs to find the lazy-TLB state, at one symbol.
//!
//! Generic types have unreadable names and change with the compiler, so a
//! debugger reads memory by the offsets given here. All words are big-endian
//! 64-bit unless the field says otherwise. Bump [`VERSION`] with the layout;
//! `qemu-scripts/gdb/lazy_tlb.py` checks it.

use core::mem::{offset_of, size_of};
use core::sync::atomic::{AtomicU64, Ordering};

use kcore::cpu::CpuState;
use kcore::mm::Mm;
use kcore::task::TaskMm;
use powerpc64::percpu::PerCpu;

use crate::machine::lazy_tlb;
use crate::task::{self, Task};

const VERSION: u64 = 1;
/// "LZTLBDBG".
const MAGIC: u64 = 0x4c5a_544c_4244_4247;

/// The table of contents. Addresses are 0 until [`init`].
#[repr(C)]
pub(crate) struct LazyTlbDebug {
    magic: u64,
    version: u64,
    /// CPUs of the machine, online or not.
    nr_cpus: AtomicU64,
    /// 0 eager, 1 refcount, 2 shootdown.
    policy: AtomicU64,
    /// Address of the first `CpuState`, one a CPU.
    cpu_states: AtomicU64,
    cpu_state_size: u64,
    cpu_curr_mm: u64,
    cpu_active_mm: u64,
    /// Address of the first `Mm`, one a slot; a slot's number is its PID.
    mms: AtomicU64,
    nr_mms: AtomicU64,
    mm_size: u64,
    /// `id`: slot in the low, generation in the high 32 bits.
    mm_id: u64,
    /// 32 bits each.
    mm_users: u64,
    mm_count: u64,
    mm_live: u64,
    /// CPU n is bit n % 64 of word n / 64.
    mm_cpumask: u64,
    /// Address of an array of addresses of `PerCpu`, one a CPU.
    percpus: AtomicU64,
    /// Offset in `PerCpu` of the address of the current `Task`.
    percpu_current: u64,
    task_mm: u64,
    task_active_mm: u64,
    /// 32 bits.
    task_tid: u64,
    /// 16 bytes, NUL-padded.
    task_name: u64,
}

/// Found by name by debuggers.
#[unsafe(no_mangle)]
pub(crate) static LAZY_TLB_DEBUG: LazyTlbDebug = LazyTlbDebug {
    magic: MAGIC,
    version: VERSION,
    nr_cpus: AtomicU64::new(0),
    policy: AtomicU64::new(0),
    cpu_states: AtomicU64::new(0),
    cpu_state_size: size_of::<CpuState>() as u64,
    cpu_curr_mm: offset_of!(CpuState, curr_mm) as u64,
    cpu_active_mm: offset_of!(CpuState, active_mm) as u64,
    mms: AtomicU64::new(0),
    nr_mms: AtomicU64::new(0),
    mm_size: size_of::<Mm>() as u64,
    mm_id: Mm::LAYOUT.id as u64,
    mm_users: Mm::LAYOUT.mm_users as u64,
    mm_count: Mm::LAYOUT.mm_count as u64,
    mm_live: Mm::LAYOUT.live as u64,
    mm_cpumask: Mm::LAYOUT.mm_cpumask as u64,
    percpus: AtomicU64::new(0),
    percpu_current: PerCpu::CURRENT_OFFSET as u64,
    task_mm: (offset_of!(Task, mm) + TaskMm::LAYOUT.mm) as u64,
    task_active_mm: (offset_of!(Task, mm) + TaskMm::LAYOUT.active_mm) as u64,
    task_tid: offset_of!(Task, tid) as u64,
    task_name: offset_of!(Task, name) as u64,
};

/// Fills in the addresses; once, when the protocol's state and the table of CPUs exist.
pub(crate) fn init() {
    let kernel = lazy_tlb();
    let set = |field: &AtomicU64, value: u64| field.store(value, Ordering::Relaxed);
    set(&LAZY_TLB_DEBUG.nr_cpus, kernel.nr_cpus() as u64);
    set(&LAZY_TLB_DEBUG.policy, kernel.config().policy as u64);
    set(&LAZY_TLB_DEBUG.cpu_states, kernel.cpus().as_ptr() as u64);
    set(&LAZY_TLB_DEBUG.mms, kernel.mms().as_ptr() as u64);
    set(&LAZY_TLB_DEBUG.nr_mms, kernel.mms().len() as u64);
    set(&LAZY_TLB_DEBUG.percpus, task::area_addresses().as_ptr() as u64);
}
