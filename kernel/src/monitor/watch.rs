//! `watch`: what CPUs and address spaces do, on a screen that is drawn anew each second.
//!
//! It reads what each CPU publishes and counts, and calls none: an idle CPU stays as it is.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use arch::timer;
use kcore::cpu::CpuId;
use kcore::mm::{Mm, MmId};
use terminal::ranges::ranges;
use terminal::screen;

use super::mms;
use crate::machine::lazy_tlb;
use crate::special::input::{self, Owner};
use crate::task::registry;
use crate::{clock, console};

const REFRESH_US: u64 = 1_000_000;
/// The width of a row.
const COLUMNS: usize = 60;
/// So many rows of CPUs and of address spaces fit on a screen of 24, with headings, blank lines, what is left
/// out, and the cursor.
const MOST_CPUS: usize = 9;
const MOST_MMS: usize = 6;
const _: () = assert!(MOST_CPUS + MOST_MMS + 9 <= 24);

/// What a CPU counts, for its rates.
#[derive(Clone, Copy, Default)]
struct Counts {
    switches: u64,
    borrows: u64,
    ipis: u64,
}

/// A CPU as it was seen.
#[derive(Clone, Copy)]
struct Seen {
    cpu: CpuId,
    /// `current.mm`.
    mm: MmId,
    /// What is loaded: none if the CPU is offline.
    active_mm: MmId,
    counts: Counts,
    /// Per second, since it was seen before.
    rates: Counts,
    /// When its borrow was seen first, as a time base.
    lazy_since_tb: u64,
}

impl Seen {
    fn look(cpu: CpuId) -> Self {
        let state = lazy_tlb().cpu(cpu);
        let of = &state.counters;
        let counts = Counts {
            switches: of.switch_uk.get() + of.switch_kk.get() + of.switch_ku.get() + of.switch_uu.get(),
            borrows: of.lazy_enter.get(),
            ipis: of.ipi_sent_call.get() + of.ipi_sent_resched.get(),
        };
        let (mm, active_mm) = (state.curr_mm.peek(), state.active_mm.peek());
        Seen { cpu, mm, active_mm, counts, rates: Counts::default(), lazy_since_tb: timer::now_tb() }
    }

    /// The look after `before`, `passed_us` later.
    fn after(before: &Seen, passed_us: u64) -> Self {
        let mut now = Seen::look(before.cpu);
        let rate = |now: u64, before: u64| (now - before) * 1_000_000 / passed_us.max(1);
        now.rates = Counts {
            switches: rate(now.counts.switches, before.counts.switches),
            borrows: rate(now.counts.borrows, before.counts.borrows),
            ipis: rate(now.counts.ipis, before.counts.ipis),
        };
        // A borrow that goes from one kernel thread to the next is not counted anew.
        if now.active_mm == before.active_mm && now.counts.borrows == before.counts.borrows {
            now.lazy_since_tb = before.lazy_since_tb;
        }
        now
    }

    fn is_lazy(&self) -> bool {
        self.mm.is_none() && self.active_mm.is_some() && self.active_mm != MmId::INIT_MM
    }

    fn word(&self) -> &'static str {
        match () {
            () if self.is_lazy() => "lazy",
            () if self.mm.is_none() => "kernel",
            () => "user",
        }
    }
}

/// The order of the rows.
#[derive(Clone, Copy)]
enum Order {
    Cpu,
    Switches,
    Borrows,
    Ipis,
}

impl Order {
    fn next(self) -> Self {
        match self {
            Order::Cpu => Order::Switches,
            Order::Switches => Order::Borrows,
            Order::Borrows => Order::Ipis,
            Order::Ipis => Order::Cpu,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Order::Cpu => "number",
            Order::Switches => "switches",
            Order::Borrows => "borrows",
            Order::Ipis => "IPIs",
        }
    }

    fn key(self, seen: &Seen) -> impl Ord {
        let most_first = match self {
            Order::Cpu => 0,
            Order::Switches => seen.rates.switches,
            Order::Borrows => seen.rates.borrows,
            Order::Ipis => seen.rates.ipis,
        };
        (core::cmp::Reverse(most_first), seen.cpu.index())
    }
}

/// Shows the screen until the key q, or Ctrl-C.
pub(super) fn show() {
    let mut order = Order::Cpu;
    let mut paused = false;
    let mut at_tb = timer::now_tb();
    let mut seen: Vec<Seen> = (0..lazy_tlb().nr_cpus()).map(|cpu| Seen::look(CpuId::new(cpu))).collect();
    console::write_bytes(screen::ENTER.as_bytes());
    loop {
        let text = text(&seen, order, paused);
        console::write_bytes(screen::drawn(&text, COLUMNS).as_bytes());
        match key(at_tb + REFRESH_US * timer::ticks_per_us(), paused) {
            Some(b'q' | 3 | 4) => break,
            Some(b's') => order = order.next(),
            Some(b'p' | b' ') => paused = !paused,
            Some(_) => {}
            None => {
                let now_tb = timer::now_tb();
                let passed_us = (now_tb - at_tb) / timer::ticks_per_us();
                seen = seen.iter().map(|before| Seen::after(before, passed_us)).collect();
                at_tb = now_tb;
            }
        }
    }
    console::write_bytes(screen::LEAVE.as_bytes());
}

