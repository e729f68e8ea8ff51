//! A file is cut while address spaces map it: the only flush whose caller need neither have the mm
//! loaded nor be its user.

use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use arch::addr::PAGE_SIZE;
use arch::uaccess;
use kcore::machine::Point;
use kcore::mm::MmId;

use super::address_space::{forget, new_mm, read, write};
use super::hook::arm;
use super::scene::Scene;
use super::script::{mark, script, wait_until_passed};
use super::stage::{Helper, all_cpus, on_cpus, other_cpus, others, owes, start_on, wait_for};
use super::{Test, Verdict, check, check_eq};
use crate::config::Config;
use crate::machine::lazy_tlb;
use crate::mm::{self, Backing, MapFlags, Object, Prot};

pub(super) const TESTS: &[Test] = &[
    Test::new("truncate_unmaps_all", unmaps_all),
    Test { may_fail: Config::asynchronous_tlbie, ..Test::new("truncate_races_readers", races_readers) },
    Test::new("truncate_of_pages_mapped_early", maps_what_is_there),
    Test::new("truncate_while_it_forks", while_it_forks),
    Test::new("truncate_while_it_faults", while_it_faults),
    Test::new("truncate_while_it_exits", while_it_exits),
];

/// Maps all of `object`, which has two pages. Returns the address.
fn map(mm: MmId, object: &Arc<Object>, flags: MapFlags) -> Result<u64, String> {
    let prot = Prot::READ | Prot::WRITE;
    Backing::of(mm, object.clone(), 0, true)
        .and_then(|backing| mm::mmap(mm, 0, 2 * PAGE_SIZE, prot, flags, backing))
        .map_err(|errno| alloc::format!("a mapping of a file: errno {}", errno.0))
}

/// On how many CPUs `address` of `mm` can be read. Each is lazy on it afterwards.
fn readers(mm: MmId, address: u64) -> usize {
    on_cpus(&all_cpus(), move || read(mm, address).is_ok()).into_iter().filter(|&can| can).count()
}

/// Shared pages and private copies go, from address spaces that every CPU is lazy on and none runs.
/// The pages before the cut stay, and a file that grows again has zeroes.
fn unmaps_all() -> Verdict {
    let object = Arc::new(Object::new(2 * PAGE_SIZE));
    let (shared, private) = (new_mm()?, new_mm()?);
    let at = [map(shared, &object, MapFlags::SHARED)?, map(private, &object, MapFlags::PRIVATE)?];
    let mapped = [(shared, at[0]), (private, at[1])];
    let cpus = lazy_tlb().online().len();
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
        check_eq!(read(mm, at + PAGE_SIZE), Ok(0), "the page that has grown again");
        check_eq!(read(mm, at), Ok(1), "the page before the cut");
        lazy_tlb().mmput(mm);
    }
    Ok(())
}

/// A new program maps the pages of its file that others have brought in, and no page behind the end.
fn maps_what_is_there() -> Verdict {
    let object = Arc::new(Object::new(2 * PAGE_SIZE));
    let (writer, reader) = (new_mm()?, new_mm()?);
    write(writer, map(writer, &object, MapFlags::SHARED)?, 7)?;
    let at = Backing::of(reader, object.clone(), 0, false)
        .and_then(|backing| mm::mmap(reader, 0, 2 * PAGE_SIZE, Prot::READ, MapFlags::PRIVATE, backing))
        .map_err(|errno| alloc::format!("a mapping of a file: errno {}", errno.0))?;
    let resident = || {
        mm::map_present(reader, at);
        mm::layout(reader).map_or(u64::MAX, |layout| layout.resident)
    };
    check_eq!(resident(), 1, "pages mapped before a touch");
    check_eq!(read(reader, at), Ok(7), "the page that was there");
    check!(write(reader, at, 8).is_err(), "a store to it succeeded");
    object.set_len(0);
    check_eq!(resident(), 0, "pages mapped of an empty file");
    lazy_tlb().mmput(reader);
    lazy_tlb().mmput(writer);
    Ok(())
}

static STOP: AtomicBool = AtomicBool::new(false);
static READS: AtomicU32 = AtomicU32::new(0);
/// The last round whose cut has returned.
static CUT: AtomicU32 = AtomicU32::new(0);
/// A value that was read too late, and the round that was cut before: 32 bits each.
static STALE: AtomicU64 = AtomicU64::new(0);

