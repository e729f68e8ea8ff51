//! The mask handshake between a CPU that clears a PTE and one that begins to walk. Either
//! the flusher sees the walker's bit, or the walker sees the cleared PTE.

use std::sync::atomic::Ordering;

use kcore::Config;
use kcore::lazy_tlb::Policy;
use kcore::mm::flush::FlushRange;

use crate::{
    CPU0, CPU1, Contents, boot, expect_dead_after_drain, explore, process, race, running, switch, thread,
};

/// CPU 0 unmaps a page, as a thread of the process or as an outsider, while
/// CPU 1 switches to another thread.
fn unmap_against_switch(name: &str, config: Config, outsider: bool) {
    // A call and its answer multiply the interleavings.
    let bound = config.global_by_ipi.then_some(4);
    explore(name, bound, move || {
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
    explore("a clear bit is a finished flush", None, || {
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

/// A coprocessor attaches while CPU 0 unmaps: it has a count instead of a bit.
#[test]
fn unmap_against_a_coprocessor() {
    explore("unmap against a coprocessor", None, || {
        let rig = boot(config(false));
        let mm = running(&rig);
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

/// A driver that holds the mm, but no use of it, attaches a coprocessor while the last
/// use ends: either the final flush is broadcast, or the coprocessor finds no tables.
#[test]
fn exit_against_a_coprocessor() {
    explore("exit against a coprocessor", None, || {
        let rig = boot(config(false));
        let mm = running(&rig);
        rig.mmgrab(mm);
        race(
            &rig,
            |rig| rig.exit_mm(),
            move |rig| {
                rig.copro_attach(mm);
                rig.machine.copro_access(mm, 0);
            },
        );
        assert_eq!(rig.machine.copro_access(mm, 0), None, "the tables are gone");
        rig.machine.on(CPU0, || {
            rig.copro_detach(mm);
            rig.mmdrop(mm);
        });
        expect_dead_after_drain(&rig, mm);
    });
}

/// A coprocessor that is seen gone has finished: its last access comes before the reuse
/// of a frame by a CPU whose flush leaves it out.
#[test]
fn unmap_against_a_coprocessor_that_goes() {
    explore("unmap against a coprocessor that goes", None, || {
        let rig = boot(config(false));
        let mm = running(&rig);
        rig.copro_attach(mm);
        let contents = Contents::new();
        let seen = contents.clone();
        race(
            &rig,
            |rig| {
                rig.machine.unmap(mm, 0);
                contents.reuse();
            },
            move |rig| {
                rig.machine.copro_access_with(mm, 0, |_| seen.access());
                rig.copro_detach(mm);
            },
        );
    });
}

/// Two CPUs flush and trim one mm at once, one running it, one lazy on it: their
/// evictions cross (T5, T6).
#[test]
fn crossing_trims() {
    explore("crossing trims", Some(4), || {
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
