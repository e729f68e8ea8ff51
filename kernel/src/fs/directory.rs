//! Directories: names and the inodes that they stand for.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use crate::errno::Errno;
use crate::fs::inode::{Inode, Kind, root};
use crate::sync::SpinLock;
use crate::task::{Mutex, MutexGuard};

/// The names in a directory inode.
pub(crate) struct Names {
    /// Guards the names. An upper directory's before a lower one's; see [`inode`](super::inode).
    list: Mutex<List>,
    /// Guards the directory's own place. Nothing nests inside but the heap's locks.
    up: SpinLock<Up>,
    /// More names, which are not stored.
    made: Option<Box<dyn Made>>,
}

/// Names that are made when they are asked for: those of processes.
pub(crate) trait Made: Send + Sync {
    /// The inode called `name`.
    fn get(&self, name: &str) -> Option<Arc<Inode>>;

    /// All present names, each with a number of its own, ascending.
    fn names(&self) -> Vec<(u32, String)>;
}

/// The place of a directory.
struct Up {
    /// The directory above it; none for the root.
    parent: Weak<Inode>,
    name: String,
}

/// The names.
pub(super) struct List {
    entries: BTreeMap<String, Entry>,
    /// The cookie of the next name.
    next_cookie: u64,
    /// The directory has been removed: it gets no names any more.
    removed: bool,
}

/// One name's inode and place.
pub(super) struct Entry {
    pub(super) inode: Arc<Inode>,
    /// Its place in the directory's order, for lseek and getdents64.
    pub(super) cookie: u64,
}

/// The cookies of `.` and `..`.
pub(super) const FIRST_COOKIE: u64 = 2;
/// Behind the cookies of all stored names.
const FIRST_MADE_COOKIE: u64 = 1 << 32;
/// The bytes that a name adds to a directory's size (tmpfs's `BOGO_DIRENT_SIZE`).
const ENTRY_BYTES: u64 = 20;

impl Names {
    pub(super) fn new(made: Option<Box<dyn Made>>) -> Self {
        let list = List { entries: BTreeMap::new(), next_cookie: FIRST_COOKIE, removed: false };
        let up = Up { parent: Weak::new(), name: String::new() };
        Names { list: Mutex::new(list), up: SpinLock::new("a directory's place", up), made }
    }

    /// The size that stat reports.
    pub(super) fn size(&self) -> u64 {
        (self.list.lock().entries.len() as u64 + 2) * ENTRY_BYTES
    }
}

impl List {
    pub(super) fn get(&self, name: &str) -> Option<&Arc<Inode>> {
        self.entries.get(name).map(|entry| &entry.inode)
    }

    /// Whether the directory has been removed.
    pub(super) fn is_removed(&self) -> bool {
        self.removed
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&String, &Entry)> {
        self.entries.iter()
    }

    /// `EEXIST` if `name` is taken, `ENOENT` if the directory has been removed.
    pub(super) fn check_free(&self, name: &str) -> Result<(), Errno> {
        match () {
            () if self.entries.contains_key(name) => Err(Errno::EEXIST),
            () if self.removed => Err(Errno::ENOENT),
            () => Ok(()),
        }
    }

    /// The end of an empty directory. `ENOTEMPTY` of one with names.
    pub(super) fn end(&mut self) -> Result<(), Errno> {
        if !self.entries.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        self.removed = true;
        Ok(())
    }
}

/// A directory.
#[derive(Clone, Copy)]
pub(crate) struct Directory<'a> {
    pub(super) inode: &'a Arc<Inode>,
    pub(super) names: &'a Names,
}

impl<'a> Directory<'a> {
    /// The names, locked.
    pub(super) fn lock(self) -> MutexGuard<'a, List> {
        self.names.list.lock()
    }

    /// The inode called `name`.
    pub(crate) fn get(self, name: &str) -> Option<Arc<Inode>> {
        let kept = self.lock().get(name).cloned();
        kept.or_else(|| self.names.made.as_ref()?.get(name))
    }

    /// All stored names, sorted.
    pub(crate) fn names(self) -> Vec<String> {
        self.lock().entries.keys().cloned().collect()
    }

    /// The present made names, with their cookies and inodes.
    pub(super) fn made(self) -> Vec<(u64, String, Arc<Inode>)> {
        let Some(made) = &self.names.made else { return Vec::new() };
        let with_inode = |(number, name): (u32, String)| {
            let inode = made.get(&name)?;
            Some((FIRST_MADE_COOKIE + u64::from(number), name, inode))
        };
        made.names().into_iter().filter_map(with_inode).collect()
    }

    /// The directory above it, and its name there; none for the root.
    pub(super) fn up(self) -> Option<(Arc<Inode>, String)> {
        let up = self.names.up.lock();
        up.parent.upgrade().map(|parent| (parent, up.name.clone()))
    }

    /// The directory above it; the root is its own.
    pub(super) fn parent(self) -> Arc<Inode> {
        self.names.up.lock().parent.upgrade().unwrap_or_else(|| root().clone())
    }

    /// Gives `inode` the name `name`. `EEXIST` if that is taken, `ENOENT` if the directory has
    /// been removed.
    pub(crate) fn add(self, name: &str, inode: Arc<Inode>) -> Result<(), Errno> {
        let mut list = self.lock();
        list.check_free(name)?;
        self.insert(&mut list, name, inode);
        Ok(())
    }

    /// The directory called `name`, made if there is none.
    pub(crate) fn get_or_make_directory(self, name: &str) -> Arc<Inode> {
        let mut list = self.lock();
        if let Some(inode) = list.get(name) {
            return inode.clone();
        }
        let inode = Inode::new_directory(0o755);
        self.insert(&mut list, name, inode.clone());
        inode
    }

    /// Takes `name` away from an inode that is not a directory (unlink), or from an empty
    /// directory (rmdir), which ends.
    pub(crate) fn remove(self, name: &str, directory: bool) -> Result<(), Errno> {
        let mut list = self.lock();
        let inode = list.get(name).ok_or(Errno::ENOENT)?;
        match (inode.directory(), directory) {
            (Ok(lower), true) => lower.lock().end()?,
            (Ok(_), false) => return Err(Errno::EISDIR),
            (Err(_), true) => return Err(Errno::ENOTDIR),
            (Err(_), false) => {}
        }
        let gone = self.take(&mut list, name);
        drop(list);
        // Perhaps the last reference to many pages: dropped without the lock.
        drop(gone);
        Ok(())
    }

    /// Gives `inode` the free name `name`.
    pub(super) fn insert(self, list: &mut List, name: &str, inode: Arc<Inode>) {
        if let Kind::Directory(names) = &inode.kind {
            *names.up.lock() = Up { parent: Arc::downgrade(self.inode), name: String::from(name) };
            // Its name and its own `.`; its `..` counts for us.
            inode.attributes.linked(2);
            self.inode.attributes.linked(1);
        } else {
            inode.attributes.linked(1);
        }
        let cookie = list.next_cookie;
        list.next_cookie += 1;
        list.entries.insert(String::from(name), Entry { inode, cookie });
        self.inode.attributes.modified();
    }

    /// Takes `name` away from its inode; `None` if there is no such name.
    pub(super) fn take(self, list: &mut List, name: &str) -> Option<Arc<Inode>> {
        let entry = list.entries.remove(name)?;
        if entry.inode.is_directory() {
            entry.inode.attributes.linked(-2);
            self.inode.attributes.linked(-1);
        } else {
            entry.inode.attributes.linked(-1);
        }
        self.inode.attributes.modified();
        Some(entry.inode)
    }
}
