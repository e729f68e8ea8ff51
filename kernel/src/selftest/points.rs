//! Where tests interfere: the protocol's named points and the scheduler's windows.
//!
//! At a place a CPU is held until its turn comes ([`script`]), or runs a test's action ([`hook`]).

use kcore::machine::Point;

use super::{hook, script};
use crate::task::registry::IDLE_TID;
use crate::task::{Task, Window};

/// Where a CPU is held, or runs an action.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// A point of the protocol.
    Protocol(Point),
    /// The task with this number is in a window of the scheduler.
    Scheduler(Window, u32),
}

impl From<Point> for Place {
    fn from(point: Point) -> Place {
        Place::Protocol(point)
    }
}

impl Window {
    /// `task` in this window.
    #[inline]
    pub(crate) fn of(self, task: &Task) -> Place {
        Place::Scheduler(self, task.tid())
    }

    /// An idle task in this window.
    pub(super) fn of_idle(self) -> Place {
        Place::Scheduler(self, IDLE_TID)
    }
}

impl Place {
    /// As one word, unique.
    #[inline]
    pub(super) const fn bits(self) -> u64 {
        match self {
            Place::Protocol(point) => point as u64,
            Place::Scheduler(window, tid) => (window as u64 + 1) << 32 | tid as u64,
        }
    }
}

/// This CPU is at `place`; from `Probe::point` and `Window::pass`.
#[inline]
pub(crate) fn reached(place: impl Into<Place>) {
    let place = place.into();
    script::reached(place);
    hook::reached(place);
}
