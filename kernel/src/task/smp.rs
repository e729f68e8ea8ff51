//! Bringing up the other CPUs.

use core::sync::atomic::{AtomicU32, Ordering};

use arch::addr::PAGE_SIZE;
use arch::percpu::{PerCpu, STACK_SIZE, STACK_SLOT, Stacks};
use arch::{idle, irq, irqflags, percpu, rtas, smp, timer};
use kcore::cpu::{CpuId, CpuSet};

use super::cpu::{self, Cpu, ONLINE};
use super::idle::idle_loop;
use super::resched::resched;
use super::timer::Alarm;
use crate::machine::lazy_tlb;
use crate::memory::frame::{self, Frame};
use crate::memory::{ForInterrupts, KernelStack};
use crate::oracle;
use crate::sync::SpinWait;

/// How long the CPUs may take to come, in microseconds. All at once; a crowded
/// host takes seconds for a thousand.
const LIMIT_US: u64 = 20_000_000;
/// A stack's slot, in the allocator's powers of two pages: 32K.
const SLOT_ORDER: u32 = STACK_SLOT.ilog2() - arch::addr::PAGE_SHIFT;
/// The pages of a slot's lower half that are given back: all but the one below the stacks.
const UNUSED_PAGES: u64 = (STACK_SLOT - STACK_SIZE) / PAGE_SIZE - 1;

/// The area and stacks of a CPU that is to be started.
///
/// NMIs come in real mode: their stack, and the area that points to it, lie in the linear map. The
/// upper half of a slot is the stacks for NMIs and for overflows, half of it each: neither holds more
/// than a crash report's calls. The area is in the page below, so an overflow has room before it.
pub(super) fn new_area(cpu: CpuId, server: u32) -> &'static PerCpu {
    let mut pages = frame::alloc_order(SLOT_ORDER).unwrap_or_else(|| no_memory(cpu)).split();
    pages.by_ref().take(UNUSED_PAGES as usize).for_each(drop);
    let area_page = pages.map(Frame::leak).min().unwrap_or_else(|| no_memory(cpu)).to_virt().0;
    let top = area_page + PAGE_SIZE + STACK_SIZE;
    let stacks = Stacks { kernel_top: new_stack(cpu), emergency_top: top - STACK_SIZE / 2, nmi_top: top };
    let area: *mut PerCpu = core::ptr::with_exposed_provenance_mut(area_page as usize);
    // SAFETY: fresh memory, aligned to a page, which is larger than the area and is never freed.
    let area = unsafe {
        area.write(PerCpu::new(cpu, server, stacks));
        &*area
    };
    irq::prepare_cpu(area, &mut ForInterrupts);
    area
}

/// A stack that a CPU keeps for ever.
fn new_stack(cpu: CpuId) -> u64 {
    let stack = KernelStack::new().unwrap_or_else(|| no_memory(cpu));
    let top = stack.top();
    core::mem::forget(stack);
    top
}

fn no_memory(cpu: CpuId) -> ! {
    panic!("no memory for the stacks of {cpu}")
}

/// Starts all other CPUs, with a worker on each. Returns how many are online. From
/// the boot context, once; interrupts on.
///
/// One goes ahead: under an emulator the code of the start is translated for it. A thousand CPUs at
/// once would translate it a thousand times, fighting for the translator's locks: seconds become a
/// minute.
pub(crate) fn start_secondaries() -> usize {
    cpu::get(CpuId::BOOT).works.open(CpuId::BOOT);
    let (scout, rest) = cpu::all()[1..].split_at(usize::from(cpu::count() > 1));
    bring_up(scout);
    bring_up(rest);
    ONLINE.snapshot().len()
}

/// Starts `cpus` and waits until they are online and at work. One that does not come in time is
/// reported and left out.
fn bring_up(cpus: &'static [Cpu]) {
    let mut expected = ONLINE.snapshot();
    for cpu in cpus {
        // SAFETY: it is not online; the area is complete and its stacks are unused.
        match unsafe { smp::start_cpu(cpu.area) } {
            Ok(()) => expected.insert(cpu.id),
            // The boot has reported it; a thousand repetitions would add nothing.
            Err(rtas::Error::Missing) => break,
            Err(error) => crate::println!("smp: {} cannot be started: {error:?}", cpu.id),
        }
    }
    let deadline_tb = timer::now_tb() + LIMIT_US * timer::ticks_per_us();
    Alarm::set(deadline_tb, || wait_for(&expected, deadline_tb));
    for cpu in expected.iter().filter(|&cpu| !ONLINE.contains(cpu)) {
        // `give_up` has reported it if it came too late.
        let _ = cpu::get(cpu).arrival.give_up(cpu);
    }
    let here = cpus.iter().filter(|cpu| ONLINE.contains(cpu.id));
    here.for_each(|cpu| cpu.works.open(cpu.id));
}

/// Cedes: each CPU that comes interrupts us, and so does the alarm.
fn wait_for(expected: &CpuSet, deadline_tb: u64) {
    irqflags::disable().lend_mut(|off| {
        while ONLINE.snapshot() != *expected && timer::now_tb() < deadline_tb {
            idle::cede(off);
        }
    });
}

/// A CPU did not come up in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TooLate;

/// Whether a CPU came up in time: decided once per start, by the CPU or by the task that waits for
/// it.
pub(super) struct Arrival(AtomicU32);

impl Arrival {
    const OPEN: u32 = 0;
    const IN_TIME: u32 = 1;
    const TOO_LATE: u32 = 2;

    pub(super) const fn open() -> Self {
        Self(AtomicU32::new(Self::OPEN))
    }

    /// Prepares another start of the CPU; false if it must not be started. A CPU that was too late
    /// may have arrived since, and waits in `secondary_main`.
    pub(super) fn reopen(&self) -> bool {
        let reopen = |how| (how != Self::TOO_LATE).then_some(Self::OPEN);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, reopen).is_ok()
    }

    /// Gives up on `cpu`, whose arrival this is, unless it has come after all.
    pub(super) fn give_up(&self, cpu: CpuId) -> Result<(), TooLate> {
        if self.decide(Self::TOO_LATE) {
            crate::println!("smp: {cpu} did not come up within {} s", LIMIT_US / 1_000_000);
            return Err(TooLate);
        }
        let mut wait = SpinWait::new("an arrived CPU to be online");
        while !ONLINE.contains(cpu) {
            wait.turn();
        }
        Ok(())
    }

    /// Decides it if it is open. Returns whether we did.
    fn decide(&self, how: u32) -> bool {
        self.0.compare_exchange(Self::OPEN, how, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// Where a new CPU enters the kernel: MMU on, interrupts off, on the stack of its idle task.
#[unsafe(no_mangle)]
extern "Rust" fn secondary_main() -> ! {
    // SAFETY: a CPU starts with interrupts off.
    let off = &mut unsafe { irqflags::already_off() };
    let cpu: &'static Cpu = cpu::get(percpu::cpu_id());
    cpu.adopt();
    cpu.restart();
    while !cpu.arrival.decide(Arrival::IN_TIME) {
        // We were given up: no CPU counts on us.
        idle::cede(off);
    }
    oracle::cpu_started(off);
    lazy_tlb().start_cpu();
    ONLINE.insert(cpu.id);
    // `send_ipi` orders the bit before the interrupt that the boot CPU waits for.
    resched(cpu::get(CpuId::BOOT));
    cpu.departure.tell_arrival();
    idle_loop(off)
}
