//! The hardware half of the kernel: 64-bit Book3S with the radix MMU, as an
//! LPAR guest (pseries).
//!
//! [`encoding`] is pure arithmetic on bit layouts and is tested on the host.
//! Everything that touches the machine exists on the bare target only.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod addr;
pub mod encoding;
pub mod exceptions;
pub mod reg;

#[cfg(target_os = "none")]
pub mod backtrace;
#[cfg(target_os = "none")]
pub mod boot;
#[cfg(target_os = "none")]
pub mod console;
#[cfg(target_os = "none")]
pub mod context;
#[cfg(target_os = "none")]
pub mod hcall;
#[cfg(target_os = "none")]
pub mod idle;
#[cfg(target_os = "none")]
pub mod irq;
#[cfg(target_os = "none")]
pub mod irqflags;
#[cfg(target_os = "none")]
pub mod isa;
#[cfg(target_os = "none")]
pub mod mmu;
#[cfg(target_os = "none")]
pub mod page;
#[cfg(target_os = "none")]
pub mod patch;
#[cfg(target_os = "none")]
pub mod percpu;
#[cfg(target_os = "none")]
pub mod ring;
#[cfg(target_os = "none")]
pub mod rtas;
#[cfg(target_os = "none")]
pub mod smp;
#[cfg(target_os = "none")]
pub mod timer;
#[cfg(target_os = "none")]
pub mod tlb;
#[cfg(target_os = "none")]
pub mod uaccess;
