//! `clones [KIND]`: which sharing clone allows and refuses, and which signals the end of a
//! child, or of a parent, sends. Each kind in a child.
#![no_std]
#![no_main]

extern crate alloc;

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::time::Duration;

use user::kinds::{self, Kind, answers, call, ends_with, eventually};
use user::memory::{self, PAGE, Protection, Region};
use user::process::{self, Pid, Status};
use user::{Context, Env, Errno, Verdict, ensure, file, futex, thread, time};

user::main!(main);

const VM: usize = 0x100;
const FS: usize = 0x200;
const FILES: usize = 0x400;
const SIGHAND: usize = 0x800;
const VFORK: usize = 0x4000;
const PARENT: usize = 0x8000;
const THREAD: usize = 0x1_0000;

const SIGKILL: i32 = 9;
const SIGUSR1: i32 = 10;
const SIGCHLD: i32 = 17;

const WNOHANG: usize = 1;
const WNOTHREAD: usize = 0x2000_0000;
const WALL: usize = 0x4000_0000;
const WCLONE: usize = 0x8000_0000;

const KINDS: [Kind; 15] = [
    ("refused-flags", refused_flags),
    ("numbers", numbers),
    ("exit-signals", exit_signals),
    ("wait-options", wait_options),
    ("children-of-a-thread", children_of_a_thread),
    ("sibling", sibling),
    ("vfork-outlives-a-thread", vfork_outlives_a_thread),
    ("vfork-of-a-thread", vfork_of_a_thread),
    ("vfork-parent-killed", vfork_parent_killed),
    ("read-only-id", read_only_id),
    ("ending-process", ending_process),
    ("exec-unshares", exec_unshares),
    ("shared-directory", shared_directory),
    ("no-zombies", no_zombies),
    ("parent-death", parent_death),
];

fn main(env: &Env) -> Verdict {
    kinds::run(env, &KINDS)
}

fn wait4(pid: i32, options: usize) -> Result<usize, Errno> {
    call(114, [pid as isize as usize, 0, options, 0, 0, 0])
}

fn refused_flags() -> Verdict {
    const CLONE: usize = 120;
    let refused = |what, flags: usize| (what, [flags, 0, 0, 0, 0, 0], Err(Errno::EINVAL));
    answers(
        CLONE,
        &[
            refused("handlers without memory", SIGHAND),
            refused("a thread without handlers", THREAD | VM),
            refused("a thread without memory", THREAD),
            refused("a file system of its own, shared", 0x2_0000 | FS),
            refused("a namespace for the network", 0x4000_0000),
            refused("a descriptor for a detached child", 0x1000 | 0x40_0000),
        ],
    )
}

/// Both sides' memory gets the child's number, if asked. The number in the child's memory
/// is cleared only if another process shares that memory.
fn numbers() -> Verdict {
    const CLONE: usize = 120;
    const PARENT_SETTID: usize = 0x10_0000;
    const CHILD_CLEARTID: usize = 0x20_0000;
    const CHILD_SETTID: usize = 0x100_0000;
    static MINE: AtomicU32 = AtomicU32::new(7);
    static ITS: AtomicU32 = AtomicU32::new(7);
    let flags = PARENT_SETTID | CHILD_SETTID | CHILD_CLEARTID | SIGCHLD as usize;
    let child =
        call(CLONE, [flags, 0, MINE.as_ptr() as usize, 0, ITS.as_ptr() as usize, 0]).context("clone")?;
    if child == 0 {
        let (me, its) = (thread::gettid(), ITS.load(Ordering::Relaxed));
        process::exit_group(i32::from(its != me as u32 || me != process::getpid().0));
    }
    ends_with("the child", Status::exit(0), Ok(Pid(child as i32)))?;
    let (mine, its) = (MINE.load(Ordering::Relaxed), ITS.load(Ordering::Relaxed));
    ensure!(mine == child as u32 && its == 7, "{mine} and {its} of child {child}");
    Ok(())
}

