//! The soak: `/bin/soak` round after round, with a balance of the books after each.
//!
//! A round is a fixed piece of work, determined by seed and number; the time only limits how many
//! there are. Round 0 does everything once, so that the kernel has made all that it makes on
//! demand. After each later round every frame, byte of the heap, mm, PID, process and task must be
//! back.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::hint::black_box;

use arch::addr::PAGE_SIZE;
use arch::timer;
use kcore::mm::MmId;

use super::address_space::{MOST_ROUNDS, account, new_mm};
use super::programs::{living_mms, lowest_free_pid};
use super::stage::in_us;
use super::{check, keep_mm};
use crate::fs::inode::Kind;
use crate::fs::path::Place;
use crate::machine::lazy_tlb;
use crate::memory::frame;
use crate::process::{self, table};
use crate::syscall::futex_waiters;
use crate::task::{self, kthread, registry};
use crate::{println, shutdown};

/// The soak that the command line asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Seconds of machine time, after which no round begins; 0 for no soak.
    pub(crate) seconds: u64,
    /// The seed of all that is random.
    pub(crate) seed: u64,
    /// The first round after round 0.
    pub(crate) from: u64,
    /// A loss on purpose before that round, to see that it is noticed.
    pub(crate) loses: Option<Loss>,
}

impl Default for Plan {
    fn default() -> Self {
        Plan { seconds: 0, seed: 1, from: 1, loses: None }
    }
}

/// The losses on purpose.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Loss {
    Frame,
    /// An `mmgrab` without its `mmdrop`.
    MmCount,
    /// An `mmget` without its `mmput`.
    MmUsers,
    /// Memory of the heap.
    Block,
    /// An `mmgrab` of `init_mm`, which is never freed: only its count shows it.
    InitMm,
}

impl Loss {
    /// By its name on the command line.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "frame" => Self::Frame,
            "mm_count" => Self::MmCount,
            "mm_users" => Self::MmUsers,
            "block" => Self::Block,
            "init_mm" => Self::InitMm,
            _ => return None,
        })
    }

    fn happen(self) -> Result<(), String> {
        match self {
            Self::Frame => drop(frame::alloc().ok_or("no frame")?.leak()),
            Self::MmCount => {
                let mm = new_mm()?;
                lazy_tlb().mmgrab(mm);
                lazy_tlb().mmput(mm);
            }
            Self::MmUsers => drop(new_mm()?),
            Self::InitMm => lazy_tlb().mmgrab(MmId::INIT_MM),
            Self::Block => drop(black_box(Box::leak(Box::new(0_u64)))),
        }
        Ok(())
    }
}

/// Machine time between two lines of progress.
const PROGRESS_S: u64 = 10;
/// Machine time after which a round has hung.
const ROUND_LIMIT_S: u64 = 120;
/// Machine time in which the last processes and keepers must be gone.
const GONE_LIMIT_S: u64 = 20;

/// Soaks in a kernel thread, then ends the machine.
pub(crate) fn start(plan: Plan) {
    // On any CPU: a round may end on any.
    kthread::spawn("soak", move || match soak(plan) {
        Ok(rounds) => shutdown::finish(true, format_args!("soak: {rounds} rounds, all came back")),
        Err((round, why)) => {
            shutdown::finish(false, format_args!("soak: seed {}, round {round}: {why}", plan.seed))
        }
    });
}

/// The number of rounds done; or the round that failed, and why.
fn soak(plan: Plan) -> Result<u64, (u64, String)> {
    println!("soak: seed {}, {} s from round {}", plan.seed, plan.seconds, plan.from);
    let began_tb = timer::now_tb();
    let mut progress = Progress { began_tb, next_tb: began_tb };
    PROGRAMS.iter().try_for_each(|path| read_in(path)).map_err(|why| (0, why))?;
    progress.round(plan.seed, 0).map_err(|why| (0, why))?;
    let books = Books::settled().map_err(|why| (0, why))?;
    plan.loses.map_or(Ok(()), Loss::happen).map_err(|why| (0, why))?;
    let mut round = plan.from;
    // At least one, however slow the machine.
    loop {
        progress.round(plan.seed, round).and_then(|()| books.check()).map_err(|why| (round, why))?;
        round += 1;
        if timer::now_tb() >= began_tb + seconds_tb(plan.seconds) {
            return Ok(round - plan.from);
        }
    }
}

/// The programs of a round.
const PROGRAMS: [&str; 3] = ["/bin/soak", "/bin/exits", "/bin/true"];

/// Brings every page of the file into memory: a page that a later round touches first would look
/// like a loss.
pub(super) fn read_in(path: &str) -> Result<(), String> {
    let found = Place::root().find(path, true);
    let (inode, _) = found.map_err(|_| alloc::format!("the initrd does not have {path}"))?;
    let Kind::Regular(object) = &inode.kind else { return Err(alloc::format!("{path} is no file")) };
    for page in 0..object.len().div_ceil(PAGE_SIZE) {
        object.page(page).map_err(|_| alloc::format!("no memory for page {page} of {path}"))?;
    }
    Ok(())
}

fn seconds_tb(seconds: u64) -> u64 {
    seconds * 1_000_000 * timer::ticks_per_us()
}

