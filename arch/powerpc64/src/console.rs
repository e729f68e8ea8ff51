//! The console: PAPR's virtual terminal, 16 bytes per hypervisor call.
//!
//! There is no lock, and no interrupt until [`enable_interrupt`]: the console works
//! from the first line of Rust to the last words of a panic. A caller that needs
//! whole lines holds a lock of its own.

use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::hcall::{self, Status};
use crate::irq::{self, InterruptController as _};
use crate::isa;

/// The unit address of the terminal. PAPR lets 0 stand for the first one, which
/// is right until the firmware has named another.
static UNIT: AtomicU32 = AtomicU32::new(0);

/// The number of its interrupt; 0 for none.
static SOURCE: AtomicU32 = AtomicU32::new(0);

/// How long a full terminal may delay a writer before a piece is dropped: 0.2 s of
/// the 512 MHz that every timebase of the architecture since POWER6 has.
const BUSY_LIMIT_TB: u64 = 512_000_000 / 5;

/// Names the terminal: the unit address in its `reg` property, and the source in
/// its `interrupts`, if it has one.
pub(crate) fn set_unit(unit: u32, source: Option<u32>) {
    UNIT.store(unit, Ordering::Relaxed);
    SOURCE.store(source.unwrap_or(0), Ordering::Relaxed);
}

/// The number of its interrupt, if it has one.
pub(crate) fn source() -> Option<u32> {
    Some(SOURCE.load(Ordering::Relaxed)).filter(|&source| source != 0)
}

/// Has the terminal interrupt the CPU `server` when something is typed after
/// [`read_byte`] returned None. Returns the source of that interrupt, or None if
/// the platform has no such interrupt and the terminal must be polled. Not from an
/// interrupt handler.
pub fn enable_interrupt(server: u32) -> Option<u32> {
    let source = source()?;
    // A terminal signals always: it lacks the switch (H_VIO_SIGNAL) of other
    // virtual devices. Only the controller can turn it off.
    irq::controller().route(source, server).ok()?;
    Some(source)
}

/// Writes `bytes`. A piece that the terminal refuses for too long, or a piece
/// without a terminal, is lost: a console must not stop the kernel. Any context.
pub fn write_bytes(bytes: &[u8]) {
    let unit = UNIT.load(Ordering::Relaxed);
    for piece in bytes.chunks(16) {
        let mut data = [0; 16];
        data[..piece.len()].copy_from_slice(piece);
        let data = u128::from_be_bytes(data);
        let start = isa::mftb();
        while hcall::h_put_term_char(unit, piece.len(), [(data >> 64) as u64, data as u64]) == Status::BUSY {
            if isa::mftb().wrapping_sub(start) > BUSY_LIMIT_TB {
                break;
            }
        }
    }
}

/// The bytes that the last hypervisor call read beyond the wanted one,
/// left-justified. [`PENDING_BYTES`] counts them.
static PENDING: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];
static PENDING_BYTES: AtomicU32 = AtomicU32::new(0);

/// The next byte that was typed, if there is one; never waits. The caller ensures
/// that there is one reader at a time (a second one could lose bytes, no more).
pub fn read_byte() -> Option<u8> {
    let mut count = PENDING_BYTES.load(Ordering::Relaxed) as usize;
    let data = if count == 0 {
        let (length, data) = hcall::h_get_term_char(UNIT.load(Ordering::Relaxed)).ok()?;
        count = length;
        u128::from(data[0]) << 64 | u128::from(data[1])
    } else {
        let [high, low] = [0, 1].map(|i: usize| PENDING[i].load(Ordering::Relaxed));
        u128::from(high) << 64 | u128::from(low)
    };
    if count == 0 {
        return None;
    }
    let rest = data << 8;
    PENDING[0].store((rest >> 64) as u64, Ordering::Relaxed);
    PENDING[1].store(rest as u64, Ordering::Relaxed);
    PENDING_BYTES.store(count as u32 - 1, Ordering::Relaxed);
    Some((data >> 120) as u8)
}

/// The console as a sink for `write!`.
#[derive(Clone, Copy, Debug)]
pub struct Writer;

impl fmt::Write for Writer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_bytes(text.as_bytes());
        Ok(())
    }
}
