//! The text of a record: one line, in the form of Linux's ftrace.

use core::fmt::{self, Display, Formatter};

use crate::{ARMS, Body, Kind, LEAVES, Operation, RANGES, REACHES, Why};

/// An address space as text: `mm3.1`, as the kernel prints it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Mm(pub u64);

impl Mm {
    /// The address space without user memory.
    pub const INIT: Mm = Mm(1 << 32 | 1);
}

impl Display for Mm {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Mm(0) => f.write_str("none"),
            Mm::INIT => f.write_str("init_mm"),
            Mm(bits) => write!(f, "mm{}.{}", bits as u32, bits >> 32),
        }
    }
}

/// A record with its place: a line of the text.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The name of the task that runs there, if it is known.
    pub task: Option<&'a str>,
    /// Its number, if it is known.
    pub tid: Option<u32>,
    /// The CPU.
    pub cpu: usize,
    /// Timebase ticks per second.
    pub ticks: u64,
    /// The record.
    pub record: crate::Record,
}

impl Display for Line<'_> {
    /// `task-tid [cpu] seconds: event`, as ftrace has it; `<...>` is a task without a known name.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = self.task.unwrap_or(if self.tid == Some(0) { "<idle>" } else { "<...>" });
        write!(f, "{name:>16}-")?;
        match self.tid {
            Some(tid) => write!(f, "{tid:<5}")?,
            None => write!(f, "{:<5}", '?')?,
        }
        let (seconds, rest) = (self.record.time / self.ticks, self.record.time % self.ticks);
        let nanoseconds = rest * 1_000_000_000 / self.ticks;
        write!(f, " [{:03}] {seconds}.{nanoseconds:09}: {}", self.cpu, self.record.body)
    }
}

