//! XIVE (PAPR's native exploitation mode): where the interrupt controller's registers are.

/// A load at this offset of a source's management page resets its P and Q: the source is ready.
pub const SET_PQ_00: u64 = 0xc00;
/// A load at this offset sets Q alone: the source is off, and triggers are lost.
pub const SET_PQ_01: u64 = 0xd00;

/// In a thread's context, for the operating system: only interrupts of a lower number, which is more
/// favoured, reach the thread. A byte.
pub const CPPR: u64 = 0x11;
/// A load of two bytes here accepts the interrupt and lowers [`CPPR`] to its priority.
pub const ACKNOWLEDGE: u64 = 0x810;

/// The priority of the interrupt that a load from [`ACKNOWLEDGE`] has accepted; None if there was
/// none.
#[inline(always)]
#[must_use]
pub const fn accepted(answer: u16) -> Option<u8> {
    if answer & 0x8000 == 0 { None } else { Some(answer as u8) }
}

/// Whether `reserved`, pairs of a first priority and a count, leaves all of `wanted` to the kernel.
#[must_use]
pub fn leaves(mut reserved: impl Iterator<Item = (u32, u32)>, wanted: &[u8]) -> bool {
    let is_in = |first: u32, count, priority: &u8| u32::from(*priority).wrapping_sub(first) < count;
    !reserved.any(|(first, count)| wanted.iter().any(|priority| is_in(first, count, priority)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_as_seen() {
        // From a QEMU machine: an interrupt of priority 6, and none with every priority admitted.
        assert_eq!(accepted(0x8006), Some(6));
        assert_eq!(accepted(0x00ff), None);
        assert_eq!(accepted(0x8000), Some(0));
    }

    #[test]
    fn the_platform_keeps_some_priorities() {
        let qemu = [(7, 0xf8)];
        assert!(leaves(qemu.into_iter(), &[5, 6]));
        assert!(!leaves(qemu.into_iter(), &[5, 7]));
        assert!(leaves([].into_iter(), &[0, 7]));
        assert!(!leaves([(7, 1), (4, 2)].into_iter(), &[5, 6]));
        assert!(leaves([(7, 1), (4, 1)].into_iter(), &[5, 6]));
    }
}