/// The next key; none if the time base reaches `deadline_tb` first. Paused, it waits for a key.
fn key(deadline_tb: u64, paused: bool) -> Option<u8> {
    let mut typed = [0; 1];
    while input::take(Owner::Kernel, &mut typed) != Some(1) {
        let deadline_tb = if paused { u64::MAX } else { deadline_tb };
        if input::wait_until(Owner::Kernel, deadline_tb) == Ok(false) {
            return None;
        }
    }
    Some(typed[0])
}

fn text(seen: &[Seen], order: Order, paused: bool) -> String {
    let online = seen.iter().filter(|one| one.active_mm.is_some()).count();
    let lazy = seen.iter().filter(|one| one.is_lazy()).count();
    let mut text = format!(
        "{}, {online} of {} CPUs online, {lazy} lazy, up {} s{}\n",
        lazy_tlb().config().policy.name(),
        seen.len(),
        clock::uptime_us() / 1_000_000,
        if paused { ", paused" } else { "" },
    );
    cpus(&mut text, seen, order);
    address_spaces(&mut text, seen);
    text += &format!("q: quit   p: pause   s: order of CPUs (by {})\n", order.name());
    text
}

fn row([cpu, task, loaded, word, lazy, switches, borrows, ipis]: [&str; 8]) -> String {
    format!("{cpu:>4} {task:<9.9} {loaded:<11} {word:<6} {lazy:>5} {switches:>5} {borrows:>8} {ipis:>5}")
}

/// A row per CPU.
#[inline(never)]
fn cpus(text: &mut String, seen: &[Seen], order: Order) {
    let mut rows: Vec<&Seen> = seen.iter().collect();
    rows.sort_unstable_by_key(|one| order.key(one));
    let tasks = registry::snapshot();
    let heading = ["CPU", "task", "loaded", "use", "lazy", "sw/s", "borrow/s", "IPI/s"];
    *text += &format!("\n{}\n", row(heading));
    for one in rows.iter().take(MOST_CPUS) {
        if one.active_mm.is_none() {
            *text += &format!("{:>4} offline\n", one.cpu.index());
            continue;
        }
        let mut running = tasks.iter().filter(|task| task.cpu() == one.cpu && task.state() == "running");
        let name = running.next().map_or("idle".into(), |task| format!("{}", task.name()));
        let lazy = match one.is_lazy() {
            true => {
                format!("{} s", (timer::now_tb() - one.lazy_since_tb) / timer::ticks_per_us() / 1_000_000)
            }
            false => "-".into(),
        };
        let number = |n: u64| format!("{n}");
        *text += &row([
            &number(one.cpu.index() as u64),
            &name,
            &format!("{:?}", one.active_mm),
            one.word(),
            &lazy,
            &number(one.rates.switches),
            &number(one.rates.borrows),
            &number(one.rates.ipis),
        ]);
        text.push('\n');
    }
    more(text, rows.len(), MOST_CPUS, "CPUs");
}

/// A row per address space: those with most borrowers first.
#[inline(never)]
fn address_spaces(text: &mut String, seen: &[Seen]) {
    let borrowers = |id: MmId| {
        seen.iter().filter(move |one| one.is_lazy() && one.active_mm == id).map(|one| one.cpu.index())
    };
    let mut all: Vec<MmId> = lazy_tlb().mms().iter().map(Mm::id).filter(|id| id.is_some()).collect();
    all.sort_unstable_by_key(|&id| (core::cmp::Reverse(borrowers(id).count()), id.slot()));
    *text += "\n mm          users count state    borrowed by\n";
    for &id in all.iter().take(MOST_MMS) {
        let mm = &lazy_tlb().mms()[id.slot()];
        let [users, count, state] = mms::life(id, mm);
        let (id_text, by) = (format!("{id:?}"), ranges(borrowers(id)));
        *text += &format!(" {id_text:<11} {users:>5} {count:>5} {state:<8} {by}\n");
    }
    more(text, all.len(), MOST_MMS, "address spaces");
}

/// The number of rows that are left out.
fn more(text: &mut String, rows: usize, shown: usize, of: &str) {
    if rows > shown {
        *text += &format!(" and {} more {of}\n", rows - shown);
    }
}
