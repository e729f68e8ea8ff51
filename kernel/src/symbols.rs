//! The kernel's own symbol table, for backtraces.
//!
//! The linker script reserves room in rodata; `qemu-scripts/symbols` fills it after linking, and
//! says how: a magic word and a count; pairs of bytes; for each function, ascending, its offset from
//! the start of text and that of its name from the start of the names; and these, each ended by a
//! NUL. In a name a byte from 128 on stands for a pair. Numbers are big-endian.

use core::fmt::{self, Write};

const MAGIC: u32 = u32::from_be_bytes(*b"KSYM");
/// Where the pairs begin.
const PAIRS: usize = 8;

unsafe extern "C" {
    static __kallsyms_start: u8;
    static __kallsyms_end: u8;
    static __text_start: u8;
    static __text_end: u8;
}

/// The address of code, shown as function and offset.
pub(crate) struct Symbol(pub(crate) u64);

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match lookup(self.0) {
            Some((name, offset)) => {
                write!(f, "{:#018x} ", self.0)?;
                name.iter().try_for_each(|&byte| unpack(f, table(), byte))?;
                write!(f, "+{offset:#x}")
            }
            None => write!(f, "{:#018x} ?", self.0),
        }
    }
}

/// Writes what `byte` of a name stands for.
fn unpack(f: &mut fmt::Formatter<'_>, table: &[u8], byte: u8) -> fmt::Result {
    let Some(pair) = byte.checked_sub(128) else { return f.write_char(char::from(byte)) };
    let parts = table[PAIRS + 2 * usize::from(pair)..].iter().take(2);
    // Smaller ones only: a damaged table ends, too.
    parts.filter(|&&part| part < byte).try_for_each(|&part| unpack(f, table, part))
}

/// The name of the function that holds `address`, packed, and the offset in it.
fn lookup(address: u64) -> Option<(&'static [u8], u64)> {
    let text = (&raw const __text_start).addr() as u64..(&raw const __text_end).addr() as u64;
    if !text.contains(&address) {
        return None;
    }
    let table = table();
    let offset = (address - text.start) as u32;
    let count = word(table, 4)?;
    // The last function that begins at or before the address.
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if word(table, entry_at(middle))? <= offset { low = middle + 1 } else { high = middle }
    }
    let entry = entry_at(low.checked_sub(1)?);
    let start = u16::from_be_bytes(table.get(entry + 4..entry + 6)?.try_into().ok()?);
    let name = table.get(entry_at(count) + usize::from(start)..)?;
    let end = name.iter().position(|&byte| byte == 0)?;
    Some((&name[..end], u64::from(offset - word(table, entry)?)))
}

/// The reserved room; empty if the build did not fill it.
fn table() -> &'static [u8] {
    let (start, end) = (&raw const __kallsyms_start, &raw const __kallsyms_end);
    // SAFETY: the linker script puts both symbols around one piece of rodata.
    let bytes = unsafe { core::slice::from_raw_parts(start, end.addr() - start.addr()) };
    if word(bytes, 0) == Some(MAGIC) { bytes } else { &[] }
}

fn word(table: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(table.get(at..at + 4)?.try_into().ok()?))
}

fn entry_at(index: u32) -> usize {
    PAIRS + 2 * 128 + 6 * index as usize
}
