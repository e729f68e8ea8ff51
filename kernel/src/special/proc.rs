//! /proc: files whose text is made when they are opened.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use arch::addr::PAGE_SIZE;
use arch::timer;

use super::interrupts;
use super::processes::Processes;
use crate::clock::ticks;
use crate::errno::Errno;
use crate::fs::inode::{Inode, Kind, Opener, root};
use crate::fs::{File, OpenFlags};
use crate::machine::lazy_tlb;
use crate::memory::frame;
use crate::mm::user_memory::Cursor;
use crate::process;
use crate::task;

/// Makes /proc, and /tmp.
pub(crate) fn init() -> Result<(), Errno> {
    let root = root().directory()?;
    let inode = Inode::new_made_directory(Processes);
    // Replaces an empty directory of the initrd, like a mount.
    let _ = root.remove("proc", true);
    root.add("proc", inode.clone())?;
    let proc = inode.directory()?;
    let files: [(&str, Opener); 6] = [
        ("lazy_tlb", |_| text(crate::report::render())),
        ("cpuinfo", |_| text(cpuinfo())),
        ("interrupts", |_| text(interrupts::render()?)),
        ("meminfo", |_| text(meminfo())),
        ("stat", |_| text(stat())),
        ("uptime", |_| text(uptime())),
    ];
    for (name, open) in files {
        proc.add(name, Inode::new(Kind::generated(open), 0o444))?;
    }
    proc.add("self", Inode::new(Kind::magic_link(|| format!("{}", process::current().pid)), 0o777))?;

    root.get_or_make_directory("tmp").attributes.change(|values, _| values.permissions = 0o1777);
    Ok(())
}

fn cpuinfo() -> String {
    let cpus = lazy_tlb().online();
    let mut text: String =
        cpus.iter().map(|cpu| format!("processor\t: {}\ncpu\t\t: POWER\n\n", cpu.index())).collect();
    text += &format!(
        "timebase\t: {}\nplatform\t: pSeries\nMMU\t\t: Radix\n",
        arch::timer::ticks_per_us() * 1_000_000
    );
    text
}

fn meminfo() -> String {
    let in_kb = |frames| frames * PAGE_SIZE / 1024;
    let (total_kb, free_kb) = (in_kb(frame::total_count()), in_kb(frame::free_count()));
    // MemAvailable is MemFree: files are memory, and no cache is given back on demand.
    format!(
        "MemTotal:       {total_kb:8} kB\nMemFree:        {free_kb:8} kB\nMemAvailable:   {free_kb:8} kB\n"
    )
}

/// How long all online CPUs together had nothing to do.
fn idle_tb() -> u64 {
    lazy_tlb().online().iter().map(task::idle_time_tb).sum()
}

/// Seconds since the time base was 0, and idle ones.
fn uptime() -> String {
    let seconds = |tb| {
        let hundredths = timer::timebase().tb_to_ns(tb) / 10_000_000;
        format!("{}.{:02}", hundredths / 100, hundredths % 100)
    };
    format!("{} {}\n", seconds(timer::now_tb()), seconds(idle_tb()))
}

/// The time of each CPU: all but its idle time counts as the programs'.
fn stat() -> String {
    let line = |name: &str, all_tb: u64, idle_tb: u64| {
        let (busy, idle) = (ticks(all_tb.saturating_sub(idle_tb)), ticks(idle_tb));
        format!("{name} {busy} 0 0 {idle} 0 0 0 0 0 0\n")
    };
    let cpus = lazy_tlb().online();
    let now_tb = timer::now_tb();
    let mut text = line("cpu ", now_tb * cpus.iter().count() as u64, idle_tb());
    for cpu in cpus.iter() {
        text += &line(&format!("cpu{}", cpu.index()), now_tb, task::idle_time_tb(cpu));
    }
    let counters = lazy_tlb().cpus().iter().map(|cpu| &cpu.counters);
    let switches: u64 =
        counters.map(|c| c.switch_uk.get() + c.switch_kk.get() + c.switch_ku.get() + c.switch_uu.get()).sum();
    let mut running = 0;
    task::registry::for_each(|task| running += u64::from(matches!(task.state(), "running" | "waiting")));
    text + &format!("ctxt {switches}\nbtime 0\nprocs_running {running}\n")
}

/// A file with this text.
pub(super) fn text(text: String) -> Result<Arc<dyn File>, Errno> {
    bytes(text.into_bytes())
}

/// A file with these bytes.
pub(super) fn bytes(bytes: Vec<u8>) -> Result<Arc<dyn File>, Errno> {
    Ok(Arc::new(Bytes(bytes)))
}

/// Moves out `bytes` from position `at` on.
pub(super) fn put_from(bytes: &[u8], to: &mut Cursor<'_>, at: u64) -> Result<(), Errno> {
    let rest = bytes.get(at as usize..).unwrap_or(&[]);
    to.put(rest).map(drop)
}

struct Bytes(Vec<u8>);

impl File for Bytes {
    fn read(&self, to: &mut Cursor<'_>, at: u64, _: OpenFlags) -> Result<(), Errno> {
        put_from(&self.0, to, at)
    }

    fn is_seekable(&self) -> bool {
        true
    }
}
