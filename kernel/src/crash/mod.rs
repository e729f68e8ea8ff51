//! The end by our own fault: the cause in one line, every CPU in turn, the counters, and the
//! cause again as the last line; status 1.
//!
//! Takes no lock and allocates nothing: it must work amid anything. The first CPU that comes here
//! reports; [`stopped`] has the others. If it fails while it reports, it says so and ends the
//! machine without another try.

mod line;
mod show;
mod stopped;

use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

use arch::backtrace::Backtrace;
use arch::exceptions::{Fault, FaultCause, KernelFault, TrapFrame};
use arch::{irqflags, percpu, rtas, smp};
use kcore::cpu::CpuSet;

use crate::symbols::Symbol;
use crate::task::report::Running;
use crate::{console, println, report};
use line::Line;

/// No CPU's number.
const NOBODY: u32 = u32::MAX;
/// The CPU that reports.
static REPORTER: AtomicU32 = AtomicU32::new(NOBODY);
/// How often the reporter has failed since.
static FAILURES: AtomicU32 = AtomicU32::new(0);
/// Why the machine ends. The reporter's.
static CAUSE: Line = Line::empty();

/// Below this an address is a null pointer and an offset.
const NULL_PAGE: u64 = 4096;

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let registers = TrapFrame::capture();
    let message = info.message();
    match info.location() {
        Some(place) => die(
            format_args!("kernel panic: {message} ({}:{})", place.file(), place.line()),
            &registers,
            Backtrace::here(),
        ),
        None => die(format_args!("kernel panic: {message}"), &registers, Backtrace::here()),
    }
}

/// The hardware found the kernel at fault.
pub(crate) fn kernel_fault(frame: &TrapFrame, fault: KernelFault) -> ! {
    let (at, steps) = (Symbol(frame.nip), Backtrace::from_frame(frame));
    match fault {
        KernelFault::StackOverflow => {
            let who = Running(percpu::this());
            die(
                format_args!("kernel fault: stack overflow: {who} has used up its kernel stack at {at}"),
                frame,
                steps,
            )
        }
        fault => die(format_args!("kernel fault: {} at {at}", Describe(fault, frame)), frame, steps),
    }
}

/// A non-maskable interrupt: another CPU reports and this one is to stop, or the machine's
/// operator asks for a report.
pub(crate) fn nmi(frame: &mut TrapFrame) {
    #[cfg(feature = "selftest")]
    if crate::upcalls::tests::is_deaf_to_nmi() {
        return;
    }
    stopped::leave_remains(frame);
    match REPORTER.load(Ordering::Relaxed) {
        NOBODY => {}
        // An interrupt from outside, in the middle of our report: the report goes on.
        reporter if reporter == percpu::cpu_id().index() as u32 => return,
        _ => smp::park(),
    }
    // Such an interrupt goes to all CPUs. A second one amid the first would cost the
    // registers that the first has saved.
    stopped::wait_for_others();
    die(
        format_args!("kernel stopped: a system reset from outside, which asks for this report"),
        frame,
        Backtrace::from_frame(frame),
    )
}

/// Reports and ends the machine. Any context.
fn die(cause: fmt::Arguments<'_>, registers: &TrapFrame, steps: Backtrace) -> ! {
    let _off = irqflags::disable();
    let me = percpu::cpu_id();
    let mine = me.index() as u32;
    match REPORTER.compare_exchange(NOBODY, mine, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => {}
        Err(reporter) if reporter == mine => failed_again(cause),
        // The reporter will send an NMI, whose handler leaves our state for the report.
        Err(_) => smp::park(),
    }
    console::reserve_for(me);
    CAUSE.set(cause);
    let others = stopped::others();
    // The others stop before the first line, so that their lines do not tear it.
    others.iter().for_each(stopped::stop);
    println!("\n{CAUSE}");
    show::this_cpu(registers, steps);
    #[cfg(feature = "selftest")]
    crate::upcalls::tests::fail_in_report();
    others.iter().flat_map(CpuSet::iter).for_each(show::other_cpu);
    if others.is_some() {
        report::print();
    }
    end()
}

/// The report itself fails: prints a line about that, then the last line nevertheless.
fn failed_again(cause: fmt::Arguments<'_>) -> ! {
    if FAILURES.fetch_add(1, Ordering::Relaxed) > 0 {
        // Not even two lines. Formatting is not to be trusted any more.
        arch::console::write_bytes(b"\nkernel failure: the report of a failure fails again and again\n");
        rtas::os_term("the report of a failure fails again and again");
    }
    static SECOND: Line = Line::empty();
    SECOND.set(cause);
    println!("\nthe report is cut short by a second failure: {SECOND}");
    if CAUSE.is_empty() {
        CAUSE.set(format_args!("{SECOND}"));
    }
    end()
}

/// The last line, and the end of the machine.
fn end() -> ! {
    println!("{CAUSE}");
    CAUSE.with(|why| rtas::os_term(why))
}

/// A fault of the kernel, in words.
struct Describe<'a>(KernelFault, &'a TrapFrame);

impl fmt::Display for Describe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            KernelFault::Page(fault) => page_fault(f, fault),
            KernelFault::StackOverflow => f.write_str("stack overflow"),
            KernelFault::MachineCheck => f.write_str("machine check"),
            KernelFault::Unrecoverable => {
                f.write_str("a non-maskable interrupt that cannot be returned from")
            }
            KernelFault::Exception(vector) => exception(f, vector, self.1),
        }
    }
}

fn page_fault(f: &mut fmt::Formatter<'_>, fault: Fault) -> fmt::Result {
    let access = match (fault.exec, fault.write) {
        (true, _) => "execution",
        (_, true) => "write",
        _ => "read",
    };
    let address = fault.addr.0;
    let null = if address < NULL_PAGE { ", a null pointer" } else { "" };
    let why = match fault.cause {
        FaultCause::NotMapped => "where nothing is mapped",
        FaultCause::Protection => "which the page does not permit",
        FaultCause::BadTree => "where there is no address space",
    };
    write!(f, "{access} of {address:#x}{null}, {why},")
}

fn exception(f: &mut fmt::Formatter<'_>, vector: u64, frame: &TrapFrame) -> fmt::Result {
    match vector {
        0x380 => write!(f, "access to {:#x}, which is no address,", frame.dar),
        0x480 => f.write_str("execution of what is no address"),
        0x600 => write!(f, "unaligned access to {:#x}", frame.dar),
        0x700 => write!(f, "program exception {:#x} (illegal, privileged or trap instruction)", vector),
        0x800 | 0xf20 | 0xf40 => write!(f, "exception {vector:#x}: floating-point or vector instruction"),
        vector => write!(f, "exception {vector:#x}"),
    }
}
