//! Threads: clone with everything shared, a mapped stack, join on the id that the
//! kernel clears.
//!
//! One mapping per thread: a page that nothing may touch, the stack, and at its top a
//! `Packet` with the closure, later its result. No allocation is needed, and join
//! gives all of it back.

use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::futex;
use crate::memory::{self, PAGE, Protection, Region};
use crate::sys::{Errno, nr, syscall};

core::arch::global_asm!(include_str!("thread.S"));

unsafe extern "C" {
    fn clone_thread(
        flags: usize,
        stack: usize,
        parent_id: *const AtomicU32,
        thread_pointer: usize,
        child_id: *const AtomicU32,
        entry: usize,
        argument: usize,
    ) -> isize;
}

/// `CLONE_VM | FS | FILES | SIGHAND | THREAD | SYSVSEM | SETTLS | PARENT_SETTID |
/// CHILD_CLEARTID`: glibc's flags for a thread.
pub const FLAGS: usize = 0x3d_0f00;

/// A guard, and 60 KB of stack: formatting needs a few.
const MAPPING_PAGES: usize = 16;

/// The data that parent and thread share, at the top of the thread's stack.
struct Packet<F, R> {
    /// The thread's id while it lives. The kernel clears it at the thread's end,
    /// after the last access to this mapping, and wakes the threads that sleep on it.
    id: AtomicU32,
    /// The closure, until the thread takes it.
    work: ManuallyDrop<F>,
    /// Set by the thread before it ends.
    result: Option<R>,
}

/// A thread. Dropping it waits for its end.
pub struct Thread<R> {
    id: *const AtomicU32,
    result: *mut Option<R>,
    /// Holds the id and the result. Unmapped when dropped, after the thread's end.
    _mapping: Region,
}

// SAFETY: the packet is only touched after the thread's end, by the owner of this.
unsafe impl<R: Send> Send for Thread<R> {}

/// Starts a thread that runs `work`.
///
/// # Errors
/// `ENOMEM` without memory for its stack, `EAGAIN` without room for a thread.
pub fn spawn<F, R>(work: F) -> Result<Thread<R>, Errno>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    // SAFETY: a thread of this process.
    unsafe { spawn_as(FLAGS, work) }
}

/// [`spawn`] with more or fewer flags, and perhaps the signal of a process's end.
///
/// # Errors
/// Those of [`spawn`], and `EINVAL`.
///
/// # Safety
/// The flags keep those of [`FLAGS`] that share memory and clear the id. The runtime
/// treats a process that is made so as a thread: it must end before its maker.
pub unsafe fn spawn_as<F, R>(flags: usize, work: F) -> Result<Thread<R>, Errno>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    let mapping = Region::new(MAPPING_PAGES)?;
    // SAFETY: nothing uses the region's bytes yet; the stack grows towards here.
    unsafe { memory::protect(mapping.address(), PAGE, Protection::NONE) }?;
    let packet = mapping.address() + mapping.len() - size_of::<Packet<F, R>>();
    let packet = (packet & !(align_of::<Packet<F, R>>().max(16) - 1)) as *mut Packet<F, R>;
    // SAFETY: inside the mapping, aligned, and not shared before clone.
    unsafe {
        packet.write(Packet { id: AtomicU32::new(0), work: ManuallyDrop::new(work), result: None });
    }
    // SAFETY: the stack ends below the packet. PARENT_SETTID stores the id before
    // either side runs on, CHILD_CLEARTID clears it at the end.
    let answer = unsafe {
        let id = &raw const (*packet).id;
        let entry = run::<F, R> as *const () as usize;
        clone_thread(flags, packet as usize, id, packet as usize, id, entry, packet as usize)
    };
    if answer < 0 {
        // SAFETY: there is no thread: its work is still ours alone.
        unsafe { ManuallyDrop::drop(&mut (*packet).work) };
        return Err(Errno(-answer as i32));
    }
    // SAFETY: addresses of fields, no reference is made.
    unsafe {
        Ok(Thread { id: &raw const (*packet).id, result: &raw mut (*packet).result, _mapping: mapping })
    }
}

/// The thread's first and last function.
unsafe extern "C" fn run<F: FnOnce() -> R, R>(packet: *mut Packet<F, R>) -> ! {
    // SAFETY: until the kernel clears the id, the packet is the thread's.
    unsafe {
        let work = ManuallyDrop::take(&mut (*packet).work);
        (*packet).result = Some(work());
    }
    exit()
}

/// Ends the calling thread alone.
pub fn exit() -> ! {
    // SAFETY: nothing of this thread runs afterwards.
    let _ = unsafe { syscall(nr::EXIT, [0; 6]) };
    unreachable!("exit came back")
}

/// The calling thread's id.
#[must_use]
pub fn gettid() -> i32 {
    // SAFETY: touches no memory.
    unsafe { syscall(nr::GETTID, [0; 6]) }.unwrap_or(0) as i32
}

impl<R> Thread<R> {
    /// Whether the thread has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        // SAFETY: the mapping lives until `drop`. Acquire pairs as in `wait`.
        unsafe { &*self.id }.load(Ordering::Acquire) == 0
    }

    /// Waits for the thread's end and returns its result: None if it called [`exit`]
    /// itself.
    #[must_use]
    pub fn join(self) -> Option<R> {
        self.wait();
        // SAFETY: the thread has ended, its result is ours.
        unsafe { (*self.result).take() }
    }

    fn wait(&self) {
        // SAFETY: the mapping lives until `drop`.
        let word = unsafe { &*self.id };
        loop {
            // Acquire pairs with the kernel's clearing of the id: the result, which
            // the thread wrote, is visible.
            match word.load(Ordering::Acquire) {
                0 => return,
                id => {
                    let _ = futex::wait_shared(word, id, None);
                }
            }
        }
    }
}

impl<R> Drop for Thread<R> {
    fn drop(&mut self) {
        self.wait();
        // SAFETY: the thread has ended; a result that was not taken is ours.
        drop(unsafe { (*self.result).take() });
    }
}
