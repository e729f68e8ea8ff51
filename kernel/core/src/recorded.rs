//! Events as records of the trace.

use trace_format::{Body, Kind};

use crate::cpu::{CpuId, CpuSet};
use crate::event::{Cause, Event, Reference};
use crate::ipi::Asks;
use crate::mm::MmId;
use crate::mm::flush::FlushRange;

impl Event<'_> {
    /// The kind of its record.
    #[inline(always)]
    pub fn kind(&self) -> Kind {
        match self {
            Event::Switch { .. } => Kind::Switch,
            Event::Borrow(_) => Kind::Borrow,
            Event::Ended(..) => Kind::End,
            Event::GrabLazy(_) | Event::DropLazy(_) => Kind::Unit,
            Event::Load(_) => Kind::Load,
            Event::Leave(_) => Kind::Leave,
            Event::MaskSet(_) | Event::MaskCleared(_) => Kind::Mask,
            Event::Evict { .. } => Kind::Evict,
            Event::Scan { .. } => Kind::Scan,
            Event::Shoot { .. } => Kind::Shoot,
            Event::ShotSelf(_) => Kind::ShotSelf,
            Event::Filtered(..) => Kind::Filtered,
            Event::Posted { .. } => Kind::Posted,
            Event::Ipi { .. } | Event::Sent { .. } => Kind::Sent,
            Event::Answered(_) => Kind::Done,
            Event::Interrupted => Kind::Interrupt,
            Event::Called { .. } => Kind::Taken,
            Event::Answers { .. } => Kind::Answered,
            Event::NotCalled => Kind::NotCalled,
            Event::Flush { .. } => Kind::Flush,
            Event::FlushBegins(_) => Kind::FlushBegins,
            Event::FlushLocal(..) => Kind::FlushLocal,
            Event::FlushGlobal(..) => Kind::FlushGlobal,
            Event::Spared { .. } => Kind::Spared,
            Event::Paid(_) => Kind::Paid,
            Event::Created(_) => Kind::Created,
            Event::Zombie(_) => Kind::Zombie,
            Event::Dying(_) => Kind::Dying,
            Event::Dead(_) => Kind::Dead,
            Event::Freed(_) => Kind::Freed,
            Event::Online | Event::Offline => Kind::Cpu,
            Event::Membarrier { .. } => Kind::Membarrier,
        }
    }

    /// Whether a record tells it. The sum of a call's IPIs has none: each IPI has its own.
    #[inline(always)]
    pub fn is_recorded(&self) -> bool {
        !matches!(self, Event::Sent { .. })
    }

    /// What its record on the CPU `me` says. `number` tells the number of the call that a CPU waits
    /// for, and counts a new one if its second argument says so; `beyond`, how many CPUs a set has beyond the
    /// first 64, or [`Body::NOT_COUNTED`].
    #[inline(always)]
    pub fn body(
        self,
        me: CpuId,
        beyond: impl FnOnce(&CpuSet) -> u32,
        number: impl FnOnce(CpuId, bool) -> u32,
    ) -> Body {
        let kind = self.kind();
        match self {
            Event::Switch { arm, from, to } => {
                Body { sub: arm as u8, arg: to.to_bits(), ..about(kind, from) }
            }
            Event::Ended(mm, why) => Body { sub: why as u8, ..about(kind, mm) },
            Event::DropLazy(mm) | Event::MaskSet(mm) => Body { sub: 1, ..about(kind, mm) },
            Event::Borrow(mm)
            | Event::GrabLazy(mm)
            | Event::Load(mm)
            | Event::Leave(mm)
            | Event::MaskCleared(mm)
            | Event::ShotSelf(mm)
            | Event::FlushBegins(mm)
            | Event::Paid(mm)
            | Event::Created(mm)
            | Event::Zombie(mm)
            | Event::Dying(mm)
            | Event::Dead(mm)
            | Event::Freed(mm) => about(kind, mm),
            Event::Evict { mm, cause, cpus } => Body {
                sub: (cause == Cause::Trim).into(),
                other: beyond(cpus),
                arg: cpus.word(0),
                ..about(kind, mm)
            },
            Event::Scan { mm, cpus } | Event::Shoot { mm, cpus } => {
                Body { other: beyond(cpus), arg: cpus.word(0), ..about(kind, mm) }
            }
            Event::Filtered(mm, cpu) | Event::Spared { mm, cpu, .. } => {
                Body { other: cpu.index() as u32, ..about(kind, mm) }
            }
            Event::Posted { asks } => call(kind, asks, number(me, true), CpuId::BOOT),
            Event::Sent { call: asked, .. } => call(kind, asked.asks(), number(me, false), CpuId::BOOT),
            Event::Ipi { to, asks } => call(kind, asks, number(me, false), to),
            Event::Called { by, asks, .. } => call(kind, asks, number(by, false), by),
            Event::Answers { by } => {
                Body { other: number(by, false), arg: by.index() as u64, ..Body::new(kind) }
            }
            Event::Answered(asks) => call(kind, asks, number(me, false), CpuId::BOOT),
            Event::Interrupted | Event::NotCalled | Event::Offline => Body::new(kind),
            Event::Flush { mm, what, reach } => {
                let range = range(about(kind, mm), what);
                Body { arg: range.arg | reach as u64, ..range }
            }
            Event::FlushLocal(mm, what, _) | Event::FlushGlobal(mm, what, _) => range(about(kind, mm), what),
            Event::Online => Body { sub: 1, ..Body::new(kind) },
            Event::Membarrier { mm, command } => Body { other: command as u32, ..about(kind, mm) },
        }
    }
}

impl Reference {
    /// The kind of its record.
    #[inline(always)]
    pub fn kind(self) -> Kind {
        match self {
            Reference::Get | Reference::GetForTask | Reference::Put => Kind::Users,
            Reference::Grab | Reference::Drop | Reference::DropShared => Kind::Count,
        }
    }

    /// What its record says, by the task `tid`.
    #[inline(always)]
    pub fn body(self, mm: MmId, tid: u32) -> Body {
        let sub = match self {
            Reference::Get | Reference::Grab => 0,
            Reference::Put | Reference::Drop => 1,
            Reference::GetForTask | Reference::DropShared => 2,
        };
        Body { sub, other: tid, ..about(self.kind(), mm) }
    }
}

#[inline(always)]
fn about(kind: Kind, mm: MmId) -> Body {
    Body::about(kind, mm.to_bits())
}

#[inline(always)]
fn call(kind: Kind, Asks { op, mm }: Asks, number: u32, cpu: CpuId) -> Body {
    Body { sub: op, other: number, arg: cpu.index() as u64, ..about(kind, mm) }
}

/// `body`, and what a flush drops.
#[inline(always)]
fn range(body: Body, what: FlushRange) -> Body {
    let sub = match what {
        FlushRange::Pages { .. } => 0,
        FlushRange::Translations => 1,
        FlushRange::Everything => 2,
    };
    match what {
        FlushRange::Pages { start, pages } => Body { sub, other: pages, arg: start, ..body },
        _ => Body { sub, ..body },
    }
}
