//! Loads, stores and calls that may fault, and their results.

use core::arch::{asm, global_asm};

use user::{Context, Verdict, process, sys};

use crate::control::control;
use crate::seen::{self, Seen};
use crate::window;

global_asm!(include_str!("access.S"));

/// The result of an access.
#[repr(C)]
struct Answer {
    /// The value, or the handler's word for the fault.
    value: u64,
    /// 1 if it faulted.
    fault: u64,
}

unsafe extern "C" {
    fn try_load(address: usize) -> Answer;
    fn try_store(address: usize, value: u64) -> Answer;
    fn try_call(address: usize) -> Answer;
    /// The instructions that may fault.
    static try_load_at: u8;
    static try_store_at: u8;
}

/// Loads the word at `address`.
pub(crate) fn load(address: usize) -> Seen {
    // SAFETY: a load; a fault is handled.
    let answer = unsafe { try_load(address) };
    if answer.fault != 0 { answer.value as Seen } else { seen::word(answer.value) }
}

/// Stores `word` at `address`, which is in the window.
pub(crate) fn store(address: usize, word: u64) -> Seen {
    // SAFETY: the window holds only words that steps store; a fault is handled.
    let answer = unsafe { try_store(address, word) };
    if answer.fault == 0 {
        publish(address);
    }
    answer.value as Seen
}

/// Makes stored words visible to instruction fetches.
fn publish(address: usize) {
    // SAFETY: changes no value. The word was just stored to, so it can be read. If the
    // kernel is wrong about that, the fault ends the sequence.
    unsafe { asm!("dcbst 0, {0}", "sync", "icbi 0, {0}", "sync", in(reg) address, options(nostack)) };
}

/// Calls the code at `address` in the window: a return with a number, or zeroes, which
/// are no instruction.
pub(crate) fn call(address: usize) -> Seen {
    // SAFETY: `seen::word` describes the words that are stored there; a fault is handled.
    let answer = unsafe { try_call(address) };
    answer.value as Seen
}

/// Handles the faults of the functions here from now on, until exec.
pub(crate) fn handle_faults() -> Verdict {
    const RT_SIGACTION: usize = 173;
    const SA_SIGINFO: usize = 4;
    const SA_NODEFER: usize = 0x4000_0000;
    let action = [on_fault as *const () as usize, SA_SIGINFO | SA_NODEFER, 0, 0];
    for signal in [process::SIGILL, process::SIGBUS, process::SIGSEGV] {
        // SAFETY: the kernel reads the structure. The handler is `on_fault`, which
        // takes what SA_SIGINFO gives.
        unsafe { sys::syscall(RT_SIGACTION, [signal as usize, action.as_ptr() as usize, 0, 8, 0, 0]) }
            .context("rt_sigaction")?;
    }
    Ok(())
}

/// The registers of a signal frame that matter here, by their place in `gp_regs`.
const NIP: usize = 32;
const LINK: usize = 36;

/// Returns from the function that faulted. A fault anywhere else ends the sequence.
unsafe extern "C" fn on_fault(signal: i32, info: *const i32, context: *const u8) {
    /// `uc_mcontext.regs` of `struct ucontext`: where `gp_regs` are.
    const REGS: usize = 224;
    // SAFETY: SA_SIGINFO passes `siginfo`, whose third word is the code, and
    // `ucontext`.
    let (code, registers) = unsafe { (*info.add(2), *context.add(REGS).cast::<*mut u64>()) };
    // SAFETY: inside `gp_regs`, which are 48 words and ours until the handler returns.
    let at = unsafe { *registers.add(NIP) } as usize;
    let expected = [&raw const try_load_at as usize, &raw const try_store_at as usize];
    if !expected.contains(&at) && !window::contains(at) {
        control().fail(seen::STRAY_FAULT | signal as Seen, at as u64);
        process::exit_group(1);
    }
    // SAFETY: inside `gp_regs`, which are ours until the handler returns.
    unsafe {
        *registers.add(3) = u64::from(seen::fault(signal, code));
        *registers.add(4) = 1;
        *registers.add(NIP) = *registers.add(LINK);
    }
}
