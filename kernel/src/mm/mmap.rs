//! New mappings and their places; and the break, a mapping that grows.

use alloc::sync::Arc;
use core::ops::Range;

use arch::addr::{PAGE_SIZE, USER_END};
use bitflags::bitflags;
use kcore::mm::MmId;
use vm::area::{Area, Prot};
use vm::brk::{Break, BreakChange};
use vm::{page_down, page_up};

use super::address_space::{self, Map};
use super::backing::Backing;
use super::object::Object;
use crate::errno::Errno;
use crate::memory::heap;

/// The top of a program's stack: programs that know nothing of larger address
/// spaces see 128 TiB, as under Linux.
pub(crate) const STACK_TOP: u64 = (128 << 40) - (64 << 10);
/// How large a stack may grow unless the program has other limits.
pub(crate) const STACK_MAX: u64 = 8 << 20;
/// Mappings without a hint are placed below this, downwards. A stack whose limit is raised while
/// the program runs finds room above (Linux: `mmap_base`, `MIN_GAP`).
pub(crate) const MMAP_TOP: u64 = STACK_TOP - (128 << 20);
/// Nothing is mapped below: a null pointer plus a field must fault.
pub(crate) const LOWEST: u64 = 64 << 10;

/// The most that the pieces cost on the heap of areas that a call cuts.
const HEAP_BYTES: usize = 8 << 10;

bitflags! {
    /// The bits of `MAP_*` (powerpc) that mean something to us.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) struct MapFlags: u32 {
        /// Stores are seen through every mapping of the object.
        const SHARED = 0x01;
        /// Stores are private to the address space.
        const PRIVATE = 0x02;
        /// Exactly here: replaces other mappings.
        const FIXED = 0x10;
        /// Zeroes instead of a file.
        const ANONYMOUS = 0x20;
        /// No promise of memory; this kernel never makes one.
        const NORESERVE = 0x40;
        /// Keep the pages in memory, where all of them stay anyway: present at once.
        const LOCKED = 0x80;
        /// A stack, which grows when the page below it is touched.
        const GROWSDOWN = 0x100;
        /// Make the pages present at once.
        const POPULATE = 0x8000;
        /// Exactly here, or not at all.
        const FIXED_NOREPLACE = 0x10_0000;
    }
}

/// The pages of `len` bytes at `start`.
///
/// # Errors
/// `EINVAL` if `start` is not aligned or `len` is 0; `too_large` if the range does not end inside
/// the user's addresses.
pub(super) fn user_range(start: u64, len: u64, too_large: Errno) -> Result<Range<u64>, Errno> {
    if start != page_down(start) || len == 0 {
        return Err(Errno::EINVAL);
    }
    let end = page_up(len).and_then(|len| start.checked_add(len)).filter(|&end| end <= USER_END);
    end.map(|end| start..end).ok_or(too_large)
}

/// The pages of `len` bytes at `start`, none if `len` is 0. They may reach over the end of the
/// user's addresses, where nothing is mapped: for calls that report such a hole themselves.
///
/// # Errors
/// `EINVAL` if `start` is not aligned, `wraps` if they reach over the end of all addresses.
pub(super) fn page_range(start: u64, len: u64, wraps: Errno) -> Result<Range<u64>, Errno> {
    if start != page_down(start) {
        return Err(Errno::EINVAL);
    }
    let end = page_up(len).and_then(|len| start.checked_add(len));
    end.map(|end| start..end).ok_or(wraps)
}

/// Linux's `mmap`: maps `len` bytes of `backing` near `hint` and returns their address. A shared
/// anonymous mapping gets an object of its own. May sleep.
///
/// # Errors
/// As Linux: `EINVAL`, `ENOMEM`, `EEXIST`, `EPERM` (below [`LOWEST`], as for everybody but root).
pub(crate) fn mmap(
    mm: MmId,
    hint: u64,
    len: u64,
    prot: Prot,
    flags: MapFlags,
    backing: Backing,
) -> Result<u64, Errno> {
    let shared = flags.contains(MapFlags::SHARED);
    if shared == flags.contains(MapFlags::PRIVATE) {
        return Err(Errno::EINVAL);
    }
    let grows_down = flags.contains(MapFlags::GROWSDOWN);
    if grows_down && (shared || !matches!(backing, Backing::Anonymous)) {
        return Err(Errno::EINVAL);
    }
    if let Backing::Object { offset, .. } = backing
        && (offset != page_down(offset) || offset.checked_add(len).is_none())
    {
        return Err(Errno::EINVAL);
    }
    let contents = match backing {
        Backing::Anonymous if shared => Backing::of(mm, Arc::new(Object::new(len)), 0, true)?,
        other => other,
    };
    let mut map = address_space::lock(mm);
    let map = &mut *map;
    let range = map.place(hint, len, flags)?;
    if !map.may_map(&range) {
        return Err(Errno::ENOMEM);
    }
    if flags.contains(MapFlags::FIXED) {
        map.make_room(&range)?;
        map.unmap(range.clone());
    } else {
        map.make_room_for_one()?;
    }
    let new = Area { start: range.start, end: range.end, prot, shared, grows_down, contents };
    let area = map.areas.insert(new);
    if flags.intersects(MapFlags::POPULATE | MapFlags::LOCKED) {
        // A page that cannot be made present is no error: a later access faults for it.
        let _ = map.populate(range.clone());
    } else if let Some(area) = area {
        map.tables.expect_fault(mm, range.start, area);
    }
    Ok(range.start)
}

