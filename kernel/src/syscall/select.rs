//! select and pselect6: poll, with sets of bits.

use alloc::vec::Vec;

use arch::exceptions::TrapFrame;

use super::Result;
use super::time::Timeout;
use super::watch::{self, Watched};
use crate::errno::Errno;
use crate::fs::poll::Events;
use crate::memory::heap;
use crate::mm::user_memory::UserAddr;
use crate::process::current;
use crate::process::limits::Resource;

/// The events that make a descriptor readable, writable, exceptional (Linux: fs/select.c).
const READABLE: Events = Events::IN.union(Events::RDNORM).union(Events::HUP).union(Events::ERR);
const WRITABLE: Events = Events::OUT.union(Events::WRNORM).union(Events::ERR);
const EXCEPTIONAL: Events = Events::PRI;

/// The events that each of the three sets is about.
const MEANINGS: [Events; 3] = [READABLE, WRITABLE, EXCEPTIONAL];
const BITS: usize = u64::BITS as usize;

/// A program's three sets of descriptors below `count`; address 0 is an empty set, whose results
/// are not stored.
#[derive(Clone, Copy)]
struct Sets {
    addresses: [UserAddr; 3],
    count: usize,
}

impl Sets {
    /// The sets of a program. `count` is cut to the number of descriptors that it may have.
    fn new(count: i32, addresses: [UserAddr; 3]) -> Result<Self> {
        let count = u64::try_from(count).map_err(|_| Errno::EINVAL)?;
        Ok(Sets { addresses, count: count.min(current().limits.get(Resource::Nofile)) as usize })
    }

    /// The words of each set.
    fn words(&self) -> usize {
        self.count.div_ceil(BITS)
    }

    /// Three empty sets.
    fn empty(&self) -> [Vec<u64>; 3] {
        core::array::from_fn(|_| alloc::vec![0; self.words()])
    }

    /// The words of the program's sets: which set, which word, and its address.
    fn places(self) -> impl Iterator<Item = (usize, usize, UserAddr)> {
        let given = self.addresses.into_iter().enumerate().filter(|(_, address)| !address.is_null());
        given.flat_map(move |(set, address)| {
            (0..self.words()).map(move |word| (set, word, address.nth::<u64>(word)))
        })
    }

    fn select(&self, deadline_tb: Option<u64>) -> Result {
        heap::check_room(6 * self.words() * size_of::<u64>())?;
        let mut asked = self.empty();
        for (set, word, address) in self.places() {
            asked[set][word] = address.read()?;
        }
        let is_asked = |set: usize, fd: usize| asked[set][fd / BITS] >> (fd % BITS) & 1 != 0;
        let in_any = |fd: &usize| (0..3).any(|set| is_asked(set, *fd));
        let wanted = |fd| {
            let meanings = (0..3).filter(|&set| is_asked(set, fd)).map(|set| MEANINGS[set]);
            meanings.fold(Events::empty(), Events::union)
        };
        let mut files = watch::room_for((0..self.count).filter(in_any).count())?;
        for fd in (0..self.count).filter(in_any) {
            files.push(Watched::File(current().files.get(fd as u64)?, wanted(fd)));
        }
        let mut results = self.empty();
        let ready = watch::until_ready(&files, deadline_tb, || {
            let mut ready = 0;
            for (fd, file) in (0..self.count).filter(in_any).zip(&files) {
                let found = file.look();
                for set in (0..3).filter(|&set| is_asked(set, fd) && found.intersects(MEANINGS[set])) {
                    results[set][fd / BITS] |= 1 << (fd % BITS);
                    ready += 1;
                }
            }
            ready
        })?;
        for (set, word, address) in self.places() {
            address.write(results[set][word])?;
        }
        Ok(ready)
    }
}

pub(super) fn select(frame: &mut TrapFrame, count: i32, sets: [UserAddr; 3], timeout: UserAddr) -> Result {
    let timeout = Timeout::of_timeval(timeout)?;
    wait(frame, Sets::new(count, sets)?, timeout, None)
}

pub(super) fn pselect6(
    frame: &mut TrapFrame,
    count: i32,
    sets: [UserAddr; 3],
    timeout: UserAddr,
    mask: UserAddr,
) -> Result {
    // The sixth argument points to two: the mask's address and size.
    let [mask, mask_bytes] = mask.read_unless_null::<[u64; 2]>()?.unwrap_or_default();
    let timeout = Timeout::of_timespec(timeout)?;
    let mask = watch::read_mask(UserAddr(mask), mask_bytes)?;
    wait(frame, Sets::new(count, sets)?, timeout, mask)
}

fn wait(frame: &mut TrapFrame, sets: Sets, timeout: Timeout, mask: Option<u64>) -> Result {
    watch::call(frame, mask, timeout, |deadline_tb| sets.select(deadline_tb))
}