static SIGNALS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: i32) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// A child sends at its end the signal that its maker chose; only SIGCHLD makes it an
/// ordinary child.
fn exit_signals() -> Verdict {
    process::handle(SIGCHLD, count, 0).context("rt_sigaction")?;
    process::handle(SIGUSR1, count, 0).context("rt_sigaction")?;
    for (signal, said) in [(0, 0), (SIGUSR1, 1), (SIGCHLD, 1), (200, 0)] {
        SIGNALS.store(0, Ordering::Relaxed);
        let child = process::spawn_as(signal as usize, || 3).context("clone")?.0;
        let (own, other) = if signal == SIGCHLD { (0, WCLONE) } else { (WCLONE, 0) };
        ensure!(wait4(child, other) == Err(Errno::ECHILD), "{signal}: waited for as another kind");
        ensure!(wait4(child, own) == Ok(child as usize), "{signal}: not waited for");
        ensure!(wait4(child, WALL) == Err(Errno::ECHILD), "{signal}: waited for twice");
        let signals = SIGNALS.load(Ordering::Relaxed);
        ensure!(signals == said, "{signal}: {signals} signals");
    }
    let child = process::spawn_as(0, || 3).context("clone")?.0;
    ensure!(wait4(child, WALL) == Ok(child as usize), "__WALL does not wait");
    // exec makes it an ordinary one.
    let child = process::spawn_as(0, || {
        process::exec(c"/bin/true", &[c"true"], &[]);
        1
    });
    let child = child.context("clone")?.0;
    eventually("an ordinary child", || wait4(child, 0) == Ok(child as usize))?;
    Ok(())
}

fn wait_options() -> Verdict {
    const WAIT4: usize = 114;
    let min = i32::MIN as isize as usize;
    answers(
        WAIT4,
        &[
            ("unknown options", [usize::MAX, 0, 0x100, 0, 0, 0], Err(Errno::EINVAL)),
            ("WEXITED", [usize::MAX, 0, 4, 0, 0, 0], Err(Errno::EINVAL)),
            ("the least number", [min, 0, WNOHANG, 0, 0, 0], Err(Errno::ESRCH)),
            ("no child", [usize::MAX, 0, WNOHANG, 0, 0, 0], Err(Errno::ECHILD)),
        ],
    )?;
    let (reader, writer) = file::pipe().context("pipe2")?;
    let child = process::spawn(|| i32::from(reader.read(&mut [0]).is_err()) + 0x57);
    let child = child.context("fork")?;
    let pid = child.0 as usize;
    ensure!(wait4(-1, WNOHANG | 2 | 8) == Ok(0), "WNOHANG waits");
    ensure!(wait4(-2_000_000, WNOHANG) == Err(Errno::ECHILD), "a child in a group that is none");
    writer.write_all(b"x").context("write")?;
    let mut status = 0_u32;
    let answer = call(WAIT4, [pid, &raw mut status as usize, WALL, 0, 0, 0]);
    ensure!(answer == Ok(pid) && status == 0x5700, "{answer:?}, status {status:#x}");
    // The child is gone though its status cannot be told.
    let child = process::spawn(|| 0).context("fork")?.0 as usize;
    ensure!(call(WAIT4, [child, 8, 0, 0, 0, 0]) == Err(Errno::EFAULT), "status at a bad address");
    ensure!(call(WAIT4, [child, 0, 0, 0, 0, 0]) == Err(Errno::ECHILD), "waited for twice");
    Ok(())
}

/// A child belongs to the thread that made it, and to its process; after that thread's end
/// to another thread of the process.
fn children_of_a_thread() -> Verdict {
    static CHILD: AtomicU32 = AtomicU32::new(0);
    static GO: AtomicU32 = AtomicU32::new(0);
    let maker = thread::spawn(|| {
        let child = process::spawn(|| 0).map_or(0, |child| child.0 as u32);
        CHILD.store(child, Ordering::Release);
        while GO.load(Ordering::Acquire) == 0 {
            let _ = futex::wait(&GO, 0, None);
        }
    });
    let maker = maker.context("clone")?;
    eventually("a child", || CHILD.load(Ordering::Acquire) != 0)?;
    let child = CHILD.load(Ordering::Relaxed) as i32;
    ensure!(wait4(child, WNOTHREAD) == Err(Errno::ECHILD), "another thread's child");
    GO.store(1, Ordering::Release);
    futex::wake_all(&GO);
    ensure!(maker.join().is_some(), "the maker was lost");
    eventually("the heir", || wait4(child, WNOTHREAD) == Ok(child as usize))
}

