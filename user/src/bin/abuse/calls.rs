//! System calls with arguments that make no sense. The program may die of
//! them, the kernel may not.

use core::time::Duration;

use user::memory::{self, PAGE, Protection};
use user::process::{self, Pid, SIGKILL};
use user::sys::syscall;
use user::{println, time};

/// Calls that would end the run rather than test the kernel: exit, pause,
/// exit_group; and kill, which reaches init.
const NOT_CALLED: [u64; 4] = [1, 29, 37, 234];
const NR_CALLS: u64 = 460;
const BATCHES: u64 = 12;
/// A batch that sleeps or waits is ended after this.
const PATIENCE: Duration = Duration::from_millis(150);

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// An argument: a pointer to something or nothing, a size, a flag, a number.
    fn argument(&mut self, room: usize) -> usize {
        let value = match self.below(12) {
            0 => 0,
            1 => self.below(16),
            2 => u64::MAX - self.below(16),
            3 => 1 << self.below(64),
            4 => self.next(),
            5 => 0xc000_0000_0000_0000 | self.below(1 << 30),
            6 => (1 << 52) - self.below(64),
            7 => self.below(1 << 20),
            // The last bytes of the room, behind which nothing is mapped.
            8 => (room + PAGE - 8) as u64 + self.below(8),
            _ => room as u64 + self.below(PAGE as u64),
        };
        value as usize
    }
}

/// Makes calls from `seed` on, in children that are ended when they get stuck.
pub(crate) fn random(seed: u64) {
    for batch in 0..BATCHES {
        let Ok(child) = process::spawn(|| {
            make_calls(seed ^ batch << 32);
            0
        }) else {
            return println!("  fork fails");
        };
        let _ = time::sleep(PATIENCE);
        // The batch itself, if it sleeps or waits.
        let _ = process::kill(child, SIGKILL);
        if let Err(why) = process::wait(child) {
            return println!("  wait: {why}");
        }
        // It may have forked, and its children too: until no process is left
        // but init.
        while process::kill(Pid(-1), SIGKILL).is_ok() {
            let _ = time::sleep(Duration::from_millis(1));
        }
    }
}

fn make_calls(seed: u64) {
    let mut rng = Rng(seed);
    let Ok(room) = memory::map(2 * PAGE, Protection::READ_WRITE) else { return };
    let room = room as usize;
    // SAFETY: nothing uses the second page.
    let _ = unsafe { memory::unmap(room + PAGE, PAGE) };
    loop {
        let number = rng.below(NR_CALLS);
        if NOT_CALLED.contains(&number) {
            continue;
        }
        let arguments = core::array::from_fn(|_| rng.argument(room));
        for _ in 0..4 {
            let at = room + rng.below(PAGE as u64 / 8) as usize * 8;
            // SAFETY: if the room is gone by now, the program ends.
            unsafe { (at as *mut u64).write_volatile(rng.argument(room) as u64) };
        }
        // SAFETY: none: the program is expected to die of it.
        let _ = unsafe { syscall(number as usize, arguments) };
    }
}
