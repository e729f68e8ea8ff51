//! Mappings of objects, and their end when a file is cut.
//!
//! The reverse map: an object knows the address spaces that map it ([`Mappers`]), so
//! that no page behind the end of a file stays mapped anywhere. `kcore::mm::mappers`
//! has the argument; the steps are `Object::set_len` (the length, then the visits),
//! [`Mapping`] (enters and leaves), `fault.rs` (reads the length and sets the entry,
//! all under the `mmap_lock`) and `fork.rs` (enters the child before it copies).
//!
//! [`Mappers`]: kcore::mm::mappers::Mappers

use alloc::sync::Arc;
use core::ops::{Deref, Range};

use arch::addr::PAGE_SIZE;
use kcore::mm::MmId;
use vm::area::Area;

use super::address_space::{self, Map};
use super::backing::Backing;
use super::gather::Gather;
use super::object::Object;
use crate::errno::Errno;
use crate::machine::lazy_tlb;
use crate::memory::heap;

/// The most that a mapping takes of the heap: the object's list doubles when it is full. The few lists
/// that are longer grow into the heap's reserve.
const BYTES: usize = 512;

/// Records that an area of an address space maps an object. A clone is for another area of that
/// address space, of which the caller is a user.
pub(crate) struct Mapping {
    object: Arc<Object>,
    mm: MmId,
    /// Its place in the object's list of mappers.
    place: u64,
}

impl Mapping {
    /// `mm`, of which the caller is a user, is about to map `object`.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(super) fn new(mm: MmId, object: Arc<Object>) -> Result<Self, Errno> {
        heap::check_room(BYTES)?;
        Ok(Self::enter(mm, object))
    }

    /// As [`Mapping::new`], for one who has asked the heap for room.
    pub(super) fn enter(mm: MmId, object: Arc<Object>) -> Self {
        let place = lazy_tlb().enter_mappers(object.mappers(), mm);
        Self { object, mm, place }
    }

    /// The object.
    pub(super) fn object(&self) -> &Arc<Object> {
        &self.object
    }
}

impl Clone for Mapping {
    /// Code that cuts an area in two has asked the heap for room before.
    fn clone(&self) -> Self {
        Self::enter(self.mm, self.object.clone())
    }
}

impl Deref for Mapping {
    type Target = Object;

    fn deref(&self) -> &Object {
        &self.object
    }
}

impl Drop for Mapping {
    /// Runs under the `mmap_lock`, with the end of an area. Its pages leave the tree before that
    /// lock is free.
    fn drop(&mut self) {
        lazy_tlb().leave_mappers(self.object.mappers(), self.place);
    }
}

/// Takes away the pages of `object` that `mm` shows, from page `first` on, private copies
/// included (Linux's `unmap_mapping_range`, `even_cows`). The caller holds a count of `mm`, which
/// need not be loaded here, nor have users. Interrupts and preemption on; may sleep.
pub(super) fn unmap_from(mm: MmId, object: &Object, first: u64) {
    address_space::lock(mm).unmap_from(object, first);
}

impl Map {
    fn unmap_from(&mut self, object: &Object, first: u64) {
        let mut gather = Gather::new(self.mm);
        for range in self.areas.iter().filter_map(|area| shown_from(area, object, first)) {
            self.tables.take(range, &mut gather);
        }
    }
}

/// The addresses where `area` shows page `first` of `object` and those behind it.
fn shown_from(area: &Area<Backing>, object: &Object, first: u64) -> Option<Range<u64>> {
    let (shown, offset) = area.contents.object()?;
    let skipped = first.saturating_mul(PAGE_SIZE).saturating_sub(offset);
    (shown.id() == object.id() && skipped < area.bytes()).then(|| area.start + skipped..area.end)
}
