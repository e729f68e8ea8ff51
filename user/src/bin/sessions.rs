//! `sessions [KIND]`: process groups and sessions, and a process's properties (prctl).
//! Each kind in a child.
#![no_std]
#![no_main]

extern crate alloc;

use core::ffi::CStr;
use core::sync::atomic::{AtomicU32, Ordering};

use user::kinds::{self, Kind, answers, call, ends_with, eventually};
use user::memory::{self, PAGE, Protection, Region};
use user::process::{self, Pid, Status};
use user::{Context, Env, Errno, Verdict, ensure, file, thread};

user::main!(main);

const SETPGID: usize = 57;
const GETPGRP: usize = 65;
const SETSID: usize = 66;
const GETPGID: usize = 132;
const GETSID: usize = 147;
const PRCTL: usize = 171;

const SIGKILL: i32 = 9;
const SIGUSR1: i32 = 10;
/// No process has this number.
const NOBODY: i32 = 4_000_000;

const KINDS: [Kind; 8] = [
    ("own-group", own_group),
    ("group-of-a-child", group_of_a_child),
    ("after-exec", after_exec),
    ("other-session", other_session),
    ("odd-numbers", odd_numbers),
    ("group-signals", group_signals),
    ("of-itself", of_itself),
    ("names", names),
];

/// The argument with which this program only sleeps.
const SLEEP: &CStr = c"sleep";

fn main(env: &Env) -> Verdict {
    if env.arg_bytes(1) == Some(SLEEP) {
        sleep();
    }
    kinds::run(env, &KINDS)
}

fn one(number: usize, arg: i32) -> Result<usize, Errno> {
    call(number, [arg as isize as usize, 0, 0, 0, 0, 0])
}

fn setpgid(pid: i32, group: i32) -> Result<usize, Errno> {
    call(SETPGID, [pid as isize as usize, group as isize as usize, 0, 0, 0, 0])
}

/// Sleeps until a signal ends the process.
fn sleep() -> ! {
    const PAUSE: usize = 29;
    loop {
        let _ = call(PAUSE, [0; 6]);
    }
}

/// wait4 without waiting.
fn wait_for(pid: i32) -> Result<usize, Errno> {
    call(114, [pid as isize as usize, 0, 1, 0, 0, 0])
}

/// A child that lives until it is killed, and its number. It has done `first` by then.
fn child_after(first: fn()) -> Result<Pid, alloc::string::String> {
    let (reader, writer) = file::pipe().context("pipe2")?;
    let child = process::spawn(|| {
        first();
        let _ = writer.write_all(b"x");
        sleep()
    });
    let child = child.context("fork")?;
    reader.read_full(&mut [0]).context("read")?;
    reader.close().context("close")?;
    writer.close().context("close")?;
    Ok(child)
}

fn end(child: Pid) -> Verdict {
    process::kill(child, SIGKILL).context("kill")?;
    ends_with("a child", Status::signal(SIGKILL), Ok(child))
}

/// A process has its parent's group and session until it makes its own.
fn own_group() -> Verdict {
    let me = process::getpid().0;
    let (group, session) = (one(GETPGID, 0), one(GETSID, 0));
    ensure!(group.is_ok() && group != Ok(me as usize), "the group is {group:?}");
    ensure!(session.is_ok() && session != Ok(me as usize), "the session is {session:?}");
    ensure!(setpgid(0, 0) == Ok(0), "no group of its own");
    let number = Ok(me as usize);
    ensure!(one(GETPGID, me) == number && one(GETPGRP, 0) == number, "another group");
    ensure!(one(GETSID, 0) == session, "the session has changed");
    // It leads a group.
    ensure!(one(SETSID, 0) == Err(Errno::EPERM), "the leader of a group made a session");
    let child = process::spawn(move || {
        let inherited = one(GETPGRP, 0) == number && one(GETSID, 0) == session;
        let mine = Ok(process::getpid().0 as usize);
        let made = one(SETSID, 0) == mine && one(GETPGRP, 0) == mine && one(GETSID, 0) == mine;
        let again = one(SETSID, 0) == Err(Errno::EPERM) && setpgid(0, 0) == Err(Errno::EPERM);
        i32::from(!inherited) + 2 * i32::from(!made) + 4 * i32::from(!again)
    });
    ends_with("a child", Status::exit(0), child)
}

