//! `robust [KIND]`: the list of robust futexes at a thread's end, with the errors that
//! programs make in it. Each kind in a child.
#![no_std]
#![no_main]

extern crate alloc;

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use core::time::Duration;

use user::kinds::{self, Kind, answers, call};
use user::memory::{self, PAGE, Protection, Region};
use user::{Context, Env, Errno, Verdict, ensure, futex, thread, time};

user::main!(main);

const GET_ROBUST_LIST: usize = 299;
const SET_ROBUST_LIST: usize = 300;
const HEAD_BYTES: usize = 24;

const WAITERS: u32 = 0x8000_0000;
const OWNER_DIED: u32 = 0x4000_0000;
/// A word that holds the thread's number, whatever that is.
const OWNED: u32 = 0x3fff_ffff;
/// Nothing is mapped there.
const NOWHERE: u64 = 8;

const KINDS: [Kind; 10] = [
    ("calls", the_calls),
    ("released", released),
    ("bad-neighbour", bad_neighbour),
    ("bad-word", bad_word),
    ("pending", pending),
    ("pending-released", pending_released),
    ("pending-in-list", pending_in_list),
    ("inherits-priority", inherits_priority),
    ("circle", circle),
    ("longest", longest),
];

fn main(env: &Env) -> Verdict {
    kinds::run(env, &KINDS)
}

/// An entry, with its futex right behind the pointer to the next one.
struct Lock {
    next: AtomicU64,
    word: AtomicU32,
}

/// From an entry to its word.
const OFFSET: u64 = core::mem::offset_of!(Lock, word) as u64;

impl Lock {
    const fn new() -> Self {
        Self { next: AtomicU64::new(0), word: AtomicU32::new(0) }
    }

    fn address(&self) -> u64 {
        &raw const *self as u64
    }
}

/// The head: first entry, offset, pending entry.
static HEAD: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
static LOCKS: [Lock; 3] = [const { Lock::new() }; 3];

fn head() -> u64 {
    &raw const HEAD as u64
}

/// A pointer in the list: to a lock, by its number times two, with the lowest bit for
/// priority inheritance; or one of these.
const TO_HEAD: u64 = 100;
const TO_NOWHERE: u64 = 102;
const TO_EDGE: u64 = 104;
const A: u64 = 0;
const B: u64 = 2;
const C: u64 = 4;

/// An entry that cannot be read, with a word behind it that can.
static EDGE: AtomicU64 = AtomicU64::new(0);

fn edge_word() -> Option<&'static AtomicU32> {
    match EDGE.load(Ordering::Relaxed) {
        0 => None,
        // SAFETY: `bad_neighbour` has put it before a page that stays.
        edge => Some(unsafe { &*((edge + OFFSET) as *const AtomicU32) }),
    }
}

fn target(pointer: u64) -> u64 {
    match pointer {
        TO_HEAD => head(),
        TO_NOWHERE => NOWHERE,
        TO_EDGE => EDGE.load(Ordering::Relaxed),
        lock => LOCKS[(lock >> 1) as usize].address() | lock & 1,
    }
}

/// A thread ends with a list: the pointers in their order, and the one to the entry that is
/// being changed. `OWNED` in `words` becomes the thread's number; other bits stay.
fn die_with(pointers: &'static [u64], pending: Option<u64>, words: [u32; 3]) -> Verdict {
    die_at(OFFSET, pointers, pending, words)
}

fn die_at(offset: u64, pointers: &'static [u64], pending: Option<u64>, words: [u32; 3]) -> Verdict {
    let ender = thread::spawn(move || {
        let tid = thread::gettid() as u32;
        for (lock, word) in LOCKS.iter().zip(words) {
            let owner = if word & OWNED == OWNED { tid } else { word & OWNED };
            lock.word.store(word & !OWNED | owner, Ordering::Relaxed);
        }
        if let Some(word) = edge_word() {
            word.store(tid, Ordering::Relaxed);
        }
        let mut link = &HEAD[0];
        for &pointer in pointers {
            link.store(target(pointer), Ordering::Relaxed);
            if let Some(lock) = LOCKS.get((pointer >> 1) as usize) {
                link = &lock.next;
            }
        }
        HEAD[1].store(offset, Ordering::Relaxed);
        HEAD[2].store(pending.map_or(0, target), Ordering::Relaxed);
        call(SET_ROBUST_LIST, [head() as usize, HEAD_BYTES, 0, 0, 0, 0])
    });
    let answer = ender.context("clone")?.join();
    ensure!(answer == Some(Ok(0)), "set_robust_list: {answer:?}");
    Ok(())
}

