//! membarrier(2): what it answers, and which CPUs it interrupts.

use kcore::machine::Point;
use kcore::membarrier::{Command, NotRegistered};

use crate::{CPU0, CPU1, CPU2, Rig, each_policy};

/// A private command and its registration.
const PRIVATE: [(Command, Command); 2] = [
    (Command::PrivateExpedited, Command::RegisterPrivateExpedited),
    (Command::PrivateExpeditedSyncCore, Command::RegisterPrivateExpeditedSyncCore),
];

/// What `command` answers on CPU 0, and how many IPIs it sent.
fn on_cpu0(rig: &Rig, command: Command) -> (Result<u32, NotRegistered>, u64) {
    let before = rig.total("ipi_sent_call");
    let answer = rig.on(CPU0, || rig.membarrier(command));
    (answer, rig.total("ipi_sent_call") - before)
}

#[test]
fn numbers_are_linux_s() {
    assert_eq!(Command::SUPPORTED, 0x27f);
    assert_eq!(Command::from_call(0, 0), Some(Command::Query));
    for command in Command::ALL {
        assert_eq!(Command::from_call(command as u32, 0), Some(command));
        assert_eq!(Command::from_call(command as u32, 1), None, "{command:?} takes no flag");
    }
    for unknown in [u32::MAX, 3, 1 << 7, 1 << 8, 1 << 10] {
        assert_eq!(Command::from_call(unknown, 0), None, "RSEQ and what nobody knows");
    }
}

#[test]
fn a_private_command_needs_its_own_registration() {
    let rig = Rig::new(kcore::lazy_tlb::Policy::Shootdown);
    for (which, (command, register)) in PRIVATE.into_iter().enumerate() {
        let (_, user) = rig.process();
        rig.switch(CPU0, user);
        let (_, other_register) = PRIVATE[1 - which];
        assert_eq!(on_cpu0(&rig, command).0, Err(NotRegistered));
        assert_eq!(on_cpu0(&rig, other_register).0, Ok(0));
        assert_eq!(on_cpu0(&rig, command).0, Err(NotRegistered), "{command:?} after {other_register:?}");
        assert_eq!(on_cpu0(&rig, register).0, Ok(0));
        assert_eq!(on_cpu0(&rig, command).0, Ok(0));
    }
}

/// A registration for SYNC_CORE announces the plain command, too, and the process is
/// shown with both. The plain command is still refused, since it is not ready.
#[test]
fn registrations_are_shown_as_linux_shows_them() {
    let rig = Rig::new(kcore::lazy_tlb::Policy::Shootdown);
    let cases = [
        (Command::RegisterGlobalExpedited, 0x04),
        (Command::RegisterPrivateExpedited, 0x10),
        (Command::RegisterPrivateExpeditedSyncCore, 0x50),
    ];
    for (register, shown) in cases {
        let ((mm, user), (child_mm, child)) = (rig.process(), rig.process());
        rig.switch(CPU0, user);
        assert_eq!(on_cpu0(&rig, Command::GetRegistrations).0, Ok(0));
        on_cpu0(&rig, register).0.unwrap();
        rig.membarrier_fork(mm, child_mm);
        for task in [user, child] {
            if task == child {
                rig.switch(CPU0, child);
            }
            assert_eq!(on_cpu0(&rig, Command::GetRegistrations).0, Ok(shown), "{register:?}");
            let plain = on_cpu0(&rig, Command::PrivateExpedited).0;
            assert_eq!(plain.is_ok(), register == Command::RegisterPrivateExpedited, "{register:?}");
        }
        rig.on(CPU0, || rig.exit_mm());
        rig.idle(CPU0);
    }
}

/// Only CPUs that run a thread of the caller's mm are interrupted.
#[test]
fn private_reaches_the_threads_that_run() {
    each_policy(|rig| {
        let ((mm, user), (_, other)) = (rig.process(), rig.process());
        rig.switch(CPU0, user);
        assert_eq!(on_cpu0(rig, Command::RegisterPrivateExpedited), (Ok(0), 0), "alone");
        assert_eq!(on_cpu0(rig, Command::PrivateExpedited), (Ok(0), 0), "alone");
        let second = rig.thread(mm);
        rig.switch(CPU1, second);
        rig.switch(CPU2, other);
        assert_eq!(on_cpu0(rig, Command::PrivateExpedited), (Ok(0), 1));
        rig.idle(CPU1);
        assert_eq!(on_cpu0(rig, Command::PrivateExpedited), (Ok(0), 0), "a lazy CPU is left alone");
        rig.switch(CPU1, second);
        assert_eq!(on_cpu0(rig, Command::PrivateExpedited), (Ok(0), 1));
        let _third = rig.thread(mm);
        rig.on(CPU1, || rig.exit_mm());
        assert_eq!(on_cpu0(rig, Command::PrivateExpedited), (Ok(0), 0), "nor is an exiting one");
    });
}

