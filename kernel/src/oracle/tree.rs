//! The oracle's eyes: every store to an entry of a user tree, and every frame that is freed.

use arch::addr::{PAGE_SIZE, PhysAddr};
use arch::encoding::pte::{Pte, ROOT_BYTES};
use arch::mmu::observer::Observer;
use arch::mmu::tree::ROOT_LEVEL;
use kcore::mm::{MmId, Pid};
use shadow_tlb::FrameNumber;

use super::frames::{Role, served_by_entry};
use super::{FRAMES, ON, accuse, ask, check, cpu_here, slots};
use crate::machine::lazy_tlb;

/// For `arch::mmu::observer::install`.
pub(super) static OBSERVER: Observer = Observer { entry_changed, tree_set, tree_cleared };

fn frame(address: PhysAddr) -> FrameNumber {
    address.page_number() as FrameNumber
}

/// A store to an entry, in some tree, has happened.
fn entry_changed(entry: PhysAddr, old: Pte, new: Pte) {
    // Tables of the kernel's tree have no role.
    let Role::Table { slot, level, base } = FRAMES.role(frame(entry)) else { return };
    let ea = base + (entry.0 % PAGE_SIZE) / size_of::<Pte>() as u64 * served_by_entry(level);
    if level == 0 {
        leaf_changed(slot, ea, old, new);
    } else {
        table_changed(slot, level - 1, ea, old, new);
    }
}

fn leaf_changed(slot: usize, ea: u64, old: Pte, new: Pte) {
    let page = |pte: Pte| pte.is_valid().then(|| frame(pte.page()));
    let (was, is) = (page(old), page(new));
    if was == is {
        let lost = was.is_some() && !new.flags().contains(old.flags());
        if lost {
            ask(slot, |shadow| shadow.leaf_changed(cpu_here(), ea, None));
        }
        return;
    }
    if let Some(gone) = was
        && !ask(slot, |shadow| shadow.leaf_changed(cpu_here(), ea, Some(gone)))
    {
        FRAMES.disconnect(gone);
    }
    if let Some(new) = is {
        FRAMES.connect(new, Role::Page { slot, ea });
        check(slot, |slot| slot.shadow().map_or(Ok(()), |shadow| shadow.leaf_filled(cpu_here(), ea)));
    }
}

/// An entry that names a table of `level`, which serves the addresses from `base` on.
fn table_changed(slot: usize, level: u32, base: u64, old: Pte, new: Pte) {
    let table = |pte: Pte| pte.is_valid().then(|| frame(pte.next_table()));
    assert!(!new.is_leaf(), "oracle: a large page at {base:#x} of a user's tree");
    if let Some(gone) = table(old)
        && !ask(slot, |shadow| shadow.table_detached(cpu_here(), base, gone))
    {
        FRAMES.disconnect(gone);
    }
    if let Some(new) = table(new) {
        FRAMES.connect(new, Role::Table { slot, level, base });
    }
}

/// A root lies in several frames.
fn for_each_of_root(root: PhysAddr, mut f: impl FnMut(FrameNumber, u64)) {
    let entries = PAGE_SIZE / size_of::<Pte>() as u64;
    for part in 0..ROOT_BYTES / PAGE_SIZE {
        f(frame(root) + part as FrameNumber, part * entries * served_by_entry(ROOT_LEVEL));
    }
}

fn tree_set(pid: Pid, root: PhysAddr) {
    let slot = pid.get() as usize;
    check(slot, |watched| watched.set_entry(cpu_here(), lazy_tlb().nr_cpus()));
    slots()[slot].lock().root = Some(root);
    for_each_of_root(root, |frame, base| {
        FRAMES.connect(frame, Role::Table { slot, level: ROOT_LEVEL, base });
    });
}

fn tree_cleared(pid: Pid) {
    ask(pid.get() as usize, |shadow| shadow.clear_entry(cpu_here()));
}

/// `mm` has ended, and no CPU holds a part of it: its root may be freed.
pub(super) fn tree_ended(mm: MmId) {
    if let Some(root) = slots()[mm.slot()].lock().root.take() {
        for_each_of_root(root, |frame, _| FRAMES.disconnect(frame));
    }
}

/// Frame `number` has lost its last reference: any context.
#[inline(always)]
pub(crate) fn frame_freed(number: FrameNumber) {
    if ON && let Some(frames) = FRAMES.try_get() {
        if frames.is_reachable(number) {
            freed_too_soon(number);
        }
        frames.set_role(number, Role::None);
    }
}

/// Reports the CPU that can still reach the frame, and how.
#[cold]
fn freed_too_soon(number: FrameNumber) -> ! {
    for slot in 0..slots().len() {
        check(slot, |slot| slot.shadow().map_or(Ok(()), |shadow| shadow.frame_freed(cpu_here(), number)));
    }
    match FRAMES.role(number) {
        Role::None => panic!("oracle: frame {number:#x} is freed, and somebody can come to it"),
        Role::Page { slot, ea } => {
            accuse(slot, format_args!("frame {number:#x} is freed and an entry names it, that of {ea:#x}"))
        }
        Role::Table { slot, base, .. } => {
            accuse(slot, format_args!("page table {number:#x} is freed and serves {base:#x}"))
        }
    }
}