/// CLONE_PARENT: the caller's parent gets the child, with the signal of the caller's end.
fn sibling() -> Verdict {
    process::handle(SIGCHLD, count, 0).context("rt_sigaction")?;
    let me = process::getpid();
    let (told, tells) = file::pipe().context("pipe2")?;
    let (waits, go) = file::pipe().context("pipe2")?;
    let child = process::spawn(|| {
        let made = process::spawn_as(PARENT, || {
            let began = waits.read_full(&mut [0]);
            if process::getppid() == me && began.is_ok() { 5 } else { 6 }
        });
        let said = made.map(|sibling| tells.write_all(&sibling.0.to_ne_bytes()));
        i32::from(said != Ok(Ok(())) || wait4(-1, WALL) != Err(Errno::ECHILD))
    });
    ends_with("its maker", Status::exit(0), child)?;
    ensure!(SIGNALS.load(Ordering::Relaxed) == 1, "no SIGCHLD of its maker");
    let mut number = [0; 4];
    told.read_full(&mut number).context("read")?;
    go.write_all(b"x").context("write")?;
    ends_with("the sibling", Status::exit(5), Ok(Pid(i32::from_ne_bytes(number))))?;
    ensure!(SIGNALS.load(Ordering::Relaxed) == 2, "no SIGCHLD of the sibling");
    Ok(())
}

/// The flags with which [`thread::spawn_as`] makes a process that shares memory.
const PROCESS: usize = thread::FLAGS & !(THREAD | SIGHAND | FS | FILES) | SIGCHLD as usize;

/// The parent waits for the child itself, not for a thread that the child makes.
fn vfork_outlives_a_thread() -> Verdict {
    static STAGE: AtomicU32 = AtomicU32::new(0);
    // SAFETY: the child is waited for.
    let child = unsafe {
        thread::spawn_as(PROCESS | VFORK, || {
            let joined = thread::spawn(|| ()).map(thread::Thread::join);
            STAGE.store(1 + u32::from(joined != Ok(Some(()))), Ordering::Relaxed);
            let _ = time::sleep(Duration::from_millis(30));
            STAGE.fetch_add(10, Ordering::Release);
        })
    };
    let _child = child.context("clone")?;
    let stage = STAGE.load(Ordering::Acquire);
    ensure!(stage == 11, "the parent went on at stage {stage}");
    ensure!(wait4(-1, 0).is_ok(), "no child");
    Ok(())
}

/// vfork may wait for a thread: clone returns after the thread's end.
fn vfork_of_a_thread() -> Verdict {
    static DONE: AtomicBool = AtomicBool::new(false);
    // SAFETY: a thread.
    let thread = unsafe {
        thread::spawn_as(thread::FLAGS | VFORK, || {
            let _ = time::sleep(Duration::from_millis(20));
            DONE.store(true, Ordering::Release);
        })
    };
    let thread = thread.context("clone")?;
    ensure!(DONE.load(Ordering::Acquire), "clone did not wait");
    ensure!(thread.join().is_some(), "the thread was lost");
    Ok(())
}

/// A parent that is killed stops waiting.
fn vfork_parent_killed() -> Verdict {
    let (reader, writer) = file::pipe().context("pipe2")?;
    let (end, keep) = file::pipe().context("pipe2")?;
    let parent = process::spawn(|| {
        let _ = process::spawn_ahead(|| {
            let _ = keep.close();
            let _ = writer.write_all(b"x");
            // Until the checker has closed its end.
            i32::from(end.read(&mut [0]).is_err())
        });
        7
    });
    let parent = parent.context("fork")?;
    reader.read_full(&mut [0]).context("read")?;
    process::kill(parent, SIGKILL).context("kill")?;
    ends_with("the parent", Status::signal(SIGKILL), Ok(parent))
}

