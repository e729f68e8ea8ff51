//! Throw-away test of the traps; the real one replaces it.
#![no_std]
#![no_main]
#![allow(clippy::all, missing_docs, dead_code)]
use core::fmt::Write;
use core::sync::atomic::{AtomicU64, AtomicBool, Ordering::Relaxed};
use powerpc64::{addr::*, backtrace::*, boot::{self, BootInfo}, console, context::{self, Context, fpu::{self, VectorState}}, encoding::{*, pte::*}, exceptions::{self, *, frame::TrapFrame}, hcall, irqflags, isa, mmu::{self, tree::*, process_table::*, kernel_map}, percpu::{self, Stacks, PerCpu}, rtas, smp, timer, tlb, uaccess, page, irq::{self, InterruptController}};
use kcore::mm::{Pid, MmId};
macro_rules! p { ($($a:tt)*) => {{ let _ = writeln!(console::Writer, $($a)*); }} }
struct NoHeap;
unsafe impl core::alloc::GlobalAlloc for NoHeap {
    unsafe fn alloc(&self, _: core::alloc::Layout) -> *mut u8 { core::ptr::null_mut() }
    unsafe fn dealloc(&self, _: *mut u8, _: core::alloc::Layout) {}
}
#[global_allocator]
static HEAP: NoHeap = NoHeap;
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! { p!("{info}"); bt(Backtrace::here()); rtas::os_term("panic") }
fn bt(b: Backtrace) { for s in b { match s { Step::Call(a) => p!("  {a:#x}"), Step::Trap{vector,nip,user} => p!("  [trap {vector:#x} at {nip:#x} user {user}]") } } }

#[repr(align(32768))] struct Slot([u8; 32768]);
static mut SLOTS: [Slot; 8] = [const { Slot([0;32768]) }; 8];
fn top(n: usize) -> u64 { (&raw const SLOTS) as u64 + 32768*(n as u64+1) }
static CPU1: PerCpu = PerCpu::empty();

struct Bump(u64);
impl TableSource for Bump {
    fn alloc(&mut self, b: u64) -> Option<PhysAddr> { let a = self.0.next_multiple_of(b); self.0 = a + b;
        for i in 0..b/8 { unsafe { *PhysAddr(a+i*8).as_mut_ptr::<u64>() = 0 } } Some(PhysAddr(a)) }
    fn free(&mut self, t: PhysAddr, b: u64) { FREED.fetch_add(b, Relaxed); let _ = t; }
}
static FREED: AtomicU64 = AtomicU64::new(0);
static mut BUMP: Bump = Bump(64<<20);
fn bump() -> &'static mut Bump { unsafe { &mut *(&raw mut BUMP) } }
static mut TREE: Option<RadixTree> = None;
static mut PT: Option<ProcessTable> = None;
static mut KTREE: Option<RadixTree> = None;

