//! Programs whose headers are nearly right.

use formats::elf::{Abi, PROGRAM_HEADER_BYTES, Program};

use crate::lies_in;
use crate::mutate::mutate;
use crate::rng::Rng;

const HEADER_BYTES: usize = 64;
const USER_END: u64 = 1 << 52;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;

/// A program header before it is written as bytes.
struct Header {
    kind: u32,
    flags: u32,
    /// offset, vaddr, paddr, filesz, memsz, align.
    fields: [u64; 6],
}

/// A program of a few segments behind each other, perhaps with a field or two
/// replaced, perhaps with bytes damaged.
pub(crate) fn make(rng: &mut Rng) -> Vec<u8> {
    let count = 1 + rng.below(5);
    let headers_at = if rng.one_in(8) { HEADER_BYTES + 8 * rng.below(64) } else { HEADER_BYTES };
    let mut headers = segments(rng, count);
    let file_bytes = headers.iter().map(|h| h.fields[0] + h.fields[3]).max().unwrap_or(0).max(0x1000);
    let v2 = rng.one_in(2);
    let code = headers[0].fields[1] + 4 * rng.below(64) as u64;
    let last = &headers[headers.len() - 1];
    let (data_at, data) = (last.fields[0], last.fields[1]);
    let mut entry = if v2 { code } else { data };
    if rng.one_in(3) {
        let at = rng.below(headers.len());
        let field = rng.below(6);
        headers[at].fields[field] = rng.nasty(headers[at].fields[field]);
    }
    if rng.one_in(12) {
        entry = rng.nasty(entry);
    }

    let mut file = vec![0; file_bytes as usize];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(room) = file.get_mut(at..at + bytes.len()) {
            room.copy_from_slice(bytes);
        }
    };
    put(0, b"\x7fELF\x02\x02\x01");
    put(16, &rng.pick(&[2_u16, 2, 2, 3]).to_be_bytes());
    put(18, &21_u16.to_be_bytes());
    put(24, &entry.to_be_bytes());
    put(32, &(headers_at as u64).to_be_bytes());
    put(48, &(if v2 { 2_u32 } else { rng.pick(&[0, 1]) }).to_be_bytes());
    put(54, &(PROGRAM_HEADER_BYTES as u16).to_be_bytes());
    put(56, &(headers.len() as u16).to_be_bytes());
    if !v2 {
        put(data_at as usize, &code.to_be_bytes());
    }
    for (n, header) in headers.iter().enumerate() {
        let at = headers_at + n * PROGRAM_HEADER_BYTES as usize;
        put(at, &header.kind.to_be_bytes());
        put(at + 4, &header.flags.to_be_bytes());
        header.fields.iter().enumerate().for_each(|(i, f)| put(at + 8 + 8 * i, &f.to_be_bytes()));
    }
    if rng.one_in(2) {
        mutate(rng, &mut file);
    }
    file
}

/// Code first, then data, at ascending addresses that fit their offsets.
fn segments(rng: &mut Rng, count: usize) -> Vec<Header> {
    let mut address = rng.pick(&[0x1_0000_u64, 0x1000_0000, USER_END - 0x80_0000, 0]);
    let mut offset = 0_u64;
    let segment = |n: usize| {
        let file_bytes = 0x400 + rng.below(0xc00) as u64;
        let memory_bytes = file_bytes + if rng.one_in(2) { 0 } else { rng.below(0x8000) as u64 };
        let header = Header {
            kind: if n != 0 && rng.one_in(8) { PT_NOTE } else { PT_LOAD },
            flags: if n == 0 { 5 } else { rng.pick(&[4, 6, 7]) },
            fields: [offset, address, address, file_bytes, memory_bytes, 0x1000],
        };
        let inside = rng.below(0x100) as u64 & !7;
        address = (address + memory_bytes).next_multiple_of(0x1000) + 0x1000 * rng.below(3) as u64 + inside;
        offset = (offset + file_bytes).next_multiple_of(0x1000) + inside;
        header
    };
    (0..count).map(segment).collect()
}

/// Properties of a program that was accepted; exec relies on all of them.
pub(crate) fn check(input: &[u8]) -> bool {
    let Ok(program) = Program::parse(input) else { return false };
    let mut end = 0;
    let mut segments = 0;
    for segment in program.segments() {
        let memory_end = segment.address.checked_add(segment.memory_bytes).expect("a segment wraps");
        assert!(memory_end <= USER_END, "a segment outside user addresses");
        assert!(segment.memory_bytes > 0 && segment.file_bytes <= segment.memory_bytes);
        assert_eq!(segment.address % 0x1000, segment.offset % 0x1000, "not congruent");
        assert!(segment.address >= end, "segments overlap");
        let contents = program.contents(&segment);
        assert_eq!(contents.len() as u64, segment.file_bytes);
        assert!(contents.is_empty() || lies_in(contents, input));
        end = memory_end;
        segments += 1;
    }
    assert!(segments > 0 && segments <= program.headers_count());
    assert_eq!(program.end(), end);
    let code = match program.abi() {
        Abi::ElfV1 => program.entry_descriptor().expect("an ELFv1 program without descriptor").0,
        Abi::ElfV2 => program.entry(),
    };
    let holds_code =
        |s: formats::elf::Segment| s.execute && s.address <= code && code - s.address < s.memory_bytes;
    assert!(program.segments().any(holds_code), "it starts outside its code");
    if let Some(headers) = program.headers_address() {
        let bytes = program.headers_count() * PROGRAM_HEADER_BYTES;
        let holds =
            |s: formats::elf::Segment| s.address <= headers && headers + bytes <= s.address + s.file_bytes;
        assert!(program.segments().any(holds), "AT_PHDR leads out of its segment");
    }
    true
}
