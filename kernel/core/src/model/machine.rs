//! What the core asks of the model.
#![allow(unsafe_code, reason = "contracts that are kept where there is nothing to corrupt")]

use std::sync::atomic as native;

use super::Model;
use crate::cpu::CpuId;
use crate::event::{Event, Reference, Stamp};
use crate::machine::{Cpu, Host, IrqsOff, Mmu, Point, PreemptOff, Probe};
use crate::mm::flush::FlushRange;
use crate::mm::{MmId, Pid};
use crate::sync::{Ordering, fence, thread};
use crate::task::TaskMm;

// SAFETY: a thread has one CPU's seat; its context is changed for a section and changed back.
unsafe impl Cpu for Model {
    fn with_preempt_off<R>(&self, f: impl FnOnce(&PreemptOff) -> R) -> R {
        self.in_preempt_off(f)
    }

    fn with_irqs_off<R>(&self, f: impl FnOnce(&IrqsOff) -> R) -> R {
        let result = self.in_irqs_off(f);
        self.take_irq();
        result
    }

    fn irqs_enabled(&self) -> bool {
        self.context().irqs_off == 0
    }

    fn send_ipi(&self, t: &PreemptOff, cpu: CpuId) {
        assert!(t.cpu() == self.context().cpu, "send_ipi with a false token");
        self.cpus[cpu.index()].ipi.fetch_or(1, Ordering::Release);
        self.wake(cpu);
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
        thread::yield_now();
    }
}

// SAFETY: the TLBs are sets, and what is stale in them is a panic.
unsafe impl Mmu for Model {
    const BROADCASTS: bool = true;

    fn load_mm(&self, t: &IrqsOff, mm: MmId) {
        assert!(!self.irqs_enabled() && t.cpu() == self.context().cpu, "load_mm with a false token");
        self.tlbs.check_root(mm);
        let mask = self.lazy_tlb().mm(mm).cpumask().test(t.cpu());
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

    fn order_mask_before_walks(&self, _: &IrqsOff) {
        fence(Ordering::SeqCst);
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

    fn disconnect(&self, mm: MmId) {
        self.tlbs.clear_entry(mm);
    }
}

// SAFETY: tasks and memory are numbers.
unsafe impl Host for Model {
    fn current<'a>(&'a self, t: &'a PreemptOff) -> &'a TaskMm {
        assert!(t.cpu() == self.context().cpu, "a token of {} on {}", t.cpu(), self.context().cpu);
        self.task(self.current_task())
    }

    fn free_user_memory(&self, mm: MmId) {
        let context = self.context();
        assert!(context.irqs_off == 0 && context.preempt_off == 0, "who frees may wait");
        let exit = self.exit.lock().unwrap().clone();
        match exit {
            Some(exit) => exit(mm, &|| self.tlbs.free_tables(mm)),
            None => self.tlbs.free_tables(mm),
        }
    }

    fn free_mm(&self, mm: MmId) {
        for cpu in (0..self.cpus.len()).map(CpuId::new) {
            assert!(self.loaded(cpu) != mm, "use after free: {cpu} has {mm:?} loaded, which is freed");
        }
        self.tlbs.free_root(mm);
    }

    fn machine_call(&self, t: &IrqsOff, a: u64, b: u64) {
        let call = self.machine_call.lock().unwrap().clone();
        call.expect("nobody asked for a machine call")(t.cpu(), a, b);
    }

    fn uptime_ms(&self) -> u64 {
        self.clock_ms.load(native::Ordering::Relaxed)
    }

    fn report_silent(&self, cpu: CpuId, _waited_ms: u64) {
        self.silent.lock().unwrap().push(cpu);
    }
}

impl Probe for Model {
    fn point(&self, point: Point) {
        self.take_irq();
        let hook = self.hook.lock().unwrap().clone();
        if let Some(hook) = hook {
            hook(&self.lazy_tlb(), point);
        }
    }

    fn refers(&self, mm: MmId, how: Reference) {
        if let Some(context) = self.context_if_any() {
            self.trace.push(context.cpu, how.body(mm, 0));
        }
    }

    fn observe(&self, t: &PreemptOff, event: Event) -> Stamp {
        self.trace.record(t.cpu(), event);
        if let Event::Spared { mm, cpu, .. } = event {
            self.tlbs.spare(cpu.index(), mm);
        }
        Stamp::default()
    }
}
