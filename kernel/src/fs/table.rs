//! The descriptors of a process.
//!
//! A lookup takes no lock. It writes the count of the description, and else only memory of its
//! own CPU, so threads that use one table, each with descriptors of its own, write no common
//! line. [`kcore::lookup`] is its handshake with a thread that closes the descriptor. A table
//! that only one thread can use needs no handshake.
//!
//! Slots never move: a table grows by chunks, which stay until the table goes. Then no thread
//! reads them: a thread uses only the table of its own process, which has a reference to the
//! table for longer than it has threads.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::ptr::{self, null_mut};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use core::{array, iter, slice};

use files::lock_ranges::Owner;
use kcore::lookup::{MARK, Slot, wait_for_lookups};

use crate::errno::Errno;
use crate::fs::{Description, OpenFlags, limits};
use crate::memory::heap;
use crate::sync::{SpinLock, SpinWait, preempt};
use crate::task::{self, Window};

/// Slots in the table itself. Chunk `n`, from 1 on, has `FIRST << n`.
const FIRST: usize = 16;
/// Chunks of a table that has all descriptors below `NR_OPEN`.
const CHUNKS: usize = 16;
/// The first slot of each chunk from chunk 1 on; null for a chunk that was not needed yet.
type Chunks = [AtomicPtr<Slot>; CHUNKS];
/// exec closes the descriptor.
const CLOSE_ON_EXEC: u64 = MARK;

/// A table of descriptors; threads share one, fork copies it. A slot names a description, of
/// which it has a reference.
// In this order, the words that every change writes lie apart from those that a lookup reads.
#[repr(C)]
pub(crate) struct FileTable {
    /// More than one thread may use it. Set by a thread that is the only one, before it makes
    /// another.
    shared: AtomicBool,
    /// Null until a chunk is needed.
    chunks: AtomicPtr<Chunks>,
    first: [Slot; FIRST],
    /// The processes that use it (CLONE_FILES) and have not ended.
    pub(super) users: AtomicUsize,
    /// Guards changes of slots; no slot below the number in it is free. Nothing nests inside
    /// but the heap's locks; nothing is dropped while it is held, since closing may sleep.
    lowest: SpinLock<usize>,
}

