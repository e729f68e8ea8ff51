//! XIVE (PAPR's native exploitation mode): loads from and stores to pages of the controller.
//!
//! ```text
//! sender                          controller                     target, on its 0x500
//! store to the trigger page ----> source: P; event into the
//!                                 target's queue; interrupt ---> load ACKNOWLEDGE: a priority
//!                                 source: P and Q off <--------- load SET_PQ_00
//!                                 priority            <--------- store CPPR
//! ```
//! Each CPU has one source, that of its IPIs, and a queue for it. The device has a source too, with a
//! queue at the boot CPU and a priority of its own. So the priority of an interrupt names its source,
//! and no CPU reads the words of a queue, which name sources: all queues lie in one memory.
//!
//! A trigger while P is set raises no event and only leaves Q, which `ack` throws away: the message
//! of its sender is stored, and is looked for after `ack`.

use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use super::{Interrupt, InterruptController, Refused, Resources, Target};
use crate::addr::{PhysAddr, VirtAddr};
use crate::encoding::xive::{ACKNOWLEDGE, CPPR, SET_PQ_00, SET_PQ_01, accepted};
use crate::percpu::{self, PerCpu};
use crate::reg::Msr;
use crate::{console, hcall, isa};

/// Interrupts of every priority pass.
const ADMIT_ALL: u8 = 0xff;
/// Priority of IPIs; lower is more favoured.
const IPI_PRIORITY: u8 = 5;
/// Priority of the device: after IPIs, for which other CPUs wait.
const DEVICE_PRIORITY: u8 = 6;
/// The priorities in use, which the platform must leave to the kernel.
pub(crate) const PRIORITIES: [u8; 2] = [IPI_PRIORITY, DEVICE_PRIORITY];
/// Routes a source to no queue.
const NO_PRIORITY: u8 = 0xff;

/// The device tree's description of the controller.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The page with the thread's context, for the operating system.
    pub(crate) context: PhysAddr,
    /// log2 of the bytes of a queue.
    pub(crate) log2_queue: u32,
    /// The first of the sources that are free for IPIs, one for each CPU.
    pub(crate) first_source: u32,
}

impl Facts {
    fn source_of(&self, area: &PerCpu) -> u32 {
        self.first_source + area.cpu_id().index() as u32
    }
}

/// The boot's [`Facts`].
static FACTS: AtomicPtr<Facts> = AtomicPtr::new(core::ptr::null_mut());
/// Where the context page is mapped; 0: XIVE is not in use.
static CONTEXT: AtomicU64 = AtomicU64::new(0);
/// Where the management page of the device's source is mapped; 0: the hypervisor stands in for it.
static DEVICE_PAGE: AtomicU64 = AtomicU64::new(0);
/// The real address of all queues.
static QUEUES: AtomicU64 = AtomicU64::new(0);

/// The controller; the address is that of the context page.
#[derive(Clone, Copy)]
pub struct Xive(VirtAddr);

/// The controller, if it is in use.
#[inline(always)]
pub(super) fn in_use() -> Option<Xive> {
    // Starting a CPU orders the boot CPU's store before all that it does.
    match CONTEXT.load(Ordering::Relaxed) {
        0 => None,
        context => Some(Xive(VirtAddr(context))),
    }
}

/// The controller's description, once it is in use.
fn facts() -> &'static Facts {
    // SAFETY: null, or what `init` has stored.
    unsafe { FACTS.load(Ordering::Relaxed).as_ref() }.expect("xive: not in use")
}

/// A load at `offset` of the management page of a source, for its effect.
#[inline(always)]
fn touch_source(page: u64, offset: u64) {
    // SAFETY: a page of the controller's, mapped for good: the load changes P and Q, no memory.
    unsafe { VirtAddr(page + offset).as_mut_ptr::<u64>().read_volatile() };
}

/// See [`super::init`].
pub(super) fn init(facts: &'static Facts, resources: &mut dyn Resources) {
    hcall::h_int_reset().expect("xive: H_INT_RESET refused");
    FACTS.store(core::ptr::from_ref(facts).cast_mut(), Ordering::Relaxed);
    QUEUES.store(resources.memory(1 << facts.log2_queue).0, Ordering::Relaxed);
    let device = console::source().map(hcall::h_int_get_source_info);
    if let Some(Ok([Some(page), _])) = device {
        DEVICE_PAGE.store(resources.map_device(PhysAddr(page)).0, Ordering::Relaxed);
    }
    CONTEXT.store(resources.map_device(facts.context).0, Ordering::Relaxed);
}

