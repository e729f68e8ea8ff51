//! Ways to break the kernel (`crash=KIND`), each to see the report that follows.
//!
//! The functions that break it are named in the reports, so none is inlined. How
//! each report must look is in the test driver.

use alloc::string::String;
use core::fmt;
use core::hint::black_box;
use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use kcore::cpu::{CpuId, CpuSet};
use kcore::machine::Machine;
use kcore::mm::MmId;
use powerpc64::addr::PAGE_SIZE;
use powerpc64::{irqflags, percpu};

use super::address_space::{inside, map, map_written_page, new_mm};
use super::coprocessor::FakeCoprocessor;
use crate::breaks::{self, Broken};
use crate::config::Config;
use crate::machine::{call_function, lazy_tlb};
use crate::mm::{self, Prot, frame};
use crate::process;
use crate::sync::{SpinLock, SpinWait};
use crate::task::{self, kthread, preempt};

/// The second CPU, where a crash needs one.
const OTHER: CpuId = CpuId::new(1);

/// The kind that does not wait for a thread.
const EARLY: &str = "early";

/// Every kind, by name.
const KINDS: &[(&str, fn())] = &[
    (EARLY, plain_panic),
    ("panic", plain_panic),
    ("null-read", null_read),
    ("write-text", write_text),
    ("exec-data", exec_data),
    ("bad-address", bad_address),
    ("illegal", illegal_instruction),
    ("stack-overflow", stack_overflow),
    ("big-frames", big_frames),
    ("frame-freed-twice", frame_freed_twice),
    ("panic-in-interrupt", panic_in_interrupt),
    ("two-panics", two_panics),
    ("double-panic", double_panic),
    ("panic-in-message", panic_in_message),
    ("panic-with-program", panic_with_program),
    ("mmdrop-irqs-off", mmdrop_with_irqs_off),
    ("mmdrop-in-interrupt", mmdrop_in_interrupt),
    ("nmi-deaf", nmi_deaf),
    ("spin-deadlock", spin_deadlock),
    ("ipi-silent", ipi_silent),
    ("irqs-off", irqs_off),
    ("no-yield", no_yield),
    ("no-gather-flush", no_gather_flush),
    ("no-walk-cache-flush", no_walk_cache_flush),
    ("no-copy-flush", no_copy_flush),
    ("no-exit-flush", no_exit_flush),
    ("entry-cleared-late", entry_cleared_late),
    ("pid-without-flush", pid_without_flush),
    ("no-flush-before-stop", no_flush_before_stop),
    ("no-flush-after-start", no_flush_after_start),
    ("coprocessor-not-counted", coprocessor_not_counted),
];

/// Whether there is such a kind.
pub(crate) fn is_kind(name: &str) -> bool {
    KINDS.iter().any(|(kind, _)| *kind == name)
}

/// Breaks the kernel before there are tasks or other CPUs, if that is the kind.
pub(crate) fn early(kind: Option<&str>) {
    if kind == Some(EARLY) {
        plain_panic();
    }
}

/// Starts a thread that breaks the kernel, on the boot CPU; and init, if the kind
/// wants a program to run meanwhile.
pub(crate) fn start(kind: &str, config: Config) {
    let Some(&(_, run)) = KINDS.iter().find(|(name, _)| *name == kind) else { return };
    if kind == "panic-with-program" {
        process::start_init(config.init, config.init_args, config.init_env);
    }
    kthread::spawn_on(CpuId::BOOT, "crash", run);
}

// --- faults and panics ----------------------------------------------------------------

#[inline(never)]
fn plain_panic() {
    panic!("a test\nof two lines");
}

#[inline(never)]
fn null_read() {
    let null: *const u64 = black_box(core::ptr::null());
    // SAFETY: none. That is the test.
    black_box(unsafe { null.read_volatile() });
}

#[inline(never)]
fn write_text() {
    let code = black_box(null_read as fn() as usize) as *mut u32;
    // SAFETY: none. That is the test.
    unsafe { code.write_volatile(0) };
}

#[inline(never)]
fn exec_data() {
    static DATA: AtomicU32 = AtomicU32::new(0x4e80_0020); // blr
    let data = black_box(DATA.as_ptr().addr());
    // SAFETY: none. That is the test.
    let function = unsafe { core::mem::transmute::<usize, fn()>(data) };
    function();
    black_box(data);
}

#[inline(never)]
fn bad_address() {
    let nowhere = black_box(0x4000_0000_0000_0000_usize) as *const u64;
    // SAFETY: none. That is the test.
    black_box(unsafe { nowhere.read_volatile() });
}

#[inline(never)]
fn illegal_instruction() {
    // SAFETY: none. That is the test. All zeroes are no instruction.
    unsafe { core::arch::asm!(".long 0") };
}

