//! Copies between the kernel and user memory survive every bad pointer, and leave user
//! pages closed.

use core::cell::Cell;
use core::sync::atomic::{AtomicBool, Ordering};

use arch::addr::{PAGE_SIZE, USER_END};
use arch::exceptions::authority;
use arch::uaccess::{self, BadString};
use kcore::cpu::CpuId;

use super::address_space::{inside, map, new_mm};
use super::copies::{copy_in, copy_out};
use super::stage::{all_cpus, move_task, start_on, wait_for};
use super::{Test, Verdict, check, check_eq};
use crate::machine::lazy_tlb;
use crate::mm::Prot;

pub(super) const TESTS: &[Test] = &[
    Test::new("user_copy_round_trip", round_trip),
    Test::new("user_copy_every_size", every_size),
    Test::new("user_copy_bad_pointers", bad_pointers),
    Test::new("user_copy_partial", partial),
    Test::new("user_copy_futex_word", futex_word),
    Test::new("user_copy_failed_is_closed", failed_is_closed),
    Test::new("user_copy_interrupted", interrupted),
];

/// Odd lengths at odd addresses, over a page boundary, into pages that were never touched.
fn round_trip() -> Verdict {
    let mm = new_mm()?;
    let base = map(mm, 3 * PAGE_SIZE, Prot::READ | Prot::WRITE)?;
    let source: [u8; 97] = core::array::from_fn(|i| (i * 7 + 1) as u8);
    let verdict = inside(mm, || {
        for shift in [0, 1, 3, 8, PAGE_SIZE - 50, 2 * PAGE_SIZE - 1] {
            let mut back = [0; 97];
            check!(copy_out(base + shift, &source).is_ok(), "copy out at +{shift:#x}");
            check!(copy_in(&mut back, base + shift).is_ok(), "copy in at +{shift:#x}");
            check_eq!(back, source, "what came back");
        }
        Ok(())
    });
    lazy_tlb().mmput(mm);
    verdict
}

/// Every size up to a little over two steps of the longest loop, at two offsets: all bytes arrive,
/// and none beside them changes.
fn every_size() -> Verdict {
    const SIZES: usize = 200;
    const ROOM: usize = SIZES + 32;
    let mm = new_mm()?;
    let base = map(mm, PAGE_SIZE, Prot::READ | Prot::WRITE)?;
    let source: [u8; ROOM] = core::array::from_fn(|i| (i * 7 + 1) as u8);
    let verdict = inside(mm, || {
        for (size, at) in (0..SIZES).flat_map(|size| [8, 11].map(|at| (size, at))) {
            let what = |which| alloc::format!("{which} of {size} bytes at +{at}");
            let (mut seen, mut expected) = ([0; ROOM], [0xee; ROOM]);
            check!(copy_out(base, &expected).is_ok(), "{}", what("filling before a copy"));
            check!(copy_out(base + at as u64, &source[3..3 + size]).is_ok(), "{}", what("copy out"));
            expected[at..at + size].copy_from_slice(&source[3..3 + size]);
            check!(copy_in(&mut seen, base).is_ok(), "{}", what("reading a copy"));
            check_eq!(seen, expected, what("a copy out"));
            seen = [0xdd; ROOM];
            check!(copy_in(&mut seen[5..5 + size], base + at as u64).is_ok(), "{}", what("copy in"));
            check_eq!(seen[5..5 + size], expected[at..at + size], what("a copy in"));
            let beside = seen[..5].iter().chain(&seen[5 + size..]);
            check!(beside.into_iter().all(|&byte| byte == 0xdd), "{}", what("beside a copy in"));
            check!(uaccess::clear_user(base + at as u64, size).is_ok(), "{}", what("clearing"));
            expected[at..at + size].fill(0);
            check!(copy_in(&mut seen, base).is_ok(), "{}", what("reading what is clear"));
            check_eq!(seen, expected, what("a clearing"));
            // Now there is a string of `at` bytes, unless nothing was cleared.
            if size > 0 {
                let (fits, short) = (&mut [0; ROOM][..=at], &mut [0; ROOM][..at]);
                check_eq!(uaccess::strncpy_from_user(fits, base), Ok(at), "a string's length");
                check_eq!(fits[at - 1..], [0xee, 0], "a string's end");
                let long = uaccess::strncpy_from_user(short, base);
                check_eq!(long, Err(BadString::TooLong), "a string without room for its NUL");
            }
        }
        let found = uaccess::cmpxchg_user_u32(base + 4, 0xeeee_eeee, 0x0102_0304);
        check_eq!(found, Ok(0xeeee_eeee), "the word that was exchanged");
        let mut bytes = [0; 12];
        check!(copy_in(&mut bytes, base).is_ok(), "reading a word");
        check_eq!(bytes, [0xee, 0xee, 0xee, 0xee, 1, 2, 3, 4, 0xee, 0xee, 0xee, 0], "a stored word");
        Ok(())
    });
    lazy_tlb().mmput(mm);
    verdict
}

