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
    if info.bootargs.contains("smp") { smp_test(info) }
    if info.bootargs.contains("panic") { panic!("asked"); }
    rtas::power_off()
}

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use powerpc64::{hcall, idle, irq::{self, InterruptController}, irqflags, isa, percpu::{self, PerCpu, Stacks}, smp, addr::*};
use kcore::cpu::CpuId;
use powerpc64::{encoding::pte::PteFlags, exceptions::{self, *, frame::TrapFrame}, mmu::{self, tree::*, process_table::*, kernel_map}};
#[repr(C, align(32768))]
struct Stack([u8; 32768]);
const N: usize = 64;
static mut STACKS: [Stack; 2 * N] = [const { Stack([0; 32768]) }; 2 * N];
static mut NEW: [core::mem::MaybeUninit<PerCpu>; N] = [const { core::mem::MaybeUninit::uninit() }; N];
static ONLINE: AtomicU32 = AtomicU32::new(0);
static IPIS: AtomicU32 = AtomicU32::new(0);
static TICKS: AtomicU32 = AtomicU32::new(0);
static NMIS: AtomicU32 = AtomicU32::new(0);
static QUIT: AtomicU32 = AtomicU32::new(0);
struct Bump(u64);
impl TableSource for Bump {
    fn alloc(&mut self, b: u64) -> Option<PhysAddr> {
        let a = self.0.next_multiple_of(b);
        self.0 = a + b;
        for i in 0..b / 8 { unsafe { *PhysAddr(a + i * 8).as_mut_ptr::<u64>() = 0 } }
        Some(PhysAddr(a))
    }
    fn free(&mut self, _: PhysAddr, _: u64) {}
}
struct K;
impl Upcalls for K {
    fn syscall(&self, _: &mut TrapFrame) { unreachable!() }
    fn page_fault(&self, _: &mut TrapFrame, f: Fault) { panic!("{f:?}") }
    fn user_fault(&self, _: &mut TrapFrame, _: UserFault) { unreachable!() }
    fn fpu_unavailable(&self, _: &mut TrapFrame) { unreachable!() }
    fn interrupt(&self) { assert!(!irqflags::are_enabled()); if irq::controller().ack() { IPIS.fetch_add(1, SeqCst); } }
    fn timer(&self) { TICKS.fetch_add(1, SeqCst); timer::set_deadline_tb(u64::MAX); }
    fn return_to_user(&self, _: &mut TrapFrame) { unreachable!() }
    fn preempt_kernel(&self) { unreachable!() }
    fn kernel_fault(&self, f: &TrapFrame, k: KernelFault) -> ! { panic!("{k:x?} {:#x} at {:#x} dar {:#x}", f.vector(), f.nip, f.dar) }
    fn nmi(&self, _: &mut TrapFrame) { NMIS.fetch_add(1, SeqCst); loop {} }
}
fn wait(what: &str, cond: impl Fn() -> bool) {
    let t = timer::now_tb();
    while !cond() { if timer::now_tb() - t > 5 * 512_000_000 { panic!("timeout: {what} online {} ipis {}", ONLINE.load(SeqCst), IPIS.load(SeqCst)); } }
}
fn smp_test(info: &'static BootInfo) -> ! {
    exceptions::install(&K);
    exceptions::install_vectors();
    let bump = &mut Bump(64 << 20);
    let k = kernel_map::build_kernel_map(info.memory, bump).unwrap();
    unsafe {
        let pt = ProcessTable::new(bump.alloc(65536).unwrap());
        mmu::enable(pt, k, kcore::mm::MmId::INIT_MM.pid(), info.platform.gtse).unwrap();
        hcall::h_set_mode_ail3().unwrap();
    }
    let _ = writeln!(console::Writer, "mmu on, msr {:#x}", isa::mfmsr());
    let n = if info.bootargs.contains("partial") { 2 } else { info.cpus.len().min(N) };
    for (i, &server) in info.cpus[..n].iter().enumerate().skip(1) {
        let at = |i: usize| unsafe { (&raw const STACKS[i]) as u64 } + 32768;
        let top = kernel_map::AREA.start + 32768 * (i as u64 + 1);
        for page in 1..=4 {
            let pa = bump.alloc(4096).unwrap();
            kernel_map::map_kernel_page(k, VirtAddr(top - page * 4096), pa, PteFlags::KERNEL_RW, bump).unwrap();
        }
        let stacks = Stacks { kernel_top: top, emergency_top: at(i), nmi_top: at(N + i) };
        let area: &'static PerCpu = unsafe { (*(&raw mut NEW[i])).write(PerCpu::new(CpuId::new(i), server, stacks)) };
        unsafe { smp::start_cpu(area) }.unwrap();
    }
    wait("online", || ONLINE.load(SeqCst) == n as u32 - 1);
    let _ = writeln!(console::Writer, "{} online, stopped? {:?}", n, rtas::query_cpu_stopped_state(info.cpus[n - 1]));
    for round in 1..=100 {
        let t = timer::now_tb();
        for &s in &info.cpus[1..n] { irq::controller().send_ipi(s); }
        wait("ipi", || IPIS.load(SeqCst) == round * (n as u32 - 1));
        if round == 100 { let _ = writeln!(console::Writer, "ipi round {} us", timer::timebase().tb_to_ns(timer::now_tb() - t) / 1000); }
    }
    // self
    irqflags::disable();
    let before = IPIS.load(SeqCst);
    irq::controller().send_ipi(info.cpus[0]);
    idle::cede();
    assert!(IPIS.load(SeqCst) == before + 1, "self ipi");
    let t = timer::now_tb();
    timer::set_deadline_tb(t + timer::timebase().ns_to_tb(10_000_000));
    let ticks = TICKS.load(SeqCst);
    while TICKS.load(SeqCst) == ticks { idle::cede(); }
    let _ = writeln!(console::Writer, "10 ms: {} us, ee {}", timer::timebase().tb_to_ns(timer::now_tb() - t) / 1000, irqflags::are_enabled());
    // stop and restart the last
    if n > 2 {
        QUIT.store(n as u32 - 1, SeqCst);
        irq::controller().send_ipi(info.cpus[n - 1]);
        wait("stopped", || rtas::query_cpu_stopped_state(info.cpus[n - 1]) == Ok(true) && QUIT.load(SeqCst) == 0);
        let t = timer::now_tb(); while timer::now_tb() - t < 5_120_000 {}
        let area: &'static PerCpu = unsafe { (*(&raw mut NEW[n - 1])).assume_init_ref() };
        unsafe { smp::start_cpu(area) }.unwrap();
        wait("restart", || ONLINE.load(SeqCst) == n as u32);
        let _ = writeln!(console::Writer, "restarted");
    }
    for &s in &info.cpus[1..n] { smp::nmi(s).unwrap(); }
    wait("nmi", || NMIS.load(SeqCst) == n as u32 - 1);
    let _ = writeln!(console::Writer, "nmis {}", NMIS.load(SeqCst));
    if info.bootargs.contains("die") { panic!("asked"); }
    rtas::power_off()
}
#[unsafe(no_mangle)]
fn secondary_main() -> ! {
    assert!(isa::mfspr::<48>() == 1 && isa::mfspr::<272>() == percpu::this() as *const _ as u64 && !irqflags::are_enabled());
    ONLINE.fetch_add(1, SeqCst);
    loop {
        idle::cede();
        if QUIT.load(SeqCst) == percpu::cpu_id().index() as u32 {
            QUIT.store(0, SeqCst);
            let e = unsafe { rtas::stop_self() };
            panic!("stop self {e:?}");
        }
    }
}
