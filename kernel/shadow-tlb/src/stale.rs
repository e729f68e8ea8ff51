//! What went out of a tree, or lost permissions, and may still be cached.

use alloc::vec::Vec;
use core::ops::Range;

use kcore::event::Stamp;

use crate::{Kind, PAGE_SHIFT};

/// The number of a page frame.
pub type FrameNumber = u32;

/// Entries of neighbouring addresses that changed one after the other, with no flush and no
/// load begun in between. For every flush and load they are one change.
pub(super) struct Stale {
    /// Leaves: as translations; a table: as walk-cache entries.
    pub(super) kind: Kind,
    /// The addresses of the leaves; of a table the first page that it serves.
    pub(super) span: Range<u64>,
    /// A moment after the last of the changes.
    pub(super) at: Stamp,
    /// The frames that the entries named and do not name any more, one per page of the span.
    /// Empty if they only lost permissions.
    pub(super) frames: Vec<FrameNumber>,
}

impl Stale {
    /// Whether the entries named `frame`.
    pub(super) fn has(&self, frame: FrameNumber) -> bool {
        self.frames.contains(&frame)
    }

    /// Whether a flush of `pages` that began at `began` drops all of it.
    pub(super) fn is_covered(&self, pages: &Range<u64>, began: Stamp) -> bool {
        let inside = pages.start <= self.span.start && self.span.end <= pages.end;
        self.kind == Kind::Translation && self.at < began && inside
    }

    /// Cuts off what lies from `edge` on, if something lies on both sides of it.
    fn split_off(&mut self, edge: u64) -> Option<Stale> {
        if edge <= self.span.start || self.span.end <= edge {
            return None;
        }
        let pages = (edge - self.span.start) >> PAGE_SHIFT;
        let frames = if self.frames.is_empty() { Vec::new() } else { self.frames.split_off(pages as usize) };
        let rest = Stale { kind: self.kind, span: edge..self.span.end, at: self.at, frames };
        self.span.end = edge;
        Some(rest)
    }
}

/// All changes of a tree that may still be cached as they were before.
#[derive(Default)]
pub(super) struct StaleSet(Vec<Stale>);

impl StaleSet {
    /// The entry of `ea` changed at `at`; the last flush or load began at `before`.
    pub(super) fn add(&mut self, kind: Kind, ea: u64, frame: Option<FrameNumber>, at: Stamp, before: Stamp) {
        let span = ea..ea + (1 << PAGE_SHIFT);
        match self.0.last_mut() {
            Some(last)
                if last.at > before
                    && (last.kind, last.span.end) == (kind, ea)
                    && last.frames.is_empty() == frame.is_none() =>
            {
                last.span.end = span.end;
                last.at = at;
                last.frames.extend(frame);
            }
            _ => self.0.push(Stale { kind, span, at, frames: frame.into_iter().collect() }),
        }
    }

    /// From now on nothing in the set lies on both sides of `edge`.
    pub(super) fn split_at(&mut self, edge: u64) {
        let parts: Vec<Stale> = self.0.iter_mut().filter_map(|stale| stale.split_off(edge)).collect();
        self.0.splice(0..0, parts);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Stale> {
        self.0.iter()
    }

    /// Forgets the changes that are not `held` any more, and returns their frames.
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
