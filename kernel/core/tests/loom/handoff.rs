//! The scheduler's hand-offs: sleep against wake-up, the stack that is left, the request
//! to schedule.

use std::sync::Arc;

use kcore::handoff::{InUse, Request, RunState, Told, Waiters, Woken};
use kcore::sync::{AtomicU32, Ordering, fence};
use loom::sync::Mutex;
use loom::thread::{self, yield_now};

use crate::{Contents, explore};

/// A task that runs, and what it may wait for.
struct Task {
    state: RunState,
    on_cpu: InUse,
    stack: Arc<Contents>,
    condition: AtomicU32,
    waiters: Waiters,
}

impl Task {
    fn running() -> Arc<Self> {
        let task = Self {
            state: RunState::asleep(),
            on_cpu: InUse::free(),
            stack: Contents::new(),
            condition: AtomicU32::new(0),
            waiters: Waiters::none(),
        };
        task.state.set_running();
        Arc::new(task)
    }

    /// Sleeps unless the condition holds, like `WaitQueue::wait`. Returns whether it
    /// sleeps.
    fn wait(&self) -> bool {
        self.state.prepare();
        if self.condition.load(Ordering::Relaxed) != 0 {
            self.state.stay_awake();
            return false;
        }
        self.state.fall_asleep()
    }
}

/// Does `other` on a second CPU while this one does `this`. Returns what both found.
fn beside<T, A>(
    task: &Arc<T>,
    this: impl FnOnce(&T) -> A,
    other: impl FnOnce(&T) -> A + Send + 'static,
) -> (A, A)
where
    T: Send + Sync + 'static,
    A: Send + 'static,
{
    let shared = task.clone();
    let thread = thread::spawn(move || other(&shared));
    let found = this(task);
    (found, thread.join().unwrap())
}

/// A waiter queues itself, a waker looks whether a waiter is queued.
#[test]
fn no_wake_up_is_lost() {
    explore("no wake-up is lost", None, || {
        let (sleeps, woken) = beside(
            &Task::running(),
            |task| {
                task.waiters.add();
                task.wait()
            },
            |task| {
                task.condition.store(1, Ordering::Relaxed);
                task.waiters.are_there() && task.state.wake() == Woken::MustQueue
            },
        );
        assert_eq!(sleeps, woken, "who sleeps is woken, and nobody else is queued");
    });
}

/// A signal: the bits, then the wake-up, with no queue in between.
#[test]
fn no_notice_is_lost() {
    explore("no notice is lost", None, || {
        let (sleeps, woken) = beside(&Task::running(), Task::wait, |task| {
            task.condition.fetch_or(1, Ordering::Relaxed);
            // As in `Task::notify`. Partner: the fence in `prepare`.
            fence(Ordering::SeqCst);
            task.state.wake() == Woken::MustQueue
        });
        assert_eq!(sleeps, woken, "who sleeps is woken, and nobody else is queued");
    });
}

/// A task falls asleep on its stack, which its CPU then leaves. The CPU that has woken it
/// waits for that, and then has the stack to itself.
#[test]
fn a_stack_has_one_cpu() {
    explore("a stack has one CPU", None, || {
        beside(
            &Task::running(),
            |task| {
                task.on_cpu.begin();
                task.stack.reuse();
                if task.wait() {
                    task.stack.reuse();
                    task.on_cpu.end();
                }
            },
            |task| {
                if task.state.wake() == Woken::MustQueue {
                    while task.on_cpu.is_set() {
                        yield_now();
                    }
                    task.stack.reuse();
                }
            },
        );
    });
}

/// A task whose sleep was prevented sees what its waker has done.
#[test]
fn who_stays_awake_sees_why() {
    explore("who stays awake sees why", None, || {
        beside(
            &Task::running(),
            |task| {
                task.state.prepare();
                if !task.state.fall_asleep() {
                    task.stack.access();
                }
            },
            |task| {
                task.stack.reuse();
                task.state.wake();
            },
        );
    });
}

