//! Limits of processes: they are kept and inherited, and take effect.
#![no_std]
#![no_main]

extern crate alloc;

use core::ffi::CStr;

use user::memory::{PAGE, poke};
use user::process::{self, SIGKILL, SIGSEGV, Status};
use user::sys::answer;
use user::verdict::child_ends;
use user::{Context, Env, Verdict, ensure, file, thread};

user::main!(main);

const EPERM: isize = -1;
const ESRCH: isize = -3;
const E2BIG: isize = -7;
const EAGAIN: isize = -11;
const ENOMEM: isize = -12;
const EFAULT: isize = -14;
const EINVAL: isize = -22;

const EXECVE: usize = 11;
const BRK: usize = 45;
const SETRLIMIT: usize = 75;
const MMAP: usize = 90;
const MUNMAP: usize = 91;
const CLONE: usize = 120;
const MREMAP: usize = 163;
const POLL: usize = 167;
const GETRLIMIT: usize = 190;
const PRLIMIT: usize = 325;

const CPU: usize = 0;
const STACK: usize = 3;
const CORE: usize = 4;
const NPROC: usize = 6;
const NOFILE: usize = 7;
const AS: usize = 9;

const INFINITY: u64 = u64::MAX;
const NR_OPEN: u64 = 1 << 20;
const SIGXCPU: i32 = 24;
const MIB: usize = 1 << 20;

/// Makes the call; the memory that it is given is the caller's.
fn call(nr: usize, args: &[usize]) -> isize {
    // SAFETY: memory that is passed by address lives during the call, and nothing
    // else changes it. No reference leads to memory that is mapped or unmapped.
    unsafe { answer(nr, args) }
}

fn set(resource: usize, soft: u64, hard: u64) -> isize {
    call(SETRLIMIT, &[resource, [soft, hard].as_ptr() as usize])
}

fn get(resource: usize) -> [u64; 2] {
    let mut now = [0; 2];
    call(GETRLIMIT, &[resource, now.as_mut_ptr() as usize]);
    now
}

/// prlimit: changes the limit of `pid` if there is a new one; returns the old one.
fn prlimit(pid: i32, resource: usize, new: Option<[u64; 2]>) -> (isize, [u64; 2]) {
    let mut old = [0; 2];
    let new = new.as_ref().map_or(0, |new| new.as_ptr() as usize);
    (call(PRLIMIT, &[pid as usize, resource, new, old.as_mut_ptr() as usize]), old)
}

fn main(env: &Env) -> Verdict {
    if env.arg(1) == Some("after-exec") {
        ensure!(get(CORE) == [300, 400], "after exec: {:?}", get(CORE));
        return Ok(());
    }
    start()?;
    kept()?;
    inherited()?;
    of_threads()?;
    address_space()?;
    stack()?;
    arguments()?;
    cpu_time()?;
    polled()
}

fn ends_well(what: &str, child: impl FnOnce() -> bool) -> Verdict {
    child_ends(what, Status::exit(0), || i32::from(!child()))
}

/// Checks the limits that the first program starts with.
fn start() -> Verdict {
    let expected =
        [(STACK, [8 << 20, INFINITY]), (NOFILE, [1024, 4096]), (CPU, [INFINITY; 2]), (AS, [INFINITY; 2])];
    for (resource, limit) in expected {
        ensure!(get(resource) == limit, "resource {resource} starts at {:?}", get(resource));
    }
    Ok(())
}

