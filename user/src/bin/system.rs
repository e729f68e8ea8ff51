//! The kernel's reports on itself and on processes, and calls with flags and numbers that
//! qemu-ppc64 on a host answers otherwise.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;

use user::memory::{PAGE, poke};
use user::process;
use user::sys::{Errno, answer};
use user::verdict::format;
use user::{Context, Env, Verdict, ensure, file};

user::main!(main);

const EFAULT: isize = -14;
const EINVAL: isize = -22;

const GETRUSAGE: usize = 77;
const READLINK: usize = 85;
const REBOOT: usize = 88;
const MMAP: usize = 90;
const GETPRIORITY: usize = 96;
const SETPRIORITY: usize = 97;
const STAT: usize = 106;
const SYSINFO: usize = 116;
const SELECT: usize = 142;
const NANOSLEEP: usize = 162;
const SETSID: usize = 66;
const STATFS64: usize = 252;
const FSTATFS64: usize = 253;
const PSELECT6: usize = 280;
const PPOLL: usize = 281;
const SOCKETPAIR: usize = 333;
const GETRANDOM: usize = 359;

/// Makes the call; the memory that it is given is the caller's.
fn call(nr: usize, args: &[usize]) -> isize {
    // SAFETY: memory that is passed by address lives during the call, and nothing else
    // changes it.
    unsafe { answer(nr, args) }
}

fn answers(what: &str, nr: usize, args: &[usize], expected: isize) -> Verdict {
    let got = call(nr, args);
    ensure!(got == expected, "{what}: {got}, not {expected}");
    Ok(())
}

fn main(_env: &Env) -> Verdict {
    ensure!(call(700, &[]) == -38, "a call that there is not");
    numbers()?;
    rest_of_time()?;
    faults()?;
    groups()?;
    memory()?;
    owner_of_a_program()?;
    read_only_device()?;
    trace()?;
    interrupts()?;
    times()?;
    own_files()?;
    files_of_a_child()
}

/// Flags and magic numbers.
fn numbers() -> Verdict {
    let mut bytes = [0_u8; 16];
    let to = bytes.as_mut_ptr() as usize;
    let mut pair = [0_i32; 2];
    let fds = pair.as_mut_ptr() as usize;
    const MAGIC: usize = 0xfee1_dead;
    answers("getrandom", GETRANDOM, &[to, 16, 1 | 4], 16)?;
    answers("getrandom, an unknown flag", GETRANDOM, &[to, 16, 8], EINVAL)?;
    answers("getrandom, two sources", GETRANDOM, &[to, 16, 2 | 4], EINVAL)?;
    answers("reboot, bad magic", REBOOT, &[MAGIC + 1, 672_274_793, 0x4321_fedc], EINVAL)?;
    answers("reboot, bad second magic", REBOOT, &[MAGIC, 1, 0x4321_fedc], EINVAL)?;
    answers("reboot, bad command", REBOOT, &[MAGIC, 537_993_216, 7], EINVAL)?;
    answers("reboot, Ctrl-Alt-Del", REBOOT, &[MAGIC, 85_072_278, 0x89ab_cdef], 0)?;
    answers("socketpair, an unknown flag", SOCKETPAIR, &[1, 1 | 0x10_0000, 0, fds], EINVAL)?;
    let statfs = [0_u64; 15].as_mut_ptr() as usize;
    let root = c"/".as_ptr() as usize;
    answers("statfs64, another size", STATFS64, &[root, 119, statfs], EINVAL)?;
    answers("fstatfs64, another size", FSTATFS64, &[1, 119, statfs], EINVAL)?;
    answers("nanosleep, a bad address", NANOSLEEP, &[8, 0], EFAULT)?;
    answers("select, a bad time", SELECT, &[0, 0, 0, 0, 8], EFAULT)?;
    answers("pselect, a bad mask", PSELECT6, &[0, 0, 0, 0, 0, 8], EFAULT)
}

