//! Files whose text is made when they are opened: /proc.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

use powerpc64::addr::PAGE_SIZE;

use crate::errno::Errno;
use crate::fs::inode::{Inode, Kind, Opener, root};
use crate::fs::{File, OpenFlags};
use crate::machine::lazy_tlb;
use crate::process::{self, user_memory::Cursor};

/// Makes /proc, and /tmp.
pub(crate) fn init() -> Result<(), Errno> {
    let root = root().directory()?;
    let proc = root.get_or_make_directory("proc");
    let files: [(&str, Opener); 3] = [
        ("lazy_tlb", |_| text(crate::report::render())),
        ("cpuinfo", |_| text(cpuinfo())),
        ("meminfo", |_| text(meminfo())),
    ];
    for (name, open) in files {
        proc.directory()?.add(name, Inode::new(Kind::generated(open), 0o444))?;
    }
    let own = proc.directory()?.get_or_make_directory("self");
    own.directory()?.add("exe", Inode::new(Kind::MagicLink(|| process::current().executable()), 0o777))?;

    root.get_or_make_directory("tmp").attributes.set_permissions(0o1777);
    Ok(())
}

fn cpuinfo() -> String {
    let cpus = lazy_tlb().online();
    let mut text: String =
        cpus.iter().map(|cpu| format!("processor\t: {}\ncpu\t\t: POWER\n\n", cpu.index())).collect();
    text += &format!(
        "timebase\t: {}\nplatform\t: pSeries\nMMU\t\t: Radix\n",
        powerpc64::timer::ticks_per_us() * 1_000_000
    );
    text
}

fn meminfo() -> String {
    let free_kb = crate::mm::frame::free_count() * PAGE_SIZE / 1024;
    format!("MemFree:        {free_kb:8} kB\n")
}

/// A file with this text.
pub(super) fn text(text: String) -> Result<Arc<dyn File>, Errno> {
    Ok(Arc::new(Text(text)))
}

/// Moves out `text` from position `at` on.
pub(super) fn put_from(text: &str, to: &mut Cursor<'_>, at: u64) -> Result<(), Errno> {
    let rest = text.as_bytes().get(at as usize..).unwrap_or(&[]);
    to.put(rest).map(drop)
}

struct Text(String);

impl File for Text {
    fn read(&self, to: &mut Cursor<'_>, at: u64, _: OpenFlags) -> Result<(), Errno> {
        put_from(&self.0, to, at)
    }

    fn is_seekable(&self) -> bool {
        true
    }
}
