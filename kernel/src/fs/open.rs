//! open: from a path to a description.

use alloc::sync::Arc;

use crate::errno::Errno;
use crate::fs::inode::{Inode, Kind};
use crate::fs::path::{Last, Place, Walked};
use crate::fs::regular::{DirectoryFile, NameOnly, RegularFile};
use crate::fs::text::WriteAccess;
use crate::fs::{Description, File, OpenFlags};

/// A description of the file that `path` names from `place`. A file that is made gets
/// `permissions`. May sleep.
///
/// # Errors
/// As Linux's open.
pub(crate) fn open(
    place: &Place,
    path: &str,
    flags: OpenFlags,
    permissions: u32,
) -> Result<Arc<Description>, Errno> {
    let exclusive = flags.contains(OpenFlags::CREAT | OpenFlags::EXCL);
    let follow = !flags.contains(OpenFlags::NOFOLLOW) && !exclusive;
    let walked = place.walk_through(path, follow)?;
    let inode = if flags.contains(OpenFlags::CREAT) {
        let (inode, is_new) = find_or_make(&walked, permissions)?;
        if is_new {
            return open_inode(inode, flags - OpenFlags::TRUNC);
        }
        if exclusive {
            return Err(Errno::EEXIST);
        }
        if inode.is_directory() {
            return Err(Errno::EISDIR);
        }
        inode
    } else {
        walked.inode()?
    };
    if flags.contains(OpenFlags::DIRECTORY) {
        inode.directory()?;
    }
    open_inode(inode, flags)
}

/// The inode that was named, and whether it is new.
fn find_or_make(walked: &Walked, permissions: u32) -> Result<(Arc<Inode>, bool), Errno> {
    let Last::Name(name) = &walked.last else { return Ok((walked.inode()?, false)) };
    if walked.slash {
        return Err(Errno::EISDIR);
    }
    let directory = walked.place.inode().directory()?;
    let mut list = directory.lock();
    if let Some(inode) = list.get(name) {
        return Ok((inode.clone(), false));
    }
    list.check_free(name)?;
    let inode = Inode::new_file(permissions);
    directory.insert(&mut list, name, inode.clone());
    Ok((inode, true))
}

fn open_inode(inode: Arc<Inode>, flags: OpenFlags) -> Result<Arc<Description>, Errno> {
    if flags.contains(OpenFlags::PATH) {
        return Ok(Description::with(Arc::new(NameOnly), Some(inode), flags, None));
    }
    let mut access = None;
    let file: Arc<dyn File> = match &inode.kind {
        Kind::Directory(_) if flags.is_for_change() => return Err(Errno::EISDIR),
        Kind::Directory(_) => Arc::new(DirectoryFile),
        Kind::Symlink(_) | Kind::MagicLink(_) => return Err(Errno::ELOOP),
        Kind::Device(_, open) => open(flags)?,
        Kind::Generated(make) => make(flags)?,
        Kind::Regular(object) => {
            if flags.is_for_change() {
                access = Some(WriteAccess::of(&inode)?);
                if inode.is_fixed() {
                    return Err(Errno::EROFS);
                }
            }
            if flags.contains(OpenFlags::TRUNC) {
                inode.set_len(0)?;
            }
            Arc::new(RegularFile(object.clone()))
        }
    };
    let access = access.filter(|_| flags.writable());
    Ok(Description::with(file, Some(inode), flags, access))
}
