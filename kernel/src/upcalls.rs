//! What the hardware half asks of the kernel: a thin table of contents.

use powerpc64::exceptions::{Cause, Fault, TrapFrame, Upcalls};
use powerpc64::{irq, percpu};
use kcore::machine::IrqsOff;

use crate::machine::lazy_tlb;

/// The kernel, to the hardware half.
pub(crate) struct KernelUpcalls;
