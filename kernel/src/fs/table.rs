//! The descriptors of a process.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use files::lock_ranges::Owner;

use crate::errno::Errno;
use crate::fs::{Description, OpenFlags, limits};
use crate::memory::heap;
use crate::sync::SpinLock;

#[derive(Clone)]
struct Slot {
    description: Arc<Description>,
    close_on_exec: bool,
}

/// A table of descriptors; threads share one, fork copies it.
pub(crate) struct FileTable {
    /// The processes that use it (CLONE_FILES) and have not ended.
    pub(super) users: AtomicUsize,
    /// Guards the slots. Nothing nests inside but the heap's locks; nothing is
    /// dropped while it is held, since closing may sleep.
    slots: SpinLock<Vec<Option<Slot>>>,
}

impl FileTable {
    /// Without descriptors.
    pub(crate) fn new() -> Self {
        Self::with(Vec::new())
    }

    fn with(slots: Vec<Option<Slot>>) -> Self {
        Self { users: AtomicUsize::new(0), slots: SpinLock::new("file table", slots) }
    }

    /// A copy, as fork makes.
    pub(crate) fn copy(&self) -> Self {
        Self::with(self.slots.lock().clone())
    }

    /// The description of `fd`, for reads, writes, mappings and questions. `EBADF`, too, if it is
    /// only a name (`O_PATH`).
    #[inline]
    pub(crate) fn get(&self, fd: u64) -> Result<Arc<Description>, Errno> {
        let description = self.get_any(fd)?;
        if description.flags().contains(OpenFlags::PATH) { Err(Errno::EBADF) } else { Ok(description) }
    }

    /// As [`FileTable::get`], names included: for calls on descriptors, places and stats.
    #[inline]
    pub(crate) fn get_any(&self, fd: u64) -> Result<Arc<Description>, Errno> {
        self.with_slot(fd, |slot| slot.description.clone())
    }

    /// The answer of `look` to the slot of `fd`. `EBADF` if it is free.
    #[inline]
    fn with_slot<T>(&self, fd: u64, look: impl FnOnce(&mut Slot) -> T) -> Result<T, Errno> {
        self.slots.lock().get_mut(as_index(fd)).and_then(Option::as_mut).map(look).ok_or(Errno::EBADF)
    }

    /// `EMFILE` if there is no free descriptor: for calls that need one after a step that they
    /// cannot undo.
    pub(crate) fn check_free(&self) -> Result<(), Errno> {
        let (slots, limit) = (self.slots.lock(), limits::max_files());
        let full = slots.len() >= limit && slots[..limit].iter().all(Option::is_some);
        if full { Err(Errno::EMFILE) } else { Ok(()) }
    }

    /// The lowest free descriptor that is at least `from`, for `description`. `EMFILE` at the
    /// limit of the process.
    pub(crate) fn add(
        &self,
        description: Arc<Description>,
        close_on_exec: bool,
        from: usize,
    ) -> Result<u64, Errno> {
        let mut slots = self.slots.lock();
        let used = slots.iter().skip(from).take_while(|slot| slot.is_some()).count();
        let fd = from + used;
        if fd >= limits::max_files() {
            return Err(Errno::EMFILE);
        }
        grow(&mut slots, fd + 1)?;
        slots[fd] = Some(Slot { description, close_on_exec });
        Ok(fd as u64)
    }

    /// Makes `fd` stand for `description`. A description that it stood for is closed.
    pub(crate) fn replace(
        &self,
        fd: u64,
        description: Arc<Description>,
        close_on_exec: bool,
    ) -> Result<u64, Errno> {
        let index = as_index(fd);
        if index >= limits::max_files() {
            return Err(Errno::EBADF);
        }
        let mut slots = self.slots.lock();
        grow(&mut slots, index + 1)?;
        let old = slots[index].replace(Slot { description, close_on_exec });
        drop(slots);
        if let Some(old) = old {
            self.closed(old);
        }
        Ok(fd)
    }

    /// Closes `fd`.
    pub(crate) fn close(&self, fd: u64) -> Result<(), Errno> {
        let mut slots = self.slots.lock();
        let old = slots.get_mut(as_index(fd)).and_then(Option::take);
        drop(slots);
        old.map(|old| self.closed(old)).ok_or(Errno::EBADF)
    }

    /// The owner of its processes' record locks.
    pub(crate) fn lock_owner(&self) -> Owner {
        Owner(core::ptr::from_ref(self).addr())
    }

    /// The end of a descriptor that has left the table (Linux's `filp_close`). May sleep.
    fn closed(&self, slot: Slot) {
        if let Some(inode) = slot.description.inode() {
            inode.locks.closed_by(self.lock_owner());
        }
    }

    /// Whether exec closes `fd`.
    pub(crate) fn close_on_exec(&self, fd: u64) -> Result<bool, Errno> {
        self.with_slot(fd, |slot| slot.close_on_exec)
    }

    /// Changes whether exec closes `fd`.
    pub(crate) fn set_close_on_exec(&self, fd: u64, close_on_exec: bool) -> Result<(), Errno> {
        self.with_slot(fd, |slot| slot.close_on_exec = close_on_exec)
    }

    /// Closes the descriptors that exec closes.
    pub(crate) fn exec(&self) {
        self.close_where(|slot| slot.close_on_exec);
    }

    /// One use less: the last one closes everything.
    pub(super) fn end_use(&self) {
        // Relaxed: the table's lock orders its uses.
        if self.users.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.close_where(|_| true);
        }
    }

    fn close_where(&self, chosen: impl Fn(&Slot) -> bool) {
        let take =
            |slot: &mut Option<Slot>| if slot.as_ref().is_some_and(&chosen) { slot.take() } else { None };
        // One by one: there may be no memory for a list of them.
        let len = self.slots.lock().len();
        for fd in 0..len {
            let gone = self.slots.lock().get_mut(fd).and_then(take);
            if let Some(gone) = gone {
                self.closed(gone);
            }
        }
    }
}

/// Makes room for `len` descriptors.
fn grow(slots: &mut Vec<Option<Slot>>, len: usize) -> Result<(), Errno> {
    if len > slots.capacity() {
        heap::check_room(2 * len * size_of::<Option<Slot>>())?;
    }
    if len > slots.len() {
        slots.resize(len, None);
    }
    Ok(())
}

/// A descriptor as an index. Programs pass an `int`; a number that does not fit is an index that
/// no table has.
fn as_index(fd: u64) -> usize {
    usize::try_from(fd as i32).unwrap_or(usize::MAX)
}
