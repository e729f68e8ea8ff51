//! The choice of a flush's reach, evictions and trimming.

use kcore::Config;
use kcore::lazy_tlb::Policy;
use kcore::ledger::Ledger;
use kcore::machine::Cpu;
use kcore::mm::MmId;
use kcore::mm::flush::FlushRange;

use crate::{CPU0, CPU1, CPU2, Rig, each_policy};

/// (none, local, global) so far.
fn flushes(rig: &Rig) -> (u64, u64, u64) {
    (rig.total("flush_none"), rig.total("flush_local"), rig.total("flush_global"))
}

fn rig(policy: Policy, global_by_ipi: bool, trim_period: u32) -> Rig {
    Rig::with(Config { policy, global_by_ipi, trim_period, ..Config::default() })
}

#[test]
fn nobody_has_it() {
    each_policy(|rig| {
        let (mm, _) = rig.process();
        rig.on(CPU0, || rig.machine.unmap(mm, 0));
        assert_eq!(flushes(rig), (1, 0, 0));
        assert_eq!(rig.total("tlbie") + rig.total("tlbiel"), 0);
    });
}

#[test]
fn only_this_cpu_has_it() {
    each_policy(|rig| {
        let (mm, user) = rig.process();
        rig.switch(CPU0, user);
        rig.on(CPU0, || {
            rig.machine.access(0).unwrap();
            rig.machine.unmap(mm, 0);
            assert_eq!(rig.machine.access(0), None);
        });
        assert_eq!(flushes(rig), (0, 1, 0));
        assert_eq!((rig.total("tlbie"), rig.total("tlbiel")), (0, 1));
    });
}

#[test]
fn threads_elsewhere_need_a_broadcast() {
    for by_ipi in [false, true] {
        let rig = rig(Policy::Shootdown, by_ipi, 1073);
        let (mm, user) = rig.process();
        rig.switch(CPU1, rig.thread(mm));
        rig.switch(CPU0, user);
        for cpu in [CPU0, CPU1] {
            rig.on(cpu, || rig.machine.access(0)).unwrap();
        }
        rig.on(CPU0, || rig.machine.unmap(mm, 0));
        assert_eq!(flushes(&rig), (0, 0, 1));
        assert_eq!(rig.on(CPU1, || rig.machine.access(0)), None);
        assert_eq!(rig.total("tlbie"), u64::from(!by_ipi));
        assert_eq!(rig.total("ipi_sent_call"), u64::from(by_ipi));
        assert!(rig.mm(mm).cpumask().test(CPU1), "a flush does not trim");
    }
}

/// A range flush leaves the other pages, and a flush by PID leaves other PIDs.
#[test]
fn a_flush_is_as_narrow_as_asked() {
    let rig = Rig::new(Policy::Shootdown);
    let ((mm, user), (other_mm, other)) = (rig.process(), rig.process());
    rig.machine.map(mm, 1);
    rig.make_lazy(CPU0, other);
    rig.switch(CPU0, user);
    for page in [0, 1] {
        rig.on(CPU0, || rig.machine.access(page)).unwrap();
    }
    let cached = (rig.machine.cached(CPU0, mm), rig.machine.cached(CPU0, other_mm));
    assert_eq!(cached, (4, 3), "process-table entry and walk cache, then a page each");
    rig.on(CPU0, || rig.machine.unmap(mm, 0));
    assert_eq!(rig.machine.cached(CPU0, mm), 3);
    rig.on(CPU0, || rig.flush(mm, FlushRange::Translations));
    assert_eq!(rig.machine.cached(CPU0, mm), 2);
    rig.on(CPU0, || rig.flush(mm, FlushRange::Everything));
    assert_eq!((rig.machine.cached(CPU0, mm), rig.machine.cached(CPU0, other_mm)), (0, 3));
}

#[test]
fn a_single_threaded_process_sends_the_lazies_away() {
    each_policy(|rig| {
        let (mm, user) = rig.process();
        rig.make_lazy(CPU1, rig.thread(mm));
        rig.mmput(mm);
        let init = rig.count(MmId::INIT_MM);
        rig.switch(CPU0, user);
        let taken = init - rig.count(MmId::INIT_MM);
        // No policy spares a lazy CPU from this one.
        rig.on(CPU0, || rig.flush(mm, FlushRange::Everything));
        assert_eq!(flushes(rig), (0, 1, 0));
        assert_eq!(rig.total("exit_kick"), 0, "that counter is the exit's");
        assert!(!rig.mm(mm).cpumask().test(CPU1));
        assert_eq!(rig.machine.loaded(CPU1), MmId::INIT_MM);
        assert_eq!(rig.machine.cached(CPU1, mm), 0);
        assert_eq!(rig.count(mm), 1, "a kick gives the borrow back");
        let given = rig.count(MmId::INIT_MM) - (init - taken);
        assert_eq!(given, rig.owes().counted(1), "and CPU 1 borrows init_mm instead");
    });
}

