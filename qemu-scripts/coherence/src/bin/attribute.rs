//! Names for addresses of a guest: `attribute ELF`.
//!
//! Reads a question per line and answers each with a line, empty for what it does not know:
//!
//! - `code ADDRESS`: the functions that the instruction belongs to, the innermost inlined one
//!   first, separated by ` < `. What core brings along is left out.
//! - `frames ADDRESS`: all functions that the instruction belongs to, the outermost first: for each
//!   the name, the file and the line, all separated by tabs. The line is that of the instruction, or
//!   of the call that was inlined.
//! - `data ADDRESS`: the static that holds the address, and the path to the field.

use std::io::{BufRead, Write};

use addr2line::Loader;
use addr2line::gimli::{
    self, AttributeValue, Dwarf, EndianSlice, Operation, RunTimeEndian, Unit, UnitOffset,
};
use coherence::names::short;
use object::{Object, ObjectSection, ObjectSymbol};

type Error = Box<dyn std::error::Error>;
type Slice<'a> = EndianSlice<'a, RunTimeEndian>;

/// A variable that has one address.
struct Static<'a> {
    address: u64,
    size: u64,
    name: String,
    unit: &'a Unit<Slice<'a>>,
    kind: UnitOffset,
}

fn demangled(raw: &str) -> String {
    short(&format!("{:#}", rustc_demangle::demangle(raw)))
}

/// The functions of an instruction, the innermost first.
fn functions(loader: &Loader, address: u64) -> Result<String, Error> {
    let mut names = Vec::new();
    let mut frames = loader.find_frames(address)?;
    while let Some(frame) = frames.next()? {
        if let Some(function) = frame.function {
            names.push(demangled(&function.raw_name()?));
        }
    }
    if names.is_empty() {
        names.extend(loader.find_symbol(address).map(demangled));
    }
    let own = names.iter().filter(|name| !name.starts_with("core::")).cloned().collect::<Vec<_>>();
    Ok(if own.is_empty() { names } else { own }.join(" < "))
}

/// The functions of an instruction with their places, the outermost first.
fn frames(loader: &Loader, address: u64) -> Result<String, Error> {
    let mut found = Vec::new();
    let mut frames = loader.find_frames(address)?;
    while let Some(frame) = frames.next()? {
        let name = match &frame.function {
            Some(function) => Some(demangled(&function.raw_name()?)),
            // Assembly.
            None => loader.find_symbol(address).map(demangled),
        };
        let place = frame.location;
        let file = place.as_ref().and_then(|place| place.file).unwrap_or_default();
        let line = place.as_ref().and_then(|place| place.line).unwrap_or_default();
        found.extend(name.map(|name| format!("{name}\t{file}\t{line}")));
    }
    if found.is_empty() {
        found.extend(loader.find_symbol(address).map(|symbol| format!("{}\t\t0", demangled(symbol))));
    }
    found.reverse();
    Ok(found.join("\t"))
}

/// All variables with an address in the image.
fn statics<'a>(dwarf: &Dwarf<Slice<'a>>, units: &'a [Unit<Slice<'a>>]) -> Result<Vec<Static<'a>>, Error> {
    let mut found = Vec::new();
    for unit in units {
        let mut entries = unit.entries();
        while let Some(entry) = entries.next_dfs()? {
            let (Some(location), Some(AttributeValue::UnitRef(kind))) =
                (entry.attr_value(gimli::DW_AT_location), entry.attr_value(gimli::DW_AT_type))
            else {
                continue;
            };
            if entry.tag() != gimli::DW_TAG_variable {
                continue;
            }
            let AttributeValue::Exprloc(expression) = location else { continue };
            let mut operations = expression.operations(unit.encoding());
            let Some(Operation::Address { mut address }) = operations.next()? else { continue };
            // The linker may have merged it with others.
            while let Some(operation) = operations.next()? {
                if let Operation::PlusConstant { value } = operation {
                    address += value;
                }
            }
            let name = match entry.attr_value(gimli::DW_AT_linkage_name) {
                Some(name) => demangled(&dwarf.attr_string(unit, name)?.to_string_lossy()),
                None => name_of(dwarf, unit, entry.attr_value(gimli::DW_AT_name)),
            };
            found.push(Static { address, size: size_of(unit, kind)?, name, unit, kind });
        }
    }
    found.sort_by_key(|one| one.address);
    Ok(found)
}

fn name_of(
    dwarf: &Dwarf<Slice<'_>>,
    unit: &Unit<Slice<'_>>,
    name: Option<AttributeValue<Slice<'_>>>,
) -> String {
    let text = name.and_then(|name| dwarf.attr_string(unit, name).ok());
    text.map_or(String::new(), |text| text.to_string_lossy().into_owned())
}

