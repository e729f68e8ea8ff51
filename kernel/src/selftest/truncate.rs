//! A file is cut while address spaces map it: the only flush of an mm that its caller
//! need not have loaded, nor be a user of.

use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use arch::addr::PAGE_SIZE;
use arch::{percpu, uaccess};
use kcore::machine::Point;
use kcore::mm::MmId;

use super::address_space::{inside, new_mm};
use super::copies::copy_out;
use super::points::{self, Step};
use super::stage::{Bill, drain_borrows, on_cpus, other_cpus, wait_for};
use super::{Outcome, Test, Verdict, check, check_eq};
use crate::config::Config;
use crate::machine::lazy_tlb;
use crate::mm::{self, Backing, MapFlags, Object, Prot};
use crate::sync::SpinLock;
use crate::task::kthread;

pub(super) const TESTS: &[Test] = &[
    Test::new("truncate_unmaps_all", unmaps_all),
    Test { may_fail: Config::asynchronous_tlbie, ..Test::new("truncate_races_readers", races_readers) },
    Test::new("truncate_while_it_forks", while_it_forks),
    Test::new("truncate_while_it_faults", while_it_faults),
    Test::new("truncate_while_it_exits", while_it_exits),
];

/// Maps all of `object`, which has two pages; where.
fn map(mm: MmId, object: &Arc<Object>, flags: MapFlags) -> Result<u64, String> {
    let prot = Prot::READ | Prot::WRITE;
    Backing::of(mm, object.clone(), 0, true)
        .and_then(|backing| mm::mmap(mm, 0, 2 * PAGE_SIZE, prot, flags, backing))
        .map_err(|errno| alloc::format!("a mapping of a file: errno {}", errno.0))
}

/// What a load of `address` in `mm` gives here; none for a fault that cannot be resolved.
fn read(mm: MmId, address: u64) -> Option<u32> {
    inside(mm, || uaccess::load_user_u32(address)).ok()
}

fn write(mm: MmId, address: u64, word: u32) -> Result<(), String> {
    inside(mm, || copy_out(address, &word.to_be_bytes()))
        .map_err(|_| alloc::format!("a write of {address:#x} in {mm:?} failed"))
}

/// On how many CPUs `address` of `mm` can be read. Each is lazy on it afterwards.
fn readers(mm: MmId, address: u64) -> u32 {
    static CAN: AtomicU32 = AtomicU32::new(0);
    CAN.store(0, Ordering::Relaxed);
    let everyone: alloc::vec::Vec<_> = lazy_tlb().online().iter().collect();
    on_cpus(&everyone, move || {
        CAN.fetch_add(u32::from(read(mm, address).is_some()), Ordering::Relaxed);
    });
    CAN.load(Ordering::Relaxed)
}

/// Shared pages and private copies go, from address spaces that every CPU is lazy on and
/// nobody runs; what lies before the cut stays, and a file that grows again has zeroes.
fn unmaps_all() -> Verdict {
    let object = Arc::new(Object::new(2 * PAGE_SIZE));
    let (shared, private) = (new_mm()?, new_mm()?);
    let at = [map(shared, &object, MapFlags::SHARED)?, map(private, &object, MapFlags::PRIVATE)?];
    let mapped = [(shared, at[0]), (private, at[1])];
    let cpus = lazy_tlb().online().len() as u32;
    for (mm, at) in mapped {
        write(mm, at, 1)?;
        write(mm, at + PAGE_SIZE, 2)?;
        check_eq!(readers(mm, at + PAGE_SIZE), cpus, "CPUs that read the page");
    }
    object.set_len(PAGE_SIZE);
    for (mm, at) in mapped {
        check_eq!(readers(mm, at + PAGE_SIZE), 0, "CPUs that read what was cut off");
        check_eq!(readers(mm, at), cpus, "CPUs that read what is left");
    }
    object.set_len(2 * PAGE_SIZE);
    for (mm, at) in mapped {
        check_eq!(read(mm, at + PAGE_SIZE), Some(0), "the page that has grown again");
        check_eq!(read(mm, at), Some(1), "the page before the cut");
        lazy_tlb().mmput(mm);
    }
    Ok(Outcome::Pass)
}

static STOP: AtomicBool = AtomicBool::new(false);
static READS: AtomicU32 = AtomicU32::new(0);
/// The last round whose cut has returned.
static CUT: AtomicU32 = AtomicU32::new(0);
/// The first value that was read too late, and what was cut before: 32 bits each.
static STALE: AtomicU64 = AtomicU64::new(0);

