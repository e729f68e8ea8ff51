//! Reads a dump: the example of its layout.

use core::fmt;

use crate::{LINE, MAGIC, PAGE, RECORD_BYTES, RECORDS, Record, VERSION};

/// Words of the header, in their order.
const CPUS: usize = 2;
const RECORDS_PER_RING: usize = 3;
const TICKS: usize = 4;
const POLICY: usize = 5;
const GROUPS: usize = 6;

/// Why bytes are not a dump.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// They do not begin as one.
    Magic,
    /// It has another version than this crate.
    Version(u64),
    /// Its header names no size that a kernel makes.
    Size,
    /// It ends too early.
    Short,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Magic => f.write_str("is not a trace"),
            Wrong::Version(version) => {
                write!(f, "has version {version}, and this tool reads {VERSION}: make the trace anew")
            }
            Wrong::Size => f.write_str("names impossible sizes"),
            Wrong::Short => f.write_str("is cut short"),
        }
    }
}

/// A dump in memory.
#[derive(Clone, Copy, Debug)]
pub struct Dump<'a> {
    bytes: &'a [u8],
    cpus: usize,
    records: usize,
}

impl<'a> Dump<'a> {
    /// The bytes before the rings.
    pub const fn head_bytes(cpus: usize) -> usize {
        (2 * LINE * (cpus + 1)).next_multiple_of(PAGE)
    }

    /// Reads the header.
    ///
    /// # Errors
    /// These bytes are no dump, or only a part of one.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Wrong> {
        let dump = |cpus, records| Dump { bytes, cpus, records };
        if bytes.len() < 2 * LINE {
            return Err(Wrong::Short);
        }
        let header = dump(0, 0);
        if header.word(0) != MAGIC {
            return Err(Wrong::Magic);
        }
        if header.word(1) != VERSION {
            return Err(Wrong::Version(header.word(1)));
        }
        let (cpus, records) = (header.word(CPUS) as usize, header.word(RECORDS_PER_RING) as usize);
        if !(1..=1024).contains(&cpus) || !RECORDS.contains(&records) || !records.is_power_of_two() {
            return Err(Wrong::Size);
        }
        match bytes.len() < Self::head_bytes(cpus) + cpus * records * RECORD_BYTES {
            true => Err(Wrong::Short),
            false => Ok(dump(cpus, records)),
        }
    }

    fn word(&self, at: usize) -> u64 {
        let bytes = self.bytes[at * 8..][..8].try_into().expect("eight bytes");
        u64::from_be_bytes(bytes)
    }

    /// How many CPUs the machine has.
    pub fn cpus(&self) -> usize {
        self.cpus
    }

    /// Timebase ticks per second.
    pub fn ticks_per_second(&self) -> u64 {
        self.word(TICKS)
    }

    /// The number of the lazy-TLB policy, in the order of their names in `Policy::ALL`.
    pub fn policy(&self) -> u64 {
        self.word(POLICY)
    }

    /// The groups of events that were on at the end, as bits.
    pub fn groups(&self) -> u64 {
        self.word(GROUPS)
    }

    /// How many records `cpu` has begun.
    pub fn position(&self, cpu: usize) -> u64 {
        self.word(2 * LINE / 8 * (cpu + 1)) / RECORD_BYTES as u64
    }

    /// How many of them are overwritten.
    pub fn overrun(&self, cpu: usize) -> u64 {
        self.position(cpu).saturating_sub(self.records as u64)
    }

    /// The records of `cpu` that are there, in the order in which they were begun, each with its
    /// number.
    pub fn ring(self, cpu: usize) -> impl Iterator<Item = (u64, Record)> + 'a {
        let ring = Self::head_bytes(self.cpus) + cpu * self.records * RECORD_BYTES;
        (self.overrun(cpu)..self.position(cpu)).filter_map(move |position| {
            let at = (ring + position as usize % self.records * RECORD_BYTES) / 8;
            let words = core::array::from_fn(|word| self.word(at + word));
            Record::decode(words, position).map(|record| (position, record))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Body, Kind};

    /// A dump of two CPUs with rings of 256; CPU 1 has written `count` records.
    fn sample(count: u64) -> Vec<u8> {
        let mut words = vec![0_u64; Dump::head_bytes(2) / 8 + 2 * 256 * 4];
        words[..7].copy_from_slice(&[MAGIC, VERSION, 2, 256, 512_000_000, 2, 0xfff]);
        words[2 * 2 * LINE / 8] = count * RECORD_BYTES as u64;
        for n in 0..count {
            let record = Record { time: 100 + n, body: Body::about(Kind::Load, n) };
            let at = Dump::head_bytes(2) / 8 + (256 + n as usize % 256) * 4;
            words[at..at + 4].copy_from_slice(&record.encode(n));
        }
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn a_ring_is_read_from_its_oldest_record() {
        let bytes = sample(300);
        let dump = Dump::new(&bytes).unwrap();
        assert_eq!((dump.cpus(), dump.policy(), dump.overrun(0), dump.overrun(1)), (2, 2, 0, 44));
        assert_eq!(dump.ring(0).count(), 0);
        let found: Vec<_> = dump.ring(1).map(|(n, record)| (n, record.body.mm)).collect();
        assert_eq!(found, (44..300).map(|n| (n, n)).collect::<Vec<_>>());
    }

    #[test]
    fn a_record_that_was_begun_only_is_left_out() {
        let mut bytes = sample(300);
        let at = 2 * 2 * LINE;
        bytes[at..at + 8].copy_from_slice(&(301 * RECORD_BYTES as u64).to_be_bytes());
        let dump = Dump::new(&bytes).unwrap();
        assert_eq!(dump.ring(1).map(|(n, _)| n).last(), Some(299));
    }

    #[test]
    fn what_is_no_dump_is_named() {
        let bytes = sample(1);
        let with = |word: usize, value: u64| {
            let mut bytes = bytes.clone();
            bytes[word * 8..][..8].copy_from_slice(&value.to_be_bytes());
            Dump::new(&bytes).err()
        };
        assert_eq!(Dump::new(&bytes[..100]).err(), Some(Wrong::Short));
        assert_eq!(Dump::new(&bytes[..bytes.len() - 1]).err(), Some(Wrong::Short));
        assert_eq!(with(0, 1), Some(Wrong::Magic));
        assert_eq!(with(1, 9), Some(Wrong::Version(9)));
        assert_eq!(with(2, 0), Some(Wrong::Size));
        assert_eq!(with(3, 300), Some(Wrong::Size));
    }
}
