//! The host model of a machine: the core runs on it in host tests, by one thread
//! or several, and under loom.
//!
//! A thread *takes the seat* of a CPU and acts as it (`seat`), its interrupts come
//! (`irq`), it runs tasks that switch and migrate (`schedule`), and it has a TLB
//! (`tlb`). `machine` is what the core asks of all this. Misuse panics.

mod irq;
mod machine;
mod race;
mod schedule;
mod seat;
mod tlb;
mod trace;
mod watched;

use std::sync::atomic as native;
use std::sync::{Arc, Mutex, Weak};

use crate::cpu::CpuId;
use crate::machine::Point;
use crate::mm::MmId;
use crate::sync::{AtomicU32, AtomicU64, SpinLock};
use crate::task::TaskMm;
use crate::{Config, LazyTlb};

pub use race::Race;
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
    /// Tasks, one idle task per CPU included.
    pub tasks: usize,
}

/// A task of the model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TaskId(usize);

/// What a test does at a [`Point`]: an interrupt, a preemption, a migration.
pub type Hook = dyn Fn(&LazyTlb<Model>, Point) + Send + Sync;

/// What a machine with files does between the final flush of an exit and the end of the
/// tables. Its second argument ends the tables.
pub type Exit = dyn Fn(MmId, &dyn Fn()) + Send + Sync;

/// What a test does when a CPU runs a call of the machine's own. It gets the CPU and the
/// operands.
pub type MachineCall = dyn Fn(CpuId, u64, u64) + Send + Sync;

/// One CPU of the model.
struct ModelCpu {
    /// The mm that its PID register names. An atomic of the model checker: every switch
    /// away from an mm must be *ordered before* its free, not just come earlier.
    pidr: AtomicU64,
    /// An IPI is on its way.
    ipi: AtomicU32,
    /// It started, and has not flushed what its TLB came up with.
    unflushed: native::AtomicBool,
    /// 1 while a thread acts as this CPU.
    seat: AtomicU32,
    /// Its current task. Only read and written from the seat.
    current: native::AtomicUsize,
    /// How it idles in a [`Race`].
    idler: Mutex<race::Idler>,
}

/// A task of the model, and whether a CPU still has it.
#[derive(Default)]
struct ModelTask {
    mm: TaskMm,
    on_cpu: AtomicU32,
}

/// The machine.
pub struct Model {
    lazy_tlb: Weak<LazyTlb<Model>>,
    cpus: Box<[ModelCpu]>,
    tasks: Box<[ModelTask]>,
    next_task: native::AtomicUsize,
    tlbs: tlb::Tlbs,
    trace: trace::Trace,
    /// Held by a `tlbie` and by a table walk, so that they exclude each other.
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
    exit: Mutex<Option<Arc<Exit>>>,
}

impl Model {
    /// A machine whose CPUs have all started, each in its idle task.
    pub fn boot(config: Config, size: Size) -> Arc<LazyTlb<Model>> {
        let lazy_tlb = Arc::new_cyclic(|lazy_tlb| {
            let machine = Model::new(lazy_tlb.clone(), size);
            LazyTlb::new(machine, config, size.cpus, size.mms)
        });
        for cpu in (0..size.cpus).map(CpuId::new) {
            lazy_tlb.machine.on(cpu, || lazy_tlb.start_cpu());
        }
        lazy_tlb
    }

    fn new(lazy_tlb: Weak<LazyTlb<Model>>, size: Size) -> Self {
        let cpu = |current| ModelCpu {
            pidr: AtomicU64::new(MmId::NONE.to_bits()),
            ipi: AtomicU32::new(0),
            unflushed: native::AtomicBool::new(true),
            seat: AtomicU32::new(0),
            current: native::AtomicUsize::new(current),
            idler: Mutex::default(),
        };
        Self {
            lazy_tlb,
            cpus: (0..size.cpus).map(cpu).collect(),
            tasks: (0..size.tasks).map(|_| ModelTask::default()).collect(),
            next_task: native::AtomicUsize::new(size.cpus),
            tlbs: tlb::Tlbs::new(size.cpus, MmId::slots_for(size.mms)),
            trace: trace::Trace::default(),
            bus: SpinLock::new(()),
            walk_on_load: native::AtomicBool::new(false),
            spurious_irqs: native::AtomicBool::new(false),
            deaf: native::AtomicU64::new(0),
            silent: Mutex::default(),
            clock_ms: native::AtomicU64::new(0),
            hook: Mutex::default(),
            machine_call: Mutex::default(),
            exit: Mutex::default(),
        }
    }

    /// Runs `hook` at every point from now on.
    pub fn set_hook(&self, hook: impl Fn(&LazyTlb<Model>, Point) + Send + Sync + 'static) {
        *self.hook.lock().unwrap() = Some(Arc::new(hook));
    }

    /// Runs `call` for every [`Host::machine_call`] from now on.
    pub fn set_machine_call(&self, call: impl Fn(CpuId, u64, u64) + Send + Sync + 'static) {
        *self.machine_call.lock().unwrap() = Some(Arc::new(call));
    }

    /// Runs `exit` in every exit from now on.
    pub fn set_exit(&self, exit: impl Fn(MmId, &dyn Fn()) + Send + Sync + 'static) {
        *self.exit.lock().unwrap() = Some(Arc::new(exit));
    }

    fn lazy_tlb(&self) -> Arc<LazyTlb<Model>> {
        self.lazy_tlb.upgrade().expect("the protocol is gone")
    }
}
