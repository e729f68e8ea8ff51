//! The trace: each CPU records what happens on it in a ring of its own.
//!
//! The crate `trace_format` has the format. A ring has one writer, its CPU. An interrupt handler may record
//! in the middle of a record, so a record's place is taken by one atomic addition, and its head,
//! which makes it valid, is written last. While nothing is on, an event costs a nop, and there are no
//! rings until something is.

use arch::{percpu, ring};
use kcore::cpu::{CpuId, CpuSet};
use kcore::event::{Cause, Event, Stamp};
use kcore::machine::PreemptOff;
use kcore::mm::MmId;
use kcore::mm::flush::{FlushRange, Reach};
use kcore::task::TaskMm;
use trace_format::{Body, Kind};

use self::rings::{nr_cpus, number};
use crate::machine::lazy_tlb;

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
        arch::patchable!($kind.group(), { $crate::trace::write($body) })
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
    // Few fields, or on paths that save no registers.
    macro_rules! here {
        ($kind:ident) => {
            note!(Kind::$kind, event.body(t.cpu(), nr_cpus, number))
        };
    }
    // On paths that call functions anyway: nothing but a call is added to them. It takes the fields, which
    // are in registers; what the record says is worked out there, and not on the path.
    macro_rules! apart {
        ($kind:ident, $again:expr, $($field:ident: $type:ty),+) => {
            arch::patchable!(Kind::$kind.group(), {
                #[cold]
                #[inline(never)]
                fn apart($($field: $type),+) {
                    write($again.body(CpuId::BOOT, nr_cpus, number));
                }
                apart($($field),+);
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
        Event::Ended(_) => here!(End),
        Event::Load(_) => here!(Load),
        Event::Leave(_) => here!(Leave),
        Event::MaskSet(_) | Event::MaskCleared(_) => here!(Mask),
        Event::GrabLazy(_) | Event::DropLazy(_) => here!(Unit),
        Event::Posted { .. } => here!(Posted),
        Event::Ipi { .. } => here!(Sent),
        Event::Answered(_) => here!(Done),
        Event::Evict { mm, cause, cpus } => {
            apart!(Evict, Event::Evict { mm, cause, cpus }, mm: MmId, cause: Cause, cpus: &CpuSet);
        }
        Event::Scan { mm, cpus } => apart!(Scan, Event::Scan { mm, cpus }, mm: MmId, cpus: &CpuSet),
        Event::Shoot { mm, cpus } => apart!(Shoot, Event::Shoot { mm, cpus }, mm: MmId, cpus: &CpuSet),
        Event::ShotSelf(_) => here!(ShotSelf),
        Event::Filtered(mm, cpu) => apart!(Filtered, Event::Filtered(mm, cpu), mm: MmId, cpu: CpuId),
        Event::Flush { mm, what, reach } => {
            apart!(Flush, Event::Flush { mm, what, reach }, mm: MmId, what: FlushRange, reach: Reach);
        }
        Event::Spared { mm, cpu, since } => {
            apart!(Spared, Event::Spared { mm, cpu, since }, mm: MmId, cpu: CpuId, since: Stamp);
        }
        Event::Paid(_) => here!(Paid),
        Event::FlushBegins(_) => here!(FlushBegins),
        Event::FlushLocal(mm, what, since) => {
            apart!(FlushLocal, Event::FlushLocal(mm, what, since), mm: MmId, what: FlushRange, since: Stamp);
        }
        Event::FlushGlobal(mm, what, since) => {
            apart!(FlushGlobal, Event::FlushGlobal(mm, what, since), mm: MmId, what: FlushRange, since: Stamp);
        }
        Event::Created(_) => here!(Created),
        Event::Zombie(_) => here!(Zombie),
        Event::Dying(_) => here!(Dying),
        Event::Dead(_) => here!(Dead),
        Event::Freed(_) => here!(Freed),
        Event::Online | Event::Offline => here!(Cpu),
        Event::Membarrier { .. } => here!(Membarrier),
    }
}

/// This CPU is about to switch from the task with `prev` to the one with `next`. `why` is a number
/// of `trace_format::LEAVES`.
#[inline(always)]
pub(crate) fn switch(prev: &TaskMm, next: &TaskMm, next_tid: &u32, why: u8) {
    note!(Kind::Switch, {
        let to = next.mm();
        let sub = u8::from(prev.mm().is_none()) | (why & 3) << 2;
        // Under a policy without the task's word it is none, and the CPU's word is asked.
        let loaded = match prev.active_mm() {
            MmId::NONE => lazy_tlb().cpu(percpu::cpu_id()).active_mm.peek(),
            mm => mm,
        };
        let about = Body::about(Kind::Switch, loaded.to_bits());
        Body { sub, other: *next_tid, arg: to.to_bits(), ..about }
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
