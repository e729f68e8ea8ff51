//! Register numbers and register bits (Power ISA 3.0B, Book III).
//!
//! The ISA numbers bits from the left; these are ordinary masks.

use bitflags::bitflags;

/// Special-purpose register numbers.
pub mod spr {
    /// Authority mask: whether data of a page class may be read or written.
    pub const AMR: u32 = 29;
    /// Cause of a data storage interrupt.
    pub const DSISR: u32 = 18;
    /// Address of a data storage or alignment interrupt.
    pub const DAR: u32 = 19;
    /// Decrementer: an interrupt when it turns negative.
    pub const DEC: u32 = 22;
    /// Save/restore 0: where an interrupt will return to.
    pub const SRR0: u32 = 26;
    /// Save/restore 1: the MSR that an interrupt will return to.
    pub const SRR1: u32 = 27;
    /// Process id: the process-table entry of quadrant 0.
    pub const PIDR: u32 = 48;
    /// Instruction authority mask: whether a page class may be executed.
    pub const IAMR: u32 = 61;
    /// Facility status and control, with the cause of an 0xf60.
    pub const FSCR: u32 = 153;
    /// Which AMR bits a user program may change.
    pub const UAMOR: u32 = 157;
    /// Vector-register save mask, user-owned.
    pub const VRSAVE: u32 = 256;
    /// Time base, for reading.
    pub const TB: u32 = 268;
    /// Points to this CPU's `PerCpu`.
    pub const SPRG0: u32 = 272;
    /// Scratch of the common interrupt prolog.
    pub const SPRG1: u32 = 273;
    /// Scratch of the NMI prolog, which may interrupt the common one.
    pub const SPRG2: u32 = 274;
    /// Processor version.
    pub const PVR: u32 = 287;
    /// Program priority, user-owned.
    pub const PPR: u32 = 896;
}

bitflags! {
    /// Machine state register.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Msr: u64 {
        /// 64-bit mode.
        const SF = 1 << 63;
        /// Vector (VMX) available.
        const VEC = 1 << 25;
        /// VSX available.
        const VSX = 1 << 23;
        /// External interrupts and decrementer enabled.
        const EE = 1 << 15;
        /// Problem (user) state.
        const PR = 1 << 14;
        /// Floating point available.
        const FP = 1 << 13;
        /// Machine checks enabled.
        const ME = 1 << 12;
        /// Floating-point exceptions that the FPSCR enables, with [`Self::FE1`]: precise.
        const FE0 = 1 << 11;
        /// Single step.
        const SE = 1 << 10;
        /// Branch trace.
        const BE = 1 << 9;
        /// See [`Self::FE0`].
        const FE1 = 1 << 8;
        /// Instruction relocation.
        const IR = 1 << 5;
        /// Data relocation.
        const DR = 1 << 4;
        /// SRR0 and SRR1 hold nothing live: an NMI may return.
        const RI = 1 << 1;
        /// Little-endian.
        const LE = 1 << 0;
        /// The facilities of all lazily loaded register state.
        const VECTOR_STATE = Self::FP.bits() | Self::VEC.bits() | Self::VSX.bits();
        /// The kernel with interrupts off.
        const KERNEL = Self::SF.bits() | Self::ME.bits() | Self::IR.bits() | Self::DR.bits() | Self::RI.bits();
        /// A user program. The FPSCR chooses its floating-point exceptions.
        const USER =
            Self::KERNEL.bits() | Self::EE.bits() | Self::PR.bits() | Self::FE0.bits() | Self::FE1.bits();
        const _ = !0;
    }
}

bitflags! {
    /// Cause of a data (0x300) storage interrupt. An instruction (0x400) storage
    /// interrupt has these bits in SRR1, and [`Self::NOEXEC`] besides.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Dsisr: u64 {
        /// No translation.
        const NOHPTE = 0x4000_0000;
        /// 0x400 only: the page or its class is not executable.
        const NOEXEC = 0x1000_0000;
        /// The translation does not permit the access.
        const PROTFAULT = 0x0800_0000;
        /// The access was a store.
        const STORE = 0x0200_0000;
        /// Refused by the AMR.
        const KEYFAULT = 0x0020_0000;
        /// A malformed tree or process-table entry.
        const BADCONFIG = 0x0008_0000;
        /// The R or C bit would have to be set, and software does that.
        const RC_UPDATE = 0x0004_0000;
        const _ = !0;
    }
}

