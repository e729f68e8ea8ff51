//! The host model of a machine: the core runs on it in host tests, by one thread
//! or several, and under loom.
//!
//! A thread *takes the seat* of a CPU with [`Model::on`] and acts as it. A CPU
//! whose seat is empty idles with interrupts on: whoever waits for it may sit
//! down and run its interrupt handler, so a test needs no thread for a CPU that
//! only answers, and loom no endless idle loops.
//!
//! An IPI lands where interrupts come back on, at every [`Machine::point`] and
//! in every turn of a wait. Whether it has arrived by then is a load of an
//! atomic, so loom tries both. Misuse panics: see `tlb` for what is detected.

mod tlb;

use core::cell::RefCell;
use std::sync::atomic as native;
use std::sync::{Arc, Mutex, Weak};

use crate::cpu::CpuId;
use crate::machine::{IrqsOff, Machine, Point, PreemptOff};
use crate::mm::flush::FlushRange;
use crate::mm::{MmId, Pid};
use crate::switch::Arm;
use crate::sync::{AtomicU32, AtomicU64, Ordering, SpinLock, thread_local, yield_now};
use crate::task::TaskMm;
use crate::{Config, Kernel};

pub use tlb::{Frame, PAGES};

/// log2 of a page's size in bytes.
pub const PAGE_SHIFT: u32 = 12;

/// How large a model is. Small is fast under loom.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// CPUs.
    pub cpus: usize,
    /// Address spaces, `init_mm` included.
    pub mms: usize,
    /// Tasks, one idle task a CPU included.
    pub tasks: usize,
}

/// A task of the model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TaskId(usize);

/// What a test does at a [`Point`]: an interrupt, a preemption, a migration.
pub type Hook = dyn Fn(&Kernel<Model>, Point) + Send + Sync;

/// A call of the machine's own that a CPU has run: the CPU and the operands.
pub type MachineCall = dyn Fn(CpuId, u64, u64) + Send + Sync;

/// Of which CPU this thread has the seat, and how deep it is in what.
#[derive(Clone, Copy)]
struct Context {
    cpu: CpuId,
    irqs_off: u32,
    preempt_off: u32,
}

impl Context {
    fn of(cpu: CpuId) -> Self {
        Self { cpu, irqs_off: 0, preempt_off: 0 }
    }
}

/// The end of acting as a CPU, also where a test catches a panic.
struct Acting<'a> {
    machine: &'a Model,
    depth: usize,
    seat: bool,
}

impl Drop for Acting<'_> {
    fn drop(&mut self) {
        let contexts = CONTEXTS.with(|c| c.borrow_mut().split_off(self.depth));
        // The task may have migrated meanwhile: the seat is the last CPU's.
        if let (true, Some(last)) = (self.seat, contexts.first()) {
            self.machine.leave_seat(last.cpu);
        }
    }
}

thread_local! {
    /// The innermost is what the thread acts as. The others wait for it at a
    /// point, where they can still be interrupted.
    #[allow(clippy::missing_const_for_thread_local, reason = "loom's macro takes no const block")]
    static CONTEXTS: RefCell<Vec<Context>> = RefCell::new(Vec::new());
}

/// One CPU of the model.
struct ModelCpu {
    /// The mm that its PID register names. An atomic of the model checker: who
    /// frees an mm must be *ordered after* every switch away from it, not just
    /// later.
    pidr: AtomicU64,
    /// An IPI is on its way.
    ipi: AtomicU32,
    /// It started, and has not flushed what its TLB came up with.
    unflushed: native::AtomicBool,
    /// 1 while a thread acts as this CPU.
    seat: AtomicU32,
    /// Its current task. Only read and written from the seat.
    current: native::AtomicUsize,
}

/// A task of the model, and whether a CPU still has it.
#[derive(Default)]
struct ModelTask {
    mm: TaskMm,
    on_cpu: AtomicU32,
}

