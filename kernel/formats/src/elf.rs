//! A reader for programs: ELF64, big-endian, powerpc64, static.
//!
//! Both ABIs are accepted. Under ELFv1 the entry point names a *function
//! descriptor* in the data (code address, TOC). Under ELFv2 it is code, which
//! expects its own address in r12. `e_flags` gives the ABI (64-bit ELF V2 ABI,
//! section 4.1); ELFv1 tools write 0.

use crate::bytes::{be16, be32, be64};

/// Bytes of one program header.
pub const PROGRAM_HEADER_BYTES: u64 = 56;
const HEADER_BYTES: usize = 64;

const CLASS_64: u8 = 2;
const DATA_BIG_ENDIAN: u8 = 2;
const TYPE_EXEC: u16 = 2;
const TYPE_DYN: u16 = 3;
const MACHINE_PPC64: u16 = 21;
const FLAGS_ABI: u32 = 3;
const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PF_X: u32 = 1;
const PF_W: u32 = 2;
const PF_R: u32 = 4;

/// User addresses end here (quadrant 0, 52 bits).
const USER_END: u64 = 1 << 52;

/// Why a file cannot be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Not an ELF file.
    Magic,
    /// Not 64-bit big-endian powerpc64.
    Machine,
    /// Not an executable.
    Type,
    /// It wants a dynamic linker.
    Interpreter,
    /// A header or a segment lies outside the file.
    Truncated,
    /// A segment that cannot be mapped: outside user addresses, larger in the
    /// file than in memory, or not congruent with its file offset.
    Segment,
    /// Two segments that share addresses, or are not in ascending order.
    Overlap,
    /// The entry point is not in code of the program, or its descriptor is not
    /// in the file.
    Entry,
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Error::Magic => "not an ELF file",
            Error::Machine => "not a program for 64-bit big-endian PowerPC",
            Error::Type => "not an executable",
            Error::Interpreter => "it needs a dynamic linker; link it with -static",
            Error::Truncated => "the ELF file is truncated",
            Error::Segment => "a segment that cannot be mapped",
            Error::Overlap => "segments that overlap or are not in order",
            Error::Entry => "an entry point outside its code",
        })
    }
}

/// How a program is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abi {
    /// The entry point is a function descriptor.
    ElfV1,
    /// The entry point is code.
    ElfV2,
}

/// One loadable segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it goes, before the load bias.
    pub address: u64,
    /// Its size in memory; zeros behind the part from the file.
    pub memory_bytes: u64,
    /// Where it is in the file.
    pub offset: u64,
    /// How much of it is in the file.
    pub file_bytes: u64,
    /// May be read.
    pub read: bool,
    /// May be written.
    pub write: bool,
    /// May be executed.
    pub execute: bool,
}

/// A program whose headers are sound.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    file: &'a [u8],
    headers: &'a [u8],
    headers_offset: u64,
    entry: u64,
    abi: Abi,
    position_independent: bool,
}

impl<'a> Program<'a> {
    /// Reads the headers of `file`. Every segment is checked here, so no fault
    /// of the file can stop the loading half-way.
    pub fn parse(file: &'a [u8]) -> Result<Self, Error> {
        if !file.starts_with(b"\x7fELF") {
            return Err(Error::Magic);
        }
        let header = file.get(..HEADER_BYTES).ok_or(Error::Truncated)?;
        let half = |at| be16(header, at).ok_or(Error::Truncated);
        let long = |at| be64(header, at).ok_or(Error::Truncated);
        if header[4] != CLASS_64 || header[5] != DATA_BIG_ENDIAN || half(18)? != MACHINE_PPC64 {
            return Err(Error::Machine);
        }
        let position_independent = match half(16)? {
            TYPE_EXEC => false,
            TYPE_DYN => true,
            _ => return Err(Error::Type),
        };
        let flags = be32(header, 48).ok_or(Error::Truncated)?;
        let abi = if flags & FLAGS_ABI == 2 { Abi::ElfV2 } else { Abi::ElfV1 };
        let (entry, headers_offset) = (long(24)?, long(32)?);
        if u64::from(half(54)?) != PROGRAM_HEADER_BYTES {
            return Err(Error::Truncated);
        }
        let headers_bytes = u64::from(half(56)?) * PROGRAM_HEADER_BYTES;
        let headers = slice(file, headers_offset, headers_bytes).ok_or(Error::Truncated)?;
        let program = Program { file, headers, headers_offset, entry, abi, position_independent };
        program.check()?;
        Ok(program)
    }