/// The calls return the remaining time, in seconds and parts of one.
fn rest_of_time() -> Verdict {
    let (ready, writer) = file::pipe().context("pipe")?;
    writer.write(b"x").context("write")?;
    let mut entry = [(ready.0 as u64) << 32 | 1 << 16];
    let entries = entry.as_mut_ptr() as usize;
    let mut set = [1_u64 << ready.0];
    let fds = set.as_mut_ptr() as usize;
    let (count, mut time) = (ready.0 as usize + 1, [100_i64, 500]);
    // However little time has passed: not more than before, in whole seconds and less than one.
    let is_rest = |time: [i64; 2], before: [i64; 2], second: i64| {
        time <= before && time[0] >= 90 && (0..second).contains(&time[1])
    };
    answers("ppoll", PPOLL, &[entries, 1, time.as_mut_ptr() as usize, 0, 8], 1)?;
    ensure!(is_rest(time, [100, 500], 1_000_000_000), "ppoll left {time:?}");
    time = [100, 500];
    answers("select", SELECT, &[count, fds, 0, 0, time.as_mut_ptr() as usize], 1)?;
    ensure!(is_rest(time, [100, 500], 1_000_000), "select left {time:?}");
    time = [100, 500];
    answers("pselect", PSELECT6, &[count, fds, 0, 0, time.as_mut_ptr() as usize, 0], 1)?;
    ensure!(is_rest(time, [100, 500], 1_000_000_000), "pselect left {time:?}");
    // More microseconds than a second has.
    time = [99, 1_500_000];
    answers("select", SELECT, &[count, fds, 0, 0, time.as_mut_ptr() as usize], 1)?;
    ensure!(is_rest(time, [100, 500_000], 1_000_000), "select left {time:?}");
    ready.close().and_then(|()| writer.close()).context("close")
}

/// The first access to each page is one fault.
fn faults() -> Verdict {
    const PAGES: u64 = 64;
    let faults = || {
        const RUSAGE_THREAD: usize = 1;
        let mut usage = [0_u64; 18];
        call(GETRUSAGE, &[RUSAGE_THREAD, usage.as_mut_ptr() as usize]);
        usage[8]
    };
    let at = call(MMAP, &[0, PAGES as usize * PAGE, 3, 0x22, usize::MAX, 0]) as usize;
    let before = faults();
    for page in 0..PAGES as usize {
        // SAFETY: in the mapping above, to which no reference leads.
        unsafe { poke(at + page * PAGE, 1) };
    }
    let after = faults();
    ensure!((PAGES..PAGES + 8).contains(&(after - before)), "{} faults for {PAGES} pages", after - before);
    Ok(())
}

/// The highest priority of a group counts.
fn groups() -> Verdict {
    const PRIO_PROCESS: usize = 0;
    const PRIO_PGRP: usize = 1;
    let pid = process::spawn(|| {
        let get = || call(GETPRIORITY, &[PRIO_PGRP, 0]);
        call(SETSID, &[]);
        call(SETPRIORITY, &[PRIO_PROCESS, 0, 9]);
        let (gate, opener) = match file::pipe() {
            Ok(pipe) => pipe,
            Err(_) => return 1,
        };
        let alone = get();
        let Ok(other) = process::spawn(|| gate.read(&mut [0]).map_or(1, |_| 0)) else { return 2 };
        call(SETPRIORITY, &[PRIO_PROCESS, other.0 as usize, 4]);
        let higher = get();
        call(SETPRIORITY, &[PRIO_PROCESS, other.0 as usize, 15]);
        let lower = get();
        let _ = opener.write(b"x");
        let _ = process::wait(other);
        if [alone, higher, lower] == [11, 16, 11] { 0 } else { 3 }
    })
    .context("fork")?;
    let status = process::wait(pid).context("wait")?;
    ensure!(status.success(), "a group's priority: {status}");
    Ok(())
}

fn read(path: &CStr) -> Result<Vec<u8>, String> {
    let file = file::open(path).context(format!("{path:?}"))?;
    let mut bytes = alloc::vec![0; 64 << 10];
    let len = file.read_full(&mut bytes).context(format!("{path:?}"))?;
    bytes.truncate(len);
    file.close().context("close")?;
    Ok(bytes)
}

fn read_text(path: &CStr) -> Result<String, String> {
    String::from_utf8(read(path)?).map_err(|_| format!("{path:?} is no text"))
}

/// The number behind `name` in a text of lines.
fn field(text: &str, name: &str) -> Result<u64, String> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next()).and_then(|word| word.parse().ok());
    number.ok_or_else(|| format!("no {name} in {text}"))
}