static CALLS: AtomicU64 = AtomicU64::new(0);
static TICKS: AtomicU64 = AtomicU64::new(0);
static IPIS: AtomicU64 = AtomicU64::new(0);
static FAULTS: AtomicU64 = AtomicU64::new(0);
static UNMIS: AtomicU64 = AtomicU64::new(0);
static NMIS: AtomicU64 = AtomicU64::new(0);
static WORKS: AtomicU64 = AtomicU64::new(0);
static PREEMPTS: AtomicU64 = AtomicU64::new(0);
static FPUS: AtomicU64 = AtomicU64::new(0);
static mut VS: [Option<VectorState>; 2] = [None, None];
static PREEMPT_TEST: AtomicBool = AtomicBool::new(false);
static SPIN: AtomicBool = AtomicBool::new(false);
static SPIN2: AtomicBool = AtomicBool::new(false);
struct K;
impl Upcalls for K {
    fn syscall(&self, f: &mut TrapFrame) {
        assert!(irqflags::are_enabled());
        CALLS.fetch_add(1, Relaxed);
        match f.syscall_number() {
            0 => f.set_result(0),
            1 => { p!("exit({}) calls {} faults {} ticks {} works {} fpus {} r14 {:#x} r31 {:#x}", f.gpr(3) as i64, CALLS.load(Relaxed), FAULTS.load(Relaxed), TICKS.load(Relaxed), WORKS.load(Relaxed), FPUS.load(Relaxed), f.gpr(14), f.gpr(31)); bt(Backtrace::here()); done() }
            2 => f.set_result(-14),
            3 => { f.set_gpr(20, 0x2020); f.set_result(0x33) }
            4 => { percpu::this().set_work(); f.set_result(7) }
            n => { p!("syscall {n}: {:x?}", f.syscall_args()); f.set_result(-38) }
        }
    }
    fn page_fault(&self, f: &mut TrapFrame, fault: Fault) {
        FAULTS.fetch_add(1, Relaxed);
        let a = fault.addr.0;
        if !(0x10000..0x40000).contains(&a) {
            if a < 0x50000 || fault.cause==FaultCause::Protection || !f.is_user() { p!("  fault {:?} user {} nip {:#x}", fault, f.is_user(), f.nip); }
            if f.is_user() { p!("user killed"); done() }
            assert!(f.fixup()); return;
        }
        if fault.cause == FaultCause::Protection { p!("  protection {fault:?} user {}", f.is_user()); if !f.fixup() { done() } return; }
        let pg = bump().alloc(4096).unwrap();
        unsafe { TREE }.unwrap().walk_alloc(a, bump()).unwrap().store(Pte::leaf(pg, PteFlags::USER_RW));
        after_store();
    }
    fn user_fault(&self, f: &mut TrapFrame, fault: UserFault) { assert!(irqflags::are_enabled()); p!("  user fault {fault:x?} at {:#x}", f.nip); f.nip += 4; f.restore_all(); }
    fn fpu_unavailable(&self, f: &mut TrapFrame) { irqflags::disable(); FPUS.fetch_add(1, Relaxed); unsafe { let v = &mut *(&raw mut VS); v[0].get_or_insert_default().load(f); } irqflags::enable(); }
    fn interrupt(&self) { if irq::controller().ack() { IPIS.fetch_add(1, Relaxed); } }
    fn timer(&self) { TICKS.fetch_add(1, Relaxed); timer::set_deadline_tb(timer::now_tb() + 51200); if PREEMPT_TEST.load(Relaxed) { percpu::this().set_work(); } if SPIN.load(Relaxed) { percpu::this().set_work(); if TICKS.load(Relaxed) > 50 { p!("ticks {} works {}", TICKS.load(Relaxed), WORKS.load(Relaxed)); bt(Backtrace::here()); done() } } }
    fn return_to_user(&self, f: &mut TrapFrame) { assert!(!irqflags::are_enabled()); WORKS.fetch_add(1, Relaxed); percpu::this().clear_work();
        // as a switch would: save and drop the vector state
        if fpu::is_loaded(f) { unsafe { (*(&raw mut VS))[0].as_mut().unwrap().save(f); } scramble(); }
    }
    fn preempt_kernel(&self) { PREEMPTS.fetch_add(1, Relaxed); percpu::this().clear_work(); if PREEMPT_TEST.load(Relaxed) { yield_to_other(); } }
    fn kernel_fault(&self, f: &TrapFrame, k: KernelFault) -> ! {
        let sp: u64; unsafe { core::arch::asm!("mr {}, 1", out(reg) sp) };
        p!("KERNEL FAULT {k:x?} trap {:#x} nip {:#x} lr {:#x} r1 {:#x} msr {:#x} dar {:#x} dsisr {:#x} amr {:#x}; on emergency: {}", f.vector(), f.nip, f.lr, f.gpr(1), f.msr, f.dar, f.dsisr, isa::mfspr::<29>(), sp > top(0)-16384 && sp < top(0));
        bt(Backtrace::from_frame(f)); done() }
    fn nmi(&self, f: &mut TrapFrame) { let sp: u64; unsafe { core::arch::asm!("mr {}, 1", out(reg) sp) };
        if f.is_user() { UNMIS.fetch_add(1, Relaxed); } if NMIS.fetch_add(1, Relaxed) < 2 { p!("nmi cpu {:?} nip {:#x} user {} recov {} msr now {:#x} own stack {}", percpu::cpu_id(), f.nip, f.is_user(), f.is_recoverable(), isa::mfmsr(), (sp > top(1)-16384 && sp < top(1)) || (sp > top(4)-16384 && sp<top(4))); bt(Backtrace::from_frame(f)); } }
}
unsafe extern "C" { fn test_scramble(); static user_code: u8; static user_code_end: u8; fn test_recurse(n: u64) -> u64; }
fn scramble() { unsafe { test_scramble() } }
core::arch::global_asm!(r#"
.section .text.t,"ax"
test_scramble: mfmsr 5; ori 6,5,0x2000; oris 6,6,0x0280; mtmsrd 6; isync
 .long 0xf00004d0|0 # xxlxor vs0,vs0,vs0
 .long 0xfc200890 # fmr f1,f1... 
 .long 0xf0210cd0 # xxlxor vs1,vs1,vs1
 .long 0xf3fffcd7 # xxlxor vs63
 mtmsrd 5; isync; blr
.section .rodata.user,"a"
.balign 4096
user_code:
 b ucount      # 0
 b ufault      # 4
 b uexc        # 8
 b ufpu        # c
 b uspin       # 10
 b uregs       # 14
 b unull       # 18
 b ucalls
ucalls: li 0,0; sc; mr 9,13; lis 5,1; stw 6,0(5); b ucalls
ucount: li 14,1000
1: li 0,0; sc; addi 14,14,-1; cmpdi 14,0; bne 1b
 li 0,1; li 3,0; sc
ufault: lis 5,1        # 0x10000
 li 6,16; mtctr 6
1: stw 6,0(5); addi 5,5,4096; bdnz 1b
 li 0,1; li 3,5; sc
uexc: .long 0         # illegal
 mfmsr 3              # privileged
 trap
 lis 3,1; addi 3,3,2; lwarx 4,0,3   # alignment
 li 3,1; rldicr 3,3,60,3; ld 3,0(3)  # segment 0x1000..
 mtspr 153,3
 .long 0x44000001     # scv
 lis 5,1; mtctr 5     # exec from data page -> mapped RW, no X
 stw 5,0(5)
 bctr
 li 0,1; li 3,9; sc
ufpu: li 3,0x4321
 mtvsrd: .long 0x7c230166  # mtvsrd f1(vs1),r3
 .long 0x7fe30167|0 # mtvsrd vs63,r3
 li 0,4; sc          # work: saves + scrambles
 .long 0x7c240066   # mfvsrd r4,vs1
 .long 0x7fe50067   # mfvsrd r5,vs63
 cmpd 3,3
 li 6,0x4321
 cmpd 4,6; bne 9f; cmpd 5,6; bne 9f
 li 3,0; li 0,1; sc
9: mr 3,4; li 0,1; sc
uspin: li 7,0
1: addi 7,7,1; cmpdi 7,0; bne 1b
uregs: li 20,20; li 14,14; li 31,31; li 16,16
 li 0,3; sc
 cmpdi 3,0x33; bne 9f; cmpdi 20,0x2020; bne 9f ; cmpdi 16,16; bne 9f; cmpdi 31,31; bne 9f
 li 0,2; sc
 bns 9f; cmpdi 3,14; bne 9f
 li 0,0; sc
 bso 9f
 li 0,4; li 3,1; sc
 cmpdi 3,7; bne 9f; cmpdi 14,14; bne 9f
 li 0,77; li 3,3; li 4,4; li 8,8; sc
 li 0,1; li 3,0; sc
9: li 0,1; li 3,-1; sc
unull: li 3,0; ld 3,0(3)
 b unull
user_code_end:
.text
"#);
fn done() -> ! { p!("done"); rtas::power_off() }

static mut CTX: [Context; 2] = [Context::running(), Context::running()];
static SWITCHES: AtomicU64 = AtomicU64::new(0);
static mut WHO: usize = 0;
fn yield_to_other() { unsafe { let me = WHO; WHO = 1 - me; percpu::set_current(core::ptr::null(), top(2 + (1-me))); SWITCHES.fetch_add(1, Relaxed);
    context::switch_to(&raw mut CTX[me], &raw const CTX[1-me]); } }
static COUNTS: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];
extern "C" fn thread(n: usize) -> ! {
    if PREEMPT_TEST.load(Relaxed) { irqflags::enable(); let mut cr: u64 = n as u64; loop { COUNTS[n].fetch_add(1, Relaxed); 
        // uaccess under preemption: AMR must survive
        let mut b = [0u8; 512]; let user = 0x10000 + 4096 * n as u64;
        unsafe { uaccess::copy_to_user(user, b.as_ptr(), 512).unwrap(); uaccess::copy_from_user(b.as_mut_ptr(), user, 512).unwrap(); }
        cr = cr.wrapping_mul(6364136223846793005).wrapping_add(1); core::hint::black_box(cr);
        assert!(isa::mfspr::<29>() == !0);
        if SWITCHES.load(Relaxed) > 200 { irqflags::disable(); p!("preempted {} times, counts {} {} ticks {} faults {}", PREEMPTS.load(Relaxed), COUNTS[0].load(Relaxed), COUNTS[1].load(Relaxed), TICKS.load(Relaxed), FAULTS.load(Relaxed)); done() } } }
    for i in 0..1000u64 { COUNTS[n].fetch_add(i, Relaxed); yield_to_other(); }
    p!("thread {n} done {} {} switches {}", COUNTS[0].load(Relaxed), COUNTS[1].load(Relaxed), SWITCHES.load(Relaxed));
    bt(Backtrace::from_stack(unsafe { (*(&raw const CTX[1-n])).stack_pointer() }));
    done()
}
#[inline(never)] fn recurse(n: u64) -> u64 { let a = core::hint::black_box([n; 30]); if n == 0 { 0 } else { recurse(n - 1) + a[3] } }
extern "C" fn user_thread(which: usize) -> ! {
    let f = TrapFrame::new_user(0x40000 + which as u64 * 4, 0x3f000);
    irqflags::enable(); irqflags::disable();
    unsafe { context::enter_user(&f) }
}
fn user_space() {
    let t = RadixTree::new(bump()).unwrap();
    unsafe { TREE = Some(t) };
    let code = bump().alloc(4096).unwrap();
    unsafe { core::ptr::copy_nonoverlapping(&raw const user_code, code.as_mut_ptr(), 4096); }
    isa::sync_instruction_cache(code.as_mut_ptr(), 4096);
    t.walk_alloc(0x40000, bump()).unwrap().store(Pte::leaf(code, PteFlags::USER_RX));
    unsafe { PT }.unwrap().set(Pid::new(2), t.root());
    unsafe { mmu::load_pid(Pid::new(2)); }
}
fn start(entry: extern "C" fn(usize) -> !, a: usize, n: usize) -> ! { unsafe {
    CTX[n] = Context::for_kernel_entry(top(2+n), entry, a); percpu::set_current(core::ptr::null(), top(2+n)); WHO = n;
    let mut here = Context::running(); context::switch_to(&raw mut here, &raw const CTX[n]); unreachable!() } }