fn bad_pointers() -> Verdict {
    let mm = new_mm()?;
    let read_only = map(mm, PAGE_SIZE, Prot::READ)?;
    let closed = map(mm, PAGE_SIZE, Prot::empty())?;
    let verdict = inside(mm, || {
        let kernel_text = bad_pointers as *const () as u64;
        let quadrant_1 = 0x4000_0000_0000_0000;
        let beyond_tree = 0x0010_0000_0000_0000;
        for address in
            [0, 8, closed, kernel_text, 0xc000_0000_0000_0000, quadrant_1, beyond_tree, u64::MAX - 3]
        {
            let mut word = [0xa5; 8];
            check!(copy_in(&mut word, address).is_err(), "a read of {address:#x} succeeded");
            check!(copy_out(address, &word).is_err(), "a write of {address:#x} succeeded");
        }
        let mut word = [0; 8];
        check!(copy_in(&mut word, read_only).is_ok(), "a read of a read-only page failed");
        check!(copy_out(read_only, &word).is_err(), "a write of a read-only page succeeded");
        Ok(())
    });
    lazy_tlb().mmput(mm);
    verdict
}

/// A copy that runs off the end of a mapping has copied the bytes before it.
fn partial() -> Verdict {
    let mm = new_mm()?;
    let base = map(mm, 2 * PAGE_SIZE, Prot::READ | Prot::WRITE)?;
    crate::mm::munmap(mm, base + PAGE_SIZE, PAGE_SIZE).map_err(|_| "munmap failed")?;
    let verdict = inside(mm, || {
        let bytes = [0x5a; 64];
        let Err(stopped) = copy_out(base + PAGE_SIZE - 20, &bytes) else {
            return Err("the copy did not notice the end".into());
        };
        check!(stopped.copied <= 20, "{} bytes reported of 20 that there are", stopped.copied);
        let mut back = [0; 20];
        check!(copy_in(&mut back, base + PAGE_SIZE - 20).is_ok(), "reading back failed");
        check_eq!(back[..stopped.copied], bytes[..stopped.copied], "what was copied");
        Ok(())
    });
    lazy_tlb().mmput(mm);
    verdict
}

fn futex_word() -> Verdict {
    let mm = new_mm()?;
    let base = map(mm, PAGE_SIZE, Prot::READ | Prot::WRITE)?;
    let verdict = inside(mm, || {
        check_eq!(uaccess::load_user_u32(base).ok(), Some(0), "an untouched word");
        check_eq!(uaccess::cmpxchg_user_u32(base, 0, 7).ok(), Some(0), "the old value of an exchange");
        check_eq!(uaccess::cmpxchg_user_u32(base, 0, 9).ok(), Some(7), "the value that stopped an exchange");
        check_eq!(uaccess::load_user_u32(base).ok(), Some(7), "the word after both");
        check!(uaccess::cmpxchg_user_u32(8, 0, 1).is_err(), "an exchange at a bad pointer succeeded");
        Ok(())
    });
    lazy_tlb().mmput(mm);
    verdict
}

