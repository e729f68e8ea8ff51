//! Flushes that leave out the CPUs that are lazy, and those CPUs on their way back.

use alloc::format;

use arch::addr::PAGE_SIZE;
use kcore::machine::Point::EnterMmHalf;
use kcore::mm::MmId;

use super::address_space::{WRITTEN, forget, read, read_on};
use super::scene::Scene;
use super::script::{mark, script, wait_until_passed};
use super::stage::{drain_borrows, has, other_cpus, owes, total, wind_trim_clock};
use super::{Stop, Test, Verdict, check, check_eq};
use crate::machine::lazy_tlb;
use crate::mm;

pub(super) const TESTS: &[Test] = &[
    Test::new("spared_by_a_flush", by_a_flush),
    Test::new("spared_and_in_another_mm", and_in_another_mm),
    Test::new("spared_on_its_way_back", on_its_way_back),
];

/// How many CPUs a flush has left out, and how many flushes were made for that, since `before`.
fn since(before: (u64, u64)) -> (u64, u64) {
    (total(|c| &c.flush_spared) - before.0, total(|c| &c.flush_paid) - before.1)
}

/// The only thread of a process drops a page that every other CPU has in its TLB. Under a policy
/// that spares them they are not asked, and each of them reads the new page when it comes back.
fn by_a_flush() -> Verdict {
    let mut scene = Scene::new();
    let (mm, page) = scene.page()?;
    lazy_tlb().exec_mmap(mm);
    let others = other_cpus();
    for &cpu in &others {
        check_eq!(read_on(cpu, mm, page)?, WRITTEN, "what was read before");
    }
    let (before, kicks) = (since((0, 0)), total(|c| &c.flush_kick));
    let lazy = others.len() as u64;
    wind_trim_clock();
    forget(mm, page)?;
    let spared = if owes().spares { lazy } else { 0 };
    check_eq!(since(before), (spared, 0), "CPUs left out, and flushes made for that");
    check_eq!(total(|c| &c.flush_kick) - kicks, lazy - spared, "CPUs that were kicked");
    for &cpu in &others {
        check_eq!(read_on(cpu, mm, page)?, 0, "what was read after");
    }
    // The page's table goes, too: each CPU is asked.
    mm::munmap(mm, page, PAGE_SIZE).map_err(|errno| format!("munmap: errno {}", errno.0))?;
    check_eq!(since(before), (spared, spared), "CPUs left out, and flushes made for that, at the end");
    scene.end(&[])
}

/// The mm that a test's CPU is lazy on, with a page of it that a flush has spared; and the CPU.
fn spared_cpu(scene: &mut Scene, cpu: kcore::cpu::CpuId) -> Result<(MmId, u64), Stop> {
    if !owes().spares {
        return Err(Stop::Skip("the policy spares no CPU"));
    }
    let (mm, page) = scene.page()?;
    lazy_tlb().exec_mmap(mm);
    check_eq!(read_on(cpu, mm, page)?, WRITTEN, "what was read before");
    check!(has(cpu, mm), "the CPU is not lazy on the mm");
    Ok((mm, page))
}

/// A CPU that was spared goes to another mm and comes back: what its TLB holds outlives that.
fn and_in_another_mm() -> Verdict {
    let (mut scene, _, [cpu]) = Scene::with()?;
    let (mm, page) = spared_cpu(&mut scene, cpu)?;
    let before = since((0, 0));
    forget(mm, page)?;
    drain_borrows();
    check_eq!(since(before), (1, 1), "CPUs left out, and flushes made for that");
    check_eq!(read_on(cpu, mm, page)?, 0, "what was read after");
    check_eq!(since(before), (1, 1), "CPUs left out, and flushes made for that, at the end");
    scene.end(&[])
}

/// A CPU is about to use the mm that it is lazy on, and is still seen lazy: it is spared, and makes
/// up for it before its first access.
fn on_its_way_back() -> Verdict {
    let (mut scene, me, [cpu]) = Scene::with()?;
    let (mm, page) = spared_cpu(&mut scene, cpu)?;
    scene.play(script! {
        cpu reaches EnterMmHalf;
        me marks;
        cpu leaves EnterMmHalf;
    });
    let reader = scene.part(cpu, move || read(mm, page));
    wait_until_passed(1);
    let before = since((0, 0));
    forget(mm, page)?;
    mark();
    scene.played()?;
    check_eq!(reader.result()?, 0, "what was read after");
    check_eq!(since(before), (1, 1), "CPUs left out, and flushes made for that");
    scene.end(&[])
}