/// Prints the progress.
struct Progress {
    began_tb: u64,
    /// When the next line is due.
    next_tb: u64,
}

impl Progress {
    /// One run of the program, with its keepers.
    fn round(&mut self, seed: u64, round: u64) -> Result<(), String> {
        let limit_tb = timer::now_tb() + seconds_tb(ROUND_LIMIT_S);
        let (seed, number) = (alloc::format!("{seed}"), alloc::format!("{round}"));
        let process = process::launch(&["/bin/soak", &seed, &number], &[])
            .map_err(|_| "no memory for a program's stack")?;
        let status = loop {
            if let Some(status) = process.wait_dead_until(self.next_tb.min(limit_tb)) {
                break status;
            }
            if timer::now_tb() >= limit_tb {
                task::report::print_tasks();
                return Err(alloc::format!("not done after {ROUND_LIMIT_S} s"));
            }
            self.tell(round);
        };
        check!(status.is_success(), "/bin/soak {status}");
        Ok(())
    }

    fn tell(&mut self, round: u64) {
        let now_tb = timer::now_tb();
        if now_tb >= self.next_tb {
            let seconds = (now_tb - self.began_tb) / seconds_tb(1);
            let freed: u64 = lazy_tlb().cpus().iter().map(|cpu| cpu.counters.mm_freed.get()).sum();
            println!("soak: {seconds} s, round {round}, {freed} address spaces freed");
            self.next_tb = now_tb + seconds_tb(PROGRESS_S);
        }
    }
}

/// All that must come back.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Books {
    free_frames: u64,
    heap_bytes: usize,
    living_mms: usize,
    lowest_pid: u32,
    tasks: usize,
    futex_waiters: usize,
    /// When no other mm is borrowed: one of its own, and one for each CPU if borrows are counted.
    counts_of_init_mm: u32,
    /// The CPUs in its mask: those online.
    cpus_of_init_mm: usize,
}

impl Books {
    fn by_name(&self) -> [(&'static str, u64); 8] {
        [
            ("free frames", self.free_frames),
            ("bytes of the heap", self.heap_bytes as u64),
            ("address spaces", self.living_mms as u64),
            ("the lowest free PID", self.lowest_pid.into()),
            ("tasks", self.tasks as u64),
            ("futex waiters", self.futex_waiters as u64),
            ("counts of init_mm", self.counts_of_init_mm.into()),
            ("CPUs in init_mm's mask", self.cpus_of_init_mm as u64),
        ]
    }

    fn changes_since(&self, before: &Books) -> String {
        let pairs = self.by_name().into_iter().zip(before.by_name());
        let changed = pairs.filter(|((_, is), (_, was))| is != was);
        let told = changed.map(|((what, is), (_, was))| alloc::format!("{what}: {is} after {was}"));
        told.collect::<Vec<_>>().join("; ")
    }

    /// Takes stock once the orphans and keepers of the round are gone, and no borrow is left.
    fn now() -> Result<Books, String> {
        all_gone()?;
        let memory = account();
        let (living_mms, lowest_pid) = (living_mms(), lowest_free_pid()?);
        // Every CPU has it since `account` drained the borrows.
        let init_mm = lazy_tlb().mm(MmId::INIT_MM);
        let mask = init_mm.cpumask().peek(lazy_tlb().nr_cpus());
        Ok(Books {
            free_frames: memory.available_frames,
            heap_bytes: memory.heap_bytes,
            living_mms,
            lowest_pid,
            tasks: tasks(),
            futex_waiters: futex_waiters::count(),
            counts_of_init_mm: init_mm.count(),
            cpus_of_init_mm: mask.len(),
        })
    }

    /// Two equal stocks in a row: a task that has ended may still be giving back.
    pub(super) fn settled() -> Result<Books, String> {
        let mut last = Books::now()?;
        for _ in 0..MOST_ROUNDS {
            let now = Books::now()?;
            if now == last {
                break;
            }
            last = now;
        }
        Ok(last)
    }

    /// Fails unless all returns to this stock.
    pub(super) fn check(&self) -> Result<(), String> {
        let mut now = Books::now()?;
        for _ in 0..MOST_ROUNDS {
            if now == *self {
                break;
            }
            now = Books::now()?;
        }
        check!(now == *self, "not all came back: {}", now.changes_since(self));
        for cpu in lazy_tlb().cpus() {
            let active = cpu.active_mm.peek();
            check!(active == MmId::INIT_MM, "a CPU still has {active:?} when nobody borrows");
        }
        Ok(())
    }
}

fn tasks() -> usize {
    let mut count = 0;
    registry::for_each(|_| count += 1);
    count
}

fn all_gone() -> Result<(), String> {
    let limit_tb = timer::now_tb() + seconds_tb(GONE_LIMIT_S);
    check!(keep_mm::all_gone_by(limit_tb), "a keeper of an mm does not end");
    let left = || {
        let mut left = 0;
        table::for_each(|_| left += 1);
        left
    };
    // Orphans end without a parent that waits for them.
    while left() > 0 {
        check!(timer::now_tb() < limit_tb, "{} processes do not end", left());
        task::sleep_until_tb(in_us(1000));
    }
    Ok(())
}