/// The file grows and is cut again and again; readers stay in address spaces that map it.
/// What was in the file before a cut is not read after the cut has returned.
fn races_readers() -> Verdict {
    const ROUNDS: u32 = 40;
    let others = other_cpus();
    if others.is_empty() {
        return Ok(Outcome::Skip("one CPU"));
    }
    let object = Arc::new(Object::new(0));
    let mm = new_mm()?;
    let at = map(mm, &object, MapFlags::SHARED)?;
    STOP.store(false, Ordering::Relaxed);
    CUT.store(0, Ordering::Relaxed);
    let start = |&cpu| {
        lazy_tlb().mmget(mm);
        kthread::spawn_on(cpu, "file-reader", move || reader(mm, at))
    };
    let readers: alloc::vec::Vec<_> = others.iter().map(start).collect();
    let mut all_read = true;
    for round in 1..=ROUNDS {
        object.set_len(PAGE_SIZE);
        let page = object.page(0).map_err(|_| "no page of a file")?;
        // SAFETY: inside the page, which we have a reference to; readers see either word.
        unsafe { page.as_mut_ptr().cast::<u32>().write_volatile(round) };
        let before = READS.load(Ordering::Relaxed);
        all_read &= wait_for(|| READS.load(Ordering::Relaxed) != before);
        object.set_len(0);
        // Release: the cut before the word of it. Partner: the acquire in `reader`.
        CUT.store(round, Ordering::Release);
    }
    STOP.store(true, Ordering::Relaxed);
    readers.iter().for_each(|reader| reader.wait_exit());
    lazy_tlb().mmput(mm);
    let stale = STALE.swap(0, Ordering::Relaxed);
    check!(stale == 0, "a reader saw {} after the cut of {} had returned", stale >> 32, stale as u32);
    check!(all_read, "no reader read for ten seconds");
    Ok(Outcome::Pass)
}

fn reader(mm: MmId, at: u64) {
    lazy_tlb().exec_mmap(mm);
    while !STOP.load(Ordering::Relaxed) {
        let cut = CUT.load(Ordering::Acquire);
        let Ok(value) = uaccess::load_user_u32(at) else { continue };
        if value != 0 {
            READS.fetch_add(1, Ordering::Relaxed);
            if value <= cut {
                STALE.store(u64::from(value) << 32 | u64::from(cut), Ordering::Relaxed);
            }
        }
    }
    lazy_tlb().exit_mm();
}

/// What the hooks below do something to: a child, or what was read.
static MAPPED: SpinLock<Option<(MmId, u64)>> = SpinLock::new("a test's mapping", None);
static CHILD: SpinLock<Option<MmId>> = SpinLock::new("a test's child", None);

/// A file with a page that one address space maps and has read: both, and where.
fn mapped_page(flags: MapFlags) -> Result<(Arc<Object>, MmId, u64), String> {
    let object = Arc::new(Object::new(PAGE_SIZE));
    let mm = new_mm()?;
    let at = map(mm, &object, flags)?;
    write(mm, at, 7)?;
    *MAPPED.lock() = Some((mm, at));
    Ok((object, mm, at))
}

/// The parent forks when it is about to be visited: the child, which has its entries, is
/// visited, too.
fn while_it_forks() -> Verdict {
    let (object, parent, at) = mapped_page(MapFlags::PRIVATE)?;
    points::arm(Point::MapperGrabbed, || {
        let (parent, _) = MAPPED.lock().expect("a mapping");
        let child = mm::fork(parent).ok();
        *CHILD.lock() = child;
    });
    object.set_len(0);
    let child = CHILD.lock().take();
    let Some(child) = child else { return Err("the fork did not happen".into()) };
    let seen = [read(parent, at), read(child, at)];
    [parent, child].into_iter().for_each(|mm| lazy_tlb().mmput(mm));
    check_eq!(seen, [None, None], "what parent and child read of a file that was cut");
    Ok(Outcome::Pass)
}

/// A fault that comes between the cut and the visit finds the file's new end.
fn while_it_faults() -> Verdict {
    static SEEN: AtomicU32 = AtomicU32::new(0);
    let (object, mm, at) = mapped_page(MapFlags::SHARED)?;
    mm::madvise(mm, at, PAGE_SIZE, mm::Advice::DontNeed).map_err(|_| "madvise failed")?;
    points::arm(Point::MapperGrabbed, || {
        let (mm, at) = MAPPED.lock().expect("a mapping");
        SEEN.store(1 + u32::from(read(mm, at).is_some()), Ordering::Relaxed);
    });
    object.set_len(0);
    let late = read(mm, at);
    lazy_tlb().mmput(mm);
    check_eq!(SEEN.swap(0, Ordering::Relaxed), 1, "1 for a fault between cut and visit that is refused");
    check_eq!(late, None, "what is read afterwards");
    Ok(Outcome::Pass)
}

/// The last user exits on another CPU, and is lazy on its mm, while this one is about to
/// visit it: the visitor drops the last count.
fn while_it_exits() -> Verdict {
    let Some(&other) = other_cpus().first() else { return Ok(Outcome::Skip("one CPU")) };
    drain_borrows();
    let before = Bill::now();
    let (object, mm, _) = mapped_page(MapFlags::SHARED)?;
    let me = percpu::cpu_id();
    let (reach, leave) = (Step::reach(me, Point::MapperGrabbed), Step::leave(me, Point::MapperGrabbed));
    let play = points::play(&[Step::Mark(other), reach, Step::Mark(other), Step::Mark(other), leave]);
    let part = kthread::spawn_on(other, "test-part", move || {
        lazy_tlb().exec_mmap(mm);
        points::mark();
        points::mark();
        lazy_tlb().exit_mm();
        points::mark();
        points::finished();
    });
    points::wait_until_passed(1);
    object.set_len(0);
    points::finished();
    let freed_by_visitor = Bill::now().since(before).freed;
    part.wait_exit();
    play.complete()?;
    drop(play);
    drain_borrows();
    check_eq!(Bill::now().since(before).freed, 1, "mms freed");
    let counted = super::stage::policy() == kcore::lazy_tlb::Policy::Refcount;
    check!(counted || freed_by_visitor == 1, "the mm outlived its visitor");
    Ok(Outcome::Pass)
}
