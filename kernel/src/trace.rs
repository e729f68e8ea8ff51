//! The trace: each CPU records what happens on it in a ring of its own.
//!
//! The crate `trace_format` has the format. A ring has one writer, its CPU. An interrupt handler may record
//! in the middle of a record, so a record's place is taken by one atomic addition, and its head,
//! which makes it valid, is written last. While nothing is on, an event costs a nop, and there are no
//! rings until something is.
//!
//! When the machine has stopped, its rings are read from its memory, from [`LAZY_TRACE`] on.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::mem::size_of;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use arch::addr::{PAGE_SHIFT, PhysAddr};
use arch::{percpu, timer};
use kcore::cpu::CpuId;
use kcore::event::Event;
use kcore::machine::{Cpu as _, PreemptOff};
use kcore::mm::MmId;
use kcore::switch::Arm;
use kcore::task::TaskMm;
use trace_format::{Body, Dump, Group, Kind, LINE, Line, RECORD_BYTES, Record};

use crate::machine::{self, lazy_tlb};
use crate::sync::{SpinGuard, SpinLock};
use crate::upcalls;

/// A ring's size in KiB, unless `trace_kb=` says otherwise.
const RING_KB: usize = 256;
/// The sizes in KiB that a ring may have; powers of two only.
pub(crate) const RINGS_KB: core::ops::RangeInclusive<usize> =
    *trace_format::RECORDS.start() * RECORD_BYTES / 1024..=*trace_format::RECORDS.end() * RECORD_BYTES / 1024;

/// The physical address of the header, 0 while there are no rings. Found by name in the image.
#[unsafe(no_mangle)]
static LAZY_TRACE: AtomicU64 = AtomicU64::new(0);
/// The header, null while there are no rings. It stays for ever, as the rings do.
static HEADER: AtomicPtr<Header> = AtomicPtr::new(core::ptr::null_mut());
/// The groups that are to be on, for CPUs that start.
static WANTED: AtomicU64 = AtomicU64::new(0);
/// Held while the rings are made, and while what is on changes.
static SWITCH: SpinLock<()> = SpinLock::new("the switch of the trace", ());

/// The head of a dump: `trace_format::Dump` reads it.
#[repr(C, align(128))]
struct Header {
    magic: u64,
    version: u64,
    cpus: u64,
    records: u64,
    ticks_per_second: u64,
    policy: u64,
    groups: AtomicU64,
    address: u64,
    _rest: [u64; 2 * LINE / 8 - 8],
}

/// A CPU's ring. The blocks of all CPUs follow the header.
#[repr(C, align(128))]
struct Ring {
    head: percpu::Ring,
    address: u64,
    calls: Calls,
}

impl Ring {
    /// How many records were begun.
    fn begun(&self) -> u64 {
        self.head.position.load(Ordering::Relaxed) / RECORD_BYTES as u64
    }

    /// How many it has room for.
    fn room(&self) -> u64 {
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
fn header() -> Option<&'static Header> {
    // F56 acquire: orders the pointer before what it leads to. Partner: `make_rings`.
    // SAFETY: null, or a header that `make_rings` has written, and that stays.
    unsafe { HEADER.load(Ordering::Acquire).as_ref() }
}

/// The blocks of all CPUs.
fn rings() -> Option<&'static [Ring]> {
    let header = header()?;
    let first: *const Ring = core::ptr::from_ref(header).wrapping_add(1).cast();
    // SAFETY: the blocks follow the header, one for each CPU.
    Some(unsafe { core::slice::from_raw_parts(first, header.cpus as usize) })
}