/// T5: the second initiator finds the bit clear, and the CPU flushes nevertheless.
#[test]
fn a_kick_flushes_even_if_the_bit_is_clear() {
    use kcore::event::Cause;
    use kcore::ipi::Call;
    let rig = Rig::new(Policy::Shootdown);
    let (mm, user) = rig.process();
    rig.make_lazy(CPU1, user);
    let mut targets = kcore::cpu::CpuSet::EMPTY;
    targets.insert(CPU1);
    for flushes in 1..=2 {
        rig.on(CPU0, || {
            rig.machine.with_preempt_off(|t| rig.call_on_mask(t, &targets, Call::Evict(mm, Cause::Trim)));
        });
        assert!(!rig.mm(mm).cpumask().test(CPU1));
        assert_eq!(rig.total("tlbiel"), flushes);
    }
    assert_eq!(rig.machine.loaded(CPU1), MmId::INIT_MM);
}

/// The eviction of a CPU that runs the mm flushes there and leaves the CPU's bit (T4).
#[test]
fn a_kick_leaves_those_who_run_it() {
    each_policy(|rig| {
        let (mm, user) = rig.process();
        let worker = rig.machine.kernel_thread();
        rig.switch(CPU1, worker);
        // use_mm with a real reference but, as vhost did, without a user.
        rig.on(CPU1, || {
            rig.kthread_use_mm(mm);
            rig.machine.access(0).unwrap();
        });
        rig.switch(CPU0, user);
        rig.on(CPU0, || rig.machine.unmap(mm, 0));
        assert!(rig.mm(mm).cpumask().test(CPU1));
        assert_eq!(rig.machine.loaded(CPU1), mm);
        assert_eq!(rig.on(CPU1, || rig.machine.access(0)), None);
        // Where the use is a user, CPU 0 is not the only one.
        assert_eq!(flushes(rig), if rig.owes().uses { (0, 0, 1) } else { (0, 1, 0) });
    });
}

#[test]
fn the_trim_clock_kicks_once_a_period() {
    for policy in Policy::ALL {
        let rig = rig(policy, false, 3);
        let (mm, user) = rig.process();
        let second = rig.thread(mm);
        rig.switch(CPU0, user);
        for round in 1..=6 {
            rig.make_lazy(CPU1, second);
            rig.on(CPU0, || rig.flush(mm, FlushRange::Everything));
            assert_eq!(rig.total("ipi_sent_call"), round / 3, "after flush {round}");
        }
        assert_eq!(flushes(&rig), (0, 2, 4));
    }
}

/// T6: a flusher that does not run the mm trims itself, with interrupts off throughout.
#[test]
fn trimming_oneself_leaves_nothing_to_flush() {
    for policy in Policy::ALL {
        let rig = rig(policy, false, 1);
        let (mm, user) = rig.process();
        rig.make_lazy(CPU0, user);
        let count = rig.count(mm);
        rig.on(CPU0, || rig.machine.unmap(mm, 0));
        assert_eq!(flushes(&rig), (1, 0, 0));
        assert!(!rig.mm(mm).cpumask().test(CPU0));
        assert_eq!(rig.machine.loaded(CPU0), MmId::INIT_MM);
        assert_eq!(count - rig.count(mm), rig.owes().counted(1));
        // And the mm can come back.
        rig.machine.map(mm, 0);
        rig.make_lazy(CPU0, user);
        assert!(rig.mm(mm).cpumask().test(CPU0));
    }
}

/// T9: with a coprocessor attached every flush is broadcast.
#[test]
fn a_coprocessor_hears_only_broadcasts() {
    for by_ipi in [false, true] {
        for policy in Policy::ALL {
            let rig = rig(policy, by_ipi, 1073);
            let (mm, user) = rig.process();
            rig.mmgrab(mm);
            rig.copro_attach(mm);
            rig.machine.copro_access(mm, 0).unwrap();
            rig.on(CPU0, || rig.machine.unmap(mm, 0));
            assert_eq!(flushes(&rig), (0, 0, 1), "even if no CPU has it");
            rig.machine.map(mm, 0);
            rig.switch(CPU0, user);
            rig.machine.copro_access(mm, 0).unwrap();
            rig.on(CPU0, || {
                rig.machine.access(0).unwrap();
                rig.exit_mm();
            });
            assert_eq!(rig.total("tlbie"), 2, "the exit's flush too");
            rig.idle(CPU0);
            rig.drain(CPU0);
            assert!(rig.lookup(mm).is_some(), "its reference keeps the mm");
            rig.on(CPU0, || {
                rig.copro_detach(mm);
                rig.mmdrop(mm);
            });
            assert!(rig.lookup(mm).is_none());
        }
    }
}