/// However a copy fails, and however far it came, user pages are closed afterwards.
fn failed_is_closed() -> Verdict {
    let mm = new_mm()?;
    let end = map(mm, 2 * PAGE_SIZE, Prot::READ | Prot::WRITE)? + PAGE_SIZE;
    crate::mm::munmap(mm, end, PAGE_SIZE).map_err(|_| "munmap failed")?;
    let mut failed = 0;
    let mut note = |did_fail: bool| {
        authority::check_closed();
        failed += u32::from(did_fail);
    };
    inside(mm, || {
        // The failure is in the steps of 64 bytes, of 8, of one, at once, and beyond all trees.
        let bad = [end - 64, end - 8, end - 3, end, 0, USER_END - 1, USER_END, u64::MAX];
        for from in bad {
            let mut bytes = [0x5a; 200];
            note(copy_out(from, &bytes).is_err());
            note(copy_in(&mut bytes, from).is_err());
            note(uaccess::clear_user(from, bytes.len()).is_err());
            // Ones, so that no string ends before the mapping does.
            let _ = copy_out(from, &[1; 64]);
            note(uaccess::strncpy_from_user(&mut bytes, from) == Err(BadString::Address));
        }
        for word in [end, 0, end - 2, USER_END] {
            note(uaccess::load_user_u32(word).is_err());
            note(uaccess::cmpxchg_user_u32(word, 0, 1).is_err());
        }
        let mut short = [0; 4];
        note(uaccess::strncpy_from_user(&mut short, end - 8) == Err(BadString::TooLong));
    });
    lazy_tlb().mmput(mm);
    check_eq!(failed, 8 * 4 + 4 * 2 + 1, "copies that failed");
    Ok(())
}

/// An interrupt in the middle of a copy has user pages closed (each exception of a test build
/// checks it). So has a task that preempts the copy. The copy continues with them open, also on
/// another CPU.
fn interrupted() -> Verdict {
    const WANTED: u64 = 4;
    static DONE: AtomicBool = AtomicBool::new(false);
    DONE.store(false, Ordering::Relaxed);
    let mm = new_mm()?;
    let base = map(mm, BYTES as u64, Prot::READ | Prot::WRITE)?;
    let copier = start_on(CpuId::BOOT, move || inside(mm, || copies_until(&DONE, base)));
    let before = authority::interrupted_copies();
    let cpus = all_cpus();
    let turn = Cell::new(0);
    let came = wait_for(|| {
        turn.set(turn.get() + 1);
        move_task(&copier.task, cpus[turn.get() % cpus.len()]);
        let now = authority::interrupted_copies();
        now.0 - before.0 >= WANTED && now.1 - before.1 >= WANTED
    });
    DONE.store(true, Ordering::Relaxed);
    let copied = copier.result();
    lazy_tlb().mmput(mm);
    let now = authority::interrupted_copies();
    check!(came, "{} copies interrupted, {} preempted", now.0 - before.0, now.1 - before.1);
    check!(copied, "an interrupted copy failed, or is not what was copied");
    Ok(())
}

/// Bytes of a copy that takes long enough to be interrupted.
const BYTES: usize = 1 << 18;

/// Copies to `base` and back, other bytes each round, until `done`. Returns whether all arrived.
fn copies_until(done: &AtomicBool, base: u64) -> bool {
    /// Copies in a round: most of its time.
    const COPIES: u32 = 8;
    let (mut bytes, mut back) = (alloc::vec![0_u8; BYTES], alloc::vec![0_u8; BYTES]);
    let mut good = true;
    while !done.load(Ordering::Relaxed) {
        bytes[0] = bytes[0].wrapping_add(1);
        bytes.copy_within(..BYTES - 1, 1);
        for _ in 0..COPIES {
            good &= copy_out(base, &bytes).is_ok() && copy_in(&mut back, base).is_ok();
        }
        good &= back == bytes;
    }
    good
}