/// A thread that waits for another's end is woken though the id cannot be cleared.
fn read_only_id() -> Verdict {
    static GO: AtomicU32 = AtomicU32::new(0);
    static WOKEN: AtomicU32 = AtomicU32::new(0);
    const SET_TID_ADDRESS: usize = 232;
    let region = Region::new(1).context("mmap")?;
    let address = region.address();
    // SAFETY: the page lives as long as the program: it is forgotten below.
    let id: &'static AtomicU32 = unsafe { &*(address as *const AtomicU32) };
    core::mem::forget(region);
    let sleeper = thread::spawn(move || {
        WOKEN.store(1, Ordering::Release);
        let answer = futex::wait_shared(id, 0, Some(Duration::from_secs(15)));
        WOKEN.store(2, Ordering::Release);
        answer
    });
    let sleeper = sleeper.context("clone")?;
    let ender = thread::spawn(move || {
        let _ = call(SET_TID_ADDRESS, [address, 0, 0, 0, 0, 0]);
        while GO.load(Ordering::Acquire) == 0 {
            let _ = futex::wait(&GO, 0, None);
        }
    });
    core::mem::forget(ender.context("clone")?);
    eventually("a sleeper", || WOKEN.load(Ordering::Acquire) == 1)?;
    time::sleep(Duration::from_millis(20)).context("sleep")?;
    // SAFETY: only the kernel stores there.
    unsafe { memory::protect(address, PAGE, Protection::READ) }.context("mprotect")?;
    GO.store(1, Ordering::Release);
    futex::wake_all(&GO);
    let answer = sleeper.join();
    ensure!(answer == Some(Ok(())), "the sleeper got {answer:?}");
    Ok(())
}

/// No thread of a process that ends sees a call fail for that: the call never returns.
fn ending_process() -> Verdict {
    const ROUNDS: u64 = 20;
    const MMAP: usize = 90;
    // Shared and anonymous: a thread that returns from its call records it there.
    let page = call(MMAP, [0, PAGE, 3, 0x21, usize::MAX, 0]).context("mmap")?;
    // SAFETY: a page of zeroes that stays.
    let back = unsafe { &*(page as *const AtomicU32) };
    for round in 0..ROUNDS {
        let child = process::spawn(|| {
            let ender = thread::spawn(move || {
                let _ = time::sleep(Duration::from_micros(round * 100));
                process::exit_group(9);
            });
            core::mem::forget(ender);
            // Makes threads until the process ends.
            while thread::spawn(|| ()).map(drop) != Err(Errno::EINTR) {}
            back.store(1, Ordering::Relaxed);
            loop {
                core::hint::spin_loop();
            }
        });
        ends_with("while it makes threads", Status::exit(9), child)?;
        ensure!(back.load(Ordering::Relaxed) == 0, "round {round}: clone said EINTR");
    }
    Ok(())
}

/// exec closes and resets the process's own things, not those that it shared.
fn exec_unshares() -> Verdict {
    let (reader, writer) = file::pipe().context("pipe2")?;
    const FCNTL: usize = 55;
    call(FCNTL, [writer.0 as usize, 2, 1, 0, 0, 0]).context("F_SETFD")?;
    process::handle(SIGUSR1, count, 0).context("rt_sigaction")?;
    let become_true = || {
        process::exec(c"/bin/true", &[c"true"], &[]);
        1
    };
    ends_with("files", Status::exit(0), process::spawn_as(FILES | SIGCHLD as usize, become_true))?;
    writer.write_all(b"x").context("write to what the child's exec closed")?;
    reader.read_full(&mut [0]).context("read")?;
    // In the other direction: a descriptor opened afterwards is not shared.
    let flags = PROCESS | SIGHAND | VFORK;
    // SAFETY: the child leaves this memory, or is waited for.
    let child = unsafe { thread::spawn_as(flags, become_true) };
    core::mem::forget(child.context("clone")?);
    ensure!(wait4(-1, 0).is_ok(), "no child");
    SIGNALS.store(0, Ordering::Relaxed);
    process::kill(process::getpid(), SIGUSR1).context("kill")?;
    ensure!(SIGNALS.load(Ordering::Relaxed) == 1, "the handler is gone");
    Ok(())
}

