//! getdents64: the names of a directory, as programs read them.
//!
//! A position is the cookie of the name that comes next. Names keep their cookies, so that a
//! program that removes the names that it read, and reads on, misses none.

use alloc::vec::Vec;

use crate::errno::Errno;
use crate::fs::Description;
use crate::fs::directory::{Directory, FIRST_COOKIE};
use crate::fs::inode::Inode;
use crate::memory::heap;
use crate::mm::user_memory::UserAddr;

/// The most bytes of one call, which the kernel has on the heap meanwhile.
const MOST_BYTES: usize = 64 << 10;
/// The fields of `struct linux_dirent64` before the name: inode, position, length, type.
const HEADER_BYTES: usize = 19;
/// The shift from a file's mode to its type in an entry.
const TYPE_SHIFT: u32 = 12;

/// Stores the next names of the open directory at `to`, at most `len` bytes, and moves the
/// position behind them. Returns the bytes; 0 at the end. May sleep.
///
/// # Errors
/// `ENOTDIR`; `ENOENT` if it has been removed; `EINVAL` if the next name does not fit; `EFAULT`.
pub(crate) fn read(description: &Description, to: UserAddr, len: usize) -> Result<u64, Errno> {
    let inode = description.inode().ok_or(Errno::ENOTDIR)?;
    let directory = inode.directory()?;
    description.with_position(|position| {
        let (bytes, next) = collect(directory, *position, len.min(MOST_BYTES))?;
        to.write_bytes(&bytes)?;
        *position = next;
        Ok(bytes.len() as u64)
    })
}

/// The entries from `position` on that fit in `len` bytes, and the position of the next one.
fn collect(directory: Directory<'_>, position: u64, len: usize) -> Result<(Vec<u8>, u64), Errno> {
    let (parent, made) = (directory.parent(), directory.made());
    let list = directory.lock();
    if list.is_removed() {
        return Err(Errno::ENOENT);
    }
    let count = 2 + made.len() + list.entries().count();
    heap::check_room(len + count * size_of::<(u64, &str, &Inode)>())?;
    let own: [(u64, &str, &Inode); 2] = [(0, ".", directory.inode), (FIRST_COOKIE - 1, "..", &parent)];
    let named = list.entries().map(|(name, entry)| (entry.cookie, name.as_str(), &*entry.inode));
    let made = made.iter().map(|(cookie, name, inode)| (*cookie, name.as_str(), &**inode));
    let mut entries = Vec::with_capacity(count);
    entries.extend(own.into_iter().chain(named).chain(made).filter(|&(cookie, ..)| cookie >= position));
    entries.sort_unstable_by_key(|&(cookie, ..)| cookie);

    let mut bytes = Vec::with_capacity(len);
    let mut next = position;
    for (cookie, name, inode) in entries {
        let entry_bytes = (HEADER_BYTES + name.len() + 1).next_multiple_of(8);
        let end = bytes.len() + entry_bytes;
        if end > len {
            if bytes.is_empty() {
                return Err(Errno::EINVAL);
            }
            break;
        }
        next = cookie + 1;
        bytes.extend_from_slice(&inode.number().to_be_bytes());
        bytes.extend_from_slice(&next.to_be_bytes());
        bytes.extend_from_slice(&(entry_bytes as u16).to_be_bytes());
        bytes.push((inode.kind.mode() >> TYPE_SHIFT) as u8);
        bytes.extend_from_slice(name.as_bytes());
        bytes.resize(end, 0);
    }
    Ok((bytes, next))
}
