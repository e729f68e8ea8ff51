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
#[repr(C, align(65536))]
struct Table([AtomicU64; 8192]);
static ROOT: Table = Table([const { AtomicU64::new(0) }; 8192]);
static PROC: Table = Table([const { AtomicU64::new(0) }; 8192]);
static L2: Table = Table([const { AtomicU64::new(0) }; 8192]);
#[repr(C, align(32768))]
struct Stack([u8; 32768]);
const N: usize = 64;
static mut STACKS: [Stack; N] = [const { Stack([0; 32768]) }; N];
static AREAS: [PerCpu; N] = [const { PerCpu::empty() }; N];
static mut NEW: [core::mem::MaybeUninit<PerCpu>; N] = [const { core::mem::MaybeUninit::uninit() }; N];
static ONLINE: AtomicU32 = AtomicU32::new(0);
static IPIS: AtomicU32 = AtomicU32::new(0);
static TICKS: AtomicU32 = AtomicU32::new(0);
static NMIS: AtomicU32 = AtomicU32::new(0);
static QUIT: AtomicU32 = AtomicU32::new(0);
core::arch::global_asm!(r#"
.section .text.vec,"ax"
.globl vec_start
.globl vec_end
.macro VEC n
 mtspr 273, %r3
 mfctr %r3
 mtspr 274, %r3
 lis %r3, vec_common@highest
 ori %r3, %r3, vec_common@higher
 rldicr %r3, %r3, 32, 31
 oris %r3, %r3, vec_common@high
 ori %r3, %r3, vec_common@l
 mtctr %r3
 li %r3, \n
 bctr
.endm
.balign 4096
vec_start:
.space 0x100
VEC 0x100
.space 0x200 - (. - vec_start)
.rept 15
VEC 0x700
.balign 0x80
.endr
.balign 4096
vec_end:
vec_common:
 stdu %r1, -512(%r1)
 std %r0, 112(%r1)
 std %r4, 120(%r1)
 std %r5, 128(%r1)
 std %r6, 136(%r1)
 std %r7, 144(%r1)
 std %r8, 152(%r1)
 std %r9, 160(%r1)
 std %r10, 168(%r1)
 std %r11, 176(%r1)
 std %r12, 184(%r1)
 mfspr %r4, 273
 std %r4, 192(%r1)
 mfspr %r4, 274
 std %r4, 200(%r1)
 mflr %r4
 std %r4, 208(%r1)
 mfcr %r4
 std %r4, 216(%r1)
 mfspr %r4, 26
 std %r4, 224(%r1)
 mfspr %r4, 27
 std %r4, 232(%r1)
 mfspr %r4, 1
 std %r4, 240(%r1)
 ld %r4, 224(%r1)
 bl {h}
 ld %r4, 200(%r1)
 mtctr %r4
 ld %r4, 208(%r1)
 mtlr %r4
 ld %r4, 216(%r1)
 mtcr %r4
 ld %r4, 224(%r1)
 mtspr 26, %r4
 ld %r4, 232(%r1)
 mtspr 27, %r4
 ld %r4, 240(%r1)
 mtspr 1, %r4
 ld %r0, 112(%r1)
 ld %r4, 120(%r1)
 ld %r5, 128(%r1)
 ld %r6, 136(%r1)
 ld %r7, 144(%r1)
 ld %r8, 152(%r1)
 ld %r9, 160(%r1)
 ld %r10, 168(%r1)
 ld %r11, 176(%r1)
 ld %r12, 184(%r1)
 ld %r3, 192(%r1)
 addi %r1, %r1, 512
 rfid
.globl mmu_on
mmu_on:
 mflr %r0
 mtspr 26, %r0
 mfmsr %r0
 ori %r0, %r0, 0x1032
 mtspr 27, %r0
 rfid
"#, h = sym handler);
unsafe extern "C" { static vec_start: u8; static vec_end: u8; fn mmu_on(); }
extern "C" fn handler(_v: u64, nip: u64) {
    // one stub for all: tell by state
    if _v == 0x100 { NMIS.fetch_add(1, SeqCst); loop {} }
    let dec = isa::mfspr::<22>() as i64;
    if irq::controller().ack() { IPIS.fetch_add(1, SeqCst); return; }
    if dec < 0 || true { TICKS.fetch_add(1, SeqCst); timer::set_deadline_tb(u64::MAX); }
    let _ = nip;
}
fn wait(what: &str, cond: impl Fn() -> bool) {
    let t = timer::now_tb();
    while !cond() { if timer::now_tb() - t > 5 * 512_000_000 { panic!("timeout: {what} online {} ipis {}", ONLINE.load(SeqCst), IPIS.load(SeqCst)); } }
}
fn smp_test(info: &'static BootInfo) -> ! {
    unsafe {
        let n = (&raw const vec_end as usize) - (&raw const vec_start as usize);
        core::ptr::copy_nonoverlapping((&raw const vec_start).add(0x100), PhysAddr(0x100).as_mut_ptr::<u8>(), n - 0x100);
        core::ptr::copy_nonoverlapping(&raw const vec_start, PhysAddr(0x4000).as_mut_ptr::<u8>(), n);
        isa::sync_instruction_cache(PhysAddr(0).as_mut_ptr::<u8>(), 0x8000);
        let ra = |t: &'static Table| VirtAddr(t as *const _ as u64).to_phys().0;
        ROOT.0[0].store(1 << 63 | ra(&L2) | 9, SeqCst);
        L2.0[0].store(3 << 62 | 0x18f, SeqCst);
        PROC.0[0].store(0x40000000000000a0 | ra(&ROOT) | 13, SeqCst);
        isa::ptesync();
        hcall::h_register_proc_tbl(ra(&PROC), 16, info.platform.gtse).unwrap();
        isa::mtspr::<48>(1); isa::isync();
        mmu_on();
        hcall::h_set_mode_ail3().unwrap();
    }
    let _ = writeln!(console::Writer, "mmu on, msr {:#x}", isa::mfmsr());
    let n = info.cpus.len().min(N);
    for (i, &server) in info.cpus[..n].iter().enumerate().skip(1) {
        let top = unsafe { (&raw const STACKS[i]) as u64 } + 32768;
        let area: &'static PerCpu = unsafe { (*(&raw mut NEW[i])).write(PerCpu::new(CpuId::new(i), server, Stacks { kernel_top: top, emergency_top: top - 8192, nmi_top: top - 12288 })) };
        unsafe { smp::start_cpu(area) }.unwrap();
    }
    let _ = &AREAS;
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
    smp::nmi_all_others().unwrap();
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
