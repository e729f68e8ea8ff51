//! XIVE (PAPR's native exploitation mode): loads and stores to pages of the controller, and a queue
//! of events in memory.
//!
//! ```text
//! sender                          controller                   target, on its 0x500
//! store to the trigger page ----> source: P; event into the
//!                                 target's queue; interrupt -> load ACKNOWLEDGE
//!                                                              read the queue until it is empty
//!                                 source: P and Q off <------- load SET_PQ_00
//!                                 priority    <--------------- store CPPR
//! ```
//! Each CPU has one source, for its IPIs, and one queue. The device has a source too, whose events
//! go to the boot CPU's queue. A source has at most one event in its queue (P), so no queue overflows.
//! A trigger while P is set leaves only Q, which `ack` throws away: its sender's message is stored,
//! and is looked for after `ack`.

use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use super::{Causes, InterruptController, Refused, Resources, Target};
use crate::addr::{PAGE_SHIFT, PAGE_SIZE, PhysAddr, VirtAddr};
use crate::encoding::xive::{ACCEPTED, ACKNOWLEDGE, CPPR, SET_PQ_00, SET_PQ_01, event, place};
use crate::percpu::{self, PerCpu};
use crate::{console, hcall, isa, page};

/// Interrupts of every priority pass.
const ADMIT_ALL: u8 = 0xff;
/// The event of an IPI.
const IPI: u32 = 0;
/// The event of the device.
const DEVICE: u32 = 1;
/// Routes a source to no CPU.
const NO_PRIORITY: u8 = 0xff;

/// The device tree's description of the controller.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The page with the thread's context, for the operating system.
    pub(crate) context: PhysAddr,
    /// log2 of the bytes of a queue.
    pub(crate) log2_queue: u32,
    /// The first of the sources that are free for IPIs, one per CPU.
    pub(crate) first_source: u32,
    /// A priority that the platform leaves to us: that of all events.
    pub(crate) priority: u8,
}

impl Facts {
    pub(super) fn queue_bytes(&self) -> u64 {
        1 << self.log2_queue
    }

    fn source_of(&self, area: &PerCpu) -> u32 {
        self.first_source + area.cpu_id().index() as u32
    }
}

/// A CPU's queue, and how far it is read. The CPU's own.
#[repr(C, align(128))]
pub(crate) struct Queue {
    /// Its address in the linear map.
    memory: AtomicU64,
    log2_bytes: AtomicU32,
    /// How many words were read.
    read: AtomicU32,
    /// The management page of the CPU's source.
    source_page: AtomicU64,
}

impl Queue {
    pub(crate) const fn unset() -> Self {
        Self {
            memory: AtomicU64::new(0),
            log2_bytes: AtomicU32::new(0),
            read: AtomicU32::new(0),
            source_page: AtomicU64::new(0),
        }
    }

    /// Takes the next event out.
    #[inline]
    fn next(&self) -> Option<u32> {
        let (read, log2_bytes) = (self.read.load(Ordering::Relaxed), self.log2_bytes.load(Ordering::Relaxed));
        let words: *const AtomicU32 = VirtAddr(self.memory.load(Ordering::Relaxed)).as_mut_ptr();
        // SAFETY: `prepare_cpu` gave the queue so many bytes, for good, and `place` is within them.
        let word = unsafe { &*words.add(place(read, log2_bytes)) };
        let event = event(word.load(Ordering::Relaxed), read, log2_bytes)?;
        self.read.store(read.wrapping_add(1), Ordering::Relaxed);
        Some(event)
    }
}

/// The boot's [`Facts`].
static FACTS: AtomicPtr<Facts> = AtomicPtr::new(core::ptr::null_mut());
/// Where the context page is mapped; 0: XIVE is not in use.
static CONTEXT: AtomicU64 = AtomicU64::new(0);
/// Where the management page of the device's source is mapped; 0: the hypervisor stands in for it.
static DEVICE_PAGE: AtomicU64 = AtomicU64::new(0);

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

/// A load at `offset` of the management page of a source. Returns what P and Q were.
#[inline(always)]
fn load_source(page: u64, offset: u64) -> u64 {
    // SAFETY: a page of the controller's, mapped for good: the load changes P and Q, no memory.
    unsafe { VirtAddr(page + offset).as_mut_ptr::<u64>().read_volatile() }
}

/// See [`super::init`].
pub(super) fn init(facts: &'static Facts, resources: &mut dyn Resources) {
    hcall::h_int_reset().expect("xive: H_INT_RESET refused");
    FACTS.store(core::ptr::from_ref(facts).cast_mut(), Ordering::Relaxed);
    if let Some([management, _]) =
        console::source().and_then(|source| hcall::h_int_get_source_info(source).ok())
        && management != u64::MAX
    {
        DEVICE_PAGE.store(resources.map_device(PhysAddr(management)).0, Ordering::Relaxed);
    }
    CONTEXT.store(resources.map_device(facts.context).0, Ordering::Relaxed);
}

