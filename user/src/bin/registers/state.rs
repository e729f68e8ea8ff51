//! All registers of a program as values, and the routines that load and store them.

use alloc::string::String;
use core::arch::global_asm;
use core::mem::{MaybeUninit, offset_of};

use user::verdict::format;

/// Everything that a program can see of its registers, in doublewords.
#[derive(Clone)]
#[repr(C, align(16))]
pub(crate) struct Registers {
    pub(crate) gpr: [u64; 32],
    lr: u64,
    ctr: u64,
    xer: u64,
    cr: u64,
    vrsave: u64,
    fpscr: u64,
    /// In the last word.
    vscr: [u64; 2],
    vsr: [[u64; 2]; 64],
}

const WORDS: usize = size_of::<Registers>() / 8;

// The bits of a register that keep any value and have no effect.
const XER_BITS: u64 = 0xe00c_007f;
const WORD_BITS: u64 = 0xffff_ffff;
/// Decimal rounding mode; sticky bits of exceptions that are not enabled, result class,
/// NI and rounding mode.
const FPSCR_BITS: u64 = 0x7_9e07_f007;
/// NJ, which a program starts with on Linux, and SAT.
const VSCR_BITS: u64 = 0x1_0001;
pub(crate) const VSCR_NJ: u64 = 0x1_0000;

global_asm!(
    include_str!("windows.S"),
    LR = const offset_of!(Registers, lr),
    CTR = const offset_of!(Registers, ctr),
    XER = const offset_of!(Registers, xer),
    CR = const offset_of!(Registers, cr),
    VRSAVE = const offset_of!(Registers, vrsave),
    FPSCR = const offset_of!(Registers, fpscr),
    VSCR = const offset_of!(Registers, vscr),
    VSR = const offset_of!(Registers, vsr),
    SPOILT = sym SPOILT,
    note = sym super::rain::note,
);

/// A routine of `windows.S`.
pub(crate) type Window = unsafe extern "C" fn(*const Registers, *mut Registers);

unsafe extern "C" {
    pub(crate) fn window_spin(load: *const Registers, store: *mut Registers);
    pub(crate) fn window_call(load: *const Registers, store: *mut Registers);
    pub(crate) fn window_trap(load: *const Registers, store: *mut Registers);
    pub(crate) fn window_store(load: *const Registers, store: *mut Registers);
    pub(crate) fn vectors_load(from: *const Registers);
    fn vectors_store(to: *mut Registers);
    /// The FPSCR of this moment.
    pub(crate) safe fn fpscr() -> u64;
}

/// The values that the signals' handler leaves in the registers.
static SPOILT: Registers = Registers::pattern(0xdead);

/// Which registers an instruction must preserve.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Every one.
    All,
    /// The registers that Linux preserves across `sc`: r13 to r31, r2, LR, CR2 to CR4,
    /// and the vectors with their status registers.
    AcrossCall,
    /// The vectors, FPSCR, VSCR and VRSAVE.
    Vectors,
}

impl Kept {
    /// The bits of doubleword `at` of a [`Registers`] that are kept.
    fn bits(self, at: usize) -> u64 {
        const LR: usize = offset_of!(Registers, lr) / 8;
        const CR: usize = offset_of!(Registers, cr) / 8;
        const VRSAVE: usize = offset_of!(Registers, vrsave) / 8;
        match (self, at) {
            // A window needs its own.
            (_, 1) => 0,
            (Self::All, _) | (_, VRSAVE..) | (Self::AcrossCall, 2 | 13..=LR) => !0,
            (Self::AcrossCall, CR) => 0x00ff_f000,
            _ => 0,
        }
    }
}

impl Registers {
    /// Values that identify `seed` and register, where a register can have any.
    pub(crate) const fn pattern(seed: u64) -> Self {
        const fn value(seed: u64, at: usize) -> u64 {
            // Odd: different for each (seed, at).
            (seed << 16 | at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        }
        let mut new = Registers {
            lr: value(seed, 256) & !3,
            ctr: value(seed, 257),
            xer: value(seed, 258) >> 32 & XER_BITS,
            cr: value(seed, 259) >> 32,
            vrsave: value(seed, 260) >> 32 & WORD_BITS,
            fpscr: value(seed, 261) >> 24 & FPSCR_BITS,
            ..Self::zero(value(seed, 262) >> 32 & VSCR_BITS)
        };
        let mut n = 0;
        while n < 64 {
            new.vsr[n] = [value(seed, 2 * n), value(seed, 2 * n + 1)];
            new.gpr[n / 2] = value(seed, 512 + n / 2);
            n += 1;
        }
        new
    }

    /// Loads these, runs the instruction of `window`, and returns the registers after it.
    pub(crate) fn through(&self, window: Window) -> Registers {
        let mut after = MaybeUninit::uninit();
        // SAFETY: a window reads one, writes the other, and preserves what a function
        // must; compiled code uses no vectors. The instruction is the caller's choice: a
        // store, or a call, that does no harm.
        unsafe {
            window(self, after.as_mut_ptr());
            after.assume_init_mut().gpr[1] = 0;
            after.assume_init()
        }
    }

    /// Loads the vectors. They stay until others are loaded: compiled code uses none.
    pub(crate) fn load_vectors(&self) {
        // SAFETY: reads `self`.
        unsafe { vectors_load(self) };
    }

    /// All zero but the VSCR.
    pub(crate) const fn zero(vscr: u64) -> Self {
        let (vscr, vsr) = ([0, vscr], [[0; 2]; 64]);
        Registers { gpr: [0; 32], lr: 0, ctr: 0, xer: 0, cr: 0, vrsave: 0, fpscr: 0, vscr, vsr }
    }

    /// The vectors of this moment; the rest is 0.
    pub(crate) fn with_vectors_of_now() -> Registers {
        let mut now = Self::zero(0);
        // SAFETY: writes `now`.
        unsafe { vectors_store(&mut now) };
        now
    }

    fn words(&self) -> &[u64; WORDS] {
        // SAFETY: doublewords without gaps.
        unsafe { &*core::ptr::from_ref(self).cast() }
    }

    /// Checks that the registers of `kept` are those of `before`.
    pub(crate) fn check(&self, before: &Registers, kept: Kept) -> Result<(), String> {
        let pairs = self.words().iter().zip(before.words()).enumerate();
        let wrong = pairs.map(|(at, (now, then))| (at, *now, *then));
        match wrong.into_iter().find(|&(at, now, then)| (now ^ then) & kept.bits(at) != 0) {
            None => Ok(()),
            Some((at, now, then)) => Err(format!("{} is {now:#x}, was {then:#x}", name(at))),
        }
    }
}

/// The name of doubleword `at` of a [`Registers`].
fn name(at: usize) -> String {
    const NAMES: [&str; 8] = ["LR", "CTR", "XER", "CR", "VRSAVE", "FPSCR", "VSCR's left half", "VSCR"];
    match at {
        0..32 => format!("r{at}"),
        32..40 => NAMES[at - 32].into(),
        _ => format!("half {} of VSR {}", at % 2, (at - 40) / 2),
    }
}
