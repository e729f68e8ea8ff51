//! A reader for cpio archives in the "newc" form, that of an initrd.
//!
//! Each member is a 110-byte header of ASCII hexadecimal fields, its name with a
//! NUL, and its data; name and data are padded to 4 bytes (Linux,
//! Documentation/driver-api/early-userspace/buffer-format.rst). Nothing is
//! trusted: damage gives an [`Error`] with its place, never a panic.

const HEADER_BYTES: usize = 110;
const MAGIC: &[u8] = b"070701";
/// This form with a checksum field, which readers may ignore.
const MAGIC_CRC: &[u8] = b"070702";
const TRAILER: &str = "TRAILER!!!";
/// The longest name with its NUL (Linux's PATH_MAX).
const NAME_MAX_BYTES: usize = 4096;

/// The bits of a mode that give the kind of file.
const MODE_TYPE: u32 = 0o170_000;

/// Why an archive was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// No newc header at this offset.
    Magic(usize),
    /// The header at this offset has a field that is no hexadecimal number, or a
    /// name that is no text or longer than a path.
    Header(usize),
    /// The archive ends within the member at this offset.
    Truncated(usize),
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Error::Magic(at) => write!(f, "no newc cpio header at offset {at:#x}"),
            Error::Header(at) => write!(f, "a damaged cpio header at offset {at:#x}"),
            Error::Truncated(at) => write!(f, "the cpio archive ends within the member at offset {at:#x}"),
        }
    }
}

/// The kind of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link; the data is its target.
    Symlink,
    /// A device, FIFO or socket.
    Other,
}

/// One member of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// Its path without a leading `/` or `./`, and without NULs; empty for the root.
    pub name: &'a str,
    /// Its kind.
    pub kind: Kind,
    /// Permissions: the low 12 bits of its mode.
    pub permissions: u32,
    /// Its inode number: members that share one are hard links.
    pub inode: u32,
    /// How many names its inode has in the archive.
    pub links: u32,
    /// Its contents.
    pub data: &'a [u8],
}

/// The members of an archive in order. Ends at the trailer, at the end of the
/// bytes, or after the first error.
#[derive(Clone, Debug)]
pub struct Members<'a> {
    archive: &'a [u8],
    at: usize,
}

/// Reads `archive` from its start.
#[must_use]
pub fn members(archive: &[u8]) -> Members<'_> {
    Members { archive, at: 0 }
}

impl<'a> Iterator for Members<'a> {
    type Item = Result<Member<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.archive.len() {
            return None;
        }
        match parse(self.archive, self.at) {
            Ok((member, next)) if member.name != TRAILER => {
                self.at = next;
                Some(Ok(member))
            }
            // Linux goes on behind a trailer; one archive is enough here.
            Ok(_) => self.stop(None),
            Err(error) => self.stop(Some(Err(error))),
        }
    }
}

impl<'a> Members<'a> {
    fn stop<T>(&mut self, last: Option<T>) -> Option<T> {
        self.at = self.archive.len();
        last
    }
}

/// The member at `at`, and the offset of the next one.
fn parse(archive: &[u8], at: usize) -> Result<(Member<'_>, usize), Error> {
    let header = archive[at..].get(..HEADER_BYTES).ok_or(Error::Truncated(at))?;
    if !matches!(&header[..6], MAGIC | MAGIC_CRC) {
        return Err(Error::Magic(at));
    }
    let field = |n: usize| hex(&header[6 + 8 * n..14 + 8 * n]).ok_or(Error::Header(at));
    let (inode, mode, links) = (field(0)?, field(1)?, field(4)?);
    let (data_size, name_size) = (field(6)? as usize, field(11)? as usize);

    if name_size > NAME_MAX_BYTES {
        return Err(Error::Header(at));
    }

    let name_at = at + HEADER_BYTES;
    let data_at = align4(name_at + name_size);
    let name = archive.get(name_at..name_at + name_size).ok_or(Error::Truncated(at))?;
    let data = archive.get(data_at..data_at + data_size).ok_or(Error::Truncated(at))?;
    let name = name.strip_suffix(b"\0").ok_or(Error::Header(at))?;
    let name =
        core::str::from_utf8(name).ok().filter(|name| !name.contains('\0')).ok_or(Error::Header(at))?;

    let member =
        Member { name: relative(name), kind: kind(mode), permissions: mode & 0o7777, inode, links, data };
    Ok((member, align4(data_at + data_size)))
}

