//! The dispositions of signals.

use alloc::sync::Arc;

use super::{LAST, SIGCHLD, SIGCONT, SIGSTOP, UNBLOCKABLE};
use crate::mm::user_memory::Plain;
use crate::sync::SpinLock;

/// sa_handler: the default action.
const SIG_DFL: u64 = 0;
/// sa_handler: nothing.
const SIG_IGN: u64 = 1;

/// sa_flags: stopped children send nothing; there are none.
const SA_NOCLDSTOP: u64 = 0x1;
/// sa_flags: children of the process leave nothing to wait for.
const SA_NOCLDWAIT: u64 = 0x2;
/// sa_flags: `restorer` is set.
const SA_RESTORER: u64 = 0x0400_0000;
/// sa_flags: the handler's address has tags; ignored.
const SA_EXPOSE_TAGBITS: u64 = 0x800;
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

/// The flags that a program may set. Others are not kept (Linux: `UAPI_SA_FLAGS`), so that a
/// program can find out which exist.
const KNOWN_FLAGS: u64 = SA_NOCLDSTOP
    | SA_NOCLDWAIT
    | SA_SIGINFO
    | SA_EXPOSE_TAGBITS
    | SA_RESTORER
    | SA_ONSTACK
    | SA_RESTART
    | SA_NODEFER
    | SA_RESETHAND;

/// A disposition: Linux's `struct sigaction` for powerpc.
#[derive(Clone, Copy, PartialEq, Eq)]
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

    /// The part that is kept of an action that a program sets.
    fn kept(self) -> Self {
        Action { flags: self.flags & KNOWN_FLAGS, mask: self.mask & !UNBLOCKABLE, ..self }
    }

    /// Whether there is a handler to run.
    pub(super) fn is_handler(&self) -> bool {
        self.handler > SIG_IGN
    }
}

/// A default action.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Default {
    /// Ends the process.
    End,
    /// Nothing.
    Ignore,
}

/// The default action of `signal`. There is no job control: stop signals do nothing, SIGSTOP
/// included.
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

/// The dispositions of all signals.
type Actions = [Action; LAST as usize];

/// The dispositions of a process.
pub(crate) struct Handlers {
    /// Guards them. A copy shares them until one of the two changes. Nothing nests inside but the
    /// heap's lock.
    actions: SpinLock<Arc<Actions>>,
}

impl Handlers {
    /// The most that a change takes of the heap.
    pub(crate) const CHANGE_BYTES: usize = size_of::<Actions>() + 64;

    /// All default.
    pub(crate) fn new() -> Self {
        Self::with(Arc::new([Action::DEFAULT; LAST as usize]))
    }

    fn with(actions: Arc<Actions>) -> Self {
        Self { actions: SpinLock::new("signal handlers", actions) }
    }

    /// A copy, as fork makes.
    #[inline]
    pub(crate) fn copy(&self) -> Self {
        Self::with(self.actions.lock().clone())
    }

    /// exec: signals with a handler get the default action; ignored ones stay ignored.
    pub(crate) fn exec(&self) {
        let fresh = |action: &Action| {
            let handler = if action.handler == SIG_IGN { SIG_IGN } else { SIG_DFL };
            Action { handler, ..Action::DEFAULT }
        };
        let mut actions = self.actions.lock();
        if actions.iter().any(|action| *action != fresh(action)) {
            Arc::make_mut(&mut actions).iter_mut().for_each(|action| *action = fresh(action));
        }
    }

    /// The disposition of `signal`, which is 1 to [`LAST`].
    #[inline]
    pub(crate) fn get(&self, signal: u32) -> Action {
        self.actions.lock()[signal as usize - 1]
    }

    /// Changes the disposition of `signal`; returns the one before. The heap has room for
    /// [`Handlers::CHANGE_BYTES`].
    pub(crate) fn set(&self, signal: u32, action: Action) -> Action {
        core::mem::replace(&mut Arc::make_mut(&mut self.actions.lock())[signal as usize - 1], action.kept())
    }

    /// The disposition for a delivery, which may reset it.
    pub(super) fn take(&self, signal: u32) -> Action {
        let mut actions = self.actions.lock();
        let action = actions[signal as usize - 1];
        if action.is_handler() && action.flags & SA_RESETHAND != 0 {
            // The flags stay, as in Linux.
            Arc::make_mut(&mut actions)[signal as usize - 1].handler = SIG_DFL;
        }
        action
    }

    /// Whether `signal` does nothing.
    #[inline]
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

    /// How the process learns of the ends of its children.
    pub(crate) fn for_children(&self) -> ChildEnds {
        let action = self.get(SIGCHLD);
        match action.handler {
            SIG_IGN => ChildEnds::Ignored,
            _ if action.flags & SA_NOCLDWAIT != 0 => ChildEnds::Signal,
            _ => ChildEnds::Wait,
        }
    }
}

/// How a parent learns of the end of a child that sends SIGCHLD.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChildEnds {
    /// It gets the signal, and waits for the child.
    Wait,
    /// It gets the signal. No child is left to wait for.
    Signal,
    /// Not at all. No child is left to wait for.
    Ignored,
}
