//! The bookkeeping of memory, apart from any machine.
//!
//! The areas of an address space ([`area`], [`areas`], [`brk`]) and the free
//! page frames ([`buddy`], [`boot_memory`]): arithmetic that can be wrong in
//! many ways and needs no hardware for its tests.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod area;
pub mod areas;
pub mod boot_memory;
pub mod brk;
pub mod buddy;

/// log2 of the base page.
pub const PAGE_SHIFT: u32 = 12;
/// The base page, in bytes.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;

/// `addr` rounded down to a page.
pub const fn page_down(addr: u64) -> u64 {
    addr & !(PAGE_SIZE - 1)
}

/// `addr` rounded up to a page, or None if no page begins there or above.
pub const fn page_up(addr: u64) -> Option<u64> {
    match addr.checked_add(PAGE_SIZE - 1) {
        Some(sum) => Some(page_down(sum)),
        None => None,
    }
}
