//! The area set against a model with one entry per page.

use super::*;

/// Bytes of file `.0` from offset `.1`; file 0 is anonymous.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct File(u32, u64);

impl Contents for File {
    fn advanced(&self, by: u64) -> Self {
        if self.0 == 0 { self.clone() } else { File(self.0, self.1 + by) }
    }

    fn continues(&self, len: u64, next: &Self) -> bool {
        *next == self.advanced(len)
    }
}

pub(super) const PAGE: u64 = 0x1000;

fn area(start: u64, end: u64, prot: Prot, file: File) -> Area<File> {
    Area { start: start * PAGE, end: end * PAGE, prot, shared: false, grows_down: false, contents: file }
}

pub(super) fn anonymous(start: u64, end: u64, prot: Prot) -> Area<File> {
    area(start, end, prot, File(0, 0))
}

pub(super) fn pages(range: Range<u64>) -> Range<u64> {
    range.start * PAGE..range.end * PAGE
}

pub(super) fn shape(set: &AreaSet<File>) -> Vec<(u64, u64)> {
    set.iter().map(|area| (area.start / PAGE, area.end / PAGE)).collect()
}

#[test]
fn neighbours_join_only_if_they_continue() {
    let rw = Prot::READ | Prot::WRITE;
    let mut set = AreaSet::default();
    set.insert(area(1, 2, rw, File(0, 0)));
    set.insert(area(3, 4, rw, File(0, 0)));
    set.insert(area(2, 3, rw, File(0, 0)));
    assert_eq!(shape(&set), [(1, 4)]);
    set.insert(area(4, 5, Prot::READ, File(0, 0)));
    set.insert(area(5, 6, Prot::READ, File(7, 0)));
    set.insert(area(6, 7, Prot::READ, File(7, PAGE)));
    set.insert(area(7, 8, Prot::READ, File(7, 0)));
    assert_eq!(shape(&set), [(1, 4), (4, 5), (5, 7), (7, 8)]);
}

#[test]
fn removal_cuts_and_keeps_offsets() {
    let mut set = AreaSet::default();
    set.insert(area(10, 20, Prot::READ, File(3, 0)));
    set.remove(&pages(12..15));
    assert_eq!(shape(&set), [(10, 12), (15, 20)]);
    assert_eq!(set.find(15 * PAGE).unwrap().contents, File(3, 5 * PAGE));
}

#[test]
fn protect_splits_and_joins_again() {
    let rw = Prot::READ | Prot::WRITE;
    let mut set = AreaSet::default();
    set.insert(area(0, 8, rw, File(0, 0)));
    set.protect(&pages(2..4), Prot::READ);
    assert_eq!(shape(&set), [(0, 2), (2, 4), (4, 8)]);
    set.protect(&pages(4..6), Prot::READ);
    assert_eq!(shape(&set), [(0, 2), (2, 6), (6, 8)]);
    set.protect(&pages(0..8), rw);
    assert_eq!(shape(&set), [(0, 8)]);
}

#[test]
fn free_space_is_found_from_the_top() {
    let mut set = AreaSet::default();
    let all = pages(1..100);
    assert_eq!(set.find_free_below(4 * PAGE, &all), Some(96 * PAGE));
    set.insert(area(90, 100, Prot::READ, File(0, 0)));
    set.insert(area(80, 88, Prot::READ, File(0, 0)));
    assert_eq!(set.find_free_below(2 * PAGE, &all), Some(88 * PAGE));
    assert_eq!(set.find_free_below(3 * PAGE, &all), Some(77 * PAGE));
    assert_eq!(set.find_free_below(80 * PAGE, &all), None);
    assert_eq!(set.find_free_below(79 * PAGE, &all), Some(PAGE));
    // An area that reaches over the top of the window.
    assert_eq!(set.find_free_below(PAGE, &pages(1..95)), Some(89 * PAGE));
}

/// A shared area does not join a private one.
#[test]
fn shared_and_private_areas_stay_apart() {
    let mut set = AreaSet::default();
    set.insert(Area { shared: true, ..anonymous(1, 2, Prot::READ) });
    set.insert(anonymous(2, 3, Prot::READ));
    set.insert(Area { shared: true, ..anonymous(3, 4, Prot::READ) });
    assert_eq!(shape(&set), [(1, 2), (2, 3), (3, 4)]);
}