/// Linux's `brk`: makes `new` the break, byte-granular, and returns the break: the old one if
/// that is not possible. 0 only asks. May sleep.
pub(crate) fn brk(mm: MmId, new: u64) -> u64 {
    let mut map = address_space::lock(mm);
    let moved = match map.heap.change(new) {
        BreakChange::None => false,
        BreakChange::SamePages => true,
        BreakChange::Grow(pages) => map.grow_heap(pages),
        BreakChange::Shrink(pages) => {
            let room = map.make_room(&pages).is_ok();
            if room {
                map.unmap(pages);
            }
            room
        }
    };
    if moved {
        map.heap.set(new);
    }
    map.heap.get()
}

/// Sets the begin of the heap, behind the program's `.bss`. Called before its first `brk`.
pub(crate) fn set_brk_start(mm: MmId, start: u64) {
    address_space::lock(mm).heap = Break::at(start);
}

impl Map {
    /// Gets the memory that a change of the areas in `range` may need.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(super) fn make_room(&mut self, range: &Range<u64>) -> Result<(), Errno> {
        // The pieces of an object's area enter its list of mappers.
        if self.areas.overlapping(range).any(|area| area.contents.object().is_some()) {
            heap::check_room(HEAP_BYTES + self.areas.room_needed())?;
        }
        self.make_room_for_one()
    }

    /// As [`Map::make_room`], for a new area that replaces no other.
    ///
    /// # Errors
    /// `ENOMEM`.
    #[inline]
    pub(super) fn make_room_for_one(&mut self) -> Result<(), Errno> {
        if self.areas.has_room() { Ok(()) } else { self.make_more_room() }
    }

    #[cold]
    fn make_more_room(&mut self) -> Result<(), Errno> {
        heap::check_room(HEAP_BYTES + self.areas.room_needed())?;
        self.areas.make_room().map_err(|_| Errno::ENOMEM)
    }

    /// The place of a new mapping.
    pub(super) fn place(&self, hint: u64, len: u64, flags: MapFlags) -> Result<Range<u64>, Errno> {
        if flags.intersects(MapFlags::FIXED | MapFlags::FIXED_NOREPLACE) {
            let range = user_range(hint, len, Errno::ENOMEM)?;
            if range.start < LOWEST {
                return Err(Errno::EPERM);
            }
            if flags.contains(MapFlags::FIXED_NOREPLACE) && !self.areas.is_free(&range) {
                return Err(Errno::EEXIST);
            }
            return Ok(range);
        }
        // A hint is rounded down, but not below the lowest address.
        if page_down(hint) != 0
            && let Ok(range) = user_range(page_down(hint).max(LOWEST), len, Errno::ENOMEM)
            && self.areas.is_free_place(&range)
        {
            return Ok(range);
        }
        // A program that names an address above 128 TiB knows of the larger space.
        let top = if hint > STACK_TOP { USER_END } else { MMAP_TOP };
        let len = user_range(0, len, Errno::ENOMEM)?.end;
        let start = self.areas.find_free_below(len, &(LOWEST..top)).ok_or(Errno::ENOMEM)?;
        Ok(start..start + len)
    }

    fn grow_heap(&mut self, pages: Range<u64>) -> bool {
        let guarded = pages.start..pages.end + PAGE_SIZE;
        let free = pages.end <= MMAP_TOP && self.areas.is_free_place(&guarded);
        if !free || !self.may_map(&pages) || self.make_room_for_one().is_err() {
            return false;
        }
        self.areas.insert(Area {
            start: pages.start,
            end: pages.end,
            prot: Prot::READ | Prot::WRITE,
            shared: false,
            grows_down: false,
            contents: Backing::Anonymous,
        });
        true
    }
}
