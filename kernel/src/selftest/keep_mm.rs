//! /dev/keep_mm: kernel threads that outlive the process whose mm they keep.
//!
//! A write of four words asks for a keeper: *what* to keep (0: a unit of `mm_users`, 1: only of
//! `mm_count`), for how many microseconds, and the address and value of a word that will not
//! change. When the time is over the process may be long dead. The keeper then loads the mm
//! (`kthread_use_mm`), looks at the word, and gives back its unit, perhaps the last one, on a CPU
//! that need not have had the mm.

use core::sync::atomic::{AtomicU32, Ordering};

use arch::timer;
use kcore::mm::MmId;

use crate::errno::Errno;
use crate::fs::{File, OpenFlags};
use crate::machine::lazy_tlb;
use crate::mm::user_memory::{Cursor, UserAddr};
use crate::task::WaitQueue;
use crate::task::{current, kthread, sleep_until_tb};

/// More at once are refused (`EAGAIN`), so that their stacks do not fill memory.
const MOST_KEEPERS: u32 = 32;
/// The limit of a keeper's time, in microseconds.
const MOST_US: u64 = 1_000_000;

static KEEPERS: AtomicU32 = AtomicU32::new(0);
/// Woken when the last keeper goes.
static ALL_GONE: WaitQueue = WaitQueue::new();

/// /dev/keep_mm.
pub(crate) struct KeepMm;

#[derive(Clone, Copy)]
struct Keeper {
    mm: MmId,
    only_struct: bool,
    delay_us: u64,
    address: u64,
    word: u64,
}

impl File for KeepMm {
    fn write(&self, from: &mut Cursor<'_>, _: u64, _: OpenFlags) -> Result<(), Errno> {
        let mut bytes = [0; 32];
        if from.take(&mut bytes)? < bytes.len() {
            return Err(Errno::EINVAL);
        }
        let [what, delay_us, address, word] =
            [0, 8, 16, 24].map(|at| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes")));
        if what > 1 || delay_us > MOST_US {
            return Err(Errno::EINVAL);
        }
        Keeper { mm: current().mm.mm(), only_struct: what == 1, delay_us, address, word }.start()
    }
}

impl Keeper {
    fn start(self) -> Result<(), Errno> {
        if KEEPERS.fetch_add(1, Ordering::Relaxed) >= MOST_KEEPERS {
            one_less();
            return Err(Errno::EAGAIN);
        }
        // The caller's own use of the mm outlasts this call.
        if self.only_struct {
            lazy_tlb().mmgrab(self.mm);
        } else {
            lazy_tlb().mmget(self.mm);
        }
        kthread::try_spawn("keeper", move || self.run()).map(drop).map_err(|_| {
            self.give_back();
            one_less();
            Errno::ENOMEM
        })
    }

    fn run(self) {
        sleep_until_tb(timer::now_tb() + self.delay_us * timer::ticks_per_us());
        if !self.only_struct {
            self.look();
        } else if lazy_tlb().mmget_not_zero(self.mm) {
            self.look();
            lazy_tlb().mmput(self.mm);
        }
        self.give_back();
        one_less();
    }

    /// Checks the word, which exists as long as the mm has users. Panics if it is wrong: a crash
    /// report names what runs on each CPU.
    fn look(&self) {
        lazy_tlb().kthread_use_mm(self.mm);
        let found = UserAddr(self.address).read::<u64>();
        lazy_tlb().kthread_unuse_mm(self.mm);
        let Keeper { mm, address, word, .. } = *self;
        match found {
            Ok(found) => assert!(found == word, "{mm:?} has {found:#x} at {address:#x}, not {word:#x}"),
            Err(_) => panic!("{mm:?} has users, and nothing at {address:#x}"),
        }
    }

    fn give_back(&self) {
        if self.only_struct { lazy_tlb().mmdrop(self.mm) } else { lazy_tlb().mmput(self.mm) }
    }
}

fn one_less() {
    // Release: orders what the keeper did before the count. Partner: the acquire in `all_gone_by`.
    if KEEPERS.fetch_sub(1, Ordering::Release) == 1 {
        ALL_GONE.wake_all();
    }
}

/// Waits until there is no keeper, at most until the time base reaches `deadline_tb`. Returns
/// whether there is none.
pub(super) fn all_gone_by(deadline_tb: u64) -> bool {
    ALL_GONE.wait_until_deadline(|| KEEPERS.load(Ordering::Acquire) == 0, deadline_tb)
}
