//! The kernel's own symbol table, for backtraces.
//!
//! The linker script reserves room in rodata; `qemu-scripts/symbols` fills it
//! after linking: a magic word and a count, then for each function, ascending, its
//! offset from the start of text and that of its name from the start of the table,
//! then the names, each ended by a NUL. All numbers are 32 bits, big-endian.

use core::fmt;

const MAGIC: u32 = u32::from_be_bytes(*b"KSYM");

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
            Some((name, offset)) => write!(f, "{:#018x} {name}+{offset:#x}", self.0),
            None => write!(f, "{:#018x} ?", self.0),
        }
    }
}

/// The function that holds `address`, and the offset in it.
fn lookup(address: u64) -> Option<(&'static str, u64)> {
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
    let name = table.get(word(table, entry + 4)? as usize..)?;
    let end = name.iter().position(|&byte| byte == 0)?;
    Some((core::str::from_utf8(&name[..end]).ok()?, u64::from(offset - word(table, entry)?)))
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
    8 + 8 * index as usize
}
