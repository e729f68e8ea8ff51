//! The rings in memory, one for each CPU. When the machine has stopped, they are read from
//! [`LAZY_TRACE`] on.

use alloc::vec::Vec;
use core::mem::size_of;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use arch::addr::{PAGE_SHIFT, PhysAddr};
use arch::{ring, timer};
use kcore::cpu::CpuId;
use trace_format::{Dump, LINE, RECORD_BYTES};

use crate::machine::lazy_tlb;
use crate::sync::SpinGuard;
use crate::upcalls;

/// The sizes in KiB that a ring may have; powers of two only.
pub(crate) const RINGS_KB: core::ops::RangeInclusive<usize> =
    *trace_format::RECORDS.start() * RECORD_BYTES / 1024..=*trace_format::RECORDS.end() * RECORD_BYTES / 1024;

/// The physical address of the header, 0 while there are no rings. Found by name in the image.
#[unsafe(no_mangle)]
static LAZY_TRACE: AtomicU64 = AtomicU64::new(0);
/// The header, null while there are no rings. It stays for ever, as the rings do.
static HEADER: AtomicPtr<Header> = AtomicPtr::new(core::ptr::null_mut());

/// The head of a dump: `trace_format::Dump` reads it.
#[repr(C, align(128))]
pub(super) struct Header {
    magic: u64,
    version: u64,
    cpus: u64,
    records: u64,
    ticks_per_second: u64,
    policy: u64,
    pub(super) groups: AtomicU64,
    address: u64,
    _rest: [u64; 2 * LINE / 8 - 8],
}

/// A CPU's ring. The blocks of all CPUs follow the header.
#[repr(C, align(128))]
pub(super) struct Ring {
    pub(super) head: ring::Ring,
    address: u64,
    calls: Calls,
}

impl Ring {
    /// How many records were begun.
    pub(super) fn begun(&self) -> u64 {
        self.head.position.load(Ordering::Relaxed) / RECORD_BYTES as u64
    }

    /// How many of them are overwritten.
    pub(super) fn overrun(&self) -> u64 {
        self.begun().saturating_sub(self.room())
    }

    /// How many it has room for.
    pub(super) fn room(&self) -> u64 {
        (self.head.last + 1) / RECORD_BYTES as u64
    }
}

/// How many cross-calls the CPU has posted. On a line of its own: the CPUs that it calls read it.
#[repr(C, align(128))]
struct Calls(AtomicU64);

const _: () = assert!(size_of::<Header>() == 2 * LINE && size_of::<Ring>() == 2 * LINE);

/// There is no memory for the rings.
#[derive(Debug)]
pub(crate) struct OutOfMemory;

/// The header, if there are rings.
pub(super) fn header() -> Option<&'static Header> {
    // F56 acquire: orders the pointer before what it leads to. Partner: `make`.
    // SAFETY: null, or a header that `make` has written, and that stays.
    unsafe { HEADER.load(Ordering::Acquire).as_ref() }
}

/// The blocks of all CPUs.
pub(super) fn all() -> Option<&'static [Ring]> {
    let header = header()?;
    let first: *const Ring = core::ptr::from_ref(header).wrapping_add(1).cast();
    // SAFETY: the blocks follow the header, one for each CPU.
    Some(unsafe { core::slice::from_raw_parts(first, header.cpus as usize) })
}

/// Makes rings of `kb` KiB, a power of two in [`RINGS_KB`], unless there are rings. The caller keeps
/// others out.
pub(super) fn make(_: &SpinGuard<'_, ()>, kb: usize) -> Result<(), OutOfMemory> {
    if all().is_some() {
        return Ok(());
    }
    let (cpus, records) = (lazy_tlb().nr_cpus(), kb * 1024 / RECORD_BYTES);
    let block = |bytes: usize| {
        let pages = bytes.div_ceil(1 << PAGE_SHIFT).next_power_of_two();
        upcalls::alloc_order_zeroed(pages.ilog2()).ok_or(OutOfMemory)
    };
    let head = block(Dump::head_bytes(cpus))?;
    let blocks = (0..cpus).map(|_| block(kb * 1024)).collect::<Result<Vec<_>, _>>()?;
    let header: *mut Header = head.as_mut_ptr().cast();
    let first: *mut Ring = header.wrapping_add(1).cast();
    for (cpu, block) in blocks.into_iter().enumerate() {
        let ring = Ring {
            head: ring::Ring {
                position: AtomicU64::new(0),
                records: block.as_mut_ptr().cast(),
                last: (records * RECORD_BYTES) as u64 - 1,
            },
            address: block.leak().0,
            calls: Calls(AtomicU64::new(0)),
        };
        // SAFETY: inside the block of the header, by `head_bytes`.
        unsafe { first.add(cpu).write(ring) };
    }
    let PhysAddr(address) = head.leak();
    // SAFETY: the block has room for the header.
    unsafe {
        header.write(Header {
            magic: trace_format::MAGIC,
            version: trace_format::VERSION,
            cpus: cpus as u64,
            records: records as u64,
            ticks_per_second: timer::ticks_per_us() * 1_000_000,
            policy: lazy_tlb().config().policy as u64,
            groups: AtomicU64::new(0),
            address,
            _rest: [0; _],
        });
    }
    // F56 release: orders the header and the blocks before the pointer. Partner: `header`.
    HEADER.store(header, Ordering::Release);
    LAZY_TRACE.store(address, Ordering::Relaxed);
    Ok(())
}

/// The number of the last call that `initiator` has posted; a new one if it is `new`. While something is
/// on, preemption off. A CPU counts its own calls, never in a handler.
#[inline(always)]
pub(super) fn number(initiator: CpuId, new: bool) -> u32 {
    // Relaxed: this code was patched in after the header was there.
    let header = HEADER.load(Ordering::Relaxed);
    // SAFETY: so there is a header, and the blocks of all CPUs follow it.
    let calls = unsafe { &(*header.add(1).cast::<Ring>().add(initiator.index())).calls.0 };
    let number = calls.load(Ordering::Relaxed) + u64::from(new);
    if new {
        calls.store(number, Ordering::Relaxed);
    }
    number as u32
}
