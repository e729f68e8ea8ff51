//! Taking a CPU offline, and online again.
//!
//! ```text
//! offline(), on any CPU                  the CPU that goes
//! park its worker
//! clear ONLINE; full barrier
//! move its queue elsewhere
//! ask it to go ------------------------> schedule: its task is evicted
//!                                        idle, nothing queued: leave the borrow,
//!                                        interrupts off
//! wake up <----------------------------- report that it goes
//!                                        stop its timer, `stop_cpu`
//! wait for it to have gone <------------ report that it has gone; RTAS stop-self
//! ask RTAS until it is stopped
//! take over its alarms, work and frames
//! ```
//! Here ONLINE is the scheduler's set, the CPUs where tasks are placed. It is cleared first. The
//! protocol's own set, the CPUs that take calls, is cleared last (`kcore::hotplug`).
//!
//! A task is placed by a push and a look at ONLINE, with a full barrier in between
//! (`placement::queue`). Either the pusher sees that the CPU goes, and moves the task on itself; or
//! the push came first, and the mover finds the task, or the CPU finds it before it goes.

use core::sync::atomic::{AtomicU32, Ordering, fence};

use arch::{irqflags, rtas, smp, timer};
use kcore::cpu::CpuId;
use kcore::machine::IrqsOff;

use super::cpu::{self, Cpu, ONLINE};
use super::resched::resched;
use super::window::Window;
use super::{Mutex, WaitQueue, yield_now};
use crate::machine::lazy_tlb;
use crate::sync::{SpinWait, preempt};

/// How long a CPU may take to go or to come, in microseconds.
const LIMIT_US: u64 = 20_000_000;

/// Why a CPU stays as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    /// There is no such CPU.
    NoSuchCpu,
    /// The boot CPU stays: it inherits from CPUs that go.
    BootCpu,
    /// Its worker does not finish its work in time.
    Busy,
    /// The firmware cannot, or will not.
    Firmware,
    /// It was started once and did not come up in time. It may run, so it is not started again.
    Lost,
}

/// One CPU goes or comes at a time. Nests outside everything.
static CONTROL: Mutex<()> = Mutex::new(());

/// How far a CPU is on its way out.
pub(super) struct Departure {
    stage: AtomicU32,
    /// Tasks that wait for the next stage, or for the CPU to be back.
    changed: WaitQueue,
}

/// It stays.
const UP: u32 = 0;
/// It is to go when it is idle.
const ASKED: u32 = 1;
/// It is idle and goes; this cannot be undone.
const GOES: u32 = 2;
/// It is out of the protocol and about to stop.
const GONE: u32 = 3;

impl Departure {
    pub(super) fn new() -> Self {
        Self { stage: AtomicU32::new(UP), changed: WaitQueue::new() }
    }

    /// Whether this CPU, which is idle, is to go.
    #[inline]
    pub(super) fn is_due(&self) -> bool {
        self.stage.load(Ordering::Relaxed) == ASKED
    }

    /// This CPU is back.
    pub(super) fn tell_arrival(&self) {
        self.changed.wake_all();
    }
}

/// Whether the scheduler places tasks on `id`.
pub(crate) fn is_online(id: CpuId) -> bool {
    ONLINE.contains(id)
}

/// Takes `id` offline; does nothing if it is offline already. On return it has stopped. The caller
/// may run there: it is moved. Tasks that may run nowhere else may run everywhere from now on, as
/// in Linux. Interrupts and preemption on.
///
/// # Errors
/// See [`Refused`]; then nothing has changed.
///
/// # Panics
/// If the CPU does not go: one of its tasks keeps preemption off.
pub(crate) fn offline(id: CpuId) -> Result<(), Refused> {
    let _one = CONTROL.lock();
    if id == CpuId::BOOT {
        return Err(Refused::BootCpu);
    }
    let cpu = known(id)?;
    if !ONLINE.contains(id) {
        return Ok(());
    }
    if !rtas::can_stop_cpus() {
        return Err(Refused::Firmware);
    }
    if !cpu.works.park(deadline_tb()) {
        return Err(Refused::Busy);
    }
    Window::ClosesCpu.pass_here();
    ONLINE.take(id);
    // F30 fence: orders the store to ONLINE before the look at the queue. Partner: `queue`, between
    // the push and the look at ONLINE.
    fence(Ordering::SeqCst);
    evacuate(cpu);
    cpu.departure.stage.store(ASKED, Ordering::Relaxed);
    resched(cpu);
    // If it is the CPU that we are on, we leave it here.
    preempt::reschedule_if_asked();
    wait_until_stopped(cpu);
    inherit(cpu);
    Ok(())
}

