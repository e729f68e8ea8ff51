//! What each CPU ran and had loaded, and what moved it away from what it had borrowed.

use std::collections::HashMap;

use trace_format::{Kind, Mm, Why};

use crate::events::Event;

/// A task on a CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ran {
    /// The CPU.
    pub cpu: usize,
    /// The task.
    pub tid: u32,
    /// From the switch to it …
    pub from: u64,
    /// … to the switch away from it.
    pub to: Option<u64>,
}

/// An address space that a CPU has loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// The CPU.
    pub cpu: usize,
    /// The address space.
    pub mm: u64,
    /// Whether it is borrowed. `init_mm` never counts as borrowed here.
    pub lazy: bool,
    /// Its beginning.
    pub from: u64,
    /// Its end.
    pub to: Option<u64>,
    /// What ended it, for a borrow.
    pub moved: Option<Moved>,
}

/// What moved a CPU away from what it had borrowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moved {
    /// A task that owns it runs again.
    Back(u32),
    /// A task that owns another one runs.
    On(u32, u64),
    /// The task that runs there took another one: exec, or a kernel thread that works for a user.
    Takes(u64),
    /// It went to `init_mm`: why, and the CPU that waits for it, if another one asked.
    Left(Why, Option<usize>),
}

/// A task that owns an address space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Use {
    /// The task.
    pub tid: u32,
    /// What it owns.
    pub mm: u64,
    /// When it first ran with it.
    pub from: u64,
    /// When it gave it up.
    pub to: Option<u64>,
    /// The CPU where it did.
    pub cpu: usize,
    /// How, once it has.
    pub gone: Gone,
}

/// How a task gives up an address space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gone {
    /// It goes on without one; the trace has no more of it.
    GaveUp,
    /// It took another one.
    Took(u64),
    /// It has ended since.
    Exited,
}

#[derive(Clone, Default)]
struct Cpu {
    /// Places in the lists of what goes on.
    ran: Option<usize>,
    stretch: Option<usize>,
    /// What was loaded until now, if it was borrowed; its `end` comes.
    left: Option<usize>,
    /// What the task that runs owns, or 0.
    owned: u64,
    /// A switch that ends a borrow, until it has: the task, and what it owns.
    switch: Option<(u32, u64)>,
    /// Who waits for the call that runs here.
    asked_by: Option<usize>,
}

pub(super) struct Reader {
    cpus: Vec<Cpu>,
    pub ran: Vec<Ran>,
    pub stretches: Vec<Stretch>,
    pub uses: Vec<Use>,
    /// Of each task: the place of its last use.
    last_use: HashMap<u32, usize>,
}

impl Reader {
    pub fn new(cpus: usize) -> Reader {
        let (ran, stretches, uses, last_use) = Default::default();
        Reader { cpus: vec![Cpu::default(); cpus], ran, stretches, uses, last_use }
    }

    pub fn take(&mut self, event: &Event) {
        let (n, time, body) = (event.cpu, event.record.time, event.record.body);
        match body.kind {
            Kind::Switch => self.switch(event),
            Kind::Load => self.load(event),
            Kind::Borrow => {
                if self.cpus[n].owned == body.mm {
                    self.gives_up(event, Gone::GaveUp);
                }
                self.begin(n, time, body.mm, body.mm != Mm::INIT.0);
            }
            Kind::End => self.end(event),
            Kind::Taken => self.cpus[n].asked_by = Some(body.arg as usize),
            Kind::Answered => self.cpus[n].asked_by = None,
            Kind::Cpu if body.sub == 0 => {
                self.close(n, time);
                if let Some(place) = self.cpus[n].ran.take() {
                    self.ran[place].to = Some(time);
                }
            }
            _ => {}
        }
    }

    /// Ends what `cpu` has loaded.
    fn close(&mut self, cpu: usize, time: u64) {
        let Some(place) = self.cpus[cpu].stretch.take() else { return };
        let stretch = &mut self.stretches[place];
        stretch.to = Some(time);
        self.cpus[cpu].left = stretch.lazy.then_some(place);
    }

