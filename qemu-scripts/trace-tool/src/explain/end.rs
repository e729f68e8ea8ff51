//! The end of an address space: what it waited for after its last user.

use trace_format::{Body, Kind, Mm, Why};

use super::{Told, moved};
use crate::events::Event;
use crate::story::{Call, Hold, Moved, Stage, Stamp, Stretch};

/// The last reference of an address space.
enum Last {
    /// That of a borrow.
    Borrow,
    /// That of all users together.
    Shared,
    /// One that a task has taken.
    Held(Hold),
}

impl Told<'_> {
    /// From its last user to its last byte.
    pub(super) fn end(&mut self) {
        let Some(zombie) = self.life.stamps[Stage::Zombie as usize] else {
            self.say("It has users when the trace ends.".into());
            return;
        };
        let who = self.who(zombie.tid);
        self.say(format!(
            "Its last user was {who}, which gave it up on CPU {} at {}.",
            zombie.cpu,
            self.at(zombie.time)
        ));
        self.borrowers(zombie.time);
        self.asked(Kind::Evict, "To flush for the exit,", "kicked");
        self.count(zombie.time);
        if let Some(scan) = self.events(Kind::Scan).last().map(|event| (event.cpu, event.record.body.cpus()))
        {
            self.say(format!("CPU {} looked for CPUs that had published it, and found {}.", scan.0, scan.1));
        }
        self.asked(Kind::Shoot, "For the last drop,", "shot");
        self.waited();
        match self.life.at(Stage::Freed) {
            None => self.say("It is not freed when the trace ends.".into()),
            Some(freed) => {
                let waited = self.at(freed - zombie.time);
                self.say(format!(
                    "It was freed at {}, {waited} after its last user had gone.",
                    self.at(freed)
                ));
            }
        }
    }

    /// The CPUs that were lazy on it when its last user went, by the time when they left it.
    fn borrowers(&mut self, zombie: u64) {
        let mut left: Vec<Stretch> = self
            .story
            .borrows(self.life.mm)
            .filter(|borrow| borrow.to.is_none_or(|to| to > zombie))
            .copied()
            .collect();
        left.sort_by_key(|borrow| borrow.to.unwrap_or(u64::MAX));
        self.say(match left.len() {
            0 => "No CPU was lazy on it then.".into(),
            1 => "One CPU was lazy on it then:".into(),
            n => format!("{n} CPUs were lazy on it then:"),
        });
        for borrow in left {
            let since = self.at(borrow.from);
            self.say(match borrow.to {
                Some(to) => {
                    let (why, after) = (moved(self.trace, borrow.moved), self.at(to - zombie));
                    format!("  CPU {}, since {since}, {why} at {}, {after} later.", borrow.cpu, self.at(to))
                }
                None => format!("  CPU {}, since {since}, is lazy on it when the trace ends.", borrow.cpu),
            });
        }
    }

    /// Which other CPUs held it up.
    fn waited(&mut self) {
        let Some(dying) = self.life.stamps[Stage::Dying as usize] else { return };
        match self.last_reference(&dying) {
            Some(Last::Borrow) => {
                self.say(format!(
                    "So it waited for CPU {} to run a task of another address space.",
                    dying.cpu
                ));
                return;
            }
            Some(Last::Held(hold)) => {
                let who = self.trace.task(hold.tid);
                self.say(format!("So it waited for the reference that {who} had taken."));
                return;
            }
            _ => {}
        }
        // Nobody is asked under quiescent: what has no references waits for the last CPU that leaves it.
        let late = self
            .story
            .borrows(self.life.mm)
            .filter(|borrow| borrow.moved != Some(Moved::Left(Why::Shoot, None)));
        let last = late.filter(|borrow| borrow.to > Some(dying.time)).max_by_key(|borrow| borrow.to);
        let calls = [Kind::Evict, Kind::Shoot].map(|kind| self.asks(kind).and_then(|(_, waited)| waited));
        self.say(match (calls.into_iter().flatten().sum(), last) {
            (0, None) => "So it waited for no other CPU.".into(),
            (0, Some(last)) => format!("So it waited for CPU {} to leave it.", last.cpu),
            (ticks, _) => {
                format!("So it waited {} for other CPUs; the rest was the exit's own work.", self.at(ticks))
            }
        });
    }

    /// Which reference was the last. The task that gives it back is the one that finds the count 0.
    fn last_reference(&self, dying: &Stamp) -> Option<Last> {
        let last = self.trace.events.iter().rev().find(|event| {
            let body = event.record.body;
            let by = if body.kind == Kind::Unit { event.tid } else { Some(body.other) };
            let given_back = matches!((body.kind, body.sub), (Kind::Unit, 1) | (Kind::Count, 1 | 2));
            let here = dying.tid.map_or(event.cpu == dying.cpu, |tid| by == Some(tid));
            given_back && body.mm == self.life.mm && event.record.time <= dying.time && here
        })?;
        let given = (last.record.time, last.record.body.other);
        match (last.record.body.kind, last.record.body.sub) {
            (Kind::Unit, _) => Some(Last::Borrow),
            (_, 2) => Some(Last::Shared),
            _ => {
                let is_it =
                    |hold: &&Hold| (hold.mm, hold.of, hold.to) == (self.life.mm, Kind::Count, Some(given));
                self.story.holds.iter().find(is_it).copied().map(Last::Held)
            }
        }
    }

    /// The last eviction for the exit, or the shoot: the event, and the ticks that its answers took.
    fn asks(&self, kind: Kind) -> Option<(Event, Option<u64>)> {
        let asks = |body: &Body| body.cpus() > 0 && (kind == Kind::Shoot || body.sub == 0);
        let event = *self.events(kind).filter(|event| asks(&event.record.body)).last()?;
        let ours = |call: &&Call| {
            let later = call.posted.is_some_and(|at| at >= event.record.time);
            call.by == event.cpu && call.mm == self.life.mm && later
        };
        let call = self.story.calls.iter().find(ours);
        Some((event, call.and_then(|call| Some(call.done? - call.posted?))))
    }

    /// Tells it.
    fn asked(&mut self, kind: Kind, why: &str, did: &str) {
        let Some((event, waited)) = self.asks(kind) else { return };
        let waited = waited
            .map_or(String::new(), |ticks| format!(", and waited {} until that was done", self.at(ticks)));
        let cpus = match event.record.body.cpus() {
            1 => "1 CPU".into(),
            n => format!("{n} CPUs"),
        };
        self.say(format!("{why} CPU {} {did} {cpus} at {}{waited}.", event.cpu, self.at(event.record.time)));
    }

    /// When its last reference went, and which it was.
    fn count(&mut self, zombie: u64) {
        let Some(dying) = self.life.stamps[Stage::Dying as usize] else {
            self.say(format!("{} still has a reference when the trace ends.", Mm(self.life.mm)));
            return;
        };
        let last = match self.last_reference(&dying) {
            Some(Last::Borrow) => ": the unit of that CPU's borrow".into(),
            Some(Last::Shared) => {
                ": the one that all users share, which the exit gives back at its end".into()
            }
            Some(Last::Held(hold)) => {
                format!(": the one that {} had taken at {}", self.trace.task(hold.tid), self.at(hold.from))
            }
            None => String::new(),
        };
        let (at, after) = (self.at(dying.time), self.at(dying.time - zombie));
        self.say(format!(
            "Its last reference went on CPU {} at {at}, {after} after its last user{last}.",
            dying.cpu
        ));
    }
}
