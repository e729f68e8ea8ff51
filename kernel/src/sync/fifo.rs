//! Queues, first in, first out, whose nodes live in their owners: run queues and wait queues.
//!
//! A node has one link, so to push and to pop are a few instructions. To take a node out of the
//! middle is a walk from the front, which is rare. As with [`super::list`], a node's link belongs
//! to the queue it is in, which lives inside a lock.

use core::cell::UnsafeCell;
use core::marker::PhantomPinned;
use core::ptr::NonNull;

/// A place in a queue, with its value.
pub(crate) struct Place<T> {
    /// The next node; the last one names itself. None in a node that is in no queue.
    next: UnsafeCell<Option<NonNull<Place<T>>>>,
    value: T,
    _pin: PhantomPinned,
}

// SAFETY: the link is touched only by the holder of the queue's lock; the value is shared as `&T`.
unsafe impl<T: Send + Sync> Sync for Place<T> {}
// SAFETY: only the holder of the queue's lock touches the link; a queued node does not move (the
// contract of `Fifo::push_back`).
unsafe impl<T: Send> Send for Place<T> {}

impl<T> Place<T> {
    /// A node in no queue.
    pub(crate) const fn new(value: T) -> Self {
        Self { next: UnsafeCell::new(None), value, _pin: PhantomPinned }
    }

    /// The node's value.
    pub(crate) fn value(&self) -> &T {
        &self.value
    }

    /// # Safety
    /// The caller holds the lock on the link.
    #[inline(always)]
    unsafe fn next(&self) -> Option<NonNull<Place<T>>> {
        // SAFETY: the caller's promise.
        unsafe { *self.next.get() }
    }

    /// # Safety
    /// As [`Place::next`].
    #[inline(always)]
    unsafe fn set_next(&self, next: Option<NonNull<Place<T>>>) {
        // SAFETY: the caller's promise.
        unsafe { *self.next.get() = next };
    }
}

/// A queue of nodes. It is empty when it is dropped, or its nodes outlive it.
pub(crate) struct Fifo<T> {
    first: Option<NonNull<Place<T>>>,
    /// Means nothing while the queue is empty.
    last: NonNull<Place<T>>,
}

// SAFETY: a queue is a pair of pointers to nodes; only a holder of the lock around it follows them.
unsafe impl<T: Send + Sync> Send for Fifo<T> {}

impl<T> Fifo<T> {
    /// An empty queue.
    pub(crate) const fn new() -> Self {
        Self { first: None, last: NonNull::dangling() }
    }

    /// Whether no node is in it.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Whether `node` is in this queue, given that it is in no other.
    #[inline]
    pub(crate) fn contains(&self, node: &Place<T>) -> bool {
        // SAFETY: `&self` proves that the caller holds the lock on the link.
        unsafe { node.next() }.is_some()
    }

    /// Adds `node` as the last.
    ///
    /// # Safety
    /// `node` is in no queue, and it neither moves nor dies before it has left this one.
    #[inline]
    pub(crate) unsafe fn push_back(&mut self, node: &Place<T>) {
        let this = Some(NonNull::from(node));
        // SAFETY: `node` is in no queue, so only we touch its link. The last node is in this queue,
        // so alive, and its link is ours.
        unsafe {
            node.set_next(this);
            match self.first {
                Some(_) => self.last.as_ref().set_next(this),
                None => self.first = this,
            }
        }
        self.last = NonNull::from(node);
    }

    /// The node behind `node`, which is in this queue.
    #[inline]
    fn behind(&self, node: &Place<T>) -> Option<NonNull<Place<T>>> {
        // SAFETY: `&self` proves that the caller holds the lock on the link.
        unsafe { node.next() }.filter(|&next| next != NonNull::from(node))
    }

    /// Takes the first node out and returns its value.
    #[inline]
    pub(crate) fn pop_front(&mut self) -> Option<&T> {
        // SAFETY: nodes in the queue are alive; this one stays so as long as its owner has not
        // taken the lock and seen it out of the queue.
        let node = unsafe { self.first?.as_ref() };
        self.first = self.behind(node);
        // SAFETY: the link was ours, and nobody else's before the lock is given back.
        unsafe { node.set_next(None) };
        Some(&node.value)
    }

    /// Takes `node` out if it is in this queue. Returns whether it was. A walk from the front.
    pub(crate) fn remove(&mut self, node: &Place<T>) -> bool {
        let before = self.iter().find(|at| self.behind(at) == Some(NonNull::from(node))).map(NonNull::from);
        if let Some(before) = before {
            let next = self.behind(node);
            // SAFETY: both are in the queue, so alive, and their links are ours.
            unsafe {
                before.as_ref().set_next(next.or(Some(before)));
                node.set_next(None);
            }
            if next.is_none() {
                self.last = before;
            }
            return true;
        }
        let is_first = self.first == Some(NonNull::from(node));
        if is_first {
            self.pop_front();
        }
        is_first
    }

    /// The nodes, first to last.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Place<T>> {
        let mut next = self.first;
        core::iter::from_fn(move || {
            // SAFETY: nodes in the queue are alive, and `&self` keeps the lock.
            let node = unsafe { next?.as_ref() };
            next = self.behind(node);
            Some(node)
        })
    }
}