#[test]
fn without_its_coprocessor_a_flush_is_local_again() {
    let rig = Rig::new(Policy::Shootdown);
    let (mm, user) = rig.process();
    rig.switch(CPU0, user);
    rig.copro_attach(mm);
    rig.on(CPU0, || rig.flush(mm, FlushRange::Everything));
    rig.machine.copro_access(mm, 0).unwrap();
    rig.on(CPU0, || rig.copro_detach(mm));
    assert_eq!(flushes(&rig), (0, 0, 2), "the last that the coprocessor hears");
    // The model would find the frame in its TLB.
    rig.on(CPU0, || rig.machine.unmap(mm, 0));
    assert_eq!(flushes(&rig), (0, 1, 2));
}

#[test]
fn an_exit_by_ipi_reaches_every_holder() {
    for policy in Policy::ALL {
        let rig = rig(policy, true, 1073);
        let (mm, user) = rig.process();
        for cpu in [CPU1, CPU2] {
            rig.make_lazy(cpu, rig.thread(mm));
            rig.mmput(mm);
        }
        rig.switch(CPU0, user);
        rig.on(CPU0, || rig.exit_mm());
        assert_eq!(rig.total("tlbie"), 0);
        let sent = 2 + rig.owes().shot_unkicked(2);
        assert_eq!(rig.total("ipi_sent_call"), sent, "one round does both where there is a kick");
        for cpu in [CPU0, CPU1, CPU2] {
            assert_eq!(rig.machine.cached(cpu, mm), 0);
        }
    }
}

/// Policies under which a flush leaves lazy CPUs out, each with either way to tell other CPUs.
fn each_that_spares(test: impl Fn(&Rig)) {
    for policy in Policy::ALL.into_iter().filter(|&policy| Ledger::of(policy).spares) {
        for by_ipi in [false, true] {
            test(&rig(policy, by_ipi, 1073));
        }
    }
}

/// A lazy CPU hears of no flush of pages, and drops all translations when it leaves the mm or
/// comes back.
#[test]
fn a_spared_cpu_makes_up_for_it() {
    each_that_spares(|rig| {
        let (mm, user) = rig.process();
        rig.machine.map(mm, 1);
        let second = rig.thread(mm);
        rig.switch(CPU0, user);
        let make_lazy = || {
            rig.make_lazy(CPU1, second);
            rig.on(CPU1, || rig.machine.access(1)).unwrap();
        };
        let leave = || rig.on(CPU1, || rig.machine.with_preempt_off(|_| rig.leave_before_stop()));
        let come_back = || _ = rig.switch(CPU1, second);
        for (paid, end) in [&come_back as &dyn Fn(), &leave].into_iter().enumerate() {
            make_lazy();
            rig.on(CPU0, || {
                rig.machine.unmap(mm, 0);
                rig.machine.unmap(mm, 1);
            });
            assert_eq!(rig.machine.cached(CPU1, mm), 4, "a lazy CPU was told");
            end();
            assert_eq!(rig.machine.cached(CPU1, mm), 2, "process-table entry and walk cache stay");
            assert_eq!(rig.total("flush_paid"), paid as u64 + 1);
            rig.idle(CPU1);
            for page in [0, 1] {
                rig.machine.map(mm, page);
            }
        }
        assert_eq!(rig.total("flush_spared"), 4);
        assert_eq!((rig.total("ipi_sent_call"), rig.total("tlbie")), (0, 0));
        // It owes nothing if nothing was flushed meanwhile.
        make_lazy();
        come_back();
        assert_eq!(rig.total("flush_paid"), 2);
        // The tables may go: no CPU is spared.
        rig.idle(CPU1);
        rig.on(CPU0, || rig.flush(mm, FlushRange::Everything));
        assert_eq!(rig.machine.cached(CPU1, mm), 0);
        assert_eq!(rig.total("flush_spared"), 4);
    });
}

/// A CPU that runs the mm is asked, and a broadcast reaches the lazy ones, too.
#[test]
fn a_broadcast_spares_all_or_none() {
    each_that_spares(|rig| {
        let (mm, user) = rig.process();
        let (second, third) = (rig.thread(mm), rig.thread(mm));
        rig.make_lazy(CPU1, second);
        rig.switch(CPU2, third);
        rig.on(CPU2, || rig.machine.access(0)).unwrap();
        rig.switch(CPU0, user);
        rig.on(CPU0, || rig.machine.unmap(mm, 0));
        assert_eq!(rig.on(CPU2, || rig.machine.access(0)), None);
        rig.switch(CPU1, second);
        assert_eq!(rig.on(CPU1, || rig.machine.access(0)), None);
        let by_ipi = u64::from(rig.config().global_by_ipi);
        assert_eq!((rig.total("tlbie"), rig.total("ipi_flush")), (1 - by_ipi, by_ipi));
        assert_eq!(rig.total("flush_paid"), by_ipi, "the broadcast has reached it");
    });
}
