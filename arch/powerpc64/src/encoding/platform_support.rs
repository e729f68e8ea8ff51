//! The agreement of kernel and platform at boot: PAPR's architecture vector.
//!
//! The platform offers (`ibm,arch-vec-5-platform-support`), the kernel asks
//! (`ibm,client-architecture-support`, PAPR B.6.2.4), the platform grants
//! (`ibm,architecture-vec-5`). The kernel wants the radix MMU, guest translation
//! shootdown (GTSE: `tlbie` is legal in the guest) and an interrupt controller,
//! either of the two; it can do without GTSE.

/// Byte of option vector 5: interrupt controller.
const INTERRUPTS: usize = 23;
/// Byte of option vector 5: MMU.
const MMU: usize = 24;
/// Byte of option vector 5: operations that a radix guest may do itself.
const RADIX_OPTIONS: usize = 26;

/// The two bits that choose an interrupt controller or an MMU.
const CHOICE: u8 = 0xc0;
/// In [`INTERRUPTS`]: XIVE, and nothing else. 0 stands for XICS, and nothing else; offers also know
/// 0x80, "either".
const XIVE: u8 = 0x40;
/// In [`MMU`]: radix. Offers also know 0x80 and 0xc0, "either".
const RADIX: u8 = 0x40;
/// In [`RADIX_OPTIONS`]: guest translation shootdown enable.
const GTSE: u8 = 0x40;
/// Byte 2 of option vector 5: the kernel reads dynamic memory properties.
const DYNAMIC_RECONFIGURATION: u8 = 0x20;

/// The facilities that a platform offers, or has granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Support {
    /// The radix MMU.
    pub radix: bool,
    /// Guest translation shootdown.
    pub gtse: bool,
    /// The interrupt controller; None in an offer of both.
    pub interrupts: Option<Interrupts>,
}

/// An interrupt controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupts {
    /// Hypervisor calls.
    Xics,
    /// Loads and stores: PAPR's "XIVE native exploitation mode".
    Xive,
}

impl Interrupts {
    /// The controller of this name on the command line.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Xics, Self::Xive].into_iter().find(|one| one.option() == name)
    }

    /// Its name on the command line, as QEMU's `ic-mode=` has it.
    #[must_use]
    pub fn option(self) -> &'static str {
        match self {
            Self::Xics => "xics",
            Self::Xive => "xive",
        }
    }

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Xics => "XICS",
            Self::Xive => "XIVE",
        }
    }

    /// The choice in a byte of [`INTERRUPTS`].
    fn chosen(byte: u8) -> Option<Self> {
        match byte & CHOICE {
            0 => Some(Self::Xics),
            XIVE => Some(Self::Xive),
            _ => None,
        }
    }
}

impl Support {
    /// Reads an offer: pairs of byte number and value. A platform without a pair
    /// is older than the choice: hash MMU, XICS.
    #[must_use]
    pub fn offered(pairs: &[u8]) -> Self {
        let byte = |number: usize| {
            let pair = pairs.as_chunks().0.iter().find(|[index, _]| usize::from(*index) == number);
            pair.map_or(0, |[_, value]| *value)
        };
        Self {
            radix: byte(MMU) & CHOICE != 0,
            gtse: byte(RADIX_OPTIONS) & GTSE != 0,
            interrupts: Interrupts::chosen(byte(INTERRUPTS)),
        }
    }

    /// Reads a grant: option vector 5 with its length byte first, cut after the
    /// last byte that is not 0.
    #[must_use]
    pub fn granted(vector: &[u8]) -> Self {
        let byte = |number: usize| vector.get(number).copied().unwrap_or(0);
        Self {
            radix: byte(MMU) & CHOICE == RADIX,
            gtse: byte(RADIX_OPTIONS) & GTSE != 0,
            interrupts: Interrupts::chosen(byte(INTERRUPTS)),
        }
    }
}

/// The means to invalidate translations on every CPU of the partition, and in coprocessors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broadcast {
    /// The instruction.
    Tlbie,
    /// The hypercall H_RPT_INVALIDATE.
    Hypercall,
    /// None: each CPU must do it for itself, by `tlbiel`.
    Nothing,
}

impl Broadcast {
    /// The means of a partition with this grant. `hypertas`: the strings of
    /// `ibm,hypertas-functions`, each ended by a NUL.
    #[must_use]
    pub fn of(granted: Support, hypertas: &[u8]) -> Self {
        if granted.gtse {
            Self::Tlbie
        } else if hypertas.split(|&byte| byte == 0).any(|name| name == b"hcall-rpt-invalidate") {
            Self::Hypercall
        } else {
            Self::Nothing
        }
    }

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tlbie => "tlbie",
            Self::Hypercall => "H_RPT_INVALIDATE",
            Self::Nothing => "nothing",
        }
    }
}

/// Processors that the kernel runs on, as (mask, value) of the version register,
/// ended by an entry that matches everything.
const PROCESSORS: [(u32, u32); 7] = [
    (0xffff_0000, 0x004e_0000), // POWER9
    (0xffff_0000, 0x0080_0000), // POWER10
    (0xffff_0000, 0x0082_0000), // POWER11
    (0xffff_ffff, 0x0f00_0005), // architecture level 3.00
    (0xffff_ffff, 0x0f00_0006), // 3.1
    (0xffff_ffff, 0x0f00_0007), // 3.1, with POWER11's additions
    (0x0000_0000, 0xffff_ffff),
];

/// Option vectors 1 to 4. Each starts with its length less one. Vector 1 byte 3:
/// architecture level 3.00. 0x80 in the others means "ignore".
const VECTORS_1_TO_4: [u8; 10] = [2, 0, 0, 0x80, 0, 0x80, 0, 0x80, 0, 0x80];

