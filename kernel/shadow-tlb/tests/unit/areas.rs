//! Two areas of one address space that are changed and flushed at the same time, each under a
//! lock of its own, by two CPUs.

use kcore::cpu::CpuId;
use kcore::event::Stamp;
use kcore::mm::flush::FlushRange;
use shadow_tlb::{FrameNumber, Shadow};

use crate::{
    ALL, CPU0, CPU1, CPU2, FRAME, PAGE, TABLE, TRANSLATION, WALK, flush_global, flush_local, held, on_two,
};

const PAGES: u32 = 4;

/// The addresses of some pages, which name frames of consecutive numbers.
#[derive(Clone, Copy)]
struct Area {
    start: u64,
    frame: FrameNumber,
}

/// Two neighbours: what changes in them lies side by side.
const LOW: Area = Area { start: 0x1_0000, frame: FRAME };
const HIGH: Area = Area { start: 0x1_0000 + PAGES as u64 * PAGE, frame: FRAME + PAGES };

impl Area {
    fn range(self) -> core::ops::Range<u64> {
        self.start..self.start + u64::from(PAGES) * PAGE
    }

    fn whole(self) -> FlushRange {
        FlushRange::Pages { start: self.start, pages: PAGES }
    }

    fn unmap(self, shadow: &mut Shadow, cpu: CpuId) {
        for page in 0..PAGES {
            let ea = self.start + u64::from(page) * PAGE;
            assert!(shadow.leaf_changed(cpu, ea, Some(self.frame + page)));
        }
    }

    fn frames(self) -> Vec<FrameNumber> {
        (self.frame..self.frame + PAGES).collect()
    }

    /// What the owner of the area does after its flush.
    fn finish(self, shadow: &mut Shadow, cpu: CpuId) {
        self.frames().into_iter().for_each(|frame| shadow.frame_freed(cpu, frame).unwrap());
        shadow.settled(cpu, self.range()).unwrap();
    }
}

/// Both areas are unmapped, and both flushes have begun.
fn both_unmapped() -> (Shadow, Stamp, Stamp) {
    let mut shadow = on_two();
    LOW.unmap(&mut shadow, CPU0);
    HIGH.unmap(&mut shadow, CPU1);
    let (low, high) = (shadow.flush_begins(), shadow.flush_begins());
    (shadow, low, high)
}

#[test]
fn each_broadcast_covers_its_own_area() {
    let (mut shadow, low, high) = both_unmapped();
    shadow.flush_global(CPU1, HIGH.whole(), high);
    HIGH.finish(&mut shadow, CPU1);
    assert_eq!(shadow.take_released(), HIGH.frames());
    shadow.flush_global(CPU0, LOW.whole(), low);
    LOW.finish(&mut shadow, CPU0);
    assert_eq!(shadow.take_released(), LOW.frames());
}

/// Each flushes by calls to the other CPU, which come in the middle of the other's own flush.
#[test]
fn local_flushes_that_cross() {
    let (mut shadow, low, high) = both_unmapped();
    shadow.flush_local(CPU0, LOW.whole(), low);
    shadow.flush_local(CPU1, HIGH.whole(), high);
    flush_local(&mut shadow, CPU0, HIGH.whole());
    HIGH.finish(&mut shadow, CPU1);
    flush_local(&mut shadow, CPU1, LOW.whole());
    LOW.finish(&mut shadow, CPU0);
    shadow.settled(CPU0, ALL).unwrap();
}

/// The pages of each change in turn with those of the other.
#[test]
fn changes_that_cross() {
    let mut shadow = on_two();
    for page in 0..u64::from(PAGES) {
        shadow.leaf_changed(CPU0, LOW.start + page * PAGE, None);
        shadow.leaf_changed(CPU1, HIGH.start + page * PAGE, None);
    }
    flush_global(&mut shadow, LOW.whole());
    shadow.settled(CPU0, LOW.range()).unwrap();
    assert_eq!(held(shadow.settled(CPU1, HIGH.range())), (0, TRANSLATION));
    flush_global(&mut shadow, HIGH.whole());
    shadow.settled(CPU1, HIGH.range()).unwrap();
}

/// The other area's flushes reach every CPU; its own misses one.
#[test]
fn a_cpu_that_one_of_two_flushes_misses() {
    let (mut shadow, low, high) = both_unmapped();
    shadow.flush_local(CPU0, LOW.whole(), low);
    shadow.flush_local(CPU0, HIGH.whole(), high);
    flush_local(&mut shadow, CPU1, HIGH.whole());
    HIGH.finish(&mut shadow, CPU1);
    for frame in LOW.frames() {
        assert_eq!(held(shadow.frame_freed(CPU0, frame)), (1, TRANSLATION));
    }
    assert_eq!(held(shadow.settled(CPU0, LOW.range())), (1, TRANSLATION));
}

/// The lower half is flushed, and the upper half of the same changes is not.
#[test]
fn a_flush_of_half_an_area() {
    let mut shadow = on_two();
    LOW.unmap(&mut shadow, CPU0);
    flush_global(&mut shadow, FlushRange::Pages { start: LOW.start, pages: PAGES / 2 });
    assert_eq!(shadow.take_released(), LOW.frames()[..2]);
    assert_eq!(held(shadow.frame_freed(CPU0, LOW.frame + 2)), (0, TRANSLATION));
    shadow.frame_freed(CPU0, LOW.frame + 1).unwrap();
}

/// A flush of these pages that had begun before they changed again.
#[test]
fn a_flush_that_began_before_the_change() {
    let (mut shadow, low, high) = both_unmapped();
    shadow.flush_local(CPU0, LOW.whole(), low);
    LOW.unmap(&mut shadow, CPU2);
    shadow.flush_local(CPU1, LOW.whole(), high);
    // The first change is gone everywhere, the second nowhere.
    assert_eq!(shadow.take_released(), LOW.frames());
    flush_local(&mut shadow, CPU1, LOW.whole());
    assert_eq!(held(shadow.settled(CPU0, LOW.range())), (0, TRANSLATION));
    flush_local(&mut shadow, CPU0, LOW.whole());
    shadow.settled(CPU0, LOW.range()).unwrap();
}

/// A CPU that loads the PID between the changes of two neighbours holds one of them only, and
/// the flush of the other need not reach it.
#[test]
fn a_load_between_two_changes() {
    let mut shadow = on_two();
    LOW.unmap(&mut shadow, CPU0);
    shadow.load(CPU2, false).unwrap();
    HIGH.unmap(&mut shadow, CPU1);
    for cpu in [CPU0, CPU1] {
        flush_local(&mut shadow, cpu, FlushRange::Pages { start: LOW.start, pages: 2 * PAGES });
    }
    LOW.finish(&mut shadow, CPU0);
    assert_eq!(held(shadow.settled(CPU1, HIGH.range())), (2, TRANSLATION));
}

/// A CPU that unlocks this area does not answer for what is left of another one.
#[test]
fn a_table_of_the_other_area() {
    let mut shadow = on_two();
    shadow.table_detached(CPU1, HIGH.start, TABLE);
    shadow.settled(CPU0, LOW.range()).unwrap();
    assert_eq!(held(shadow.settled(CPU1, HIGH.range())), (0, WALK));
}
