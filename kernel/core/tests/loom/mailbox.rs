//! The mailbox: what an initiator wrote is seen by the handler, what the handler
//! did is seen after the wait, and every call runs exactly once.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use kcore::cpu::{CpuId, CpuSet};
use kcore::ipi::Call;
use kcore::lazy_tlb::Policy;
use kcore::machine::{Cpu, Point, Probe};
use kcore::sync::{AtomicU64, Ordering};

use crate::{CPU0, CPU1, Rig, boot, config, explore, race};

/// Per CPU: what it asks, and how often that was done.
#[derive(Default)]
struct Mail {
    asked: [AtomicU64; 2],
    done: [AtomicU64; 2],
}

fn rig() -> (Rig, Arc<Mail>) {
    let rig = boot(config(Policy::Shootdown));
    let mail = Arc::new(Mail::default());
    let handled = mail.clone();
    rig.machine.set_machine_call(move |_, asker, round| {
        let asker = asker as usize;
        assert_eq!(handled.asked[asker].load(Ordering::Relaxed), round, "an old letter");
        assert_eq!(handled.done[asker].load(Ordering::Relaxed), round - 1, "read twice");
        handled.done[asker].store(round, Ordering::Relaxed);
    });
    // An interrupt for another reason reads the mailbox at any point.
    rig.machine.spurious_irqs.store(true, Relaxed);
    (rig, mail)
}

/// `me` asks the other CPU for something, for the `round`th time.
fn ask(rig: &Rig, mail: &Mail, me: CpuId, round: u64) {
    mail.asked[me.index()].store(round, Ordering::Relaxed);
    let other = CpuSet::first(2).without(me);
    rig.machine.with_preempt_off(|t| {
        rig.call_on_mask(t, &other, Call::Machine(me.index() as u64, round));
    });
    assert_eq!(mail.done[me.index()].load(Ordering::Relaxed), round, "the answer came before the work");
}

#[test]
fn two_calls_in_a_row() {
    explore("two calls in a row", Some(4), || {
        let (rig, mail) = rig();
        race(
            &rig,
            |rig| (1..=2).for_each(|round| ask(rig, &mail, CPU0, round)),
            |rig| (0..2).for_each(|_| rig.machine.point(Point::SettleSwitch)),
        );
    });
}

#[test]
fn crossing_initiators() {
    explore("crossing initiators", Some(3), || {
        let (rig, mail) = rig();
        let letters = mail.clone();
        race(&rig, |rig| ask(rig, &mail, CPU0, 1), move |rig| ask(rig, &letters, CPU1, 1));
    });
}