fn memory() -> Verdict {
    let text = read_text(c"/proc/meminfo")?;
    let [total, free, available] = ["MemTotal:", "MemFree:", "MemAvailable:"].map(|name| field(&text, name));
    let (total, free, available) = (total?, free?, available?);
    ensure!(free > 0 && free < total && available <= total, "meminfo: {total}, {free}, {available}");
    let mut info = [0_u64; 14];
    answers("sysinfo", SYSINFO, &[info.as_mut_ptr() as usize], 0)?;
    ensure!(info[4] == total * 1024, "sysinfo has {} bytes, meminfo {total} KiB", info[4]);
    ensure!(info[5] > 0 && info[5] < info[4], "sysinfo: {} bytes free", info[5]);
    ensure!(info[10] >> 48 > 0 && info[13] == 1 << 32, "sysinfo: {:x} {:x}", info[10], info[13]);
    answers("sysinfo, a bad address", SYSINFO, &[8], EFAULT)
}

/// Files of the archive belong to root.
fn owner_of_a_program() -> Verdict {
    let mut stat = [u32::MAX; 36];
    let path = c"/bin/system".as_ptr() as usize;
    answers("stat", STAT, &[path, stat.as_mut_ptr() as usize], 0)?;
    ensure!(stat[7..9] == [0, 0], "the owner and group of a program: {:?}", &stat[7..9]);
    Ok(())
}

/// A device that has only a read refuses a write.
fn read_only_device() -> Verdict {
    let device = file::open_for_writing(c"/dev/use_mm").context("/dev/use_mm")?;
    let wrote = device.write(b"x");
    ensure!(wrote == Err(Errno::EINVAL), "a write to a device for reads gave {wrote:?}");
    device.close().context("close")
}

/// The switch of the trace: what is on is read back, and a bad list changes nothing.
fn trace() -> Verdict {
    const FILE: &CStr = c"/sys/kernel/lazy_trace";
    let write = |list: &str| {
        let switch = file::open_for_writing(FILE).context(format!("{FILE:?}"))?;
        let wrote = switch.write(list.as_bytes());
        switch.close().context("close")?;
        Ok::<_, String>(wrote)
    };
    let is_on = |groups: &str| {
        let text = read_text(FILE)?;
        let first = text.lines().next().unwrap_or_default();
        let expected = if groups.is_empty() { "# off".into() } else { format!("# on: {groups}") };
        ensure!(first.starts_with(&expected), "the trace says {first}, not {expected}");
        Ok(text)
    };
    let sets = |list: &str, groups: &str| {
        let wrote = write(list)?;
        ensure!(wrote == Ok(list.len()), "the trace's switch: {list}: {wrote:?}");
        is_on(groups)
    };
    let text = sets("on\n", "switch,lazy,")?;
    ensure!(text.contains(": syscall: "), "no system call in {text}");
    sets("shoot,mm", "shoot,mm")?;
    for bad in ["", "frob", "mm,frob", "mm,on", "mm mm", &"mm,".repeat(100)] {
        let wrote = write(bad)?;
        ensure!(wrote == Err(Errno::EINVAL), "the trace's switch: {bad}: {wrote:?}");
    }
    is_on("shoot,mm")?;
    sets("off", "").map(drop)
}

/// One column per CPU, and numbers in all of them.
fn interrupts() -> Verdict {
    let text = read_text(c"/proc/interrupts")?;
    let mut lines = text.lines();
    let cpus = lines.next().map_or(0, |line| line.split_whitespace().count());
    ensure!(text.trim_start().starts_with("CPU0") && cpus > 0, "interrupts begin with {text}");
    for name in ["LOC:", "IPI:", "RES:", "TLB:", "LZY:", "MBR:"] {
        let line = text.lines().find(|line| line.trim_start().starts_with(name));
        let line = line.ok_or_else(|| format!("no {name} in {text}"))?;
        let numbers = line.split_whitespace().skip(1).map_while(|word| word.parse::<u64>().ok()).count();
        ensure!(numbers == cpus, "{name} has {numbers} columns of {cpus}");
    }
    Ok(())
}

