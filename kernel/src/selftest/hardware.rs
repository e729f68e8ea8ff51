//! Duties of the hardware half that QEMU does not check: each CPU's registers, whole pages cleared
//! and copied, and the permissions of the kernel's own pages.

use core::arch::asm;
use core::cell::Cell;
use core::sync::atomic::{AtomicBool, Ordering};

use arch::addr::{LINEAR_BASE, PAGE_SIZE, PhysAddr, VirtAddr};
use arch::encoding::platform_support::Broadcast;
use arch::encoding::pte::{PteFlags, ROOT_BYTES};
use arch::encoding::rpt_invalidate;
use arch::encoding::tlb_operand::Ric;
use arch::exceptions::authority;
use arch::hcall::{self, Status};
use arch::reg::{Msr, spr};
use arch::{isa, page, percpu, tlb};
use kcore::mm::MmId;

use super::stage::{all_cpus, on_cpus};
use super::{Test, Verdict, check, check_eq};
use crate::memory::{self, frame};
use crate::task::{self, kthread};

pub(super) const TESTS: &[Test] = &[
    Test::new("hardware_registers", registers),
    Test::new("hardware_pages", pages),
    Test::new("hardware_kernel_map", kernel_map),
    Test::new("hardware_switch_keeps_cr", switch_keeps_cr),
    Test::new("hardware_flush_by_hypercall", flush_by_hypercall),
];

/// On each CPU: no facility for users whose registers are not switched, user pages closed, exactly
/// the kernel's MSR, SPRG0 as entries need it; and a hint leaves the priority.
fn registers() -> Verdict {
    let good = on_cpus(&all_cpus(), || {
        authority::check_closed();
        let area = core::ptr::from_ref(percpu::this()).addr() as u64;
        let closed = isa::mfspr::<{ spr::FSCR }>() == 0 && isa::mfspr::<{ spr::UAMOR }>() == 0;
        let msr = isa::mfmsr() == (Msr::KERNEL | Msr::EE).bits();
        let priority = [2_u64 << 50, 3 << 50].map(|priority| {
            // SAFETY: this thread's priority among those of its core.
            unsafe { isa::mtspr::<{ spr::PPR }>(priority) };
            isa::relax();
            isa::mfspr::<{ spr::PPR }>() == priority
        });
        closed && msr && isa::mfspr::<{ spr::SPRG0 }>() == area && priority == [true; 2]
    });
    check!(good.iter().all(|&good| good), "CPUs whose registers are right: {good:?}");
    Ok(())
}

/// The hypervisor takes our H_RPT_INVALIDATE, or does not know it and has not announced it.
fn flush_by_hypercall() -> Verdict {
    const H_FUNCTION: Status = Status(-2);
    let status = hcall::h_rpt_invalidate(&rpt_invalidate::pid(MmId::INIT_MM.pid().get(), Ric::All));
    let unknown = status == H_FUNCTION && tlb::broadcast() != Broadcast::Hypercall;
    check!(status == Status::SUCCESS || unknown, "H_RPT_INVALIDATE: {status:?}, {:?}", tlb::broadcast());
    Ok(())
}

/// A page is cleared and copied up to its last byte, and no neighbour is touched.
fn pages() -> Verdict {
    const ORDER: u32 = 2;
    let block = frame::alloc_order_zeroed(ORDER).ok_or("no memory for a block")?;
    let at = |page: u64| PhysAddr(block.phys().0 + page * PAGE_SIZE);
    let word = |page: u64, index: u64| at(page).as_mut_ptr::<u64>().wrapping_add(index as usize);
    let words = PAGE_SIZE / 8;
    // SAFETY: inside the block, which is ours.
    unsafe {
        for (page, index) in (0..1 << ORDER).flat_map(|page| (0..words).map(move |index| (page, index))) {
            word(page, index).write(page << 32 | index | 1 << 63);
        }
        page::copy(at(1), at(3));
    }
    // SAFETY: inside the block, which is ours.
    let is = |page, index| unsafe { word(page, index).read() };
    let filled =
        |page: u64, with: u64| (0..words).all(|index| is(page, index) == with << 32 | index | 1 << 63);
    check!(filled(1, 3) && filled(3, 3), "a copied page is not what was copied");
    check!(filled(0, 0) && filled(2, 2), "the copy touched a neighbour");
    // SAFETY: inside the block, which is ours.
    unsafe { page::clear(at(1)) };
    check!((0..words).all(|index| is(1, index) == 0), "a cleared page is not clear");
    check!(filled(0, 0) && filled(2, 2), "the clearing touched a neighbour");
    Ok(())
}