/// The machine.
pub struct Model {
    kernel: Weak<Kernel<Model>>,
    cpus: Box<[ModelCpu]>,
    tasks: Box<[ModelTask]>,
    next_task: native::AtomicUsize,
    tlbs: tlb::Tlbs,
    /// What `tlbie` and a table walk exclude each other with.
    bus: SpinLock<()>,
    /// Every load of an mm walks to its page 0 at once, as hardware may.
    pub walk_on_load: native::AtomicBool,
    /// Every point is also an interrupt for some other reason, which finds the
    /// mailbox as it is: a reschedule IPI shares the vector with the calls.
    pub spurious_irqs: native::AtomicBool,
    /// CPUs that take no interrupt, as bits; time passes while one waits for them.
    pub deaf: native::AtomicU64,
    /// The silent CPUs reported so far.
    pub silent: Mutex<Vec<CpuId>>,
    clock_ms: native::AtomicU64,
    hook: Mutex<Option<Arc<Hook>>>,
    machine_call: Mutex<Option<Arc<MachineCall>>>,
    deferred: Mutex<Vec<(MmId, bool)>>,
}

impl Model {
    /// A machine whose CPUs have all started, each in its idle task.
    pub fn boot(config: Config, size: Size) -> Arc<Kernel<Model>> {
        let kernel = Arc::new_cyclic(|kernel| {
            let machine = Model::new(kernel.clone(), size);
            Kernel::new(machine, config, size.cpus, size.mms)
        });
        for cpu in (0..size.cpus).map(CpuId::new) {
            kernel.machine.on(cpu, || kernel.start_cpu());
        }
        kernel
    }

    fn new(kernel: Weak<Kernel<Model>>, size: Size) -> Self {
        let cpu = |current| ModelCpu {
            pidr: AtomicU64::new(MmId::NONE.to_bits()),
            ipi: AtomicU32::new(0),
            unflushed: native::AtomicBool::new(true),
            seat: AtomicU32::new(0),
            current: native::AtomicUsize::new(current),
        };
        Self {
            kernel,
            cpus: (0..size.cpus).map(cpu).collect(),
            tasks: (0..size.tasks).map(|_| ModelTask::default()).collect(),
            next_task: native::AtomicUsize::new(size.cpus),
            tlbs: tlb::Tlbs::new(size.cpus, size.mms + MmId::INIT_MM.slot()),
            bus: SpinLock::new(()),
            walk_on_load: native::AtomicBool::new(false),
            spurious_irqs: native::AtomicBool::new(false),
            deaf: native::AtomicU64::new(0),
            silent: Mutex::default(),
            clock_ms: native::AtomicU64::new(0),
            hook: Mutex::default(),
            machine_call: Mutex::default(),
            deferred: Mutex::default(),
        }
    }

    /// Acts as `cpu`, whose seat must become free, while `f` runs.
    pub fn on<R>(&self, cpu: CpuId, f: impl FnOnce() -> R) -> R {
        while !self.take_seat(cpu) {
            yield_now();
        }
        self.acting_as(cpu, true, f)
    }

    /// Runs `f` as `cpu`; gives the seat back afterwards if it was taken for this.
    fn acting_as<R>(&self, cpu: CpuId, seat: bool, f: impl FnOnce() -> R) -> R {
        let acting = Acting { machine: self, depth: CONTEXTS.with(|c| c.borrow().len()), seat };
        CONTEXTS.with(|c| c.borrow_mut().push(Context::of(cpu)));
        let result = f();
        let left = self.context();
        assert!(left.irqs_off == 0 && left.preempt_off == 0, "{} left in the middle of something", left.cpu);
        drop(acting);
        result
    }