    fn check(&self) -> Result<(), Error> {
        if self.raw_headers().any(|header| be32(header, 0) == Some(PT_INTERP)) {
            return Err(Error::Interpreter);
        }
        let mut mapped_end = None;
        for segment in self.segments() {
            slice(self.file, segment.offset, segment.file_bytes).ok_or(Error::Truncated)?;
            let end = segment.address.checked_add(segment.memory_bytes).ok_or(Error::Segment)?;
            let congruent = (segment.address ^ segment.offset) & 0xfff == 0;
            if end > USER_END || segment.file_bytes > segment.memory_bytes || !congruent {
                return Err(Error::Segment);
            }
            // The ELF specification demands ascending segments.
            if mapped_end.is_some_and(|mapped_end| segment.address < mapped_end) {
                return Err(Error::Overlap);
            }
            mapped_end = Some(end);
        }
        mapped_end.ok_or(Error::Type)?;
        self.check_entry().ok_or(Error::Entry)
    }

    /// None if the first instruction is not in an executable segment.
    fn check_entry(&self) -> Option<()> {
        let code = match self.abi {
            Abi::ElfV1 => self.entry_descriptor()?.0,
            Abi::ElfV2 => self.entry,
        };
        let holds = |s: &Segment| s.execute && (s.address..s.address + s.memory_bytes).contains(&code);
        self.segments().any(|segment| holds(&segment)).then_some(())
    }

    fn raw_headers(&self) -> impl Iterator<Item = &'a [u8]> {
        self.headers.chunks_exact(PROGRAM_HEADER_BYTES as usize)
    }

    /// The segments to load, in the file's order.
    pub fn segments(&self) -> impl Iterator<Item = Segment> {
        self.raw_headers().filter_map(|header| {
            let flags = be32(header, 4)?;
            let segment = Segment {
                offset: be64(header, 8)?,
                address: be64(header, 16)?,
                file_bytes: be64(header, 32)?,
                memory_bytes: be64(header, 40)?,
                read: flags & PF_R != 0,
                write: flags & PF_W != 0,
                execute: flags & PF_X != 0,
            };
            (be32(header, 0)? == PT_LOAD && segment.memory_bytes != 0).then_some(segment)
        })
    }

    /// The part of `segment` that the file has.
    #[must_use]
    pub fn contents(&self, segment: &Segment) -> &'a [u8] {
        slice(self.file, segment.offset, segment.file_bytes).unwrap_or(&[])
    }

    /// How it is entered.
    #[must_use]
    pub fn abi(&self) -> Abi {
        self.abi
    }

    /// Whether it may be loaded anywhere (ET_DYN) and relocates itself.
    #[must_use]
    pub fn is_position_independent(&self) -> bool {
        self.position_independent
    }

    /// `e_entry`, before the load bias: code (ELFv2) or a descriptor (ELFv1).
    #[must_use]
    pub fn entry(&self) -> u64 {
        self.entry
    }

    /// The code address and TOC of the descriptor at the entry point, as the
    /// file has them (not relocated).
    #[must_use]
    pub fn entry_descriptor(&self) -> Option<(u64, u64)> {
        let at = |address: u64| {
            let segment =
                self.segments().find(|s| (s.address..s.address + s.file_bytes).contains(&address))?;
            be64(self.contents(&segment), (address - segment.address) as usize)
        };
        Some((at(self.entry)?, at(self.entry.checked_add(8)?)?))
    }

    /// Where the program headers are in memory, before the load bias (AT_PHDR);
    /// none if no segment has them all.
    #[must_use]
    pub fn headers_address(&self) -> Option<u64> {
        let end = self.headers_offset + self.headers.len() as u64;
        self.segments()
            .find(|s| s.offset <= self.headers_offset && end <= s.offset + s.file_bytes)
            .map(|s| s.address + (self.headers_offset - s.offset))
    }

    /// How many program headers there are (AT_PHNUM).
    #[must_use]
    pub fn headers_count(&self) -> u64 {
        self.headers.len() as u64 / PROGRAM_HEADER_BYTES
    }

    /// The first address behind all segments, before the load bias: where the
    /// heap begins.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.segments().map(|s| s.address + s.memory_bytes).max().unwrap_or(0)
    }
}

