//! A binary buddy allocator over frame numbers.
//!
//! A block of order `n` is 2^n frames, aligned to its size. Its buddy is the block
//! whose number differs in bit `n` alone. Freeing a block joins it with its buddy as
//! long as that is free too.
//!
//! Single frames are an exception, up to a number: they come and go all the time, so
//! they wait in a list of their own and are handed out again unjoined. They are
//! joined only when a larger block is wanted and there is none. The free lists run
//! through a table with one [`Link`] per frame, so the allocator never touches the
//! memory that it hands out, and works on the host.

/// Orders 0 to 10: blocks of 4 KiB to 4 MiB.
pub const ORDERS: usize = 11;
/// The end of a list.
const END: u32 = u32::MAX;
/// Single frames that may wait unjoined: 16 MiB. It bounds the time that joining all
/// of them takes.
const MOST_SINGLES: u32 = 4096;
/// `head_of` of a single frame that waits.
const SINGLE: u32 = u32::MAX;

/// The place of one frame in the free lists. All zeroes is a frame that is not
/// free, so a table of fresh links is cleared memory.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Link {
    next: u32,
    prev: u32,
    /// Order + 1 if this is the first frame of a free block, [`SINGLE`] if it is a
    /// single frame that waits, else 0.
    head_of: u32,
}

/// The free blocks of a machine. `links[f]` belongs to frame `f`.
pub struct Buddy<'a> {
    links: &'a mut [Link],
    first: [u32; ORDERS],
    /// Bit `n` is set if there is a free block of order `n`.
    nonempty: u32,
    /// The first waiting single frame; linked by `next` alone.
    single: u32,
    singles: u32,
    free_frames: u64,
}

impl<'a> Buddy<'a> {
    /// An allocator without any free frame. `links` must be fresh (all zeroes).
    pub fn new(links: &'a mut [Link]) -> Self {
        assert!(links.len() < END as usize, "too many frames for 32-bit frame numbers");
        Self { links, first: [END; ORDERS], nonempty: 0, single: END, singles: 0, free_frames: 0 }
    }

    /// How many frames are free.
    pub fn free_frames(&self) -> u64 {
        self.free_frames
    }

    /// Adds the frames `start..end`, in the largest blocks that fit.
    pub fn add_range(&mut self, start: u32, end: u32) {
        let mut frame = start;
        while frame < end {
            let alignment = frame.trailing_zeros().min(ORDERS as u32 - 1);
            let fits = (end - frame).ilog2();
            let order = alignment.min(fits);
            self.free_frames += 1 << order;
            self.join(frame, order as usize);
            frame += 1 << order;
        }
    }

    /// Takes a block of 2^`order` frames; None if no block is large enough.
    pub fn alloc(&mut self, order: usize) -> Option<u32> {
        if order == 0
            && let Some(frame) = self.alloc_single()
        {
            return Some(frame);
        }
        self.alloc_block(order).or_else(|| {
            self.join_singles();
            self.alloc_block(order)
        })
    }

    fn alloc_block(&mut self, order: usize) -> Option<u32> {
        let large_enough = self.nonempty & (u32::MAX << order);
        if order >= ORDERS || large_enough == 0 {
            return None;
        }
        let mut have = large_enough.trailing_zeros() as usize;
        let frame = self.first[have];
        self.unlink(frame, have);
        // Give back the upper half until the size is right.
        while have > order {
            have -= 1;
            self.push(frame + (1 << have), have);
        }
        self.free_frames -= 1 << order;
        Some(frame)
    }

    /// Gives back the block of 2^`order` frames at `frame`. Panics if its first
    /// frame is the first of a free block: it was freed twice.
    pub fn free(&mut self, frame: u32, order: usize) {
        if order == 0 {
            return self.free_singles(&[frame]);
        }
        self.free_joined(frame, order);
    }

    fn free_joined(&mut self, frame: u32, order: usize) {
        if self.links[frame as usize].head_of != 0 {
            freed_twice(frame);
        }
        self.free_frames += 1 << order;
        self.join(frame, order);
    }

    /// Gives back single frames. Panics as [`Buddy::free`].
    pub fn free_singles(&mut self, frames: &[u32]) {
        let room = (MOST_SINGLES - self.singles) as usize;
        let (waiting, rest) = frames.split_at(room.min(frames.len()));
        let mut first = self.single;
        for &frame in waiting {
            let link = &mut self.links[frame as usize];
            if link.head_of != 0 {
                freed_twice(frame);
            }
            *link = Link { next: first, prev: END, head_of: SINGLE };
            first = frame;
        }
        self.single = first;
        self.singles += waiting.len() as u32;
        self.free_frames += waiting.len() as u64;
        rest.iter().for_each(|&frame| self.free_joined(frame, 0));
    }

    /// Takes single frames that wait, as many as there are and fit in `to`. Returns how many.
    pub fn alloc_singles(&mut self, to: &mut [u32]) -> usize {
        let (mut frame, mut taken) = (self.single, 0);
        for slot in to {
            if frame == END {
                break;
            }
            *slot = frame;
            frame = core::mem::take(&mut self.links[frame as usize]).next;
            taken += 1;
        }
        self.single = frame;
        self.singles -= taken as u32;
        self.free_frames -= taken as u64;
        taken
    }

    fn alloc_single(&mut self) -> Option<u32> {
        let mut frame = [END];
        (self.alloc_singles(&mut frame) == 1).then_some(frame[0])
    }

