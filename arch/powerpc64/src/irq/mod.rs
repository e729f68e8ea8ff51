//! The interrupt controller, as far as the kernel needs one: inter-processor
//! interrupts, and the only device, the terminal.
//!
//! A machine has XICS or XIVE, by the agreement at boot. The memory and the address mappings that
//! XIVE needs come from the kernel.

pub(crate) mod xics;
pub(crate) mod xive;

use crate::addr::{PhysAddr, VirtAddr};
use crate::encoding::platform_support::Interrupts;
use crate::percpu::{self, PerCpu};

/// The interrupt controller that the platform has granted.
#[derive(Clone, Copy, Debug)]
pub enum Platform {
    /// Hypervisor calls: nothing to know, nothing to map.
    Xics,
    /// Loads and stores.
    Xive(xive::Facts),
}

impl Platform {
    /// The one of the two.
    #[must_use]
    pub fn kind(&self) -> Interrupts {
        match self {
            Self::Xics => Interrupts::Xics,
            Self::Xive(_) => Interrupts::Xive,
        }
    }
}

/// The kernel's memory, given to an interrupt controller for good. Both end the boot if there is
/// none left.
pub trait Resources {
    /// Maps the device page at `page` for loads and stores.
    fn map_device(&mut self, page: PhysAddr) -> VirtAddr;
    /// `bytes`, a power of two of at least a page, aligned to their size.
    fn memory(&mut self, bytes: u64) -> PhysAddr;
}

/// The target of an IPI.
#[derive(Clone, Copy, Debug)]
pub struct Target(pub(crate) u64);

/// The cause of an external interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interrupt {
    /// Nothing any more.
    Spurious,
    /// An inter-processor interrupt. All that its senders stored before they
    /// sent it is visible.
    Ipi,
    /// The device.
    Device,
}

/// The platform refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused;

/// The kernel's requests to an interrupt controller. Any context, unless a request says otherwise.
pub trait InterruptController {
    /// Lets interrupts through to the CPU that calls this. Interrupts off, MMU on.
    fn init_cpu(&self);

    /// Lets none through any more to the CPU that calls this, and no earlier one that was not
    /// accepted. Interrupts off.
    fn exit_cpu(&self);

    /// Interrupts a CPU, the caller's own included.
    ///
    /// Everything that this CPU stored before is visible to the target before it
    /// takes the interrupt.
    fn send_ipi(&self, target: Target);

    /// Accepts and ends the interrupt behind a 0x500. Interrupts off.
    fn ack(&self) -> Interrupt;

    /// Has the device with number `source` interrupt the CPU `server`. Once, in a
    /// context that may take a lock.
    ///
    /// # Errors
    /// The platform's refusal.
    fn route(&self, source: u32, server: u32) -> Result<(), Refused>;
}

/// The controller in use.
#[derive(Clone, Copy)]
pub enum Controller {
    /// XICS, or none yet.
    Xics(xics::Xics),
    /// XIVE.
    Xive(xive::Xive),
}

/// The controller in use.
#[inline(always)]
#[must_use]
pub fn controller() -> Controller {
    xive::in_use().map_or(Controller::Xics(xics::Xics), Controller::Xive)
}

macro_rules! of_either {
    ($controller:ident.$call:ident($($argument:ident),*)) => {
        match $controller {
            Self::Xics(xics) => xics.$call($($argument),*),
            Self::Xive(xive) => xive.$call($($argument),*),
        }
    };
}

impl InterruptController for Controller {
    fn init_cpu(&self) {
        of_either!(self.init_cpu());
    }

    fn exit_cpu(&self) {
        of_either!(self.exit_cpu());
    }

    #[inline(always)]
    fn send_ipi(&self, target: Target) {
        of_either!(self.send_ipi(target));
    }

    #[inline(always)]
    fn ack(&self) -> Interrupt {
        of_either!(self.ack())
    }

    fn route(&self, source: u32, server: u32) -> Result<(), Refused> {
        of_either!(self.route(source, server))
    }
}

/// Takes `platform`'s controller into use, on the boot CPU, with the MMU on, before other CPUs.
pub fn init(platform: &'static Platform, resources: &mut dyn Resources) {
    if let Platform::Xive(facts) = platform {
        xive::init(facts, resources);
    }
    prepare_cpu(percpu::this(), resources);
    controller().init_cpu();
}

/// Prepares the CPU of `area`, before it starts for the first time.
pub fn prepare_cpu(area: &PerCpu, resources: &mut dyn Resources) {
    match controller() {
        Controller::Xics(_) => area.set_ipi_target(Target(area.server().into())),
        Controller::Xive(_) => xive::prepare_cpu(area, resources),
    }
}
