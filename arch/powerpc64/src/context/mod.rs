//! Switching between kernel contexts, and into user mode.

pub mod fpu;
pub mod ungated;

use crate::exceptions::frame::{KERNEL_FRAME_BYTES, TrapFrame};
use crate::percpu;
use core::arch::{asm, global_asm};

/// ELFv2 header and r29 to r31, aligned.
const SWITCH_FRAME: u64 = 32 + 4 * 8;
const SAVED: usize = 32;

global_asm!(
    include_str!("switch.S"),
    SWITCH_FRAME = const SWITCH_FRAME,
    SAVED = const SAVED,
    RESERVATION = const percpu::offset::RESERVATION,
);

unsafe extern "C" {
    fn context_switch(prev: *mut Context, next: *const Context);
    fn context_first_run();
    fn trap_enter_user(frame: *mut TrapFrame) -> !;
}

/// A kernel context that does not run: everything else is on its stack.
#[derive(Debug)]
#[repr(C)]
pub struct Context {
    sp: u64,
}

impl Context {
    /// Where debuggers find the stack pointer.
    pub const STACK_POINTER_OFFSET: usize = core::mem::offset_of!(Context, sp);

    /// A context that runs already: filled in when it is first left.
    #[must_use]
    pub const fn running() -> Self {
        Context { sp: 0 }
    }

    /// A new context that calls `entry(argument, word)`, with the word of the switch, when first
    /// switched to, with interrupts off. The top of the stack is kept free for the frame of
    /// entries from user mode.
    ///
    /// # Safety
    /// `stack_top` is the 16-byte aligned top of a mapped kernel stack (in a slot
    /// as [`percpu::STACK_SLOT`] says) that nothing else uses.
    #[must_use]
    pub unsafe fn for_kernel_entry(
        stack_top: u64,
        entry: extern "C" fn(usize, u64) -> !,
        argument: usize,
    ) -> Self {
        /// A first frame, as the ELFv2 ABI lays it out.
        #[repr(C)]
        struct Header {
            back_chain: u64,
            cr: u64,
            lr: u64,
            toc: u64,
        }
        let caller = stack_top - KERNEL_FRAME_BYTES - size_of::<Header>() as u64;
        let sp = caller - SWITCH_FRAME;
        let saved = (sp + SAVED as u64) as *mut u64;
        let lr = context_first_run as *const () as u64;
        // SAFETY: all of it lies in the stack that the caller gives away.
        unsafe {
            (caller as *mut Header).write(Header { back_chain: 0, cr: 0, lr, toc: 0 });
            (sp as *mut u64).write(caller);
            saved.write(entry as *const () as u64);
            saved.add(1).write(argument as u64);
        }
        Context { sp }
    }

    /// Where a backtrace of this sleeping context starts.
    #[must_use]
    pub fn stack_pointer(&self) -> u64 {
        self.sp
    }
}

/// Leaves the running context in `prev` and goes on in `next`, which gets `word`. Returns when a
/// CPU, maybe another one, switches back to `prev`, with the word of that switch.
///
/// # Safety
/// Interrupts off. `next` was left (or made) and is switched to once. The CPU
/// that left it has published that with release, and this one has read it with
/// acquire. [`percpu::set_current`] named the next task. The caller switches the
/// vector registers, the [`ungated`] ones and the address space.
#[inline(always)]
pub unsafe fn switch_to(prev: *mut Context, next: *const Context, mut word: u64) -> u64 {
    // Not a call: the function that this is inlined into saves what the ABI preserves, and
    // `context_switch` the three registers that cannot be named here.
    // SAFETY: passed to the caller. The stack has room for a frame, as for any call.
    unsafe {
        asm!(
            "bl {switch}",
            switch = sym context_switch,
            inlateout("r3") prev => _,
            inlateout("r4") next => _,
            inlateout("r5") word,
            out("r0") _, out("r6") _, out("r7") _, out("r8") _, out("r9") _,
            out("r10") _, out("r11") _, out("r12") _, out("r14") _, out("r15") _, out("r16") _,
            out("r17") _, out("r18") _, out("r19") _, out("r20") _, out("r21") _, out("r22") _,
            out("r23") _, out("r24") _, out("r25") _, out("r26") _, out("r27") _, out("r28") _,
            out("cr0") _, out("cr1") _, out("cr2") _, out("cr3") _, out("cr4") _, out("cr5") _,
            out("cr6") _, out("cr7") _, out("ctr") _, out("lr") _, out("xer") _,
        );
    }
    word
}

/// The place of a task's user context, where every entry from user mode builds
/// its frame.
#[must_use]
pub fn user_frame(stack_top: u64) -> *mut TrapFrame {
    (stack_top - size_of::<TrapFrame>() as u64) as *mut TrapFrame
}

/// Goes to user mode, for the first time or after an exec, with the context in
/// `frame`. Looks at the work flag on the way, as every exit to user mode does.
///
/// # Safety
/// The running task was started with [`Context::for_kernel_entry`], its address
/// space is loaded, and nothing on its stack is needed any more.
pub unsafe fn enter_user(frame: &TrapFrame) -> ! {
    let place = user_frame(percpu::this().kernel_stack_top());
    // SAFETY: the place is kept free by `for_kernel_entry`, so it does not hold
    // this function's own frame; `frame` may be in it already.
    unsafe {
        core::ptr::copy(frame, place, 1);
        trap_enter_user(place)
    }
}
