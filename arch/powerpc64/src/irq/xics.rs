//! XICS (PAPR chapter 16): four hypervisor calls, no memory and nothing to map.
//!
//! The other controller, XIVE, would save some microseconds an IPI for a queue page
//! and an address mapping per CPU. It is asked out at boot.

use super::InterruptController;
use crate::hcall::{h_cppr, h_eoi, h_ipi, h_xirr};
use crate::{isa, percpu};

/// Interrupts of every priority pass.
const ADMIT_ALL: u8 = 0xff;
/// Priority of our IPIs; lower is more favoured.
const IPI_PRIORITY: u8 = 4;
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
        // Partner: the `sync` in `ack`. Whatever the sender asks for (a mailbox, a
        // flag) is stored before the interrupt goes out; the hypervisor call alone
        // orders nothing.
        isa::sync();
        let status = h_ipi(server, IPI_PRIORITY);
        assert!(status.ok().is_ok(), "xics: no IPI to server {server}: {status:?}");
    }

    #[inline]
    fn ack(&self) -> bool {
        let xirr = h_xirr();
        let is_ipi = match xirr & SOURCE_MASK {
            // Nothing was accepted, so there is nothing to end.
            0 => return false,
            source => source == IPI_SOURCE,
        };
        if is_ipi {
            // Cannot fail for a CPU that just took the interrupt.
            let _ = h_ipi(percpu::this().server(), NO_IPI);
            // The register is clear before any mailbox is read: a request that this
            // reading misses was stored after it, and its IPI comes again. Partner:
            // the `sync` in `send_ipi`.
            isa::sync();
        }
        // A source that nobody set up is ended and forgotten.
        let _ = h_eoi(xirr);
        is_ipi
    }
}
