//! Who waits for which futex.
//!
//! A waiter lies on the stack of its thread, in the list of a bucket, which its [`Key`]
//! chooses and whose lock orders everything:
//!
//! ```text
//! waiter                                waker
//! lock; the word is as expected         change the word
//! state = PREPARING; queue; unlock      lock; take out; state = RUNNING; tell; unlock
//! sleep                                 it slept: run it again
//! told? return
//! lock; told? return
//! state = PREPARING; unlock; sleep
//! ```
//! **No wake-up is lost.** If the waker has the lock first, the waiter sees the word changed.
//! If the waiter has it first, the waker finds it in the list, and PREPARING or SLEEPING in its
//! state: the sleep ends, or does not begin. Or it finds RUNNING, since a signal or an alarm
//! woke it: then it prepares anew only under the lock, where it sees that it was told.
//!
//! **No waiter is touched after its end.** A thread leaves its wait when it was told, or has
//! taken itself out under the lock. To tell is the last that a waker does with one that is
//! awake. One that slept runs, and can end, only once its waker has put it into a run queue;
//! until then its stack lies still, and its node may be in the waker's own list. So neither needs
//! a reference to the task.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arch::timer;
use kcore::handoff::Told;
use kcore::machine::IrqsOff;

use super::Result;
use crate::sync::list::{List, Node};
use crate::sync::{IrqGuard, IrqLock, IrqSection};
use crate::task::timer::Alarm;
use crate::task::{self, Task, TaskPtr, Window};

/// The identity of a futex: page of an object and offset, or address space and address. The first
/// number distinguishes the two: ids of address spaces have a generation in the high half, objects
/// are counted from 1.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) u64, pub(crate) u64);

impl Key {
    #[inline]
    pub(crate) fn bucket(self) -> usize {
        // Multiplication mixes low bits into high ones.
        const GOLDEN: u32 = 0x9e37_79b9;
        let mixed = ((self.0 as u32).rotate_left(16) ^ (self.1 >> 2) as u32).wrapping_mul(GOLDEN);
        (mixed >> (32 - BUCKET_BITS)) as usize
    }
}

/// A waiter that every wake-up of its key may take; a wake-up that takes waiters of any bits.
pub(crate) const ALL_BITS: u32 = u32::MAX;

/// A thread that waits.
struct Waiter {
    /// The key's halves, and the bucket that it is in, which change under the locks of the
    /// old and the new bucket.
    key: [AtomicU64; 2],
    bucket: AtomicUsize,
    /// Woken by wakes that share a bit.
    bits: u32,
    task: TaskPtr,
    told: Told,
}

impl Waiter {
    fn waits_for(&self, key: Key, bits: u32) -> bool {
        let [first, second] = &self.key;
        second.load(Ordering::Relaxed) == key.1
            && first.load(Ordering::Relaxed) == key.0
            && self.bits & bits != 0
    }

    fn move_to(&self, key: Key) {
        let [first, second] = &self.key;
        first.store(key.0, Ordering::Relaxed);
        second.store(key.1, Ordering::Relaxed);
        self.bucket.store(key.bucket(), Ordering::Relaxed);
    }
}

const BUCKET_BITS: u32 = 8;

/// Waiters in order of arrival. Two buckets are locked in the order of the table; run-queue
/// locks nest inside. Neighbours share no cache line.
#[repr(align(128))]
struct Bucket(IrqLock<List<Waiter>>);

static BUCKETS: [Bucket; 1 << BUCKET_BITS] =
    [const { Bucket(IrqLock::new("futex", List::new())) }; 1 << BUCKET_BITS];

#[inline]
fn lock(bucket: usize) -> IrqGuard<'static, List<Waiter>> {
    BUCKETS[bucket].0.lock()
}

/// How many wait.
#[cfg(feature = "selftest")]
pub(crate) fn count() -> usize {
    BUCKETS.iter().map(|bucket| bucket.0.lock().iter().count()).sum()
}

/// How a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Woken,
    Late,
    /// A kill or a signal is pending.
    Interrupted,
}

/// Sleeps until a wake-up of `key` that shares one of `bits`, a deadline, a kill or a signal;
/// if `check`, under the bucket's lock, agrees. Interrupts and preemption on.
///
/// # Errors
/// Those of `check`.
#[inline]
pub(crate) fn wait(
    key: Key,
    bits: u32,
    deadline_tb: Option<u64>,
    check: impl FnOnce() -> Result<()>,
) -> Result<End> {
    let me = task::current();
    let waiter = Node::new(Waiter {
        key: [AtomicU64::new(key.0), AtomicU64::new(key.1)],
        bucket: AtomicUsize::new(key.bucket()),
        bits,
        task: me.as_ptr(),
        told: Told::not_yet(),
    });
    let irqs = IrqSection::begin_first();
    let mut bucket = BUCKETS[key.bucket()].0.lock_within(&irqs);
    check()?;
    // Under the lock: a waker that takes us out finds a state that its wake-up changes.
    me.prepare_to_sleep();
    // SAFETY: it is in no list and stays where it is, and `sleep_until_told` returns only after it
    // has left all.
    unsafe { bucket.push_back(&waiter) };
    drop(bucket);
    let Some(deadline_tb) = deadline_tb else {
        return Ok(sleep_until_told(&me, &waiter, irqs, || false));
    };
    drop(irqs);
    Ok(Alarm::set(deadline_tb, || {
        let is_late = || timer::now_tb() >= deadline_tb;
        sleep_until_told(&me, &waiter, IrqSection::begin_first(), is_late)
    }))
}

