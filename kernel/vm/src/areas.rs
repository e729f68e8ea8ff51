//! The areas of one address space. They do not overlap, and neighbours that can be
//! one area are one.

use alloc::collections::{TryReserveError, VecDeque};
use core::cell::Cell;
use core::ops::Range;

use crate::area::{Area, Contents, Prot};

/// How far a search looks around the last answer before it begins anew.
const STEPS: usize = 3;

/// A set of areas: an array, the highest area first. A new area moves those before it or those
/// behind it, whichever are fewer: none, nearly, where mappings are placed downwards, and where one
/// large area is cut into many, from either end.
pub struct AreaSet<C> {
    areas: VecDeque<Area<C>>,
    /// The last answer of [`AreaSet::ending_above`], near which the next one often lies.
    last: Cell<usize>,
}

impl<C> Default for AreaSet<C> {
    fn default() -> Self {
        Self { areas: VecDeque::new(), last: Cell::new(0) }
    }
}

impl<C: Contents> AreaSet<C> {
    /// A copy. `contents` makes each area's contents from the original's.
    ///
    /// # Errors
    /// The first error of `contents`; none if memory runs out.
    pub fn copy_with<E>(&self, mut contents: impl FnMut(&C) -> Result<C, E>) -> Result<Self, Option<E>> {
        let mut copy = VecDeque::new();
        copy.try_reserve_exact(self.areas.len() + Self::ROOM).map_err(|_| None)?;
        for area in &self.areas {
            copy.push_back(Area { contents: contents(&area.contents)?, ..*area });
        }
        Ok(Self { areas: copy, last: Cell::new(0) })
    }

    /// The areas that one change of the set adds at most.
    const ROOM: usize = 6;

    /// The bytes that [`AreaSet::make_room`] asks for.
    pub fn room_needed(&self) -> usize {
        let has_room = self.areas.capacity() - self.areas.len() >= Self::ROOM;
        if has_room { 0 } else { 2 * (self.areas.len() + Self::ROOM) * size_of::<Area<C>>() }
    }

    /// Gets the memory that the next change needs.
    ///
    /// # Errors
    /// There is none.
    pub fn make_room(&mut self) -> Result<(), TryReserveError> {
        self.areas.try_reserve(Self::ROOM)
    }

    /// How many areas there are.
    pub fn len(&self) -> usize {
        self.areas.len()
    }

    /// Whether there is no area.
    pub fn is_empty(&self) -> bool {
        self.areas.is_empty()
    }

