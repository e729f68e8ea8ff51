//! One CPU's part of a report: its task, its lazy-TLB state, its registers, its backtrace.

use arch::backtrace::{Backtrace, Step};
use arch::exceptions::TrapFrame;
use arch::percpu::PerCpu;
use arch::reg::Msr;
use arch::{mmu, percpu};
use kcore::cpu::CpuId;
use kcore::mm::MmId;

use super::stopped;
use crate::machine;
use crate::println;
use crate::symbols::Symbol;
use crate::task::{
    self,
    report::{Running, RunningMm},
};

/// The CPU that reports.
pub(super) fn this_cpu(registers: &TrapFrame, steps: Backtrace) {
    println!("{}: {}, {}", percpu::cpu_id(), Running(percpu::this()), Mode(registers));
    print_lazy_tlb(percpu::this(), Some(mmu::loaded_pid().get()));
    print_registers(registers);
    print_backtrace(steps);
}

/// A CPU that was to stop.
pub(super) fn other_cpu(cpu: CpuId) {
    let area = task::area_of(cpu);
    let running = Running(area);
    match stopped::remains_of(cpu) {
        Some((frame, pid)) => {
            println!("{cpu}: {running}, {}", Mode(frame));
            print_lazy_tlb(area, Some(pid));
            print_registers(frame);
            print_backtrace(Backtrace::from_frame(frame));
        }
        None => {
            println!("{cpu}: {running}, does not answer a non-maskable interrupt");
            print_lazy_tlb(area, None);
        }
    }
}

/// A PID register, if it is known.
struct Pid(Option<u32>);

impl core::fmt::Display for Pid {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            Some(pid) => pid.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

/// The mode that a frame was taken in.
struct Mode<'a>(&'a TrapFrame);

impl core::fmt::Display for Mode<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mode = if self.0.is_user() { "user" } else { "kernel" };
        let irqs = if Msr::from_bits_retain(self.0.msr).contains(Msr::EE) { "on" } else { "off" };
        write!(f, "in {mode} mode, interrupts {irqs}")
    }
}

/// Prints the mms of a CPU's task, the mms that the protocol has published for that CPU, and its
/// PID register.
fn print_lazy_tlb(area: &'static PerCpu, pid: Option<u32>) {
    let Some(kernel) = machine::lazy_tlb_if_ready() else {
        return println!("  lazy tlb: not yet up");
    };
    let state = kernel.cpu(area.cpu_id());
    let (owns, loaded, left) = (state.curr_mm.peek(), state.active_mm.peek(), state.prev_mm.peek());
    let kind = if owns == loaded || loaded == MmId::INIT_MM { "" } else { " (lazy)" };
    println!("  task: {}", RunningMm(area));
    println!("  lazy tlb: PIDR {}, active_mm {loaded:?}{kind}, curr_mm {owns:?}, prev_mm {left:?}", Pid(pid));
    for target in kernel.unanswered(area.cpu_id()).iter() {
        println!("  call: waits for {target}, which {}", kernel.progress_of(area.cpu_id(), target));
    }
}

fn print_registers(frame: &TrapFrame) {
    if frame.is_user() {
        println!("  nip {:016x} lr {:016x}", frame.nip, frame.lr);
    } else {
        println!("  nip {}\n  lr  {}", Symbol(frame.nip), Symbol(frame.lr));
    }
    println!("  msr {:016x} ctr {:016x} cr {:08x} xer {:08x}", frame.msr, frame.ctr, frame.cr, frame.xer);
    println!("  dar {:016x} dsisr {:08x}", frame.dar, frame.dsisr & 0xffff_ffff);
    for row in (0..32).step_by(4) {
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| frame.gpr(row + i));
        println!("  r{row:<2} {a:016x} {b:016x} {c:016x} {d:016x}");
    }
}

fn print_backtrace(steps: Backtrace) {
    println!("  backtrace:");
    let (mut last, mut repeated) = (0, 0);
    for step in steps {
        match step {
            // Recursion: once is enough.
            Step::Call(address) if address == last => {
                repeated += 1;
                continue;
            }
            _ if repeated > 0 => println!("    … {repeated} more of the same"),
            _ => {}
        }
        (last, repeated) = (0, 0);
        match step {
            Step::Call(address) => {
                last = address;
                println!("    {}", Symbol(address));
            }
            Step::Link(address) => println!("    {} (link register)", Symbol(address)),
            Step::Trap { vector, nip, user: false } => {
                println!("    exception {vector:#x} at {}", Symbol(nip));
            }
            Step::Trap { vector, nip, user: true } => {
                println!("    exception {vector:#x} in user mode at {nip:#x}");
            }
        }
    }
    if repeated > 0 {
        println!("    … {repeated} more of the same");
    }
}
