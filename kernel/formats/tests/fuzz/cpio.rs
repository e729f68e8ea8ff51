//! Archives with odd members, and damaged ones.

use formats::cpio::{Error, Kind, members};

use crate::lies_in;
use crate::mutate::mutate;
use crate::rng::Rng;

/// An archive of a few members, perhaps with a field of nonsense, perhaps damaged.
pub(crate) fn make(rng: &mut Rng) -> Vec<u8> {
    let mut archive = Vec::new();
    for _ in 0..rng.below(6) {
        member(rng, &mut archive);
    }
    if !rng.one_in(4) {
        put(&mut archive, b"070701", [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 11, 0], b"TRAILER!!!\0", b"");
        let padding = archive.len() + rng.pick(&[0, 1, 512]);
        archive.resize(padding, 0);
    }
    if rng.one_in(2) {
        mutate(rng, &mut archive);
    }
    archive
}

fn member(rng: &mut Rng, archive: &mut Vec<u8>) {
    let names: [&[u8]; 9] =
        [b"init\0", b"bin/a\0", b"./etc/x\0", b"/\0", b".\0", b"\0", b"a/../b\0", b"no nul", b"inner\0nul\0"];
    let name = rng.pick(&names);
    let data = vec![b'd'; rng.below(40)];
    let mode = rng.pick(&[0o100_755, 0o040_755, 0o120_777, 0o020_600, 0, u32::MAX]);
    let links = 1 + rng.below(3) as u32;
    let size = data.len() as u32;
    let mut fields = [rng.below(4) as u32, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name.len() as u32, 0];
    if rng.one_in(6) {
        let field = rng.pick(&[6, 11]);
        fields[field] = rng.nasty(u64::from(fields[field])) as u32;
    }
    put(archive, rng.pick(&[b"070701", b"070701", b"070702"]), fields, name, &data);
}

fn put(archive: &mut Vec<u8>, magic: &[u8; 6], fields: [u32; 13], name: &[u8], data: &[u8]) {
    archive.extend(magic);
    fields.iter().for_each(|field| archive.extend(format!("{field:08x}").bytes()));
    for part in [name, data] {
        archive.extend(part);
        archive.resize(archive.len().next_multiple_of(4), 0);
    }
}

/// Properties of any archive: an end after at most one error; members in order,
/// all inside.
pub(crate) fn check(input: &[u8]) -> bool {
    let most = input.len() / 110 + 1;
    let (mut count, mut failed) = (0, false);
    let mut last = input.as_ptr();
    for member in members(input) {
        assert!(!failed, "a member behind an error");
        count += 1;
        assert!(count <= most, "more members than headers fit");
        match member {
            Ok(member) => {
                assert!(lies_in(member.name.as_bytes(), input) || member.name.is_empty());
                assert!(lies_in(member.data, input));
                assert!(!member.name.starts_with('/') && !member.name.contains('\0'));
                assert!(member.name.len() < 4096 && member.permissions <= 0o7777);
                assert!(member.data.as_ptr() >= last, "members go back");
                last = member.data.as_ptr();
                let _: Kind = member.kind;
            }
            Err(Error::Magic(at) | Error::Header(at) | Error::Truncated(at)) => {
                assert!(at < input.len(), "an error outside the archive");
                failed = true;
            }
        }
    }
    count > 0 && !failed
}
