//! Time: alarms for tasks that wait no longer than a deadline, and the slice of the running task.
//! No periodic tick: a CPU that is idle, or whose task is alone, is not interrupted. All deadlines
//! are absolute, in ticks of the time base.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use arch::{irqflags, timer};
use kcore::cpu::CpuId;
use kcore::mm::MmId;

use super::cpu::{self, Cpu};
use super::descriptor::{TaskPtr, current};
use super::resched::resched;
use super::watchdog;
use super::window::Window;
use crate::sync::IrqLock;
use crate::sync::list::{List, Node};

/// How long a task runs while others wait for its CPU, in microseconds.
pub(crate) const SLICE_US: u64 = 10_000;
/// No deadline.
const NEVER: u64 = u64::MAX;

/// Wakes a task at a time; on the stack of that task.
pub(crate) struct Alarm {
    deadline_tb: u64,
    task: TaskPtr,
    /// The CPU among whose alarms it is, or was. Changes when that CPU goes offline,
    /// under the lock of its alarms.
    cpu: AtomicU32,
}

/// One CPU's time. Except for the alarms, only that CPU writes it, with interrupts off; others read
/// `timed_since_tb` and `ticks`.
pub(super) struct Clock {
    /// When the running task got the CPU.
    slice_start_tb: AtomicU64,
    /// Since when the decrementer is set for the end of the slice, or for an earlier time; 0 if it
    /// is not.
    timed_since_tb: AtomicU64,
    /// The deadline in the decrementer.
    armed_tb: AtomicU64,
    /// What the decrementer was set for when it interrupted last, for tests.
    #[cfg(feature = "selftest")]
    pub(super) rang_tb: AtomicU64,
    /// Timer interrupts that the CPU took.
    ticks: AtomicU64,
    /// The mm that the idle task found borrowed last, and since when.
    borrowed: AtomicU64,
    borrowed_since_tb: AtomicU64,
    /// By deadline. Nests outside the run queues.
    alarms: IrqLock<List<Alarm>>,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            slice_start_tb: AtomicU64::new(0),
            timed_since_tb: AtomicU64::new(0),
            armed_tb: AtomicU64::new(NEVER),
            #[cfg(feature = "selftest")]
            rang_tb: AtomicU64::new(0),
            ticks: AtomicU64::new(0),
            borrowed: AtomicU64::new(MmId::NONE.to_bits()),
            borrowed_since_tb: AtomicU64::new(0),
            alarms: IrqLock::new("a CPU's alarms", List::new()),
        }
    }

    /// This CPU has just come up: its decrementer is far away.
    pub(super) fn restart(&self) {
        self.timed_since_tb.store(0, Ordering::Relaxed);
        self.armed_tb.store(NEVER, Ordering::Relaxed);
    }

    /// Makes the decrementer interrupt at `deadline_tb` or before.
    #[inline]
    pub(super) fn arm(&self, deadline_tb: u64) {
        if deadline_tb < self.armed_tb.load(Ordering::Relaxed) {
            self.armed_tb.store(deadline_tb, Ordering::Relaxed);
            timer::set_deadline_tb(deadline_tb);
        }
    }

    /// A new task runs, from `now_tb` on.
    #[inline]
    pub(super) fn start_slice(&self, cpu: &Cpu, now_tb: u64) {
        self.slice_start_tb.store(now_tb, Ordering::Relaxed);
        self.time_slice_if_contended(cpu);
    }

    /// Times the slice if a task waits and it is not timed yet, unless the running task is asked to
    /// go. Its slice may be over then, and an interrupt for a time that has passed would come again
    /// before the task, with preemption off, makes a step.
    #[inline]
    pub(super) fn time_slice_if_contended(&self, cpu: &Cpu) {
        if cpu.queue.len() != 0 && !self.slice_is_timed() && !cpu.need_resched.is_made() {
            self.time_slice();
        }
    }

    /// Whether the CPU will look at its queue by itself. Any CPU may ask.
    #[inline]
    pub(super) fn slice_is_timed(&self) -> bool {
        self.timed_since_tb() != 0
    }

    /// Since when the CPU is to look at its queue by itself, 0 if it will not. Any CPU may ask.
    #[inline]
    pub(super) fn timed_since_tb(&self) -> u64 {
        self.timed_since_tb.load(Ordering::Relaxed)
    }

    /// Has the decrementer interrupt when the slice ends. An interrupt that comes early, for an
    /// earlier slice, sets it anew: cheaper than setting it at each switch.
    pub(super) fn time_slice(&self) {
        self.timed_since_tb.store(timer::now_tb(), Ordering::Relaxed);
        self.arm(self.slice_end_tb());
    }

    /// Since when the idle task has found `mm` borrowed here each time; from `now_tb` on if it is
    /// another one than before.
    pub(super) fn borrowed_since_tb(&self, mm: MmId, now_tb: u64) -> u64 {
        if self.borrowed.load(Ordering::Relaxed) != mm.to_bits() {
            self.borrowed.store(mm.to_bits(), Ordering::Relaxed);
            self.borrowed_since_tb.store(now_tb, Ordering::Relaxed);
        }
        self.borrowed_since_tb.load(Ordering::Relaxed)
    }

    fn slice_end_tb(&self) -> u64 {
        self.slice_start_tb.load(Ordering::Relaxed) + SLICE_US * timer::ticks_per_us()
    }

    fn tick(&self, cpu: &Cpu) {
        // Only this CPU writes it.
        self.ticks.store(self.ticks.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        #[cfg(feature = "selftest")]
        self.rang_tb.store(self.armed_tb.load(Ordering::Relaxed), Ordering::Relaxed);
        // The decrementer is negative until it is set again: far away first, then as near as each
        // part needs.
        self.armed_tb.store(NEVER, Ordering::Relaxed);
        timer::set_deadline_tb(NEVER);
        self.ring();
        watchdog::tick(cpu);
        Window::SliceEnds.pass_here();
        self.timed_since_tb.store(0, Ordering::Relaxed);
        // F30 fence: orders the end of the timing before the look at the queue. Partner: `queue`.
        // Either we see the queued task, or its waker sees that the slice is not timed.
        fence(Ordering::SeqCst);
        if cpu.queue.len() == 0 {
            return;
        }
        if timer::now_tb() >= self.slice_end_tb() {
            resched(cpu);
            watchdog::expect_to_go(cpu);
        } else {
            self.time_slice();
        }
    }

    /// Rings the alarms whose time has come, and sets the decrementer for the next one.
    fn ring(&self) {
        let mut alarms = self.alarms.lock();
        while let Some(alarm) = alarms.front() {
            let alarm = alarm.value();
            if alarm.deadline_tb > timer::now_tb() {
                self.arm(alarm.deadline_tb);
                break;
            }
            // SAFETY: an alarm leaves only through the lock, which we hold, so its
            // task cannot end while we wake it.
            let task = unsafe { alarm.task.get() };
            Window::Rings.pass(task);
            task.wake();
            alarms.pop_front();
        }
    }
}

