//! What an area of memory shows.

use alloc::sync::Arc;

use powerpc64::addr::PAGE_SHIFT;
use vm::area::Contents;

use super::object::Object;

/// What is mapped.
#[derive(Clone)]
pub(crate) enum Backing {
    /// Zeroes, each page made at its first touch.
    Anonymous,
    /// A file or shared memory, from `offset` (bytes, a multiple of the page) on.
    Object {
        /// The pages.
        object: Arc<Object>,
        /// What is at the start of the area.
        offset: u64,
        /// Whether a shared mapping may be stored to: Linux's `VM_MAYWRITE`.
        writable: bool,
    },
}

impl Backing {
    /// The object, and its page `bytes` behind the start of the area.
    pub(super) fn page_at(&self, bytes: u64) -> Option<(&Object, u64)> {
        match self {
            Backing::Anonymous => None,
            Backing::Object { object, offset, .. } => Some((object, (offset + bytes) >> PAGE_SHIFT)),
        }
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
            ) => {
                Arc::ptr_eq(object, next_object) && offset + len == *next_offset && writable == next_writable
            }
            _ => false,
        }
    }
}