fn group_of_a_child() -> Verdict {
    let (a, b) = (child_after(|| ())?, child_after(|| ())?);
    ensure!(setpgid(b.0, a.0) == Err(Errno::EPERM), "a group that is none");
    ensure!(setpgid(a.0, 0) == Ok(0) && setpgid(b.0, a.0) == Ok(0), "a group of children");
    ensure!(one(GETPGID, b.0) == Ok(a.0 as usize), "b is elsewhere");
    ensure!(wait_for(0) == Err(Errno::ECHILD), "no child is in the caller's group");
    ensure!(wait_for(-a.0) == Ok(0), "both are in this one");
    // A dead process keeps its group until it is waited for.
    process::kill(a, SIGKILL).context("kill")?;
    let c = child_after(|| ())?;
    ensure!(setpgid(c.0, a.0) == Ok(0), "the group of a dead process");
    ends_with("a", Status::signal(SIGKILL), Ok(a))?;
    ensure!(one(GETPGID, a.0) == Err(Errno::ESRCH), "it is still there");
    end(b)?;
    end(c)?;
    // Not a grandchild, and not the parent.
    let stranger = process::spawn(|| {
        let parent = one(64, 0).unwrap_or(0) as i32;
        i32::from(setpgid(parent, parent) != Err(Errno::ESRCH))
    });
    ends_with("a child", Status::exit(0), stranger)
}

fn after_exec() -> Verdict {
    let child = process::spawn(|| {
        process::exec(c"/bin/sessions", &[c"sessions", SLEEP], &[]);
        1
    });
    let child = child.context("fork")?;
    eventually("EACCES", || setpgid(child.0, child.0) == Err(Errno::EACCES))?;
    end(child)
}

fn other_session() -> Verdict {
    let child = child_after(|| {
        let _ = one(SETSID, 0);
    })?;
    ensure!(setpgid(child.0, child.0) == Err(Errno::EPERM), "a child in another session");
    ensure!(setpgid(0, child.0) == Err(Errno::EPERM), "a group in another session");
    ensure!(one(GETSID, child.0) == Ok(child.0 as usize), "its session");
    end(child)
}

fn odd_numbers() -> Verdict {
    let bad = |number: i32| [number as isize as usize, 0, 0, 0, 0, 0];
    answers(GETPGID, &[("-1", bad(-1), Err(Errno::ESRCH)), ("nobody", bad(NOBODY), Err(Errno::ESRCH))])?;
    answers(GETSID, &[("-1", bad(-1), Err(Errno::ESRCH)), ("nobody", bad(NOBODY), Err(Errno::ESRCH))])?;
    ensure!(setpgid(0, -5) == Err(Errno::EINVAL), "a negative group");
    ensure!(setpgid(-5, 1) == Err(Errno::ESRCH), "a negative process");
    ensure!(setpgid(NOBODY, NOBODY) == Err(Errno::ESRCH), "a process that is none");
    ensure!(setpgid(0, NOBODY) == Err(Errno::EPERM), "a group that is none");
    // A thread's number names its process in getpgid, but is not a process's number.
    let group = one(GETPGID, 0);
    let thread = thread::spawn(move || {
        let me = thread::gettid();
        one(GETPGID, me) == group && setpgid(me, 0) == Err(Errno::EINVAL) && me != process::getpid().0
    });
    ensure!(thread.context("clone")?.join() == Some(true), "a thread's number");
    Ok(())
}