/// See [`super::prepare_cpu`].
pub(super) fn prepare_cpu(area: &PerCpu, resources: &mut dyn Resources) {
    let facts = facts();
    let [management, trigger] = match hcall::h_int_get_source_info(facts.source_of(area)) {
        Ok([Some(management), trigger]) => [management, trigger.unwrap_or(management)],
        other => panic!("xive: no source for the IPIs of {}: {other:?}", area.cpu_id()),
    };
    let source_page = resources.map_device(PhysAddr(management)).0;
    area.ipi_source.store(source_page, Ordering::Relaxed);
    area.set_ipi_target(Target(resources.map_device(PhysAddr(trigger)).0));
}

/// Gives `source` a queue at `server`, and routes it there.
fn open(source: u32, server: u32, priority: u8) -> Result<(), hcall::Status> {
    let queue = QUEUES.load(Ordering::Relaxed);
    // SAFETY: `init` got the memory for a queue of this size, for good.
    unsafe { hcall::h_int_set_queue_config(server, priority, queue, facts().log2_queue) }?;
    hcall::h_int_set_source_config(source, server, priority)
}

impl Xive {
    #[inline(always)]
    fn admit(self, priority: u8) {
        // SAFETY: the context page, mapped for good; the register admits interrupts, no more.
        unsafe { VirtAddr(self.0.0 + CPPR).as_mut_ptr::<u8>().write_volatile(priority) }
    }

    /// Accepts an interrupt: its priority, or None if there is none.
    #[inline(always)]
    fn accept(self) -> Option<u8> {
        // SAFETY: the context page, mapped for good; the load changes the CPU's interrupt, no memory.
        accepted(unsafe { VirtAddr(self.0.0 + ACKNOWLEDGE).as_mut_ptr::<u16>().read_volatile() })
    }
}

impl InterruptController for Xive {
    /// The queue, then the route to it, then the source: no event comes before it has a place.
    fn init_cpu(&self) {
        let area = percpu::this();
        let opened = open(facts().source_of(area), area.server(), IPI_PRIORITY);
        opened.unwrap_or_else(|status| panic!("xive: no queue for {}: {status:?}", area.cpu_id()));
        touch_source(area.ipi_source.load(Ordering::Relaxed), SET_PQ_00);
        self.admit(ADMIT_ALL);
    }

    /// The reverse order of [`Self::init_cpu`].
    fn exit_cpu(&self) {
        if isa::mfmsr() & Msr::DR.bits() == 0 {
            // An NMI amid the entry of another one, in real mode: the pages are out of reach.
            return;
        }
        let area = percpu::this();
        let source = facts().source_of(area);
        self.admit(0);
        // A pending interrupt would wake this CPU. The priority that this leaves admits none.
        self.accept();
        touch_source(area.ipi_source.load(Ordering::Relaxed), SET_PQ_01);
        // After a refusal more events would go into a queue, which no CPU reads.
        let _ = hcall::h_int_sync(source);
        let _ = hcall::h_int_set_source_config(source, area.server(), NO_PRIORITY);
        // SAFETY: takes memory away from the controller.
        let _ = unsafe { hcall::h_int_set_queue_config(area.server(), IPI_PRIORITY, 0, 0) };
    }

    #[inline(always)]
    fn send_ipi(&self, target: Target) {
        // F53 sync: orders what the sender stored (a mailbox, a flag) before the trigger. Partner:
        // `ack`. A store to a device may overtake one to memory.
        isa::sync();
        // SAFETY: the trigger page of a CPU's source, mapped for good; the store is the interrupt.
        unsafe { VirtAddr(target.0).as_mut_ptr::<u64>().write_volatile(0) };
    }

    #[inline(always)]
    fn ack(&self) -> Interrupt {
        match self.accept() {
            Some(IPI_PRIORITY) => {
                touch_source(percpu::this().ipi_source.load(Ordering::Relaxed), SET_PQ_00);
                self.admit(ADMIT_ALL);
                // F53 sync: orders the reset of P and Q before the read of any mailbox. Partner:
                // `send_ipi`. A request that this reading misses was stored after it, and its
                // trigger, which finds P off, interrupts again.
                isa::sync();
                Interrupt::Ipi
            }
            Some(_) => {
                // The device signals by edges: it interrupts again if it signals after this end. Its
                // handler reads the device after this end, so no signal is lost.
                end_device();
                self.admit(ADMIT_ALL);
                Interrupt::Device
            }
            // Nothing was accepted, so the priority is as it was.
            None => Interrupt::Spurious,
        }
    }

    fn route(&self, source: u32, server: u32) -> Result<(), Refused> {
        open(source, server, DEVICE_PRIORITY).map_err(|_| Refused)?;
        end_device();
        Ok(())
    }
}

/// Makes the device's source ready.
#[cold]
fn end_device() {
    match (DEVICE_PAGE.load(Ordering::Relaxed), console::source()) {
        (0, Some(source)) => _ = hcall::h_int_esb(source, SET_PQ_00),
        (0, None) => {}
        (page, _) => touch_source(page, SET_PQ_00),
    }
}