fn slice(file: &[u8], offset: u64, bytes: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(usize::try_from(bytes).ok()?)?;
    file.get(start..end)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec;
    use std::vec::Vec;

    const TEXT: u64 = 0x1000_0000;

    /// A program with a text segment that holds its headers and a data segment
    /// with a descriptor at its start.
    fn sample(flags: u32) -> Vec<u8> {
        let mut file = vec![0; 0x1100];
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"\x7fELF\x02\x02\x01");
        put(16, &TYPE_EXEC.to_be_bytes());
        put(18, &MACHINE_PPC64.to_be_bytes());
        // A descriptor, or code.
        let entry: u64 = if flags == 2 { TEXT + 0x400 } else { 0x1001_1000 };
        put(24, &entry.to_be_bytes());
        put(32, &64_u64.to_be_bytes());
        put(48, &flags.to_be_bytes());
        put(54, &56_u16.to_be_bytes());
        put(56, &2_u16.to_be_bytes());
        let mut segment = |n: usize, flags: u32, fields: [u64; 6]| {
            let at = 64 + 56 * n;
            put(at, &PT_LOAD.to_be_bytes());
            put(at + 4, &flags.to_be_bytes());
            fields.iter().enumerate().for_each(|(i, f)| put(at + 8 + 8 * i, &f.to_be_bytes()));
        };
        segment(0, PF_R | PF_X, [0, TEXT, TEXT, 0x800, 0x800, 0x10000]);
        segment(1, PF_R | PF_W, [0x1000, 0x1001_1000, 0x1001_1000, 0x100, 0x300, 0x10000]);
        put(0x1000, &0x1000_0400_u64.to_be_bytes());
        put(0x1008, &0x1001_9000_u64.to_be_bytes());
        file
    }

    #[test]
    fn reads_what_was_written() {
        let file = sample(0);
        let program = Program::parse(&file).unwrap();
        let segments: Vec<_> = program.segments().collect();
        assert_eq!(segments.len(), 2);
        assert!(segments[0].execute && !segments[0].write && segments[1].write);
        assert_eq!(program.contents(&segments[1]).len(), 0x100);
        assert_eq!(program.abi(), Abi::ElfV1);
        assert_eq!(program.entry_descriptor(), Some((0x1000_0400, 0x1001_9000)));
        assert_eq!(program.headers_address(), Some(TEXT + 64));
        assert_eq!(program.headers_count(), 2);
        assert_eq!(program.end(), 0x1001_1300);
    }

    #[test]
    fn abi_is_in_the_flags() {
        assert_eq!(Program::parse(&sample(1)).unwrap().abi(), Abi::ElfV1);
        assert_eq!(Program::parse(&sample(2)).unwrap().abi(), Abi::ElfV2);
    }

    #[test]
    fn refuses_what_it_cannot_run() {
        let refused = |at: usize, bytes: &[u8]| {
            let mut file = sample(0);
            file[at..at + bytes.len()].copy_from_slice(bytes);
            Program::parse(&file).unwrap_err()
        };
        assert_eq!(refused(0, b"#!/b"), Error::Magic);
        assert_eq!(refused(4, &[1]), Error::Machine);
        assert_eq!(refused(5, &[1]), Error::Machine);
        assert_eq!(refused(18, &62_u16.to_be_bytes()), Error::Machine);
        assert_eq!(refused(16, &1_u16.to_be_bytes()), Error::Type);
        assert_eq!(refused(64, &PT_INTERP.to_be_bytes()), Error::Interpreter);
        // Beyond user addresses; wrapping; file part larger; not congruent.
        assert_eq!(refused(64 + 16, &0xc000_0000_0000_0000_u64.to_be_bytes()), Error::Segment);
        assert_eq!(refused(64 + 40, &u64::MAX.to_be_bytes()), Error::Segment);
        assert_eq!(refused(64 + 40, &1_u64.to_be_bytes()), Error::Segment);
        assert_eq!(refused(64 + 16, &(TEXT + 8).to_be_bytes()), Error::Segment);
        assert_eq!(refused(64 + 32, &0x2000_u64.to_be_bytes()), Error::Truncated);
        assert_eq!(refused(32, &u64::MAX.to_be_bytes()), Error::Truncated);
        // The text grows into the data; the data lies below the text.
        assert_eq!(refused(64 + 40, &0x2_0000_u64.to_be_bytes()), Error::Overlap);
        assert_eq!(refused(120 + 16, &0x1000_u64.to_be_bytes()), Error::Overlap);
        // No descriptor there; one whose code is data.
        assert_eq!(refused(24, &0x1001_10f9_u64.to_be_bytes()), Error::Entry);
        assert_eq!(refused(24, &u64::MAX.to_be_bytes()), Error::Entry);
        assert_eq!(refused(0x1000, &0x1001_1000_u64.to_be_bytes()), Error::Entry);
    }

    /// Inputs at the bounds, which a check that is off by one would refuse or accept.
    #[test]
    fn segments_may_end_where_their_bounds_are() {
        const DATA: usize = 120;
        let with = |changes: &[(usize, u64)]| {
            let mut file = sample(2);
            for &(at, word) in changes {
                file[at..at + 8].copy_from_slice(&word.to_be_bytes());
            }
            let program = Program::parse(&file);
            program.map(|program| program.end())
        };
        let (offset, address, file_bytes, memory_bytes) = (DATA + 8, DATA + 16, DATA + 32, DATA + 40);
        let end = |start: u64, bytes: u64| with(&[(address, start), (memory_bytes, bytes)]);
        assert_eq!(end(USER_END - 0x1000, 0x1000), Ok(USER_END));
        assert_eq!(end(USER_END - 0x1000, 0x1001), Err(Error::Segment));
        assert_eq!(end(USER_END, 0x1000), Err(Error::Segment));
        assert_eq!(end(TEXT, USER_END - TEXT + 1), Err(Error::Segment));
        assert_eq!(end(TEXT + 0x1000, 0_u64.wrapping_sub(TEXT + 0x1000)), Err(Error::Segment));
        assert_eq!(end(0_u64.wrapping_sub(0x1000), 0x1000), Err(Error::Segment));
        // Right behind the text, and one page before its end.
        let text_end = (64 + 40, 0x1000);
        assert_eq!(with(&[text_end, (address, TEXT + 0x1000)]), Ok(TEXT + 0x1300));
        assert_eq!(with(&[text_end, (address, TEXT)]), Err(Error::Overlap));
        assert_eq!(with(&[(64 + 40, 0x1001), (address, TEXT + 0x1000)]), Err(Error::Overlap));
        // The segment lies in the file, up to the file's last byte.
        assert_eq!(with(&[(file_bytes, 0x100), (memory_bytes, 0x100)]), Ok(0x1001_1100));
        assert_eq!(with(&[(file_bytes, 0x101), (memory_bytes, 0x101)]), Err(Error::Truncated));
        assert_eq!(with(&[(file_bytes, 0x100), (memory_bytes, 0xff)]), Err(Error::Segment));
        assert_eq!(with(&[(offset, u64::MAX - 0xfff)]), Err(Error::Truncated));
        assert_eq!(
            with(&[(offset, u64::MAX - 0xfff), (file_bytes, 0x1000), (memory_bytes, 0x1000)]),
            Err(Error::Truncated)
        );
    }

    /// The program headers are in memory if a segment has all of them, the first and the last
    /// byte included.
    #[test]
    fn headers_are_found_where_a_segment_has_them() {
        const TEXT_SEGMENT: usize = 64;
        let headers_bytes = 2 * PROGRAM_HEADER_BYTES;
        let headers = |changes: &[(usize, u64)]| {
            let mut file = sample(2);
            for &(field, word) in changes {
                let at = TEXT_SEGMENT + field;
                file[at..at + 8].copy_from_slice(&word.to_be_bytes());
            }
            Program::parse(&file).unwrap().headers_address()
        };
        assert_eq!(headers(&[(32, 64 + headers_bytes)]), Some(TEXT + 64));
        assert_eq!(headers(&[(32, 64 + headers_bytes - 1)]), None);
        assert_eq!(headers(&[(8, 64), (16, TEXT + 64)]), Some(TEXT + 64));
        assert_eq!(headers(&[(8, 65), (16, TEXT + 65)]), None);
    }

    /// The first instruction is the first or the last that its segment has.
    #[test]
    fn programs_start_inside_their_code() {
        let starts = |entry: u64| {
            let mut file = sample(2);
            file[24..32].copy_from_slice(&entry.to_be_bytes());
            Program::parse(&file).map(|program| program.entry())
        };
        assert_eq!(starts(TEXT), Ok(TEXT));
        assert_eq!(starts(TEXT + 0x7ff), Ok(TEXT + 0x7ff));
        assert_eq!(starts(TEXT + 0x800), Err(Error::Entry));
        assert_eq!(starts(TEXT - 1), Err(Error::Entry));
        // Data is not code.
        assert_eq!(starts(0x1001_1000), Err(Error::Entry));
    }

    #[test]
    fn every_cut_is_refused() {
        let file = sample(0);
        for end in 0..file.len() {
            assert!(Program::parse(&file[..end]).is_err(), "accepted when cut at {end:#x}");
        }
    }

    #[test]
    fn damage_anywhere_does_not_panic() {
        let file = sample(2);
        for at in 0..64 + 2 * 56 {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut bad = file.clone();
                bad[at] = byte;
                if let Ok(program) = Program::parse(&bad) {
                    let _ = (program.entry_descriptor(), program.headers_address(), program.end());
                }
            }
        }
    }
}