#[inline]
fn sleep_until_told(
    me: &Task,
    waiter: &Node<Waiter>,
    mut irqs: IrqSection,
    is_late: impl Fn() -> bool,
) -> End {
    loop {
        let interrupted = me.interrupted();
        if interrupted || is_late() {
            drop(irqs);
            return match give_up(me, waiter) {
                false => End::Woken,
                true if interrupted => End::Interrupted,
                true => End::Late,
            };
        }
        task::sleep_within(&mut irqs);
        drop(irqs);
        Window::Awake.pass(me);
        if waiter.value().told.is_told() || !prepare_again(me, waiter) {
            return End::Woken;
        }
        irqs = IrqSection::begin_first();
    }
}

/// The current thread no longer waits; false if it was told before.
#[cold]
#[inline(never)]
fn give_up(me: &Task, waiter: &Node<Waiter>) -> bool {
    me.stay_awake();
    find(waiter, |bucket| bucket.remove(waiter))
}

/// Announces that the current thread, which was woken for something else, sleeps again; false
/// if it was told.
#[cold]
#[inline(never)]
fn prepare_again(me: &Task, waiter: &Node<Waiter>) -> bool {
    find(waiter, |_| me.prepare_to_sleep())
}

/// Does `f` with the bucket that `waiter`, the current thread's, is in; false if it was told.
fn find(waiter: &Node<Waiter>, f: impl FnOnce(&mut List<Waiter>)) -> bool {
    let Waiter { bucket: place, told, .. } = waiter.value();
    loop {
        let at = place.load(Ordering::Relaxed);
        Window::FindsBucket.pass_here();
        let mut bucket = lock(at);
        if told.is_told() {
            return false;
        }
        // Or a requeue moved us before we had the lock.
        if place.load(Ordering::Relaxed) == at {
            f(&mut bucket);
            return true;
        }
    }
}

/// Those that a waker has taken out and that slept: nobody else runs them again. Mostly one.
struct Roused {
    first: Option<TaskPtr>,
    rest: List<Waiter>,
}

impl Roused {
    const fn nobody() -> Self {
        Self { first: None, rest: List::new() }
    }

    /// The wait of `waiter`, which is in no list any more, is over. Under its bucket's lock.
    #[inline]
    fn add(&mut self, waiter: &Node<Waiter>) {
        let Waiter { task, told, .. } = waiter.value();
        // SAFETY: it does not leave its wait, much less end, before the last line here.
        let thread = unsafe { task.get() };
        let slept = thread.rouse();
        Window::Picked.pass(thread);
        if slept && self.first.is_none() {
            self.first = Some(*task);
        } else if slept {
            // SAFETY: it is in no list. It lies on a stack that nobody runs on before
            // `run_again`, and has left this list then.
            unsafe { self.rest.push_back(waiter) };
        }
        // Last: an awake one is gone from here on.
        told.tell();
    }

    /// Without the lock.
    #[inline]
    fn run_again(mut self, off: &IrqsOff) {
        let Some(first) = self.first else { return };
        // SAFETY: it was roused, and does not run before this step.
        unsafe { first.get() }.run_again_with(off);
        while let Some(waiter) = self.rest.pop_front() {
            // SAFETY: roused as well, and in no run queue before this step.
            unsafe { waiter.task.get() }.run_again_with(off);
        }
    }
}

/// Wakes up to `most` waiters of `key` that share one of `bits`, in order of arrival; how many.
#[inline(always)]
pub(crate) fn wake(key: Key, most: usize, bits: u32) -> usize {
    let mut roused = Roused::nobody();
    let wants = |waiter: &Waiter| waiter.waits_for(key, bits);
    let irqs = IrqSection::begin_first();
    let mut bucket = BUCKETS[key.bucket()].0.lock_within(&irqs);
    let count = bucket.extract(most, wants, |waiter| roused.add(waiter));
    drop(bucket);
    irqs.lend(|off| roused.run_again(off));
    count
}

/// Wakes up to `wake_most` waiters of the first key and has up to `move_most` others wait for
/// the second, if `check`, under the buckets' locks, agrees; how many both are.
///
/// # Errors
/// Those of `check`.
pub(crate) fn requeue(
    [from, to]: [Key; 2],
    [wake_most, move_most]: [usize; 2],
    check: impl FnOnce() -> Result<()>,
) -> Result<usize> {
    let (mut roused, mut moved) = (Roused::nobody(), List::new());
    let irqs = IrqSection::begin_first();
    let (mut source, mut target) = lock_both(from.bucket(), to.bucket());
    check()?;
    let wants = |waiter: &Waiter| waiter.waits_for(from, ALL_BITS);
    let woken = source.extract(wake_most, wants, |waiter| roused.add(waiter));
    // SAFETY: it is in no list, and leaves this one at once.
    let count = source.extract(move_most, wants, |waiter| unsafe { moved.push_back(waiter) });
    // In order of arrival: behind all that are there.
    moved.merge_into(target.as_mut().unwrap_or(&mut source), |_, _| true, |waiter| waiter.move_to(to));
    drop((source, target));
    irqs.lend(|off| roused.run_again(off));
    Ok(woken + count)
}

/// Locks two buckets in the order of the table; the second is none if both are one.
fn lock_both(
    first: usize,
    second: usize,
) -> (IrqGuard<'static, List<Waiter>>, Option<IrqGuard<'static, List<Waiter>>>) {
    if first == second {
        return (lock(first), None);
    }
    if first < second {
        let first = lock(first);
        (first, Some(lock(second)))
    } else {
        let second = lock(second);
        (lock(first), Some(second))
    }
}
