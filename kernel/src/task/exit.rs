//! The end of a task.

use core::sync::atomic::Ordering;

use arch::irqflags;

use super::registry;
use super::switch::{Leave, schedule};
use super::window::Window;

/// Ends the current task. The caller has given up its address space (`exit_mm`) and its part of the
/// process. Its stack and its `Task` go when the next task on this CPU has taken over and the last
/// [`super::TaskRef`] is dropped. Interrupts and preemption on, no lock held.
pub(crate) fn exit_current() -> ! {
    let me = super::current();
    assert!(me.mm.mm().is_none(), "{} exits with {:?}", me.name(), me.mm.mm());
    registry::remove(&me);
    // From here on the CPU runs nothing else until it has left this task: an observer that saw it
    // exited, and then sees another task run here, knows that its stack is given back.
    let mut off = irqflags::disable();
    // F40 release: orders all that the task did before its end. Partner: `has_exited`.
    me.exited.store(1, Ordering::Release);
    me.exit_waiters.wake_all();
    me.run_state.die();
    Window::Exits.pass(&me);
    off.lend_mut(|off| schedule(Leave::Exit, off));
    unreachable!("{} runs after its exit", me.name())
}
