//! Words above a lane: what happened at a moment, each on a stem that no other word crosses.

use trace_format::{Body, Kind, Operation};

use super::canvas::width;
use crate::events::{follows_a_set, operation};

/// The size of the words, and of their rows.
pub const SIZE: f64 = 11.0;
/// The height of a row.
pub const ROW: f64 = 14.0;
/// The most rows of a lane. Words that need more are left out, the least important first.
const ROWS: usize = 5;

/// A moment with its words.
#[derive(Clone, Debug)]
pub struct Flag {
    /// Its place in pixels.
    pub x: f64,
    /// What it says.
    pub words: String,
    /// The lower, the more important.
    pub rank: u8,
    /// How many rows above the lane the words stand; None if there is no room.
    pub row: Option<usize>,
    /// What is said about it under the pointer.
    pub title: String,
    /// About which address space.
    pub mm: u64,
}

/// The words for an event, and their rank. None for an event that is only a tick.
pub fn words(body: &Body) -> Option<(u8, String)> {
    let cpus = |count: u32| match count {
        0 => "nobody".into(),
        1 => "1 CPU".into(),
        n => format!("{n} CPUs"),
    };
    let said = |rank, text: &str| Some((rank, text.to_string()));
    match body.kind {
        Kind::Created => said(2, "new mm"),
        Kind::Zombie => said(0, "last user gone"),
        Kind::Dying => said(1, "count 0"),
        Kind::Freed => said(0, "freed"),
        Kind::Evict => {
            said(0, &format!("{} {}", ["kick", "trim"][usize::from(body.sub & 1)], cpus(body.cpus())))
        }
        Kind::Scan => said(1, &format!("scan finds {}", cpus(body.cpus()))),
        Kind::Shoot => said(0, &format!("shoot {}", cpus(body.cpus()))),
        Kind::ShotSelf => said(2, "leaves it itself"),
        Kind::Unit | Kind::Count if body.sub > 0 => said(3, "count − 1"),
        Kind::Unit | Kind::Count => said(4, "count + 1"),
        Kind::FlushGlobal => said(3, "flush all CPUs"),
        Kind::FlushLocal => said(4, "flush here"),
        Kind::Spared => said(2, &format!("spares CPU {}", body.other)),
        Kind::Paid => said(2, "flush owed"),
        Kind::Posted if !follows_a_set(body) => said(1, operation(body).map_or("call", Operation::name)),
        Kind::Membarrier => said(2, "membarrier"),
        Kind::Oracle => said(0, "the oracle complains"),
        Kind::Cpu => said(1, ["offline", "online"][usize::from(body.sub & 1)]),
        _ => None,
    }
}

/// Gives each flag its row. Flags come by their place. Returns how many rows there are.
///
/// A word stands higher than those whose stems it would cross: those further to the right that begin
/// before it ends.
pub fn arrange(flags: &mut [Flag]) -> usize {
    let mut least = u8::MAX;
    loop {
        let mut rows = 0;
        for n in (0..flags.len()).rev() {
            let end = flags[n].x + width(&flags[n].words, SIZE) + 6.0;
            let shown = flags[n].rank < least;
            let below =
                flags[n + 1..].iter().take_while(|flag| flag.x < end).filter_map(|flag| flag.row).max();
            flags[n].row = shown.then(|| below.map_or(0, |row| row + 1));
            rows = rows.max(flags[n].row.map_or(0, |row| row + 1));
        }
        let worst = flags.iter().filter(|flag| flag.row.is_some() && rows > ROWS).map(|flag| flag.rank).max();
        match worst {
            Some(worst) if worst > 0 => least = worst,
            _ => break,
        }
    }
    for flag in flags.iter_mut() {
        flag.row = flag.row.filter(|&row| row < ROWS);
    }
    flags.iter().filter_map(|flag| flag.row).max().map_or(0, |row| row + 1)
}
