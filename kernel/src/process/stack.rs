//! The first contents of a program's stack: arguments, environment and the auxiliary vector (System
//! V ABI, PowerPC64 supplement, "process initialization").

use alloc::boxed::Box;
use alloc::vec::Vec;

use arch::addr::PAGE_SIZE;
use kcore::mm::MmId;

use super::limits::{self, Resource};
use super::load::Loaded;
use super::random;
use crate::clock::TICKS_PER_S;
use crate::errno::Errno;
use crate::memory::heap;
use crate::mm::{self, Backing, MapFlags, Prot};

/// The most that arguments and environment may take, with their pointers.
pub(crate) const ARGUMENTS_MAX: usize = 256 * 1024;
/// The stack that a program starts with; it grows.
const FIRST_BYTES: u64 = ARGUMENTS_MAX as u64 + (128 << 10);
/// Bytes of heap for building the image: strings and words grow by doubling, and are put together
/// in the end.
const HEAP_BYTES: usize = 4 * ARGUMENTS_MAX;

/// AT_HWCAP: 64-bit, AltiVec, FPU, DFP, ISA 2.06, VSX.
const HWCAP: u64 = 0x5800_0580;
/// AT_HWCAP2: ISA 2.07, isel, vector crypto, ISA 3.00, IEEE 128, darn. Without the facilities that
/// the kernel leaves off: HTM, `scv`, and those that FSCR guards.
const HWCAP2: u64 = 0x8ae0_0000;
/// The processor's data and instruction cache line.
const CACHE_LINE: u64 = 128;

/// The strings that exec passes on.
pub(crate) struct Arguments {
    /// argv. The bytes need not be text.
    pub(crate) arguments: Vec<Vec<u8>>,
    /// envp.
    pub(crate) environment: Vec<Vec<u8>>,
}

/// The stack's contents, built from the top down.
struct Image {
    /// In the order of addresses; its last byte is below `top`.
    strings: Vec<u8>,
    top: u64,
}

impl Image {
    /// The address of the string that starts at `offset`.
    fn address(&self, offset: usize) -> u64 {
        self.top - self.strings.len() as u64 + offset as u64
    }

    fn push(&mut self, bytes: &[u8]) -> usize {
        self.strings.extend_from_slice(bytes);
        self.strings.len() - bytes.len()
    }

    fn push_strings(&mut self, strings: &[Vec<u8>]) -> Vec<usize> {
        let push = |string: &Vec<u8>| {
            let at = self.push(string);
            self.push(&[0]);
            at
        };
        strings.iter().map(push).collect()
    }
}

/// Makes the stack of the program `path` in `mm`; returns its stack pointer, and the auxiliary
/// vector that lies there. `E2BIG` if it does not fit.
pub(super) fn build(
    mm: MmId,
    program: &Loaded,
    path: &str,
    passed: &Arguments,
) -> Result<(u64, AuxiliaryVector), Errno> {
    let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED | MapFlags::GROWSDOWN;
    let base = mm::STACK_TOP - FIRST_BYTES;
    mm::mmap(mm, base, FIRST_BYTES, Prot::READ | Prot::WRITE, flags, Backing::Anonymous)?;

    let strings = || passed.arguments.iter().chain(&passed.environment);
    let size: usize = strings().map(|string| string.len() + 1 + size_of::<u64>()).sum();
    if size as u64 > most_arguments() {
        return Err(Errno::E2BIG);
    }
    heap::check_room(HEAP_BYTES.min(4 * size + 4 * PAGE_SIZE as usize))?;

    let mut image = Image { strings: Vec::new(), top: mm::STACK_TOP };
    let mut seed = [0; 16];
    random::fill(&mut seed);
    let random = image.push(&seed);
    let name = image.push_strings(&[path.as_bytes().to_vec()])[0];
    let arguments = image.push_strings(&passed.arguments);
    let environment = image.push_strings(&passed.environment);
    // The vectors below must start at a multiple of 16.
    let padded = image.strings.len().next_multiple_of(16);
    image.strings.resize(padded, 0);

    let mut words = alloc::vec![arguments.len() as u64];
    words.extend(arguments.iter().map(|&at| image.address(at)));
    words.push(0);
    words.extend(environment.iter().map(|&at| image.address(at)));
    words.push(0);
    let auxiliary = auxiliary_vector(program, image.address(name), image.address(random));
    words.extend(auxiliary.as_flattened());

    let mut vectors = Vec::with_capacity(words.len() * size_of::<u64>());
    words.iter().for_each(|word| vectors.extend_from_slice(&word.to_be_bytes()));
    // The strings end at the top. An odd number of words would leave the stack pointer misaligned,
    // so zeros go in between, at the end of the vector.
    let strings = image.address(0);
    let pointer = (strings - vectors.len() as u64) & !15;
    mm::poke(mm, pointer, &vectors).map_err(|_| Errno::ENOMEM)?;
    mm::poke(mm, strings, &image.strings).map_err(|_| Errno::ENOMEM)?;
    Ok((pointer, auxiliary))
}

/// The most bytes of arguments: a quarter of the largest stack, but at least Linux's ARG_MAX.
fn most_arguments() -> u64 {
    const ARG_MAX: u64 = 128 << 10;
    (limits::of_current(Resource::Stack) / 4).max(ARG_MAX).min(ARGUMENTS_MAX as u64)
}

/// Pairs of type and value.
pub(super) type AuxiliaryVector = Box<[[u64; 2]; 23]>;

/// The pairs (Linux, include/uapi/linux/auxvec.h).
fn auxiliary_vector(program: &Loaded, name: u64, random: u64) -> AuxiliaryVector {
    Box::new([
        // AT_IGNOREPPC, twice, first: old C libraries align the vector with it.
        [22, 22],
        [22, 22],
        // AT_DCACHEBSIZE, AT_ICACHEBSIZE, AT_UCACHEBSIZE
        [19, CACHE_LINE],
        [20, CACHE_LINE],
        [21, 0],
        // AT_HWCAP, AT_PAGESZ, AT_CLKTCK
        [16, HWCAP],
        [6, PAGE_SIZE],
        [17, TICKS_PER_S],
        // AT_PHDR, AT_PHENT, AT_PHNUM, AT_BASE, AT_FLAGS, AT_ENTRY
        [3, program.headers],
        [4, formats::elf::PROGRAM_HEADER_BYTES],
        [5, program.headers_count],
        [7, 0],
        [8, 0],
        [9, program.elf_entry],
        // AT_UID, AT_EUID, AT_GID, AT_EGID, AT_SECURE
        [11, 0],
        [12, 0],
        [13, 0],
        [14, 0],
        [23, 0],
        // AT_RANDOM, AT_HWCAP2, AT_EXECFN, AT_NULL
        [25, random],
        [26, HWCAP2],
        [31, name],
        [0, 0],
    ])
}