    fn take_seat(&self, cpu: CpuId) -> bool {
        let seat = &self.cpus[cpu.index()].seat;
        seat.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    fn leave_seat(&self, cpu: CpuId) {
        self.cpus[cpu.index()].seat.store(0, Ordering::Release);
    }

    /// `cpu`, which is in its idle task, goes offline. Its seat stays taken, so
    /// nobody runs its interrupt handler, until [`Model::start`].
    pub fn stop(&self, cpu: CpuId) {
        while !self.take_seat(cpu) {
            yield_now();
        }
        self.acting_as(cpu, false, || {
            let kernel = self.kernel();
            self.with_preempt_off(|_| {
                kernel.leave_before_stop();
                // Not `with_irqs_off`, which takes interrupts at its end.
                self.in_irqs_off(|t| kernel.stop_cpu(t));
            });
        });
    }

    /// `cpu`, which [`Model::stop`] has stopped, comes online again.
    pub fn start(&self, cpu: CpuId) {
        self.cpus[cpu.index()].unflushed.store(true, native::Ordering::Relaxed);
        self.acting_as(cpu, true, || self.kernel().start_cpu());
    }

    /// The running task moves to `to`, whose current task goes back to its idle
    /// task; the CPU that it leaves runs its own idle task. For hooks.
    pub fn migrate_current(&self, to: CpuId) {
        let from = self.context();
        assert!(from.preempt_off == 0 && from.irqs_off == 0, "migration with preemption off");
        let task = self.current_task();
        self.switch_to(self.idle(from.cpu));
        while !self.take_seat(to) {
            yield_now();
        }
        self.set_context(Context { cpu: to, ..from });
        self.leave_seat(from.cpu);
        self.switch_to(task);
    }

    /// Runs `hook` at every point from now on.
    pub fn set_hook(&self, hook: impl Fn(&Kernel<Model>, Point) + Send + Sync + 'static) {
        *self.hook.lock().unwrap() = Some(Arc::new(hook));
    }

    /// Runs `call` for every [`Machine::machine_call`] from now on.
    pub fn set_machine_call(&self, call: impl Fn(CpuId, u64, u64) + Send + Sync + 'static) {
        *self.machine_call.lock().unwrap() = Some(Arc::new(call));
    }

    /// Does what [`Machine::defer_drop`] put off, as a worker on this CPU.
    pub fn run_deferred(&self) {
        let drops = std::mem::take(&mut *self.deferred.lock().unwrap());
        for (mm, users) in drops {
            if users { self.kernel().mmput(mm) } else { self.kernel().mmdrop(mm) }
        }
    }

    /// The idle task of `cpu`.
    pub fn idle(&self, cpu: CpuId) -> TaskId {
        TaskId(cpu.index())
    }

    /// A new kernel thread, not running.
    pub fn kernel_thread(&self) -> TaskId {
        TaskId(self.next_task.fetch_add(1, native::Ordering::Relaxed))
    }

    /// A new user task, not running, which takes over one of `mm`'s users.
    pub fn user_task(&self, mm: MmId) -> TaskId {
        let id = self.kernel_thread();
        let t = IrqsOff::new(CpuId::BOOT);
        self.task(id).set_mm(&t, mm);
        self.task(id).set_active_mm(&t, mm);
        id
    }

    /// The mm part of a task.
    pub fn task(&self, id: TaskId) -> &TaskMm {
        &self.tasks[id.0].mm
    }

    /// The task that runs on this CPU.
    pub fn current_task(&self) -> TaskId {
        TaskId(self.cpus[self.context().cpu.index()].current.load(native::Ordering::Relaxed))
    }

    /// A whole context switch of this CPU, as a scheduler does it.
    pub fn switch_to(&self, next: TaskId) -> Arm {
        let kernel = self.kernel();
        let prev = self.current_task();
        assert!(prev != next, "a switch from a task to itself");
        let (arm, borrow) = self.with_irqs_off(|t| {
            // Acquire: the CPU that `next` leaves has finished with it. Partner:
            // the release below (`on_cpu` of the field).
            while self.tasks[next.0].on_cpu.load(Ordering::Acquire) != 0 {
                yield_now();
            }
            self.tasks[next.0].on_cpu.store(1, Ordering::Relaxed);
            let arm = kernel.prepare_switch(t, self.task(prev), self.task(next));
            self.cpus[t.cpu().index()].current.store(next.0, native::Ordering::Relaxed);
            let borrow = kernel.finish_switch(t);
            self.tasks[prev.0].on_cpu.store(0, Ordering::Release);
            (arm, borrow)
        });
        self.point(Point::FinishSwitch);
        if let Some(borrow) = borrow {
            kernel.drop_lazy(borrow);
        }
        arm
    }

    fn kernel(&self) -> Arc<Kernel<Model>> {
        self.kernel.upgrade().expect("the kernel is gone")
    }

    fn context(&self) -> Context {
        CONTEXTS.with(|c| c.borrow().last().copied()).expect("this thread acts as no CPU")
    }

    fn set_context(&self, context: Context) {
        CONTEXTS.with(|c| *c.borrow_mut().last_mut().expect("a context") = context);
    }

    fn with_context<R>(&self, change: impl Fn(&mut Context, bool), f: impl FnOnce(CpuId) -> R) -> R {
        let step = |enter| {
            let mut context = self.context();
            change(&mut context, enter);
            self.set_context(context);
            context.cpu
        };
        let cpu = step(true);
        let result = f(cpu);
        let same = step(false);
        assert!(cpu == same, "a section without preemption began on {cpu} and ended on {same}");
        result
    }

    /// Takes this CPU's pending interrupt, if it has arrived.
    fn take_irq(&self) {
        let Context { cpu, irqs_off, .. } = self.context();
        let deaf = self.deaf.load(native::Ordering::Relaxed) >> cpu.index() & 1 != 0;
        if irqs_off > 0 || deaf {
            return;
        }
        let ipi = &self.cpus[cpu.index()].ipi;
        // Acquire: with the release in `send_ipi`, what the trait promises.
        let arrived = ipi.load(Ordering::Relaxed) != 0 && ipi.swap(0, Ordering::Acquire) != 0;
        if arrived || self.spurious_irqs.load(native::Ordering::Relaxed) {
            let kernel = self.kernel();
            self.in_irqs_off(|t| {
                kernel.cpu(t.cpu()).counters.ipi_received.bump();
                kernel.handle_calls(t);
            });
        }
    }

    fn in_irqs_off<R>(&self, f: impl FnOnce(&IrqsOff) -> R) -> R {
        let change = |c: &mut Context, enter| {
            if enter { c.irqs_off += 1 } else { c.irqs_off -= 1 }
        };
        self.with_context(change, |cpu| f(&IrqsOff::new(cpu)))
    }

    /// Runs the interrupt handler of another CPU, if that one idles or waits at
    /// a point for this very thread.
    fn answer_for(&self, cpu: CpuId) {
        if self.cpus[cpu.index()].ipi.load(Ordering::Relaxed) == 0 {
            return;
        }
        let here = |c: &Context| c.cpu == cpu && c.irqs_off == 0;
        if CONTEXTS.with(|c| c.borrow().iter().any(here)) {
            self.acting_as(cpu, false, || self.take_irq());
        } else if self.take_seat(cpu) {
            self.acting_as(cpu, true, || self.take_irq());
        }
    }
}

impl Machine for Model {
    fn with_preempt_off<R>(&self, f: impl FnOnce(&PreemptOff) -> R) -> R {
        let change = |c: &mut Context, enter| {
            if enter { c.preempt_off += 1 } else { c.preempt_off -= 1 }
        };
        self.with_context(change, |cpu| f(&PreemptOff::new(cpu)))
    }