fn shared_directory() -> Verdict {
    let getcwd = || {
        let mut bytes = [0_u8; 16];
        call(182, [bytes.as_mut_ptr() as usize, 16, 0, 0, 0, 0]).map(|_| bytes)
    };
    let chdir = || i32::from(call(12, [c"/bin".as_ptr() as usize, 0, 0, 0, 0, 0]).is_err());
    let before = getcwd();
    ends_with("a child", Status::exit(0), process::spawn(chdir))?;
    ensure!(getcwd() == before, "a child has moved its parent");
    ends_with("a sharer", Status::exit(0), process::spawn_as(FS | SIGCHLD as usize, chdir))?;
    let after = getcwd().context("getcwd")?;
    ensure!(after.starts_with(b"/bin\0"), "a sharer has not moved us: {after:?}");
    Ok(())
}

/// SA_NOCLDWAIT: the signal, but nothing to wait for. SIG_IGN: no signal either.
fn no_zombies() -> Verdict {
    const RT_SIGACTION: usize = 173;
    const SA_NOCLDWAIT: usize = 2;
    let action = [count as *const () as usize, SA_NOCLDWAIT, 0, 0];
    for (action, said) in [(action, 1), ([1, 0, 0, 0], 0)] {
        SIGNALS.store(0, Ordering::Relaxed);
        call(RT_SIGACTION, [SIGCHLD as usize, action.as_ptr() as usize, 0, 8, 0, 0])
            .context("rt_sigaction")?;
        process::spawn(|| 0).context("fork")?;
        // Until it has ended.
        ensure!(matches!(wait4(-1, 0), Err(Errno::ECHILD | Errno::EINTR)), "a child was left");
        ensure!(wait4(-1, 0) == Err(Errno::ECHILD), "a child is left");
        let signals = SIGNALS.load(Ordering::Relaxed);
        ensure!(signals == said, "{signals} signals, not {said}");
    }
    Ok(())
}

/// PR_SET_PDEATHSIG: a signal at the end of the parent's thread that made the child, and
/// again at the end of the thread that inherited it.
fn parent_death() -> Verdict {
    let (reader, writer) = file::pipe().context("pipe2")?;
    // The child reports each signal. At the last one it has no parent left.
    let child = move || {
        let mask = 1_u64 << (SIGUSR1 - 1);
        let signals = &raw const mask as usize;
        let _ = call(174, [0, signals, 0, 8, 0, 0]);
        let _ = call(171, [1, SIGUSR1 as usize, 0, 0, 0, 0]);
        let _ = writer.write_all(b"r");
        for _ in 0..2 {
            // As kill sends it: the code is SI_USER.
            let mut info = [1_i32; 32];
            let signal = call(176, [signals, info.as_mut_ptr() as usize, 0, 8, 0, 0]);
            let right = signal == Ok(SIGUSR1 as usize) && info[2] == 0;
            let _ = writer.write_all(if right { b"s" } else { b"w" });
        }
        0
    };
    let parent = process::spawn(move || {
        let maker = thread::spawn(move || {
            let made = process::spawn(child);
            (made, reader.read(&mut [0]))
        });
        let made = maker.map(thread::Thread::join);
        let mut said = [0];
        let first = reader.read(&mut said);
        i32::from(!matches!(made, Ok(Some((Ok(_), Ok(1))))) || first != Ok(1) || said != *b"s")
    });
    ends_with("the parent", Status::exit(0), parent)?;
    let mut said = [0];
    reader.read_full(&mut said).context("read")?;
    ensure!(said == *b"s", "the second signal: {said:?}");
    Ok(())
}