fn expect(words: [u32; 3]) -> Verdict {
    for (index, (lock, expected)) in LOCKS.iter().zip(words).enumerate() {
        let word = lock.word.load(Ordering::Relaxed);
        ensure!(word == expected, "lock {index} is {word:#x}, not {expected:#x}");
    }
    Ok(())
}

/// A thread sleeps on lock `index` while it has `word`. Returns whether `act` woke it.
fn wakes(index: usize, word: u32, act: impl FnOnce() -> Verdict) -> Result<bool, alloc::string::String> {
    static READY: AtomicU32 = AtomicU32::new(0);
    const FUTEX: usize = 221;
    LOCKS[index].word.store(word, Ordering::Relaxed);
    let sleeper = thread::spawn(move || {
        READY.store(1, Ordering::Release);
        futex::wait_shared(&LOCKS[index].word, word, None)
    });
    let sleeper = sleeper.context("clone")?;
    kinds::eventually("a sleeper", || READY.load(Ordering::Acquire) == 1)?;
    time::sleep(Duration::from_millis(20)).context("sleep")?;
    act()?;
    time::sleep(Duration::from_millis(20)).context("sleep")?;
    // If the sleeper still sleeps, this wakes it.
    let left = call(FUTEX, [LOCKS[index].word.as_ptr() as usize, 1, 1, 0, 0, 0]).context("wake")?;
    ensure!(sleeper.join().is_some(), "the sleeper was lost");
    Ok(left == 0)
}

fn the_calls() -> Verdict {
    answers(
        SET_ROBUST_LIST,
        &[
            ("a short head", [head() as usize, 23, 0, 0, 0, 0], Err(Errno::EINVAL)),
            ("a long head", [head() as usize, 32, 0, 0, 0, 0], Err(Errno::EINVAL)),
            ("a head", [head() as usize, HEAD_BYTES, 0, 0, 0, 0], Ok(0)),
        ],
    )?;
    let mut got = [0_u64; 2];
    let to = &raw mut got as usize;
    let me = thread::gettid() as usize;
    for tid in [0, me] {
        got = [0; 2];
        call(GET_ROBUST_LIST, [tid, to, to + 8, 0, 0, 0]).context("get_robust_list")?;
        ensure!(got == [head(), HEAD_BYTES as u64], "{got:?}");
    }
    answers(
        GET_ROBUST_LIST,
        &[
            ("nobody's", [4_000_000, to, to + 8, 0, 0, 0], Err(Errno::ESRCH)),
            ("to a bad address", [0, NOWHERE as usize, to, 0, 0, 0], Err(Errno::EFAULT)),
        ],
    )?;
    // No lock of this program is in it.
    call(SET_ROBUST_LIST, [0, HEAD_BYTES, 0, 0, 0, 0]).context("no list").map(drop)
}

/// A lock that the thread holds is marked. One that another holds, or no thread, is not.
fn released() -> Verdict {
    die_with(&[A, B, C, TO_HEAD], None, [OWNED | WAITERS, 5 | WAITERS, OWNED])?;
    expect([OWNER_DIED | WAITERS, 5 | WAITERS, OWNER_DIED])?;
    die_with(&[A, B, TO_HEAD], None, [0, OWNED, 5])?;
    expect([0, OWNER_DIED, 5])?;
    ensure!(wakes(1, 5, || die_with(&[B, TO_HEAD], None, [0, OWNED | WAITERS, 0]))?, "not woken");
    ensure!(!wakes(1, 5, || die_with(&[B, TO_HEAD], None, [0, OWNED, 0]))?, "woken without WAITERS");
    Ok(())
}

/// An entry is released though the pointer in it leads nowhere. Entries behind it are not.
fn bad_neighbour() -> Verdict {
    die_with(&[A, TO_NOWHERE], Some(C), [OWNED, 0, OWNED])?;
    ensure!(LOCKS[0].word.load(Ordering::Relaxed) == OWNER_DIED, "the one before is held");
    ensure!(LOCKS[2].word.load(Ordering::Relaxed) != OWNER_DIED, "the walk went on");
    let region = Region::new(2).context("mmap")?;
    let page = region.address();
    core::mem::forget(region);
    EDGE.store((page + PAGE) as u64 - OFFSET, Ordering::Relaxed);
    // SAFETY: nothing uses the page.
    unsafe { memory::protect(page, PAGE, Protection::NONE) }.context("mprotect")?;
    die_with(&[TO_EDGE], Some(C), [0, 0, OWNED])?;
    let word = edge_word().map(|word| word.load(Ordering::Relaxed));
    ensure!(word == Some(OWNER_DIED), "an entry that cannot be read: {word:x?}");
    ensure!(LOCKS[2].word.load(Ordering::Relaxed) != OWNER_DIED, "the walk went on");
    Ok(())
}

