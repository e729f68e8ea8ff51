//! Tasks, and the CPUs that they run on.

use std::sync::atomic as native;

use super::seat::Context;
use super::{Model, TaskId};
use crate::cpu::CpuId;
use crate::machine::{Cpu, IrqsOff};
use crate::mm::MmId;
use crate::switch::Arm;
use crate::sync::{Ordering, thread};
use crate::task::TaskMm;

impl Model {
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
        let t = IrqsOff::of_model(CpuId::BOOT);
        self.task(id).set_mm(&t, mm);
        self.task(id).set_active_mm(&t, self.lazy_tlb().user_task(mm).active_mm());
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
        let lazy_tlb = self.lazy_tlb();
        let prev = self.current_task();
        assert!(prev != next, "a switch from a task to itself");
        let (arm, borrow) = self.with_irqs_off(|t| {
            // Acquire: the CPU that `next` leaves has finished with it. Partner: the
            // release store to `on_cpu` below, by that CPU.
            while self.tasks[next.0].on_cpu.load(Ordering::Acquire) != 0 {
                thread::yield_now();
            }
            self.tasks[next.0].on_cpu.store(1, Ordering::Relaxed);
            let arm = lazy_tlb.prepare_switch(t, self.task(prev), self.task(next));
            self.cpus[t.cpu().index()].current.store(next.0, native::Ordering::Relaxed);
            let borrow = lazy_tlb.finish_switch(t, arm.ends_borrow());
            self.tasks[prev.0].on_cpu.store(0, Ordering::Release);
            (arm, lazy_tlb.left_to_settle(borrow))
        });
        lazy_tlb.settle_switch(borrow);
        arm
    }

    /// The running task moves to `to`, and runs there instead of the task that did. The
    /// CPU that it leaves runs its idle task. For hooks.
    pub fn migrate_current(&self, to: CpuId) {
        let from = self.context();
        assert!(from.preempt_off == 0 && from.irqs_off == 0, "migration with preemption off");
        let task = self.current_task();
        self.switch_to(self.idle(from.cpu));
        while !self.take_seat(to) {
            thread::yield_now();
        }
        self.set_context(Context { cpu: to, ..from });
        self.leave_seat(from.cpu);
        self.switch_to(task);
    }

    /// `cpu`, which is in its idle task, goes offline. Its seat stays taken until
    /// [`Model::start`], so no thread runs its interrupt handler.
    pub fn stop(&self, cpu: CpuId) {
        while !self.take_seat(cpu) {
            thread::yield_now();
        }
        self.acting_as(cpu, false, || {
            let lazy_tlb = self.lazy_tlb();
            self.with_preempt_off(|_| {
                lazy_tlb.leave_before_stop();
                self.in_irqs_off(|t| lazy_tlb.stop_cpu(t));
            });
        });
    }

    /// `cpu`, which [`Model::stop`] has stopped, comes online again.
    pub fn start(&self, cpu: CpuId) {
        self.cpus[cpu.index()].unflushed.store(true, native::Ordering::Relaxed);
        self.acting_as(cpu, true, || self.lazy_tlb().start_cpu());
    }
}
