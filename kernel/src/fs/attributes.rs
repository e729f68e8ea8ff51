//! The attributes of an inode beside its contents: mode, owner, number of names, times.
//!
//! Permissions are kept and shown. They stop no program, since all run as root.

use crate::clock;
use crate::sync::SpinLock;

/// Nanoseconds since 1970; before that they are negative.
pub(crate) type TimeNs = i64;

/// The attributes of one inode.
#[derive(Clone, Copy)]
pub(crate) struct Values {
    /// The mode without the kind of the file.
    pub(crate) permissions: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Its names; of a directory, its subdirectories' `..`, too.
    pub(super) links: u32,
    pub(crate) access_ns: TimeNs,
    pub(crate) modify_ns: TimeNs,
    pub(super) change_ns: TimeNs,
}

/// Guards the values. Nothing nests inside.
pub(crate) struct Attributes(SpinLock<Values>);

/// A program runs as its file's owner.
const SET_UID: u32 = 0o4000;
/// It runs as its file's group; without [`GROUP_RUNS`] the bit means something else.
const SET_GID: u32 = 0o2000;
const GROUP_RUNS: u32 = 0o10;

impl Attributes {
    pub(super) fn new(permissions: u32) -> Self {
        let [access_ns, modify_ns, change_ns] = [now_ns(); 3];
        let values = Values { permissions, uid: 0, gid: 0, links: 0, access_ns, modify_ns, change_ns };
        Attributes(SpinLock::new("attributes", values))
    }

    /// The present values.
    pub(crate) fn get(&self) -> Values {
        *self.0.lock()
    }

    /// Calls `change` with the values and the time, which becomes that of the last change.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Values, TimeNs)) {
        let mut values = self.0.lock();
        values.change_ns = now_ns();
        let now = values.change_ns;
        change(&mut values, now);
    }

    /// chown; `None` leaves an owner as it is. A file loses the bits that make it run as its
    /// owner or group.
    pub(crate) fn set_owner(&self, uid: Option<u32>, gid: Option<u32>, is_directory: bool) {
        self.change(|values, _| {
            values.uid = uid.unwrap_or(values.uid);
            values.gid = gid.unwrap_or(values.gid);
            if !is_directory {
                let runs_as_group = values.permissions & GROUP_RUNS != 0;
                values.permissions &= !if runs_as_group { SET_UID | SET_GID } else { SET_UID };
            }
        });
    }

    /// Counts `links` names more, or fewer.
    pub(super) fn linked(&self, links: i32) {
        self.change(|values, _| values.links = values.links.wrapping_add_signed(links));
    }

    /// Records that the contents have changed.
    pub(super) fn modified(&self) {
        self.change(|values, now| values.modify_ns = now);
    }
}

/// The present time in a file's units.
pub(crate) fn now_ns() -> TimeNs {
    clock::realtime_ns().cast_signed()
}
