//! What is done wrong to an address space: flushes that are left out, which only the
//! oracle sees, and a last reference that goes in the wrong place (T20).

use core::hint::black_box;

use arch::addr::PAGE_SIZE;
use arch::irqflags;
use kcore::cpu::CpuSet;
use kcore::machine::Machine;
use kcore::mm::MmId;

use super::OTHER;
use crate::breaks::{self, Broken};
use crate::machine::{call_function, lazy_tlb};
use crate::mm::{self, Prot};
use crate::selftest::address_space::{inside, map, map_written_page, new_mm};
use crate::selftest::coprocessor::FakeCoprocessor;
use crate::task::{self, kthread};

/// An address space with a written page, which this CPU and the other one have
/// used: its address.
fn used_mm() -> (MmId, u64) {
    let mm = new_mm().expect("an address space");
    let page = map_written_page(mm).expect("a page");
    use_on_other(mm);
    (mm, page)
}

fn use_on_other(mm: MmId) {
    kthread::spawn_on(OTHER, "uses-it", move || use_it(mm)).wait_exit();
}

#[inline(never)]
fn use_it(mm: MmId) {
    lazy_tlb().mmget(mm);
    inside(mm, || {});
    lazy_tlb().mmput(mm);
}

#[inline(never)]
pub(super) fn no_gather_flush() {
    let (mm, page) = used_mm();
    breaks::arm(Broken::GatherFlush);
    let _ = mm::munmap(mm, page, PAGE_SIZE);
    black_box(mm);
}

#[inline(never)]
pub(super) fn no_walk_cache_flush() {
    let (mm, page) = used_mm();
    breaks::arm(Broken::WalkCache);
    // The only page, so its tables go with it.
    let _ = mm::munmap(mm, page, PAGE_SIZE);
    black_box(mm);
}

#[inline(never)]
pub(super) fn no_copy_flush() {
    let (mm, page) = used_mm();
    let _child = mm::fork(mm).expect("a fork");
    // The fork flushed everyone: back into the TLBs.
    inside(mm, || {});
    breaks::arm(Broken::CopyFlush);
    let _ = mm::poke(mm, page, &[1]);
    black_box(mm);
}

#[inline(never)]
pub(super) fn no_exit_flush() {
    let (mm, _) = used_mm();
    breaks::arm(Broken::ExitFlush);
    lazy_tlb().mmput(mm);
    black_box(mm);
}

#[inline(never)]
pub(super) fn entry_cleared_late() {
    let (mm, _) = used_mm();
    lazy_tlb().kthread_use_mm(mm);
    breaks::arm(Broken::EntryLate);
    // It stays loaded here, so the flush is followed by new walks.
    lazy_tlb().mmput(mm);
    black_box(mm);
}

/// No page was ever mapped, so only the PID itself can give it away.
#[inline(never)]
pub(super) fn pid_without_flush() {
    let mm = new_mm().expect("an address space");
    drop(map(mm, PAGE_SIZE, Prot::READ));
    inside(mm, || {});
    breaks::arm(Broken::ExitFlush);
    lazy_tlb().mmput(mm);
    black_box(mm);
}

/// The CPU that stops is skipped by the flush, and still holds the page.
#[inline(never)]
pub(super) fn no_flush_before_stop() {
    let (mm, page) = used_mm();
    breaks::arm(Broken::CpuFlush);
    task::offline(OTHER).expect("a CPU goes offline");
    let _ = mm::munmap(mm, page, PAGE_SIZE);
    black_box(mm);
}

/// The CPU comes back with what its TLB has, and loads what it had.
#[inline(never)]
pub(super) fn no_flush_after_start() {
    let (mm, _) = used_mm();
    task::offline(OTHER).expect("a CPU goes offline");
    breaks::arm(Broken::CpuFlush);
    task::online(OTHER).expect("a CPU comes back");
    use_on_other(mm);
}

/// This CPU alone is in the mask, so its own flush looks like enough.
#[inline(never)]
pub(super) fn coprocessor_not_counted() {
    let mm = new_mm().expect("an address space");
    let page = map_written_page(mm).expect("a page");
    breaks::arm(Broken::CoproAttach);
    let _attached = FakeCoprocessor::attach(mm);
    let _ = mm::munmap(mm, page, PAGE_SIZE);
    black_box(mm);
}

/// T20: the last reference to an mm goes where its drop may not wait for IPIs.
#[inline(never)]
pub(super) fn mmdrop_with_irqs_off() {
    let mm = mm::create().expect("an address space");
    let _off = irqflags::disable();
    lazy_tlb().mmdrop(mm);
}

/// T20, in the handler of a call that another CPU waits for.
#[inline(never)]
pub(super) fn mmdrop_in_interrupt() {
    let mm = mm::create().expect("an address space");
    lazy_tlb()
        .machine
        .with_preempt_off(|t| call_function(t, &CpuSet::only(OTHER), mmdrop_in_call, mm.to_bits()));
}

#[inline(never)]
fn mmdrop_in_call(mm: u64) {
    lazy_tlb().mmdrop(MmId::from_bits(mm));
    black_box(mm);
}
