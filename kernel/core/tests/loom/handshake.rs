//! The mask handshake: who clears a PTE and who begins to walk. Either the
//! flusher sees the walker's bit, or the walker sees the cleared PTE.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use loom::cell::UnsafeCell;

use kcore::Config;
use kcore::lazy_tlb::Policy;
use kcore::mm::flush::FlushRange;

use crate::{CPU0, CPU1, boot, explore, process, race, switch, thread};

/// The contents of a page: loom reports an access that is not ordered before the
/// one that reuses the frame.
struct Contents(UnsafeCell<()>);

// SAFETY: the cell holds nothing and no pointer to it is followed; loom tracks
// the accesses, and that is all it is for.
unsafe impl Sync for Contents {}
// SAFETY: as above.
unsafe impl Send for Contents {}

impl Contents {
    fn new() -> Arc<Self> {
        Arc::new(Self(UnsafeCell::new(())))
    }

    fn access(&self) {
        self.0.with(|_| ());
    }

    fn reuse(&self) {
        self.0.with_mut(|_| ());
    }
}

/// CPU 0 unmaps a page, as a thread of the process or as an outsider, while
/// CPU 1 switches to another thread.
fn unmap_against_switch(name: &str, config: Config, outsider: bool) {
    explore(name, Some(3), move || {
        let rig = boot(config);
        let (mm, owner) = process(&rig);
        let second = thread(&rig, mm);
        if !outsider {
            switch(&rig, CPU0, owner);
        }
        rig.machine.walk_on_load.store(true, Ordering::Relaxed);
        race(
            &rig,
            |rig| rig.machine.unmap(mm, 0),
            move |rig| {
                rig.machine.switch_to(second);
                rig.machine.access(0);
            },
        );
        assert_eq!(rig.machine.on(CPU1, || rig.machine.access(0)), None, "the page is gone");
    });
}

fn config(global_by_ipi: bool) -> Config {
    Config { policy: Policy::Shootdown, global_by_ipi, ..Config::default() }
}

#[test]
fn unmap_by_a_thread() {
    unmap_against_switch("unmap by a thread, tlbie", config(false), false);
    unmap_against_switch("unmap by a thread, IPI", config(true), false);
}

#[test]
fn unmap_by_an_outsider() {
    unmap_against_switch("unmap by an outsider, tlbie", config(false), true);
    unmap_against_switch("unmap by an outsider, IPI", config(true), true);
}

/// CPU 1 has used the page, goes lazy and trims itself out of the mask; CPU 0
/// sees its bit clear, flushes nobody, and reuses the frame.
#[test]
fn a_clear_bit_is_a_finished_flush() {
    explore("a clear bit is a finished flush", Some(4), || {
        let config =
            Config { policy: Policy::Shootdown, global_by_ipi: false, trim_period: 2, ..Config::default() };
        let rig = boot(config);
        let (mm, owner) = process(&rig);
        rig.mmget(mm);
        switch(&rig, CPU1, owner);
        switch(&rig, CPU1, rig.machine.idle(CPU1));
        // CPU 1's next flush trims, and CPU 0's does not.
        rig.machine.on(CPU1, || rig.flush(mm, FlushRange::Everything));
        switch(&rig, CPU1, owner);
        let contents = Contents::new();
        let seen = contents.clone();
        race(
            &rig,
            |rig| {
                rig.machine.unmap(mm, 0);
                contents.reuse();
            },
            move |rig| {
                rig.machine.access_with(0, |_| seen.access());
                rig.machine.switch_to(rig.machine.idle(CPU1));
                rig.flush(mm, FlushRange::Everything);
            },
        );
    });
}

/// The same for a coprocessor, which has a count instead of a bit.
#[test]
fn unmap_against_a_coprocessor() {
    explore("unmap against a coprocessor", Some(3), || {
        let rig = boot(config(false));
        let (mm, owner) = process(&rig);
        switch(&rig, CPU0, owner);
        race(
            &rig,
            |rig| rig.machine.unmap(mm, 0),
            move |rig| {
                rig.copro_attach(mm);
                rig.machine.copro_access(mm, 0);
            },
        );
        assert_eq!(rig.machine.copro_access(mm, 0), None, "the page is gone");
    });
}

/// Two CPUs flush and trim the same mm at once, one running it, one lazy on it:
/// their kicks cross (T5, T6).
#[test]
fn crossing_trims() {
    explore("crossing trims", Some(2), || {
        let config =
            Config { policy: Policy::Refcount, global_by_ipi: true, trim_period: 1, ..Config::default() };
        let rig = boot(config);
        let (mm, owner) = process(&rig);
        let second = thread(&rig, mm);
        switch(&rig, CPU1, second);
        rig.machine.on(CPU1, || rig.machine.access(0)).unwrap();
        switch(&rig, CPU1, rig.machine.idle(CPU1));
        switch(&rig, CPU0, owner);
        race(
            &rig,
            |rig| {
                rig.machine.access(0);
                rig.machine.unmap(mm, 0);
            },
            move |rig| rig.flush(mm, FlushRange::Everything),
        );
        let borrowed = u32::from(rig.machine.loaded(CPU1) == mm);
        assert_eq!(rig.mm(mm).count(), 1 + borrowed);
        let holds = rig.machine.cached(CPU1, mm) > 0;
        assert!(!holds || rig.mm(mm).cpumask().test(CPU1), "a bit clear over a full TLB");
        assert_eq!(rig.machine.on(CPU0, || rig.machine.access(0)), None);
    });
}
