//! Run-time abstraction services (PAPR chapter 7): power, processors, interrupts.
//!
//! The entry point that `instantiate-rtas` would hand out does one thing here: it
//! makes hypervisor call 0xf000 with the address of the arguments. We make that
//! call ourselves, so there is no blob to place and no mode to leave.
//!
//! RTAS is not reentrant: one lock, a leaf (no lock is taken under it), guards the
//! one argument buffer. The calls that end a CPU or the machine do without it: the
//! lock's owner may have been stopped while it held the lock.

use core::ffi::CStr;
use core::fmt::Write as _;
use core::sync::atomic::{AtomicU32, Ordering};

use spin::Mutex;
use volatile::VolatileRef;

use crate::console;
use crate::hcall::{Op, hcall};

/// The services in use. The tree names a token for each; 0 stands for none.
struct Tokens {
    power_off: AtomicU32,
    os_term: AtomicU32,
    start_cpu: AtomicU32,
    query_cpu_stopped_state: AtomicU32,
    stop_self: AtomicU32,
    set_xive: AtomicU32,
}

static TOKENS: Tokens = Tokens {
    power_off: AtomicU32::new(0),
    os_term: AtomicU32::new(0),
    start_cpu: AtomicU32::new(0),
    query_cpu_stopped_state: AtomicU32::new(0),
    stop_self: AtomicU32::new(0),
    set_xive: AtomicU32::new(0),
};

/// Routes an interrupt of XICS.
pub(crate) const SET_XIVE: &CStr = c"ibm,set-xive";

/// Records the tokens. `token` looks up a property of the node /rtas.
pub(crate) fn init(mut token: impl FnMut(&CStr) -> Option<u32>) {
    for (name, slot) in [
        (c"power-off", &TOKENS.power_off),
        (c"ibm,os-term", &TOKENS.os_term),
        (c"start-cpu", &TOKENS.start_cpu),
        (c"query-cpu-stopped-state", &TOKENS.query_cpu_stopped_state),
        (c"stop-self", &TOKENS.stop_self),
        (SET_XIVE, &TOKENS.set_xive),
    ] {
        slot.store(token(name).unwrap_or(0), Ordering::Relaxed);
    }
}

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The tree has no token for it.
    Missing,
    /// Its status: PAPR 7.3, negative as a rule.
    Status(i32),
}

/// Arguments as RTAS wants them: big-endian words in memory below 4 GB.
#[derive(Clone, Copy)]
#[repr(C)]
struct Args {
    token: u32,
    inputs: u32,
    outputs: u32,
    /// Inputs, then outputs; the first output is the status.
    slots: [u32; 6],
}

impl Args {
    const EMPTY: Self = Self { token: 0, inputs: 0, outputs: 0, slots: [0; 6] };
}

/// Buffers are statics: the image lies below 4 GB, a kernel stack may not. The lock
/// is held for one hypervisor call.
static SHARED: Mutex<Args> = Mutex::new(Args::EMPTY);

/// Arguments and text of a call that ends the machine.
struct LastWords {
    args: Args,
    text: [u8; 128],
}

/// Several, taken and never given back: a CPU that holds one may be stopped before
/// the call, and a second CPU in trouble must still get through. With all taken,
/// one of the holders will make the call.
static LAST_WORDS: [Mutex<LastWords>; 8] =
    [const { Mutex::new(LastWords { args: Args::EMPTY, text: [0; 128] }) }; 8];

/// Makes one call with `args` as the buffer. Returns the status and first result.
fn call_with<const N: usize>(
    args: &mut Args,
    token: &AtomicU32,
    inputs: [u32; N],
    outputs: u32,
) -> Result<u32, Error> {
    let token = token.load(Ordering::Relaxed);
    if token == 0 {
        return Err(Error::Missing);
    }
    let mut slots = [0; 6];
    slots[..N].copy_from_slice(&inputs);
    // Volatile: the hypervisor reads and writes the buffer behind the compiler's
    // back.
    let mut shared = VolatileRef::from_mut_ref(args);
    shared.as_mut_ptr().write(Args { token, inputs: N as u32, outputs, slots });
    let address = shared.as_mut_ptr().as_raw_ptr().expose_provenance().get() as u64;
    let real = address & 0x0fff_ffff_ffff_ffff;
    // SAFETY: RTAS writes `outputs` words after the inputs, which `slots` holds.
    // The caller answers for the effect of the service.
    let (status, _) = unsafe { hcall(Op::Rtas, [real, 0, 0, 0]) };
    if status.ok().is_err() {
        return Err(Error::Status(status.0 as i32));
    }
    let slots = shared.as_ptr().read().slots;
    match slots[N] as i32 {
        0 if outputs > 1 => Ok(slots[N + 1]),
        0 => Ok(0),
        status => Err(Error::Status(status)),
    }
}

