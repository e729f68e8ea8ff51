//! The protocol's state on this machine. [`crate::hardware`] implements the machine's part, on a
//! floor above all that it calls.

use alloc::boxed::Box;

use kcore::cpu::CpuSet;
use kcore::ipi::Call;
use kcore::machine::PreemptOff;
use kcore::{Config, LazyTlb};

use crate::sync::{Fixed, IrqLock};

/// The protocol's state. Written once at boot, before any other CPU starts.
static LAZY_TLB: Fixed<LazyTlb<Hardware>> = Fixed::unset();

/// For each CPU, the function that it has others run by [`call_function`]. It stays until all have
/// answered.
static CALLED: Fixed<Box<[IrqLock<Called>]>> = Fixed::unset();
type Called = fn(u64);

/// How many address spaces there may be at a time, `init_mm` included.
pub(crate) const NR_MMS: usize = 2048;

/// The protocol, on this machine.
pub(crate) fn lazy_tlb() -> &'static LazyTlb<Hardware> {
    LAZY_TLB.get()
}

/// The protocol, or none early in the boot.
pub(crate) fn lazy_tlb_if_ready() -> Option<&'static LazyTlb<Hardware>> {
    LAZY_TLB.try_get()
}

/// Makes the protocol's state; once, on the boot CPU, heap up.
pub(crate) fn init(config: Config, nr_cpus: usize, nr_mms: usize) {
    // SAFETY: the boot CPU is alone.
    unsafe {
        LAZY_TLB.set(LazyTlb::new(Hardware, config, nr_cpus, nr_mms));
        CALLED.set((0..nr_cpus).map(|_| IrqLock::new("a call", drop as Called)).collect());
    }
}

/// This machine: the instructions of powerpc64, the tasks and memory of this kernel.
pub(crate) struct Hardware;

/// Runs `function(arg)` on each of `targets` (online, not this CPU), with
/// interrupts off there, and waits. Interrupts on, preemption off here.
pub(crate) fn call_function(t: &PreemptOff, targets: &CpuSet, function: fn(u64), arg: u64) {
    let caller = t.cpu().index();
    *CALLED[caller].lock() = function;
    lazy_tlb().call_on_mask(t, targets, Call::Machine(caller as u64, arg));
}

/// The function that CPU `caller` has others run.
pub(crate) fn called_by(caller: usize) -> fn(u64) {
    *CALLED[caller].lock()
}