#[inline(never)]
fn stack_overflow() {
    black_box(recurse(black_box(1)));
}

#[inline(never)]
#[expect(unconditional_recursion, reason = "that is the test")]
fn recurse(depth: u64) -> u64 {
    let room = black_box([depth; 16]);
    room[0] + recurse(depth + 1)
}

/// Frames so large that the exception's own still has room above the guard, but a
/// report has not.
#[inline(never)]
fn big_frames() {
    black_box(recurse_in_big_frames(black_box(1)));
}

#[inline(never)]
#[expect(unconditional_recursion, reason = "that is the test")]
fn recurse_in_big_frames(depth: u64) -> u64 {
    let room = black_box([depth; 500]);
    room[0] + recurse_in_big_frames(depth + 1)
}

#[inline(never)]
fn frame_freed_twice() {
    let frame = ManuallyDrop::new(frame::alloc().expect("a frame is free"));
    for _ in 0..2 {
        // SAFETY: none, the second time. That is the test.
        drop(unsafe { core::ptr::read(&*frame) });
    }
}

/// Panics in the handler of an interrupt, on another CPU.
#[inline(never)]
fn panic_in_interrupt() {
    lazy_tlb().machine.with_preempt_off(|t| call_function(t, &CpuSet::only(OTHER), panic_in_call, 0));
}

#[inline(never)]
fn panic_in_call(_: u64) {
    panic!("a call that panics");
}

/// Two CPUs at once: one report all the same.
#[inline(never)]
fn two_panics() {
    static READY: AtomicU32 = AtomicU32::new(0);
    #[inline(never)]
    fn one_of_two_panics() {
        READY.fetch_add(1, Ordering::Relaxed);
        wait_for("the other to panic", || READY.load(Ordering::Relaxed) == 2);
        panic!("one of two");
    }
    kthread::spawn_on(OTHER, "crash-too", one_of_two_panics);
    one_of_two_panics();
}

/// Whether the report itself is to fail.
static FAIL_IN_REPORT: AtomicBool = AtomicBool::new(false);

/// In the middle of a report, on the CPU that writes it.
pub(crate) fn fail_in_report() {
    if FAIL_IN_REPORT.load(Ordering::Relaxed) {
        null_read();
    }
}

#[inline(never)]
fn double_panic() {
    FAIL_IN_REPORT.store(true, Ordering::Relaxed);
    panic!("the first of two");
}

#[inline(never)]
fn panic_in_message() {
    struct Broken;
    impl fmt::Display for Broken {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            null_read();
            Ok(())
        }
    }
    panic!("a message with a {Broken}");
}

/// Panics when a program's address space is loaded somewhere.
#[inline(never)]
fn panic_with_program() {
    let runs = || lazy_tlb().cpus().iter().any(|cpu| !cpu.curr_mm.get().is_none());
    while !runs() {
        task::yield_now();
    }
    panic!("while a program runs");
}

/// The CPU that ignores non-maskable interrupts.
static DEAF: AtomicU32 = AtomicU32::new(u32::MAX);

/// Whether this CPU is to ignore a non-maskable interrupt.
pub(crate) fn is_deaf_to_nmi() -> bool {
    DEAF.load(Ordering::Relaxed) == percpu::cpu_id().index() as u32
}

#[inline(never)]
fn nmi_deaf() {
    DEAF.store(OTHER.index() as u32, Ordering::Relaxed);
    panic!("one CPU will not stop");
}

// --- what only the oracle sees ----------------------------------------------------------

/// An address space with a written page, which this CPU and the other one have
/// used: its address.
fn used_mm() -> (MmId, u64) {
    let mm = new_mm().expect("an address space");
    let page = map_written_page(mm).expect("a page");
    use_on_other(mm);
    (mm, page)
}

fn use_on_other(mm: MmId) {
    kthread::spawn_on(OTHER, "uses-it", move || use_it(mm)).wait_exit();
}

#[inline(never)]
fn use_it(mm: MmId) {
    lazy_tlb().mmget(mm);
    inside(mm, || {});
    lazy_tlb().mmput(mm);
}

#[inline(never)]
fn no_gather_flush() {
    let (mm, page) = used_mm();
    breaks::arm(Broken::GatherFlush);
    let _ = mm::munmap(mm, page, PAGE_SIZE);
    black_box(mm);
}

#[inline(never)]
fn no_walk_cache_flush() {
    let (mm, page) = used_mm();
    breaks::arm(Broken::WalkCache);
    // The only page, so its tables go with it.
    let _ = mm::munmap(mm, page, PAGE_SIZE);
    black_box(mm);
}

