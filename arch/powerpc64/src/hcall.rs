//! Calls into the hypervisor (PAPR chapter 14): `sc 1` with the number in r3.
//!
//! They work before and after the MMU is on and in every exception handler: no
//! memory is passed unless a call says so, and then by real address.

use core::arch::asm;
use core::mem::MaybeUninit;

use crate::encoding::rpt_invalidate::{Arguments, H_RPT_INVALIDATE};

/// The numbers of the calls that the kernel makes, by their PAPR names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Op {
    /// Read characters from a virtual terminal.
    GetTermChar = 0x54,
    /// Write characters to a virtual terminal.
    PutTermChar = 0x58,
    /// XICS: end of interrupt.
    Eoi = 0x64,
    /// XICS: set the processor's priority.
    Cppr = 0x68,
    /// XICS: set the priority of a processor's own interrupt (IPI).
    Ipi = 0x6c,
    /// XICS: accept the pending interrupt.
    Xirr = 0x74,
    /// Sleep until an interrupt.
    Cede = 0xe0,
    /// Give this CPU away, to another one or until H_PROD.
    Confer = 0xe4,
    /// Set a processor mode resource.
    SetMode = 0x31c,
    /// Register the process table.
    RegisterProcTbl = 0x37c,
    /// Send a system reset interrupt.
    SignalSysReset = 0x380,
    /// XIVE: the pages of a source.
    IntGetSourceInfo = 0x3a8,
    /// XIVE: set the route of a source.
    IntSetSourceConfig = 0x3ac,
    /// XIVE: set or take away an event queue.
    IntSetQueueConfig = 0x3b8,
    /// XIVE: load from or store to the management page of a source that has none to map.
    IntEsb = 0x3c8,
    /// XIVE: wait until the events of a source are in their queue.
    IntSync = 0x3cc,
    /// XIVE: forget every route and queue.
    IntReset = 0x3d0,
    /// The way into RTAS that the firmware's own entry uses.
    Rtas = 0xf000,
}

/// What the hypervisor answers in r3: 0 is success, negative an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Status(pub i64);

impl Status {
    /// H_SUCCESS.
    pub const SUCCESS: Self = Self(0);
    /// H_BUSY: try again.
    pub const BUSY: Self = Self(1);

    /// H_BUSY, or H_LONG_BUSY with one of its six hints how long.
    fn is_busy(self) -> bool {
        self == Self::BUSY || (9900..=9905).contains(&self.0)
    }

    /// Success, or the status as an error.
    ///
    /// # Errors
    /// Every status but H_SUCCESS, "long busy" and partial successes included.
    #[inline]
    pub fn ok(self) -> Result<(), Self> {
        if self == Self::SUCCESS { Ok(()) } else { Err(self) }
    }
}

/// One hypervisor call: up to five arguments in r4 to r8, the status and r4 to r7 back. The
/// other argument registers hold anything, which no call looks at. Any context.
///
/// # Safety
/// The call must be one that leaves memory and CPU state that Rust relies on
/// alone, or changes it as the caller has arranged (PAPR section of `op`).
#[inline]
pub unsafe fn hcall<const N: usize>(op: Op, args: [u64; N]) -> (Status, [u64; 4]) {
    let (status, r4, r5, r6, r7);
    let arg = |n| args.get(n).copied().map_or(MaybeUninit::uninit(), MaybeUninit::<u64>::new);
    // SAFETY: the register contract is PAPR 14.5: r0, r3-r12, CTR, XER and the
    // volatile condition fields are lost, everything else is kept. Memory is the
    // caller's promise; no `nomem`, so the compiler keeps loads and stores where
    // they are.
    unsafe {
        asm!(
            "sc 1",
            inlateout("r3") op as u64 => status,
            inlateout("r4") arg(0) => r4,
            inlateout("r5") arg(1) => r5,
            inlateout("r6") arg(2) => r6,
            inlateout("r7") arg(3) => r7,
            inlateout("r8") arg(4) => _,
            lateout("r0") _, lateout("r9") _, lateout("r10") _,
            lateout("r11") _, lateout("r12") _,
            lateout("ctr") _, lateout("xer") _, lateout("cr0") _, lateout("cr1") _,
            lateout("cr5") _, lateout("cr6") _, lateout("cr7") _,
            options(nostack),
        );
    }
    (Status(status), [r4, r5, r6, r7])
}

/// As [`hcall`], repeated while the hypervisor is busy with it.
///
/// # Errors
/// Every other status but H_SUCCESS.
///
/// # Safety
/// As [`hcall`].
unsafe fn until_done<const N: usize>(op: Op, args: [u64; N]) -> Result<[u64; 4], Status> {
    loop {
        // SAFETY: the caller's promise.
        let (status, results) = unsafe { hcall(op, args) };
        if !status.is_busy() {
            return status.ok().map(|()| results);
        }
    }
}

