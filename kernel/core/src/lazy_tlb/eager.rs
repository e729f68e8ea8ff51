//! Eager: borrow nothing.
//!
//! A kernel thread loads `init_mm`, so an mm is loaded only where a task runs that owns
//! it, and on no CPU when it dies. The price is two loads where the user task comes back.

use super::policy::{Begin, Operations};
use crate::LazyTlb;
use crate::machine::{IrqsOff, Machine};
use crate::mm::MmId;

pub(crate) enum Eager {}

impl Operations for Eager {
    #[inline(always)]
    fn begin<M: Machine>(_: &LazyTlb<M>, _: &IrqsOff, _: MmId) -> Begin {
        Begin::LoadInitMm
    }
}
