//! Address spaces from their making to their end.

use std::collections::HashMap;

use trace_format::{Kind, Mm};

use crate::events::Event;

/// A moment of a life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    /// Made: tasks use it.
    Created,
    /// Its last user is gone: a zombie.
    Zombie,
    /// Its last reference is gone.
    Dying,
    /// No CPU has it loaded.
    Dead,
    /// Its root and its PID are given back.
    Freed,
}

impl Stage {
    /// All, in their order.
    pub const ALL: [Stage; 5] = [Stage::Created, Stage::Zombie, Stage::Dying, Stage::Dead, Stage::Freed];

    /// The moment that an event of this kind is.
    pub fn of(kind: Kind) -> Option<Stage> {
        Some(match kind {
            Kind::Created => Stage::Created,
            Kind::Zombie => Stage::Zombie,
            Kind::Dying => Stage::Dying,
            Kind::Dead => Stage::Dead,
            Kind::Freed => Stage::Freed,
            _ => return None,
        })
    }
}

/// When and where a moment was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Ticks.
    pub time: u64,
    /// The CPU.
    pub cpu: usize,
    /// The task that ran there.
    pub tid: Option<u32>,
}

/// One address space.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// Its id, as a word.
    pub mm: u64,
    /// Its moments, by [`Stage`].
    pub stamps: [Option<Stamp>; 5],
}

impl Life {
    /// When the moment was.
    pub fn at(&self, stage: Stage) -> Option<u64> {
        self.stamps[stage as usize].map(|stamp| stamp.time)
    }
}

#[derive(Default)]
pub(super) struct Reader {
    pub lives: Vec<Life>,
    place: HashMap<u64, usize>,
}

impl Reader {
    pub fn take(&mut self, event: &Event) {
        let body = event.record.body;
        let about =
            matches!(body.kind, Kind::Switch | Kind::Load | Kind::Borrow) || Stage::of(body.kind).is_some();
        if !about || body.mm == 0 || body.mm == Mm::INIT.0 {
            return;
        }
        let place = *self.place.entry(body.mm).or_insert_with(|| {
            self.lives.push(Life { mm: body.mm, stamps: [None; 5] });
            self.lives.len() - 1
        });
        if let Some(stage) = Stage::of(body.kind) {
            let stamp = Stamp { time: event.record.time, cpu: event.cpu, tid: event.tid };
            self.lives[place].stamps[stage as usize] = Some(stamp);
        }
    }
}