impl FileTable {
    /// Without descriptors.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            shared: AtomicBool::new(false),
            chunks: AtomicPtr::new(null_mut()),
            first: array::from_fn(|_| Slot::default()),
            users: AtomicUsize::new(0),
            lowest: SpinLock::new("file table", 0),
        })
    }

    /// A copy, as fork makes.
    pub(crate) fn copy(&self) -> Arc<Self> {
        let copy = Self::new();
        let lowest = self.lowest.lock();
        for (number, from) in self.slots() {
            for (from, to) in from.iter().zip(copy.chunk_for(number)) {
                let word = from.word();
                if word != 0 {
                    // SAFETY: the slot has a reference, and cannot change under the lock.
                    unsafe { Arc::increment_strong_count(named(word)) };
                    to.set(word);
                }
            }
        }
        drop(lowest);
        copy
    }

    /// Before the only thread that can use the table makes another one that can.
    pub(crate) fn begin_sharing(&self) {
        // Relaxed: another thread that can use the table is started later.
        self.shared.store(true, Ordering::Relaxed);
    }

    /// The chunks that are there, with their numbers; 0 is the slots in the table.
    fn slots(&self) -> impl Iterator<Item = (usize, &[Slot])> {
        let numbers = (1..=CHUNKS).take_while(|_| self.chunks().is_some());
        let chunks = numbers.map(|number| (number, self.chunk(number)));
        let chunks = chunks.filter(|(_, first)| !first.is_null()).map(|(number, first)| {
            // SAFETY: a chunk of this many slots, which stays as long as the table.
            (number, unsafe { slice::from_raw_parts(first, FIRST << number) })
        });
        iter::once((0, &self.first[..])).chain(chunks)
    }

    #[inline]
    fn chunks(&self) -> Option<&Chunks> {
        // SAFETY: null, or what stays as long as the table.
        // F45 acquire: orders the pointer before the reads of the null pointers. Partner: `chunk_for`.
        unsafe { self.chunks.load(Ordering::Acquire).as_ref() }
    }

    /// The first slot of chunk `number`, from 1 on; null if the chunk is not there.
    #[inline]
    fn chunk(&self, number: usize) -> *const Slot {
        // F46 acquire: orders the pointer before the reads of the empty slots. Partner: `chunk_for`.
        let load = |chunks: &Chunks| Some(chunks.get(number - 1)?.load(Ordering::Acquire).cast_const());
        self.chunks().and_then(load).unwrap_or(ptr::null())
    }

    /// The slots of chunk `number`, which is made if it is not there. Under the lock.
    fn chunk_for(&self, number: usize) -> &[Slot] {
        if number == 0 {
            return &self.first;
        }
        if self.chunks().is_none() {
            let none: Box<Chunks> = Box::new(array::from_fn(|_| AtomicPtr::new(null_mut())));
            // F45 release: orders the null pointers before the pointer to them. Partner: `chunks`.
            self.chunks.store(Box::into_raw(none), Ordering::Release);
        }
        if self.chunk(number).is_null() {
            let slots: Box<[Slot]> = (0..FIRST << number).map(|_| Slot::default()).collect();
            let place = &self.chunks().expect("they were just made")[number - 1];
            // F46 release: orders the empty slots before the pointer to them. Partner: `chunk`.
            place.store(Box::into_raw(slots).cast(), Ordering::Release);
        }
        // SAFETY: a chunk of this many slots, which stays as long as the table.
        unsafe { slice::from_raw_parts(self.chunk(number), FIRST << number) }
    }

    /// The slot of descriptor `fd`, if it is there.
    #[inline]
    fn slot(&self, fd: usize) -> Option<&Slot> {
        if let Some(slot) = self.first.get(fd) {
            return Some(slot);
        }
        let (number, at) = place(fd);
        let first = self.chunk(number);
        // SAFETY: the chunk has a slot there, and stays as long as the table.
        (!first.is_null()).then(|| unsafe { &*first.add(at) })
    }

    /// The slot of descriptor `fd`, which is below the limit. Under the lock. `ENOMEM` if there
    /// is no room for it.
    fn slot_for(&self, fd: usize) -> Result<&Slot, Errno> {
        if let Some(slot) = self.slot(fd) {
            return Ok(slot);
        }
        let (number, at) = place(fd);
        heap::check_room((FIRST << number) * size_of::<Slot>() + size_of::<Chunks>())?;
        Ok(&self.chunk_for(number)[at])
    }

    /// The description of `fd`, for reads, writes, mappings and questions. `EBADF`, too, if it is
    /// only a name (`O_PATH`).
    #[inline(always)]
    pub(crate) fn get(&self, fd: u64) -> Result<Arc<Description>, Errno> {
        let description = self.look_up(fd).ok_or(Errno::EBADF)?;
        if description.flags().contains(OpenFlags::PATH) { Err(Errno::EBADF) } else { Ok(description) }
    }

    /// Whether another thread may use the table, or could since it was last looked at.
    #[inline(always)]
    pub(crate) fn is_shared(&self) -> bool {
        // Relaxed: while it is false, only this thread can make it true.
        self.shared.load(Ordering::Relaxed)
    }

    /// The description of `fd`, names included, in a table that is not shared. `EBADF` if there is none.
    ///
    /// # Safety
    /// While the result is used, the caller closes no descriptor, and makes no thread that can.
    #[inline(always)]
    pub(crate) unsafe fn alone(&self, fd: u64) -> Result<&Description, Errno> {
        // SAFETY: no other thread can close it, and the caller does not.
        Ok(unsafe { &*named(self.used(fd)?.1) })
    }

    /// As [`FileTable::get`], names included: for calls on descriptors, places and stats.
    pub(crate) fn get_any(&self, fd: u64) -> Result<Arc<Description>, Errno> {
        self.look_up(fd).ok_or(Errno::EBADF)
    }

    /// The description of `fd`, if there is one.
    fn look_up(&self, fd: u64) -> Option<Arc<Description>> {
        if self.is_shared() {
            return self.look_up_shared(fd);
        }
        let word = self.slot(as_index(fd))?.word();
        // SAFETY: no other thread can close it.
        (word != 0).then(|| unsafe { Self::take(word) })
    }

    /// The same in a table that is shared.
    // Always inlined: read and write are too short for the call.
    #[inline(always)]
    pub(crate) fn look_up_shared(&self, fd: u64) -> Option<Arc<Description>> {
        let slot = self.slot(as_index(fd))?;
        let _here = preempt::disable();
        task::claim().look_up(slot, |word| {
            Window::LooksUp.pass_here();
            // SAFETY: a thread that closes it waits for us.
            unsafe { Self::take(word) }
        })
    }

    /// A reference to the description that `word` names.
    ///
    /// # Safety
    /// It is there.
    #[inline(always)]
    unsafe fn take(word: u64) -> Arc<Description> {
        // SAFETY: the caller's promise. The new reference is that of the new `Arc`.
        unsafe {
            Arc::increment_strong_count(named(word));
            Arc::from_raw(named(word))
        }
    }

    /// The slot of `fd` and its word, for changes and for the mark. `EBADF` if it is free.
    fn used(&self, fd: u64) -> Result<(&Slot, u64), Errno> {
        let used = self.slot(as_index(fd)).map(|slot| (slot, slot.word()));
        used.filter(|&(_, word)| word != 0).ok_or(Errno::EBADF)
    }

    fn is_free(&self, fd: usize) -> bool {
        self.slot(fd).is_none_or(|slot| slot.word() == 0)
    }

    /// `EMFILE` if there is no free descriptor: for calls that need one after a step that they
    /// cannot undo.
    pub(crate) fn check_free(&self) -> Result<(), Errno> {
        let (lowest, limit) = (self.lowest.lock(), limits::max_files());
        let full = !(*lowest..limit).any(|fd| self.is_free(fd));
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
        let mut lowest = self.lowest.lock();
        let fd = (from.max(*lowest)..).find(|&fd| self.is_free(fd)).ok_or(Errno::EMFILE)?;
        if fd >= limits::max_files() {
            return Err(Errno::EMFILE);
        }
        self.slot_for(fd)?.set(word_of(description, close_on_exec));
        if from <= *lowest {
            *lowest = fd + 1;
        }
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
        let lowest = self.lowest.lock();
        let slot = self.slot_for(index)?;
        let old = slot.word();
        slot.set(word_of(description, close_on_exec));
        drop(lowest);
        self.closed(old);
        Ok(fd)
    }

    /// Closes `fd`.
    pub(crate) fn close(&self, fd: u64) -> Result<(), Errno> {
        let mut lowest = self.lowest.lock();
        let (slot, old) = self.used(fd)?;
        slot.set(0);
        *lowest = as_index(fd).min(*lowest);
        drop(lowest);
        self.closed(old);
        Ok(())
    }

    /// The owner of its processes' record locks.
    pub(crate) fn lock_owner(&self) -> Owner {
        Owner(core::ptr::from_ref(self).addr())
    }

    /// The end of a descriptor (Linux's `filp_close`): `word` has left its slot, and with it
    /// goes the reference that the slot had; 0 is none. May sleep.
    fn closed(&self, word: u64) {
        if word == 0 {
            return;
        }
        // Relaxed: as in `look_up`.
        if self.shared.load(Ordering::Relaxed) {
            let mut wait = SpinWait::new("the lookup of a descriptor that is closed");
            wait_for_lookups(task::claims(), word & !MARK, || {
                Window::WaitsForLookup.pass_here();
                wait.turn();
            });
        }
        // SAFETY: the slot had a reference, from `word_of` or `copy`, which is ours now.
        let description = unsafe { Arc::from_raw(named(word)) };
        if let Some(inode) = description.inode() {
            inode.locks.closed_by(self.lock_owner());
        }
    }

    /// Whether exec closes `fd`.
    pub(crate) fn close_on_exec(&self, fd: u64) -> Result<bool, Errno> {
        self.used(fd).map(|(_, word)| word & CLOSE_ON_EXEC != 0)
    }

    /// Changes whether exec closes `fd`.
    pub(crate) fn set_close_on_exec(&self, fd: u64, close_on_exec: bool) -> Result<(), Errno> {
        let _locked = self.lowest.lock();
        let (slot, word) = self.used(fd)?;
        slot.set(word & !CLOSE_ON_EXEC | mark_of(close_on_exec));
        Ok(())
    }

    /// Closes the descriptors that exec closes. By the only thread that can use the table.
    pub(crate) fn exec(&self) {
        self.close_alone(CLOSE_ON_EXEC);
    }

    /// One use less: the last one closes everything.
    pub(super) fn end_use(&self) {
        // F44 acqrel: orders the uses of other processes before that of the last one. Partners:
        // `end_use`, `unshare`.
        if self.users.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.close_alone(!0);
        }
    }

    /// Closes the descriptors whose word has one of `bits`. By the only thread that can use the
    /// table.
    fn close_alone(&self, bits: u64) {
        self.shared.store(false, Ordering::Relaxed);
        for (_, slots) in self.slots() {
            for slot in slots {
                let word = slot.word();
                if word & bits != 0 {
                    slot.set(0);
                    self.closed(word);
                }
            }
        }
        *self.lowest.lock() = 0;
    }
}