    fn with_irqs_off<R>(&self, f: impl FnOnce(&IrqsOff) -> R) -> R {
        let result = self.in_irqs_off(f);
        self.take_irq();
        result
    }

    fn irqs_enabled(&self) -> bool {
        self.context().irqs_off == 0
    }

    fn current<'a>(&'a self, t: &'a PreemptOff) -> &'a TaskMm {
        assert!(t.cpu() == self.context().cpu, "a token of {} on {}", t.cpu(), self.context().cpu);
        self.task(self.current_task())
    }

    fn load_mm(&self, t: &IrqsOff, mm: MmId) {
        assert!(!self.irqs_enabled() && t.cpu() == self.context().cpu, "load_mm with a false token");
        self.tlbs.check_root(mm);
        let mask = self.kernel().mm(mm).cpumask().test(t.cpu());
        assert!(mask, "I4: {} loads {mm:?} and is not in its cpumask", t.cpu());
        let unflushed = self.cpus[t.cpu().index()].unflushed.load(native::Ordering::Relaxed);
        assert!(!unflushed, "{} loads {mm:?} with what its TLB held at the start", t.cpu());
        self.cpus[t.cpu().index()].pidr.store(mm.to_bits(), Ordering::Relaxed);
        if self.walk_on_load.load(native::Ordering::Relaxed) {
            self.access(0);
        }
    }

