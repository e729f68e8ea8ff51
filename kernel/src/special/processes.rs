//! /proc/PID: the state of a process, in Linux's formats (proc(5)).

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write as _;

use arch::addr::PAGE_SIZE;

use super::cpus::ranges;
use super::proc::bytes;
use crate::clock::ticks;
use crate::errno::Errno;
use crate::fs::directory::Made;
use crate::fs::inode::{Inode, Kind};
use crate::machine::lazy_tlb;
use crate::memory::heap;
use crate::mm::{self, Layout, Prot};
use crate::process::{Process, table};
use crate::task::{TaskRef, Usage};

/// The processes, as directories of /proc.
pub(super) struct Processes;

impl Made for Processes {
    fn get(&self, name: &str) -> Option<Arc<Inode>> {
        let pid = name.parse().ok()?;
        table::find(pid).map(|_| Inode::new_made_directory(Files(pid)))
    }

    fn names(&self) -> Vec<(u32, String)> {
        // No allocation under the table's lock. Processes that come after the count are left out.
        let mut count = 0;
        table::for_each(|_| count += 1);
        let mut pids: Vec<u32> = Vec::with_capacity(count);
        table::for_each(|process| {
            if pids.len() < count {
                pids.push(process.pid);
            }
        });
        pids.sort_unstable();
        pids.iter().map(|&pid| (pid, format!("{pid}"))).collect()
    }
}

/// The files of one process.
struct Files(u32);

/// The contents of a file.
type Contents = fn(&Process) -> Result<Vec<u8>, Errno>;

const FILES: [(&str, Contents); 6] = [
    ("auxv", |process| Ok(auxv(process))),
    ("cmdline", |process| Ok(cmdline(process))),
    ("comm", |process| Ok(format!("{}\n", name(process)).into_bytes())),
    ("maps", |process| maps(process).map(String::into_bytes)),
    ("stat", |process| stat(process).map(String::into_bytes)),
    ("status", |process| status(process).map(String::into_bytes)),
];

impl Made for Files {
    fn get(&self, name: &str) -> Option<Arc<Inode>> {
        let pid = self.0;
        if name == "exe" {
            let path =
                move || table::find(pid).map_or(String::new(), |process| process.program().path.clone());
            return Some(Inode::new(Kind::magic_link(path), 0o777));
        }
        let (_, contents) = FILES.iter().find(|(file, _)| *file == name)?;
        let open = move |_| bytes(contents(&*table::find(pid).ok_or(Errno::ESRCH)?)?);
        Some(Inode::new(Kind::generated(open), 0o444))
    }

    fn names(&self) -> Vec<(u32, String)> {
        let names = FILES.iter().map(|(name, _)| *name).chain(["exe"]);
        names.enumerate().map(|(number, name)| (number as u32, String::from(name))).collect()
    }
}

fn auxv(process: &Process) -> Vec<u8> {
    process.program().auxiliary.as_flattened().iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// Empty for a dead process: Linux reads it from memory that is gone.
fn cmdline(process: &Process) -> Vec<u8> {
    if process.first_task().is_none() { Vec::new() } else { process.program().arguments.clone() }
}

/// The name of its first thread; for a dead process the name of its file.
fn name(process: &Process) -> String {
    match process.first_task() {
        Some(task) => String::from(task.name().as_str()),
        None => String::from(process.program().path.rsplit('/').next().unwrap_or("")),
    }
}

fn layout(task: Option<&TaskRef>) -> Result<Layout, Errno> {
    task.map_or(Ok(Layout::default()), |task| mm::layout(task.mm.mm()))
}

fn maps(process: &Process) -> Result<String, Errno> {
    /// The most bytes of a line.
    const LINE: usize = 96;
    let layout = layout(process.first_task().as_ref())?;
    heap::check_room(layout.areas.len() * LINE)?;
    let mut text = String::with_capacity(layout.areas.len() * LINE);
    for area in &layout.areas {
        let may = |prot, letter| if area.prot.contains(prot) { letter } else { '-' };
        let (inode, offset) = area.object.unwrap_or_default();
        let device = if area.object.is_some() { "00:01" } else { "00:00" };
        let start = text.len();
        // A string takes all that is written to it.
        let _ = write!(
            text,
            "{:08x}-{:08x} {}{}{}{} {offset:08x} {device} {inode} ",
            area.range.start,
            area.range.end,
            may(Prot::READ, 'r'),
            may(Prot::WRITE, 'w'),
            may(Prot::EXEC, 'x'),
            if area.shared { 's' } else { 'p' },
        );
        let name = match &area.range {
            range if range.end == mm::STACK_TOP => "[stack]",
            range if range.start == mm::STACK_TOP => "[sigpage]",
            range if range.start < layout.heap.end && layout.heap.start < range.end => "[heap]",
            _ => "",
        };
        if !name.is_empty() {
            let padding = 73_usize.saturating_sub(text.len() - start);
            let _ = write!(text, "{:padding$}{name}", "");
        }
        text.push('\n');
    }
    Ok(text)
}

/// Linux's letter and word for the state of a process.
fn state(task: Option<&TaskRef>) -> &'static str {
    match task.map(|task| task.state()) {
        None => "Z (zombie)",
        Some("running" | "waiting") => "R (running)",
        Some(_) => "S (sleeping)",
    }
}