    /// Joins the waiting single frames into blocks.
    fn join_singles(&mut self) {
        while let Some(frame) = self.alloc_single() {
            self.free_frames += 1;
            self.join(frame, 0);
        }
    }

    /// Puts a block into the lists, joined with its buddies.
    fn join(&mut self, frame: u32, order: usize) {
        let (mut frame, mut order) = (frame, order);
        while order + 1 < ORDERS && self.is_free(frame ^ (1 << order), order) {
            let buddy = frame ^ (1 << order);
            self.unlink(buddy, order);
            frame = frame.min(buddy);
            order += 1;
        }
        self.push(frame, order);
    }

    fn is_free(&self, frame: u32, order: usize) -> bool {
        self.links.get(frame as usize).is_some_and(|link| link.head_of == order as u32 + 1)
    }

    fn push(&mut self, frame: u32, order: usize) {
        let next = self.first[order];
        if next != END {
            self.links[next as usize].prev = frame;
        }
        self.links[frame as usize] = Link { next, prev: END, head_of: order as u32 + 1 };
        self.first[order] = frame;
        self.nonempty |= 1 << order;
    }

    fn unlink(&mut self, frame: u32, order: usize) {
        let link = core::mem::take(&mut self.links[frame as usize]);
        if link.next != END {
            self.links[link.next as usize].prev = link.prev;
        }
        if link.prev != END {
            self.links[link.prev as usize].next = link.next;
            return;
        }
        self.first[order] = link.next;
        if link.next == END {
            self.nonempty &= !(1 << order);
        }
    }
}

#[cold]
fn freed_twice(frame: u32) -> ! {
    panic!("frame {frame:#x} freed twice")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_comes_back_whole() {
        let mut links = vec![Link::default(); 5000];
        let mut buddy = Buddy::new(&mut links);
        buddy.add_range(3, 4999);
        assert_eq!(buddy.free_frames(), 4996);
        let mut seen = vec![false; 5000];
        while let Some(frame) = buddy.alloc(0) {
            assert!((3..4999).contains(&frame) && !seen[frame as usize]);
            seen[frame as usize] = true;
        }
        assert_eq!(buddy.free_frames(), 0);
        // An order of frees in which buddies join late.
        (3..4999).step_by(2).chain((4..4999).step_by(2)).for_each(|frame| buddy.free(frame, 0));
        assert_eq!(buddy.free_frames(), 4996);
        // 1024..4096 are three blocks of the top order again.
        assert!((0..3).all(|_| buddy.alloc(ORDERS - 1).is_some()));
        assert_eq!(buddy.alloc(ORDERS - 1), None);
    }

    #[test]
    fn blocks_are_aligned_and_apart() {
        let mut links = vec![Link::default(); 4096];
        let mut buddy = Buddy::new(&mut links);
        buddy.add_range(0, 4096);
        let mut owner = vec![0; 4096];
        let mut held = Vec::new();
        let mut seed = 1u32;
        for round in 1..4000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let order = (seed >> 20) as usize % 6;
            match buddy.alloc(order) {
                Some(frame) if seed >> 31 == 0 || held.is_empty() => {
                    assert_eq!(frame % (1 << order), 0);
                    for slot in &mut owner[frame as usize..][..1 << order] {
                        assert_eq!(std::mem::replace(slot, round), 0);
                    }
                    held.push((frame, order));
                }
                extra => {
                    if let Some(frame) = extra {
                        buddy.free(frame, order);
                    }
                    let (frame, order) = held.swap_remove(seed as usize % held.len());
                    owner[frame as usize..][..1 << order].fill(0);
                    buddy.free(frame, order);
                }
            }
        }
        held.into_iter().for_each(|(frame, order)| buddy.free(frame, order));
        assert_eq!(buddy.free_frames(), 4096);
        assert!((0..4).all(|_| buddy.alloc(ORDERS - 1).is_some()));
    }

    #[test]
    #[should_panic(expected = "freed twice")]
    fn a_double_free_is_caught() {
        let mut links = vec![Link::default(); 16];
        let mut buddy = Buddy::new(&mut links);
        buddy.add_range(0, 16);
        let frame = buddy.alloc(1).unwrap();
        buddy.alloc(1).unwrap();
        buddy.free(frame, 1);
        buddy.free(frame, 1);
    }

    #[test]
    fn single_frames_wait_up_to_a_limit() {
        let frames = MOST_SINGLES as usize + 100;
        let mut links = vec![Link::default(); frames];
        let mut buddy = Buddy::new(&mut links);
        buddy.add_range(0, frames as u32);
        for _ in 0..2 {
            let held: Vec<_> = core::iter::from_fn(|| buddy.alloc(0)).collect();
            assert_eq!((held.len(), buddy.alloc_single()), (frames, None));
            held.into_iter().for_each(|frame| buddy.free(frame, 0));
            // The other frames were joined at once, into blocks that no single comes from.
            let waited = core::iter::from_fn(|| buddy.alloc_single()).collect::<Vec<_>>();
            assert_eq!(waited.len(), MOST_SINGLES as usize);
            waited.into_iter().for_each(|frame| buddy.free(frame, 0));
        }
    }

    #[test]
    fn too_large_an_order_is_refused() {
        let mut links = vec![Link::default(); 4096];
        let mut buddy = Buddy::new(&mut links);
        buddy.add_range(0, 4096);
        assert_eq!(buddy.alloc(ORDERS), None);
    }
}
