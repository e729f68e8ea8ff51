//! Who maps an object: the reverse map, from a file back to address spaces.
//!
//! A file that is cut must leave every address space that shows it, whoever runs
//! there or is lazy on it (Linux's `i_mmap` and `unmap_mapping_range`). The caller
//! has none of them loaded and is no user of theirs: it reaches each by its count
//! alone, may therefore drop the last one (T16), and flushes CPUs that it knows only
//! from the mask.
//!
//! What the callers owe, so that no page of the cut part stays mapped. `mmap_lock`
//! stands for the lock under which an address space is changed:
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
//! A fault that found the old length has set its entry before the lock is free for
//! the visitor. One that enters later reads the new length, since both pass through
//! the list's lock. A child that a visitor's turn does not know was forked from a
//! parent that was not visited yet; it is behind its parent in the list, and comes
//! later in the same turn.

use alloc::collections::BTreeMap;

use super::MmId;
use crate::LazyTlb;
use crate::machine::{Machine, Point};
use crate::sync::SpinLock;

/// The address spaces that map one object, once a mapping.
#[derive(Default)]
pub struct Mappers(SpinLock<List>);

/// By place. Places are handed out in ascending order and never again.
#[derive(Default)]
struct List {
    next_place: u64,
    mms: BTreeMap<u64, MmId>,
}

impl<M: Machine> LazyTlb<M> {
    /// `mm` is about to map the object. Returns its place in the list. The caller is a
    /// user of `mm`, and leaves before it stops being one. Allocates.
    pub fn enter_mappers(&self, mappers: &Mappers, mm: MmId) -> u64 {
        self.machine.with_preempt_off(|t| {
            mappers.0.with(t, |list| {
                let place = list.next_place;
                list.next_place += 1;
                list.mms.insert(place, mm);
                place
            })
        })
    }

    /// Whoever has `place` maps the object no more.
    pub fn leave_mappers(&self, mappers: &Mappers, place: u64) {
        self.machine.with_preempt_off(|t| {
            mappers.0.with(t, |list| {
                list.mms.remove(&place);
                if list.mms.is_empty() {
                    // An empty map keeps a node: of each file that was ever mapped.
                    list.mms = BTreeMap::new();
                }
            });
        });
    }

    /// Calls `visit` with each address space that maps the object, those included that
    /// enter meanwhile. An address space with several mappings is visited as often.
    /// Interrupts and preemption on, no spin lock held: the visitor may be the last
    /// that holds an mm, and waits for other CPUs then.
    pub fn for_each_mapper(&self, mappers: &Mappers, mut visit: impl FnMut(MmId)) {
        let mut from = 0;
        while let Some((place, mm)) = self.grab_mapper(mappers, from) {
            self.machine.point(Point::MapperGrabbed);
            visit(mm);
            self.mmdrop(mm);
            from = place + 1;
        }
    }

    /// The first mapper from `from` on, and a count of it. Under the list's lock: it
    /// leaves before its users' count goes, so there is one to add to.
    fn grab_mapper(&self, mappers: &Mappers, from: u64) -> Option<(u64, MmId)> {
        self.machine.with_preempt_off(|t| {
            mappers.0.with(t, |list| {
                let (&place, &mm) = list.mms.range(from..).next()?;
                self.mmgrab(mm);
                Some((place, mm))
            })
        })
    }
}