fn stat(process: &Process) -> Result<String, Errno> {
    let task = process.first_task();
    let layout = layout(task.as_ref())?;
    let size: u64 = layout.areas.iter().map(|area| area.range.end - area.range.start).sum();
    let (own, children): (Usage, Usage) = (process.usage(), process.children_usage());
    let group = process.group.load(core::sync::atomic::Ordering::Relaxed);
    let asked = task.as_ref().and_then(|task| task.user.as_ref()).map(|thread| thread.scheduling.get());
    let (nice, priority, policy) =
        asked.map_or((0, 0, 0), |asked| (asked.nice, asked.priority, asked.policy));
    // From "state" on. Unknown fields are 0, like those that Linux no longer fills.
    let fields = format!(
        "{} {} {group} {group} 0 -1 0 {} {} 0 0 {} 0 {} 0 {} {nice} {} 0 {} {size} {} {} 0 0 0 0 0 \
         0 0 0 0 0 0 0 17 {} {priority} {policy} 0 0 0 0 0 0 0 0 0 0 0",
        &state(task.as_ref())[..1],
        process.parent(),
        own.faults,
        children.faults,
        ticks(own.ran_tb),
        ticks(children.ran_tb),
        // Linux's scale: below 0 for real-time priorities.
        if priority > 0 { -1 - i32::from(priority) } else { 20 + i32::from(nice) },
        process.thread_count(),
        ticks(process.started_tb),
        layout.resident,
        u64::MAX,
        task.as_ref().map_or(0, |task| task.cpu().index()),
    );
    Ok(format!("{} ({}) {fields}\n", process.pid, name(process)))
}

fn status(process: &Process) -> Result<String, Errno> {
    let task = process.first_task();
    let layout = layout(task.as_ref())?;
    let size: u64 = layout.areas.iter().map(|area| area.range.end - area.range.start).sum();
    let usage = process.usage();
    let state = state(task.as_ref());
    let mut text = format!(
        "Name:\t{}\nState:\t{state}\nTgid:\t{pid}\nPid:\t{pid}\nPPid:\t{}\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n",
        name(process),
        process.parent(),
        pid = process.pid,
    );
    // A string takes all that is written to it.
    let Some(task) = task else { return Ok(text) };
    let _ = write!(
        text,
        "VmSize:\t{:8} kB\nVmRSS:\t{:8} kB\nThreads:\t{}\nShdPnd:\t{:016x}\n",
        size / 1024,
        layout.resident * PAGE_SIZE / 1024,
        process.thread_count(),
        process.signals.set(),
    );
    if let Some(thread) = &task.user {
        let blocked = thread.blocked.load(core::sync::atomic::Ordering::Relaxed);
        let _ = writeln!(text, "SigBlk:\t{blocked:016x}");
    }
    let cpus = task.affinity().and(&kcore::cpu::CpuSet::first(lazy_tlb().nr_cpus()));
    let _ = write!(
        text,
        "Cpus_allowed_list:\t{}voluntary_ctxt_switches:\t{}\nnonvoluntary_ctxt_switches:\t{}\n",
        ranges(&cpus),
        usage.voluntary_switches,
        usage.involuntary_switches,
    );
    Ok(text)
}