/// Brings `id` online; does nothing if it is online already. On return it schedules. Interrupts and
/// preemption on.
///
/// # Errors
/// See [`Refused`].
pub(crate) fn online(id: CpuId) -> Result<(), Refused> {
    let _one = CONTROL.lock();
    let cpu = known(id)?;
    if ONLINE.contains(id) {
        return Ok(());
    }
    if !cpu.arrival.reopen() {
        return Err(Refused::Lost);
    }
    cpu.departure.stage.store(UP, Ordering::Relaxed);
    // SAFETY: it was never started, or has stopped by itself (`wait_until_stopped`):
    // no code runs on its stacks, and its area is as complete as at boot.
    unsafe { smp::start_cpu(cpu.area) }.map_err(|_| Refused::Firmware)?;
    let here = || ONLINE.contains(id);
    if !cpu.departure.changed.wait_until_deadline(here, deadline_tb()) {
        cpu.arrival.give_up(id).map_err(|_| Refused::Lost)?;
    }
    cpu.works.open(id);
    Ok(())
}

fn known(id: CpuId) -> Result<&'static Cpu, Refused> {
    cpu::all().get(id.index()).ok_or(Refused::NoSuchCpu)
}

fn deadline_tb() -> u64 {
    timer::now_tb() + LIMIT_US * timer::ticks_per_us()
}

/// Moves the tasks queued on `cpu`, where no more are placed.
fn evacuate(cpu: &Cpu) {
    loop {
        // Preemption off: a preempted mover would keep the task from running.
        let _whole = preempt::disable();
        let Some(task) = cpu.queue.lock().pop() else { return };
        // SAFETY: it is runnable and in no queue, so it cannot have exited.
        unsafe { task.get() }.run_again();
    }
}

fn wait_until_stopped(cpu: &Cpu) {
    let departure = &cpu.departure;
    let goes = || departure.stage.load(Ordering::Relaxed) >= GOES;
    assert!(
        departure.changed.wait_until_deadline(goes, deadline_tb()),
        "{} does not go offline: {} stays there",
        cpu.id,
        super::report::Running(cpu.area)
    );
    // From here it runs with interrupts off and waits for no other CPU.
    let mut wait = SpinWait::new("a CPU to stop");
    // F38 acquire: orders GONE before our accesses to what the CPU leaves. Partner: `depart`.
    while departure.stage.load(Ordering::Acquire) != GONE {
        wait.turn();
        yield_now();
    }
    // Now RTAS's answer can be trusted: a CPU that has gone does not cede.
    while rtas::query_cpu_stopped_state(cpu.area.server()) != Ok(true) {
        wait.turn();
        yield_now();
    }
}

/// Takes over what `cpu`, which has stopped, leaves behind.
fn inherit(cpu: &Cpu) {
    evacuate(cpu);
    super::timer::adopt_alarms(cpu);
    cpu.works.pass_on();
    crate::memory::frame::drain_cache_of(cpu.id);
}

/// The end of this CPU, from its idle loop: idle, nothing queued.
pub(super) fn depart(cpu: &'static Cpu, off: &mut IrqsOff) -> ! {
    // Only interrupts run here meanwhile. A CPU that comes up expects preemption on.
    preempt::without(|| {
        // From here no waker claims us. Only `schedule` on this CPU would set the flag again.
        cpu.idle_flag.claim();
        irqflags::enabled_while(off, || lazy_tlb().leave_before_stop());
        cpu.departure.stage.store(GOES, Ordering::Relaxed);
        cpu.departure.changed.wake_all();
        lazy_tlb().stop_cpu(off);
    });
    // F38 release: orders our last access to what others inherit before GONE. Partner:
    // `wait_until_stopped`.
    cpu.departure.stage.store(GONE, Ordering::Release);
    // SAFETY: out of the scheduler and the protocol, so no CPU counts on us.
    let refusal = unsafe { smp::stop(off) };
    panic!("{} is offline and cannot stop: {refusal:?}", cpu.id);
}
