//! select and pselect6: poll, with sets of bits.

use alloc::vec::Vec;

use arch::exceptions::TrapFrame;

use super::Result;
use super::time::Timeout;
use super::watch::{self, Watched};
use crate::errno::Errno;
use crate::fs::poll::Events;
use crate::mm::heap;
use crate::process::limits::Resource;
use crate::process::{current, user_memory};

/// What makes a descriptor readable, writable, exceptional (Linux: fs/select.c).
const READABLE: Events = Events::IN.union(Events::RDNORM).union(Events::HUP).union(Events::ERR);
const WRITABLE: Events = Events::OUT.union(Events::WRNORM).union(Events::ERR);
const EXCEPTIONAL: Events = Events::PRI;

/// The three sets: what each is about.
const MEANINGS: [Events; 3] = [READABLE, WRITABLE, EXCEPTIONAL];
const BITS: usize = u64::BITS as usize;

/// A program's three sets of descriptors below `count`; at address 0 an empty one, whose
/// results nobody wants.
#[derive(Clone, Copy)]
struct Sets {
    addresses: [u64; 3],
    count: usize,
}

impl Sets {
    /// As a program gives them. There is nothing beyond the descriptors that it may have.
    fn new(count: u64, addresses: [u64; 3]) -> Result<Self> {
        let count = u64::try_from(count as i32).map_err(|_| Errno::EINVAL)?;
        Ok(Sets { addresses, count: count.min(current().limits.get(Resource::Nofile)) as usize })
    }

    /// Three empty sets.
    fn empty(&self) -> [Vec<u64>; 3] {
        core::array::from_fn(|_| alloc::vec![0; self.count.div_ceil(BITS)])
    }

    fn read(&self) -> Result<[Vec<u64>; 3]> {
        let mut sets = self.empty();
        for (set, address) in sets.iter_mut().zip(self.addresses).filter(|&(_, address)| address != 0) {
            for (word, n) in set.iter_mut().zip(0..) {
                *word = user_memory::read(address.wrapping_add(n * 8))?;
            }
        }
        Ok(sets)
    }

    fn write(&self, sets: &[Vec<u64>; 3]) -> Result<()> {
        for (set, address) in sets.iter().zip(self.addresses).filter(|&(_, address)| address != 0) {
            for (&word, n) in set.iter().zip(0..) {
                user_memory::write(address.wrapping_add(n * 8), word)?;
            }
        }
        Ok(())
    }

    fn select(&self, deadline_tb: Option<u64>) -> Result {
        heap::check_room(6 * self.count.div_ceil(BITS) * size_of::<u64>())?;
        let asked = self.read()?;
        let is_asked = |set: usize, fd: usize| asked[set][fd / BITS] >> (fd % BITS) & 1 != 0;
        let in_any = |fd: &usize| (0..3).any(|set| is_asked(set, *fd));
        let wanted = |fd| {
            let meanings = MEANINGS.iter().enumerate().filter(|&(set, _)| is_asked(set, fd));
            meanings.fold(Events::empty(), |all, (_, &meaning)| all | meaning)
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
        self.write(&results).map(|()| ready)
    }
}

pub(super) fn select(frame: &mut TrapFrame) -> Result {
    let [count, readable, writable, exceptional, timeout, _] = frame.syscall_args();
    let timeout = Timeout::of_timeval(user_memory::UserAddr(timeout))?;
    wait(frame, count, [readable, writable, exceptional], timeout, None)
}

pub(super) fn pselect6(frame: &mut TrapFrame) -> Result {
    let [count, readable, writable, exceptional, timeout, mask] = frame.syscall_args();
    // Of six arguments the last one has to be two.
    let [mask, mask_bytes] = if mask == 0 { [0; 2] } else { user_memory::read(mask)? };
    let timeout = Timeout::of_timespec(user_memory::UserAddr(timeout))?;
    let mask = watch::read_mask(mask, mask_bytes)?;
    wait(frame, count, [readable, writable, exceptional], timeout, mask)
}

fn wait(
    frame: &mut TrapFrame,
    count: u64,
    addresses: [u64; 3],
    timeout: Timeout,
    mask: Option<u64>,
) -> Result {
    let sets = Sets::new(count, addresses)?;
    watch::with_mask(frame, mask, || {
        let result = sets.select(timeout.deadline_tb);
        timeout.tell_rest();
        result
    })
}
