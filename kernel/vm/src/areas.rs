//! The areas of one address space. They do not overlap, and neighbours that can be
//! one area are one.

use alloc::collections::BTreeMap;
use core::ops::Range;

use crate::area::{Area, Contents, Prot};

/// A set of areas, by their start.
pub struct AreaSet<C>(BTreeMap<u64, Area<C>>);

impl<C> Default for AreaSet<C> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<C: Contents> AreaSet<C> {
    /// A copy. `contents` makes each area's contents from the original's.
    ///
    /// # Errors
    /// The first error of `contents`.
    pub fn copy_with<E>(&self, mut contents: impl FnMut(&C) -> Result<C, E>) -> Result<Self, E> {
        let mut copy = BTreeMap::new();
        for (&start, area) in &self.0 {
            copy.insert(start, Area { contents: contents(&area.contents)?, ..*area });
        }
        Ok(Self(copy))
    }

    /// How many areas there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no area.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All areas, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Area<C>> {
        self.0.values()
    }

    /// The area that `addr` lies in.
    pub fn find(&self, addr: u64) -> Option<&Area<C>> {
        self.last_at_or_below(addr).filter(|area| addr < area.end)
    }

    fn last_at_or_below(&self, addr: u64) -> Option<&Area<C>> {
        self.0.range(..=addr).next_back().map(|(_, area)| area)
    }

    /// The areas that overlap `range`, ascending, whole.
    pub fn overlapping<'a>(&'a self, range: &Range<u64>) -> impl Iterator<Item = &'a Area<C>> + use<'a, C> {
        let first = self.find(range.start).map_or(range.start, |area| area.start);
        self.0.range(first..range.end.max(first)).map(|(_, area)| area)
    }

    /// Whether nothing is mapped in `range`.
    pub fn is_free(&self, range: &Range<u64>) -> bool {
        self.overlapping(range).next().is_none()
    }

    /// Whether `range` holds no mapping and no stack's gap. A mapping whose place is
    /// free to choose goes only there.
    pub fn is_free_place(&self, range: &Range<u64>) -> bool {
        let above = self.0.range(range.end..).next();
        self.is_free(range) && above.is_none_or(|(_, area)| range.end <= area.guarded_start())
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
    /// area below to the start of the area above.
    pub fn gap_without(&self, range: &Range<u64>) -> Range<u64> {
        let below = self.0.range(..range.start).next_back().map_or(0, |(_, area)| area.end.min(range.start));
        let above = match self.find(range.end) {
            Some(_) => range.end,
            None => self.0.range(range.end..).next().map_or(u64::MAX, |(&start, _)| start),
        };
        below..above
    }

    /// The highest free space of `len` bytes inside `within`.
    pub fn find_free_below(&self, len: u64, within: &Range<u64>) -> Option<u64> {
        let mut top = within.end;
        for area in self.0.range(..within.end).rev().map(|(_, area)| area) {
            if area.end < top && top - area.end >= len {
                break;
            }
            top = top.min(area.guarded_start());
        }
        top.checked_sub(len).filter(|&start| start >= within.start)
    }

    /// Adds an area, whose place must be free, and joins it with its neighbours.
    pub fn insert(&mut self, area: Area<C>) {
        debug_assert!(area.start < area.end && self.is_free(&area.range()), "area over another");
        let mut area = area;
        if let Some(next) = self.0.get(&area.end).filter(|next| area.joins(next)) {
            let (start, end) = (next.start, next.end);
            self.0.remove(&start);
            area.end = end;
        }
        if let Some((_, before)) = self.0.range_mut(..area.start).next_back()
            && before.joins(&area)
        {
            before.end = area.end;
            return;
        }
        self.0.insert(area.start, area);
    }

    /// Takes everything out that lies in `range`, cutting areas at its ends, and
    /// gives each piece to `removed`, ascending.
    pub fn remove(&mut self, range: &Range<u64>, mut removed: impl FnMut(&Area<C>)) {
        self.cut_at(range.start);
        self.cut_at(range.end);
        while let Some((&start, _)) = self.0.range(range.clone()).next() {
            let area = self.0.remove(&start).expect("the key was just found");
            removed(&area);
        }
    }

    /// Makes `addr` a border between areas if it lies inside one.
    fn cut_at(&mut self, addr: u64) {
        if let Some((_, area)) = self.0.range_mut(..addr).next_back()
            && addr < area.end
        {
            let upper = area.part(&(addr..area.end));
            area.end = addr;
            self.0.insert(addr, upper);
        }
    }

    /// Gives every area in `range` the protection `prot`. Pieces are cut out and
    /// joined again as needed. The range must be covered.
    pub fn protect(&mut self, range: &Range<u64>, prot: Prot) {
        debug_assert!(self.covers(range), "protecting what is not mapped");
        self.cut_at(range.start);
        self.cut_at(range.end);
        for (_, area) in self.0.range_mut(range.clone()) {
            area.prot = prot;
        }
        self.join_from(range.start, range.end);
    }

    /// Joins the areas at the borders from `from` up to `to` where possible.
    fn join_from(&mut self, from: u64, to: u64) {
        let mut at = self.0.range(..from).next_back().map_or(from, |(&start, _)| start);
        loop {
            let mut pair = self.0.range(at..).map(|(_, area)| area);
            let (Some(area), Some(next)) = (pair.next(), pair.next()) else { return };
            if next.start > to {
                return;
            }
            let (start, next_start, next_end) = (area.start, next.start, next.end);
            if area.joins(next) {
                self.0.remove(&next_start);
                self.0.get_mut(&start).expect("the area was just read").end = next_end;
                at = start;
            } else {
                at = next_start;
            }
        }
    }
}

mod growth;
mod run;
#[cfg(test)]
mod tests;

pub use growth::NoGrowth;
pub use run::Run;