/// The file grows and is cut again and again; readers stay in an address space that maps it. A
/// value from before a cut is not read after the cut has returned.
fn races_readers() -> Verdict {
    const ROUNDS: u32 = 40;
    let [_] = others()?;
    let object = Arc::new(Object::new(0));
    let mm = new_mm()?;
    let at = map(mm, &object, MapFlags::SHARED)?;
    STOP.store(false, Ordering::Relaxed);
    CUT.store(0, Ordering::Relaxed);
    let start = |cpu| {
        lazy_tlb().mmget(mm);
        start_on(cpu, move || reader(mm, at))
    };
    let readers: alloc::vec::Vec<_> = other_cpus().into_iter().map(start).collect();
    let mut all_read = true;
    for round in 1..=ROUNDS {
        object.set_len(PAGE_SIZE);
        let page = object.page(0).map_err(|_| "no page of a file")?;
        // SAFETY: inside the page, which we have a reference to; readers see either word.
        unsafe { page.as_mut_ptr().cast::<u32>().write_volatile(round) };
        let before = READS.load(Ordering::Relaxed);
        all_read &= wait_for(|| READS.load(Ordering::Relaxed) != before);
        object.set_len(0);
        // Release: orders the cut before its announcement. Partner: the acquire in `reader`.
        CUT.store(round, Ordering::Release);
    }
    STOP.store(true, Ordering::Relaxed);
    readers.iter().for_each(Helper::result);
    lazy_tlb().mmput(mm);
    let stale = STALE.swap(0, Ordering::Relaxed);
    check!(stale == 0, "a reader saw {} after the cut of {} had returned", stale >> 32, stale as u32);
    check!(all_read, "no reader read for ten seconds");
    Ok(())
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

/// A file with a page that `mm` maps and has written. Returns the file and the address.
fn mapped_page(mm: MmId, flags: MapFlags) -> Result<(Arc<Object>, u64), String> {
    let object = Arc::new(Object::new(PAGE_SIZE));
    let at = map(mm, &object, flags)?;
    write(mm, at, 7)?;
    Ok((object, at))
}

/// The parent forks when it is about to be visited: the child, which has copies of its entries, is
/// visited, too.
fn while_it_forks() -> Verdict {
    let parent = new_mm()?;
    let (object, at) = mapped_page(parent, MapFlags::PRIVATE)?;
    let fork = arm(Point::MapperGrabbed, move || mm::fork(parent, [0; 2]).ok());
    object.set_len(0);
    let Some(Some(child)) = fork.found() else { return Err("the fork did not happen".into()) };
    let seen = [read(parent, at).ok(), read(child, at).ok()];
    [parent, child].into_iter().for_each(|mm| lazy_tlb().mmput(mm));
    check_eq!(seen, [None, None], "what parent and child read of a file that was cut");
    Ok(())
}

/// A fault between the cut and the visit finds the file's new end.
fn while_it_faults() -> Verdict {
    let mm = new_mm()?;
    let (object, at) = mapped_page(mm, MapFlags::SHARED)?;
    forget(mm, at)?;
    let fault = arm(Point::MapperGrabbed, move || read(mm, at).is_ok());
    object.set_len(0);
    let late = read(mm, at).ok();
    lazy_tlb().mmput(mm);
    check_eq!(fault.found(), Some(false), "whether a fault between cut and visit is served");
    check_eq!(late, None, "what is read afterwards");
    Ok(())
}

/// The last user exits on another CPU, and is lazy on its mm, while this one is about to
/// visit it: the visitor drops the last count.
fn while_it_exits() -> Verdict {
    let (mut scene, me, [other]) = Scene::with()?;
    let mm = scene.empty_mm()?;
    let (object, _) = mapped_page(mm, MapFlags::SHARED)?;
    scene.play(script! {
        other marks;
        me reaches Point::MapperGrabbed;
        other marks;
        other marks;
        me leaves Point::MapperGrabbed;
    });
    scene.part(other, move || {
        lazy_tlb().exec_mmap(mm);
        mark();
        mark();
        lazy_tlb().exit_mm();
        mark();
    });
    wait_until_passed(1);
    object.set_len(0);
    let freed_by_visitor = scene.cost().freed;
    scene.played()?;
    check_eq!(freed_by_visitor, 1 - owes().lingering(1), "mms that the visitor freed");
    scene.end(&[])
}
