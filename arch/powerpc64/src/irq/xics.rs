//! XICS (PAPR chapter 16): four hypervisor calls, no memory and nothing to map.
//!
//! The other controller, XIVE, would save some microseconds per IPI, for a queue page and
//! an address mapping per CPU. The boot does not ask for it.

use super::{Interrupt, InterruptController};
use crate::hcall::{h_cppr, h_eoi, h_ipi, h_xirr};
use crate::{isa, percpu, rtas};

/// Interrupts of every priority pass.
const ADMIT_ALL: u8 = 0xff;
/// Priority of our IPIs; lower is more favoured.
const IPI_PRIORITY: u8 = 4;
/// Priority of devices: after IPIs, for which other CPUs wait.
const DEVICE_PRIORITY: u8 = 5;
/// "No IPI" in a processor's IPI register.
const NO_IPI: u8 = 0xff;
/// Source number of an IPI in XIRR. 0 is "nothing pending".
const IPI_SOURCE: u32 = 2;
/// XIRR: the source number below the priority.
const SOURCE_MASK: u32 = 0x00ff_ffff;

/// The controller. It keeps no state.
pub(super) struct Xics;

impl InterruptController for Xics {
    fn init_cpu(&self) {
        let status = h_cppr(ADMIT_ALL);
        assert!(status.ok().is_ok(), "xics: H_CPPR refused: {status:?}");
    }

    #[inline]
    fn send_ipi(&self, server: u32) {
        // F10 sync: orders what the sender stored (a mailbox, a flag) before the interrupt.
        // Partner: `ack`. The hypervisor call alone orders nothing.
        isa::sync();
        let status = h_ipi(server, IPI_PRIORITY);
        assert!(status.ok().is_ok(), "xics: no IPI to server {server}: {status:?}");
    }

    #[inline]
    fn ack(&self) -> Interrupt {
        let xirr = h_xirr();
        let interrupt = match xirr & SOURCE_MASK {
            // Nothing was accepted, so there is nothing to end.
            0 => return Interrupt::Spurious,
            IPI_SOURCE => Interrupt::Ipi,
            source => Interrupt::Device(source),
        };
        if interrupt == Interrupt::Ipi {
            // Cannot fail for a CPU that just took the interrupt.
            let _ = h_ipi(percpu::this().server(), NO_IPI);
            // F10 sync: orders the cleared register before the read of any mailbox. Partner:
            // `send_ipi`. A request that this reading misses was stored after it, and its
            // IPI comes again.
            isa::sync();
        }
        // Devices signal by edges (message interrupts): a device that signals after this
        // end interrupts again. Its handler reads the device after this end, so no signal
        // is lost.
        let _ = h_eoi(xirr);
        interrupt
    }

    fn route(&self, source: u32, server: u32) -> Result<(), rtas::Error> {
        rtas::set_xive(source, server, DEVICE_PRIORITY)
    }
}