/// Writes up to 16 bytes to the virtual terminal `unit`; H_BUSY: nothing written.
#[inline]
pub fn h_put_term_char(unit: u32, length: usize, data: [u64; 2]) -> Status {
    // SAFETY: the bytes travel in registers.
    unsafe { hcall(Op::PutTermChar, [unit.into(), length as u64, data[0], data[1]]).0 }
}

/// Reads up to 16 bytes from the virtual terminal `unit`: length and bytes,
/// left-justified.
///
/// # Errors
/// The hypervisor's status, if the unit does not exist.
#[inline]
pub fn h_get_term_char(unit: u32) -> Result<(usize, [u64; 2]), Status> {
    // SAFETY: the bytes travel in registers.
    let (status, [length, high, low, _]) = unsafe { hcall(Op::GetTermChar, [unit.into()]) };
    status.ok()?;
    Ok(((length as usize).min(16), [high, low]))
}

/// Sleeps until an interrupt is pending for this CPU. Turns MSR\[EE\] *on* and
/// takes that interrupt before it returns; [`crate::idle::cede`] is the safe
/// form of it.
///
/// # Safety
/// The kernel's exception vectors must be in place.
#[inline]
pub unsafe fn h_cede() -> Status {
    // SAFETY: the interrupt is taken by our handlers (the caller's promise), which
    // preserve this context.
    unsafe { hcall(Op::Cede, []).0 }
}

/// Sleeps until H_PROD if `server` is this CPU's own number. Unlike [`h_cede`] it
/// leaves MSR\[EE\] alone. May return early.
#[inline]
pub fn h_confer(server: u32) -> Status {
    // SAFETY: changes when this CPU runs, nothing else.
    unsafe { hcall(Op::Confer, [server.into()]).0 }
}

/// Registers the radix process table, with guest translation shootdown (GTSE,
/// which makes `tlbie` legal here) if `gtse`. `table` is its real address,
/// `log2_size` at least 12; the table is aligned to its size.
///
/// # Errors
/// The hypervisor's status.
///
/// # Safety
/// The table must be well formed and stay so as long as the MMU is on.
pub unsafe fn h_register_proc_tbl(table: u64, log2_size: u32, gtse: bool) -> Result<(), Status> {
    /// "Modify" and "register": this table replaces any other.
    const NEW_TABLE: u64 = 0x18;
    const RADIX: u64 = 0x04;
    const GTSE: u64 = 0x01;
    let flags = NEW_TABLE | RADIX | if gtse { GTSE } else { 0 };
    let size_field = u64::from(log2_size - 12);
    // SAFETY: the caller's promise.
    unsafe { hcall(Op::RegisterProcTbl, [flags, table, 0, size_field]).0.ok() }
}

/// Interrupts from translated mode go to 0xc000000000004000 with the MMU on (AIL =
/// 3), for the whole partition. From real mode they still go to 0.
///
/// # Errors
/// The hypervisor's status.
///
/// # Safety
/// The vectors must be in place at real 0x4000, and mapped.
pub unsafe fn h_set_mode_ail3() -> Result<(), Status> {
    const RESOURCE_ADDR_TRANS_MODE: u64 = 3;
    // SAFETY: the caller's promise.
    unsafe { hcall(Op::SetMode, [3, RESOURCE_ADDR_TRANS_MODE, 0, 0]).0.ok() }
}

/// Sends a system reset interrupt (0x100), which no MSR bit masks, to the CPU
/// `server`: the NMI of this platform. It arrives in real mode.
///
/// The call's "all" and "all but self" targets are left out on purpose: they reach
/// CPUs that were never started, and those run the vector without a `PerCpu`.
///
/// # Errors
/// The hypervisor's status.
pub fn h_signal_sys_reset(server: u32) -> Result<(), Status> {
    // SAFETY: touches no memory of this CPU; the target enters our 0x100 handler.
    unsafe { hcall(Op::SignalSysReset, [server.into()]).0.ok() }
}

/// XICS: interrupts more favoured (lower) than `priority` reach this CPU; 0xff
/// admits all, 0 none.
#[inline]
pub fn h_cppr(priority: u8) -> Status {
    // SAFETY: changes what the interrupt controller presents, nothing else.
    unsafe { hcall(Op::Cppr, [priority.into()]).0 }
}

/// XICS: sets the inter-processor interrupt of `server` to `priority`; 0xff
/// withdraws it.
#[inline]
pub fn h_ipi(server: u32, priority: u8) -> Status {
    // SAFETY: changes what the interrupt controller presents, nothing else.
    unsafe { hcall(Op::Ipi, [server.into(), priority.into()]).0 }
}