static SIGNALS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: i32) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// kill(0) and kill(-group) reach the group, and no other process.
fn group_signals() -> Verdict {
    process::handle(SIGUSR1, count, 0).context("rt_sigaction")?;
    setpgid(0, 0).context("setpgid")?;
    let (member, other) = (child_after(|| ())?, child_after(|| ())?);
    setpgid(other.0, 0).context("setpgid")?;
    process::ignore(SIGUSR1).context("rt_sigaction")?;
    // Those two still have the handler.
    process::kill(Pid(0), SIGUSR1).context("kill 0")?;
    process::kill(Pid(-other.0), 0).context("kill a group with nothing")?;
    process::kill(Pid(-other.0), SIGKILL).context("kill a group")?;
    ends_with("the other", Status::signal(SIGKILL), Ok(other))?;
    let gone = process::kill(Pid(-other.0), 0);
    ensure!(gone == Err(Errno::ESRCH), "a group without members: {gone:?}");
    end(member)
}

/// The properties that prctl keeps. A child inherits them, but not the signal for its
/// parent's end.
fn of_itself() -> Verdict {
    const SET_PDEATHSIG: usize = 1;
    const GET_PDEATHSIG: usize = 2;
    const GET_DUMPABLE: usize = 3;
    const SET_DUMPABLE: usize = 4;
    let prctl = |option, arg| call(PRCTL, [option, arg, 0, 0, 0, 0]);
    let signal = move || {
        let mut signal = 77_u32;
        prctl(GET_PDEATHSIG, &raw mut signal as usize).map(|_| signal)
    };
    ensure!(signal() == Ok(0), "a signal that nobody has set");
    ensure!(prctl(SET_PDEATHSIG, 65) == Err(Errno::EINVAL), "signal 65");
    ensure!(prctl(SET_PDEATHSIG, 10) == Ok(0) && signal() == Ok(10), "the signal");
    ensure!(prctl(GET_PDEATHSIG, 8) == Err(Errno::EFAULT), "a bad address");
    ensure!(prctl(GET_DUMPABLE, 0) == Ok(1), "not dumpable");
    ensure!(prctl(SET_DUMPABLE, 2) == Err(Errno::EINVAL), "dumpable 2");
    ensure!(prctl(SET_DUMPABLE, 0) == Ok(0) && prctl(GET_DUMPABLE, 0) == Ok(0), "dumpable");
    ensure!(prctl(9999, 0) == Err(Errno::EINVAL), "an option that is none");
    let child = process::spawn(move || i32::from(signal() != Ok(0) || prctl(GET_DUMPABLE, 0) != Ok(0)));
    ends_with("a child", Status::exit(0), child)
}

/// A thread's name: its own, cut to 15 bytes, and read also where the memory ends behind it.
fn names() -> Verdict {
    const SET_NAME: usize = 15;
    const GET_NAME: usize = 16;
    let set = |name: usize| call(PRCTL, [SET_NAME, name, 0, 0, 0, 0]);
    let get = || {
        let mut name = [0xff_u8; 16];
        call(PRCTL, [GET_NAME, name.as_mut_ptr() as usize, 0, 0, 0, 0]).map(|_| name)
    };
    set(c"0123456789abcdefgh".as_ptr() as usize).context("PR_SET_NAME")?;
    ensure!(get() == Ok(*b"0123456789abcde\0"), "a long name: {:?}", get());
    let mut region = Region::new(2).context("mmap")?;
    let end = region.address() + PAGE;
    region.bytes()[PAGE - 3..PAGE].copy_from_slice(b"ab\0");
    // SAFETY: nothing uses that page.
    unsafe { memory::protect(end, PAGE, Protection::NONE) }.context("mprotect")?;
    set(end - 3).context("a name at the end of a page")?;
    ensure!(get() == Ok(*b"ab\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), "a short name: {:?}", get());
    ensure!(set(end) == Err(Errno::EFAULT), "a name that is not there");
    let other = thread::spawn(move || {
        let _ = set(c"other".as_ptr() as usize);
    });
    ensure!(
        other.context("clone")?.join().is_some() && get().is_ok_and(|name| &name[..2] == b"ab"),
        "shared"
    );
    Ok(())
}
