//! Inodes: the files that have names.
//!
//! One tree in memory. Files can be made and written; those of the initrd cannot be
//! changed, and their contents stay where the loader put them. The contents of a file
//! are an [`Object`], which mmap shares.
//!
//! # Locks
//! Outermost first: a description's position, an inode's `writing`, then everything that a page
//! fault takes (`mmap_lock`, an object's pages): the bytes of a write come from user memory,
//! which may be a mapping of the file itself. Beside them, the shape of the tree
//! ([`rename`](super::rename)), then the names of directories, an upper one before a lower one;
//! no user memory is touched under these. All of them sleep.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::errno::Errno;
use crate::fs::attributes::{Attributes, TimeNs};
use crate::fs::directory::{Directory, Made, Names};
use crate::fs::lock::RecordLocks;
use crate::fs::stat::{BLOCK_BYTES, S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG, SECOND_NS, Stat};
use crate::fs::text::Users;
use crate::fs::{File, OpenFlags};
use crate::mm::Object;
use crate::sync::Fixed;
use crate::task::Mutex;

/// The root directory.
static ROOT: Fixed<Arc<Inode>> = Fixed::unset();

/// Makes the file of a device when it is opened.
pub(crate) type Opener = fn(OpenFlags) -> Result<Arc<dyn File>, Errno>;

/// As [`Opener`], for files that differ in more than their code.
pub(crate) type Maker = dyn Fn(OpenFlags) -> Result<Arc<dyn File>, Errno> + Send + Sync;

/// One file.
pub(crate) struct Inode {
    number: u64,
    /// Its kind.
    pub(crate) kind: Kind,
    /// Mode, owner, times.
    pub(crate) attributes: Attributes,
    /// Held over one write or change of the length: Linux's `i_rwsem`. So appends do not overlap,
    /// and only its holder changes the length. Reads do not take it.
    pub(super) writing: Mutex<()>,
    pub(super) users: Users,
    /// Locks on ranges of bytes.
    pub(crate) locks: RecordLocks,
}

/// The kind of an inode.
pub(crate) enum Kind {
    /// A directory.
    Directory(Names),
    /// A regular file.
    Regular(Arc<Object>),
    /// A symbolic link.
    Symlink(Box<str>),
    /// A symbolic link whose target depends on the process that follows it.
    MagicLink(Box<dyn Fn() -> String + Send + Sync>),
    /// A device: its number (major << 8 | minor), and how to open it.
    Device(u64, Opener),
    /// A file that is made when it is opened: a text, or a switch.
    Generated(Box<Maker>),
}

impl Kind {
    /// A symbolic link to the path that `target` returns.
    pub(crate) fn magic_link(target: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self::MagicLink(Box::new(target))
    }

    /// A file that `maker` makes when it is opened.
    pub(crate) fn generated(
        maker: impl Fn(OpenFlags) -> Result<Arc<dyn File>, Errno> + Send + Sync + 'static,
    ) -> Self {
        Self::Generated(Box::new(maker))
    }

    /// Its bits of the mode.
    pub(super) fn mode(&self) -> u32 {
        match self {
            Kind::Directory(_) => S_IFDIR,
            Kind::Regular(_) | Kind::Generated(_) => S_IFREG,
            Kind::Symlink(_) | Kind::MagicLink(_) => S_IFLNK,
            Kind::Device(..) => S_IFCHR,
        }
    }
}

impl Inode {
    /// A new inode that no directory has yet.
    pub(crate) fn new(kind: Kind, permissions: u32) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(2);
        // Relaxed: only the numbers must differ.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Arc::new(Inode {
            number,
            kind,
            attributes: Attributes::new(permissions),
            writing: Mutex::new(()),
            users: Users::new(0),
            locks: RecordLocks::new(number),
        })
    }

    /// An empty directory.
    pub(crate) fn new_directory(permissions: u32) -> Arc<Self> {
        Self::new(Kind::Directory(Names::new(None)), permissions)
    }

    /// A directory with the names of `made`, and names that are added.
    pub(crate) fn new_made_directory(made: impl Made + 'static) -> Arc<Self> {
        Self::new(Kind::Directory(Names::new(Some(Box::new(made)))), 0o555)
    }

    /// An empty regular file.
    pub(super) fn new_file(permissions: u32) -> Arc<Self> {
        Self::new(Kind::Regular(Arc::new(Object::new(0))), permissions)
    }

    /// Its number, which no other inode has or had.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// It as a directory; `ENOTDIR` if it is none.
    pub(crate) fn directory(self: &Arc<Self>) -> Result<Directory<'_>, Errno> {
        match &self.kind {
            Kind::Directory(names) => Ok(Directory { inode: self, names }),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// Whether it is a directory.
    pub(crate) fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory(_))
    }

    /// The target, if it is a symbolic link.
    pub(crate) fn link_target(&self) -> Option<String> {
        match &self.kind {
            Kind::Symlink(target) => Some(String::from(&**target)),
            Kind::MagicLink(target) => Some(target()),
            _ => None,
        }
    }

    /// Whether it is a file of the initrd, which cannot be changed.
    pub(crate) fn is_fixed(&self) -> bool {
        matches!(&self.kind, Kind::Regular(object) if object.source().is_some())
    }

    /// The bytes that it has.
    pub(super) fn size(&self) -> u64 {
        match &self.kind {
            Kind::Directory(names) => names.size(),
            Kind::Regular(object) => object.len(),
            Kind::Symlink(target) => target.len() as u64,
            Kind::MagicLink(_) | Kind::Device(..) | Kind::Generated(_) => 0,
        }
    }

    /// The answer of the stat calls.
    pub(crate) fn stat(&self) -> Stat {
        let attributes = self.attributes.get();
        let device = if let Kind::Device(device, _) = self.kind { device } else { 0 };
        let seconds = |ns: TimeNs| [ns.div_euclid(SECOND_NS), ns.rem_euclid(SECOND_NS)];
        Stat {
            inode: self.number,
            links: attributes.links.into(),
            uid: attributes.uid,
            gid: attributes.gid,
            size: self.size(),
            blocks: if let Kind::Regular(object) = &self.kind { object.bytes() / BLOCK_BYTES } else { 0 },
            times: [attributes.access_ns, attributes.modify_ns, attributes.change_ns].map(seconds),
            ..Stat::anonymous(self.kind.mode() | attributes.permissions, device)
        }
    }
}

/// The root directory.
pub(crate) fn root() -> &'static Arc<Inode> {
    ROOT.get()
}

/// Makes the root directory: once, on the boot CPU before others start.
pub(super) fn init() {
    let root = Inode::new_directory(0o755);
    // Its own name, and its own `.`.
    root.attributes.linked(2);
    // SAFETY: the caller's context, as documented.
    unsafe { ROOT.set(root) };
}
