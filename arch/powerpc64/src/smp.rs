//! Other CPUs: starting them, stopping them, interrupting them for certain.
//!
//! RTAS does not know for certain whether a CPU is *stopped* (a ceded one looks
//! stopped). The kernel records which CPUs are online; nothing here keeps state.

use crate::addr::VirtAddr;
use crate::hcall::{self, Status};
use crate::irq::{self, InterruptController as _};
use crate::percpu::PerCpu;
use crate::{exceptions, irqflags, isa, percpu, rtas, timer};
use kcore::machine::IrqsOff;

unsafe extern "C" {
    /// See boot/secondary.S.
    static secondary_entry: u8;
}

unsafe extern "Rust" {
    /// The kernel, on a secondary CPU: MMU on, guard PID loaded, interrupts off, on
    /// the kernel stack of its `PerCpu`. The TLB may hold anything,
    /// after a stop also stale translations: flush it before a user PID is loaded.
    fn secondary_main() -> !;
}

/// Starts the CPU that `percpu` describes (its `server` is the hardware id). It
/// goes to the kernel's `secondary_main` by itself; the kernel's own handshake
/// shows that it has arrived. Needs the MMU on (the process table is registered)
/// and the vectors in place. Not from an interrupt handler.
///
/// # Errors
/// RTAS's: there is no such CPU, or it runs.
///
/// # Safety
/// The CPU must not be online; a ceded CPU would be torn out of the kernel. The
/// `PerCpu` must be complete, in the linear map below 4 GB, and its stacks unused.
pub unsafe fn start_cpu(percpu: &'static PerCpu) -> Result<(), rtas::Error> {
    let real = |pointer: *const u8| VirtAddr(pointer.expose_provenance() as u64).to_phys().0;
    let argument = real(core::ptr::from_ref(percpu).cast());
    let argument = u32::try_from(argument).expect("smp: a PerCpu lies below 4 GB");
    let entry = real(&raw const secondary_entry) as u32;
    // F51 sync: orders all that the boot has set up before the start of the new CPU. Partner: the
    // CPU's start, which reads its PerCpu. The call into RTAS alone orders nothing.
    isa::sync();
    // SAFETY: the entry takes a real PerCpu address; the rest is the caller's
    // promise.
    unsafe { rtas::start_cpu(percpu.server(), entry, argument) }
}

/// From secondary.S.
pub(crate) extern "C" fn secondary_start() -> ! {
    exceptions::init_cpu();
    // The decrementer may hold anything: no interrupt before the kernel asks for one.
    timer::set_deadline_tb(u64::MAX);
    irq::controller().init_cpu();
    // SAFETY: the kernel crate defines it with this type.
    unsafe { secondary_main() }
}

/// Stops this CPU until the next [`start_cpu`]. An interrupt that is sent to it from here on is lost,
/// or waits in the interrupt controller and is spurious when the CPU has started again.
///
/// # Errors
/// Returns only if RTAS refuses.
///
/// # Safety
/// Nothing may depend on this CPU any more.
pub unsafe fn stop(_: &IrqsOff) -> rtas::Error {
    // Nothing may be pending, or could become so, that would wake it.
    irq::controller().exit_cpu();
    timer::set_deadline_tb(u64::MAX);
    // SAFETY: the caller's promise.
    unsafe { rtas::stop_self() }
}

/// Sends a system reset interrupt to the CPU `server`: the way to stop it when the
/// kernel is dying. It need not have interrupts on.
///
/// Only for a CPU that is online: one that was never started would run our vector
/// without a PerCpu or a stack.
///
/// # Errors
/// The hypervisor's status.
pub fn nmi(server: u32) -> Result<(), Status> {
    // F52 sync: orders earlier stores before the interrupt. Partner: the NMI, whose handler reads
    // them on the other CPU. The hypervisor call alone orders nothing.
    isa::sync();
    hcall::h_signal_sys_reset(server)
}

/// Stops this CPU for good, asleep in the hypervisor: the others have the host's
/// processors to themselves. Only another NMI wakes it. Any context.
pub fn park() -> ! {
    let _off = irqflags::disable();
    // Nothing may be pending, or the sleep would end at once.
    irq::controller().exit_cpu();
    timer::set_deadline_tb(u64::MAX);
    loop {
        let _ = hcall::h_confer(percpu::this().server());
    }
}