fn times() -> Verdict {
    let uptime = read_text(c"/proc/uptime")?;
    let numbers = uptime.split_whitespace().filter(|word| word.parse::<f64>().is_ok()).count();
    ensure!(numbers == 2, "uptime is {uptime}");
    let stat = read_text(c"/proc/stat")?;
    ensure!(stat.starts_with("cpu  ") && stat.contains("\ncpu0 "), "stat is {stat}");
    ensure!(field(&stat, "ctxt ")? > 0 && field(&stat, "procs_running ")? > 0, "stat is {stat}");
    let info = read_text(c"/proc/cpuinfo")?;
    for line in ["processor\t: 0\n", "cpu\t\t: POWER", "timebase\t: ", "MMU\t\t: Radix"] {
        ensure!(info.contains(line), "no {line} in {info}");
    }
    Ok(())
}

/// The link at `path`.
fn link(path: &CStr) -> Result<String, String> {
    let mut bytes = [0_u8; 256];
    let len = call(READLINK, &[path.as_ptr() as usize, bytes.as_mut_ptr() as usize, bytes.len()]);
    ensure!(len > 0, "{path:?}: {len}");
    Ok(String::from_utf8_lossy(&bytes[..len as usize]).into_owned())
}

fn own_files() -> Verdict {
    let pid = process::getpid().0;
    ensure!(link(c"/proc/self")? == format!("{pid}"), "/proc/self leads to {}", link(c"/proc/self")?);
    ensure!(link(c"/proc/self/exe")? == "/bin/system", "exe is {}", link(c"/proc/self/exe")?);
    let at = call(MMAP, &[0, 3 * PAGE, 1, 0x22, usize::MAX, 0]) as usize;
    let maps = read_text(c"/proc/self/maps")?;
    let line = format!("{at:08x}-{:08x} r--p 00000000 00:00 0", at + 3 * PAGE);
    ensure!(maps.lines().any(|one| one.starts_with(&line)), "no {line} in {maps}");
    ensure!(
        maps.contains(" rw-p ") && maps.contains(" r-xp ") && maps.contains(" [stack]\n"),
        "maps: {maps}"
    );
    let auxv = read(c"/proc/self/auxv")?;
    let words: Vec<u64> = auxv.as_chunks().0.iter().map(|word| u64::from_be_bytes(*word)).collect();
    const AT_PAGESZ: u64 = 6;
    let pairs = words.as_chunks::<2>().0;
    ensure!(pairs.contains(&[AT_PAGESZ, PAGE as u64]) && pairs.last() == Some(&[0, 0]), "auxv: {pairs:?}");
    ensure!(
        read(c"/proc/self/cmdline")?.ends_with(b"system\0"),
        "cmdline: {:?}",
        read(c"/proc/self/cmdline")?
    );
    let status = read_text(c"/proc/self/status")?;
    ensure!(status.starts_with("Name:\tsystem\n"), "status: {status}");
    ensure!(field(&status, "Pid:")? == pid as u64 && field(&status, "Threads:")? == 1, "status: {status}");
    let (size, resident) = (field(&status, "VmSize:")?, field(&status, "VmRSS:")?);
    ensure!(resident > 0 && resident < size, "of {size} kB are {resident} resident");
    Ok(())
}

/// /proc's files of another process, while it waits, when it is dead, and when it is gone.
fn files_of_a_child() -> Verdict {
    let (gate, opener) = file::pipe().context("pipe")?;
    let child = process::spawn(|| gate.read(&mut [0]).map_or(1, |_| 0)).context("fork")?;
    let path = format!("/proc/{}/stat\0", child.0);
    let path = CStr::from_bytes_with_nul(path.as_bytes()).map_err(|_| "no path")?;
    let own = process::getpid().0;
    let begins = |state: char| format!("{} (system) {state} {own} ", child.0);
    let becomes = |state: char| -> Verdict {
        for _ in 0..1000 {
            if read_text(path)?.starts_with(&begins(state)) {
                return Ok(());
            }
            user::time::sleep(core::time::Duration::from_millis(5)).context("sleep")?;
        }
        Err(format!("after five seconds: {}", read_text(path)?))
    };
    becomes('S')?;
    ensure!(read_text(path)?.split_whitespace().count() == 52, "stat: {}", read_text(path)?);
    opener.write(b"x").context("write")?;
    becomes('Z')?;
    process::wait(child).context("wait")?;
    ensure!(file::open(path).is_err(), "a process that is gone is in /proc");
    gate.close().and_then(|()| opener.close()).context("close")
}