impl Drop for FileTable {
    /// Frees the chunks. The last [`FileTable::end_use`] has closed everything.
    fn drop(&mut self) {
        let chunks = *self.chunks.get_mut();
        if chunks.is_null() {
            return;
        }
        // SAFETY: `chunk_for` has made them, each of its length, and nobody uses the table.
        unsafe {
            for (slots, number) in Box::from_raw(chunks).iter_mut().zip(1..) {
                let slots = *slots.get_mut();
                if !slots.is_null() {
                    drop(Box::from_raw(ptr::slice_from_raw_parts_mut(slots, FIRST << number)));
                }
            }
        }
    }
}

/// Where the slot of descriptor `fd` is: the number of its chunk, and its place there.
fn place(fd: usize) -> (usize, usize) {
    let number = ((fd + FIRST) / FIRST).ilog2() as usize;
    (number, fd + FIRST - (FIRST << number))
}

/// The word of a slot for `description`, of which the slot gets the reference.
fn word_of(description: Arc<Description>, close_on_exec: bool) -> u64 {
    Arc::into_raw(description).expose_provenance() as u64 | mark_of(close_on_exec)
}

fn mark_of(close_on_exec: bool) -> u64 {
    if close_on_exec { CLOSE_ON_EXEC } else { 0 }
}

/// The description that the word of a slot names.
fn named(word: u64) -> *const Description {
    ptr::with_exposed_provenance((word & !MARK) as usize)
}

/// A descriptor as an index. Programs pass an `int`; one below zero is an index that no table has.
fn as_index(fd: u64) -> usize {
    fd as u32 as usize
}
