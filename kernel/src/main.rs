//! The lazy-TLB kernel.
#![no_std]
#![no_main]
use powerpc64 as _;
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
