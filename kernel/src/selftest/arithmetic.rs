//! Whether compiled code computes correctly: a miscompilation of atomics or wide arithmetic on
//! powerpc64 has been reported for the compiler's LLVM.
//!
//! Operands go through `black_box`, so that the compiler does not fold the test away.

use core::hint::black_box;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::SeqCst};

use super::{Test, Verdict, check_eq};
use crate::process::random;

pub(super) const TESTS: &[Test] = &[
    Test::new("arithmetic_wide", wide),
    Test::new("arithmetic_narrow", narrow),
    Test::new("arithmetic_atomics", atomics),
    Test::new("arithmetic_chacha20", chacha20),
];

fn wide() -> Verdict {
    let a = black_box(0xfedc_ba98_7654_3210_u64);
    let b = black_box(0x0123_4567_89ab_cdef_u64);
    let product = u128::from(a) * u128::from(b);
    check_eq!(product, 0x0121_fa00_ad77_d742_2236_d88f_e561_8cf0_u128, "64 x 64 to 128 bits");
    check_eq!(product / u128::from(b), u128::from(a), "128 / 64 bits");
    check_eq!((product + 5) % u128::from(a), 5, "128 % 64 bits");
    check_eq!(
        product.wrapping_shl(black_box(67)) >> black_box(67),
        product & (u128::MAX >> 67),
        "shifts over a word"
    );
    check_eq!(a.overflowing_add(black_box(u64::MAX)), (a - 1, true), "carry out of 64 bits");
    check_eq!((i128::from(black_box(-7_i64)) * 3) >> 1, -11, "signed 128 bits");
    Ok(())
}

fn narrow() -> Verdict {
    check_eq!(black_box(-128_i8).wrapping_neg(), -128, "8-bit negation");
    check_eq!(i64::from(black_box(0x8000_u16) as i16), -32768, "sign extension");
    check_eq!(black_box(0x1234_5678_u32).rotate_left(8), 0x3456_7812, "rotation");
    check_eq!(black_box(0x0102_0304_0506_0708_u64).swap_bytes(), 0x0807_0605_0403_0201, "byte swap");
    check_eq!(black_box(0x00f0_0000_0000_0000_u64).leading_zeros(), 8, "leading zeros");
    check_eq!(black_box(0xffff_0000_ffff_0001_u64).count_ones(), 33, "population count");
    check_eq!(black_box(i64::MIN).checked_div(-1), None, "overflow of a division");
    Ok(())
}

/// Each width, and the neighbours of the changed value.
fn atomics() -> Verdict {
    let bytes = [const { AtomicU8::new(0x7f) }; 8];
    black_box(&bytes)[3].fetch_add(1, SeqCst);
    check_eq!(
        bytes.each_ref().map(|b| b.load(SeqCst)),
        [0x7f, 0x7f, 0x7f, 0x80, 0x7f, 0x7f, 0x7f, 0x7f],
        "bytes"
    );
    let halves = [const { AtomicU16::new(0xffff) }; 2];
    check_eq!(black_box(&halves)[1].fetch_add(1, SeqCst), 0xffff, "a half-word's old value");
    check_eq!(halves.each_ref().map(|h| h.load(SeqCst)), [0xffff, 0], "half-words");
    let word = AtomicU32::new(5);
    check_eq!(black_box(&word).compare_exchange(5, 6, SeqCst, SeqCst), Ok(5), "a word exchanged");
    check_eq!(word.compare_exchange(5, 7, SeqCst, SeqCst), Err(6), "a word not exchanged");
    let double = AtomicU64::new(1 << 63);
    check_eq!(black_box(&double).fetch_or(1, SeqCst), 1 << 63, "a double-word's old value");
    check_eq!(double.fetch_and(!(1 << 63), SeqCst), (1 << 63) | 1, "a double-word after or");
    check_eq!(double.swap(9, SeqCst), 1, "a double-word after and");
    check_eq!(double.fetch_max(12, SeqCst), 9, "maximum");
    Ok(())
}

/// The first test vector of RFC 8439, A.1.
fn chacha20() -> Verdict {
    let block = random::block(&black_box([0; 8]), 0);
    check_eq!(block[..4], [0xade0_b876, 0x903d_f1a0, 0xe56a_5d40, 0x28bd_8653], "the first words");
    check_eq!(block[15], 0x8665_eeb2, "the last word");
    Ok(())
}
