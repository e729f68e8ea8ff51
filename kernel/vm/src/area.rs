//! One area of an address space: Linux's VMA.

use core::ops::Range;

use bitflags::bitflags;

use crate::PAGE_SIZE;

/// The bytes that stay free below a stack (Linux: `stack_guard_gap`, 256 pages).
pub const STACK_GUARD_GAP: u64 = 256 * PAGE_SIZE;

bitflags! {
    /// Permissions of a program on a page: the bits of `PROT_*`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Prot: u32 {
        /// Load from it.
        const READ = 1;
        /// Store to it.
        const WRITE = 2;
        /// Execute it.
        const EXEC = 4;
    }
}

/// The contents of an area. The area set asks only whether two neighbours map
/// neighbouring pieces of one object.
pub trait Contents: Clone {
    /// The contents from `by` bytes further on.
    fn advanced(&self, by: u64) -> Self;

    /// Whether `next` continues the contents `len` bytes after the start of `self`.
    fn continues(&self, len: u64, next: &Self) -> bool;
}

/// A run of pages with one protection and one backing.
#[derive(Clone, Debug)]
pub struct Area<C> {
    /// First byte; page-aligned.
    pub start: u64,
    /// Behind the last byte; page-aligned.
    pub end: u64,
    /// The program's permissions.
    pub prot: Prot,
    /// Every address space that maps the contents sees the stores, a forked child's
    /// included; else they are private (copied on write).
    pub shared: bool,
    /// A stack: an access below it makes it larger (`MAP_GROWSDOWN`). Always private and
    /// without a file.
    pub grows_down: bool,
    /// The contents at `start`.
    pub contents: C,
}

impl<C: Contents> Area<C> {
    /// The addresses of the area.
    pub fn range(&self) -> Range<u64> {
        self.start..self.end
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.end - self.start
    }

    /// Where the addresses begin that other areas must leave free. Below a stack
    /// there is a gap, so that an overflow of the stack faults (Linux:
    /// `vm_start_gap`).
    pub fn guarded_start(&self) -> u64 {
        if self.grows_down { self.start.saturating_sub(STACK_GUARD_GAP) } else { self.start }
    }

    /// The part of the area inside `range`, which must overlap it.
    pub fn part(&self, range: &Range<u64>) -> Self {
        let (start, end) = (self.start.max(range.start), self.end.min(range.end));
        debug_assert!(start < end, "the part is empty");
        Self { start, end, contents: self.contents.advanced(start - self.start), ..self.clone() }
    }

    /// Cuts the area at `addr`, if that lies inside: the upper part.
    pub fn cut(&mut self, addr: u64) -> Option<Self> {
        if addr <= self.start || self.end <= addr {
            return None;
        }
        let upper = self.part(&(addr..self.end));
        self.end = addr;
        Some(upper)
    }

    /// Whether `next` begins where this area ends and could be one area with it.
    #[inline]
    pub fn joins(&self, next: &Self) -> bool {
        self.prot == next.prot && self.joins_but_for_prot(next)
    }

    /// As [`Area::joins`], whatever the permissions are.
    #[inline]
    pub fn joins_but_for_prot(&self, next: &Self) -> bool {
        self.end == next.start
            && self.shared == next.shared
            && self.grows_down == next.grows_down
            && self.contents.continues(self.bytes(), &next.contents)
    }
}
