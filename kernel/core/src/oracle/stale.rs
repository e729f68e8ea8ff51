//! What went out of a tree, or lost permissions, and may still be cached.

use alloc::vec::Vec;
use core::ops::Range;

use crate::machine::Stamp;

/// The number of a page frame.
pub type FrameNumber = u32;

/// Entries that changed between the beginnings of two flushes: one flush has to cover
/// all of them.
pub(super) struct Stale {
    /// The addresses that they map.
    pub(super) span: Range<u64>,
    /// A moment behind the last of the changes.
    pub(super) at: Stamp,
    /// The frames that they named and do not name any more, once an entry.
    pub(super) frames: Vec<FrameNumber>,
}

impl Stale {
    /// Whether the frame is among them.
    pub(super) fn has(&self, frame: FrameNumber) -> bool {
        self.frames.contains(&frame)
    }
}

/// Changes of one kind of entry, the oldest first.
#[derive(Default)]
pub(super) struct StaleSet(Vec<Stale>);

impl StaleSet {
    /// At `at`, the entries that map `span` changed; `flushing`: the last flush began.
    pub(super) fn add(&mut self, span: Range<u64>, frame: Option<FrameNumber>, at: Stamp, flushing: Stamp) {
        match self.0.last_mut() {
            Some(last) if last.at > flushing => {
                last.span = last.span.start.min(span.start)..last.span.end.max(span.end);
                last.at = at;
                last.frames.extend(frame);
            }
            _ => self.0.push(Stale { span, at, frames: frame.into_iter().collect() }),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Stale> {
        self.0.iter()
    }

    /// Forgets those that are not `held` any more, and gives their frames away.
    pub(super) fn release(&mut self, held: impl Fn(&Stale) -> bool, released: &mut Vec<FrameNumber>) {
        self.0.retain_mut(|stale| {
            let held = held(stale);
            if !held {
                released.append(&mut stale.frames);
            }
            held
        });
    }
}
