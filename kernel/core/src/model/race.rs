//! CPUs that act at once, each in a thread of its own.

use std::sync::Arc;
use std::sync::atomic as native;

use super::Model;
use crate::LazyTlb;
use crate::cpu::CpuId;
use crate::sync::thread::{self, Thread};

/// A race of CPUs. A CPU that has played its part idles, and takes its interrupts itself,
/// until all have played. So no handler runs in another CPU's thread, with that thread's
/// view of memory.
pub struct Race {
    lazy_tlb: Arc<LazyTlb<Model>>,
    /// How many still play. Loom need not see it: nothing depends on which CPU is last.
    playing: native::AtomicUsize,
}

impl Race {
    /// A race of `cpus` CPUs.
    pub fn of(cpus: usize, lazy_tlb: &Arc<LazyTlb<Model>>) -> Arc<Self> {
        Arc::new(Self { lazy_tlb: lazy_tlb.clone(), playing: native::AtomicUsize::new(cpus) })
    }

    /// `cpu` plays its `part`. Returns when all have played theirs.
    pub fn run(&self, cpu: CpuId, part: impl FnOnce(&Arc<LazyTlb<Model>>)) {
        let machine = &self.lazy_tlb.machine;
        machine.on(cpu, || {
            part(&self.lazy_tlb);
            if self.playing.fetch_sub(1, native::Ordering::Relaxed) == 1 {
                machine.wake_all();
            }
            machine.idle_while(|| self.playing.load(native::Ordering::Relaxed) > 0);
        });
    }
}

/// How a CPU idles in a race.
#[derive(Default)]
pub(super) struct Idler {
    /// The thread, while it sleeps. It is woken only then: loom lets a thread that is
    /// woken see what its waker sees.
    asleep: Option<Thread>,
    /// Something has happened since the interrupts were last looked at.
    called: bool,
}

impl Model {
    /// Idles on this CPU while `others_play`. The last of them wakes all.
    fn idle_while(&self, others_play: impl Fn() -> bool) {
        let idler = &self.cpus[self.context().cpu.index()].idler;
        loop {
            idler.lock().unwrap().called = false;
            self.take_irq();
            if !others_play() {
                return;
            }
            let mut mine = idler.lock().unwrap();
            if !mine.called {
                mine.asleep = Some(thread::current());
                drop(mine);
                thread::park();
                idler.lock().unwrap().asleep = None;
            }
        }
    }

    /// Wakes `cpu` if it idles in a race.
    pub(super) fn wake(&self, cpu: CpuId) {
        let mut idler = self.cpus[cpu.index()].idler.lock().unwrap();
        idler.called = true;
        if let Some(thread) = &idler.asleep {
            thread.unpark();
        }
    }

    fn wake_all(&self) {
        (0..self.cpus.len()).for_each(|cpu| self.wake(CpuId::new(cpu)));
    }
}
