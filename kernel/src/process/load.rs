//! From an ELF file to the pages of an address space.

use alloc::borrow::Cow;
use alloc::sync::Arc;

use arch::addr::PAGE_SIZE;
use formats::elf::{Abi, Program, Segment};
use kcore::mm::MmId;

use crate::errno::Errno;
use crate::mm::{self, Backing, MapFlags, Object, Prot};

/// Where a position-independent program goes.
const PIE_BASE: u64 = 0x1000_0000;

/// The facts about a loaded program for exec and the start-up stack.
pub(super) struct Loaded {
    /// The first instruction.
    pub(super) entry: u64,
    /// r2 at the start of an ELFv1 program.
    pub(super) toc: Option<u64>,
    /// AT_PHDR.
    pub(super) headers: u64,
    /// AT_PHNUM.
    pub(super) headers_count: u64,
    /// AT_ENTRY: the entry point as the file names it.
    pub(super) elf_entry: u64,
}

/// Why a file cannot be run; for init's line on the console.
pub(crate) enum Reason {
    /// The file system, or memory.
    Errno(Errno),
    /// The file.
    Elf(formats::elf::Error),
}

impl From<Errno> for Reason {
    fn from(errno: Errno) -> Self {
        Reason::Errno(errno)
    }
}

impl From<Reason> for Errno {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Errno(errno) => errno,
            Reason::Elf(_) => Errno::ENOEXEC,
        }
    }
}

impl core::fmt::Display for Reason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Reason::Errno(errno) => errno.fmt(f),
            Reason::Elf(error) => error.fmt(f),
        }
    }
}

/// Maps the program in `file` into `mm`, which is new and empty.
pub(super) fn load(mm: MmId, file: &Arc<Object>) -> Result<Loaded, Reason> {
    let bytes = contents(file)?;
    let program = Program::parse(&bytes).map_err(Reason::Elf)?;
    let bias = if program.is_position_independent() { PIE_BASE } else { 0 };
    // Above are the stack and the page that signal handlers return to; null pointers hit the space
    // below.
    let start = program.segments().map(|segment| segment.address).next().unwrap_or(0) + bias;
    if start < mm::LOWEST || program.end() + bias > mm::MMAP_TOP {
        return Err(Reason::Elf(formats::elf::Error::Segment));
    }
    for segment in program.segments() {
        map(mm, file, &segment, bias)?;
    }
    mm::set_brk_start(mm, program.end() + bias);
    let (entry, toc) = match program.abi() {
        Abi::ElfV1 => {
            let (entry, toc) = program.entry_descriptor().ok_or(Errno::ENOEXEC)?;
            // The TOC is not checked: a wrong one harms only the program.
            (entry, Some(toc.wrapping_add(bias)))
        }
        Abi::ElfV2 => (program.entry(), None),
    };
    Ok(Loaded {
        entry: entry + bias,
        toc,
        headers: program.headers_address().map_or(0, |address| address + bias),
        headers_count: program.headers_count(),
        elf_entry: program.entry().wrapping_add(bias),
    })
}

/// All bytes of `file`: in place if they are those of the initrd.
fn contents(file: &Object) -> Result<Cow<'static, [u8]>, Errno> {
    if let Some(bytes) = file.source() {
        return Ok(Cow::Borrowed(bytes));
    }
    let len = file.len() as usize;
    let mut bytes = alloc::vec::Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
    for number in 0..len.div_ceil(PAGE_SIZE as usize) as u64 {
        let page = file.page(number).map_err(|_| Errno::EIO)?;
        let wanted = (len - bytes.len()).min(PAGE_SIZE as usize);
        let at = bytes.len();
        bytes.resize(at + wanted, 0);
        // SAFETY: `wanted` is at most a page, and the target has that room. A write to the file
        // meanwhile makes us read the old or the new byte.
        unsafe { core::ptr::copy_nonoverlapping(page.as_mut_ptr(), bytes[at..].as_mut_ptr(), wanted) };
    }
    Ok(Cow::Owned(bytes))
}

/// Maps one segment: pages of the file, then pages of zeros.
fn map(mm: MmId, file: &Arc<Object>, segment: &Segment, bias: u64) -> Result<(), Errno> {
    let flags = MapFlags::PRIVATE | MapFlags::FIXED;
    let prot = protection(segment);
    let start = segment.address + bias;
    let in_page = start % PAGE_SIZE;
    let file_end = start + segment.file_bytes;
    let memory_end = start + segment.memory_bytes;
    let mut mapped_end = start - in_page;
    if segment.file_bytes != 0 {
        let offset = segment.offset - in_page;
        let len = file_end - mapped_end;
        mm::mmap(mm, mapped_end, len, prot, flags, Backing::of(mm, file.clone(), offset, false)?)?;
        mm::map_present(mm, mapped_end);
        mapped_end = file_end.next_multiple_of(PAGE_SIZE);
    }
    if memory_end > file_end && mapped_end > file_end {
        // The page holds bytes of the file where zeros must be.
        let end = mapped_end.min(memory_end.next_multiple_of(PAGE_SIZE));
        mm::zero(mm, file_end, end - file_end).map_err(|_| Errno::ENOMEM)?;
    }
    if memory_end > mapped_end {
        let flags = flags | MapFlags::ANONYMOUS;
        mm::mmap(mm, mapped_end, memory_end - mapped_end, prot, flags, Backing::Anonymous)?;
    }
    Ok(())
}

fn protection(segment: &Segment) -> Prot {
    let mut prot = Prot::empty();
    prot.set(Prot::READ, segment.read);
    prot.set(Prot::WRITE, segment.write);
    prot.set(Prot::EXEC, segment.execute);
    prot
}