/// The bytes of a type, 0 if DWARF does not tell.
fn size_of(unit: &Unit<Slice<'_>>, kind: UnitOffset) -> Result<u64, Error> {
    let entry = unit.entry(kind)?;
    if let Some(size) = entry.attr_value(gimli::DW_AT_byte_size).and_then(|value| value.udata_value()) {
        return Ok(size);
    }
    let Some(AttributeValue::UnitRef(inner)) = entry.attr_value(gimli::DW_AT_type) else { return Ok(0) };
    let mut count = 1;
    if entry.tag() == gimli::DW_TAG_array_type {
        let mut tree = unit.entries_tree(Some(kind))?;
        let mut dimensions = tree.root()?.children();
        while let Some(dimension) = dimensions.next()? {
            let attribute = |name| dimension.entry().attr_value(name).and_then(|value| value.udata_value());
            let bound = attribute(gimli::DW_AT_upper_bound).map(|bound| bound + 1);
            count *= attribute(gimli::DW_AT_count).or(bound).unwrap_or(0);
        }
    }
    Ok(count * size_of(unit, inner)?)
}

/// The way from a value of the type `kind` to its byte `offset`: `.field[3].other`.
fn path(
    dwarf: &Dwarf<Slice<'_>>,
    unit: &Unit<Slice<'_>>,
    kind: UnitOffset,
    offset: u64,
) -> Result<String, Error> {
    let mut tree = unit.entries_tree(Some(kind))?;
    let root = tree.root()?;
    let entry = root.entry();
    let inner = match entry.attr_value(gimli::DW_AT_type) {
        Some(AttributeValue::UnitRef(inner)) => Some(inner),
        _ => None,
    };
    match (entry.tag(), inner) {
        (gimli::DW_TAG_array_type, Some(inner)) => {
            let size = size_of(unit, inner)?.max(1);
            Ok(format!("[{}]{}", offset / size, path(dwarf, unit, inner, offset % size)?))
        }
        (gimli::DW_TAG_structure_type | gimli::DW_TAG_union_type, _) => {
            let name = name_of(dwarf, unit, entry.attr_value(gimli::DW_AT_name));
            let is_cell = name.starts_with("UnsafeCell<")
                || name.starts_with("MaybeUninit<")
                || name.starts_with("ManuallyDrop<");
            if name.starts_with("Atomic") {
                return Ok(String::new());
            }
            let mut members = root.children();
            while let Some(member) = members.next()? {
                let member = member.entry();
                let start = member
                    .attr_value(gimli::DW_AT_data_member_location)
                    .and_then(|value| value.udata_value());
                let (Some(start), Some(AttributeValue::UnitRef(kind))) =
                    (start, member.attr_value(gimli::DW_AT_type))
                else {
                    continue;
                };
                if (start..start + size_of(unit, kind)?).contains(&offset) {
                    let name = name_of(dwarf, unit, member.attr_value(gimli::DW_AT_name));
                    let step =
                        if is_cell { String::new() } else { format!(".{}", name.trim_start_matches("__")) };
                    return Ok(step + &path(dwarf, unit, kind, offset - start)?);
                }
            }
            Ok(String::new())
        }
        (gimli::DW_TAG_typedef | gimli::DW_TAG_const_type | gimli::DW_TAG_volatile_type, Some(inner)) => {
            path(dwarf, unit, inner, offset)
        }
        _ => Ok(String::new()),
    }
}

fn main() -> Result<(), Error> {
    let image = std::env::args().nth(1).ok_or("usage: attribute ELF")?;
    let loader = Loader::new(&image)?;
    let bytes = std::fs::read(&image)?;
    let file = object::File::parse(&*bytes)?;
    let endian = if file.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big };
    let dwarf = Dwarf::load(|section| {
        let data = file.section_by_name(section.name()).and_then(|section| section.data().ok());
        Ok::<_, Error>(EndianSlice::new(data.unwrap_or_default(), endian))
    })?;
    let mut units = Vec::new();
    let mut headers = dwarf.units();
    while let Some(header) = headers.next()? {
        units.push(dwarf.unit(header)?);
    }
    let statics = statics(&dwarf, &units)?;
    let data = |address: u64| -> Result<String, Error> {
        // A few that begin before it may hold it: statics of assembly have no size.
        let behind = statics.partition_point(|one| one.address <= address);
        for one in statics[..behind].iter().rev().take(8) {
            if address - one.address < one.size {
                return Ok(one.name.clone() + &path(&dwarf, one.unit, one.kind, address - one.address)?);
            }
        }
        // An image without DWARF has its symbols.
        let holds = |symbol: &object::Symbol<'_, '_>| {
            (symbol.address()..symbol.address() + symbol.size()).contains(&address)
        };
        Ok(file
            .symbols()
            .find(holds)
            .map_or(String::new(), |symbol| demangled(symbol.name().unwrap_or_default())))
    };
    let mut out = std::io::stdout().lock();
    for question in std::io::stdin().lock().lines() {
        let question = question?;
        let (what, address) =
            question.split_once(" 0x").ok_or("a question is `code 0x…`, `frames 0x…` or `data 0x…`")?;
        let address = u64::from_str_radix(address, 16)?;
        let answer = match what {
            "code" => functions(&loader, address)?,
            "frames" => frames(&loader, address)?,
            _ => data(address)?,
        };
        writeln!(out, "{answer}")?;
    }
    Ok(())
}