fn kind(mode: u32) -> Kind {
    match mode & MODE_TYPE {
        0o100_000 => Kind::File,
        0o040_000 => Kind::Directory,
        0o120_000 => Kind::Symlink,
        _ => Kind::Other,
    }
}

fn relative(name: &str) -> &str {
    let name = name.strip_prefix("./").unwrap_or(name).trim_start_matches('/');
    if name == "." { "" } else { name }
}

/// Eight hexadecimal digits; no sign, no spaces.
fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, &digit| Some(value << 4 | (digit as char).to_digit(16)?))
}

fn align4(n: usize) -> usize {
    n.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::format;
    use std::vec::Vec;

    fn add(archive: &mut Vec<u8>, name: &str, mode: u32, data: &[u8]) {
        let fields = [7, mode, 0, 0, 1, 0, data.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
        archive.extend(MAGIC);
        fields.iter().for_each(|f| archive.extend(format!("{f:08X}").bytes()));
        archive.extend(name.bytes().chain([0]));
        archive.resize(align4(archive.len()), 0);
        archive.extend(data);
        archive.resize(align4(archive.len()), 0);
    }

    fn sample() -> Vec<u8> {
        let mut archive = Vec::new();
        add(&mut archive, ".", 0o040_755, b"");
        add(&mut archive, "./bin/init", 0o100_755, b"hello");
        add(&mut archive, "/sh", 0o120_777, b"bin/init");
        add(&mut archive, TRAILER, 0, b"");
        archive.extend([0; 512]);
        archive
    }

    #[test]
    fn reads_what_was_written() {
        let archive = sample();
        let all: Vec<_> = members(&archive).map(Result::unwrap).collect();
        assert_eq!(all.len(), 3);
        assert_eq!((all[0].name, all[0].kind), ("", Kind::Directory));
        assert_eq!((all[1].name, all[1].kind, all[1].data), ("bin/init", Kind::File, &b"hello"[..]));
        assert_eq!(all[1].permissions, 0o755);
        assert_eq!((all[2].name, all[2].kind, all[2].data), ("sh", Kind::Symlink, &b"bin/init"[..]));
    }

    #[test]
    fn every_cut_is_an_error_or_an_end() {
        let archive = sample();
        for end in 0..archive.len() {
            for member in members(&archive[..end]) {
                if let Err(error) = member {
                    assert!(matches!(error, Error::Truncated(_)), "{error} when cut at {end}");
                }
            }
        }
    }

    #[test]
    fn damage_anywhere_does_not_panic() {
        let archive = sample();
        for at in 0..archive.len() {
            for byte in [0, b'0', b'f', b'F', 0xff] {
                let mut bad = archive.clone();
                bad[at] = byte;
                assert!(members(&bad).count() <= 5);
            }
        }
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        assert_eq!(members(&[0x1f; 200]).next(), Some(Err(Error::Magic(0))));
        let mut archive = sample();
        archive[20] = b'x';
        assert_eq!(members(&archive).next(), Some(Err(Error::Header(0))));
        for name in [&"a".repeat(NAME_MAX_BYTES), "a\0b"] {
            let mut archive = Vec::new();
            add(&mut archive, name, 0o100_644, b"");
            assert_eq!(members(&archive).next(), Some(Err(Error::Header(0))));
        }
    }
}
