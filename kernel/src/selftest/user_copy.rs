//! Copies between the kernel and user memory survive every bad pointer.

use powerpc64::addr::PAGE_SIZE;
use powerpc64::uaccess;

use super::address_space::{inside, map, new_mm};
use super::copies::{copy_in, copy_out};
use super::{Outcome, Test, Verdict, check, check_eq};
use crate::machine::lazy_tlb;
use crate::mm::Prot;

pub(super) const TESTS: &[Test] = &[
    Test::new("user_copy_round_trip", round_trip),
    Test::new("user_copy_bad_pointers", bad_pointers),
    Test::new("user_copy_partial", partial),
    Test::new("user_copy_futex_word", futex_word),
];

/// Odd lengths at odd addresses, over a page boundary, into pages that were never
/// touched.
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
        Ok(Outcome::Pass)
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
        Ok(Outcome::Pass)
    });
    lazy_tlb().mmput(mm);
    verdict
}

/// A copy that runs off the end of a mapping has done what came before.
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
        Ok(Outcome::Pass)
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
        Ok(Outcome::Pass)
    });
    lazy_tlb().mmput(mm);
    verdict
}
