//! What the hardware half asks of the kernel: a table of contents, no more.

use arch::exceptions::{Fault, KernelFault, TrapFrame, Upcalls, UserFault};
use arch::irq::{self, Interrupt, InterruptController};
use kcore::event::Event;
use kcore::machine::Machine;

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

    fn interrupt(&self) {
        match irq::controller().ack() {
            Interrupt::Ipi => {
                let kernel = lazy_tlb();
                kernel.machine.with_irqs_off(|t| {
                    kernel.event(t, Event::Interrupted);
                    kernel.handle_calls(t);
                    task::handle_ipi(t);
                });
            }
            // There is one device.
            Interrupt::Device(_) => console::input::interrupt(),
            Interrupt::Spurious => {}
        }
    }

    fn timer(&self) {
        task::timer_tick();
    }

    fn return_to_user(&self, frame: &mut TrapFrame) {
        process::return_to_user(frame);
    }

    fn preempt_kernel(&self) {
        task::preempt_from_interrupt();
    }

    fn kernel_fault(&self, frame: &TrapFrame, fault: KernelFault) -> ! {
        crash::kernel_fault(frame, fault)
    }

    fn nmi(&self, frame: &mut TrapFrame) {
        crash::nmi(frame);
    }
}
