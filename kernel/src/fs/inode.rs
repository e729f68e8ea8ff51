//! Inodes: the files that have names.
//!
//! One tree in memory. Files can be made and written; those of the initrd cannot be
//! changed, and their contents stay where the loader put them. The contents of a file
//! are an [`Object`], which mmap shares.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::errno::Errno;
use crate::fs::stat::{S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG, Stat};
use crate::fs::{File, OpenFlags};
use crate::mm::Object;
use crate::sync::{Fixed, Mutex};

/// The root directory.
static ROOT: Fixed<Arc<Inode>> = Fixed::unset();

/// What makes the file of a device when it is opened.
pub(crate) type Opener = fn(OpenFlags) -> Result<Arc<dyn File>, Errno>;

/// As [`Opener`], for files that differ in more than their code.
pub(crate) type Maker = dyn Fn(OpenFlags) -> Result<Arc<dyn File>, Errno> + Send + Sync;

/// One file.
pub(crate) struct Inode {
    number: u64,
    permissions: u32,
    /// What it is.
    pub(crate) kind: Kind,
}

/// What an inode is.
pub(crate) enum Kind {
    /// A directory.
    Directory(Directory),
    /// A regular file.
    Regular(Arc<Object>),
    /// A symbolic link.
    Symlink(Box<str>),
    /// A symbolic link whose target depends on who asks.
    MagicLink(Box<dyn Fn() -> String + Send + Sync>),
    /// A device: its number (major << 8 | minor), and how to open it.
    Device(u64, Opener),
    /// A file that is made when it is opened: a text, or a switch.
    Generated(Box<Maker>),
}

impl Kind {
    /// A symbolic link that leads where `target` says.
    pub(crate) fn magic_link(target: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self::MagicLink(Box::new(target))
    }

    /// A file that `maker` makes when it is opened.
    pub(crate) fn generated(
        maker: impl Fn(OpenFlags) -> Result<Arc<dyn File>, Errno> + Send + Sync + 'static,
    ) -> Self {
        Self::Generated(Box::new(maker))
    }
}

/// The names in a directory.
pub(crate) struct Directory {
    /// Guards the names. Directories are locked one at a time.
    entries: Mutex<BTreeMap<String, Arc<Inode>>>,
    /// More names, which nobody keeps.
    made: Option<Box<dyn Made>>,
}

/// Names that are made when they are asked for: those of processes.
pub(crate) trait Made: Send + Sync {
    /// The inode called `name`.
    fn get(&self, name: &str) -> Option<Arc<Inode>>;

    /// All that there are now.
    fn names(&self) -> Vec<String>;
}

impl Inode {
    /// A new inode that no directory has yet.
    pub(crate) fn new(kind: Kind, permissions: u32) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(2);
        // Relaxed: only the numbers must differ.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Arc::new(Inode { number, permissions, kind })
    }

    /// An empty directory.
    pub(crate) fn new_directory(permissions: u32) -> Arc<Self> {
        let entries = Mutex::new(BTreeMap::new());
        Self::new(Kind::Directory(Directory { entries, made: None }), permissions)
    }

    /// A directory that has the names of `made`, and such as are added.
    pub(crate) fn new_made_directory(made: impl Made + 'static) -> Arc<Self> {
        let entries = Mutex::new(BTreeMap::new());
        Self::new(Kind::Directory(Directory { entries, made: Some(Box::new(made)) }), 0o555)
    }

    /// As a directory.
    pub(crate) fn directory(&self) -> Result<&Directory, Errno> {
        match &self.kind {
            Kind::Directory(directory) => Ok(directory),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// Where it leads, if it is a symbolic link.
    pub(crate) fn link_target(&self) -> Option<String> {
        match &self.kind {
            Kind::Symlink(target) => Some(String::from(&**target)),
            Kind::MagicLink(target) => Some(target()),
            _ => None,
        }
    }

    /// What the stat calls tell.
    pub(crate) fn stat(&self) -> Stat {
        let (kind, device, size) = match &self.kind {
            Kind::Directory(_) => (S_IFDIR, 0, 0),
            Kind::Regular(object) => (S_IFREG, 0, object.len()),
            Kind::Symlink(target) => (S_IFLNK, 0, target.len() as u64),
            Kind::MagicLink(_) => (S_IFLNK, 0, 0),
            Kind::Device(device, _) => (S_IFCHR, *device, 0),
            Kind::Generated(_) => (S_IFREG, 0, 0),
        };
        Stat { inode: self.number, mode: kind | self.permissions, links: 1, device, size }
    }
}

impl Directory {
    /// The inode called `name`.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Inode>> {
        let kept = self.entries.lock().get(name).cloned();
        kept.or_else(|| self.made.as_ref()?.get(name))
    }

    /// All names: those that are kept, sorted, first.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.entries.lock().keys().cloned().collect();
        if let Some(made) = &self.made {
            names.append(&mut made.names());
        }
        names
    }

    /// Gives `inode` the name `name`. `EEXIST` if that is taken.
    pub(crate) fn add(&self, name: &str, inode: Arc<Inode>) -> Result<(), Errno> {
        let mut entries = self.entries.lock();
        if entries.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        entries.insert(String::from(name), inode);
        Ok(())
    }

    /// The directory called `name`, made if there is none.
    pub(crate) fn get_or_make_directory(&self, name: &str) -> Arc<Inode> {
        let mut entries = self.entries.lock();
        entries.entry(String::from(name)).or_insert_with(|| Inode::new_directory(0o755)).clone()
    }

    /// Takes the name `name` away from an inode that `may_go`.
    pub(crate) fn remove(
        &self,
        name: &str,
        may_go: impl FnOnce(&Inode) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let mut entries = self.entries.lock();
        may_go(entries.get(name).ok_or(Errno::ENOENT)?)?;
        let gone = entries.remove(name);
        drop(entries);
        // Perhaps the last reference to many pages: not under the lock.
        drop(gone);
        Ok(())
    }

    /// Whether it has no names.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.lock().is_empty()
    }
}

/// The root directory.
pub(crate) fn root() -> &'static Arc<Inode> {
    ROOT.get()
}

/// Makes the root directory: once, on the boot CPU before others start.
pub(super) fn init() {
    // SAFETY: the caller's context, as documented.
    unsafe { ROOT.set(Inode::new_directory(0o755)) };
}
