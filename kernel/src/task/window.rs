//! The windows of the scheduler: named places between two steps of a hand-off, where another CPU
//! may act.
//!
//! In test builds a test holds a task there until another CPU has acted (`selftest::windows`); in a
//! release image they are empty. docs/testing.md lists the hand-offs, their windows and the tests.

use super::Task;

/// The place of a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum Window {
    /// It has looked at its condition, and is about to be asleep.
    FallsAsleep,
    /// It gives up its CPU: whether it may stay in the queue is not yet decided.
    Chooses,
    /// It is asleep, queued, evicted or dead, and its CPU is still on its stack.
    LeavesStack,
    /// A CPU that wants to queue it waits for that CPU.
    WaitsForStack,
    /// It was evicted, and is in no queue yet.
    HandedOn,
    /// Its CPU is chosen, but it is not in the queue.
    Placed,
    /// It is in the queue, and its CPU does not know.
    Pushed,
    /// Its CPU knows; it may run, move and exit before its waker goes on.
    Told,
    /// A thief has chosen it, and has not taken it out of its queue.
    Stolen,
    /// Its affinity is new, and it was not looked for yet.
    AffinityStored,
    /// It has something pending and did not sleep; the CPU to interrupt is still to be found.
    Kicked,
    /// It runs where a request to look has arrived.
    Looks,
    /// It runs where the timer has interrupted: the slice still counts as timed.
    SliceEnds,
    /// Its alarm is due, and it is not woken yet.
    Rings,
    /// It no longer needs its alarm, which may be ringing or moving.
    StopsAlarm,
    /// Its alarm is between two CPUs.
    AlarmMoves,
    /// It is awake again, and does not know what woke it.
    Awake,
    /// It no longer waits, and is still in the wait queue.
    LeavesQueue,
    /// It looks for the bucket of futexes that it waits in: it may be moved, or told, before
    /// it has the lock.
    FindsBucket,
    /// A waker has taken it out of the wait queue or the bucket, and not woken it.
    Picked,
    /// It has unlocked a mutex, and not woken the next.
    Unlocked,
    /// It takes a CPU offline, whose worker is parked, and tasks may still be placed there.
    ClosesCpu,
    /// It is dead, and its CPU has not left it.
    Exits,
    /// The idle task is chosen, and the CPU does not count as idle yet.
    GoesIdle,
    /// The idle task found nothing to do, and is about to cede.
    Cedes,
    /// It has found a description in a table, and has no reference of its own yet.
    LooksUp,
    /// It has taken a description out of a table, and waits for a CPU that looks it up.
    WaitsForLookup,
}

impl Window {
    /// `task` is here.
    #[inline(always)]
    pub(crate) fn pass(self, task: &Task) {
        #[cfg(feature = "selftest")]
        crate::upcalls::tests::reached(self.of(task));
        let _ = (self, task);
    }

    /// Passes the place of `task` when the result is called: the task may be gone by then.
    #[inline(always)]
    pub(crate) fn later(self, task: &Task) -> impl FnOnce() + use<> {
        #[cfg(feature = "selftest")]
        let place = self.of(task);
        let _ = (self, task);
        move || {
            #[cfg(feature = "selftest")]
            crate::upcalls::tests::reached(place);
        }
    }

    /// The running task is here.
    #[inline(always)]
    pub(crate) fn pass_here(self) {
        #[cfg(feature = "selftest")]
        self.pass(&super::current());
    }
}