/// Two CPUs wake a sleeper: one of them queues it.
#[test]
fn one_waker_queues() {
    explore("one waker queues", None, || {
        let task = Task::running();
        assert!(task.wait(), "nobody has woken it");
        let wake = |task: &Task| task.state.wake();
        let (a, b) = beside(&task, wake, wake);
        assert_eq!([a, b].iter().filter(|&&woken| woken == Woken::MustQueue).count(), 1);
        assert_eq!(task.state.name(), "running");
    });
}

/// A thread that waits for a futex: the list of its bucket holds it or not.
struct Waiter {
    state: RunState,
    told: Told,
    is_listed: Mutex<bool>,
    /// What lies on the thread's stack, with its task.
    frame: Arc<Contents>,
}

impl Waiter {
    /// It has queued itself.
    fn listed() -> Arc<Self> {
        let state = RunState::asleep();
        state.prepare();
        Arc::new(Self { state, told: Told::not_yet(), is_listed: Mutex::new(true), frame: Contents::new() })
    }

    /// Sleeps; awake, it returns if it was told, or prepares for the next sleep.
    fn wait(&self) -> Ended {
        for _ in 0..2 {
            if self.state.fall_asleep() {
                return Ended::Sleeps;
            }
            if self.told.is_told() {
                self.frame.reuse();
                return Ended::Returned;
            }
            let is_listed = self.is_listed.lock().unwrap();
            if self.told.is_told() {
                self.frame.reuse();
                return Ended::Returned;
            }
            assert!(*is_listed, "a waiter that was not told is in the list");
            self.state.prepare();
        }
        panic!("woken twice, and not told");
    }

    /// Takes it out, and wakes it; whether it runs again only by our doing.
    fn wake(&self) -> Ended {
        let mut is_listed = self.is_listed.lock().unwrap();
        *is_listed = false;
        let roused = self.state.wake() == Woken::MustQueue;
        self.frame.access();
        self.told.tell();
        if roused {
            drop(is_listed);
            // Nobody else runs it, so its stack lies still.
            self.frame.access();
            return Ended::Sleeps;
        }
        Ended::Returned
    }
}

#[derive(PartialEq, Eq, Debug)]
enum Ended {
    Sleeps,
    Returned,
}

/// A waker takes a thread out of its bucket as it falls asleep: it returns, or the waker
/// runs it again. It ends its frame when nobody looks there any more.
#[test]
fn a_frame_outlives_its_waker() {
    explore("a frame outlives its waker", None, || {
        let (waits, wakes) = beside(&Waiter::listed(), Waiter::wait, Waiter::wake);
        assert_eq!(waits, wakes, "who sleeps is run again, and nobody else");
    });
}

/// The same beside a signal, which wakes the thread for something else: before it sleeps again it
/// sees that it was told, or the waker finds it about to sleep.
#[test]
fn no_second_sleep_is_lost() {
    explore("no second sleep is lost", None, || {
        let waiter = Waiter::listed();
        let signalled = waiter.clone();
        let signal = thread::spawn(move || signalled.state.wake() == Woken::MustQueue);
        let (waits, wakes) = beside(&waiter, Waiter::wait, Waiter::wake);
        let by_signal = signal.join().unwrap();
        let runs_again = by_signal || wakes == Ended::Sleeps;
        assert_eq!(waits == Ended::Sleeps, runs_again, "who sleeps is run again, and nobody else");
    });
}

/// A task that waits in a wait queue, which holds its node or not; its word is used again by its
/// next wait.
struct Queued {
    state: RunState,
    told: Told,
    is_listed: Mutex<bool>,
}

impl Queued {
    /// It queues itself, if it is not queued.
    fn enqueue(&self) {
        let mut is_listed = self.is_listed.lock().unwrap();
        if !*is_listed {
            *is_listed = true;
            self.told.forget();
        }
        self.state.prepare();
    }

