//! exec, and a kernel thread's use of a user mm.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use kcore::lazy_tlb::Policy;
use kcore::machine::Point;
use kcore::mm::MmId;
use kcore::sync::Ordering;

use crate::{CPU0, CPU1, Rig, assert_panics, each_policy};

#[test]
fn exec_from_user() {
    each_policy(|rig| {
        let (old, user) = rig.process();
        rig.switch(CPU0, user);
        rig.on(CPU0, || {
            rig.machine.access(0).unwrap();
            let new = rig.machine.create_mm();
            rig.exec_mmap(new);
            assert_eq!(rig.machine.loaded(CPU0), new);
            assert_eq!((rig.mm(new).users(), rig.count(new)), (1, 1));
        });
        assert!(rig.lookup(old).is_none(), "its only user has left it");
        assert_eq!(rig.total("mm_count_rmw"), rig.owes().counted(1), "the way in");
    });
}

#[test]
fn exec_from_a_lazy_kernel_thread() {
    each_policy(|rig| {
        let (lazy, user) = rig.process();
        let worker = rig.machine.kernel_thread();
        rig.switch(CPU0, user);
        rig.switch(CPU0, worker);
        let count = rig.count(lazy);
        rig.on(CPU0, || {
            let new = rig.machine.create_mm();
            rig.exec_mmap(new);
            assert_eq!(rig.machine.task(worker).mm(), new);
            assert_eq!(rig.machine.loaded(CPU0), new);
            assert_eq!(rig.count(new), 1);
        });
        assert_eq!(count - rig.count(lazy), rig.owes().counted(1));
    });
}

/// The ledger of use and unuse from a borrow of `lazy`, back to the baseline.
fn use_and_unuse(rig: &Rig, borrow_same: bool) {
    let ((mm, user), (_, other)) = (rig.process(), rig.process());
    let worker = rig.machine.kernel_thread();
    rig.switch(CPU0, if borrow_same { user } else { other });
    rig.switch(CPU0, worker);
    let baseline = rig.count(mm) - rig.owes().counted(u32::from(borrow_same));
    for _ in 0..3 {
        rig.mmget(mm);
        rig.on(CPU0, || rig.kthread_use_mm(mm));
        // One real reference, and no borrow is left.
        let held = u32::from(rig.owes().uses);
        assert_eq!((rig.count(mm), rig.mm(mm).users()), (baseline + 1 - held, 2 + held));
        assert_eq!(rig.machine.task(worker).mm(), mm);
        rig.on(CPU0, || rig.machine.access(0)).unwrap();
        rig.on(CPU0, || rig.kthread_unuse_mm(mm));
        assert_eq!(rig.count(mm), baseline + rig.owes().counted(1));
        assert_eq!(rig.machine.task(worker).mm(), MmId::NONE);
        rig.on(CPU0, || rig.mmput(mm));
    }
    rig.drain(CPU0);
    assert_eq!(rig.count(mm), baseline);
    assert_eq!(rig.mm(mm).users(), 1);
}

#[test]
fn use_mm_of_another_mm() {
    each_policy(|rig| use_and_unuse(rig, false));
}

/// T1: each use of the mm that is already borrowed leaked a count.
#[test]
fn use_mm_of_the_borrowed_mm() {
    each_policy(|rig| use_and_unuse(rig, true));
}

/// `init_mm`'s count is back to its baseline after every sequence.
#[test]
fn init_mm_is_balanced() {
    each_policy(|rig| {
        let baseline = rig.count(MmId::INIT_MM);
        for _ in 0..3 {
            let (mm, user) = rig.process();
            rig.switch(CPU0, user);
            rig.on(CPU0, || rig.exit_mm());
            rig.idle(CPU0);
            rig.on(CPU1, || {
                let new = rig.machine.create_mm();
                rig.kthread_use_mm(new);
                rig.kthread_unuse_mm(new);
                rig.mmput(new);
            });
            rig.drain(CPU0);
            rig.drain(CPU1);
            assert!(rig.lookup(mm).is_none() || rig.owes().lingers);
        }
        // Where an mm lingers the CPUs may rest on a zombie instead of init_mm.
        let resting = [CPU0, CPU1].iter().filter(|&&cpu| rig.machine.loaded(cpu) != MmId::INIT_MM).count();
        assert_eq!(rig.count(MmId::INIT_MM), baseline - rig.owes().counted(resting as u32));
    });
}

/// The last reference may be the unuse's own: it shoots itself, or is the last user.
#[test]
fn unuse_drops_the_last_reference() {
    each_policy(|rig| {
        let (mm, _) = rig.process();
        rig.on(CPU0, || {
            rig.kthread_use_mm(mm);
            rig.machine.access(0).unwrap();
            rig.mmput(mm);
            assert_eq!(rig.count(mm), 1);
            rig.kthread_unuse_mm(mm);
        });
        assert_eq!(rig.total("shot_self"), rig.owes().shot(1));
        rig.drain(CPU0);
        assert!(rig.lookup(mm).is_none());
    });
}

