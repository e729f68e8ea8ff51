//! The calls of the hardware half to the kernel, and of a floor of the kernel to a higher one: only
//! a table of contents.

use arch::exceptions::{Fault, KernelFault, Outcome, SystemCalls, TrapFrame, Upcalls, UserFault};
use arch::irq::{self, Interrupt, InterruptController};
use kcore::machine::IrqsOff;

use crate::machine::lazy_tlb;
use crate::{crash, process, special, syscall, task};

// The calls of a floor of the kernel to a higher one. `make layers` lets every floor name these
// items, and nothing else that lies above it.

/// The part of a task that only user threads have. `task` carries it, and uses only its registers.
pub(crate) use crate::process::Thread as UserHalf;

/// The program that an address space runs. `mm` keeps the file from being written.
pub(crate) use crate::fs::text::Text;

/// How much of a resource the running process may use: `mm` and `fs` ask `process`.
pub(crate) use crate::process::limits::{INFINITY, NR_OPEN, Resource, of_current as limit_of_current};
/// Waits that a signal ends, and signals that files send: `fs` asks `process`.
pub(crate) mod signal {
    pub(crate) use crate::process::signal::{ERESTARTSYS, SIGPIPE, send_to_current, wait};
}

/// A thread ends, and with it the futexes that it holds: `process` asks `syscall`.
pub(crate) use crate::syscall::{
    futex::wake_at as wake_futex_at, robust_list::release as release_robust_list,
};

/// Init has ended, and with it the machine: `process` reports it.
pub(crate) use crate::monitor::init_ended;
/// For test builds only: a named place where a test may hold a CPU, questions of a crash report to
/// the tests, a device, and words of the command line.
#[cfg(feature = "selftest")]
pub(crate) mod tests {
    pub(crate) use crate::selftest::crashes::{fail_in_report, is_deaf_to_nmi, is_kind as is_kind_of_crash};
    pub(crate) use crate::selftest::keep_mm::KeepMm;
    pub(crate) use crate::selftest::points::reached;
    pub(crate) use crate::selftest::soak;
}
/// The console, for the descriptors that init begins with: `process` asks `special`.
pub(crate) use crate::special::tty::console_file;

/// The memory of the rings, and the system calls with or without their records: `trace` asks
/// `memory` and `syscall`.
pub(crate) use crate::memory::frame::alloc_order_zeroed;
pub(crate) use crate::syscall::traced::calls as system_calls;

/// Preemption is on again, and this CPU was asked to schedule: `sync` asks `task`.
pub(crate) use crate::task::reschedule_if_allowed;

/// The kernel, to the hardware half.
pub(crate) struct KernelUpcalls;

impl Upcalls for KernelUpcalls {
    fn system_calls(&self) -> &'static SystemCalls {
        &syscall::TABLE
    }

    fn syscall_end(&self, frame: &mut TrapFrame, outcome: Outcome) {
        syscall::end(frame, outcome);
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
                lazy_tlb().interrupted(off);
                task::handle_ipi(off);
            }
            Interrupt::Device => special::input::interrupt(),
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
