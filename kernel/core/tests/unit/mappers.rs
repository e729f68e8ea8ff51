//! The reverse map: which mms are visited, and what a visit does to the lifetime of an
//! mm.

use kcore::lazy_tlb::Policy;
use kcore::mm::MmId;
use kcore::mm::mappers::Mappers;

use crate::{CPU0, CPU1, Rig};

fn visited(rig: &Rig, mappers: &Mappers) -> Vec<MmId> {
    let mut seen = Vec::new();
    rig.on(CPU0, || rig.for_each_mapper(mappers, |mm| seen.push(mm)));
    seen
}

#[test]
fn all_are_visited() {
    let (rig, mappers) = (Rig::new(Policy::Shootdown), Mappers::default());
    let (first, second) = (rig.process().0, rig.process().0);
    let places = rig.on(CPU0, || [first, second, first].map(|mm| rig.enter_mappers(&mappers, mm)));
    assert_eq!(visited(&rig, &mappers), [first, second, first]);
    rig.on(CPU0, || rig.leave_mappers(&mappers, places[0]));
    assert_eq!(visited(&rig, &mappers), [second, first]);
    rig.on(CPU0, || places[1..].iter().for_each(|&place| rig.leave_mappers(&mappers, place)));
    assert_eq!(visited(&rig, &mappers), []);
}

/// An mm that enters while the list is walked is visited, too: it may have copied what
/// the walk has not taken away yet.
#[test]
fn who_enters_meanwhile_is_visited() {
    let (rig, mappers) = (Rig::new(Policy::Shootdown), Mappers::default());
    let (parent, child) = (rig.process().0, rig.process().0);
    let mut seen = Vec::new();
    rig.on(CPU0, || {
        rig.enter_mappers(&mappers, parent);
        rig.for_each_mapper(&mappers, |mm| {
            if seen.is_empty() {
                rig.enter_mappers(&mappers, child);
            }
            seen.push(mm);
        });
    });
    assert_eq!(seen, [parent, child]);
}

/// The last user goes while the mm is visited, and a CPU is lazy on it. So the visitor,
/// which never had it loaded, drops the last count, and the policy sends the CPU away
/// (T16).
#[test]
fn the_visitor_may_be_the_last() {
    for policy in Policy::ALL {
        let (rig, mappers) = (Rig::new(policy), Mappers::default());
        let (mm, owner) = rig.process();
        let place = rig.on(CPU0, || rig.enter_mappers(&mappers, mm));
        rig.switch(CPU1, owner);
        rig.on(CPU0, || {
            rig.for_each_mapper(&mappers, |visited| {
                rig.on(CPU1, || {
                    rig.leave_mappers(&mappers, place);
                    rig.exit_mm();
                });
                assert_eq!(rig.mms()[visited.slot()].id(), visited, "{policy:?}: freed while it is visited");
            });
        });
        rig.idle(CPU1);
        rig.on(CPU1, || rig.leave_before_stop());
        assert!(rig.mms()[mm.slot()].id() != mm, "{policy:?}: {mm:?} leaked");
    }
}
