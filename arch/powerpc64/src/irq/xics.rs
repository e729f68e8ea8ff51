//! XICS (PAPR chapter 16): four hypervisor calls, no memory and nothing to map.

use super::{Interrupt, InterruptController, Refused, Target};
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
#[derive(Clone, Copy)]
pub struct Xics;

impl InterruptController for Xics {
    fn init_cpu(&self) {
        let status = h_cppr(ADMIT_ALL);
        assert!(status.ok().is_ok(), "xics: H_CPPR refused: {status:?}");
    }

    fn exit_cpu(&self) {
        let _ = h_cppr(0);
    }

    #[inline(always)]
    fn send_ipi(&self, target: Target) {
        // F10 sync: orders what the sender stored (a mailbox, a flag) before the interrupt.
        // Partner: `ack`. The hypervisor call alone orders nothing.
        isa::sync();
        let status = h_ipi(target.0 as u32, IPI_PRIORITY);
        assert!(status.ok().is_ok(), "xics: no IPI to server {}: {status:?}", target.0);
    }

    #[inline(always)]
    fn ack(&self) -> Interrupt {
        let xirr = h_xirr();
        // Devices signal by edges (message interrupts): a device that signals after this
        // end interrupts again. Its handler reads the device after this end, so no signal
        // is lost.
        let end = || _ = h_eoi(xirr);
        match xirr & SOURCE_MASK {
            // Nothing was accepted, so there is nothing to end.
            0 => Interrupt::Spurious,
            IPI_SOURCE => {
                // Cannot fail for a CPU that just took the interrupt.
                let _ = h_ipi(percpu::this().server(), NO_IPI);
                // F10 sync: orders the cleared register before the read of any mailbox. Partner:
                // `send_ipi`. A request that this reading misses was stored after it, and its
                // IPI comes again.
                isa::sync();
                end();
                Interrupt::Ipi
            }
            _ => {
                end();
                Interrupt::Device
            }
        }
    }

    fn route(&self, source: u32, server: u32) -> Result<(), Refused> {
        rtas::set_xive(source, server, DEVICE_PRIORITY).map_err(|_| Refused)
    }
}
