//! What the hardware half asks of the kernel: a table of contents, no more.

use arch::exceptions::{Fault, KernelFault, TrapFrame, Upcalls, UserFault};
use arch::irq::{self, Interrupt, InterruptController};
use kcore::machine::IrqsOff;

use crate::machine::lazy_tlb;
use crate::{console, crash, process, syscall, task};

/// The kernel, to the hardware half.
pub(crate) struct KernelUpcalls;

impl Upcalls for KernelUpcalls {
    fn syscall(&self, frame: &mut TrapFrame) {
        syscall::dispatch(frame);
    }

    fn page_fault(&self, frame: &mut TrapFrame, fault: Fault) {
        process::page_fault(frame, fault);
    }

    fn user_fault(&self, frame: &mut TrapFrame, fault: UserFault) {
        process::user_fault(frame, fault);
    }

    fn fpu_unavailable(&self, frame: &mut TrapFrame) {
        process::fpu_unavailable(frame);
    }

    fn interrupt(&self, off: &IrqsOff) {
        match irq::controller().ack() {
            Interrupt::Ipi => {
                let kernel = lazy_tlb();
                kernel.cpu(off.cpu()).counters.ipi_received.bump();
                kernel.handle_calls(off);
                task::handle_ipi(off);
            }
            // There is one device.
            Interrupt::Device(_) => console::input::interrupt(),
            Interrupt::Spurious => {}
        }
    }

    fn timer(&self) {
        task::timer_tick();
    }

    fn return_to_user(&self, frame: &mut TrapFrame, off: &mut IrqsOff) {
        process::return_to_user(frame, off);
    }

    fn preempt_kernel(&self, off: &mut IrqsOff) {
        task::preempt_from_interrupt(off);
    }

    fn kernel_fault(&self, frame: &TrapFrame, fault: KernelFault) -> ! {
        crash::kernel_fault(frame, fault)
    }

    fn nmi(&self, frame: &mut TrapFrame) {
        crash::nmi(frame);
    }
}
