//! Misuse of an address space: a coprocessor that only the oracle knows of, and a last reference
//! that is dropped in the wrong place (T20).

use core::hint::black_box;

use arch::addr::PAGE_SIZE;
use arch::irqflags;
use kcore::cpu::CpuSet;
use kcore::machine::Cpu;
use kcore::mm::MmId;

use super::OTHER;
use crate::machine::{call_function, lazy_tlb};
use crate::selftest::address_space::{map_written_page, new_mm};
use crate::{mm, oracle};

/// The protocol does not count the coprocessor. This CPU alone is in the mask, so its own
/// flush looks like enough.
#[inline(never)]
pub(super) fn coprocessor_not_counted() {
    let mm = new_mm().expect("an address space");
    let page = map_written_page(mm).expect("a page");
    oracle::copro_load(mm);
    let _ = mm::munmap(mm, page, PAGE_SIZE);
    black_box(mm);
}

/// T20: the last reference to an mm is dropped where the drop may not wait for IPIs.
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
