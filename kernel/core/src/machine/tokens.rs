//! Proofs of where a thread is, as values that are lent to closures.
//!
//! `PreemptOff::new` and `IrqsOff::new` are the only functions of the crate with a
//! contract that the compiler cannot check. The crate itself calls neither.
#![allow(unsafe_code, reason = "no operation is unsafe here, only the promise to make a true proof")]

use core::marker::PhantomData;

use crate::cpu::CpuId;

/// Proof that this thread cannot leave its CPU: preemption is off.
///
/// Made by the [`Cpu`] and lent to a closure, so it cannot outlive what it proves, nor
/// travel to another CPU.
///
/// [`Cpu`]: super::Cpu
pub struct PreemptOff {
    cpu: CpuId,
    _not_send: PhantomData<*mut ()>,
}

impl PreemptOff {
    /// Makes the proof.
    ///
    /// # Safety
    /// This thread is on `cpu`, and stays there for as long as the token is used.
    #[inline(always)]
    pub unsafe fn new(cpu: CpuId) -> Self {
        Self { cpu, _not_send: PhantomData }
    }

    /// For the host model, which runs on no real CPU and checks its tokens itself.
    #[cfg(any(loom, test, feature = "model"))]
    pub(crate) fn of_model(cpu: CpuId) -> Self {
        Self { cpu, _not_send: PhantomData }
    }

    /// The CPU that we are on, and stay on.
    #[inline(always)]
    pub fn cpu(&self) -> CpuId {
        self.cpu
    }
}

/// Proof that interrupts are off on this CPU, which implies [`PreemptOff`].
pub struct IrqsOff(PreemptOff);

impl IrqsOff {
    /// Makes the proof.
    ///
    /// # Safety
    /// This thread is on `cpu` with interrupts off, and they stay off for as long as the
    /// token is used.
    #[inline(always)]
    pub unsafe fn new(cpu: CpuId) -> Self {
        Self(PreemptOff { cpu, _not_send: PhantomData })
    }

    /// For the host model, like [`PreemptOff::of_model`].
    #[cfg(any(loom, test, feature = "model"))]
    pub(crate) fn of_model(cpu: CpuId) -> Self {
        Self(PreemptOff::of_model(cpu))
    }
}

impl core::ops::Deref for IrqsOff {
    type Target = PreemptOff;

    #[inline(always)]
    fn deref(&self) -> &PreemptOff {
        &self.0
    }
}
