//! The trace: what is recorded of a forced borrow and of its end, and what the switches do.

use alloc::format;

use kcore::cpu::CpuId;
use kcore::mm::MmId;
use trace_format::{Group, Kind, Record, Why};

use super::scene::Scene;
use super::stage::{make_lazy, owes, run_and_exit, wind_trim_clock};
use super::{Stop, Test, Verdict, check, check_eq};
use crate::machine::lazy_tlb;
use crate::trace;

pub(super) const TESTS: &[Test] = &[
    Test::of_untrimmed("trace_borrow_and_its_end", borrow_and_its_end),
    Test::new("trace_overrun_is_counted", overrun_is_counted),
    Test::new("trace_off_writes_nothing", off_writes_nothing),
];

/// Puts the switches back where they were.
struct Setting(u64);

impl Setting {
    /// Switches `groups` on, alone.
    fn to(groups: u64) -> Result<Setting, Stop> {
        let before = Setting(trace::groups());
        trace::set(groups).map_err(|_| "no memory for the rings")?;
        Ok(before)
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        // Switching off or back needs no memory.
        let _ = trace::set(self.0);
    }
}

/// The place of the first event from `from` on that is of `kind`, on `cpu`, about `mm`.
fn find(found: &[(CpuId, Record)], from: usize, (kind, cpu): (Kind, CpuId), mm: MmId) -> Result<usize, Stop> {
    let is = |(on, record): &(CpuId, Record)| {
        *on == cpu && record.body.kind == kind && record.body.mm == mm.to_bits()
    };
    let at = found.iter().skip(from).position(is);
    at.map(|at| at + from).ok_or_else(|| format!("no {kind:?} of {mm:?} on {cpu} in its turn").into())
}

/// A CPU goes lazy on an mm, is asked to leave it when the mm ends, and leaves.
fn borrow_and_its_end() -> Verdict {
    let (mut scene, me, [other]) = Scene::with()?;
    let setting = Setting::to(Group::EVERY)?;
    let mm = scene.mm()?;
    make_lazy(&[other], mm);
    wind_trim_clock();
    run_and_exit(mm);
    let found = trace::last(20_000);
    drop(setting);
    let mut at = find(&found, 0, (Kind::Created, me), mm)?;
    at = find(&found, at, (Kind::Load, other), mm)?;
    if owes().borrowed(1) > 0 {
        at = find(&found, at, (Kind::Borrow, other), mm)?;
    }
    at = find(&found, at, (Kind::Zombie, me), mm)?;
    if owes().kicked(1) + owes().shot_unkicked(1) > 0 {
        for step in [(Kind::Posted, me), (Kind::Taken, other), (Kind::Leave, other), (Kind::End, other)] {
            at = find(&found, at, step, mm)?;
        }
        let why = if owes().kicked(1) > 0 { Why::Kick } else { Why::Shoot };
        check_eq!(Why::of(found[at].1.body.sub.into()), Some(why), "why the borrow ended");
        at = find(&found, at, (Kind::Done, me), mm)?;
    }
    if owes().lingering(1) == 0 {
        find(&found, at, (Kind::Freed, me), mm)?;
    }
    scene.end(&[])
}

/// More events than a ring has room for: the old ones are counted, and the new ones are there.
fn overrun_is_counted() -> Verdict {
    let _setting = Setting::to(Group::Mm.bit())?;
    let (before, begun) = (trace::overrun(CpuId::BOOT), trace::begun());
    let most = trace::RINGS_KB.end() * 1024 / trace_format::RECORD_BYTES;
    for _ in 0..most / 2 {
        trace::note!(Kind::Zombie, trace_format::Body::about(Kind::Zombie, 1));
    }
    let wrote = trace::begun() - begun;
    check_eq!(wrote >= most as u64 / 2, true, format!("whether all were recorded ({wrote})"));
    check!(trace::overrun(CpuId::BOOT) > before, "a full ring counts nothing as overwritten");
    let last = trace::last(100);
    check_eq!(last.len(), 100, "the last events");
    check_eq!(last[99].1.body.kind, Kind::Zombie, "the last of all, before the look itself");
    let text = trace::render(1);
    check!(text.lines().any(|line| line.ends_with(" are overwritten")), "what is lost is not told");
    Ok(())
}

/// Nothing is recorded of a life of an mm while the trace is off.
fn off_writes_nothing() -> Verdict {
    // There are rings from here on.
    drop(Setting::to(Group::Mm.bit())?);
    let _setting = Setting::to(0)?;
    let mut scene = Scene::new();
    let before = trace::begun();
    let mm = scene.mm()?;
    lazy_tlb().exec_mmap(mm);
    lazy_tlb().exit_mm();
    check_eq!(trace::begun() - before, 0, "records while the trace is off");
    scene.end(&[])
}
