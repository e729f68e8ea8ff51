//! Random numbers: ChaCha20, keyed by the seed that the machine gave at boot.
//!
//! A seed determines the numbers, so a deterministic run stays one. After each request the key is
//! replaced by fresh output: earlier output cannot be computed from it.

use crate::sync::SpinLock;

/// Guards the key. Nothing nests inside.
static KEY: SpinLock<[u32; 8]> = SpinLock::new("random", [0; 8]);

/// Words of one block.
const BLOCK: usize = 16;

/// Sets the key; without a seed it stays constant.
pub(crate) fn init(seed: Option<[u8; 32]>) {
    let Some(seed) = seed else { return };
    let mut key = KEY.lock();
    for (word, bytes) in key.iter_mut().zip(seed.chunks_exact(4)) {
        *word = u32::from_le_bytes(bytes.try_into().expect("four bytes"));
    }
}

/// Fills `bytes`.
#[inline]
pub(crate) fn fill(bytes: &mut [u8]) {
    let key = next_key();
    if let Some(words) = key.get(..bytes.len().div_ceil(4)) {
        // The key itself is output that nobody has seen.
        return copy(bytes, words);
    }
    for (counter, chunk) in bytes.chunks_mut(BLOCK * 4).enumerate() {
        copy(chunk, &block(&key, counter as u32));
    }
}

fn copy(to: &mut [u8], words: &[u32]) {
    for (bytes, word) in to.chunks_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes()[..bytes.len()]);
    }
}

/// A key for one request; the stored one becomes another.
fn next_key() -> [u32; 8] {
    let mut key = KEY.lock();
    let output = block(&key, 0);
    key.copy_from_slice(&output[..8]);
    *output.last_chunk().expect("a block is two keys")
}

/// One block of ChaCha20 (RFC 8439, section 2.3) with nonce 0.
pub(crate) fn block(key: &[u32; 8], counter: u32) -> [u32; BLOCK] {
    let mut start = [0; BLOCK];
    start[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]);
    start[4..12].copy_from_slice(key);
    start[12] = counter;
    let mut state = start;
    for _ in 0..10 {
        for column in 0..4 {
            quarter(&mut state, [column, column + 4, column + 8, column + 12]);
        }
        for diagonal in 0..4 {
            let place = |row: usize| row * 4 + (diagonal + row) % 4;
            quarter(&mut state, [0, 1, 2, 3].map(place));
        }
    }
    core::array::from_fn(|i| state[i].wrapping_add(start[i]))
}

fn quarter(state: &mut [u32; BLOCK], [a, b, c, d]: [usize; 4]) {
    let mut step = |to: usize, from: usize, rotated: usize, by: u32| {
        state[to] = state[to].wrapping_add(state[from]);
        state[rotated] = (state[rotated] ^ state[to]).rotate_left(by);
    };
    step(a, b, d, 16);
    step(c, d, b, 12);
    step(a, b, d, 8);
    step(c, d, b, 7);
}
