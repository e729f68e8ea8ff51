//! New tasks.

use core::cell::UnsafeCell;

use arch::context::{self, Context};
use arch::exceptions::frame::TrapFrame;
use arch::irqflags;
use kcore::cpu::CpuSet;
use kcore::mm::MmId;
use kcore::task::TaskMm;

use super::descriptor::{Birth, Body, Task, TaskPtr, TaskRef};
use super::exit::exit_current;
use super::registry;
use super::switch::{Left, finish};
use crate::machine::lazy_tlb;
use crate::memory::KernelStack;
use crate::upcalls::UserHalf;

/// There is no memory for a kernel stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OutOfMemory;

/// The description of a new task.
pub(super) struct Plan<'a> {
    pub(super) tid: u32,
    pub(super) name: &'a str,
    pub(super) mm: TaskMm,
    pub(super) affinity: &'a CpuSet,
    pub(super) user: Option<UserHalf>,
    /// Where it enters user mode, or for a kernel thread the empty frame.
    pub(super) frame: &'a TrapFrame,
    /// Its function; none for a task that starts in user mode.
    pub(super) body: Option<Body>,
}

/// Makes a user task that has `mm` and enters user mode with the registers in `frame`. Until
/// [`start`] the unit of `mm_users` stays the caller's; dropping the task before then drops
/// `thread` with it. Interrupts and preemption on.
pub(crate) fn create_user(
    tid: u32,
    name: &str,
    thread: UserHalf,
    frame: &TrapFrame,
    mm: MmId,
    affinity: &CpuSet,
) -> Result<TaskRef, OutOfMemory> {
    let mm = lazy_tlb().user_task(mm);
    create(Plan { tid, name, mm, affinity, user: Some(thread), frame, body: None })
}

/// Makes a task that does not run yet.
pub(super) fn create(plan: Plan<'_>) -> Result<TaskRef, OutOfMemory> {
    let stack = KernelStack::new().ok_or(OutOfMemory)?;
    let task = Task::new(Birth {
        tid: plan.tid,
        name: plan.name,
        mm: plan.mm,
        affinity: plan.affinity,
        user: plan.user,
        body: plan.body,
        stack: Ok(stack),
    });
    task.set_cpu(super::current().cpu());
    let argument = task.as_ptr().raw().expose_provenance();
    // SAFETY: the stack is the task's, which has not run and which only we know.
    unsafe {
        context::user_frame(task.stack_top).write(plan.frame.clone());
        *task.context.get() = Context::for_kernel_entry(task.stack_top, first_run, argument);
    }
    Ok(task)
}

/// Lets a new task run, once. From now on the task owns its unit of `mm_users`.
pub(crate) fn start(task: &TaskRef) {
    registry::insert(task);
    // The task's own reference; `finish` of the task after it gives it back.
    let _own = TaskRef::into_raw(task.clone());
    let slept = task.wake();
    assert!(slept, "task {} was started twice", task.tid);
}

/// The registers with which the running kernel thread, which has become a program,
/// enters user mode when its body returns.
pub(crate) fn set_user_frame(frame: TrapFrame) {
    // SAFETY: the top of the running task's stack is kept free for its frame.
    unsafe { context::user_frame(super::current().stack_top).write(frame) };
}

/// Where every task begins: ends the first switch to it.
extern "C" fn first_run(task: usize, left: u64) -> ! {
    // SAFETY: the first switch to this task has come here.
    irqflags::enable(unsafe { finish(Left::of_word(left)) });
    // SAFETY: the argument that `create` gave: this task.
    let task = unsafe { TaskPtr::new(core::ptr::with_exposed_provenance(task)).get() };
    if let Some(body) = take_body(&task.body) {
        body();
    }
    if task.user.is_some() && task.mm.mm().is_some() {
        // SAFETY: this is the task's first function and nothing is left on its
        // stack; its address space is loaded, by the switch or by the body; its
        // frame was written by `create` or `set_user_frame`.
        unsafe { context::enter_user(&*context::user_frame(task.stack_top)) }
    }
    exit_current()
}

fn take_body(body: &UnsafeCell<Option<Body>>) -> Option<Body> {
    // SAFETY: once the task runs, only the task itself touches it.
    unsafe { (*body.get()).take() }
}
