//! The areas of one address space. They do not overlap, and neighbours that can be
//! one area are one.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;
use core::ops::Range;

use crate::area::{Area, Contents, Prot};

/// A set of areas, as two stacks of neighbours that meet where the set was last changed. A
/// change there moves no other area, and what is looked for there is found at once: programs map,
/// protect and unmap one place after the other, or the same place again. A change elsewhere moves
/// the areas on its way from one stack to the other.
pub struct AreaSet<C> {
    /// The lower areas, ascending.
    below: Vec<Area<C>>,
    /// The higher areas, descending.
    above: Vec<Area<C>>,
}

impl<C> Default for AreaSet<C> {
    fn default() -> Self {
        Self { below: Vec::new(), above: Vec::new() }
    }
}

impl<C: Contents> AreaSet<C> {
    /// A copy. `contents` makes each area's contents from the original's.
    ///
    /// # Errors
    /// The first error of `contents`; none if memory runs out.
    pub fn copy_with<E>(&self, mut contents: impl FnMut(&C) -> Result<C, E>) -> Result<Self, Option<E>> {
        let mut copy = Self::default();
        copy.below.try_reserve_exact(self.len() + Self::ROOM).map_err(|_| None)?;
        for area in self.iter() {
            copy.below.push(Area { contents: contents(&area.contents)?, ..*area });
        }
        Ok(copy)
    }

    /// The areas that one change of the set adds at most.
    const ROOM: usize = 6;

    /// How much room a stack must have before a change: all areas may come there.
    #[inline]
    fn wanted(&self) -> usize {
        self.len() + Self::ROOM
    }