fn kept() -> Verdict {
    for resource in 0..16 {
        let old = get(resource);
        // Each resource gets its own numbers.
        let mine = [1000 + resource as u64, 2000 + resource as u64];
        // These numbers would be too small for time and for address space.
        if matches!(resource, CPU | STACK | NPROC | AS) {
            continue;
        }
        ensure!(set(resource, mine[0], mine[1]) == 0, "resource {resource} cannot be set");
        ensure!(get(resource) == mine, "resource {resource} is {:?}", get(resource));
        let (result, before) = prlimit(0, resource, Some(old));
        ensure!(result == 0 && before == mine, "prlimit of {resource}: {result}, {before:?}");
        ensure!(get(resource) == old, "resource {resource} is not what it was");
    }
    let wrong = [
        ("soft above hard", set(CORE, 2, 1), EINVAL),
        ("no such resource", set(16, 1, 1), EINVAL),
        ("no such resource to get", call(GETRLIMIT, &[16, 0]), EINVAL),
        ("bad address", call(SETRLIMIT, &[CORE, 8]), EFAULT),
        ("bad address to get", call(GETRLIMIT, &[CORE, 8]), EFAULT),
        ("nobody's", prlimit(4_000_000, CORE, None).0, ESRCH),
        ("too many files", set(NOFILE, 1024, NR_OPEN + 1), EPERM),
        ("no such resource of nobody", prlimit(4_000_000, 16, None).0, ESRCH),
    ];
    for (what, got, expected) in wrong {
        ensure!(got == expected, "{what}: {got}, not {expected}");
    }
    ensure!(set(NOFILE, 1024, NR_OPEN) == 0, "the most files are refused");
    Ok(())
}

fn inherited() -> Verdict {
    ensure!(set(CORE, 300, 400) == 0, "the core limit cannot be set");
    ends_well("a child has its parent's", || get(CORE) == [300, 400])?;
    ends_well("a child's are its own", || set(CORE, 1, 2) == 0)?;
    ensure!(get(CORE) == [300, 400], "a child changed its parent's: {:?}", get(CORE));
    child_ends("exec keeps them", Status::exit(0), || {
        let _ = process::exec(c"/bin/limits", &[c"limits", c"after-exec"], &[]);
        1
    })?;
    // Sets another process's limit while that process waits.
    let (gate, opener) = file::pipe().context("pipe")?;
    let pid = process::spawn(|| {
        let _ = gate.read(&mut [0]);
        i32::from(get(CORE) != [5, 6])
    })
    .context("fork")?;
    let (result, old) = prlimit(pid.0, CORE, Some([5, 6]));
    ensure!(result == 0 && old == [300, 400], "prlimit of a child: {result}, {old:?}");
    opener.write(b"x").context("write")?;
    let status = process::wait(pid).context("wait")?;
    ensure!(status.success(), "the child does not have what its parent set: {status}");
    gate.close().and_then(|()| opener.close()).context("close")
}

/// Threads share the limits. RLIMIT_NPROC counts threads, root's too.
fn of_threads() -> Verdict {
    let setter = thread::spawn(|| set(CORE, 7, 8)).context("thread")?;
    ensure!(setter.join() == Some(0) && get(CORE) == [7, 8], "a thread's are not its process's");
    ends_well("no more processes", || {
        const SIGCHLD: usize = 17;
        // This process and its parent are two already.
        set(NPROC, 2, INFINITY) == 0
            && call(CLONE, &[SIGCHLD]) == EAGAIN
            && thread::spawn(|| ()).is_err_and(|errno| -errno.0 as isize == EAGAIN)
            && set(NPROC, 10_000, INFINITY) == 0
            && process::spawn(|| 0).is_ok_and(|pid| process::wait(pid).is_ok_and(Status::success))
    })
}

fn map(at: usize, len: usize, flags: usize) -> isize {
    const PRIVATE_ANONYMOUS: usize = 0x22;
    call(MMAP, &[at, len, 0, PRIVATE_ANONYMOUS | flags, usize::MAX, 0])
}

