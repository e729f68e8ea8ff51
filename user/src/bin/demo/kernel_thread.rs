//! Scene 3: a kernel thread that works in our address space.
//!
//! Each read of `/dev/use_mm` is served by a kernel thread that takes our mm
//! (`kthread_use_mm`), fills the buffer and gives the mm back. Byte `i` of a read
//! is `i & 0xff`.

use alloc::string::String;

use user::file::{self, Fd};
use user::memory::{PAGE, Region};
use user::verdict::on_foreign_kernel;
use user::{Context, Errno, Verdict, ensure};

const PAGES: usize = 4;
const READS: usize = 8;

pub(crate) fn run(_cpus: &[usize]) -> Result<String, String> {
    let device = match file::open(c"/dev/use_mm") {
        Err(Errno::ENOENT) if on_foreign_kernel() => {
            return Ok("skipped, there is no /dev/use_mm".into());
        }
        device => device.context("/dev/use_mm")?,
    };
    let verdict = check(device);
    device.close().context("close")?;
    verdict.map(|()| "it filled our buffers, and knew a bad pointer".into())
}

fn check(device: Fd) -> Verdict {
    let mut region = Region::new(PAGES).context("mmap")?;
    // Never touched before: the kernel thread takes the page faults.
    fill_and_check(device, region.bytes())?;
    for skew in 0..READS {
        // Across a page boundary, at any alignment.
        let buffer = &mut region.bytes()[PAGE - skew..2 * PAGE + skew];
        buffer.fill(0xee);
        fill_and_check(device, buffer)?;
    }

    let gone = region.address();
    drop(region);
    for bad in [gone, 0, 0xc000_0000_0000_0000] {
        // SAFETY: nothing is mapped there.
        let answer = unsafe { device.read_at(bad, PAGE) };
        ensure!(answer == Err(Errno::EFAULT), "a read to {bad:#x} gave {answer:?}");
    }
    Ok(())
}

fn fill_and_check(device: Fd, buffer: &mut [u8]) -> Verdict {
    let count = device.read(buffer).context("read")?;
    ensure!(count == buffer.len(), "read {count} of {} bytes", buffer.len());
    let wrong = (0..count).find(|&at| buffer[at] != at as u8);
    if let Some(at) = wrong {
        ensure!(false, "byte {at} is {:#x}", buffer[at]);
    }
    Ok(())
}
