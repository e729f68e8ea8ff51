//! Keys of the auxiliary vector (Linux `uapi/linux/auxvec.h`) that programs read.

/// Size of a page in bytes.
pub const AT_PAGESZ: usize = 6;
/// The program's entry point.
pub const AT_ENTRY: usize = 9;
/// The processor's features, see `HWCAP_*`.
pub const AT_HWCAP: usize = 16;

/// `AT_HWCAP`: AltiVec registers may be used.
pub const HWCAP_ALTIVEC: usize = 0x1000_0000;
/// `AT_HWCAP`: VSX registers may be used.
pub const HWCAP_VSX: usize = 0x80;

/// The name of a key, for people.
#[must_use]
pub fn name(key: usize) -> &'static str {
    match key {
        3 => "AT_PHDR",
        4 => "AT_PHENT",
        5 => "AT_PHNUM",
        AT_PAGESZ => "AT_PAGESZ",
        7 => "AT_BASE",
        8 => "AT_FLAGS",
        AT_ENTRY => "AT_ENTRY",
        11 => "AT_UID",
        12 => "AT_EUID",
        13 => "AT_GID",
        14 => "AT_EGID",
        15 => "AT_PLATFORM",
        AT_HWCAP => "AT_HWCAP",
        17 => "AT_CLKTCK",
        19 => "AT_DCACHEBSIZE",
        20 => "AT_ICACHEBSIZE",
        21 => "AT_UCACHEBSIZE",
        22 => "AT_IGNOREPPC",
        23 => "AT_SECURE",
        25 => "AT_RANDOM",
        26 => "AT_HWCAP2",
        31 => "AT_EXECFN",
        33 => "AT_SYSINFO_EHDR",
        51 => "AT_MINSIGSTKSZ",
        _ => "AT_?",
    }
}