impl Alarm {
    /// Runs `f`; if it still runs at `deadline_tb`, wakes the current task then.
    /// `u64::MAX` is never. Interrupts and preemption on.
    pub(crate) fn set<R>(deadline_tb: u64, f: impl FnOnce() -> R) -> R {
        if deadline_tb == NEVER {
            return f();
        }
        let alarm = Node::new(Alarm { deadline_tb, task: current().as_ptr(), cpu: AtomicU32::new(0) });
        Self::start(&alarm);
        let result = f();
        Self::stop(&alarm);
        result
    }

    /// Takes `alarm` out of the alarms that it is in, if it has not rung. The task may run on
    /// another CPU by now.
    fn stop(alarm: &Node<Alarm>) {
        Window::StopsAlarm.pass_here();
        loop {
            let cpu = alarm.value().cpu.load(Ordering::Relaxed);
            let mut alarms = cpu::get(CpuId::new(cpu as usize)).clock.alarms.lock();
            // If not, it was moved before we had the lock.
            if alarm.value().cpu.load(Ordering::Relaxed) == cpu {
                if alarms.contains(alarm) {
                    alarms.remove(alarm);
                }
                return;
            }
        }
    }

    /// Sets `alarm` on this CPU. The caller stops it before the node goes.
    fn start(alarm: &Node<Alarm>) {
        // Interrupts off: the list and the decrementer must be of one CPU.
        let _off = irqflags::disable();
        let Cpu { id, clock, .. } = cpu::this();
        alarm.value().cpu.store(id.index() as u32, Ordering::Relaxed);
        let deadline_tb = alarm.value().deadline_tb;
        // SAFETY: it is in no list, and leaves this one before it dies (`set`).
        unsafe { clock.alarms.lock().insert_sorted(alarm, |other| other.deadline_tb <= deadline_tb) };
        clock.arm(deadline_tb);
    }
}

/// This CPU rings the alarms of `gone`, which has stopped. Any context.
pub(super) fn adopt_alarms(gone: &Cpu) {
    // Interrupts off: as in `start`.
    let _off = irqflags::disable();
    let Cpu { id, clock, .. } = cpu::this();
    // Two locks of a kind: always in this order, and one pair at a time, since one CPU goes offline
    // at a time. Both are held, so that a task that stops its alarm finds it in one list.
    let mut theirs = gone.clock.alarms.lock();
    let mut ours = clock.alarms.lock();
    let moved = |alarm: &Alarm| {
        // SAFETY: before its task ends it stops the alarm, for which it needs a lock that we hold.
        Window::AlarmMoves.pass(unsafe { alarm.task.get() });
        alarm.cpu.store(id.index() as u32, Ordering::Relaxed);
    };
    theirs.merge_into(&mut ours, |a, b| a.deadline_tb <= b.deadline_tb, moved);
    if let Some(next) = ours.front() {
        clock.arm(next.value().deadline_tb);
    }
}

/// The decrementer's interrupt. Interrupts off.
pub(crate) fn timer_tick() {
    match cpu::try_this() {
        Some(cpu) => cpu.clock.tick(cpu),
        // Before the scheduler is up no interrupt was requested.
        None => timer::set_deadline_tb(NEVER),
    }
}

/// How many timer interrupts `cpu` has taken.
pub(crate) fn ticks_of(cpu: kcore::cpu::CpuId) -> u64 {
    cpu::get(cpu).clock.ticks.load(Ordering::Relaxed)
}

/// Sleeps until `deadline_tb`. Interrupts and preemption on.
#[cfg(feature = "selftest")]
pub(crate) fn sleep_until_tb(deadline_tb: u64) {
    super::WaitQueue::new().wait_until_deadline(|| false, deadline_tb);
}