#[inline(never)]
fn no_copy_flush() {
    let (mm, page) = used_mm();
    let _child = mm::fork(mm).expect("a fork");
    // The fork flushed everyone: back into the TLBs.
    inside(mm, || {});
    breaks::arm(Broken::CopyFlush);
    let _ = mm::poke(mm, page, &[1]);
    black_box(mm);
}

#[inline(never)]
fn no_exit_flush() {
    let (mm, _) = used_mm();
    breaks::arm(Broken::ExitFlush);
    lazy_tlb().mmput(mm);
    black_box(mm);
}

#[inline(never)]
fn entry_cleared_late() {
    let (mm, _) = used_mm();
    lazy_tlb().kthread_use_mm(mm);
    breaks::arm(Broken::EntryLate);
    // It stays loaded here, so the flush is followed by new walks.
    lazy_tlb().mmput(mm);
    black_box(mm);
}

/// No page was ever mapped, so only the PID itself can give it away.
#[inline(never)]
fn pid_without_flush() {
    let mm = new_mm().expect("an address space");
    drop(map(mm, PAGE_SIZE, Prot::READ));
    inside(mm, || {});
    breaks::arm(Broken::ExitFlush);
    lazy_tlb().mmput(mm);
    black_box(mm);
}

/// The CPU that stops is skipped by the flush, and still holds the page.
#[inline(never)]
fn no_flush_before_stop() {
    let (mm, page) = used_mm();
    breaks::arm(Broken::CpuFlush);
    task::offline(OTHER).expect("a CPU goes offline");
    let _ = mm::munmap(mm, page, PAGE_SIZE);
    black_box(mm);
}

/// The CPU comes back with what its TLB has, and loads what it had.
#[inline(never)]
fn no_flush_after_start() {
    let (mm, _) = used_mm();
    task::offline(OTHER).expect("a CPU goes offline");
    breaks::arm(Broken::CpuFlush);
    task::online(OTHER).expect("a CPU comes back");
    use_on_other(mm);
}

/// This CPU alone is in the mask, so its own flush looks like enough.
#[inline(never)]
fn coprocessor_not_counted() {
    let mm = new_mm().expect("an address space");
    let page = map_written_page(mm).expect("a page");
    breaks::arm(Broken::CoproAttach);
    let _attached = FakeCoprocessor::attach(mm);
    let _ = mm::munmap(mm, page, PAGE_SIZE);
    black_box(mm);
}

/// T20: the last reference to an mm goes where its drop may not wait for IPIs.
#[inline(never)]
fn mmdrop_with_irqs_off() {
    let mm = mm::create().expect("an address space");
    let were_on = irqflags::disable();
    lazy_tlb().mmdrop(mm);
    irqflags::restore(were_on);
}

/// T20, in the handler of a call that another CPU waits for.
#[inline(never)]
fn mmdrop_in_interrupt() {
    let mm = mm::create().expect("an address space");
    lazy_tlb()
        .machine
        .with_preempt_off(|t| call_function(t, &CpuSet::only(OTHER), mmdrop_in_call, mm.to_bits()));
}

#[inline(never)]
fn mmdrop_in_call(mm: u64) {
    lazy_tlb().mmdrop(MmId::from_bits(mm));
    black_box(mm);
}

// --- what never ends --------------------------------------------------------------------

#[inline(never)]
fn spin_deadlock() {
    static LOCK: SpinLock<u32> = SpinLock::new("a lock of this test", 0);
    let first = LOCK.lock();
    let second = LOCK.lock();
    black_box((*first, *second));
}

/// Has the other CPU spin with interrupts off.
fn silence_other() {
    static SILENT: AtomicBool = AtomicBool::new(false);
    #[inline(never)]
    fn spin_with_irqs_off() {
        irqflags::disable();
        loop {
            SILENT.store(true, Ordering::Relaxed);
        }
    }
    kthread::spawn_on(OTHER, "silent", spin_with_irqs_off);
    wait_for("the other CPU to be silent", || SILENT.load(Ordering::Relaxed));
}

#[inline(never)]
fn ipi_silent() {
    silence_other();
    lazy_tlb().machine.with_preempt_off(|t| call_function(t, &CpuSet::only(OTHER), drop, 0));
}

#[inline(never)]
fn irqs_off() {
    silence_other();
    kthread::spawn_on(OTHER, "waits-in-vain", || {}).wait_exit();
}

#[inline(never)]
fn no_yield() {
    let _stay = preempt::disable();
    // It can run nowhere else.
    kthread::spawn_on(CpuId::BOOT, "waits-in-vain", || {});
    loop {
        black_box(String::new());
    }
}

/// Waits by spinning, with a limit.
fn wait_for(what: &'static str, done: impl Fn() -> bool) {
    let mut wait = SpinWait::new(what);
    while !done() {
        wait.turn();
    }
}
