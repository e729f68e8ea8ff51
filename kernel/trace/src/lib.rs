//! The trace: what the kernel records when it watches itself, and how a dump of it is read.
//!
//! A [`Record`] has 32 bytes, four big-endian words. Each CPU writes its own ring. The kernel, the
//! host's models and the host's tools share this crate, so the format is stated once.
//!
//! # A dump
//! All numbers are big-endian words of 64 bits. A dump is the kernel's memory as it lies there:
//!
//! | part | bytes | contents |
//! |---|---|---|
//! | header | [`LINE`] × 2 | [`MAGIC`], [`VERSION`], CPUs, records per ring, timebase ticks per second, number of the policy, [`Group`]s that are on as bits, physical address of the header |
//! | control block per CPU | [`LINE`] × 2 | position, kernel's address of the ring, its bytes − 1, physical address of the ring; at byte [`LINE`] how many cross-calls the CPU has posted |
//! | padding | | to a multiple of [`PAGE`] |
//! | ring per CPU | 32 × records | the records; number n of a CPU is at n modulo records |
//!
//! `position` is how many bytes of records the CPU has begun since boot. Those before it by more than
//! the ring has are overwritten: the *overrun*. [`Dump`] reads all of it; `Dump::ring` gives the records of a
//! CPU that are still there, in the order in which they were begun, and leaves out any that was
//! not finished (its `seq` is that of an older one).
//!
//! # A record
//! `time` is the timebase, the same on all CPUs of this machine, so records of several CPUs can be
//! merged by it. On one CPU it may go back by the length of an interrupt that came while a record was
//! begun. The other fields depend on the kind. An mm is an `MmId` as one word: slot, which is the
//! PID, in the low half, generation in the high half; 0 is none. [`Mm`] prints it.
//!
//! | kind | `sub` | `other` | `mm` | `arg` |
//! |---|---|---|---|---|
//! | [`Kind::Switch`] | bits 0–1 the arm (`ARMS`; the kernel writes only whether the task before owns no mm), bits 2–3 why that task leaves (`LEAVES`) | tid of the next task (the task before is that of the CPU's switch before) | loaded before | owned by the next task |
//! | [`Kind::Name`] | | tid | bytes 0–7 of its new name | bytes 8–15 |
//! | [`Kind::Borrow`] | | | borrowed from here on (a kernel→kernel switch hands it on) | |
//! | [`Kind::End`] | [`Why`] | | borrowed until here; under eager, owned | |
//! | [`Kind::Load`], [`Kind::Leave`] | | | the PID register names it, or does not any more | |
//! | [`Kind::Unit`] | 0 taken, 1 given back | | whose `mm_count` changes for a borrow | |
//! | [`Kind::Users`] | 0 taken, 1 given back, 2 taken for a task that is made | tid of the task that does it | whose `mm_users` changes | |
//! | [`Kind::Count`] | 0 taken, 1 given back, 2 the one of all users is given back | tid of the task that does it | whose `mm_count` changes, but for a borrow | |
//! | [`Kind::Mask`] | 0 cleared, 1 set | | in whose mask this CPU's bit changes | |
//! | [`Kind::Evict`] | 0 exit (a kick), 1 trim | how many CPUs are asked beyond the first 64, or [`Body::NOT_COUNTED`] | to be left | which of the first 64 CPUs are asked, as bits |
//! | [`Kind::Scan`] | | … are found … | whose publishers were looked for | … are found |
//! | [`Kind::Shoot`] | | … are asked … | dying | … are asked, not this one |
//! | [`Kind::ShotSelf`] | | | this CPU has left it for its own shoot | |
//! | [`Kind::Filtered`] | | the CPU that is spared | about which | |
//! | [`Kind::Posted`], [`Kind::Done`] | [`Operation`] | call's number | about which, or 0 | |
//! | [`Kind::Sent`] | [`Operation`] | call's number | about which | target |
//! | [`Kind::Taken`] | [`Operation`] | call's number | about which | the CPU that posted |
//! | [`Kind::Answered`] | | call's number | | the CPU that posted |
//! | [`Kind::Interrupt`], [`Kind::NotCalled`] | | | | |
//! | [`Kind::Resched`] | | target | | |
//! | [`Kind::Flush`] | what (`RANGES`) | pages | to flush | first address, of a page; bits 0–1 the reach (`REACHES`) |
//! | [`Kind::FlushBegins`] | | | | |
//! | [`Kind::FlushLocal`], [`Kind::FlushGlobal`] | what | pages | flushed here, flushed everywhere | first address |
//! | [`Kind::Spared`] | | a CPU that is lazy, and owes a flush from here on | flushed | |
//! | [`Kind::Paid`] | | | for which this CPU makes the flush that it owes | |
//! | [`Kind::Created`] | | | new; its PID is taken | |
//! | [`Kind::Zombie`] | | | `mm_users` is 0 | |
//! | [`Kind::Dying`] | | | `mm_count` is 0 | |
//! | [`Kind::Dead`] | | | no CPU has it loaded | |
//! | [`Kind::Freed`] | | | gone; its PID is given back | |
//! | [`Kind::Fault`] | bit 0 store, bit 1 fetch | | of the task | address |
//! | [`Kind::Syscall`] | 0 begins, 1 ends | number | errno at the end, or second argument | first argument, or result |
//! | [`Kind::Cpu`] | 0 goes offline, 1 is online | | | |
//! | [`Kind::Membarrier`] | | command | of the caller | |
//! | [`Kind::Oracle`] | | | about which the oracle complains | |
//! | [`Kind::Report`] | 0 begins, 1 ends | | | |
//! | [`Kind::Setting`] | 1 if the CPU has not started yet, so that nothing is missed | | | the groups that are on from here on, as bits |
//!
//! A call's number counts the calls of the CPU that posts it: CPU and number together name a call.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod dump;
mod text;