/// Makes rings of `kb` KiB, a power of two in [`RINGS_KB`], unless there are rings.
fn make_rings(_: &SpinGuard<'_, ()>, kb: usize) -> Result<(), OutOfMemory> {
    if rings().is_some() {
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
            head: percpu::Ring {
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

/// What the command line asks for: which groups, and the size of a ring in KiB.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Wanted {
    pub(crate) groups: u64,
    pub(crate) kb: Option<usize>,
}

/// Does what the command line asks for. Once, before the boot CPU joins the protocol.
pub(crate) fn init(wanted: Wanted) {
    if wanted.groups == 0 && wanted.kb.is_none() {
        return;
    }
    match make_rings(&SWITCH.lock(), wanted.kb.unwrap_or(RING_KB)) {
        Ok(()) => {
            arch::patch::set(wanted.groups);
            want(wanted.groups);
        }
        Err(OutOfMemory) => crate::println!("trace: there is no memory for it"),
    }
}

/// Notes which groups are to be on.
fn want(groups: u64) {
    WANTED.store(groups, Ordering::Relaxed);
    if let Some(header) = header() {
        header.groups.store(groups, Ordering::Relaxed);
    }
}

/// The groups that are on, as bits.
pub(crate) fn groups() -> u64 {
    WANTED.load(Ordering::Relaxed)
}

/// Switches `groups` on and all others off, on every CPU. A CPU that is starting meanwhile may keep
/// what was on before. Interrupts and preemption on.
pub(crate) fn set(groups: u64) -> Result<(), OutOfMemory> {
    let held = SWITCH.lock();
    if groups != 0 {
        make_rings(&held, RING_KB)?;
    }
    switch_to(&held, groups);
    Ok(())
}

/// [`set`], once there are rings.
fn switch_to(_: &SpinGuard<'_, ()>, groups: u64) {
    // A CPU has a ring only while all events of its groups lead to their records.
    if self::groups() != 0 {
        tell(0);
    }
    arch::patch::set(groups);
    if groups != 0 {
        tell(groups);
    }
}

/// Has each CPU begin to record `groups`, or end it.
fn tell(groups: u64) {
    want(groups);
    lazy_tlb().machine.with_preempt_off(|t| {
        let others = lazy_tlb().online().without(t.cpu());
        machine::call_function(t, &others, |_| take_setting(), 0);
        take_setting();
    });
}

/// This CPU records from now on what it is to record. Also where a CPU starts.
pub(crate) fn take_setting() {
    lazy_tlb().machine.with_irqs_off(|t| {
        let (Some(rings), groups, area) = (rings(), groups(), percpu::this()) else { return };
        if area.has_ring() == (groups != 0) {
            return;
        }
        // A reader must know what it misses, so this is recorded in any case.
        let starts = lazy_tlb().cpu(t.cpu()).active_mm.peek().is_none();
        let setting = Body { sub: starts.into(), arg: groups, ..Body::new(Kind::Setting) };
        let calls = upcalls::system_calls(groups & Group::Syscall.bit() != 0);
        if groups != 0 {
            area.set_ring(Some(&rings[t.cpu().index()].head), calls);
            write(setting);
        } else {
            write(setting);
            area.set_ring(None, calls);
        }
    });
}

/// Records an event, if its group is on: `note!(kind, body)`. Any context; where the task may move
/// meanwhile, the event may be found on the CPU that it left. A macro: the body is made where it is
/// needed, and no call there costs the function its registers.
macro_rules! note {
    ($kind:expr, $body:expr) => {
        arch::patchable!($kind.group(), { $crate::trace::write($body) })
    };
}
pub(crate) use note;

/// Writes a record.
#[inline(always)]
pub(crate) fn write(body: Body) {
    percpu::record((body.kind as u16) << 8 | u16::from(body.sub), body.other, body.mm, body.arg);
}

/// Records an event of the protocol. The switch is recorded by [`switch`], which knows the tasks.
#[inline(always)]
pub(crate) fn observe(t: &PreemptOff, event: Event) {
    // Few fields, or on paths that save no registers.
    macro_rules! here {
        ($kind:ident) => {
            note!(Kind::$kind, event.body(t.cpu(), number))
        };
    }
    // On paths that call functions anyway: nothing but a call is added to them.
    macro_rules! apart {
        ($kind:ident) => {
            arch::patchable!(Kind::$kind.group(), {
                // A copy, so that the event itself need not be in memory while nothing is on.
                let event = event;
                observe_apart::<{ Kind::$kind as u8 }>(t.cpu(), &event);
            })
        };
    }
    match event {
        Event::Switch { .. } | Event::Sent { .. } => {}
        Event::Interrupted => here!(Interrupt),
        Event::NotCalled => here!(NotCalled),
        Event::Called { .. } => here!(Taken),
        Event::Answers { .. } => here!(Answered),
        Event::Borrow(_) => here!(Borrow),
        Event::Ended(_) => here!(End),
        Event::Load(_) => here!(Load),
        Event::Leave(_) => here!(Leave),
        Event::MaskSet(_) | Event::MaskCleared(_) => here!(Mask),
        Event::GrabLazy(_) | Event::DropLazy(_) => here!(Unit),
        Event::Posted { .. } => here!(Posted),
        Event::Ipi { .. } => here!(Sent),
        Event::Answered(_) => here!(Done),
        Event::Evict { .. } => apart!(Evict),
        Event::Scan { .. } => apart!(Scan),
        Event::Shoot { .. } => apart!(Shoot),
        Event::ShotSelf(_) => here!(ShotSelf),
        Event::Filtered(..) => apart!(Filtered),
        Event::Flush { .. } => apart!(Flush),
        Event::Spared { .. } => apart!(Spared),
        Event::Paid(_) => here!(Paid),
        Event::FlushBegins(_) => here!(FlushBegins),
        Event::FlushLocal(..) => apart!(FlushLocal),
        Event::FlushGlobal(..) => apart!(FlushGlobal),
        Event::Created(_) => here!(Created),
        Event::Zombie(_) => here!(Zombie),
        Event::Dying(_) => here!(Dying),
        Event::Dead(_) => here!(Dead),
        Event::Freed(_) => here!(Freed),
        Event::Online | Event::Offline => apart!(Cpu),
        Event::Membarrier { .. } => here!(Membarrier),
    }
}

/// Records an event of one kind.
#[cold]
#[inline(never)]
fn observe_apart<const KIND: u8>(me: CpuId, event: &Event) {
    // SAFETY: `observe` has an arm for each kind.
    unsafe { core::hint::assert_unchecked(event.kind() as u8 == KIND) };
    write(event.body(me, number));
}

/// The number of the last call that `initiator` has posted; a new one if it is `new`. While something is
/// on, preemption off. A CPU counts its own calls, never in a handler.
#[inline(always)]
fn number(initiator: CpuId, new: bool) -> u32 {
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

/// This CPU is about to switch from the task with `prev` to the one with `next`. `why` is a number
/// of `trace_format::LEAVES`.
#[inline(always)]
pub(crate) fn switch(prev: &TaskMm, next: &TaskMm, next_tid: &u32, why: u8) {
    note!(Kind::Switch, {
        let to = next.mm();
        let sub = Arm::number(prev.mm(), to) | (why & 3) << 2;
        // Under a policy without the task's word it is none, and the CPU's word is asked.
        let loaded = match prev.active_mm() {
            MmId::NONE => lazy_tlb().cpu(percpu::cpu_id()).active_mm.peek(),
            mm => mm,
        };
        let about = Body::about(Kind::Switch, loaded.to_bits());
        Body { sub, other: *next_tid, arg: to.to_bits(), ..about }
    });
}

/// The task with `tid` has a new name.
#[inline(always)]
pub(crate) fn name(tid: u32, words: impl FnOnce() -> [u64; 2]) {
    note!(Kind::Name, {
        let [first, second] = words();
        Body { other: tid, arg: second, ..Body::about(Kind::Name, first) }
    });
}

/// The last records of all CPUs, `most` at most, by time, each with its CPU. The trace stands still
/// meanwhile. Interrupts and preemption on.
pub(crate) fn last(most: usize) -> Vec<(CpuId, Record)> {
    let Some(rings) = rings() else { return Vec::new() };
    let (held, on) = (SWITCH.lock(), groups());
    // The calls order the records of the other CPUs before our reads.
    switch_to(&held, 0);
    let mut found = Vec::new();
    for (cpu, ring) in rings.iter().enumerate() {
        let (end, room) = (ring.begun(), ring.room());
        for position in end.saturating_sub(room.min(most as u64))..end {
            // SAFETY: the ring has room for so many records.
            let words = unsafe { &*ring.head.records.add((position % room) as usize) };
            let words = words.each_ref().map(|word| word.load(Ordering::Relaxed));
            found.extend(Record::decode(words, position).map(|record| (CpuId::new(cpu), position, record)));
        }
    }
    switch_to(&held, on);
    drop(held);
    // The order within a CPU is part of the key: a sort that keeps it takes 4 KB of the stack.
    found.sort_unstable_by_key(|&(cpu, position, record): &(CpuId, u64, Record)| {
        (record.time, cpu.index(), position)
    });
    let last = found.split_off(found.len().saturating_sub(most));
    last.into_iter().map(|(cpu, _, record)| (cpu, record)).collect()
}

/// The names of `groups`, as the switches take them.
pub(crate) fn names(groups: u64) -> String {
    let on = Group::ALL.iter().filter(|group| groups & group.bit() != 0);
    on.map(|group| group.name()).collect::<Vec<_>>().join(",")
}

/// As text, the last records of all CPUs, `most` at most, and what is on.
pub(crate) fn render(most: usize) -> String {
    let mut text = alloc::format!("# on: {}\n", names(groups()));
    let mut tids = alloc::vec![None; lazy_tlb().nr_cpus()];
    for (cpu, record) in last(most) {
        let (cpu, ticks) = (cpu.index(), timer::ticks_per_us() * 1_000_000);
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}", Line { task: None, tid: tids[cpu], cpu, ticks, record });
        if record.body.kind == Kind::Switch {
            tids[cpu] = Some(record.body.other);
        }
    }
    text
}

/// How many records of `cpu` are overwritten, for tests.
#[cfg(feature = "selftest")]
pub(crate) fn overrun(cpu: CpuId) -> u64 {
    rings().map_or(0, |rings| {
        let ring = &rings[cpu.index()];
        ring.begun().saturating_sub(ring.room())
    })
}

/// How many records were begun on all CPUs, for tests.
#[cfg(feature = "selftest")]
pub(crate) fn begun() -> u64 {
    rings().map_or(0, |rings| rings.iter().map(Ring::begun).sum())
}
