//! Doubly linked lists whose nodes live in their owners: timers and futexes need no allocation, and a
//! node leaves a list in constant time.
//!
//! A node's links belong to the list it is in, which lives inside a lock. Only the holder of that
//! lock touches the links.

use core::cell::UnsafeCell;
use core::marker::PhantomPinned;
use core::mem::offset_of;
use core::ptr::NonNull;

/// A place in a list, with its value.
pub(crate) struct Node<T> {
    links: UnsafeCell<Links<T>>,
    value: T,
    _pin: PhantomPinned,
}

struct Links<T> {
    previous: Option<NonNull<Node<T>>>,
    next: Option<NonNull<Node<T>>>,
    linked: bool,
}

// SAFETY: the links are touched only by the holder of the list's lock; the value is shared as `&T`.
unsafe impl<T: Send + Sync> Sync for Node<T> {}
// SAFETY: only the holder of the list's lock touches the links; a linked node does not move (the
// contract of `List`).
unsafe impl<T: Send> Send for Node<T> {}

/// Byte offsets for debuggers; a pointer to a node is its address, or 0.
pub(crate) struct Layout {
    /// Of one `List`.
    pub(crate) list_size: usize,
    /// In a `List`: the pointer to its first node.
    pub(crate) head: usize,
    /// In a `Node`: the pointer to the next one.
    pub(crate) next: usize,
    /// In a `Node`: its value.
    pub(crate) value: usize,
}

/// The layout of lists of `T`, for debuggers.
pub(crate) const fn layout<T>() -> Layout {
    Layout {
        list_size: size_of::<List<T>>(),
        head: offset_of!(List<T>, head),
        next: offset_of!(Node<T>, links) + offset_of!(Links<T>, next),
        value: offset_of!(Node<T>, value),
    }
}

impl<T> Node<T> {
    /// A node in no list.
    pub(crate) const fn new(value: T) -> Self {
        let links = Links { previous: None, next: None, linked: false };
        Self { links: UnsafeCell::new(links), value, _pin: PhantomPinned }
    }

    /// The node's value.
    pub(crate) fn value(&self) -> &T {
        &self.value
    }
}

/// A list of nodes. It is empty when it is dropped, or its nodes outlive it.
pub(crate) struct List<T> {
    head: Option<NonNull<Node<T>>>,
    tail: Option<NonNull<Node<T>>>,
}

// SAFETY: a list is a pair of pointers to nodes; only a holder of the lock around it follows them.
unsafe impl<T: Send + Sync> Send for List<T> {}

impl<T> List<T> {
    /// An empty list.
    pub(crate) const fn new() -> Self {
        Self { head: None, tail: None }
    }

    /// The first node.
    pub(crate) fn front(&self) -> Option<&Node<T>> {
        // SAFETY: nodes in the list are alive (the contract of the insertions).
        self.head.map(|node| unsafe { &*node.as_ptr() })
    }

    /// Whether `node` is in this list, given that it is in no other.
    pub(crate) fn contains(&self, node: &Node<T>) -> bool {
        // SAFETY: `&self` proves that the caller holds the lock on the links.
        unsafe { (*node.links.get()).linked }
    }

    /// Adds `node` as the last.
    ///
    /// # Safety
    /// `node` is in no list, and it neither moves nor dies before it has left this one.
    pub(crate) unsafe fn push_back(&mut self, node: &Node<T>) {
        // SAFETY: the caller's promises are those of `insert_after`.
        unsafe { self.insert_after(self.tail, node) };
    }

    /// Adds `node` behind the last one that `is_before` it, looking from the
    /// end: for sorted lists whose new nodes mostly come last.
    ///
    /// # Safety
    /// As [`List::push_back`].
    pub(crate) unsafe fn insert_sorted(&mut self, node: &Node<T>, is_before: impl Fn(&T) -> bool) {
        let mut place = self.tail;
        while let Some(at) = place {
            // SAFETY: nodes in the list are alive.
            let at = unsafe { &*at.as_ptr() };
            if is_before(&at.value) {
                break;
            }
            // SAFETY: the caller holds the lock on the links (`&mut self`).
            place = unsafe { (*at.links.get()).previous };
        }
        // SAFETY: the caller's promises, and `place` is in the list or none.
        unsafe { self.insert_after(place, node) };
    }

