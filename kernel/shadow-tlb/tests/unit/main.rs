//! The rules of the shadow TLB oracle, against sequences written by hand. It must let the right
//! ones pass, and must not let the wrong ones pass.

mod areas;
mod holders;
mod mappings;
mod pids;
mod spared;
mod words;

use kcore::cpu::CpuId;
use kcore::mm::flush::FlushRange;
use shadow_tlb::{FrameNumber, Holder, Kind, Shadow, Violation};

const CPU0: CpuId = CpuId::new(0);
const CPU1: CpuId = CpuId::new(1);
const CPU2: CpuId = CpuId::new(2);

const PAGE: u64 = 0x1000;
/// The whole address space.
const ALL: core::ops::Range<u64> = 0..u64::MAX;
const FIRST: core::ops::Range<u64> = 0x1_0000..0x1_1000;
/// What the entry of `FIRST` names.
const FRAME: FrameNumber = 0x77;
const TABLE: FrameNumber = 0x99;
const ALL_FIRST: FlushRange = FlushRange::Pages { start: FIRST.start, pages: 1 };

/// A PID whose process-table entry is set, on three CPUs.
fn live() -> Shadow {
    let mut shadow = Shadow::new(3, 0);
    shadow.set_entry(CPU0).unwrap();
    shadow
}

/// A PID of three CPUs, loaded on CPUs 0 and 1.
fn on_two() -> Shadow {
    let mut shadow = live();
    shadow.load(CPU0, false).unwrap();
    shadow.load(CPU1, false).unwrap();
    shadow
}

fn flush_local(shadow: &mut Shadow, cpu: CpuId, what: FlushRange) {
    let began = shadow.flush_begins();
    shadow.flush_local(cpu, what, began);
}

fn flush_global(shadow: &mut Shadow, what: FlushRange) {
    let began = shadow.flush_begins();
    shadow.flush_global(CPU0, what, began);
}

/// The page of `FIRST` is unmapped, and a table taken out of the tree.
fn remove(shadow: &mut Shadow) {
    shadow.leaf_changed(CPU0, FIRST.start, Some(FRAME));
    shadow.table_detached(CPU0, FIRST.start, TABLE);
}

fn free_frame(shadow: &mut Shadow) -> Result<(), Violation> {
    shadow.frame_freed(CPU0, FRAME)
}

fn free_table(shadow: &mut Shadow) -> Result<(), Violation> {
    shadow.frame_freed(CPU0, TABLE)
}

/// A holder, as the number of a CPU or [`COPRO`], and what it has.
fn held(result: Result<(), Violation>) -> (usize, Option<Kind>) {
    let violation = result.expect_err("the oracle should have cried");
    match violation.holder {
        Holder::Cpu(cpu) => (cpu.index(), violation.held),
        Holder::Coprocessor => (COPRO, violation.held),
    }
}

const COPRO: usize = usize::MAX;

const TRANSLATION: Option<Kind> = Some(Kind::Translation);
const WALK: Option<Kind> = Some(Kind::Walk);
const ENTRY: Option<Kind> = Some(Kind::Entry);
