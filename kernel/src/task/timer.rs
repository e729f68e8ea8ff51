//! Time: alarms for those who wait no longer than a deadline, and the slice of the
//! running task. No periodic tick: a CPU that is idle, or whose task is alone, is
//! not interrupted. All deadlines are absolute, in ticks of the time base.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use arch::{irqflags, timer};
use kcore::cpu::CpuId;

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

/// One CPU's time. All but the alarms is touched by that CPU only, with
/// interrupts off; `timed_since_tb` is read by others.
pub(super) struct Clock {
    /// When the running task got the CPU.
    slice_start_tb: AtomicU64,
    /// Since when an interrupt is to come when the slice ends, or before; 0 if none is.
    timed_since_tb: AtomicU64,
    /// What the decrementer is set to.
    armed_tb: AtomicU64,
    /// Timer interrupts that it took.
    ticks: AtomicU64,
    /// By deadline. Nests outside the run queues.
    alarms: IrqLock<List<Alarm>>,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            slice_start_tb: AtomicU64::new(0),
            timed_since_tb: AtomicU64::new(0),
            armed_tb: AtomicU64::new(NEVER),
            ticks: AtomicU64::new(0),
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

    /// Times the slice if somebody waits and it is not timed yet. Nor if the task is
    /// asked to go: its slice may be over, and an interrupt at a time that has passed
    /// would come again before the task, with preemption off, does a step.
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

    /// Since when the CPU is to look at its queue by itself, 0 if it will not. Any CPU
    /// may ask.
    #[inline]
    pub(super) fn timed_since_tb(&self) -> u64 {
        self.timed_since_tb.load(Ordering::Relaxed)
    }

    /// Has the decrementer interrupt when the slice ends. An interrupt that comes
    /// early, for a slice before, sets it anew: cheaper than a write each switch.
    pub(super) fn time_slice(&self) {
        self.timed_since_tb.store(timer::now_tb(), Ordering::Relaxed);
        self.arm(self.slice_end_tb());
    }

    fn slice_end_tb(&self) -> u64 {
        self.slice_start_tb.load(Ordering::Relaxed) + SLICE_US * timer::ticks_per_us()
    }

    fn tick(&self, cpu: &Cpu) {
        // Only this CPU writes it.
        self.ticks.store(self.ticks.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        // The decrementer is negative until it is set again: far away first, and
        // then each part as near as it wants.
        self.armed_tb.store(NEVER, Ordering::Relaxed);
        timer::set_deadline_tb(NEVER);
        self.ring();
        watchdog::tick(cpu);
        Window::SliceEnds.pass_here();
        self.timed_since_tb.store(0, Ordering::Relaxed);
        // Partner: the fence in `placement::queue`. Either we see that somebody
        // waits, or he sees that the slice is not timed.
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

    /// Wakes those whose time has come, and sets the decrementer for the next.
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

    /// Takes `alarm` out of the alarms that it is in, if it has not rung. The task may
    /// be on another CPU than that by now.
    fn stop(alarm: &Node<Alarm>) {
        Window::StopsAlarm.pass_here();
        loop {
            let cpu = alarm.value().cpu.load(Ordering::Relaxed);
            let mut alarms = cpu::get(CpuId::new(cpu as usize)).clock.alarms.lock();
            // Or it was moved before we had the lock.
            if alarm.value().cpu.load(Ordering::Relaxed) == cpu {
                if alarms.contains(alarm) {
                    alarms.remove(alarm);
                }
                return;
            }
        }
    }

    /// Sets `alarm` on this CPU. The caller stops it before it lets go of it.
    fn start(alarm: &Node<Alarm>) {
        // Off: the decrementer must be that of the CPU whose list it is.
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
    // Off: as in `start`.
    let _off = irqflags::disable();
    let Cpu { id, clock, .. } = cpu::this();
    // Two of a kind, so in this order only, and one pair at a time: one CPU goes
    // offline at a time. Both, or an alarm would be nowhere when its task stops it.
    let mut theirs = gone.clock.alarms.lock();
    let mut ours = clock.alarms.lock();
    let moved = |alarm: &Alarm| {
        // SAFETY: its task stops it before it ends, for which it needs a lock that we hold.
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
        // Before the scheduler is up nobody has asked for an interrupt.
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