/// A number's name in a table.
fn named(table: &[&'static str], number: u8) -> &'static str {
    table.get(usize::from(number)).copied().unwrap_or("?")
}

/// An operation's name.
fn asks(number: u8) -> &'static str {
    Operation::of(number.into()).map_or("?", Operation::name)
}

impl Display for Body {
    /// The event's name, then its fields as `name=value`.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Body { kind, sub, other, mm, arg } = *self;
        write!(f, "{}:", kind.name())?;
        let about = Mm(mm);
        match kind {
            Kind::Switch => {
                let why = LEAVES.get(usize::from(sub >> 2 & 3)).map_or("?", |(name, _)| name);
                let arm = named(&ARMS, sub & 3);
                write!(f, " next_pid={other} arm={arm} prev={why} loaded={about} next_mm={}", Mm(arg))
            }
            Kind::Name => {
                write!(f, " pid={other} comm=")?;
                let bytes = [mm.to_be_bytes(), arg.to_be_bytes()];
                let name = bytes.as_flattened();
                let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
                name[..end].utf8_chunks().try_for_each(|chunk| f.write_str(chunk.valid()))
            }
            Kind::End => write!(f, " mm={about} why={}", Why::of(sub.into()).map_or("?", Why::name)),
            Kind::Unit => write!(f, " mm={about} {}", named(&["taken", "given_back"], sub)),
            Kind::Users => {
                write!(
                    f,
                    " mm={about} {} pid={other}",
                    named(&["taken", "given_back", "taken for=new_task"], sub)
                )
            }
            Kind::Count => {
                write!(
                    f,
                    " mm={about} {} pid={other}",
                    named(&["taken", "given_back", "given_back for=users"], sub)
                )
            }
            Kind::Mask => write!(f, " mm={about} bit={sub}"),
            Kind::Evict | Kind::Scan | Kind::Shoot => {
                write!(f, " mm={about}")?;
                if kind == Kind::Evict {
                    write!(f, " why={}", named(&["exit", "trim"], sub))?;
                }
                let more = if other == Body::NOT_COUNTED { "+" } else { "" };
                write!(f, " cpus={}{more}", self.cpus())
            }
            Kind::Filtered | Kind::Spared => write!(f, " mm={about} target=cpu{other}"),
            Kind::Sent => write!(f, " call={other} asks={} mm={about} target=cpu{arg}", asks(sub)),
            Kind::Answered => write!(f, " call={other} by=cpu{arg}"),
            Kind::Taken => {
                write!(f, " call={other} asks={} mm={about} by=cpu{arg}", asks(sub))
            }
            Kind::Posted | Kind::Done => write!(f, " call={other} asks={} mm={about}", asks(sub)),
            Kind::Interrupt | Kind::NotCalled => Ok(()),
            Kind::Resched => write!(f, " target=cpu{other}"),
            Kind::Flush => {
                let (what, reach) = (named(&RANGES, sub), named(&REACHES, arg as u8 & 3));
                write!(f, " mm={about} what={what} start={:#x} pages={other} reach={reach}", arg & !3)
            }
            Kind::FlushLocal | Kind::FlushGlobal => {
                write!(f, " mm={about} what={} start={arg:#x} pages={other}", named(&RANGES, sub))
            }
            Kind::Fault => {
                let access = named(&["load", "store", "fetch", "?"], sub & 3);
                write!(f, " mm={about} addr={arg:#x} access={access}")
            }
            Kind::Syscall if sub == 0 => write!(f, " nr={other} args={arg:#x},{mm:#x}"),
            Kind::Syscall => write!(f, " nr={other} errno={mm} ret={arg:#x}"),
            Kind::Cpu => f.write_str(named(&[" offline", " online"], sub)),
            Kind::Membarrier => write!(f, " mm={about} command={other}"),
            Kind::Report => f.write_str(named(&[" begins", " ends"], sub)),
            Kind::Setting => write!(f, " groups={arg:#x}{}", named(&["", " from the start"], sub)),
            _ => write!(f, " mm={about}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_where_and_when() {
        let record = crate::Record { time: 512_000_001, body: Body::about(Kind::Load, Mm::INIT.0) };
        let line = Line { task: None, tid: Some(0), cpu: 3, ticks: 512_000_000, record };
        assert_eq!(line.to_string(), "          <idle>-0     [003] 1.000000001: load: mm=init_mm");
        let line = Line { task: Some("demo"), tid: None, ..line };
        assert_eq!(line.to_string(), "            demo-?     [003] 1.000000001: load: mm=init_mm");
    }

    #[test]
    fn lines_name_their_fields() {
        let mm = 1 << 32 | 3;
        let body = |kind| Body { kind, sub: 1, other: 7, mm, arg: 2 };
        for (body, expected) in [
            (Body::about(Kind::Borrow, mm), "borrow: mm=mm3.1"),
            (body(Kind::Sent), "sent: call=7 asks=shoot mm=mm3.1 target=cpu2"),
            (body(Kind::Taken), "taken: call=7 asks=shoot mm=mm3.1 by=cpu2"),
            (body(Kind::Evict), "evict: mm=mm3.1 why=trim cpus=8"),
            (Body { other: Body::NOT_COUNTED, ..body(Kind::Scan) }, "scan: mm=mm3.1 cpus=1+"),
            (
                Body { sub: 0, arg: 0x2000_0002, ..body(Kind::Flush) },
                "flush: mm=mm3.1 what=pages start=0x20000000 pages=7 reach=global",
            ),
            (body(Kind::Cpu), "cpu: online"),
            (
                Body { sub: 2, other: 0, arg: Mm::INIT.0, ..body(Kind::Switch) },
                "switch: next_pid=0 arm=kernel>user prev=sleeps loaded=mm3.1 next_mm=init_mm",
            ),
            (
                Body { mm: u64::from_be_bytes(*b"demo\0\0\0\0"), arg: 0, ..body(Kind::Name) },
                "name: pid=7 comm=demo",
            ),
        ] {
            assert_eq!(body.to_string(), expected);
        }
    }
}