/// No page of the kernel's map is open to users, or both writable and executable; only this code
/// and the vectors are executable; constants cannot be written; devices are mapped in their place, as
/// devices.
fn kernel_map() -> Verdict {
    static CONSTANT: [u64; 4] = [1, 2, 3, 4];
    let (wrong, executable, leaves) = (Cell::new(None), Cell::new(0_u64), Cell::new(0_u64));
    let tree = memory::kernel_tree();
    tree.for_each_leaf(LINEAR_BASE..LINEAR_BASE + (1 << 45), |ea, leaf, size| {
        let flags = leaf.flags();
        let both = PteFlags::WRITE | PteFlags::EXECUTE;
        let bad = !flags.contains(PteFlags::PAGE | PteFlags::PRIVILEGED | PteFlags::READ)
            || flags.contains(both)
            || flags.contains(PteFlags::DEVICE) != memory::DEVICES.contains(&ea);
        if bad {
            wrong.set(Some((ea, flags)));
        }
        if flags.contains(PteFlags::EXECUTE) {
            executable.set(executable.get() + size.bytes());
        }
        leaves.set(leaves.get() + 1);
    });
    check!(leaves.get() > 16, "{} leaves", leaves.get());
    check_eq!(wrong.get(), None, "a leaf of the kernel's map");
    let flags = |address: u64| tree.look(address).map(|leaf| leaf.flags() & !PteFlags::PAGE);
    let kernel = |flags: PteFlags| Some(flags & !PteFlags::PAGE);
    check_eq!(flags(kernel_map as *const () as u64), kernel(PteFlags::KERNEL_RX), "this code");
    check_eq!(flags(LINEAR_BASE + 0x4300), kernel(PteFlags::KERNEL_RX), "the vectors");
    check_eq!(flags(LINEAR_BASE + 0x300), kernel(PteFlags::KERNEL_RO), "the vectors for real mode");
    check_eq!(flags((&raw const CONSTANT).addr() as u64), kernel(PteFlags::KERNEL_RO), "a constant");
    check_eq!(flags(tree.root().to_virt().0), kernel(PteFlags::KERNEL_RW), "data");
    check!(executable.get() < 4 << 20, "{} bytes are executable", executable.get());
    let table = VirtAddr(tree.root().to_virt().0 + ROOT_BYTES - 8);
    check!(flags(table.0).is_some(), "the end of the root table is not mapped");
    Ok(())
}

/// A switch keeps the condition fields that a call keeps, CR2 to CR4: compiled code seldom uses
/// them.
fn switch_keeps_cr() -> Verdict {
    const ROUNDS: u32 = 200;
    static BAD: AtomicBool = AtomicBool::new(false);
    extern "C" fn give_away() {
        task::yield_now();
    }
    fn hold(fields: u64) {
        for _ in 0..ROUNDS {
            let mut after = fields;
            // SAFETY: a call by the rules; what it may change is declared, CR2 to CR4 too.
            unsafe {
                asm!(
                    "mtcrf 0x38, 3",
                    "mtctr 12",
                    "bctrl",
                    "mfcr 3",
                    inlateout("r3") after,
                    inlateout("r12") give_away as *const () as u64 => _,
                    out("r0") _, out("r4") _, out("r5") _, out("r6") _, out("r7") _, out("r8") _,
                    out("r9") _, out("r10") _, out("r11") _, out("ctr") _, out("lr") _, out("xer") _,
                    out("cr0") _, out("cr1") _, out("cr2") _, out("cr3") _, out("cr4") _,
                    out("cr5") _, out("cr6") _, out("cr7") _,
                );
            }
            BAD.fetch_or((after ^ fields) & 0x00ff_f000 != 0, Ordering::Relaxed);
        }
    }
    BAD.store(false, Ordering::Relaxed);
    let here = percpu::cpu_id();
    let threads = [0x0012_3000, 0x00fe_d000, 0x0055_a000]
        .map(|fields| kthread::spawn_on(here, "test-holder", move || hold(fields)));
    threads.iter().for_each(|thread| thread.wait_exit());
    check!(!BAD.load(Ordering::Relaxed), "a thread found other condition fields after a switch");
    Ok(())
}
