//! The four arms of the switch, with each policy's ledger.

use kcore::event::Stamp;
use kcore::machine::Cpu;
use kcore::mm::MmId;
use kcore::switch::Arm;

use crate::{CPU0, CPU1, Rig, each_policy};

/// What is loaded on CPU 0 after user→kernel.
fn borrowed(rig: &Rig, mm: MmId) -> MmId {
    if rig.owes().borrows { mm } else { MmId::INIT_MM }
}

/// What a task names on whose CPU `mm` is loaded.
fn named(rig: &Rig, mm: MmId) -> MmId {
    if rig.owes().names { mm } else { MmId::NONE }
}

#[test]
fn boot_borrows_init_mm() {
    each_policy(|rig| {
        // One for its users, and one for each CPU if borrows are counted.
        assert_eq!(rig.count(MmId::INIT_MM), 1 + rig.owes().counted(3));
        for cpu in [CPU0, CPU1] {
            assert_eq!(rig.machine.loaded(cpu), MmId::INIT_MM);
            assert!(rig.mm(MmId::INIT_MM).cpumask().test(cpu));
        }
        assert_eq!(rig.online().len(), 3);
    });
}

#[test]
fn user_to_kernel_borrows() {
    each_policy(|rig| {
        let (mm, user) = rig.process();
        rig.switch(CPU0, user);
        let (count, init) = (rig.count(mm), rig.count(MmId::INIT_MM));
        let worker = rig.machine.kernel_thread();
        assert_eq!(rig.switch(CPU0, worker), Arm::UserToKernel);
        assert_eq!(rig.count(mm) - count, rig.owes().counted(1));
        assert_eq!(rig.count(MmId::INIT_MM), init);
        assert_eq!(rig.machine.task(worker).active_mm(), named(rig, borrowed(rig, mm)));
        assert_eq!(rig.machine.loaded(CPU0), borrowed(rig, mm));
        assert_eq!(rig.machine.task(user).mm(), mm);
        assert_eq!(rig.total("lazy_enter"), rig.owes().borrowed(1));
        assert_eq!(rig.total("switch_uk"), 1);
    });
}

#[test]
fn kernel_to_kernel_inherits() {
    each_policy(|rig| {
        let (mm, user) = rig.process();
        let (a, b) = (rig.machine.kernel_thread(), rig.machine.kernel_thread());
        rig.switch(CPU0, user);
        rig.switch(CPU0, a);
        let (count, writes, rmw) = (rig.count(mm), rig.total("pidr_writes"), rig.total("mm_count_rmw"));
        assert_eq!(rig.switch(CPU0, b), Arm::KernelToKernel);
        assert_eq!(rig.count(mm), count);
        assert_eq!(rig.total("pidr_writes"), writes);
        assert_eq!(rig.total("mm_count_rmw"), rmw);
        // I2, and T19.
        assert_eq!(rig.machine.task(a).active_mm(), MmId::NONE);
        assert_eq!(rig.machine.task(b).active_mm(), named(rig, borrowed(rig, mm)));
    });
}

#[test]
fn kernel_to_user_ends_the_borrow() {
    each_policy(|rig| {
        let ((mm, user), (other_mm, other)) = (rig.process(), rig.process());
        rig.switch(CPU0, user);
        rig.idle(CPU0);
        let count = rig.count(mm);
        assert_eq!(rig.switch(CPU0, other), Arm::KernelToUser);
        assert_eq!(count - rig.count(mm), rig.owes().counted(1));
        assert_eq!(rig.machine.task(rig.machine.idle(CPU0)).active_mm(), MmId::NONE);
        assert_eq!(rig.machine.loaded(CPU0), other_mm);
        assert_eq!(rig.cpu(CPU0).prev_mm.peek(), MmId::NONE);
        assert_eq!(rig.total("lazy_same_mm"), 0);
        // Only a policy that counts touches a count on the way.
        assert_eq!(rig.total("mm_count_rmw"), rig.owes().counted(3));
    });
}

/// The second half of a switch as a new task does it.
#[test]
fn the_second_half_gives_the_borrow_back() {
    each_policy(|rig| {
        let ((mm, user), (other_mm, other)) = (rig.process(), rig.process());
        rig.switch(CPU0, user);
        rig.idle(CPU0);
        let count = rig.count(mm);
        let (idle, other) = (rig.machine.task(rig.machine.idle(CPU0)), rig.machine.task(other));
        rig.on(CPU0, || {
            rig.machine.with_preempt_off(|_| {
                let arm = rig.machine.with_irqs_off(|t| rig.prepare_switch(t, idle, other));
                let borrow = rig.machine.with_irqs_off(|t| rig.finish_switch(t, arm.ends_borrow()));
                rig.settle_switch(borrow);
            });
        });
        assert_eq!(rig.machine.loaded(CPU0), other_mm);
        assert_eq!(count - rig.count(mm), rig.owes().counted(1));
    });
}

#[test]
fn kernel_to_the_same_user_writes_no_pidr() {
    each_policy(|rig| {
        let (mm, user) = rig.process();
        rig.switch(CPU0, user);
        let count = rig.count(mm);
        let writes = rig.total("pidr_writes");
        rig.idle(CPU0);
        rig.switch(CPU0, user);
        assert_eq!(rig.total("pidr_writes") - writes, 2 - rig.owes().borrowed(2));
        assert_eq!(rig.total("lazy_same_mm"), rig.owes().borrowed(1));
        assert_eq!(rig.count(mm), count);
        assert_eq!(rig.machine.loaded(CPU0), mm);
    });
}

#[test]
fn user_to_user_switches() {
    each_policy(|rig| {
        let ((mm, user), (other_mm, other)) = (rig.process(), rig.process());
        let second = rig.thread(mm);
        rig.switch(CPU0, user);
        let writes = rig.total("pidr_writes");
        assert_eq!(rig.switch(CPU0, second), Arm::UserToUser);
        assert_eq!(rig.total("pidr_writes"), writes, "threads share the PID register");
        assert_eq!(rig.switch(CPU0, other), Arm::UserToUser);
        assert_eq!(rig.machine.loaded(CPU0), other_mm);
        assert_eq!(rig.machine.task(second).active_mm(), named(rig, mm));
        assert_eq!((rig.count(mm), rig.count(other_mm)), (1, 1));
    });
}

#[test]
fn a_borrow_is_not_taken_to_another_cpu() {
    each_policy(|rig| {
        let (mm, user) = rig.process();
        let worker = rig.machine.kernel_thread();
        rig.switch(CPU0, user);
        rig.switch(CPU0, worker);
        rig.idle(CPU0);
        rig.switch(CPU1, worker);
        assert_eq!(rig.machine.task(worker).active_mm(), named(rig, MmId::INIT_MM));
        assert_eq!(rig.machine.loaded(CPU0), borrowed(rig, mm));
    });
}

#[test]
fn moments_are_in_order() {
    assert_eq!(Stamp::FIRST, Stamp::default());
    assert!(Stamp::FIRST < Stamp::new(1) && Stamp::new(1) < Stamp::new(2) && Stamp::new(2) < Stamp::NEVER);
}
