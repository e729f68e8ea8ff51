//! Page faults and other faults of user programs.

use arch::exceptions::{Fault, FaultCause, TrapFrame, UserFault};
use arch::percpu;
use trace_format::{Body, Kind};

use super::signal::{self, Info, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP};
use super::{current, current_thread};
use crate::mm::{self, Access, FaultError};
use crate::{task, trace};

/// si_code: nothing mapped there.
const SEGV_MAPERR: i32 = 1;
/// si_code: the mapping does not permit it.
const SEGV_ACCERR: i32 = 2;
/// No translation can reach the address (`si_code`).
const SEGV_BNDERR: i32 = 3;
/// si_code: not aligned.
const BUS_ADRALN: i32 = 1;
/// si_code: nothing behind the end of the file.
const BUS_ADRERR: i32 = 2;

/// A page fault: of the program, or of the kernel in a user copy.
#[inline]
pub(crate) fn page_fault(frame: &mut TrapFrame, fault: Fault) {
    // In a section that may not sleep (a futex reads its word under a lock) the copy fails, and its
    // caller tries again outside.
    if !frame.is_user() && (percpu::preempt_count() != 0 || !frame.irqs_were_on()) {
        return fail_copy(frame);
    }
    let access = Access { write: fault.write, exec: fault.exec };
    trace::note!(
        Kind::Fault,
        Body {
            sub: u8::from(fault.write) | u8::from(fault.exec) << 1,
            arg: fault.addr.0,
            ..Body::about(Kind::Fault, task::current().mm.mm().to_bits())
        }
    );
    if !mm::fault_nearby(fault.addr.0, access) {
        page_fault_elsewhere(frame, fault, access);
    }
}

/// A page fault that takes the address space's lock.
#[inline(never)]
fn page_fault_elsewhere(frame: &mut TrapFrame, fault: Fault, access: Access) {
    let mm = task::current().mm.mm();
    let result = match fault.cause {
        _ if mm.is_none() => Err(FaultError::MapErr),
        FaultCause::BadTree if !fault.addr.is_user() => Err(FaultError::MapErr),
        _ => mm::handle_fault(mm, fault.addr.0, access),
    };
    match result {
        Ok(()) => task::current().count_fault(),
        // Not reported as a bad address.
        Err(FaultError::Oom) => {
            out_of_memory();
            if !frame.is_user() {
                fail_copy(frame);
            }
        }
        Err(_) if !frame.is_user() => fail_copy(frame),
        Err(error) => bad_access(frame, fault, error),
    }
}

/// Ends a user copy with an error.
#[cold]
fn fail_copy(frame: &mut TrapFrame) {
    // The hardware half passes on kernel faults only from such copies.
    assert!(frame.fixup(), "a page fault at {:#x} that is in no user copy", frame.nip);
}

/// No memory for a page that the current program must have: ends it. On a kernel thread that works
/// for a program, only the work fails.
fn out_of_memory() {
    if task::current().user.is_none() {
        return;
    }
    crate::println!("out of memory: killed {} {}", task::current().name(), current().pid);
    current().end(super::exit::Status::signaled(signal::SIGKILL));
}

/// The program used an address that it does not have.
fn bad_access(frame: &mut TrapFrame, fault: Fault, error: FaultError) {
    let address = fault.addr.0;
    let (signal, code) = match error {
        FaultError::MapErr => (SIGSEGV, SEGV_MAPERR),
        FaultError::AccErr => (SIGSEGV, SEGV_ACCERR),
        FaultError::Bus => (SIGBUS, BUS_ADRERR),
        FaultError::Oom => return out_of_memory(),
    };
    let what = match (fault.exec, fault.write) {
        (true, _) => "execute",
        (_, true) => "write",
        _ => "read",
    };
    force(frame, Info::of_fault(signal, code, address), format_args!("{what} at {address:#x}"));
}

/// Any other fault of a program.
pub(crate) fn user_fault(frame: &mut TrapFrame, fault: UserFault) {
    let nip = frame.nip;
    // Linux's si_code for each.
    let (signal, code, address, what) = match fault {
        UserFault::Illegal => (SIGILL, 1, nip, "illegal instruction"),
        UserFault::Privileged => (SIGILL, 5, nip, "privileged instruction"),
        UserFault::Trap => (SIGTRAP, 1, nip, "trap instruction"),
        UserFault::SingleStep => (SIGTRAP, 2, nip, "single step"),
        UserFault::FloatingPoint => {
            let code = floating_point_code(current_thread().fpscr(frame));
            (SIGFPE, code, nip, "floating-point exception")
        }
        UserFault::Alignment(address) => (SIGBUS, BUS_ADRALN, address.0, "unaligned access"),
        UserFault::Segment(address) => (SIGSEGV, SEGV_BNDERR, address.0, "address out of range"),
        UserFault::Unexpected(vector) => {
            let info = Info::of_fault(SIGILL, 1, nip);
            return force(frame, info, format_args!("unexpected exception {vector:#x}"));
        }
    };
    force(frame, Info::of_fault(signal, code, address), format_args!("{what}"));
}

/// Linux's si_code for the first exception that the FPSCR has recorded and enables (Linux:
/// `__parse_fpscr`).
fn floating_point_code(fpscr: u64) -> i32 {
    const UNKNOWN: i32 = 14;
    // Invalid, overflow, underflow, division by zero, inexact: the recorded bits. The bit that
    // enables one is 22 places below.
    const SEEN: [(u32, i32); 5] = [(29, 7), (28, 4), (27, 5), (26, 3), (25, 6)];
    let is_enabled = |&&(bit, _): &&(u32, i32)| fpscr >> bit & fpscr >> (bit - 22) & 1 != 0;
    SEEN.iter().find(is_enabled).map_or(UNKNOWN, |&(_, code)| code)
}

/// The program needs its vector registers.
pub(crate) fn vector_unavailable(frame: &mut TrapFrame) {
    if current_thread().load_vector(frame).is_err() {
        out_of_memory();
    }
}

/// Has the current thread take a signal for what it did. If that ends the program, a line reports
/// why.
fn force(frame: &TrapFrame, info: Info, what: core::fmt::Arguments<'_>) {
    if signal::force_on_current(info) {
        let task = task::current();
        crate::println!(
            "{}: pid {}: {}: {what}, nip {:#x}, lr {:#x}",
            task.name(),
            current().pid,
            signal::name(info.signal),
            frame.nip,
            frame.lr
        );
    }
}
