//! CPUs that go and come back while the workers work.

use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use user::file::{self, Fd};
use user::process::{self, Pid, SIGKILL, Status};
use user::random::Random;
use user::{Context, Errno, Verdict, ensure};

use super::sleep;

/// The process that sends CPUs away.
pub(crate) struct Toggler {
    pid: Pid,
    cpus: Vec<usize>,
}

/// Between two changes.
const PAUSE_US: usize = 20_000;

/// Starts it; None on a machine whose CPUs always stay.
pub(crate) fn start(cpus: &[usize], mut random: Random) -> Result<Option<Toggler>, String> {
    // The first CPU boots, and stays.
    let cpus: Vec<usize> = cpus.iter().copied().skip(1).collect();
    match cpus.first().map(|&cpu| open(cpu)) {
        None | Some(Err(Errno::ENOENT)) => return Ok(None),
        Some(fd) => fd.context("a CPU's switch")?.close().context("close")?,
    }
    let toggle = || loop {
        let cpu = cpus[random.below(cpus.len())];
        // EBUSY: the CPU's worker has not come to an end of its work.
        let answer = switch(cpu, random.one_in(2));
        if !matches!(answer, Ok(()) | Err(Errno::EBUSY | Errno::EINVAL)) {
            return 1;
        }
        sleep(Duration::from_micros(random.below(PAUSE_US) as u64));
    };
    let pid = process::spawn(toggle).context("fork")?;
    Ok(Some(Toggler { pid, cpus }))
}

impl Toggler {
    /// Ends it, and brings all CPUs back.
    pub(crate) fn finish(self) -> Verdict {
        process::kill(self.pid, SIGKILL).context("kill")?;
        let status = process::wait(self.pid).context("wait4")?;
        ensure!(status == Status::signal(SIGKILL), "the process that switches CPUs ended with {status}");
        for cpu in self.cpus {
            switch(cpu, true).context(format_args!("CPU {cpu} online"))?;
        }
        Ok(())
    }
}

fn open(cpu: usize) -> Result<Fd, Errno> {
    let path = CString::new(format!("/sys/devices/system/cpu/cpu{cpu}/online")).expect("no NUL inside");
    file::open_for_writing(&path)
}

fn switch(cpu: usize, online: bool) -> Result<(), Errno> {
    let fd = open(cpu)?;
    let answer = fd.write_all(if online { b"1" } else { b"0" });
    fd.close()?;
    answer
}
