//! What is told of an inode beside its contents: mode, owner, names, times.
//!
//! Permissions are kept and shown. They stop nobody, since everybody is root.

use core::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use crate::clock;

/// Nanoseconds since 1970; before that they are negative.
pub(crate) type TimeNs = i64;

/// The attributes. Each is a word of its own: Relaxed everywhere, for nothing is reached
/// through them, and a stat that sees half of a change is one between two changes.
pub(crate) struct Attributes {
    permissions: AtomicU32,
    uid: AtomicU32,
    gid: AtomicU32,
    /// Names that it has; of a directory, those of its subdirectories' `..`, too.
    links: AtomicU32,
    access_ns: AtomicI64,
    modify_ns: AtomicI64,
    change_ns: AtomicI64,
}

/// A program runs as its owner.
const SET_UID: u32 = 0o4000;
/// It runs as its group; without [`GROUP_RUNS`] the bit says something else.
const SET_GID: u32 = 0o2000;
const GROUP_RUNS: u32 = 0o10;

impl Attributes {
    pub(super) fn new(permissions: u32) -> Self {
        let now = now_ns();
        Attributes {
            permissions: AtomicU32::new(permissions),
            uid: AtomicU32::new(0),
            gid: AtomicU32::new(0),
            links: AtomicU32::new(0),
            access_ns: AtomicI64::new(now),
            modify_ns: AtomicI64::new(now),
            change_ns: AtomicI64::new(now),
        }
    }

    pub(crate) fn permissions(&self) -> u32 {
        self.permissions.load(Ordering::Relaxed)
    }

    /// chmod.
    pub(crate) fn set_permissions(&self, permissions: u32) {
        self.permissions.store(permissions & 0o7777, Ordering::Relaxed);
        self.changed();
    }

    pub(super) fn owner(&self) -> (u32, u32) {
        (self.uid.load(Ordering::Relaxed), self.gid.load(Ordering::Relaxed))
    }

    /// chown; none leaves it as it is. What is no directory no longer runs as its owner.
    pub(crate) fn set_owner(&self, uid: Option<u32>, gid: Option<u32>, is_directory: bool) {
        uid.inspect(|&uid| self.uid.store(uid, Ordering::Relaxed));
        gid.inspect(|&gid| self.gid.store(gid, Ordering::Relaxed));
        if !is_directory {
            let runs_as_group = self.permissions() & GROUP_RUNS != 0;
            let gone = if runs_as_group { SET_UID | SET_GID } else { SET_UID };
            self.permissions.fetch_and(!gone, Ordering::Relaxed);
        }
        self.changed();
    }

    pub(super) fn links(&self) -> u32 {
        self.links.load(Ordering::Relaxed)
    }

    /// `links` names more.
    pub(super) fn linked(&self, links: u32) {
        self.links.fetch_add(links, Ordering::Relaxed);
        self.changed();
    }

    /// `links` names fewer.
    pub(super) fn unlinked(&self, links: u32) {
        self.links.fetch_sub(links, Ordering::Relaxed);
        self.changed();
    }

    /// Last access, modification and change.
    pub(super) fn times(&self) -> [TimeNs; 3] {
        [&self.access_ns, &self.modify_ns, &self.change_ns].map(|time| time.load(Ordering::Relaxed))
    }

    /// utimensat; none leaves it as it is.
    pub(crate) fn set_times(&self, access: Option<TimeNs>, modify: Option<TimeNs>) {
        access.inspect(|&time| self.access_ns.store(time, Ordering::Relaxed));
        modify.inspect(|&time| self.modify_ns.store(time, Ordering::Relaxed));
        self.changed();
    }

    /// The contents are other ones now.
    pub(super) fn modified(&self) {
        let now = now_ns();
        self.modify_ns.store(now, Ordering::Relaxed);
        self.change_ns.store(now, Ordering::Relaxed);
    }

    /// Something else is.
    fn changed(&self) {
        self.change_ns.store(now_ns(), Ordering::Relaxed);
    }
}

/// Now, as files have it.
pub(crate) fn now_ns() -> TimeNs {
    clock::realtime_ns().cast_signed()
}