/// Option vector 5 with its length byte.
const VECTOR_5_BYTES: usize = RADIX_OPTIONS + 1;

/// Bytes of a [`request`].
pub const REQUEST_BYTES: usize = PROCESSORS.len() * 8 + 1 + VECTORS_1_TO_4.len() + VECTOR_5_BYTES;

/// The kernel's request: radix, `interrupts`, and GTSE if `gtse`.
///
/// It never asks for "either": the choice is the kernel's, and the platform ends
/// a guest that leaves it open.
#[must_use]
pub fn request(gtse: bool, interrupts: Interrupts) -> [u8; REQUEST_BYTES] {
    let mut vector_5 = [0; VECTOR_5_BYTES];
    vector_5[0] = VECTOR_5_BYTES as u8 - 2;
    vector_5[2] = DYNAMIC_RECONFIGURATION;
    vector_5[INTERRUPTS] = if interrupts == Interrupts::Xive { XIVE } else { 0 };
    vector_5[MMU] = RADIX;
    vector_5[RADIX_OPTIONS] = if gtse { GTSE } else { 0 };

    let words = PROCESSORS.into_iter().flat_map(|(mask, value)| [mask, value]);
    // The number of option vectors, less one.
    let options = [4].into_iter().chain(VECTORS_1_TO_4).chain(vector_5);
    let mut request = [0; REQUEST_BYTES];
    let bytes = words.flat_map(u32::to_be_bytes).chain(options);
    request.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_by_name() {
        assert_eq!(Interrupts::from_name("xive"), Some(Interrupts::Xive));
        assert_eq!(Interrupts::from_name("xics"), Some(Interrupts::Xics));
        assert_eq!(["XIVE", ""].map(Interrupts::from_name), [None; 2]);
    }

    #[test]
    fn offers_of_real_machines() {
        let all = Support { radix: true, gtse: true, interrupts: None };
        let pseries = [0x17, 0x80, 0x18, 0xc0, 0x19, 0x00, 0x1a, 0x40];
        assert_eq!(Support::offered(&pseries), all);
        let xive_only = [0x17, 0x40, 0x18, 0xc0, 0x19, 0x00, 0x1a, 0x40];
        assert_eq!(Support::offered(&xive_only), Support { interrupts: Some(Interrupts::Xive), ..all });
        let xics_only = [0x17, 0x00, 0x18, 0xc0, 0x19, 0x00, 0x1a, 0x40];
        assert_eq!(Support::offered(&xics_only), Support { interrupts: Some(Interrupts::Xics), ..all });
        let power8 = [0x17, 0x00, 0x18, 0x00, 0x19, 0x00, 0x1a, 0x00];
        let hash = Support { radix: false, gtse: false, interrupts: Some(Interrupts::Xics) };
        assert_eq!(Support::offered(&power8), hash);
        assert_eq!(Support::offered(&[]), hash);
        assert_eq!(Support::offered(&[0x18]), hash);
    }

    #[test]
    fn grants_of_real_machines() {
        let mut grant = [0; 27];
        (grant[0], grant[2], grant[24], grant[26]) = (0x19, 0x20, 0x40, 0x40);
        let xics = Support { radix: true, gtse: true, interrupts: Some(Interrupts::Xics) };
        assert_eq!(Support::granted(&grant), xics);
        grant[23] = 0x40;
        assert_eq!(Support::granted(&grant), Support { interrupts: Some(Interrupts::Xive), ..xics });
        // Cut after byte 24: no GTSE. Before any negotiation: two zeros.
        assert!(!Support::granted(&grant[..25]).gtse);
        assert!(!Support::granted(&[0, 0]).radix);
    }

    #[test]
    fn a_tlbie_takes_a_grant() {
        let mut grant = [0; 27];
        (grant[0], grant[24], grant[26]) = (0x19, 0x40, 0x40);
        let with = Support::granted(&grant);
        // The answers to the wish for GTSE that refuse it: the bit clear, the vector shorter.
        grant[26] = !0x40;
        let refused = [Support::granted(&grant), Support::granted(&grant[..25])];
        let (can, cannot) =
            (b"hcall-vio\0hcall-rpt-invalidate\0".as_slice(), b"hcall-rpt\0invalidate".as_slice());
        assert_eq!([can, cannot, b""].map(|functions| Broadcast::of(with, functions)), [Broadcast::Tlbie; 3]);
        for support in refused {
            assert_eq!(Broadcast::of(support, can), Broadcast::Hypercall);
            assert_eq!(
                [cannot, b""].map(|functions| Broadcast::of(support, functions)),
                [Broadcast::Nothing; 2]
            );
        }
    }

    #[test]
    fn the_request_is_byte_for_byte_what_papr_lays_out() {
        let request = request(true, Interrupts::Xics);
        let (processors, options) = request.split_at(56);
        assert_eq!(processors[..8], [0xff, 0xff, 0, 0, 0, 0x4e, 0, 0]);
        assert_eq!(processors[48..], [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(options[..11], [4, 2, 0, 0, 0x80, 0, 0x80, 0, 0x80, 0, 0x80]);
        let vector_5 = &options[11..];
        assert_eq!(vector_5.len(), 27);
        assert_eq!(usize::from(vector_5[0]) + 2, vector_5.len());
        assert_eq!((vector_5[2], vector_5[23], vector_5[24], vector_5[26]), (0x20, 0, 0x40, 0x40));
        let other = super::request(false, Interrupts::Xive);
        assert_eq!((other[56 + 11 + 23], other[REQUEST_BYTES - 1]), (0x40, 0));
    }
}