    /// All areas, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Area<C>> {
        self.areas.iter().rev()
    }

    /// The last of the first `count` areas, the lowest of them.
    #[inline]
    fn last_of(&self, count: usize) -> Option<&Area<C>> {
        self.areas.get(count.checked_sub(1)?)
    }

    /// How many areas end above `addr`: these come first in the array, ascending from its end.
    #[inline]
    fn ending_above(&self, addr: u64) -> usize {
        let above = |area: &Area<C>| area.end > addr;
        let mut at = self.last.get().min(self.areas.len());
        for _ in 0..STEPS {
            if self.last_of(at).is_some_and(|area| !above(area)) {
                at -= 1;
            } else if self.areas.get(at).is_some_and(above) {
                at += 1;
            } else {
                self.last.set(at);
                return at;
            }
        }
        self.last.set(self.areas.partition_point(above));
        self.last.get()
    }

    /// How many areas start at `addr` or above.
    #[inline]
    fn starting_from(&self, addr: u64) -> usize {
        let above = self.ending_above(addr);
        above - usize::from(self.last_of(above).is_some_and(|area| area.start < addr))
    }

    /// The area that `addr` lies in, or the next one above.
    fn at_or_above(&self, addr: u64) -> Option<&Area<C>> {
        self.last_of(self.ending_above(addr))
    }

    /// The area that `addr` lies in.
    pub fn find(&self, addr: u64) -> Option<&Area<C>> {
        self.at_or_above(addr).filter(|area| area.start <= addr)
    }

    /// The areas that overlap `range`, ascending, whole.
    #[inline]
    pub fn overlapping<'a>(&'a self, range: &Range<u64>) -> impl Iterator<Item = &'a Area<C>> + use<'a, C> {
        let end = range.end;
        let above = self.ending_above(range.start);
        (0..above).rev().map(|at| &self.areas[at]).take_while(move |area| area.start < end)
    }

    /// Whether nothing is mapped in `range`.
    #[inline]
    pub fn is_free(&self, range: &Range<u64>) -> bool {
        self.overlapping(range).next().is_none()
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
    /// area below to the start of the area above.
    pub fn gap_without(&self, range: &Range<u64>) -> Range<u64> {
        let below =
            self.areas.get(self.starting_from(range.start)).map_or(0, |area| area.end.min(range.start));
        let above = self.at_or_above(range.end).map_or(u64::MAX, |area| area.start.max(range.end));
        below..above
    }

    /// The highest free space of `len` bytes inside `within`.
    pub fn find_free_below(&self, len: u64, within: &Range<u64>) -> Option<u64> {
        let mut top = within.end;
        for area in self.areas.range(self.starting_from(within.end)..) {
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
        let at = self.ending_above(area.start);
        if let Some(below) = self.areas.get_mut(at).filter(|below| below.joins(&area)) {
            below.end = area.end;
            self.join(at..at);
        } else if let Some(above) =
            at.checked_sub(1).and_then(|at| self.areas.get_mut(at)).filter(|above| area.joins(above))
        {
            *above = Area { end: above.end, ..area };
        } else {
            self.areas.insert(at, area);
        }
    }

    /// Takes everything out that lies in `range`, cutting areas at its ends.
    pub fn remove(&mut self, range: &Range<u64>) {
        let (mut first, end) = (self.starting_from(range.end), self.starting_from(range.start));
        if let Some(below) = self.areas.get_mut(end).filter(|below| range.start < below.end) {
            let upper = (range.end < below.end).then(|| below.part(&(range.end..below.end)));
            below.end = range.start;
            if let Some(upper) = upper {
                return self.areas.insert(end, upper);
            }
        }
        if first < end
            && let Some(last) = self.areas.get_mut(first).filter(|last| range.end < last.end)
        {
            *last = last.part(&(range.end..last.end));
            first += 1;
        }
        self.areas.drain(first..end);
    }

    /// Makes the ends of `range` borders between areas; the places of the areas inside.
    fn cut_out(&mut self, range: &Range<u64>) -> Range<usize> {
        let first = self.cut_at(range.end);
        first..self.cut_at(range.start)
    }

    /// Makes `addr` a border between areas if it lies inside one; how many areas are above.
    fn cut_at(&mut self, addr: u64) -> usize {
        let above = self.starting_from(addr);
        if let Some(area) = self.areas.get_mut(above)
            && addr < area.end
        {
            let upper = area.part(&(addr..area.end));
            area.end = addr;
            self.areas.insert(above, upper);
            return above + 1;
        }
        above
    }

    /// Gives every area in `range` the protection `prot`. Pieces are cut out and
    /// joined again as needed. The range must be covered.
    pub fn protect(&mut self, range: &Range<u64>, prot: Prot) {
        debug_assert!(self.covers(range), "protecting what is not mapped");
        let places = self.cut_out(range);
        for at in places.clone() {
            self.areas[at].prot = prot;
        }
        self.join(places);
    }

    /// As [`AreaSet::protect`], without room: if `range` is all of one area that is `permitted`, and
    /// that no neighbour can join then. The area; none, and nothing is changed, in other cases.
    pub fn protect_whole(
        &mut self,
        range: &Range<u64>,
        prot: Prot,
        permitted: impl FnOnce(&Area<C>) -> bool,
    ) -> Option<&Area<C>> {
        let at = self.ending_above(range.start).checked_sub(1)?;
        let area = self.areas.get_mut(at).filter(|area| area.range() == *range && permitted(area))?;
        let before = core::mem::replace(&mut area.prot, prot);
        let (area, below) = (&self.areas[at], self.areas.get(at + 1));
        if below.is_some_and(|below| below.joins(area)) || at > 0 && area.joins(&self.areas[at - 1]) {
            self.areas[at].prot = before;
            return None;
        }
        self.areas.get(at)
    }

    /// Joins the areas at `places` with each other and with their neighbours, where possible.
    fn join(&mut self, places: Range<usize>) {
        for at in (places.start.max(1)..=places.end.min(self.areas.len() - 1)).rev() {
            if self.areas[at].joins(&self.areas[at - 1]) {
                self.areas[at].end = self.areas[at - 1].end;
                self.areas.remove(at - 1);
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