pub use dump::{Dump, Wrong};
pub use text::{Line, Mm};

/// "LZTRACE" and the version's place.
pub const MAGIC: u64 = 0x4c5a_5452_4143_4500;
/// Bumped when a field changes its meaning.
pub const VERSION: u64 = 5;
/// The unit of what CPUs do not share, in bytes.
pub const LINE: usize = 128;
/// A page, in bytes.
pub const PAGE: usize = 4096;
/// A record's size in bytes.
pub const RECORD_BYTES: usize = 32;
/// The fewest and the most records of a ring. Both are powers of two, and so is each number
/// between; in between, `seq` tells a record from the older ones at its place.
pub const RECORDS: core::ops::RangeInclusive<usize> = 256..=1 << 17;

/// The arms of a switch, by number.
pub const ARMS: [&str; 4] = ["user>kernel", "kernel>kernel", "kernel>user", "user>user"];
/// Why a task gives its CPU up, by number, and ftrace's letter for its state.
pub const LEAVES: [(&str, char); 3] = [("sleeps", 'S'), ("yields", 'R'), ("exits", 'X')];
/// What a flush drops, by number.
pub const RANGES: [&str; 3] = ["pages", "translations", "all"];
/// How far a flush reaches, by number.
pub const REACHES: [&str; 3] = ["nobody", "local", "global"];

