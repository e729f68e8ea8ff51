//! Areas that become larger when they are touched below: stacks.

use super::AreaSet;
use crate::area::{Contents, Prot, STACK_GUARD_GAP};
use crate::page_down;

/// The area above does not grow down to an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoGrowth;

impl<C: Contents> AreaSet<C> {
    /// Makes the stack above `addr` large enough to hold `addr`, at which nothing is
    /// mapped (Linux: `expand_downwards`).
    ///
    /// # Errors
    /// The next area above is no stack; or the stack would be larger than
    /// `most_bytes`, lie below `lowest`, or leave less than its gap above an area that
    /// a program can access.
    pub fn grow_down(&mut self, addr: u64, lowest: u64, most_bytes: u64) -> Result<(), NoGrowth> {
        let start = page_down(addr);
        let at = self.ending_up_to(addr);
        let area = self.ascending_from(at).next().ok_or(NoGrowth)?;
        if !area.grows_down || start < lowest || area.end - start > most_bytes {
            return Err(NoGrowth);
        }
        let below = at.checked_sub(1).and_then(|below| self.ascending_from(below).next());
        // A stack below may be closer than the gap: only the upper stack's thread would
        // run into it. Linux allows this too.
        let too_close = below.is_some_and(|below| {
            !below.grows_down && below.prot != Prot::empty() && start - below.end < STACK_GUARD_GAP
        });
        if too_close {
            return Err(NoGrowth);
        }
        let higher = self.len() - at;
        let area = match higher.checked_sub(self.above.len() + 1) {
            None => &mut self.above[higher - 1],
            Some(_) => &mut self.below[at],
        };
        area.start = start;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{PAGE, anonymous, pages, shape};
    use super::*;
    use crate::area::Area;

    const RW: Prot = Prot::READ.union(Prot::WRITE);
    const GAP: u64 = STACK_GUARD_GAP / PAGE;

    fn with_stack(start: u64, end: u64) -> AreaSet<super::super::tests::File> {
        let mut set = AreaSet::default();
        set.insert(Area { grows_down: true, ..anonymous(start, end, RW) });
        set
    }

    #[test]
    fn a_stack_grows_to_the_page_that_is_touched_and_no_further_than_its_limit() {
        let mut set = with_stack(1000, 1002);
        assert_eq!(set.grow_down(999 * PAGE + 5, 0, 10 * PAGE), Ok(()));
        assert_eq!(shape(&set), [(999, 1002)]);
        assert_eq!(set.grow_down(992 * PAGE, 0, 10 * PAGE), Ok(()));
        assert_eq!(set.grow_down(992 * PAGE - 1, 0, 10 * PAGE), Err(NoGrowth));
        assert_eq!(set.grow_down(990 * PAGE, 991 * PAGE, u64::MAX), Err(NoGrowth));
        assert_eq!(set.grow_down(991 * PAGE, 991 * PAGE, u64::MAX), Ok(()));
        assert_eq!(shape(&set), [(991, 1002)]);
    }

    #[test]
    fn only_the_next_area_above_grows() {
        let mut set = with_stack(1000, 1002);
        assert_eq!(set.grow_down(1002 * PAGE, 0, u64::MAX), Err(NoGrowth), "above all");
        set.insert(anonymous(900, 901, RW));
        assert_eq!(set.grow_down(899 * PAGE, 0, u64::MAX), Err(NoGrowth), "below something else");
    }

    #[test]
    fn the_gap_stays_free() {
        let mut set = with_stack(1000, 1002);
        set.insert(anonymous(100, 101, RW));
        assert_eq!(set.grow_down((101 + GAP) * PAGE - 1, 0, u64::MAX), Err(NoGrowth));
        assert_eq!(set.grow_down((101 + GAP) * PAGE, 0, u64::MAX), Ok(()));
        // An area without any permission serves as a gap itself.
        let mut set = with_stack(1000, 1002);
        set.insert(anonymous(100, 101, Prot::empty()));
        assert_eq!(set.grow_down(101 * PAGE, 0, u64::MAX), Ok(()));
        // Nothing else is placed in the gap either.
        let set = with_stack(1000, 1002);
        assert!(set.is_free_place(&pages(1000 - GAP - 1..1000 - GAP)));
        assert!(!set.is_free_place(&pages(1000 - GAP..1000 - GAP + 1)));
        assert!(!set.is_free_place(&pages(1001..1003)) && set.is_free_place(&pages(1002..1003)));
        assert_eq!(set.find_free_below(PAGE, &pages(1..1002)), Some((1000 - GAP - 1) * PAGE));
    }

    #[test]
    fn a_stack_is_no_neighbour_of_other_memory() {
        let mut set = with_stack(1000, 1002);
        set.insert(anonymous(1002, 1003, RW));
        assert_eq!(shape(&set), [(1000, 1002), (1002, 1003)]);
    }
}
