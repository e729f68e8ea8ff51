//! Hangs.

use alloc::string::String;
use core::hint::black_box;
use core::sync::atomic::{AtomicBool, Ordering};

use arch::irqflags;
use kcore::cpu::{CpuId, CpuSet};
use kcore::machine::Cpu;

use super::{OTHER, wait_for};
use crate::machine::{call_function, lazy_tlb};
use crate::sync::SpinLock;
use crate::sync::preempt;
use crate::task::kthread;

#[inline(never)]
pub(super) fn spin_deadlock() {
    static LOCK: SpinLock<u32> = SpinLock::new("a lock of this test", 0);
    let first = LOCK.lock();
    let second = LOCK.lock();
    black_box((*first, *second));
}

/// Has the other CPU spin with interrupts off.
fn silence_other() {
    static SILENT: AtomicBool = AtomicBool::new(false);
    #[inline(never)]
    fn spin_with_irqs_off() {
        let _off = irqflags::disable();
        loop {
            SILENT.store(true, Ordering::Relaxed);
        }
    }
    kthread::spawn_on(OTHER, "silent", spin_with_irqs_off);
    wait_for("the other CPU to be silent", || SILENT.load(Ordering::Relaxed));
}

#[inline(never)]
pub(super) fn ipi_silent() {
    silence_other();
    lazy_tlb().machine.with_preempt_off(|t| call_function(t, &CpuSet::only(OTHER), drop, 0));
}

#[inline(never)]
pub(super) fn irqs_off() {
    silence_other();
    kthread::spawn_on(OTHER, "waits-in-vain", || {}).wait_exit();
}

#[inline(never)]
pub(super) fn no_yield() {
    let _stay = preempt::disable();
    // It can run nowhere else.
    kthread::spawn_on(CpuId::BOOT, "waits-in-vain", || {});
    loop {
        black_box(String::new());
    }
}