macro_rules! numbered {
    ($(#[doc = $of:literal])+ $Type:ident: $($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        $(#[doc = $of])+
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum $Type { $($(#[doc = $doc])+ $name,)+ }

        impl $Type {
            /// Every one, by its number.
            pub const ALL: &[$Type] = &[$($Type::$name),+];

            /// Its name in the text.
            pub const fn name(self) -> &'static str {
                match self { $($Type::$name => $text),+ }
            }

            /// The one with this number.
            #[inline(always)]
            pub const fn of(number: u64) -> Option<$Type> {
                match number {
                    $(n if n == $Type::$name as u64 => Some($Type::$name),)+
                    _ => None,
                }
            }
        }
    };
}

numbered! {
    /// What a cross-call asks for: the first word of its record, and `sub` of its events.
    Operation:
    /// A full barrier. A record that was never written asks for it.
    Barrier = "barrier",
    /// To leave an mm whose last reference is gone.
    Shoot = "shoot",
    /// To leave an mm and to flush it, at an exit.
    Evict = "evict",
    /// To flush pages.
    FlushPages = "flush pages",
    /// To flush all translations.
    FlushTranslations = "flush translations",
    /// To flush translations and page walks.
    FlushEverything = "flush all",
    /// A call of the machine's own.
    Machine = "machine",
    /// To panic if the CPU has an mm that was just cleaned up.
    AssertNotLazy = "assert not lazy",
    /// As `Evict`, for a flush.
    EvictTrim = "trim",
    /// To leave an mm that waits for it, because PIDs run short.
    LetGo = "let go",
}

numbered! {
    /// Why a borrow ends.
    Why:
    /// A task that owns an address space runs.
    Switch = "switch",
    /// The task that runs takes an address space: exec, or a kernel thread that works for a user.
    Takes = "takes",
    /// The last reference is gone.
    Shoot = "shoot",
    /// PIDs run short, and the mm waits for this CPU.
    LetGo = "let go",
    /// An exit is about to flush.
    Kick = "kick",
    /// So that this flush and the later ones are local.
    Trim = "trim",
    /// The CPU goes offline.
    Offline = "offline",
    /// The policy says so: the CPU was idle for long.
    Idle = "idle",
    /// The policy borrows nothing.
    Policy = "policy",
}

macro_rules! groups {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// What is switched on and off together: a bit of the kernel's mask.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Group { $($(#[doc = $doc])+ $name,)+ }

        impl Group {
            /// Every group, by its bit.
            pub const ALL: &[Group] = &[$(Group::$name),+];

            /// Its name on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Group::$name => $text),+ }
            }
        }
    };
}

groups! {
    /// Context switches, and the names of tasks.
    Switch = "switch",
    /// What is borrowed and what is loaded.
    Lazy = "lazy",
    /// Cross-calls and other interrupts between CPUs.
    Call = "call",
    /// What an exit, a trim or a last drop asks of others.
    Shoot = "shoot",
    /// Flushes.
    Flush = "flush",
    /// The life of an address space.
    Mm = "mm",
    /// Page faults.
    Fault = "fault",
    /// System calls.
    Syscall = "syscall",
    /// CPUs that come and go.
    Cpu = "cpu",
    /// Membarriers.
    Membarrier = "membarrier",
    /// The oracle of test builds.
    Oracle = "oracle",
    /// Where the report is printed.
    Report = "report",
}

impl Group {
    /// Its bit in a mask.
    pub const fn bit(self) -> u64 {
        1 << self as u8
    }

    /// Every bit.
    pub const EVERY: u64 = (1 << Group::ALL.len()) - 1;

    /// The mask of a comma list of names; `on` is all of them and `off` none. None if a name is
    /// unknown.
    pub fn mask_of(list: &str) -> Option<u64> {
        match list {
            "on" => Some(Self::EVERY),
            "off" => Some(0),
            _ => list.split(',').try_fold(0, |mask, name| {
                Some(mask | Self::ALL.iter().find(|group| group.name() == name)?.bit())
            }),
        }
    }
}

macro_rules! kinds {
    ($($name:ident = $text:literal in $group:ident,)+) => {
        /// What a record tells of. The table of fields is at the head of the crate.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        #[allow(missing_docs, reason = "the table at the head of the crate")]
        pub enum Kind { $($name,)+ }

        impl Kind {
            /// Every kind, by its number.
            pub const ALL: &[Kind] = &[$(Kind::$name),+];

            /// Its name in the text.
            pub const fn name(self) -> &'static str {
                match self { $(Kind::$name => $text),+ }
            }

            /// What switches it on.
            pub const fn group(self) -> Group {
                match self { $(Kind::$name => Group::$group),+ }
            }
        }
    };
}

kinds! {
    Switch = "switch" in Switch,
    Name = "name" in Switch,
    Borrow = "borrow" in Lazy,
    End = "end" in Lazy,
    Load = "load" in Lazy,
    Leave = "leave" in Lazy,
    Unit = "unit" in Lazy,
    Mask = "mask" in Lazy,
    Evict = "evict" in Shoot,
    Scan = "scan" in Shoot,
    Shoot = "shoot" in Shoot,
    ShotSelf = "shot_self" in Shoot,
    Filtered = "filtered" in Shoot,
    Posted = "posted" in Call,
    Sent = "sent" in Call,
    Taken = "taken" in Call,
    Answered = "answered" in Call,
    Done = "done" in Call,
    Interrupt = "interrupt" in Call,
    NotCalled = "not_called" in Call,
    Resched = "resched" in Call,
    Flush = "flush" in Flush,
    FlushBegins = "flush_begins" in Flush,
    FlushLocal = "flush_local" in Flush,
    FlushGlobal = "flush_global" in Flush,
    Spared = "spared" in Flush,
    Paid = "paid" in Flush,
    Created = "created" in Mm,
    Users = "users" in Mm,
    Count = "count" in Mm,
    Zombie = "zombie" in Mm,
    Dying = "dying" in Mm,
    Dead = "dead" in Mm,
    Freed = "freed" in Mm,
    Fault = "fault" in Fault,
    Syscall = "syscall" in Syscall,
    Cpu = "cpu" in Cpu,
    Membarrier = "membarrier" in Membarrier,
    Oracle = "oracle" in Oracle,
    Report = "report" in Report,
    Setting = "setting" in Report,
}

/// What happened, without its time and place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Body {
    /// The kind, on which the meaning of the rest depends.
    pub kind: Kind,
    /// Small numbers.
    pub sub: u8,
    /// A number.
    pub other: u32,
    /// An address space, mostly.
    pub mm: u64,
    /// A further word.
    pub arg: u64,
}

