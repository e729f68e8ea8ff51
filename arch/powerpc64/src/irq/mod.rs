//! The interrupt controller, as far as the kernel needs one: it has no devices,
//! only inter-processor interrupts.

mod xics;

/// Three functions cover it. All of them work with the MMU on or off and from any
/// context.
pub trait InterruptController: Sync {
    /// Lets interrupts through to the CPU that calls this. Interrupts off.
    fn init_cpu(&self);

    /// Interrupts the CPU with the hardware id `server`, itself included.
    ///
    /// Everything that this CPU stored before is visible to the target before it
    /// takes the interrupt.
    fn send_ipi(&self, server: u32);

    /// Accepts and ends the interrupt behind a 0x500. True: it was an IPI, and what
    /// its senders stored before they sent is visible now. False: it was spurious.
    /// Interrupts off.
    fn ack(&self) -> bool;
}

/// The one in use.
#[inline]
#[must_use]
pub fn controller() -> &'static impl InterruptController {
    &xics::Xics
}