/// All CPUs must have seen the registration, also those that run no thread of the
/// process.
#[test]
fn a_registration_with_threads_calls_every_cpu() {
    each_policy(|rig| {
        let (mm, user) = rig.process();
        let _second = rig.thread(mm);
        rig.switch(CPU0, user);
        assert_eq!(on_cpu0(rig, Command::RegisterPrivateExpedited), (Ok(0), 2));
        assert_eq!(on_cpu0(rig, Command::RegisterPrivateExpedited), (Ok(0), 0), "once is enough");
    });
}

/// A registration counts when all CPUs have answered, not before: a thread that calls
/// meanwhile, when a CPU may still be on its way to the mm, is refused.
#[test]
fn a_registration_counts_when_all_have_seen_it() {
    each_policy(|rig| {
        let (mm, user) = rig.process();
        let second = rig.thread(mm);
        rig.switch(CPU0, user);
        rig.switch(CPU1, second);
        rig.machine.set_hook(move |kernel, point| {
            if point == Point::CallPosted && kernel.machine.current_task() == user {
                let answer = kernel.machine.on(CPU1, || kernel.membarrier(Command::PrivateExpedited));
                assert_eq!(answer, Err(NotRegistered));
            }
        });
        assert_eq!(on_cpu0(rig, Command::RegisterPrivateExpedited), (Ok(0), 2));
        rig.machine.set_hook(|_, _| {});
        assert_eq!(rig.on(CPU1, || rig.membarrier(Command::PrivateExpedited)), Ok(0));
    });
}

#[test]
fn global_reaches_everyone_and_expedited_the_registered() {
    each_policy(|rig| {
        let ((_, user), (mm, other)) = (rig.process(), rig.process());
        rig.switch(CPU0, user);
        rig.switch(CPU1, other);
        assert_eq!(on_cpu0(rig, Command::Global), (Ok(0), 2));
        assert_eq!(on_cpu0(rig, Command::GlobalExpedited), (Ok(0), 0));
        rig.on(CPU1, || rig.membarrier(Command::RegisterGlobalExpedited)).unwrap();
        assert_eq!(on_cpu0(rig, Command::GlobalExpedited), (Ok(0), 1));
        // One thread ends, and the CPU goes on to another thread of its process.
        let second = rig.thread(mm);
        rig.on(CPU1, || rig.exit_mm());
        assert_eq!(on_cpu0(rig, Command::GlobalExpedited), (Ok(0), 0));
        rig.switch(CPU1, second);
        assert_eq!(on_cpu0(rig, Command::GlobalExpedited), (Ok(0), 1));
    });
}

/// A registration made while a CPU is lazy on the mm holds when it comes back.
#[test]
fn a_registration_reaches_the_lazy() {
    each_policy(|rig| {
        let ((mm, first), (_, caller)) = (rig.process(), rig.process());
        let second = rig.thread(mm);
        rig.make_lazy(CPU1, second);
        rig.switch(CPU2, first);
        rig.on(CPU2, || rig.membarrier(Command::RegisterGlobalExpedited)).unwrap();
        rig.switch(CPU1, second);
        rig.switch(CPU0, caller);
        assert_eq!(on_cpu0(rig, Command::GlobalExpedited), (Ok(0), 2));
    });
}

#[test]
fn exec_forgets_and_fork_remembers() {
    each_policy(|rig| {
        let (mm, user) = rig.process();
        rig.switch(CPU0, user);
        on_cpu0(rig, Command::RegisterPrivateExpedited).0.unwrap();
        let (child_mm, child) = rig.process();
        rig.membarrier_fork(mm, child_mm);
        rig.switch(CPU0, child);
        assert_eq!(on_cpu0(rig, Command::PrivateExpedited).0, Ok(0));
        rig.switch(CPU0, user);
        // Another mm gets the slot of one that was registered.
        rig.on(CPU0, || {
            let new = rig.machine.create_mm();
            rig.exec_mmap(new);
            assert_eq!(rig.membarrier(Command::GetRegistrations), Ok(0));
            let again = rig.machine.create_mm();
            assert_eq!(again.slot(), mm.slot());
            rig.exec_mmap(again);
            assert_eq!(rig.membarrier(Command::PrivateExpedited), Err(NotRegistered));
        });
    });
}
