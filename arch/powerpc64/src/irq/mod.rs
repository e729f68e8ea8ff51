//! The interrupt controller, as far as the kernel needs one: inter-processor
//! interrupts, and the only device, the terminal.

mod xics;

use crate::rtas;

/// The cause of an external interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interrupt {
    /// Nothing any more.
    Spurious,
    /// An inter-processor interrupt. All that its senders stored before they
    /// sent it is visible.
    Ipi,
    /// A device, by the number of its source.
    Device(u32),
}

/// Four functions. All of them work with the MMU on or off and from any context,
/// [`Self::route`] excepted.
pub trait InterruptController: Sync {
    /// Lets interrupts through to the CPU that calls this. Interrupts off.
    fn init_cpu(&self);

    /// Interrupts the CPU with the hardware id `server`, itself included.
    ///
    /// Everything that this CPU stored before is visible to the target before it
    /// takes the interrupt.
    fn send_ipi(&self, server: u32);

    /// Accepts and ends the interrupt behind a 0x500. Interrupts off.
    fn ack(&self) -> Interrupt;

    /// Has the device with number `source` interrupt the CPU `server`. Once, in a
    /// context that may take a lock.
    ///
    /// # Errors
    /// The firmware's status.
    fn route(&self, source: u32, server: u32) -> Result<(), rtas::Error>;
}

/// The controller in use.
#[inline]
#[must_use]
pub fn controller() -> &'static impl InterruptController {
    &xics::Xics
}