    /// Whether there is room for the next change.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.below.capacity().min(self.above.capacity()) >= self.wanted()
    }

    /// The most bytes that [`AreaSet::make_room`] asks for.
    pub fn room_needed(&self) -> usize {
        4 * self.wanted() * size_of::<Area<C>>()
    }

    /// Gets the memory that the next change needs.
    ///
    /// # Errors
    /// There is none.
    pub fn make_room(&mut self) -> Result<(), TryReserveError> {
        let wanted = self.wanted();
        self.below.try_reserve(wanted - self.below.len())?;
        self.above.try_reserve(wanted - self.above.len())
    }

    /// How many areas there are.
    pub fn len(&self) -> usize {
        self.below.len() + self.above.len()
    }

    /// Whether there is no area.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All areas, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Area<C>> {
        self.ascending_from(0)
    }

    /// The areas from number `first` on, ascending. The lowest one has number 0.
    #[inline]
    fn ascending_from(&self, first: usize) -> impl DoubleEndedIterator<Item = &Area<C>> + use<'_, C> {
        let (below, above) = (first.min(self.below.len()), (self.len() - first).min(self.above.len()));
        self.below[below..].iter().chain(self.above[..above].iter().rev())
    }

    /// Whether the stacks meet at `addr`: all areas that end above it are in the higher one, and
    /// no others.
    #[inline]
    fn meets_at(&self, addr: u64) -> bool {
        self.below.last().is_none_or(|area| area.end <= addr)
            && self.above.last().is_none_or(|area| area.end > addr)
    }

    /// How many areas end at `addr` or below: the number of the first one that does not.
    #[inline]
    fn ending_up_to(&self, addr: u64) -> usize {
        if self.meets_at(addr) { self.below.len() } else { self.search(addr) }
    }

    /// As [`AreaSet::ending_up_to`], anywhere.
    #[inline(never)]
    fn search(&self, addr: u64) -> usize {
        match self.below.partition_point(|area| area.end <= addr) {
            all if all == self.below.len() => self.len() - self.above.partition_point(|area| area.end > addr),
            some => some,
        }
    }

    /// The area that `addr` lies in, or the next one above.
    #[inline]
    fn at_or_above(&self, addr: u64) -> Option<&Area<C>> {
        if self.meets_at(addr) { self.above.last() } else { self.ascending_from(self.search(addr)).next() }
    }

    /// Whether `range` is all of one area, where the set was last changed.
    #[inline]
    pub fn is_at_hand(&self, range: &Range<u64>) -> bool {
        self.above.last().is_some_and(|area| area.range() == *range)
    }

    /// The area that `addr` lies in.
    #[inline]
    pub fn find(&self, addr: u64) -> Option<&Area<C>> {
        self.at_or_above(addr).filter(|area| area.start <= addr)
    }

    /// The areas that overlap `range`, ascending, whole.
    #[inline]
    pub fn overlapping<'a>(&'a self, range: &Range<u64>) -> impl Iterator<Item = &'a Area<C>> + use<'a, C> {
        let end = range.end;
        self.ascending_from(self.ending_up_to(range.start)).take_while(move |area| area.start < end)
    }

    /// Whether nothing is mapped in `range`.
    #[inline]
    pub fn is_free(&self, range: &Range<u64>) -> bool {
        self.at_or_above(range.start).is_none_or(|area| range.end <= area.start)
    }

    /// Whether `range` holds no mapping and no stack's gap. A mapping whose place is
    /// free to choose goes only there.
    pub fn is_free_place(&self, range: &Range<u64>) -> bool {
        self.at_or_above(range.start).is_none_or(|area| range.end <= area.guarded_start())
    }

    /// Whether every byte of `range` is mapped.
    pub fn covers(&self, range: &Range<u64>) -> bool {
        let mut at = range.start;
        for area in self.overlapping(range) {
            if area.start > at {
                return false;
            }
            at = area.end;
        }
        at >= range.end
    }

    /// The free space around `range` if `range` were unmapped: from the end of the
    /// area below to the start of the area above. None if nothing is mapped in `range`. Has the
    /// stacks meet there, like a change.
    #[inline]
    pub fn gap_without(&mut self, range: &Range<u64>) -> Option<Range<u64>> {
        self.go_to(range.start);
        let first = self.above.last().filter(|area| area.start < range.end)?;
        let below = match first.start < range.start {
            true => range.start,
            false => self.below.last().map_or(0, |area| area.end),
        };
        let above = self.above.iter().rev().find(|area| area.end > range.end);
        Some(below..above.map_or(u64::MAX, |area| area.start.max(range.end)))
    }

    /// The highest free space of `len` bytes inside `within`.
    pub fn find_free_below(&self, len: u64, within: &Range<u64>) -> Option<u64> {
        let mut top = within.end;
        let mut reaches = |area: &Area<C>| {
            if area.start >= within.end {
                return false;
            }
            let found = area.end < top && top - area.end >= len;
            if !found {
                top = top.min(area.guarded_start());
            }
            found
        };
        let _ = self.above.iter().any(&mut reaches) || self.below.iter().rev().any(&mut reaches);
        top.checked_sub(len).filter(|&start| start >= within.start)
    }

    /// Has the stacks meet at `addr`, before a change for which there is room.
    #[inline]
    fn go_to(&mut self, addr: u64) {
        if !self.meets_at(addr) {
            self.move_to(addr);
        }
    }

    #[inline(never)]
    fn move_to(&mut self, addr: u64) {
        while let Some(area) = self.above.pop_if(|area| area.end <= addr) {
            self.below.push(area);
        }
        while let Some(area) = self.below.pop_if(|area| area.end > addr) {
            self.above.push(area);
        }
    }

    /// Adds an area where the stacks meet, and joins it with the one above.
    #[inline]
    fn push(&mut self, area: Area<C>) {
        match self.above.last_mut() {
            Some(above) if area.joins(above) => *above = Area { end: above.end, ..area },
            _ => self.above.push(area),
        }
    }

    /// Joins the areas where the stacks meet, if they can be one.
    #[inline]
    fn join(&mut self) {
        if let Some(above) = self.above.last_mut()
            && let Some(below) = self.below.pop_if(|below| below.joins(above))
        {
            *above = Area { end: above.end, ..below };
        }
    }

    /// Adds an area, whose place must be free, and joins it with its neighbours. Returns the area
    /// that it is, or is a part of.
    #[inline(always)]
    pub fn insert(&mut self, area: Area<C>) -> Option<&Area<C>> {
        debug_assert!(area.start < area.end && self.is_free(&area.range()), "area over another");
        self.go_to(area.start);
        self.push(area);
        self.join();
        self.above.last()
    }

    /// Takes everything out that lies in `range`, cutting areas at its ends.
    #[inline]
    pub fn remove(&mut self, range: &Range<u64>) {
        if self.is_at_hand(range) {
            return self.above.truncate(self.above.len() - 1);
        }
        self.remove_parts(range);
    }

    #[inline(never)]
    fn remove_parts(&mut self, range: &Range<u64>) {
        self.go_to(range.start);
        while let Some(mut area) = self.above.pop_if(|area| area.start < range.end) {
            if let Some(upper) = area.cut(range.end) {
                self.above.push(upper);
            }
            if area.start < range.start {
                area.end = range.start;
                self.below.push(area);
            }
        }
    }

    /// Gives every area in `range` the protection `prot`. Pieces are cut out and
    /// joined again as needed. The range must be covered.
    pub fn protect(&mut self, range: &Range<u64>, prot: Prot) {
        debug_assert!(self.covers(range), "protecting what is not mapped");
        self.go_to(range.end);
        if let Some(mut area) = self.above.pop_if(|area| area.start < range.end) {
            self.above.extend(area.cut(range.end));
            self.below.push(area);
        }
        while let Some(mut area) = self.below.pop_if(|area| area.end > range.start) {
            if let Some(upper) = area.cut(range.start) {
                self.below.push(core::mem::replace(&mut area, upper));
            }
            area.prot = prot;
            self.push(area);
        }
        self.join();
    }

    /// As [`AreaSet::protect`], if `range` [is at hand](AreaSet::is_at_hand), its area is `permitted`,
    /// and no neighbour can join that then. The area; none, and nothing is changed, in other cases.
    /// Needs no room.
    #[inline]
    pub fn protect_at_hand(
        &mut self,
        range: &Range<u64>,
        prot: Prot,
        permitted: impl FnOnce(&Area<C>) -> bool,
    ) -> Option<&Area<C>> {
        let (area, above) = self.above.split_last_mut()?;
        let (below, above) = (self.below.last(), above.last());
        if area.range() != *range
            || !permitted(area)
            || below.is_some_and(|below| below.prot == prot && below.joins_but_for_prot(area))
            || above.is_some_and(|above| above.prot == prot && area.joins_but_for_prot(above))
        {
            return None;
        }
        area.prot = prot;
        Some(area)
    }
}

mod growth;
mod run;
#[cfg(test)]
mod tests;

pub use growth::NoGrowth;
pub use run::Run;