#[test]
fn misuse_of_use_mm_is_caught() {
    each_policy(|rig| {
        let ((mm, user), (other, _)) = (rig.process(), rig.process());
        rig.switch(CPU0, user);
        assert_panics("kthread_use_mm by a task that owns", || rig.on(CPU0, || rig.kthread_use_mm(other)));
        let _ = mm;
    });
    each_policy(|rig| {
        let ((mm, _), (other, _)) = (rig.process(), rig.process());
        rig.on(CPU0, || rig.kthread_use_mm(mm));
        assert_panics("by a thread that uses", || rig.on(CPU0, || rig.kthread_unuse_mm(other)));
    });
    each_policy(|rig| {
        assert_panics("no mm to give up", || rig.on(CPU0, || rig.exit_mm()));
    });
}

/// T3: an eviction from what the thread borrows lands before it uses or execs another mm.
/// The thread drops only the borrow that it still has.
#[test]
fn a_kick_of_the_borrow_lands_before_it_is_replaced() {
    for exec in [false, true] {
        for policy in Policy::ALL {
            let rig = Rig::with(kcore::Config { policy, trim_period: 1, ..kcore::Config::default() });
            let ((lazy, user), (mm, _)) = (rig.process(), rig.process());
            let baseline = rig.count(MmId::INIT_MM);
            rig.make_lazy(CPU0, user);
            rig.mmget(mm);
            rig.machine.set_hook(move |kernel, point| {
                if point == Point::EnterMm {
                    kernel
                        .machine
                        .on(CPU1, || kernel.flush(lazy, kcore::mm::flush::FlushRange::Translations));
                }
            });
            rig.on(CPU0, || if exec { rig.exec_mmap(mm) } else { rig.kthread_use_mm(mm) });
            rig.machine.set_hook(|_, _| {});
            assert_eq!(rig.count(lazy), 1, "nobody borrows it any more");
            assert_eq!(rig.count(MmId::INIT_MM), baseline - rig.owes().counted(1));
        }
    }
}

/// An eviction that arrives when the task has no mm any more, and no borrow yet, waits
/// until the borrow has begun (T2). A borrow that was not counted must not be given back.
#[test]
fn a_kick_waits_until_the_mm_is_borrowed() {
    each_policy(|rig| {
        let (mm, _) = rig.process();
        let init = rig.count(MmId::INIT_MM);
        rig.machine.set_hook(move |kernel, point| {
            if point == Point::GiveUpHalf {
                Rig::kick_is_on_its_way(kernel, mm);
            }
        });
        rig.on(CPU0, || {
            rig.kthread_use_mm(mm);
            rig.kthread_unuse_mm(mm);
        });
        assert_eq!(rig.machine.loaded(CPU0), MmId::INIT_MM);
        assert_eq!((rig.count(mm), rig.count(MmId::INIT_MM)), (1, init));
        assert!(!rig.mm(mm).cpumask().test(CPU0));
    });
}

/// An IPI that evicts lands at every point of use and unuse (T2, T3): the state is never
/// half changed.
#[test]
fn a_kick_lands_at_every_point_of_use_mm() {
    const AT: [Point; 4] =
        [Point::UseMmGrabbed, Point::UseMmSwitched, Point::UnuseMmBorrowed, Point::ExitMmLocked];
    for policy in Policy::ALL {
        let rig = Rig::with(kcore::Config {
            policy,
            global_by_ipi: true,
            trim_period: 1,
            ..kcore::Config::default()
        });
        let (mm, user) = rig.process();
        let passed = Arc::new(AtomicU32::new(0));
        let seen = passed.clone();
        rig.machine.set_hook(move |kernel, point| {
            if let Some(place) = AT.iter().position(|&at| at == point) {
                seen.fetch_or(1 << place, Ordering::Relaxed);
                kernel.machine.map(mm, 1);
                // CPU 1 unmaps a page and trims; CPU 0 is in the middle of it.
                kernel.machine.on(CPU1, || kernel.machine.unmap(mm, 1));
            }
        });
        rig.on(CPU0, || {
            rig.kthread_use_mm(mm);
            assert!(rig.machine.access(0).is_some());
            rig.kthread_unuse_mm(mm);
            rig.mmget(mm);
        });
        rig.switch(CPU0, user);
        rig.on(CPU0, || rig.exit_mm());
        rig.machine.set_hook(|_, _| {});
        assert_eq!(passed.load(Ordering::Relaxed), (1 << AT.len()) - 1, "the points that were passed");
        rig.idle(CPU0);
        rig.on(CPU1, || rig.mmput(mm));
        rig.drain(CPU0);
        assert!(rig.lookup(mm).is_none());
    }
}

/// A kernel thread may use `init_mm` too; the policies keep nothing for it here.
#[test]
fn init_mm_may_be_used() {
    each_policy(|rig| {
        let count = rig.count(MmId::INIT_MM);
        rig.on(CPU0, || {
            rig.kthread_use_mm(MmId::INIT_MM);
            rig.kthread_unuse_mm(MmId::INIT_MM);
        });
        assert_eq!(rig.count(MmId::INIT_MM), count);
        assert!(rig.cpu(CPU0).policy_words.iter().all(|word| word.load(Ordering::Relaxed) == 0));
    });
}