    fn loaded_pid(&self, t: &IrqsOff) -> Pid {
        self.loaded(t.cpu()).pid()
    }

    fn flush_local(&self, t: &PreemptOff, mm: MmId, what: FlushRange) {
        self.tlbs.flush(t.cpu().index(), mm, what);
    }

    fn flush_global(&self, t: &PreemptOff, mm: MmId, what: FlushRange) {
        self.bus.with(t, |()| self.tlbs.flush_all(mm, what));
    }

    fn flush_cpu(&self, t: &IrqsOff) {
        self.tlbs.flush_cpu(t.cpu().index());
        self.cpus[t.cpu().index()].unflushed.store(false, native::Ordering::Relaxed);
    }

    fn send_ipi(&self, t: &PreemptOff, cpu: CpuId) {
        assert!(t.cpu() == self.context().cpu, "send_ipi with a false token");
        self.cpus[cpu.index()].ipi.fetch_or(1, Ordering::Release);
    }

    fn relax(&self, turn: u64) {
        assert!(self.irqs_enabled(), "a wait for other CPUs with interrupts off");
        let deaf = self.deaf.load(native::Ordering::Relaxed);
        if deaf != 0 {
            self.clock_ms.fetch_add(10, native::Ordering::Relaxed);
        }
        assert!(turn < 1 << 20, "nobody answers {}", self.context().cpu);
        self.take_irq();
        let me = self.context().cpu;
        let others = (0..self.cpus.len()).map(CpuId::new).filter(|&cpu| cpu != me);
        others.filter(|cpu| deaf >> cpu.index() & 1 == 0).for_each(|cpu| self.answer_for(cpu));
        yield_now();
    }

    fn uptime_ms(&self) -> u64 {
        self.clock_ms.load(native::Ordering::Relaxed)
    }

    fn report_silent(&self, cpu: CpuId, _waited_ms: u64) {
        self.silent.lock().unwrap().push(cpu);
    }

    fn exit_mmap(&self, mm: MmId) {
        let context = self.context();
        assert!(context.irqs_off == 0 && context.preempt_off == 0, "exit_mmap must be able to wait");
        self.tlbs.clear_entry(mm);
        self.kernel().exit_flush(mm);
        self.tlbs.free_tables(mm);
    }

    fn free_mm(&self, mm: MmId) {
        for cpu in (0..self.cpus.len()).map(CpuId::new) {
            assert!(self.loaded(cpu) != mm, "use after free: {cpu} has {mm:?} loaded, which is freed");
        }
        self.tlbs.free_root(mm);
    }

    fn defer_drop(&self, mm: MmId, users: bool) {
        self.deferred.lock().unwrap().push((mm, users));
    }

    fn machine_call(&self, t: &IrqsOff, a: u64, b: u64) {
        let call = self.machine_call.lock().unwrap().clone();
        call.expect("nobody asked for a machine call")(t.cpu(), a, b);
    }

    fn point(&self, point: Point) {
        self.take_irq();
        let hook = self.hook.lock().unwrap().clone();
        if let Some(hook) = hook {
            hook(&self.kernel(), point);
        }
    }
}
