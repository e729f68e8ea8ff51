//! What signals do: their dispositions.

use alloc::boxed::Box;
use alloc::vec;

use super::{LAST, SIGCHLD, SIGCONT, SIGSTOP};
use crate::process::user_memory::Plain;
use crate::sync::SpinLock;

/// sa_handler: the default action.
const SIG_DFL: u64 = 0;
/// sa_handler: nothing.
const SIG_IGN: u64 = 1;

/// sa_flags: children of the process leave nothing to wait for.
const SA_NOCLDWAIT: u64 = 0x2;
/// sa_flags: run on the alternate stack.
pub(super) const SA_ONSTACK: u64 = 0x0800_0000;
/// sa_flags: interrupted calls start over.
pub(super) const SA_RESTART: u64 = 0x1000_0000;
/// sa_flags: do not block the signal in its own handler.
pub(super) const SA_NODEFER: u64 = 0x4000_0000;
/// sa_flags: back to the default when the handler runs.
const SA_RESETHAND: u64 = 0x8000_0000;
/// sa_flags: the handler gets the `siginfo_t`.
pub(super) const SA_SIGINFO: u64 = 0x4;

/// A disposition: Linux's `struct sigaction` for powerpc.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Action {
    /// `SIG_DFL`, `SIG_IGN` or the handler.
    pub(super) handler: u64,
    /// SA_ bits.
    pub(super) flags: u64,
    restorer: u64,
    /// Blocked in the handler, besides the signal itself.
    pub(super) mask: u64,
}

// SAFETY: four `u64`.
unsafe impl Plain for Action {}

impl Action {
    const DEFAULT: Action = Action { handler: SIG_DFL, flags: 0, restorer: 0, mask: 0 };

    /// Whether there is a handler to run.
    pub(super) fn is_handler(&self) -> bool {
        self.handler > SIG_IGN
    }
}

/// What a signal does by default.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Default {
    /// Ends the process.
    End,
    /// Nothing.
    Ignore,
}

/// What `signal` does by default. There is no job control: stop signals other than
/// SIGSTOP do nothing, and SIGSTOP neither.
pub(crate) fn default_of(signal: u32) -> Default {
    const SIGTSTP: u32 = 20;
    const SIGTTIN: u32 = 21;
    const SIGTTOU: u32 = 22;
    const SIGURG: u32 = 23;
    const SIGWINCH: u32 = 28;
    match signal {
        SIGCHLD | SIGCONT | SIGSTOP | SIGTSTP | SIGTTIN | SIGTTOU | SIGURG | SIGWINCH => Default::Ignore,
        _ => Default::End,
    }
}

/// The dispositions of a process.
pub(crate) struct Handlers {
    /// Guards them, one a signal. Nothing nests inside but the heap's lock.
    actions: SpinLock<Box<[Action]>>,
}

impl Handlers {
    /// All default.
    pub(crate) fn new() -> Self {
        Self::with(vec![Action::DEFAULT; LAST as usize].into_boxed_slice())
    }

    fn with(actions: Box<[Action]>) -> Self {
        Self { actions: SpinLock::new("signal handlers", actions) }
    }

    /// A copy, as fork makes.
    pub(crate) fn copy(&self) -> Self {
        Self::with(self.actions.lock().clone())
    }

    /// exec: what was handled is default, what was ignored stays so.
    pub(crate) fn exec(&self) {
        for action in self.actions.lock().iter_mut() {
            let handler = if action.handler == SIG_IGN { SIG_IGN } else { SIG_DFL };
            *action = Action { handler, ..Action::DEFAULT };
        }
    }

    /// The disposition of `signal`, which is 1 to [`LAST`].
    pub(crate) fn get(&self, signal: u32) -> Action {
        self.actions.lock()[signal as usize - 1]
    }

    /// Changes the disposition of `signal`.
    pub(crate) fn set(&self, signal: u32, action: Action) {
        self.actions.lock()[signal as usize - 1] = action;
    }

    /// The disposition for a delivery, which may reset it.
    pub(super) fn take(&self, signal: u32) -> Action {
        let mut actions = self.actions.lock();
        let slot = &mut actions[signal as usize - 1];
        let action = *slot;
        if action.is_handler() && action.flags & SA_RESETHAND != 0 {
            *slot = Action::DEFAULT;
        }
        action
    }

    /// Whether `signal` does nothing.
    pub(crate) fn ignores(&self, signal: u32) -> bool {
        match self.get(signal).handler {
            SIG_DFL => default_of(signal) == Default::Ignore,
            handler => handler == SIG_IGN,
        }
    }

    /// Whether `signal` has a handler.
    pub(super) fn handles(&self, signal: u32) -> bool {
        self.get(signal).is_handler()
    }

    /// Whether dead children are to be forgotten at once.
    pub(crate) fn discards_children(&self) -> bool {
        let action = self.get(SIGCHLD);
        action.handler == SIG_IGN || action.flags & SA_NOCLDWAIT != 0
    }
}
