//! The end by our own fault: say why, show the state, stop everyone, status 1.
//!
//! Takes no lock and allocates nothing: it must work amid anything. The first CPU
//! that comes here owns the report; others stop.

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use powerpc64::backtrace::{Backtrace, Step};
use powerpc64::exceptions::{KernelFault, TrapFrame};
use powerpc64::{percpu, rtas, smp};

use crate::console;
use crate::machine;
use crate::println;
use crate::symbols::Symbol;
use crate::task;

/// Set by the CPU that reports.
static DYING: AtomicBool = AtomicBool::new(false);

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    begin();
    match info.location() {
        Some(place) => println!("\nkernel panic: {} ({}:{})", info.message(), place.file(), place.line()),
        None => println!("\nkernel panic: {}", info.message()),
    }
    print_state();
    print_backtrace(Backtrace::here());
    end(format_args!("kernel panic: {}", info.message()))
}

/// The hardware found the kernel at fault.
pub(crate) fn kernel_fault(frame: &TrapFrame, fault: KernelFault) -> ! {
    begin();
    println!("\nkernel fault: {fault:x?} at {}", Symbol(frame.nip));
    print_state();
    print_registers(frame);
    print_backtrace(Backtrace::from_frame(frame));
    end(format_args!("kernel fault: {fault:x?} at {}", Symbol(frame.nip)))
}

/// A non-maskable interrupt: the machine is dying and this CPU is to stop.
pub(crate) fn nmi(_: &mut TrapFrame) {
    if DYING.load(Ordering::Relaxed) {
        stop();
    }
}

/// Makes this CPU the one that reports, and stops the others. A CPU that comes
/// second stops; one that comes twice ends the machine without a second report.
fn begin() {
    powerpc64::irqflags::disable();
    static REPORTER: core::sync::atomic::AtomicU32 = core::sync::atomic::AtomicU32::new(u32::MAX);
    let me = percpu::cpu_id().index() as u32;
    if DYING.swap(true, Ordering::AcqRel) {
        if REPORTER.load(Ordering::Relaxed) == me {
            rtas::os_term("the kernel failed again while it reported a failure");
        }
        stop();
    }
    REPORTER.store(me, Ordering::Relaxed);
    console::break_lock();
    stop_others();
}

/// Stops the CPUs that are online, one by one: a broadcast would also reach those
/// that were never started. One that cannot be stopped can only spoil the output.
fn stop_others() {
    let Some(kernel) = machine::lazy_tlb_if_ready() else { return };
    for cpu in kernel.online().without(percpu::cpu_id()).iter() {
        let _ = smp::nmi(task::server_of(cpu));
    }
}

fn stop() -> ! {
    loop {
        // Interrupts are off: only another NMI wakes it.
        core::hint::spin_loop();
    }
}

/// The last line, and the end of the machine.
fn end(why: fmt::Arguments<'_>) -> ! {
    println!("{why}");
    rtas::os_term("kernel failure")
}

/// Who runs here, and on which address space.
fn print_state() {
    let Some(kernel) = machine::lazy_tlb_if_ready() else {
        println!("{}, before the protocol's state exists", percpu::cpu_id());
        return;
    };
    let state = kernel.cpu(percpu::cpu_id());
    println!("{}, policy {}, {}", percpu::cpu_id(), kernel.config().policy.name(), task::Describe);
    println!(
        "lazy tlb: loaded {:?}, its task owns {:?}, PIDR {}, left behind {:?}",
        state.active_mm.get(),
        state.curr_mm.get(),
        powerpc64::mmu::loaded_pid().get(),
        state.prev_mm.get()
    );
}

fn print_registers(frame: &TrapFrame) {
    println!("nip {:016x} lr {:016x} msr {:016x} ctr {:016x}", frame.nip, frame.lr, frame.msr, frame.ctr);
    println!("cr {:08x} xer {:08x} dar {:016x} dsisr {:08x}", frame.cr, frame.xer, frame.dar, frame.dsisr);
    for row in (0..32).step_by(4) {
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| frame.gpr(row + i));
        println!("r{row:<2} {a:016x} {b:016x} {c:016x} {d:016x}");
    }
}

fn print_backtrace(steps: Backtrace) {
    println!("backtrace:");
    for step in steps {
        match step {
            Step::Call(address) => println!("  {}", Symbol(address)),
            Step::Trap { vector, nip, user: false } => println!("  exception {vector:#x} at {}", Symbol(nip)),
            Step::Trap { vector, nip, user: true } => {
                println!("  exception {vector:#x} in user mode at {nip:#x}");
            }
        }
    }
}
