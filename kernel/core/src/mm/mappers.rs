//! The reverse map: from a file back to the address spaces that map it.
//!
//! When a file is cut, its pages must leave every address space that maps them, even one
//! that other CPUs run or are lazy on (Linux's `i_mmap` and `unmap_mapping_range`). The
//! caller need not have it loaded, nor be a user of it. It takes a unit of its
//! `mm_count`, and may therefore drop the last one (T16). It flushes CPUs that it knows
//! only from the mask.
//!
//! The callers take these steps, each under a lock and some only after another step, so
//! that no page of the cut part stays mapped. `mmap_lock` stands for the lock under which
//! an address space is changed. The *visitor* is the task that cuts the file:
//!
//! | step | under | after |
//! |---|---|---|
//! | the file's length changes | the file's lock | |
//! | [`LazyTlb::for_each_mapper`]: take away what is mapped behind the end | the `mmap_lock` of each | the length |
//! | an address space enters, its areas show the object | its `mmap_lock`, or before | |
//! | a fault reads the length and sets an entry | its `mmap_lock` | the entering |
//! | a fork's child enters, then gets the parent's entries | the `mmap_lock` of both | |
//! | an address space leaves: unmap, exit | its `mmap_lock` | its entries are gone |
//!
//! A fault that reads the old length has set its entry before the visitor gets the
//! `mmap_lock`. A fault in an address space that enters after the visitor's last look
//! reads the new length, since entering and looking both take the list's lock. A child
//! that gets entries behind the new end was forked from a parent that had not been
//! visited yet. It is behind its parent in the list, so the visitor comes to it later.

use alloc::vec::Vec;

use super::MmId;
use crate::LazyTlb;
use crate::machine::{Machine, Point};
use crate::sync::SpinLock;

/// The address spaces that map one object, once per mapping.
#[derive(Default)]
pub struct Mappers(SpinLock<List>);

/// Ascending by place. Places are handed out in ascending order, each one once, so an address space that
/// enters comes last, and most that leave are among the last.
#[derive(Default)]
struct List {
    next_place: u64,
    mms: Vec<(u64, MmId)>,
}

impl List {
    /// How many have a place before `place`.
    fn before(&self, place: u64) -> usize {
        self.mms.partition_point(|&(each, _)| each < place)
    }
}

impl<M: Machine> LazyTlb<M> {
    /// `mm` is about to map the object. Returns its place in the list. The caller is a
    /// user of `mm`, and leaves before it stops being one. Allocates.
    pub fn enter_mappers(&self, mappers: &Mappers, mm: MmId) -> u64 {
        self.machine.with_preempt_off(|t| {
            mappers.0.with(t, |list| {
                let place = list.next_place;
                list.next_place += 1;
                list.mms.push((place, mm));
                place
            })
        })
    }

    /// The mapping that has `place` is gone.
    pub fn leave_mappers(&self, mappers: &Mappers, place: u64) {
        self.machine.with_preempt_off(|t| {
            mappers.0.with(t, |list| {
                let at = list.before(place);
                list.mms.remove(at);
                if list.mms.is_empty() {
                    // An empty array keeps its memory. Each file that was ever mapped would
                    // have some.
                    list.mms = Vec::new();
                }
            });
        });
    }

    /// Calls `visit` with each address space that maps the object, those included that
    /// enter meanwhile: once per mapping. Interrupts and preemption on, no spin lock
    /// held: this may drop the last unit of an mm, and then waits for other CPUs.
    pub fn for_each_mapper(&self, mappers: &Mappers, mut visit: impl FnMut(MmId)) {
        let mut from = 0;
        while let Some((place, mm)) = self.grab_mapper(mappers, from) {
            self.machine.point(Point::MapperGrabbed);
            visit(mm);
            self.mmdrop(mm);
            from = place + 1;
        }
    }

    /// The first mapper from `from` on, with a unit of its `mm_count`. An mm on the list
    /// still has the unit of its users: it leaves the list before that goes, and needs
    /// the list's lock for it.
    fn grab_mapper(&self, mappers: &Mappers, from: u64) -> Option<(u64, MmId)> {
        self.machine.with_preempt_off(|t| {
            mappers.0.with(t, |list| {
                let &(place, mm) = list.mms.get(list.before(from))?;
                self.mmgrab(mm);
                Some((place, mm))
            })
        })
    }
}