/// Starts the CPU `server` at real address `entry` in 64-bit real mode, `argument`
/// in its r3. Not from an interrupt handler (the lock is not interrupt-safe).
///
/// A ceded CPU counts as stopped and would be *restarted*: the caller keeps its own
/// record of the CPUs that are online.
///
/// # Errors
/// RTAS's status, e.g. -2 for no such CPU.
///
/// # Safety
/// `entry` must be code for a CPU without stack, `argument` what it expects, and
/// the CPU not one that runs kernel code.
pub unsafe fn start_cpu(server: u32, entry: u32, argument: u32) -> Result<(), Error> {
    let mut args = SHARED.lock();
    call_with(&mut args, &TOKENS.start_cpu, [server, entry, argument], 1).map(|_| ())
}

/// Whether CPUs can be stopped, and seen to have stopped.
pub fn can_stop_cpus() -> bool {
    let known = |token: &AtomicU32| token.load(Ordering::Relaxed) != 0;
    known(&TOKENS.stop_self) && known(&TOKENS.query_cpu_stopped_state)
}

/// Whether the CPU `server` has stopped. RTAS answers true for a ceded CPU as well:
/// only the answer for a CPU that is known to have called [`stop_self`] means anything.
///
/// # Errors
/// RTAS's status.
pub fn query_cpu_stopped_state(server: u32) -> Result<bool, Error> {
    let mut args = SHARED.lock();
    let state = call_with(&mut args, &TOKENS.query_cpu_stopped_state, [server], 2)?;
    Ok(state == 0)
}

/// Routes the interrupt `source` to the CPU `server`, with `priority` (0xff: to no
/// CPU). Not from an interrupt handler (the lock is not interrupt-safe).
///
/// # Errors
/// RTAS's status, e.g. -3 for no such source.
pub(crate) fn set_xive(source: u32, server: u32, priority: u8) -> Result<(), Error> {
    let mut args = SHARED.lock();
    call_with(&mut args, &TOKENS.set_xive, [source, server, priority.into()], 1).map(|_| ())
}

/// Stops this CPU until the next [`start_cpu`]. Interrupts off.
///
/// # Errors
/// Returns only if RTAS refuses.
///
/// # Safety
/// Nothing may depend on this CPU any more.
pub unsafe fn stop_self() -> Error {
    // Not the shared buffer: its lock would stay held. RTAS only reads this buffer,
    // and all CPUs that stop write the words with equal values.
    static STOP: [AtomicU32; 4] = [const { AtomicU32::new(0) }; 4];
    let token = TOKENS.stop_self.load(Ordering::Relaxed);
    if token == 0 {
        return Error::Missing;
    }
    STOP[0].store(token, Ordering::Relaxed);
    let real = STOP.as_ptr().expose_provenance() as u64 & 0x0fff_ffff_ffff_ffff;
    // SAFETY: no inputs and no outputs; the caller's promise.
    let (status, _) = unsafe { hcall(Op::Rtas, [real, 0, 0, 0]) };
    Error::Status(status.0 as i32)
}

/// Switches the machine off; QEMU ends with status 0. Any context. Without that
/// service it makes the call of [`os_term`]: better a wrong status than a machine
/// that stays on.
pub fn power_off() -> ! {
    if let Some(mut last) = LAST_WORDS.iter().find_map(Mutex::try_lock) {
        switch_off(&mut last.args);
        terminate(&mut last, "there is no power-off");
    }
    halt()
}

/// Reports to the hypervisor that the kernel has died, with `message` (its first
/// 127 bytes). QEMU ends, with status 1 under `-action panic=exit-failure`. Any
/// context. Without that service it makes the call of [`power_off`].
pub fn os_term(message: &str) -> ! {
    if let Some(mut last) = LAST_WORDS.iter().find_map(Mutex::try_lock) {
        terminate(&mut last, message);
        switch_off(&mut last.args);
    }
    halt()
}

/// The call behind [`os_term`]. The machine may run on afterwards, even if the call
/// succeeds: its owner decides what becomes of a dead guest.
fn terminate(last: &mut LastWords, message: &str) {
    let LastWords { args, text } = last;
    let length = message.len().min(text.len() - 1);
    text[..length].copy_from_slice(&message.as_bytes()[..length]);
    let real = text.as_ptr().expose_provenance() as u32;
    let _ = call_with(args, &TOKENS.os_term, [real], 1);
}

/// Returns only if the machine stays on. Both masks are all ones: no power-on event
/// is to wake it again.
fn switch_off(args: &mut Args) {
    if let Err(error) = call_with(args, &TOKENS.power_off, [u32::MAX, u32::MAX], 1) {
        let _ = writeln!(console::Writer, "rtas: power-off refused: {error:?}");
    }
}

/// Waits until the machine is gone, for ever if it cannot be ended.
fn halt() -> ! {
    loop {
        core::hint::spin_loop();
    }
}
