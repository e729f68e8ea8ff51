//! Walks the back chain of a kernel stack.
//!
//! Every function keeps a frame whose first doubleword points to its caller's
//! frame; the return address is in the *caller's* frame. A return address within
//! the entry code means that a trap frame follows: the walk goes on in the
//! interrupted code. The walk trusts nothing: a frame must be aligned, lie above
//! the last one and stay in the stack, unless a trap frame changes stacks. The
//! walk has a limit.

use crate::exceptions::frame::{HEADER_BYTES, TrapFrame};
use crate::exceptions::trap_text;
use crate::percpu::STACK_SIZE;
use core::arch::asm;
use core::ops::Range;

/// The deepest walk.
const MOST_FRAMES: usize = 256;

/// One step of a backtrace.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// A return address.
    Call(u64),
    /// The link register of code that an exception interrupted. It is an address
    /// in the code's caller if the code has not saved the register yet, or calls
    /// nothing; else it may be any place that the code has called from.
    Link(u64),
    /// An exception came here.
    Trap {
        /// Its vector.
        vector: u64,
        /// The interrupted instruction.
        nip: u64,
        /// It was in user mode: the walk ends.
        user: bool,
    },
}

/// The walk, as an iterator.
#[derive(Debug)]
pub struct Backtrace {
    sp: u64,
    left: usize,
    /// A trap frame here comes next.
    trap: Option<u64>,
    /// A link register comes next.
    link: Option<u64>,
    /// The link register that the interrupted function may not have saved.
    unsaved: Option<u64>,
}

impl Backtrace {
    /// Starts at the caller's own frame, so it is good until the caller returns.
    // Inlined: a frame of its own would be overwritten before the walk.
    #[inline(always)]
    #[must_use]
    pub fn here() -> Self {
        let sp;
        // SAFETY: reads r1.
        unsafe { asm!("mr {}, 1", out(reg) sp, options(nomem, nostack, preserves_flags)) };
        Self::from_stack(sp)
    }

    /// Starts at a stack pointer: that of a sleeping context, for instance.
    #[must_use]
    pub fn from_stack(sp: u64) -> Self {
        Backtrace { sp, left: MOST_FRAMES, trap: None, link: None, unsaved: None }
    }

    /// Starts at a trap frame; the first step is the interrupted instruction.
    #[must_use]
    pub fn from_frame(frame: &TrapFrame) -> Self {
        let address = core::ptr::from_ref(frame).addr() as u64;
        Backtrace { trap: Some(address), ..Self::from_stack(address) }
    }

    /// A step over the trap frame at `address`, to the code that it interrupted.
    fn step_over_trap(&mut self, address: u64) -> Step {
        // SAFETY: `from_frame` had a reference, or the entry code's return
        // address says that it built one here, within the stack.
        let frame = unsafe { &*(address as *const TrapFrame) };
        (self.sp, self.link) = if frame.is_user() { (0, None) } else { (frame.gpr(1), Some(frame.lr)) };
        Step::Trap { vector: frame.vector(), nip: frame.nip, user: frame.is_user() }
    }
}

impl Iterator for Backtrace {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        self.left = self.left.checked_sub(1)?;
        if let Some(address) = self.trap.take() {
            return Some(self.step_over_trap(address));
        }
        if let Some(lr) = self.link.take() {
            self.unsaved = Some(lr);
            return Some(Step::Link(lr));
        }
        let stack = stack_of(self.sp)?;
        // SAFETY: in the usable half of a stack slot that r1 has pointed into.
        let caller = unsafe { (self.sp as *const u64).read() };
        // A header, at least, must fit at the caller's frame.
        if caller <= self.sp || caller + HEADER_BYTES > stack.end || !caller.is_multiple_of(16) {
            return None;
        }
        // SAFETY: within the stack (checked).
        let ret = unsafe { ((caller + 16) as *const u64).read() };
        self.sp = caller;
        let frame_end = caller + HEADER_BYTES + size_of::<TrapFrame>() as u64;
        if trap_text().contains(&ret) && frame_end <= stack.end {
            self.trap = Some(caller + HEADER_BYTES);
        }
        match self.unsaved.take() {
            // The word was never written, or repeats the link register.
            Some(lr) if ret == 0 || ret == lr => self.next(),
            _ => (ret != 0).then_some(Step::Call(ret)),
        }
    }
}

/// The usable half of the slot that `sp` points into. None if it points into a
/// guard or is no kernel stack pointer at all.
fn stack_of(sp: u64) -> Option<Range<u64>> {
    let start = sp & !(STACK_SIZE - 1);
    let plausible = sp >> 60 == 0xc && sp.is_multiple_of(16) && start & STACK_SIZE != 0;
    plausible.then(|| start..start + STACK_SIZE)
}
