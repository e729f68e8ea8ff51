//! Damage that knows nothing of the format.

use crate::rng::Rng;

/// Damages `bytes` in a few places.
pub(crate) fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>) {
    // Few places most of the time: a single wrong field gets deepest into a parser.
    for _ in 0..1 + rng.below(4) {
        once(rng, bytes);
    }
}

fn once(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let len = bytes.len();
    if len == 0 {
        return bytes.push(rng.next() as u8);
    }
    let at = rng.below(len);
    match rng.below(10) {
        0 => bytes[at] ^= 1 << rng.below(8),
        1 => bytes[at] = rng.pick(&[0, 1, b'"', b'0', 0x7f, 0x80, 0xff]),
        2 => bytes[at] = rng.next() as u8,
        // A big-endian field: its place is aligned more often than not.
        3..=5 => {
            let width = rng.pick(&[2, 4, 8]);
            let at = if rng.one_in(4) { at } else { at - at % width };
            let value = rng.nasty(len as u64).to_be_bytes();
            for (byte, new) in bytes[at..].iter_mut().zip(&value[8 - width..]) {
                *byte = *new;
            }
        }
        6 => bytes.truncate(at),
        7 => {
            let end = at + rng.below(len - at + 1).min(64);
            bytes.drain(at..end);
        }
        // Repeats a piece elsewhere.
        8 => {
            let piece = bytes[at..at + rng.below(len - at + 1).min(256)].to_vec();
            let to = rng.below(len + 1);
            bytes.splice(to..to, piece);
        }
        _ => {
            let other = rng.below(len);
            bytes.swap(at, other);
        }
    }
}
