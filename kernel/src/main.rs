//! Throw-away test of the boot; the real one replaces it.
#![no_std]
#![no_main]
#![allow(clippy::all)]
use core::fmt::Write;
use powerpc64::{boot::BootInfo, console, rtas, timer};
struct NoHeap;
unsafe impl core::alloc::GlobalAlloc for NoHeap {
    unsafe fn alloc(&self, _: core::alloc::Layout) -> *mut u8 { core::ptr::null_mut() }
    unsafe fn dealloc(&self, _: *mut u8, _: core::alloc::Layout) {}
}
#[global_allocator]
static HEAP: NoHeap = NoHeap;
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let _ = writeln!(console::Writer, "{info}");
    rtas::os_term("panic")
}
#[unsafe(no_mangle)]
fn kmain(info: &'static BootInfo) -> ! {
    let t = timer::now_tb();
    let _ = writeln!(console::Writer, "memory {:?}\nreserved {:?}\ninitrd {:?} args {:?} cpus {} {:?} hz {} dec {} seed {:?}\n{:?} sets {} pvr {:#x} model {:?} tree {} nodes {}, up {} us",
      info.memory, info.reserved, info.initrd, info.bootargs, info.cpus.len(), &info.cpus[..info.cpus.len().min(8)], info.timebase_hz, info.decrementer_bits, info.rng_seed, info.platform, info.tlbiel_sets, info.pvr, info.model, info.tree.total_size(), info.tree.nodes().count(), timer::timebase().tb_to_ns(t)/1000);
    if info.bootargs.contains("dump") {
        for n in info.tree.nodes() { let _ = writeln!(console::Writer, "{} [{}]", n.name(), n.properties().count()); }
    }
    if info.bootargs.contains("echo") {
        let t = timer::now_tb();
        while timer::now_tb() - t < 512_000_000 { if let Some(c) = console::read_byte() { let _ = write!(console::Writer, "<{}>", c as char); } }
    }
    if info.bootargs.contains("panic") { panic!("asked"); }
    rtas::power_off()
}
#[unsafe(no_mangle)]
fn secondary_main() -> ! { loop {} }
