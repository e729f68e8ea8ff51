//! The initrd: a cpio archive that becomes the file tree.
//!
//! File contents stay in the archive's memory, which is never given back; they cannot be changed.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use formats::cpio::{self, Member};

use crate::errno::Errno;
use crate::fs::inode::{Inode, Kind, root};
use crate::fs::path::NAME_MAX;
use crate::memory::heap;
use crate::mm::Object;

/// The reason why an initrd is of no use.
#[derive(Debug)]
pub(crate) enum Error {
    /// The archive is damaged.
    Archive(cpio::Error),
    /// This member's place is taken, its path leads through a file, or memory is exhausted.
    Place(&'static str, Errno),
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Error::Archive(error) => error.fmt(f),
            Error::Place(name, errno) => write!(f, "{name} cannot be placed: {errno}"),
        }
    }
}

/// Puts the files of `archive` into the tree. Members before a damaged one stay.
pub(crate) fn init(archive: &'static [u8]) -> Result<(), Error> {
    let mut linked = Linked::new();
    // Only one of several names has the data, perhaps the last one.
    for member in cpio::members(archive).filter_map(Result::ok).filter(is_linked) {
        heap::check_room(MEMBER_BYTES).map_err(|errno| Error::Place(member.name, errno))?;
        let entry = linked.entry(member.inode).or_insert((&[], None));
        if entry.0.is_empty() {
            entry.0 = member.data;
        }
    }
    for member in cpio::members(archive) {
        let member = member.map_err(Error::Archive)?;
        add(&member, &mut linked).map_err(|errno| Error::Place(member.name, errno))?;
    }
    Ok(())
}

/// Files with several names, by their inode number: the data, and the inode once a
/// name has made it.
type Linked = BTreeMap<u32, (&'static [u8], Option<Arc<Inode>>)>;

/// The most that a member, or a directory that leads to it, takes on the heap.
const MEMBER_BYTES: usize = 4 << 10;

/// Whether it is a file with several names.
fn is_linked(member: &Member<'_>) -> bool {
    member.links > 1 && member.kind == cpio::Kind::File
}

/// Adds one member.
fn add(member: &Member<'static>, linked: &mut Linked) -> Result<(), Errno> {
    let path = member.name.trim_end_matches('/');
    let (directories, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut place = root().clone();
    for name in directories.split('/').filter(|name| !matches!(*name, "" | ".")) {
        heap::check_room(MEMBER_BYTES)?;
        place = place.directory()?.get_or_make_directory(usable(name)?);
    }
    heap::check_room(MEMBER_BYTES)?;
    let place = place.directory()?;
    let name = usable(name)?;
    let kind = match member.kind {
        cpio::Kind::Directory if name.is_empty() => return Ok(()),
        cpio::Kind::Directory => return place.get_or_make_directory(name).directory().map(drop),
        cpio::Kind::File if name.is_empty() => return Err(Errno::EISDIR),
        cpio::Kind::File => {
            let data =
                linked.get(&member.inode).filter(|_| is_linked(member)).map_or(member.data, |same| same.0);
            Kind::Regular(Arc::new(Object::of_bytes(data)))
        }
        cpio::Kind::Symlink => {
            let target = core::str::from_utf8(member.data).map_err(|_| Errno::EINVAL)?;
            Kind::Symlink(target.trim_end_matches('\0').into())
        }
        // The archive's device nodes are ignored: the kernel has its own.
        cpio::Kind::Other => return Ok(()),
    };
    let make = || Inode::new(kind, member.permissions);
    let inode = match linked.get_mut(&member.inode) {
        Some((_, inode)) if is_linked(member) => inode.get_or_insert_with(make).clone(),
        _ => make(),
    };
    place.add(name, inode)
}

/// A name that a path can lead to.
fn usable(name: &str) -> Result<&str, Errno> {
    match name {
        "." | ".." => Err(Errno::EINVAL),
        _ if name.len() > NAME_MAX => Err(Errno::ENAMETOOLONG),
        _ => Ok(name),
    }
}