#[unsafe(no_mangle)]
fn kmain(info: &'static BootInfo) -> ! {
    exceptions::install(&K);
    boot::BOOT_PERCPU.set_stacks(Stacks { kernel_top: top(2), emergency_top: top(0), nmi_top: top(1) });
    exceptions::install_vectors();
    exceptions::init_cpu();
    tlb::set_sets(info.tlbiel_sets);
    let arg = info.bootargs;
    if arg == "realfault" { unsafe { core::arch::asm!(".long 0") } }
    let k = kernel_map::build_kernel_map(info.memory, bump()).unwrap();
    let pt = unsafe { ProcessTable::new(bump().alloc(65536).unwrap()) };
    unsafe { PT = Some(pt); KTREE = Some(k); mmu::enable(pt, k, MmId::INIT_MM.pid(), true).unwrap(); hcall::h_set_mode_ail3().unwrap(); }
    p!("mmu on msr {:#x} pid {:?}", isa::mfmsr(), mmu::loaded_pid());
    timer::set_deadline_tb(timer::now_tb() + (1 << 40));
    match arg {
        "wx-text" => unsafe { *(kmain as *const () as *mut u32) = 0 },
        "wx-vec" => unsafe { *(0xc000000000004300 as *mut u32) = 0 },
        "wx-rodata" => unsafe { *((&raw const user_code) as *mut u32) = 0 },
        "nx-data" => { static mut D: [u32; 2] = [0x4e800020, 1]; let d: [usize; 2] = [(&raw const D) as usize, 0]; let f: extern "C" fn() = unsafe { core::mem::transmute(d[0]) }; f() }
        "null" => unsafe { p!("{}", (0x8 as *const u64).read_volatile()) },
        "kuap" => { user_space(); unsafe { p!("{}", (0x40000 as *const u64).read_volatile()) } }
        "kuep" => { user_space(); let f: extern "C" fn() = unsafe { core::mem::transmute(0x40000usize) }; f() }
        "overflow" => { extern "C" fn e(_: usize) -> ! { p!("{}", recurse(1_000)); done() } start(e, 0, 0) }
        "overflow-vm" => { // guard pages really unmapped
            let va = kernel_map::AREA.start + 0x4000; for i in 0..4 { let pg = bump().alloc(4096).unwrap(); kernel_map::map_kernel_page(k, VirtAddr(va + i*4096), pg, PteFlags::KERNEL_RW, bump()).unwrap(); }
            extern "C" fn e(_: usize) -> ! { p!("{}", recurse(1_000)); done() }
            unsafe { let t = va + 0x4000; let c = Context::for_kernel_entry(t, e, 0); percpu::set_current(core::ptr::null(), t); let mut here = Context::running(); context::switch_to(&raw mut here, &c); } }
        "badkernel" => unsafe { core::arch::asm!("trap") },
        "switch" => { unsafe { CTX[1] = Context::for_kernel_entry(top(3), thread, 1); } start(thread, 0, 0) }
        "preempt" => { user_space(); unsafe { CTX[1] = Context::for_kernel_entry(top(3), thread, 1); } PREEMPT_TEST.store(true, Relaxed); timer::set_deadline_tb(timer::now_tb()+51200); start(thread, 0, 0) }
        "syscalls" => { user_space(); start(user_thread, 0, 0) }
        "fault" => { user_space(); start(user_thread, 1, 0) }
        "exc" => { user_space(); start(user_thread, 2, 0) }
        "fpu" => { user_space(); start(user_thread, 3, 0) }
        "nmi-user" => { user_space(); SPIN2.store(true, Relaxed);
            CPU1.set_stacks(Stacks { kernel_top: top(5), emergency_top: top(3), nmi_top: top(4) }); CPU1.set_server(info.cpus[1]);
            unsafe { smp::start_cpu(&CPU1).unwrap(); }
            while IPIS.load(Relaxed) == 0 { isa::smt_low(); }
            for i in 0..500 { smp::nmi(info.cpus[1]).unwrap(); let t = timer::now_tb(); while NMIS.load(Relaxed) <= i { assert!(timer::now_tb() - t < 512_000_000) } let t = timer::now_tb(); while timer::now_tb() - t < 5120 {} }
            p!("user nmis {} nmis {} calls {} ticks {}", UNMIS.load(Relaxed), NMIS.load(Relaxed), CALLS.load(Relaxed), TICKS.load(Relaxed)); done() }
        "boot-overflow" => p!("{}", recurse(1_000)),
        "spin" => { SPIN.store(true, Relaxed); user_space(); timer::set_deadline_tb(timer::now_tb()+51200); start(user_thread, 4, 0) }
        "regs" => { user_space(); start(user_thread, 5, 0) }
        "unull" => { user_space(); start(user_thread, 6, 0) }
        "uaccess" => { user_space(); extern "C" fn e(_: usize) -> ! { uaccess_test(); done() } start(e, 0, 0) }
        "nmi" => { user_space();
            CPU1.set_stacks(Stacks { kernel_top: top(5), emergency_top: top(3), nmi_top: top(4) }); CPU1.set_server(info.cpus[1]);
            unsafe { smp::start_cpu(&CPU1).unwrap(); }
            while IPIS.load(Relaxed) == 0 { isa::smt_low(); }
            for i in 0..500 { smp::nmi(info.cpus[1]).unwrap(); let t = timer::now_tb(); while NMIS.load(Relaxed) <= i { assert!(timer::now_tb() - t < 512_000_000) } let t = timer::now_tb(); while timer::now_tb() - t < 5120 {} }
            p!("nmis {} spins {}", NMIS.load(Relaxed), CALLS.load(Relaxed)); done() }
        "irq" => { irqflags::enable(); for i in 0..100u64 { irq::controller().send_ipi(info.cpus[0]); let t = timer::now_tb(); while IPIS.load(Relaxed) <= i { assert!(timer::now_tb() - t < 512_000_000) } } p!("ipis {}", IPIS.load(Relaxed)); done() }
        "count" => { user_space(); percpu::this().clear_work(); start(user_thread, 0, 0) }
        _ => p!("which test?"),
    }
    p!("survived");
    done()
}
fn uaccess_test() {
    let mut b = [0x5au8; 300];
    for (i, x) in b.iter_mut().enumerate() { *x = i as u8 }
    unsafe {
        // demand paging across two pages, unaligned
        uaccess::copy_to_user(0x10f77, b.as_ptr(), 300).unwrap();
        let mut c = [0u8; 300];
        uaccess::copy_from_user(c.as_mut_ptr(), 0x10f77, 300).unwrap();
        assert!(b == c);
        // over the end 0x40000 is RX user: store must fail at its first byte
        assert_eq!(uaccess::copy_to_user(0x40000 - 100, b.as_ptr(), 300), Err(uaccess::BadAddress { copied: 100 }));
        assert_eq!(uaccess::copy_from_user(c.as_mut_ptr(), 0x41000 - 77, 300), Err(uaccess::BadAddress { copied: 77 }));
        assert_eq!(uaccess::copy_from_user(c.as_mut_ptr(), 0xc000000000400000, 8), Err(uaccess::BadAddress { copied: 0 }));
        assert_eq!(uaccess::copy_from_user(c.as_mut_ptr(), USER_END - 4, 8), Err(uaccess::BadAddress { copied: 0 }));
        assert_eq!(uaccess::copy_from_user(c.as_mut_ptr(), !0, 1), Err(uaccess::BadAddress { copied: 0 }));
        uaccess::copy_from_user(c.as_mut_ptr(), 1 << 53, 0).unwrap_err();
        uaccess::clear_user(0x10f77 + 3, 200).unwrap();
        uaccess::copy_from_user(c.as_mut_ptr(), 0x10f77, 300).unwrap();
        assert!(c[..3] == b[..3] && c[3..203].iter().all(|x| *x == 0) && c[203..] == b[203..]);
        assert_eq!(uaccess::clear_user(0x41000 - 5, 20), Err(uaccess::BadAddress { copied: 0 }));
        uaccess::copy_to_user(0x12ffa, b"hello\0".as_ptr(), 6).unwrap();
        let mut s = [0u8; 10];
        assert_eq!(uaccess::strncpy_from_user(&mut s, 0x12ffa), Ok(5)); assert!(&s[..6] == b"hello\0");
        assert_eq!(uaccess::strncpy_from_user(&mut s[..5], 0x12ffa), Err(uaccess::BadString::TooLong));
        assert_eq!(uaccess::strncpy_from_user(&mut s, 0x50000), Err(uaccess::BadString::Address));
        uaccess::store_user_u32(0x13000, 5).unwrap();
        assert_eq!(uaccess::load_user_u32(0x13000), Ok(5));
        assert_eq!(uaccess::cmpxchg_user_u32(0x13000, 5, 6), Ok(5));
        assert_eq!(uaccess::cmpxchg_user_u32(0x13000, 5, 7), Ok(6));
        assert_eq!(uaccess::load_user_u32(0x13000), Ok(6));
        assert!(uaccess::load_user_u32(0x13002).is_err());
        assert!(uaccess::load_user_u32(0x60000).is_err());
        assert!(uaccess::cmpxchg_user_u32(0x40000, 0, 0).is_err() || true);
        let (p1, p2) = (bump().alloc(4096).unwrap(), bump().alloc(4096).unwrap());
        page::poison(p1); assert!(page::poison_ok(p1).is_ok()); page::copy(p2, p1); assert!(page::poison_ok(p2).is_ok());
        *p2.as_mut_ptr::<u8>().add(4095) = 0; p!("{:x?}", page::poison_ok(p2)); page::clear(p2);
        assert!((0..512).all(|i| *p2.as_mut_ptr::<u64>().add(i) == 0));
    }
    let t = unsafe { TREE }.unwrap();
    let mut n = 0; t.for_each_leaf(0..1<<52, |ea, e, s| { n += 1; if n < 3 { p!("leaf {ea:#x} {:x?} {s:?}", e.load()) } });
    t.for_each_leaf(0x10000..0x40000, |_, e, _| { e.swap(Pte::NONE); });
    t.detach_tables(0x10000..0x40000, |t| panic!("partial table {t:?}"));
    tlb::flush_range_broadcast(Pid::new(2), 0x10000..0x40000, PageSize::Size4K, true);
    tlb::flush_pid_local(Pid::new(2), tlb_operand::Ric::All); tlb::flush_all_local(); tlb::flush_kernel_broadcast(); tlb::flush_all_broadcast(); tlb::flush_page_local(Pid::new(2), 0x10000, PageSize::Size4K); tlb::flush_page_broadcast(Pid::new(2), 0x10000, PageSize::Size4K);
    let f0 = FAULTS.load(Relaxed);
    assert!(uaccess::load_user_u32(0x13000) == Ok(0)); assert!(FAULTS.load(Relaxed) == f0 + 1);
    unsafe { PT }.unwrap().clear(Pid::new(2)); unsafe { mmu::load_pid(Pid::new(1)) }; tlb::flush_pid_broadcast(Pid::new(2), tlb_operand::Ric::All);
    unsafe { t.free(bump()) }; p!("leaves {n} freed {:#x} faults {}", FREED.load(Relaxed), FAULTS.load(Relaxed));
    let mut m = 0; let mut big = [0; 4]; unsafe { KTREE }.unwrap().for_each_leaf(0..1<<52, |_, e, s| { m += 1; big[s as usize] += 1; let f = e.load().flags(); assert!(!(f.contains(PteFlags::WRITE) && f.contains(PteFlags::EXECUTE))); }); p!("kernel leaves {m} {big:?}");
}
#[unsafe(no_mangle)]
fn secondary_main() -> ! { exceptions::init_cpu(); if SPIN2.load(Relaxed) { unsafe { mmu::load_pid(Pid::new(2)); let c = Context::for_kernel_entry(top(6), user_thread, 4); percpu::set_current(core::ptr::null(), top(6)); timer::set_deadline_tb(timer::now_tb() + (1<<40)); IPIS.store(1, Relaxed); let mut h = Context::running(); context::switch_to(&raw mut h, &c); } } IPIS.fetch_add(1, Relaxed); let (a,b,c) = (0x1111u64, 0x2222u64, 0x3333u64); loop { 
   let (mut x, mut y, mut z) = core::hint::black_box((a,b,c)); for i in 0..100 { x = x.wrapping_add(i); y ^= x; z = z.wrapping_add(y); } let r = core::hint::black_box((x,y,z)); assert!(r.0 == 0x1111 + 4950); CALLS.fetch_add(1, Relaxed); } }