    /// # Safety
    /// As [`List::push_back`]; `previous` is in this list, or none for the front.
    unsafe fn insert_after(&mut self, previous: Option<NonNull<Node<T>>>, node: &Node<T>) {
        let this = NonNull::from(node);
        let next = match previous {
            // SAFETY: `previous` is in the list, so alive; its links are ours.
            Some(previous) => unsafe { (*previous.as_ref().links.get()).next },
            None => self.head,
        };
        // SAFETY: `node` is in no list, so only we touch its links.
        unsafe { *node.links.get() = Links { previous, next, linked: true } };
        // SAFETY: both neighbours are in the list, so alive; their links are ours.
        unsafe {
            match previous {
                Some(previous) => (*previous.as_ref().links.get()).next = Some(this),
                None => self.head = Some(this),
            }
            match next {
                Some(next) => (*next.as_ref().links.get()).previous = Some(this),
                None => self.tail = Some(this),
            }
        }
    }

    /// Moves all nodes to `other`, which is sorted as [`List::insert_sorted`] does it; calls
    /// `moved` with each value. The caller holds the locks on the links of both.
    pub(crate) fn merge_into(
        &mut self,
        other: &mut List<T>,
        is_before: impl Fn(&T, &T) -> bool,
        moved: impl Fn(&T),
    ) {
        while let Some(node) = self.head {
            // SAFETY: nodes in the list are alive.
            let node = unsafe { &*node.as_ptr() };
            self.remove(node);
            moved(&node.value);
            // SAFETY: it is in no list. It neither moves nor dies before it has left its list,
            // whose change `moved` records for the owner.
            unsafe { other.insert_sorted(node, |at| is_before(at, &node.value)) };
        }
    }

    /// Takes the first node out and returns its value.
    pub(crate) fn pop_front(&mut self) -> Option<&T> {
        let node = self.head?;
        // SAFETY: nodes in the list are alive; this one stays so as long as its
        // owner has not taken the lock and seen it unlinked.
        let node = unsafe { &*node.as_ptr() };
        self.remove(node);
        Some(&node.value)
    }

    /// Takes out up to `most` nodes for whose values `wants` says so, first to last, and hands
    /// each to `taken`, which may end its life; how many.
    #[inline]
    pub(crate) fn extract(
        &mut self,
        most: usize,
        wants: impl Fn(&T) -> bool,
        mut taken: impl FnMut(&Node<T>),
    ) -> usize {
        let (mut count, mut next) = (0, self.head);
        while let Some(node) = next
            && count < most
        {
            // SAFETY: nodes in the list are alive.
            let node = unsafe { &*node.as_ptr() };
            // SAFETY: the caller holds the lock on the links (`&mut self`).
            next = unsafe { (*node.links.get()).next };
            if wants(&node.value) {
                self.remove(node);
                taken(node);
                count += 1;
            }
        }
        count
    }

    /// Takes `node`, which is in this list, out of it.
    pub(crate) fn remove(&mut self, node: &Node<T>) {
        // SAFETY: `&mut self` proves that the lock is held, and the links of all
        // nodes in the list are its holder's.
        unsafe {
            let links = &mut *node.links.get();
            debug_assert!(links.linked, "a node leaves a list that it is not in");
            match links.previous {
                Some(previous) => (*previous.as_ref().links.get()).next = links.next,
                None => self.head = links.next,
            }
            match links.next {
                Some(next) => (*next.as_ref().links.get()).previous = links.previous,
                None => self.tail = links.previous,
            }
            *links = Links { previous: None, next: None, linked: false };
        }
    }

    /// The nodes, first to last.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Node<T>> {
        let mut next = self.head;
        core::iter::from_fn(move || {
            // SAFETY: nodes in the list are alive, and `&self` keeps the lock.
            let node = unsafe { &*next?.as_ptr() };
            // SAFETY: the links are the lock holder's.
            next = unsafe { (*node.links.get()).next };
            Some(node)
        })
    }
}
