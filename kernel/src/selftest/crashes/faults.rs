//! Faults and panics.

use core::fmt;
use core::hint::black_box;
use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use arch::percpu;
use kcore::cpu::CpuSet;
use kcore::machine::Cpu;

use super::{OTHER, wait_for};
use crate::machine::{call_function, lazy_tlb};
use crate::memory::frame;
use crate::sync::preempt;
use crate::task::{self, kthread};

#[inline(never)]
pub(super) fn plain_panic() {
    panic!("a test\nof two lines");
}

#[inline(never)]
pub(super) fn null_read() {
    let null: *const u64 = black_box(core::ptr::null());
    // SAFETY: none. That is the test.
    black_box(unsafe { null.read_volatile() });
}

#[inline(never)]
pub(super) fn write_text() {
    let code = black_box(null_read as fn() as usize) as *mut u32;
    // SAFETY: none. That is the test.
    unsafe { code.write_volatile(0) };
}

#[inline(never)]
pub(super) fn exec_data() {
    static DATA: AtomicU32 = AtomicU32::new(0x4e80_0020); // blr
    let data = black_box(DATA.as_ptr().addr());
    // SAFETY: none. That is the test.
    let function = unsafe { core::mem::transmute::<usize, fn()>(data) };
    function();
    black_box(data);
}

#[inline(never)]
pub(super) fn bad_address() {
    let nowhere = black_box(0x4000_0000_0000_0000_usize) as *const u64;
    // SAFETY: none. That is the test.
    black_box(unsafe { nowhere.read_volatile() });
}

#[inline(never)]
pub(super) fn illegal_instruction() {
    // SAFETY: none. That is the test. All zeroes are no instruction.
    unsafe { core::arch::asm!(".long 0") };
}

#[inline(never)]
pub(super) fn stack_overflow() {
    black_box(recurse(black_box(1)));
}

#[inline(never)]
#[expect(unconditional_recursion, reason = "that is the test")]
fn recurse(depth: u64) -> u64 {
    let room = black_box([depth; 16]);
    room[0] + recurse(depth + 1)
}

/// Frames so large that the exception's frame still fits above the guard, but a report does not.
#[inline(never)]
pub(super) fn big_frames() {
    black_box(recurse_in_big_frames(black_box(1)));
}

#[inline(never)]
#[expect(unconditional_recursion, reason = "that is the test")]
fn recurse_in_big_frames(depth: u64) -> u64 {
    let room = black_box([depth; 500]);
    room[0] + recurse_in_big_frames(depth + 1)
}

#[inline(never)]
pub(super) fn frame_freed_twice() {
    let frame = ManuallyDrop::new(frame::alloc().expect("a frame is free"));
    for _ in 0..2 {
        // SAFETY: none, the second time. That is the test.
        drop(unsafe { core::ptr::read(&*frame) });
    }
}

/// Stores to a freed frame, in the last byte of the line that release builds check, too.
#[inline(never)]
pub(super) fn frame_written_late() {
    // The CPU's cache hands out the frame that was freed last.
    let _stay = preempt::disable();
    let frame = frame::alloc().expect("a frame is free");
    let byte = frame.as_mut_ptr().wrapping_add(127);
    drop(frame);
    // SAFETY: none: the frame is free. That is the test.
    unsafe { byte.write_volatile(1) };
    drop(frame::alloc());
}

/// Panics in the handler of an interrupt, on another CPU.
#[inline(never)]
pub(super) fn panic_in_interrupt() {
    lazy_tlb().machine.with_preempt_off(|t| call_function(t, &CpuSet::only(OTHER), panic_in_call, 0));
}

#[inline(never)]
fn panic_in_call(_: u64) {
    panic!("a call that panics");
}

/// Two CPUs panic at once: there is still one report.
#[inline(never)]
pub(super) fn two_panics() {
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

/// Faults in the middle of a report, on the CPU that writes it, if the kind asks for it.
pub(crate) fn fail_in_report() {
    if FAIL_IN_REPORT.load(Ordering::Relaxed) {
        null_read();
    }
}

#[inline(never)]
pub(super) fn double_panic() {
    FAIL_IN_REPORT.store(true, Ordering::Relaxed);
    panic!("the first of two");
}

#[inline(never)]
pub(super) fn panic_in_message() {
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
pub(super) fn panic_with_program() {
    let runs = || lazy_tlb().cpus().iter().any(|cpu| !cpu.curr_mm.peek().is_none());
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
pub(super) fn nmi_deaf() {
    DEAF.store(OTHER.index() as u32, Ordering::Relaxed);
    panic!("one CPU will not stop");
}
