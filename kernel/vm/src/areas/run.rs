//! How far a call gets when it works on one area after another.

use core::ops::Range;

use super::AreaSet;
use crate::area::{Area, Contents};

/// How far consecutive areas are all permitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Run {
    /// To the end of the range.
    Whole,
    /// Up to this address, where nothing is mapped.
    Hole(u64),
    /// Up to this address, where an area begins that is not permitted.
    Refused(u64),
}

impl<C: Contents> AreaSet<C> {
    /// Follows the areas from the start of `range`, which is not empty, up
    /// to the first hole between them or the first area that `permitted` refuses.
    pub fn run(&self, range: &Range<u64>, permitted: impl Fn(&Area<C>) -> bool) -> Run {
        let mut at = range.start;
        for area in self.overlapping(range) {
            if area.start > at {
                return Run::Hole(at);
            }
            if !permitted(area) {
                return Run::Refused(at);
            }
            at = area.end;
        }
        if at < range.end { Run::Hole(at) } else { Run::Whole }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{PAGE, anonymous, pages};
    use super::*;
    use crate::area::Prot;

    #[test]
    fn runs_end_at_holes_and_at_what_is_not_permitted() {
        let mut set = AreaSet::default();
        set.insert(anonymous(2, 4, Prot::READ));
        set.insert(anonymous(4, 6, Prot::empty()));
        set.insert(anonymous(7, 9, Prot::READ));
        let any = |range| set.run(&pages(range), |_| true);
        assert_eq!(any(2..6), Run::Whole);
        assert_eq!(any(3..5), Run::Whole);
        assert_eq!(any(3..7), Run::Hole(6 * PAGE));
        assert_eq!(any(3..8), Run::Hole(6 * PAGE));
        assert_eq!(any(1..4), Run::Hole(PAGE));
        assert_eq!(any(6..8), Run::Hole(6 * PAGE));
        assert_eq!(any(10..11), Run::Hole(10 * PAGE));
        let readable = |range| set.run(&pages(range), |area| area.prot.contains(Prot::READ));
        assert_eq!(readable(3..4), Run::Whole);
        assert_eq!(readable(3..8), Run::Refused(4 * PAGE));
        assert_eq!(readable(5..8), Run::Refused(5 * PAGE));
    }
}
