//! The trace: each CPU records what happens on it in a ring of its own.
//!
//! The crate `trace_format` has the format. A ring has one writer, its CPU. An interrupt handler may record
//! in the middle of a record, so a record's place is taken by one atomic addition, and its head,
//! which makes it valid, is written last. While nothing is on, an event costs a nop, and there are no
//! rings until something is.

use arch::ring;
use kcore::cpu::CpuSet;
use kcore::event::Event;
use kcore::machine::PreemptOff;
use kcore::mm::MmId;
use kcore::task::TaskMm;
use trace_format::{Body, Kind};

use self::rings::number;

mod rings;
mod setting;
mod shown;

pub(crate) use self::rings::{OutOfMemory, RINGS_KB};
pub(crate) use self::setting::{Wanted, init, names, set, take_setting};
pub(crate) use self::shown::render;
#[cfg(feature = "selftest")]
pub(crate) use self::{
    setting::groups,
    shown::{begun, last, overrun},
};

/// Records an event, if its group is on: `note!(kind, body)`. Any context; where the task may move
/// meanwhile, the event may be found on the CPU that it left. A macro: the body is made where it is
/// needed, and no call there costs the function its registers.
macro_rules! note {
    ($kind:expr, $body:expr) => {
        arch::patchable!($kind.group(), $kind, { $crate::trace::write($body) })
    };
}
pub(crate) use note;

/// Writes a record.
#[inline(always)]
pub(crate) fn write(body: Body) {
    ring::record(body.head(), body.mm, body.arg);
}

/// Records an event of the protocol. The switch is recorded by [`switch`], which knows the tasks.
#[inline(always)]
pub(crate) fn observe(t: &PreemptOff, event: Event) {
    // On paths that save no registers.
    macro_rules! here {
        ($kind:ident) => {
            note!(Kind::$kind, event.body(t.cpu(), beyond_the_first, number))
        };
    }
    // On paths that call functions anyway, with more fields: less code.
    macro_rules! apart {
        ($kind:ident) => {
            arch::patchable!(Kind::$kind.group(), Kind::$kind, {
                let body = event.body(t.cpu(), beyond_the_first, number);
                ring::record_apart(body.head(), body.mm, body.arg);
            })
        };
    }
    match event {
        Event::Switch { .. } | Event::Sent { .. } => {}
        Event::Interrupted => here!(Interrupt),
        Event::NotCalled => here!(NotCalled),
        Event::Called { .. } => here!(Taken),
        Event::Answers { .. } => here!(Answered),
        Event::Borrow(_) => here!(Borrow),
        Event::Ended(..) => here!(End),
        Event::Load(_) => here!(Load),
        Event::Leave(_) => here!(Leave),
        Event::MaskSet(_) | Event::MaskCleared(_) => here!(Mask),
        Event::GrabLazy(_) | Event::DropLazy(_) => here!(Unit),
        Event::Posted { .. } => here!(Posted),
        Event::Ipi { .. } => here!(Sent),
        Event::Answered(_) => here!(Done),
        Event::Evict { .. } => apart!(Evict),
        Event::Scan { .. } => apart!(Scan),
        Event::Shoot { .. } => apart!(Shoot),
        Event::ShotSelf(_) => here!(ShotSelf),
        Event::Filtered(..) => apart!(Filtered),
        Event::Flush { .. } => apart!(Flush),
        Event::Spared { .. } => apart!(Spared),
        Event::Paid(_) => here!(Paid),
        Event::FlushBegins(_) => here!(FlushBegins),
        Event::FlushLocal(..) => apart!(FlushLocal),
        Event::FlushGlobal(..) => apart!(FlushGlobal),
        Event::Created(_) => here!(Created),
        Event::Zombie(_) => here!(Zombie),
        Event::Dying(_) => here!(Dying),
        Event::Dead(_) => here!(Dead),
        Event::Freed(_) => here!(Freed),
        Event::Online | Event::Offline => here!(Cpu),
        Event::Membarrier { .. } => here!(Membarrier),
    }
}

/// How many CPUs a set has beyond the first 64. Where there may be some they are not counted, as that takes
/// longer than all the rest of the record: the calls that follow name them.
#[inline(always)]
fn beyond_the_first(_: &CpuSet) -> u32 {
    let mut count = 0;
    arch::patchable!(setting::WIDE, u16::MAX, { count = Body::NOT_COUNTED });
    count
}

/// This CPU is about to switch from the task with `prev` to the one with `next`, and has `loaded`. `why`
/// is a number of `trace_format::LEAVES`.
#[inline(always)]
pub(crate) fn switch(prev: &TaskMm, next: &TaskMm, next_tid: &u32, loaded: impl FnOnce() -> MmId, why: u8) {
    note!(Kind::Switch, {
        let sub = u8::from(prev.mm().is_none()) | (why & 3) << 2;
        let about = Body::about(Kind::Switch, loaded().to_bits());
        Body { sub, other: *next_tid, arg: next.mm().to_bits(), ..about }
    });
}

/// The task with `tid` has a new name.
#[inline(always)]
pub(crate) fn name(tid: u32, words: impl FnOnce() -> [u64; 2]) {
    note!(Kind::Name, {
        let [first, second] = words();
        Body { other: tid, arg: second, ..Body::about(Kind::Name, first) }
    });
}
