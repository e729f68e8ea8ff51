//! rename and link: another name for a file.

use alloc::sync::Arc;

use crate::errno::Errno;
use crate::fs::directory::{Directory, List};
use crate::fs::inode::Inode;
use crate::fs::path::Place;
use crate::task::{Mutex, MutexGuard};

/// Guards the tree of directories: held while one may move, and during a climb of several steps.
/// Taken before the locks of the directories (Linux's `s_vfs_rename_mutex`).
static SHAPE: Mutex<()> = Mutex::new(());

/// No directory moves as long as the guard lives.
pub(super) fn shape_of_tree() -> MutexGuard<'static, ()> {
    SHAPE.lock()
}

/// A name in a directory.
#[derive(Clone, Copy)]
pub(crate) struct Named<'a> {
    /// The directory.
    pub(crate) place: &'a Place,
    /// The name.
    pub(crate) name: &'a str,
    /// Whether a slash follows, so that the path names a directory.
    pub(crate) slash: bool,
}

/// Gives the inode that `from` names the name `to`. An inode with that name loses it, unless it
/// is `kept`. May sleep.
///
/// # Errors
/// As Linux's renameat2.
pub(crate) fn rename(from: Named<'_>, to: Named<'_>, kept: bool) -> Result<(), Errno> {
    let _shape = shape_of_tree();
    let (source, target) = (from.place.inode().directory()?, to.place.inode().directory()?);
    let mut lists = Lists::lock(source, target);
    let moved = lists.source().get(from.name).ok_or(Errno::ENOENT)?.clone();
    let replaced = lists.target().get(to.name).cloned();
    if replaced.is_some() && kept {
        return Err(Errno::EEXIST);
    }
    if !moved.is_directory() && (from.slash || to.slash) {
        return Err(Errno::ENOTDIR);
    }
    if is_above(&moved, target) {
        return Err(Errno::EINVAL);
    }
    if let Some(replaced) = &replaced {
        if Arc::ptr_eq(replaced, &moved) {
            return Ok(());
        }
        check_replaced(replaced, moved.is_directory(), source)?;
    } else {
        lists.target().check_free(to.name)?;
    }
    let gone = target.take(lists.target(), to.name);
    source.take(lists.source(), from.name);
    target.insert(lists.target(), to.name, moved);
    drop(lists);
    // Perhaps the last reference to many pages: dropped without the locks.
    drop(gone);
    Ok(())
}

/// Checks that `replaced` may lose its name; a directory ends with this.
fn check_replaced(replaced: &Arc<Inode>, by_directory: bool, source: Directory<'_>) -> Result<(), Errno> {
    match (replaced.directory(), by_directory) {
        (Ok(_), false) => Err(Errno::EISDIR),
        (Err(_), true) => Err(Errno::ENOTDIR),
        (Err(_), false) => Ok(()),
        // A directory above has names, and its lock may be one of ours.
        (Ok(_), true) if is_above(replaced, source) => Err(Errno::ENOTEMPTY),
        (Ok(lower), true) => lower.lock().end(),
    }
}

/// Whether `upper` is `lower` or above it. The tree keeps its shape meanwhile.
fn is_above(upper: &Arc<Inode>, lower: Directory<'_>) -> bool {
    let mut here = lower.inode.clone();
    loop {
        if Arc::ptr_eq(&here, upper) {
            return true;
        }
        let above = here.directory().ok().and_then(Directory::up);
        let Some((above, _)) = above else { return false };
        here = above;
    }
}

/// The names of two directories, or of one twice.
struct Lists<'a> {
    source: MutexGuard<'a, List>,
    /// None if source and target are one directory.
    target: Option<MutexGuard<'a, List>>,
}

impl<'a> Lists<'a> {
    /// Locks the upper directory first. Two of which none is above the other are locked in any
    /// order: only one rename runs at a time, and all other calls lock downwards.
    fn lock(source: Directory<'a>, target: Directory<'a>) -> Self {
        if Arc::ptr_eq(source.inode, target.inode) {
            return Lists { source: source.lock(), target: None };
        }
        if is_above(target.inode, source) {
            let target = target.lock();
            return Lists { source: source.lock(), target: Some(target) };
        }
        Lists { source: source.lock(), target: Some(target.lock()) }
    }

    fn source(&mut self) -> &mut List {
        &mut self.source
    }

    fn target(&mut self) -> &mut List {
        self.target.as_mut().unwrap_or(&mut self.source)
    }
}

/// Gives `inode` one more name.
///
/// # Errors
/// `EPERM` of a directory, `ENOENT` if it has lost its last name, those of a new name.
pub(crate) fn link(inode: Arc<Inode>, to: Named<'_>) -> Result<(), Errno> {
    if inode.is_directory() {
        return Err(Errno::EPERM);
    }
    let directory = to.place.inode().directory()?;
    let mut list = directory.lock();
    list.check_free(to.name)?;
    if inode.attributes.get().links == 0 || to.slash {
        return Err(Errno::ENOENT);
    }
    directory.insert(&mut list, to.name, inode);
    Ok(())
}