impl Body {
    /// A record of `kind` with zeroes.
    #[inline(always)]
    pub const fn new(kind: Kind) -> Self {
        Body { kind, sub: 0, other: 0, mm: 0, arg: 0 }
    }

    /// … about `mm`.
    #[inline(always)]
    pub const fn about(kind: Kind, mm: u64) -> Self {
        Body { mm, ..Self::new(kind) }
    }
}

impl Body {
    /// Of a set: there may be CPUs beyond the first 64. The records of the call that follows name them.
    pub const NOT_COUNTED: u32 = u32::MAX;

    /// How many CPUs an eviction or a shoot asks, or a scan has found, as far as they are counted.
    pub const fn cpus(self) -> u32 {
        self.arg.count_ones() + if self.other == Self::NOT_COUNTED { 0 } else { self.other }
    }
}

/// One event, with the time at which its CPU recorded it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// Ticks of the timebase.
    pub time: u64,
    /// What happened.
    pub body: Body,
}

impl Body {
    /// The word that says what a record is, but for its lowest 16 bits. These are some of the record's
    /// number on its CPU, and tell it from the records of earlier rounds.
    #[inline(always)]
    pub const fn head(self) -> u64 {
        (self.other as u64) << 32 | (self.kind as u64) << 24 | (self.sub as u64) << 16
    }
}

/// What a head has of its record's number. The kernel's writer, in assembly, has the same bits.
#[inline(always)]
const fn seq(position: u64) -> u64 {
    position >> 8 & 0xffff
}

impl Record {
    /// The words of record number `position`: time, head, mm, arg.
    pub const fn encode(self, position: u64) -> [u64; 4] {
        [self.time, self.body.head() | seq(position), self.body.mm, self.body.arg]
    }

    /// Reads the words at the place of record number `position`. None if they are not a finished
    /// record with this number.
    pub fn decode([time, head, mm, arg]: [u64; 4], position: u64) -> Option<Record> {
        let kind = *Kind::ALL.get(usize::from((head >> 24) as u8))?;
        let mut sub = (head >> 16) as u8;
        if matches!(kind, Kind::Switch) {
            // In an arm from a task that owns no mm the two bits differ.
            sub = sub & !3 | [[3, 2], [0, 1]][usize::from(arg == 0)][usize::from((sub ^ sub >> 1) & 1)];
        }
        let body = Body { kind, sub, other: (head >> 32) as u32, mm, arg };
        (time != 0 && head & 0xffff == seq(position)).then_some(Record { time, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_comes_back() {
        for (number, &kind) in Kind::ALL.iter().enumerate() {
            assert_eq!(kind as usize, number);
            let body = Body { kind, sub: 0xa6, other: 0xdead_beef, mm: 7 << 32 | 3, arg: u64::MAX - 1 };
            let record = Record { time: 123, body };
            let words = record.encode(77_777);
            assert_eq!(Record::decode(words, 77_777), Some(record));
        }
    }

    #[test]
    fn a_switch_has_its_arm() {
        for (arm, owns_none, arg) in [(0_u8, 0_u8, 0), (1, 1, 0), (2, 1, 7), (3, 0, 7)] {
            let body = |sub| Body { sub: sub | 8, arg, ..Body::new(Kind::Switch) };
            for sub in [owns_none, arm] {
                let words = Record { time: 1, body: body(sub) }.encode(0);
                assert_eq!(Record::decode(words, 0).map(|record| record.body), Some(body(arm)));
            }
        }
    }

    #[test]
    fn a_record_of_an_earlier_round_is_told_apart() {
        let words = Record { time: 1, body: Body::new(Kind::Shoot) }.encode(1000);
        for records in [*RECORDS.start(), 4096, *RECORDS.end()] {
            for rounds in [1, 2, 100] {
                assert_eq!(
                    Record::decode(words, 1000 + (records * rounds) as u64),
                    None,
                    "{records} × {rounds}"
                );
            }
        }
        assert_eq!(Record::decode([0; 4], 0), None, "an empty place");
    }

    #[test]
    fn lists_of_groups() {
        assert_eq!(Group::mask_of("on"), Some(Group::EVERY));
        assert_eq!(Group::mask_of("off"), Some(0));
        assert_eq!(Group::mask_of("mm,call"), Some(Group::Mm.bit() | Group::Call.bit()));
        for wrong in ["", "mm,", "mm call", "all", "MM"] {
            assert_eq!(Group::mask_of(wrong), None, "{wrong}");
        }
    }
}
