//! XIVE (PAPR chapter 16, "XIVE native exploitation"): the words that the interrupt controller
//! and the kernel share.
//!
//! A source has two bits, P and Q. A trigger sets P and puts an event into a queue; while P is set,
//! another one only sets Q. A queue is a ring of words: the event's number below a generation bit,
//! which is 1 in the controller's first turn through the ring and changes with every turn.

/// A load at this offset of a source's management page resets P and Q: the source is ready.
pub const SET_PQ_00: u64 = 0xc00;
/// A load at this offset sets Q alone: the source is off, and triggers are lost.
pub const SET_PQ_01: u64 = 0xd00;

/// In a thread's context, for the operating system: the priority from which on (lower is more
/// favoured) nothing interrupts the thread. A byte.
pub const CPPR: u64 = 0x11;
/// A load of two bytes here accepts the interrupt, which also lowers [`CPPR`] to its priority.
pub const ACKNOWLEDGE: u64 = 0x810;
/// In what [`ACKNOWLEDGE`] returns: there was an interrupt.
pub const ACCEPTED: u16 = 0x8000;

/// In a word of a queue: the controller's generation.
const GENERATION: u32 = 1 << 31;

/// The place of the word that follows the first `read` ones in a queue of 2^`log2_size` bytes.
#[inline]
#[must_use]
pub const fn place(read: u32, log2_size: u32) -> usize {
    read as usize & ((1 << (log2_size - 2)) - 1)
}

/// The event in `word`, which is at [`place`]; None if the controller has not written it in this turn.
#[inline]
#[must_use]
pub const fn event(word: u32, read: u32, log2_size: u32) -> Option<u32> {
    let first_turns = read >> (log2_size - 2) & 1 == 0;
    if (word & GENERATION != 0) == first_turns { Some(word & !GENERATION) } else { None }
}

/// The least favoured priority that is not in `reserved`, pairs of a first one and a count.
#[must_use]
pub fn priority(reserved: impl Iterator<Item = (u32, u32)> + Clone) -> Option<u8> {
    let is_reserved =
        |priority: u8| reserved.clone().any(|(first, count)| u32::from(priority).wrapping_sub(first) < count);
    (0..=7).rev().find(|&priority| !is_reserved(priority))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ring of QEMU's controller: it writes the generation that starts at 1.
    #[test]
    fn a_queue_is_read_turn_after_turn() {
        const LOG2_SIZE: u32 = 12;
        let mut ring = [0_u32; 1 << (LOG2_SIZE - 2)];
        let (mut offset, mut generation) = (0, 1_u32);
        let mut read = 0_u32;
        for number in 0..5000 {
            assert_eq!(event(ring[place(read, LOG2_SIZE)], read, LOG2_SIZE), None, "before event {number}");
            ring[offset] = generation << 31 | number;
            offset = (offset + 1) % ring.len();
            generation ^= u32::from(offset == 0);
            assert_eq!(event(ring[place(read, LOG2_SIZE)], read, LOG2_SIZE), Some(number));
            read += 1;
        }
    }

    #[test]
    fn the_count_of_words_may_wrap() {
        let last = u32::MAX;
        assert_eq!(place(last, 16), 0x3fff);
        // The turns are even in number, so the wrap to 0 is also a change of the generation.
        assert_eq!(event(7, last, 16), Some(7));
        assert_eq!(event(1 << 31 | 7, last.wrapping_add(1), 16), Some(7));
        assert_eq!(place(last.wrapping_add(1), 16), 0);
    }

    #[test]
    fn the_platform_keeps_some_priorities() {
        let qemu = [(7, 0xf8)];
        assert_eq!(priority(qemu.into_iter()), Some(6));
        assert_eq!(priority([].into_iter()), Some(7));
        assert_eq!(priority([(5, 3), (0, 5)].into_iter()), None);
        assert_eq!(priority([(6, 1), (7, 1)].into_iter()), Some(5));
    }
}