/// Bits of SRR1 that distinguish the causes of a program interrupt (0x700).
pub mod srr1_program {
    /// A privileged instruction in problem state.
    pub const PRIVILEGED: u64 = 0x4_0000;
    /// A trap instruction.
    pub const TRAP: u64 = 0x2_0000;
    /// An enabled floating-point exception.
    pub const FP_ENABLED: u64 = 0x10_0000;
}

/// AMR with everything closed: the kernel may not touch user pages.
///
/// On radix the AMR rules *privileged* accesses to non-privileged pages only (ISA 3.0B,
/// Book III, 5.7.11.3). It does not concern user programs, so it stays closed in user
/// mode too, and entry and exit need not change it.
pub const AMR_CLOSED: u64 = !0;
/// AMR inside a user copy.
pub const AMR_OPEN: u64 = 0;
/// IAMR that forbids the kernel to execute user pages. Like the AMR, it does not concern
/// user programs.
pub const IAMR_KERNEL_NO_EXEC: u64 = 0x4000_0000_0000_0000;

#[cfg(test)]
mod tests {
    use super::{Dsisr, IAMR_KERNEL_NO_EXEC, Msr, spr, srr1_program};

    /// A bit of 64 as the ISA numbers it: 0 is the leftmost.
    fn isa(bit: u32) -> u64 {
        1 << (63 - bit)
    }

    #[test]
    fn msr_as_the_isa_numbers_it() {
        let bits = [
            (Msr::SF, 0),
            (Msr::VEC, 38),
            (Msr::VSX, 40),
            (Msr::EE, 48),
            (Msr::PR, 49),
            (Msr::FP, 50),
            (Msr::ME, 51),
            (Msr::FE0, 52),
            (Msr::SE, 53),
            (Msr::BE, 54),
            (Msr::FE1, 55),
            (Msr::IR, 58),
            (Msr::DR, 59),
            (Msr::RI, 62),
            (Msr::LE, 63),
        ];
        bits.into_iter().for_each(|(flag, bit)| assert_eq!(flag.bits(), isa(bit), "{flag:?}"));
        assert_eq!(Msr::KERNEL.bits(), [0, 51, 58, 59, 62].map(isa).iter().sum());
        assert_eq!(Msr::USER.bits(), [0, 48, 49, 51, 52, 55, 58, 59, 62].map(isa).iter().sum());
    }

    #[test]
    fn causes_as_the_isa_numbers_them() {
        let bits = [
            (Dsisr::NOHPTE, 33),
            (Dsisr::NOEXEC, 35),
            (Dsisr::PROTFAULT, 36),
            (Dsisr::STORE, 38),
            (Dsisr::KEYFAULT, 42),
            (Dsisr::BADCONFIG, 44),
            (Dsisr::RC_UPDATE, 45),
        ];
        bits.into_iter().for_each(|(flag, bit)| assert_eq!(flag.bits(), isa(bit), "{flag:?}"));
        let program = [srr1_program::FP_ENABLED, srr1_program::PRIVILEGED, srr1_program::TRAP];
        assert_eq!(program, [43, 45, 46].map(isa));
        // Class 0 has the first two bits of the IAMR; the second forbids execution.
        assert_eq!(IAMR_KERNEL_NO_EXEC, isa(1));
    }

    #[test]
    fn special_registers_as_the_isa_numbers_them() {
        assert_eq!([spr::DSISR, spr::DAR, spr::DEC, spr::SRR0, spr::SRR1], [18, 19, 22, 26, 27]);
        assert_eq!([spr::AMR, spr::PIDR, spr::IAMR, spr::FSCR, spr::UAMOR], [29, 48, 61, 153, 157]);
        assert_eq!([spr::VRSAVE, spr::TB, spr::PVR, spr::PPR], [256, 268, 287, 896]);
        assert_eq!([spr::SPRG0, spr::SPRG1, spr::SPRG2], [272, 273, 274]);
    }
}
