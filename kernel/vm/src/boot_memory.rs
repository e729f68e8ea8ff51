//! What the firmware left free: memory less the parts in use.

use crate::{PAGE_SIZE, page_down};

/// Calls `found(start, end)` for each free run of whole pages, ascending within
/// each memory region: `memory` less `reserved`, both as (start, size) in
/// bytes, in any order. Reserved ranges may overlap. Allocates nothing.
pub fn for_each_free(
    memory: impl Iterator<Item = (u64, u64)>,
    reserved: impl Iterator<Item = (u64, u64)> + Clone,
    mut found: impl FnMut(u64, u64),
) {
    let reserved = reserved
        .filter(|&(_, size)| size > 0)
        .map(|(start, size)| (page_down(start), start.saturating_add(size).next_multiple_of(PAGE_SIZE)));
    for (base, size) in memory {
        let end = page_down(base.saturating_add(size));
        let mut at = base.next_multiple_of(PAGE_SIZE);
        while at < end {
            // A reservation that covers `at` moves us past it …
            let covering = reserved.clone().filter(|&(start, stop)| start <= at && at < stop);
            if let Some(stop) = covering.map(|(_, stop)| stop).max() {
                at = stop;
                continue;
            }
            // … and the nearest one above ends the run.
            let above = reserved.clone().map(|(start, _)| start).filter(|&start| start > at);
            let stop = above.min().map_or(end, |start| start.min(end));
            found(at, stop);
            at = stop;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(memory: &[(u64, u64)], reserved: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let mut runs = Vec::new();
        for_each_free(memory.iter().copied(), reserved.iter().copied(), |start, end| runs.push((start, end)));
        runs
    }

    #[test]
    fn reservations_are_cut_out() {
        let memory = [(0, 0x10_0000), (0x20_0000, 0x1_0000)];
        let reserved = [(0x4_0123, 0x2000), (0, 0x1_0000), (0x4_1000, 0x8000), (0xf_f000, 0x11_0000)];
        assert_eq!(
            free(&memory, &reserved),
            [(0x1_0000, 0x4_0000), (0x4_9000, 0xf_f000), (0x20_f000, 0x21_0000)]
        );
    }

    #[test]
    fn odd_edges_lose_their_page() {
        assert_eq!(free(&[(0x1800, 0x3000)], &[]), [(0x2000, 0x4000)]);
        assert_eq!(free(&[(0x1000, 0x3000)], &[(0x2fff, 1)]), [(0x1000, 0x2000), (0x3000, 0x4000)]);
        assert_eq!(free(&[(0x1000, 0x800)], &[]), []);
        assert_eq!(free(&[(0x1000, 0x1000)], &[(0x1800, 0)]), [(0x1000, 0x2000)]);
    }
}
