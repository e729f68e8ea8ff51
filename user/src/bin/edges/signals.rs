//! Stacks at the edge, and addresses that the kernel uses when no call can return an error.

use core::sync::atomic::{AtomicUsize, Ordering};

use user::memory::PAGE;
use user::process::{self, SIGSEGV, Status};
use user::verdict::child_ends;
use user::{Context, Verdict, ensure};

use super::{END, FOREIGN, LAST, call};

const CLONE: usize = 120;
const RT_SIGRETURN: usize = 172;
const RT_SIGACTION: usize = 173;
const SIGALTSTACK: usize = 185;
const FUTEX: usize = 221;
const SET_TID_ADDRESS: usize = 232;
const SET_ROBUST_LIST: usize = 300;
const SIGUSR1: i32 = 10;

/// Where the handler's stack was.
static SEEN: AtomicUsize = AtomicUsize::new(0);

extern "C" fn note_stack(_: i32) {
    let local = 0_u8;
    SEEN.store(&raw const local as usize, Ordering::Relaxed);
}

pub(crate) fn check() -> Verdict {
    alternate_stacks()?;
    wild_stack_pointers()?;
    ends_of_threads()
}

/// Makes SIGUSR1's handler run on a stack of `size` bytes at `base`.
fn signal_on(base: usize, size: usize) -> Verdict {
    const SA_ONSTACK: usize = 0x0800_0000;
    let stack = [base, 0, size];
    let set = call(SIGALTSTACK, &[stack.as_ptr() as usize, 0]);
    ensure!(set == 0, "sigaltstack at {base:#x}: {set}");
    let action = [note_stack as *const () as usize, SA_ONSTACK, 0, 0];
    let set = call(RT_SIGACTION, &[SIGUSR1 as usize, action.as_ptr() as usize, 0, 8]);
    ensure!(set == 0, "rt_sigaction: {set}");
    process::kill(process::getpid(), SIGUSR1).context("kill")
}

fn alternate_stacks() -> Verdict {
    const SIZE: usize = 8 * PAGE;
    signal_on(END - SIZE, SIZE)?;
    let seen = SEEN.load(Ordering::Relaxed);
    ensure!((END - SIZE..END).contains(&seen), "a handler on a stack at the end ran at {seen:#x}");
    // The kernel finds out when it builds the frame.
    for base in FOREIGN.into_iter().chain([END, END - SIZE + 16]) {
        child_ends("a stack beyond the end", Status::signal(SIGSEGV), || match signal_on(base, SIZE) {
            Ok(()) => 0,
            Err(_) => 1,
        })?;
    }
    let off = [0_usize, 2 << 32, 0];
    ensure!(call(SIGALTSTACK, &[off.as_ptr() as usize, 0]) == 0, "sigaltstack off");
    Ok(())
}

/// rt_sigreturn with the stack pointer near the end and beyond, in children.
fn wild_stack_pointers() -> Verdict {
    for stack in [END - 256, END, FOREIGN[2], FOREIGN[3]] {
        child_ends("sigreturn from nowhere", Status::signal(SIGSEGV), || {
            // SAFETY: it does not return: there is no frame at the address, or one of
            // zeroes, which ends the child as well.
            unsafe {
                core::arch::asm!("mr 1, {0}", "sc", in(reg) stack, in("r0") RT_SIGRETURN, options(noreturn));
            }
        })?;
    }
    Ok(())
}

/// The words that the kernel writes and the list that it walks when a thread ends. Bad
/// addresses there do no harm.
fn ends_of_threads() -> Verdict {
    const CHILD_SETTID: usize = 0x0100_0000;
    const PARENT_SETTID: usize = 0x0010_0000;
    const SIGCHLD: usize = 17;
    for address in FOREIGN.into_iter().chain([END, END - 4, END - 2, END - 8]) {
        child_ends("an end with a bad word", Status::exit(0), || {
            call(SET_TID_ADDRESS, &[address]);
            call(SET_ROBUST_LIST, &[address, 24]);
            0
        })?;
        let pid = call(CLONE, &[CHILD_SETTID | PARENT_SETTID | SIGCHLD, 0, address, 0, address]);
        if pid == 0 {
            process::exit_group(0);
        }
        ensure!(pid > 0, "clone with a bad word: {pid}");
        let status = process::wait(process::Pid(pid as i32)).context("wait")?;
        ensure!(status.success(), "a child with a bad word: {status}");
    }
    // A list whose head is at the end, and whose entries lead beyond it.
    let head = LAST as *mut [usize; 3];
    for entry in [END - 8, END, FOREIGN[2], FOREIGN[3]] {
        for offset in [8, FOREIGN[3]] {
            child_ends("a robust list that leads beyond", Status::exit(0), || {
                // SAFETY: in the last pages, to which nothing refers.
                unsafe { head.write([entry, offset, entry]) };
                call(SET_ROBUST_LIST, &[head as usize, 24]);
                0
            })?;
        }
    }
    // Words of futexes, which are aligned.
    for address in FOREIGN.into_iter().chain([END]) {
        let got = call(FUTEX, &[address, 0, 1]);
        ensure!(got == -14, "a futex at {address:#x}: {got}");
    }
    let got = call(FUTEX, &[END - 2, 0, 1]);
    ensure!(got == -22, "a futex over the end: {got}");
    let got = call(FUTEX, &[END - 4, 0, 1]);
    ensure!(got == -11, "a futex at the end: {got}");
    Ok(())
}