/// A word that is not aligned, or not there, ends the walk.
fn bad_word() -> Verdict {
    for offset in [OFFSET + 2, 0_u64.wrapping_sub(LOCKS[0].address())] {
        die_at(offset, &[A, B, TO_HEAD], Some(C), [OWNED; 3])?;
        let words = LOCKS.each_ref().map(|lock| lock.word.load(Ordering::Relaxed));
        ensure!(words.iter().all(|word| word & OWNER_DIED == 0), "{words:x?}");
    }
    Ok(())
}

fn pending() -> Verdict {
    die_with(&[A, TO_HEAD], Some(C), [OWNED, 0, OWNED | WAITERS])?;
    expect([OWNER_DIED, 0, OWNER_DIED | WAITERS])?;
    die_with(&[TO_HEAD], Some(B), [OWNED, OWNED, 0])?;
    ensure!(LOCKS[1].word.load(Ordering::Relaxed) == OWNER_DIED, "an empty list");
    Ok(())
}

/// If a thread ends between its store of 0 and its wake-up, the kernel wakes a waiter for it.
fn pending_released() -> Verdict {
    ensure!(wakes(2, 0, || die_with(&[A, TO_HEAD], Some(C), [OWNED, 0, 0]))?, "a waiter of 0 sleeps on");
    let waits = WAITERS;
    ensure!(wakes(2, waits, || die_with(&[TO_HEAD], Some(C), [0, 0, WAITERS]))?, "a waiter sleeps on");
    ensure!(!wakes(2, 7, || die_with(&[TO_HEAD], Some(C), [0, 0, 7]))?, "another's waiter was woken");
    // In the list a word without owner wakes no waiter.
    ensure!(!wakes(2, 0, || die_with(&[A, C, TO_HEAD], None, [OWNED, 0, 0]))?, "woken without reason");
    Ok(())
}

/// The pending entry may be in the list too, with or without the lowest bit.
fn pending_in_list() -> Verdict {
    for first in [&[C, A, TO_HEAD], &[C | 1, A, TO_HEAD]] {
        die_with(first, Some(C), [OWNED, 0, OWNED])?;
        expect([OWNER_DIED, 0, OWNER_DIED])?;
    }
    // Handled once, as the pending entry, whose waiter is woken.
    ensure!(wakes(2, 0, || die_with(&[C | 1, TO_HEAD], Some(C), [0, 0, 0]))?, "not as pending");
    let once = || die_with(&[C | 1, TO_HEAD], Some(C), [0, 0, OWNED]);
    ensure!(!wakes(2, 5, once)?, "first as one in the list, then as pending");
    Ok(())
}

/// Such entries are marked too, but no waiter is woken.
fn inherits_priority() -> Verdict {
    die_with(&[A | 1, B, TO_HEAD], Some(C | 1), [OWNED, OWNED, OWNED])?;
    expect([OWNER_DIED; 3])?;
    ensure!(!wakes(2, 0, || die_with(&[TO_HEAD], Some(C | 1), [0; 3]))?, "a waiter of 0 was woken");
    let held = OWNED | WAITERS;
    ensure!(!wakes(0, 5, || die_with(&[A | 1, TO_HEAD], None, [held, 0, 0]))?, "a waiter was woken");
    Ok(())
}

/// A circular list ends.
fn circle() -> Verdict {
    die_with(&[A, B, A], Some(C), [OWNED; 3])?;
    expect([OWNER_DIED; 3])
}

/// As many entries as Linux looks at are released, and no more.
fn longest() -> Verdict {
    const MOST: usize = 2048;
    static LONG: [Lock; MOST + 1] = [const { Lock::new() }; MOST + 1];
    let ender = thread::spawn(|| {
        let mut next = head();
        for lock in LONG.iter().rev() {
            lock.word.store(thread::gettid() as u32, Ordering::Relaxed);
            lock.next.store(next, Ordering::Relaxed);
            next = lock.address();
        }
        for (word, value) in HEAD.iter().zip([next, OFFSET, 0]) {
            word.store(value, Ordering::Relaxed);
        }
        call(SET_ROBUST_LIST, [head() as usize, HEAD_BYTES, 0, 0, 0, 0])
    });
    ensure!(ender.context("clone")?.join() == Some(Ok(0)), "set_robust_list");
    let released = LONG.iter().take_while(|lock| lock.word.load(Ordering::Relaxed) == OWNER_DIED).count();
    ensure!(released == MOST, "{released} entries were released");
    Ok(())
}
