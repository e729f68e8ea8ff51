//! boot
use core::arch::global_asm;
use core::fmt::Write as _;
mod openfirmware;
global_asm!(
    include_str!("macros.S"),
    include_str!("entry.S"),
    include_str!("client_call.S"),
    boot_percpu = sym crate::percpu::BOOT_PERCPU,
    boot_start = sym start,
);
extern "C" fn start(_a: u64, _b: u64, entry: u64) -> ! {
    let of = unsafe { openfirmware::OpenFirmware::new(entry as u32) };
    let n = of.find(c"/rtas").unwrap();
    crate::rtas::init(|s| of.property_u32(n, s));
    let _ = writeln!(crate::console::Writer, "hello {entry:#x}");
    crate::rtas::power_off()
}
