//! The initrd: a cpio archive that becomes the file tree.
//!
//! File contents stay in the archive's memory, which is never given back; they
//! cannot be changed.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use formats::cpio::{self, Member};

use crate::errno::Errno;
use crate::fs::inode::{Inode, Kind, root};
use crate::mm::Object;

/// Why an initrd is of no use.
#[derive(Debug)]
pub(crate) enum Error {
    /// The archive is damaged.
    Archive(cpio::Error),
    /// A member's place is taken, or its directory is none.
    Place(Errno),
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Error::Archive(error) => error.fmt(f),
            Error::Place(errno) => write!(f, "a file cannot be placed: {errno}"),
        }
    }
}

/// Puts the files of `archive` into the tree. What came before a damaged member
/// stays.
pub(crate) fn init(archive: &'static [u8]) -> Result<(), Error> {
    let mut linked = BTreeMap::new();
    for member in cpio::members(archive) {
        let mut member = member.map_err(Error::Archive)?;
        if is_linked(&member) {
            // Only one of several names has the data.
            let same = |other: &Member<'static>| is_linked(other) && other.inode == member.inode;
            let mut names = cpio::members(archive).filter_map(Result::ok).filter(same);
            member.data = names.find(|name| !name.data.is_empty()).map_or(&[], |name| name.data);
        }
        add(&member, &mut linked).map_err(Error::Place)?;
    }
    Ok(())
}

/// Whether it is a file with several names.
fn is_linked(member: &Member<'_>) -> bool {
    member.links > 1 && member.kind == cpio::Kind::File
}

/// Adds one member. `linked` has the inodes seen so far that have several names.
fn add(member: &Member<'static>, linked: &mut BTreeMap<u32, Arc<Inode>>) -> Result<(), Errno> {
    let (directories, name) = member.name.rsplit_once('/').unwrap_or(("", member.name));
    let mut place = root().clone();
    for name in directories.split('/').filter(|name| !name.is_empty()) {
        place = place.directory()?.get_or_make_directory(name);
    }
    let place = place.directory()?;
    let kind = match member.kind {
        cpio::Kind::Directory if name.is_empty() => return Ok(()),
        cpio::Kind::Directory => {
            place.get_or_make_directory(name);
            return Ok(());
        }
        cpio::Kind::File => Kind::Regular(Arc::new(Object::of_bytes(member.data))),
        cpio::Kind::Symlink => {
            let target = core::str::from_utf8(member.data).map_err(|_| Errno::EINVAL)?;
            Kind::Symlink(target.trim_end_matches('\0').into())
        }
        // Device nodes of the archive: the kernel has its own.
        cpio::Kind::Other => return Ok(()),
    };
    let make = || Inode::new(kind, member.permissions);
    let inode =
        if is_linked(member) { linked.entry(member.inode).or_insert_with(make).clone() } else { make() };
    place.add(name, inode)
}
