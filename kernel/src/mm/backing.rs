//! The contents of an area of memory.

use alloc::sync::Arc;

use arch::addr::PAGE_SHIFT;
use kcore::mm::MmId;
use vm::area::Contents;

use super::mapping::Mapping;
use super::object::Object;
use crate::errno::Errno;

/// The contents of an area. They belong to one address space: another gets its own by
/// [`Backing::of`] or [`Backing::for_child`].
#[derive(Clone)]
pub(crate) enum Backing {
    /// Zeroes, each page made at its first touch.
    Anonymous,
    /// A file or shared memory, from `offset` (bytes, a multiple of the page) on.
    Object {
        /// The pages, and this area's place in their list of mappers.
        object: Mapping,
        /// The offset of the area's start.
        offset: u64,
        /// Whether a shared mapping may be stored to: Linux's `VM_MAYWRITE`.
        writable: bool,
    },
}

impl Backing {
    /// `object` from `offset` on, for `mm`, of which the caller is a user.
    ///
    /// # Errors
    /// `ENOMEM`.
    #[inline]
    pub(crate) fn of(mm: MmId, object: Arc<Object>, offset: u64, writable: bool) -> Result<Self, Errno> {
        Ok(Backing::Object { object: Mapping::new(mm, object)?, offset, writable })
    }

    /// This backing for `child`, a copy of the address space. The caller is a user of `child`, and has
    /// asked the heap for room.
    pub(super) fn for_child(&self, child: MmId) -> Self {
        match self {
            Backing::Anonymous => Backing::Anonymous,
            &Backing::Object { ref object, offset, writable } => {
                let object = Mapping::enter(child, object.object().clone());
                Backing::Object { object, offset, writable }
            }
        }
    }

    /// The object, and the offset of the area's start.
    #[inline]
    pub(super) fn object(&self) -> Option<(&Object, u64)> {
        match self {
            Backing::Anonymous => None,
            Backing::Object { object, offset, .. } => Some((object, *offset)),
        }
    }

    /// The object, and the number of its page that lies `bytes` behind the area's start.
    pub(super) fn page_at(&self, bytes: u64) -> Option<(&Object, u64)> {
        self.object().map(|(object, offset)| (object, (offset + bytes) >> PAGE_SHIFT))
    }
}

impl Contents for Backing {
    fn advanced(&self, by: u64) -> Self {
        match self {
            Backing::Anonymous => Backing::Anonymous,
            &Backing::Object { ref object, offset, writable } => {
                Backing::Object { object: object.clone(), offset: offset + by, writable }
            }
        }
    }

    fn continues(&self, len: u64, next: &Self) -> bool {
        match (self, next) {
            (Backing::Anonymous, Backing::Anonymous) => true,
            (
                Backing::Object { object, offset, writable },
                Backing::Object { object: next_object, offset: next_offset, writable: next_writable },
            ) => object.id() == next_object.id() && offset + len == *next_offset && writable == next_writable,
            _ => false,
        }
    }
}