/// A random walk of all operations; after each, the set equals the model, and
/// no two neighbours could be joined.
#[test]
fn as_a_map_of_pages() {
    let prots = [Prot::empty(), Prot::READ, Prot::READ | Prot::WRITE];
    let mut seed = 7u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut set = AreaSet::default();
    let mut model: Vec<Option<(Prot, File)>> = vec![None; 64];
    for _ in 0..20_000 {
        let start = random(60);
        let end = start + 1 + random(64 - start);
        let range = pages(start..end);
        let prot = prots[random(3) as usize];
        let in_model = start as usize..end as usize;
        set.make_room().unwrap();
        let room = (set.below.capacity(), set.above.capacity());
        match random(3) {
            0 if set.is_free(&range) => {
                let file = random(2) as u32;
                // Offsets equal to addresses: neighbouring pieces of a file
                // join, as anonymous areas do.
                let contents = |page: u64| File(file, if file == 0 { 0 } else { page * PAGE });
                set.insert(area(start, end, prot, contents(start)));
                (start..end).for_each(|page| model[page as usize] = Some((prot, contents(page))));
            }
            1 if set.covers(&range) => {
                set.protect(&range, prot);
                model[in_model].iter_mut().for_each(|page| page.as_mut().unwrap().0 = prot);
            }
            2 => {
                set.remove(&range);
                model[in_model].fill(None);
            }
            _ => {}
        }
        assert_eq!((set.below.capacity(), set.above.capacity()), room, "a change allocates");
        for (page, expected) in model.iter().enumerate() {
            let addr = page as u64 * PAGE;
            let found = set.find(addr).map(|area| (area.prot, area.contents.advanced(addr - area.start)));
            assert_eq!(found, *expected);
        }
        let mapped = |page: u64| model[page as usize].is_some();
        assert_eq!(set.is_free(&range), !(start..end).any(mapped));
        assert_eq!(set.covers(&range), (start..end).all(mapped));
        let hole = (start..end).find(|&page| !mapped(page));
        assert_eq!(set.run(&range, |_| true), hole.map_or(Run::Whole, |page| Run::Hole(page * PAGE)));
        let parts: u64 = set.overlapping(&range).map(|area| area.part(&range).bytes()).sum();
        assert_eq!(parts, (start..end).filter(|&page| mapped(page)).count() as u64 * PAGE);
        let below = (0..start).rev().find(|&page| mapped(page)).map_or(0, |page| page + 1);
        let above = (end..64).find(|&page| mapped(page)).map_or(u64::MAX, |page| page * PAGE);
        let gap = (start..end).any(mapped).then_some(below * PAGE..above);
        assert_eq!(set.gap_without(&range), gap);
        let (lowest, pages) = (random(8), 1 + random(6));
        let place = (lowest..)
            .take_while(|first| first + pages <= end)
            .filter(|&first| (first..first + pages).all(|page| !mapped(page)));
        let found = set.find_free_below(pages * PAGE, &(lowest * PAGE..end * PAGE));
        assert_eq!(found, place.last().map(|first| first * PAGE));
        let all: Vec<_> = set.iter().cloned().collect();
        assert!(all.windows(2).all(|pair| !pair[0].joins(&pair[1])));
    }
}

#[test]
fn an_area_at_hand_is_protected_if_nothing_joins_it() {
    let mut set = AreaSet::default();
    set.insert(anonymous(2, 4, Prot::WRITE));
    set.insert(anonymous(4, 6, Prot::READ));
    set.insert(anonymous(6, 7, Prot::WRITE));
    let mut whole = |range: Range<u64>, prot, permitted| {
        set.go_to(range.start * PAGE);
        set.protect_at_hand(&pages(range), prot, |_| permitted).is_some()
    };
    assert!(!whole(4..5, Prot::empty(), true) && !whole(5..6, Prot::empty(), true), "a part");
    assert!(!whole(2..6, Prot::empty(), true) && !whole(1..4, Prot::empty(), true), "more");
    assert!(!whole(0..1, Prot::READ, true) && !whole(8..9, Prot::READ, true), "a hole");
    assert!(!whole(2..4, Prot::READ, true) && !whole(6..7, Prot::READ, true), "a neighbour on one side");
    assert!(!whole(4..6, Prot::WRITE, true), "and on both");
    assert!(!whole(4..6, Prot::empty(), false));
    assert!(whole(4..6, Prot::empty(), true) && whole(2..4, Prot::EXEC, true));
    let prots: Vec<Prot> = set.iter().map(|area| area.prot).collect();
    assert_eq!(prots, [Prot::EXEC, Prot::empty(), Prot::WRITE]);
}