/// XICS: accepts the pending interrupt. Returns the old priority in bits 24-31 and the source
/// below; source 0 means that there was none.
#[inline]
pub fn h_xirr() -> u32 {
    // SAFETY: changes what the interrupt controller presents, nothing else.
    let (_, [xirr, ..]) = unsafe { hcall(Op::Xirr, []) };
    xirr as u32
}

/// XICS: ends the interrupt that [`h_xirr`] gave.
#[inline]
pub fn h_eoi(xirr: u32) -> Status {
    // SAFETY: changes what the interrupt controller presents, nothing else.
    unsafe { hcall(Op::Eoi, [xirr.into()]).0 }
}

/// XIVE: forgets every route and queue of the partition. Called once, before the first of them.
///
/// # Errors
/// The hypervisor's status; so for the calls below.
pub fn h_int_reset() -> Result<(), Status> {
    // SAFETY: the controller stores to no queue any more.
    unsafe { until_done(Op::IntReset, [0]) }.map(|_| ())
}

/// XIVE: the pages of the source `lisn`, by their real addresses: for management and for triggers.
/// [`h_int_esb`] is the substitute of the former, and the former that of the latter.
pub fn h_int_get_source_info(lisn: u32) -> Result<[Option<u64>; 2], Status> {
    // SAFETY: a question.
    let [_, management, trigger, _] = unsafe { until_done(Op::IntGetSourceInfo, [0, lisn.into()]) }?;
    Ok([management, trigger].map(|page| Some(page).filter(|&page| page != u64::MAX)))
}

/// XIVE: has the source `lisn` put its events into the queue of `server` for this priority; priority
/// 0xff: into none.
pub fn h_int_set_source_config(lisn: u32, server: u32, priority: u8) -> Result<(), Status> {
    let args = [0, lisn.into(), server.into(), priority.into()];
    // SAFETY: changes what the interrupt controller presents, nothing else.
    unsafe { until_done(Op::IntSetSourceConfig, args) }.map(|_| ())
}

/// XIVE: gives `server` a queue for events of this priority: 2^`log2_size` bytes at the real
/// address `queue`, aligned to their size. Size 0 takes the queue away.
///
/// # Safety
/// The memory is the controller's to write, until the queue is taken away.
pub unsafe fn h_int_set_queue_config(
    server: u32,
    priority: u8,
    queue: u64,
    log2_size: u32,
) -> Result<(), Status> {
    // Otherwise an event would interrupt only after the queue's own state was reset.
    const ALWAYS_NOTIFY: u64 = 1;
    let flags = if log2_size == 0 { 0 } else { ALWAYS_NOTIFY };
    let args = [flags, server.into(), priority.into(), queue, log2_size.into()];
    // SAFETY: the caller's promise.
    unsafe { until_done(Op::IntSetQueueConfig, args) }.map(|_| ())
}

/// XIVE: a load from the management page of a source that has none to map.
pub fn h_int_esb(lisn: u32, offset: u64) -> Result<u64, Status> {
    // SAFETY: changes what the interrupt controller presents, nothing else.
    unsafe { until_done(Op::IntEsb, [0, lisn.into(), offset]) }.map(|[value, ..]| value)
}

/// XIVE: waits until every event that the source `lisn` has raised is in its queue.
pub fn h_int_sync(lisn: u32) -> Result<(), Status> {
    // SAFETY: only waits.
    unsafe { until_done(Op::IntSync, [0, lisn.into()]) }.map(|_| ())
}

/// Invalidates translations for a partition that may not use `tlbie`.
/// [`crate::encoding::rpt_invalidate`] makes the arguments.
pub fn h_rpt_invalidate(args: &Arguments) -> Status {
    let status;
    // SAFETY: the register contract of `hcall`, with two more arguments. Forgetting
    // translations is always allowed.
    unsafe {
        asm!(
            "sc 1",
            inlateout("r3") H_RPT_INVALIDATE => status,
            inlateout("r4") args[0] => _, inlateout("r5") args[1] => _,
            inlateout("r6") args[2] => _, inlateout("r7") args[3] => _,
            inlateout("r8") args[4] => _, inlateout("r9") args[5] => _,
            lateout("r0") _, lateout("r10") _, lateout("r11") _, lateout("r12") _,
            lateout("ctr") _, lateout("xer") _, lateout("cr0") _, lateout("cr1") _,
            lateout("cr5") _, lateout("cr6") _, lateout("cr7") _,
            options(nostack),
        );
    }
    Status(status)
}