fn address_space() -> Verdict {
    const FIXED: usize = 0x10;
    const MAYMOVE: usize = 1;
    /// Code, heap and stack are surely smaller.
    const OWN: usize = 4;
    ends_well("no more address space", || {
        if set(AS, 64 * MIB as u64, INFINITY) != 0 {
            return false;
        }
        let (mut last, mut count) = (0, 0);
        let refusal = loop {
            match map(0, MIB, 0) {
                at @ 1.. => (last, count) = (at as usize, count + 1),
                refusal => break refusal,
            }
        };
        let brk = call(BRK, &[0]) as usize;
        refusal == ENOMEM
            && (64 - OWN..64).contains(&count)
            && call(BRK, &[brk + MIB]) as usize == brk
            && call(MREMAP, &[last, MIB, 2 * MIB, MAYMOVE]) == ENOMEM
            // A mapping that replaces another adds nothing.
            && map(last, MIB, FIXED) == last as isize
            && call(MUNMAP, &[last, MIB]) == 0
            && map(0, MIB, 0) > 0
            && map(0, MIB, 0) == ENOMEM
    })
}

/// Fails unless a store so far below this function's frame ends a child, or does not.
fn stores_below(what: &str, limit: usize, distance: usize, may: bool) -> Verdict {
    let ends = if may { Status::exit(0) } else { Status::signal(SIGSEGV) };
    child_ends(what, ends, || {
        let here = 0_u8;
        let address = &raw const here as usize - distance;
        if set(STACK, limit as u64, INFINITY) != 0 {
            return 1;
        }
        // SAFETY: far below all frames of this child, which ends then.
        unsafe { poke(address, 9) };
        0
    })
}

fn stack() -> Verdict {
    stores_below("within a small stack", MIB, MIB / 2, true)?;
    stores_below("below a small stack", MIB, MIB + PAGE, false)?;
    stores_below("within a large stack", 32 * MIB, 24 * MIB, true)?;
    stores_below("below a large stack", 16 * MIB, 24 * MIB, false)?;
    stores_below("within any stack", INFINITY as usize, 24 * MIB, true)
}

/// Arguments take no more than a quarter of the stack's limit.
fn arguments() -> Verdict {
    const LEN: usize = 90_000;
    /// The long argument, several times over in one exec.
    static LONG: [u8; LEN] = {
        let mut bytes = [b'x'; LEN];
        bytes[LEN - 1] = 0;
        bytes
    };
    let run = |stack: usize| {
        let long = CStr::from_bytes_with_nul(&LONG).map_or(core::ptr::null(), CStr::as_ptr) as usize;
        let (arguments, none) = ([long, long, 0], [0_usize]);
        set(STACK, stack as u64, INFINITY);
        call(EXECVE, &[c"/bin/true".as_ptr() as usize, arguments.as_ptr() as usize, none.as_ptr() as usize])
    };
    child_ends("arguments for a usual stack", Status::exit(0), || run(8 * MIB) as i32)?;
    child_ends("arguments for a small stack", Status::exit(7), || if run(MIB / 2) == E2BIG { 7 } else { 1 })
}

fn cpu_time() -> Verdict {
    let spend = |soft, hard| {
        move || -> i32 {
            let _ = set(CPU, soft, hard);
            loop {
                core::hint::spin_loop();
            }
        }
    };
    child_ends("no time", Status::signal(SIGKILL), spend(0, 0))?;
    child_ends("a warning", Status::signal(SIGXCPU), spend(0, INFINITY))?;
    // A child has its parent's limit, and a CPU time of its own.
    ends_well("a child's time", || {
        set(CPU, 3600, INFINITY) == 0
            && child_ends("its own", Status::signal(SIGKILL), || {
                let _ = prlimit(0, CPU, Some([0, 0]));
                loop {
                    core::hint::spin_loop();
                }
            })
            .is_ok()
    })
}

/// poll takes at most as many entries as the process may have descriptors.
fn polled() -> Verdict {
    ends_well("poll", || {
        let entries = [u64::MAX; 11];
        let poll = |count: usize| call(POLL, &[entries.as_ptr() as usize, count, 0]);
        set(NOFILE, 10, 10) == 0 && poll(10) == 0 && poll(11) == EINVAL
    })
}
