//! Eager: borrow nothing.
//!
//! A kernel thread loads `init_mm`, so only tasks that own an mm ever have it loaded,
//! and nobody has when it dies; at the price of two loads where the same task comes back.

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