    /// From here on `cpu` has `mm` loaded.
    fn begin(&mut self, cpu: usize, time: u64, mm: u64, lazy: bool) {
        self.close(cpu, time);
        self.cpus[cpu].stretch = Some(self.stretches.len());
        self.stretches.push(Stretch { cpu, mm, lazy, from: time, to: None, moved: None });
    }

    fn switch(&mut self, event: &Event) {
        let (n, time, body) = (event.cpu, event.record.time, event.record.body);
        if let Some(place) = self.cpus[n].ran {
            let ran = &mut self.ran[place];
            ran.to = Some(time);
            let last = self.last_use.get(&ran.tid).map(|&place| &mut self.uses[place]);
            if let Some(used) = last.filter(|used| body.sub >> 2 & 3 == 2 && used.to.is_some()) {
                used.gone = Gone::Exited;
            }
        }
        if self.cpus[n].stretch.is_none() {
            self.begin(n, time, body.mm, matches!(body.sub & 3, 1 | 2) && body.mm != Mm::INIT.0);
        }
        let cpu = &mut self.cpus[n];
        cpu.ran = Some(self.ran.len());
        (cpu.owned, cpu.left) = (body.arg, None);
        cpu.switch = (body.sub & 3 == 2).then_some((body.other, body.arg));
        self.ran.push(Ran { cpu: n, tid: body.other, from: time, to: None });
        if body.arg != 0 {
            self.uses(n, body.other, body.arg, time);
        }
    }

    fn load(&mut self, event: &Event) {
        let (n, time, mm) = (event.cpu, event.record.time, event.record.body.mm);
        let cpu = &self.cpus[n];
        if cpu.owned != 0 && cpu.owned != mm && cpu.asked_by.is_none() {
            let takes = if mm == Mm::INIT.0 { Gone::GaveUp } else { Gone::Took(mm) };
            self.gives_up(event, takes);
        }
        self.begin(n, time, mm, false);
        if mm != Mm::INIT.0 && self.cpus[n].owned != mm {
            self.cpus[n].owned = mm;
            if let Some(tid) = event.tid {
                self.uses(n, tid, mm, time);
            }
        }
    }

    /// A borrow ends. What was borrowed stays loaded, or was left at the load before.
    fn end(&mut self, event: &Event) {
        let (n, time, body) = (event.cpu, event.record.time, event.record.body);
        let (switch, left) = (self.cpus[n].switch.take(), self.cpus[n].left.take());
        let borrowed = self.cpus[n].stretch.filter(|&place| self.stretches[place].lazy);
        let is_it = |place: &usize| self.stretches[*place].mm == body.mm;
        if let Some(place) = borrowed.filter(is_it) {
            self.begin(n, time, body.mm, false);
            self.stretches[place].moved = switch.map(|(tid, _)| tid).or(event.tid).map(Moved::Back);
        } else if let Some(place) = left.filter(is_it) {
            let loaded = self.cpus[n].stretch.map(|place| self.stretches[place].mm);
            self.stretches[place].moved = match Why::of(body.sub.into()) {
                Some(Why::Switch) => switch.map(|(tid, owned)| Moved::On(tid, owned)),
                Some(Why::Takes) => loaded.map(Moved::Takes),
                why => why.map(|why| Moved::Left(why, self.cpus[n].asked_by)),
            };
        }
    }

    /// The task `tid` owns `mm` from here on, if it did not before.
    fn uses(&mut self, cpu: usize, tid: u32, mm: u64, from: u64) {
        let last = self.last_use.get(&tid).map(|&place| &self.uses[place]);
        if !last.is_some_and(|last| last.mm == mm && last.to.is_none()) {
            self.last_use.insert(tid, self.uses.len());
            self.uses.push(Use { tid, mm, from, to: None, cpu, gone: Gone::GaveUp });
        }
    }

    /// The task that runs gives up what it owns.
    fn gives_up(&mut self, event: &Event, gone: Gone) {
        self.cpus[event.cpu].owned = 0;
        let last = event.tid.and_then(|tid| self.last_use.get(&tid));
        if let Some(used) = last.map(|&place| &mut self.uses[place]) {
            (used.to, used.cpu, used.gone) = (Some(event.record.time), event.cpu, gone);
        }
    }
}