    /// Takes it out, and wakes it; whether it was queued.
    fn wake(&self) -> bool {
        let mut is_listed = self.is_listed.lock().unwrap();
        let was_listed = core::mem::take(&mut *is_listed);
        if was_listed {
            self.state.wake();
            self.told.tell();
        }
        was_listed
    }
}

/// A wake-up ends one wait of a task, and not the next, which begins as soon as the task knows
/// that the first is over: by the word, or by the queue if something else woke it.
#[test]
fn no_word_ends_two_waits() {
    explore("no word ends two waits", None, || {
        let task = Queued { state: RunState::asleep(), told: Told::not_yet(), is_listed: Mutex::new(false) };
        task.enqueue();
        let task = Arc::new(task);
        let signalled = task.clone();
        let signal = thread::spawn(move || _ = signalled.state.wake());
        let (waits_again, _) = beside(
            &task,
            |task| {
                let is_awake = !task.state.fall_asleep();
                let is_over = is_awake && (task.told.is_told() || !*task.is_listed.lock().unwrap());
                if is_over {
                    task.enqueue();
                }
                is_over
            },
            Queued::wake,
        );
        signal.join().unwrap();
        assert!(!(waits_again && task.told.is_told()), "the second wait has the word of the first");
    });
}

/// A value that a task waits for: one lock guards it and whether the task is queued.
struct Awaited {
    state: RunState,
    value: Mutex<(u32, bool)>,
}

impl Awaited {
    /// Takes the value, or sleeps; looks again when it is awake. Returns whether it sleeps.
    fn wait(&self) -> bool {
        for _ in 0..3 {
            let mut value = self.value.lock().unwrap();
            if value.0 != 0 {
                *value = (value.0 - 1, false);
                return false;
            }
            value.1 = true;
            self.state.prepare();
            drop(value);
            if self.state.fall_asleep() {
                return true;
            }
        }
        panic!("woken more often than anything happened");
    }

    /// Adds to the value, and wakes the task if it is queued; whether it runs again only by our
    /// doing.
    fn add(&self) -> bool {
        let mut value = self.value.lock().unwrap();
        value.0 += 1;
        core::mem::take(&mut value.1) && self.state.wake() == Woken::MustQueue
    }
}

/// A task does not sleep on a value that is there, whatever else wakes it meanwhile, and one waker
/// runs it again.
#[test]
fn no_value_is_slept_over() {
    explore("no value is slept over", None, || {
        let task = Arc::new(Awaited { state: RunState::asleep(), value: Mutex::new((0, false)) });
        task.state.set_running();
        let signalled = task.clone();
        let signal = thread::spawn(move || signalled.state.wake() == Woken::MustQueue);
        let (sleeps, by_change) = beside(&task, Awaited::wait, Awaited::add);
        let by_signal = signal.join().unwrap();
        assert!(!(by_change && by_signal), "two wakers run it again");
        assert_eq!(sleeps, by_change || by_signal, "who sleeps is run again, and nobody else");
    });
}

/// Two CPUs ask a third to schedule, each for a reason of its own. If the third has taken
/// a request and not seen a reason, another request stands.
#[test]
fn no_request_is_lost() {
    struct Cpu {
        request: Request,
        reasons: [AtomicU32; 2],
    }

    fn ask(cpu: &Cpu, reason: usize) {
        cpu.reasons[reason].store(1, Ordering::Relaxed);
        cpu.request.make();
    }

    explore("no request is lost", None, || {
        let cpu = Arc::new(Cpu { request: Request::none(), reasons: [AtomicU32::new(0), AtomicU32::new(0)] });
        let asked = cpu.clone();
        let second = thread::spawn(move || ask(&asked, 1));
        let (seen, _) = beside(
            &cpu,
            |cpu| {
                cpu.request.take();
                [0, 1].map(|reason| cpu.reasons[reason].load(Ordering::Relaxed) != 0)
            },
            |cpu| {
                ask(cpu, 0);
                [true; 2]
            },
        );
        second.join().unwrap();
        assert!(seen == [true; 2] || cpu.request.is_made(), "a request is gone, its reason unseen: {seen:?}");
    });
}