/// See [`super::prepare_cpu`].
pub(super) fn prepare_cpu(area: &PerCpu, resources: &mut dyn Resources) {
    let facts = facts();
    let pages = hcall::h_int_get_source_info(facts.source_of(area));
    let [management, trigger] =
        pages.unwrap_or_else(|status| panic!("xive: no source for an IPI: {status:?}"));
    assert!(management != u64::MAX, "xive: a source for IPIs has no page");
    let source_page = resources.map_device(PhysAddr(management)).0;
    let trigger_page = match trigger {
        u64::MAX => source_page,
        page => resources.map_device(PhysAddr(page)).0,
    };
    let queue = &area.queue;
    queue.source_page.store(source_page, Ordering::Relaxed);
    queue.memory.store(resources.memory(facts.queue_bytes()).to_virt().0, Ordering::Relaxed);
    queue.log2_bytes.store(facts.log2_queue, Ordering::Relaxed);
    area.set_ipi_target(Target(trigger_page));
}

impl Xive {
    fn admit(self, priority: u8) {
        // SAFETY: the context page, mapped for good; the register admits interrupts, no more.
        unsafe { VirtAddr(self.0.0 + CPPR).as_mut_ptr::<u8>().write_volatile(priority) }
    }

    /// Accepts an interrupt, if there is one.
    fn accept(self) -> bool {
        // SAFETY: the context page, mapped for good: the load changes the CPU's interrupt, no memory.
        let answer = unsafe { VirtAddr(self.0.0 + ACKNOWLEDGE).as_mut_ptr::<u16>().read_volatile() };
        answer & ACCEPTED != 0
    }
}

impl InterruptController for Xive {
    /// The queue, then the route to it, then the source: nothing comes before it has a place.
    fn init_cpu(&self) {
        let (area, facts) = (percpu::this(), facts());
        let (queue, source) = (&area.queue, facts.source_of(area));
        let memory = VirtAddr(queue.memory.load(Ordering::Relaxed)).to_phys();
        for at in 0..facts.queue_bytes() >> PAGE_SHIFT {
            // SAFETY: the queue is this CPU's, and the controller has it not yet, or no more.
            unsafe { page::clear(PhysAddr(memory.0 + at * PAGE_SIZE)) };
        }
        queue.read.store(0, Ordering::Relaxed);
        // F55 sync: orders the zeroes before the events. Partner: the interrupt controller.
        isa::sync();
        // SAFETY: the queue is the CPU's for good, of the size that the device tree names.
        let set = unsafe {
            hcall::h_int_set_queue_config(area.server(), facts.priority, memory.0, facts.log2_queue)
        };
        let set =
            set.and_then(|()| hcall::h_int_set_source_config(source, area.server(), facts.priority, IPI));
        set.unwrap_or_else(|status| panic!("xive: no queue for {}: {status:?}", area.cpu_id()));
        load_source(queue.source_page.load(Ordering::Relaxed), SET_PQ_00);
        self.admit(ADMIT_ALL);
    }

    /// The reverse order of [`Self::init_cpu`].
    fn exit_cpu(&self) {
        let (area, facts) = (percpu::this(), facts());
        let source = facts.source_of(area);
        self.admit(0);
        // What was pending is not any more. The priority that this leaves admits none of ours.
        self.accept();
        load_source(area.queue.source_page.load(Ordering::Relaxed), SET_PQ_01);
        // A refusal would only leave a source on, whose events nobody reads.
        let _ = hcall::h_int_set_source_config(source, area.server(), NO_PRIORITY, IPI);
        let _ = hcall::h_int_sync(source);
        // SAFETY: takes memory away from the controller.
        let _ = unsafe { hcall::h_int_set_queue_config(area.server(), facts.priority, 0, 0) };
    }

    #[inline(always)]
    fn send_ipi(&self, target: Target) {
        // F53 sync: orders what the sender stored (a mailbox, a flag) before the trigger. Partner:
        // `ack`. A store to a device overtakes one to memory.
        isa::sync();
        // SAFETY: the trigger page of a CPU's source, mapped for good; the store is the interrupt.
        unsafe { VirtAddr(target.0).as_mut_ptr::<u64>().write_volatile(0) };
    }

    #[inline(always)]
    fn ack(&self) -> Causes {
        let mut causes = Causes::default();
        if !self.accept() {
            return causes;
        }
        // F54 sync: orders the answer before the reads of the queue. Partner: the interrupt
        // controller, which writes the event before it interrupts.
        isa::sync();
        let queue = &percpu::this().queue;
        while let Some(event) = queue.next() {
            causes.ipi |= event == IPI;
            causes.device |= event == DEVICE;
        }
        if causes.ipi {
            load_source(queue.source_page.load(Ordering::Relaxed), SET_PQ_00);
            // F53 sync: orders the reset of P and Q before the read of any mailbox. Partner: `send_ipi`.
            // A request that this reading misses was stored after it, and its trigger, which finds P
            // off, interrupts again.
            isa::sync();
        }
        if causes.device {
            // The device's signals are edges: it signals after this end again. Its handler reads the
            // device after this end, so no signal is lost.
            end_device();
        }
        self.admit(ADMIT_ALL);
        causes
    }

    fn route(&self, source: u32, server: u32) -> Result<(), Refused> {
        hcall::h_int_set_source_config(source, server, facts().priority, DEVICE).map_err(|_| Refused)?;
        end_device();
        Ok(())
    }
}

/// Makes the device's source ready.
#[cold]
fn end_device() {
    match DEVICE_PAGE.load(Ordering::Relaxed) {
        0 => drop(console::source().map(|source| hcall::h_int_esb(source, SET_PQ_00))),
        page => drop(load_source(page, SET_PQ_00)),
    }
}
