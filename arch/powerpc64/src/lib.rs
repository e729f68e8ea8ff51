//! The hardware half of the kernel.
#![no_std]

#[cfg(target_os = "none")]
pub mod boot;
#[cfg(target_os = "none")]
pub mod console;
#[cfg(target_os = "none")]
pub mod hcall;
#[cfg(target_os = "none")]
pub mod isa;
#[cfg(target_os = "none")]
pub mod percpu;
#[cfg(target_os = "none")]
pub mod rtas;
