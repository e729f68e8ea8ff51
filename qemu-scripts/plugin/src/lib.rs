// SPDX-License-Identifier: GPL-2.0-or-later
//! Counts the cache lines that a guest's CPUs take from each other, between two marks.
//!
//! The guest marks the region by instructions that do nothing else: `and 30,30,30` begins it,
//! `and 31,31,31` ends it. In between the CPUs run by turns, and each access to memory goes
//! through the model. What was counted is written as JSON to the file `out=`.
//!
//! Arguments: `out=FILE`, `turn=INSTRUCTIONS`, `count=ADDRESS` (any number: how often the
//! instruction there runs), `slow=N` (between the marks the guest's clock runs at one Nth of its
//! speed; the plugin must be preloaded for it, see [`clock`]), `little=on` (for a little-endian
//! guest). With `profile=ADDRESS` it counts instructions instead: see [`profile`].

mod clock;
mod profile;

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use coherence::model::{LINE_BYTES, Model, Moved};
use coherence::turns::{PATIENCE, Turns};
use qemu_plugin::install::{Args, Info, Value};
use qemu_plugin::instruction::Instruction;
use qemu_plugin::plugin::{HasCallbacks, Register};
use qemu_plugin::translation_block::TranslationBlock;
use qemu_plugin::{MemRW, PluginId, Result, VCPUIndex, register};

const BEGIN: u32 = 0x7fde_f038;
const END: u32 = 0x7fff_f838;
const PAGE_BYTES: u64 = 4096;

/// What was seen of the lines.
#[derive(Default)]
struct Seen {
    model: Model,
    /// By line and the instruction's address.
    at: HashMap<(u64, u64), Place>,
    /// Pages that were accessed relative to the stack pointer.
    stacks: HashSet<u64>,
}

/// What an instruction did to a line.
#[derive(Clone, Copy)]
struct Place {
    /// The virtual address that it accessed when it first moved the line.
    address: u64,
    transfers: u64,
    shared_misses: u64,
}

/// The measurement.
struct Run {
    out: PathBuf,
    turns: Turns,
    slow: i64,
    is_little_endian: bool,
    has_begun: AtomicBool,
    is_on: AtomicBool,
    instructions: Vec<AtomicU64>,
    seen: Mutex<Seen>,
    counted: Mutex<HashMap<u64, Arc<AtomicU64>>>,
}

static RUN: OnceLock<Run> = OnceLock::new();

impl Run {
    /// The first mark counts: there is one region.
    fn begin(&'static self) {
        if self.has_begun.swap(true, Ordering::SeqCst) {
            return;
        }
        clock::slow_down(self.slow);
        self.is_on.store(true, Ordering::SeqCst);
        std::thread::spawn(|| {
            while self.turns.look() {
                std::thread::sleep(PATIENCE);
            }
        });
    }

    fn end(&self) {
        if self.is_on.swap(false, Ordering::SeqCst) {
            self.turns.end();
            clock::slow_down(1);
            std::fs::write(&self.out, self.told()).expect("the file out= cannot be written");
        }
    }

    fn step(&self, cpu: usize, instructions: u64) {
        if self.is_on.load(Ordering::Relaxed) {
            self.turns.step(cpu, instructions);
            self.instructions[cpu].fetch_add(instructions, Ordering::Relaxed);
        }
    }

    fn access(&self, cpu: usize, by: Accessor, virtual_address: u64, address: u64, is_store: bool) {
        let mut seen = self.seen.lock().unwrap();
        if by.is_stack {
            seen.stacks.insert(virtual_address / PAGE_BYTES);
        }
        let moved = if is_store { seen.model.store(cpu, address) } else { seen.model.load(cpu, address) };
        if matches!(moved, Moved::Transfer | Moved::SharedMiss) {
            let line = address / LINE_BYTES * LINE_BYTES;
            let new = Place { address: virtual_address, transfers: 0, shared_misses: 0 };
            let place = seen.at.entry((line, by.pc)).or_insert(new);
            *(if moved == Moved::Transfer { &mut place.transfers } else { &mut place.shared_misses }) += 1;
        }
    }

    /// What was counted, as JSON.
    fn told(&self) -> String {
        let seen = self.seen.lock().unwrap();
        let mut by_line: HashMap<u64, Vec<(u64, Place)>> = HashMap::new();
        for ((line, pc), place) in &seen.at {
            by_line.entry(*line).or_default().push((*pc, *place));
        }
        let each: Vec<u64> = self.instructions.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let counted = self.counted.lock().unwrap();
        let counted: Vec<String> = counted
            .iter()
            .map(|(pc, count)| format!("\"{pc:#x}\": {}", count.load(Ordering::Relaxed)))
            .collect();
        let mut lines: Vec<_> = seen.model.lines().filter(|(line, _)| by_line.contains_key(line)).collect();
        lines.sort_by_key(|(line, counts)| (Reverse(counts.transfers + counts.shared_misses), *line));
        let lines: Vec<String> = lines
            .into_iter()
            .map(|(line, counts)| {
                let mut places = by_line.remove(&line).unwrap();
                places.sort_by_key(|(pc, place)| (Reverse(place.transfers + place.shared_misses), *pc));
                let is_stack = places.iter().any(|(_, place)| seen.stacks.contains(&(place.address / PAGE_BYTES)));
                let places: Vec<String> = places
                    .iter()
                    .map(|(pc, Place { address, transfers, shared_misses })| {
                        format!("[\"{pc:#x}\", \"{address:#x}\", {transfers}, {shared_misses}]")
                    })
                    .collect();
                format!(
                    "{{\"line\": \"{line:#x}\", \"transfers\": {}, \"misses\": {}, \"upgrades\": {}, \"writers\": {}, \
                     \"is_stack\": {is_stack},\n  \"at\": [{}]}}",
                    counts.transfers,
                    counts.shared_misses,
                    counts.upgrades,
                    counts.writers.len(),
                    places.join(", "),
                )
            })
            .collect();
        format!(
            "{{\"instructions\": {each:?},\n\"steps\": {}, \"stolen\": {},\n\"counted\": {{{}}},\n\"lines\": [\n{}\n]}}\n",
            self.turns.steps(),
            self.turns.stolen(),
            counted.join(", "),
            lines.join(",\n"),
        )
    }
}

/// The word of an instruction.
fn word_of(instruction: &Instruction<'_>, is_little_endian: bool) -> u32 {
    let from_bytes = if is_little_endian { u32::from_le_bytes } else { u32::from_be_bytes };
    instruction.data().first_chunk().map_or(0, |bytes| from_bytes(*bytes))
}

/// An instruction that accesses memory.
#[derive(Clone, Copy)]
struct Accessor {
    pc: u64,
    /// Relative to the stack pointer: RA is r1.
    is_stack: bool,
}

fn run() -> &'static Run {
    RUN.get().expect("the plugin is installed")
}

/// Has an instruction's accesses counted, and what else is asked about it.
fn watch(instruction: &Instruction<'_>) {
    let pc = instruction.vaddr();
    let word = word_of(instruction, run().is_little_endian);
    let is_stack = word >> 16 & 31 == 1;
    let by = Accessor { pc, is_stack };
    instruction.register_memory_access_callback(
        move |cpu, info, virtual_address| {
            let run = run();
            if !run.is_on.load(Ordering::Relaxed) {
                return;
            }
            if let Some(place) = info.hwaddr(virtual_address).filter(|place| !place.is_io()) {
                run.access(cpu as usize, by, virtual_address, place.hwaddr(), info.is_store());
            }
        },
        MemRW::QEMU_PLUGIN_MEM_RW,
    );
    match word {
        BEGIN => instruction.register_execute_callback(|_| run().begin()),
        END => instruction.register_execute_callback(|_| run().end()),
        _ => {}
    }
    if let Some(count) = run().counted.lock().unwrap().get(&pc).cloned() {
        instruction.register_execute_callback(move |_| {
            if run().is_on.load(Ordering::Relaxed) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
}

struct Lines;

impl HasCallbacks for Lines {
    fn on_translation_block_translate(&mut self, _: PluginId, block: TranslationBlock<'_>) -> Result<()> {
        if profile::is_asked() {
            profile::watch(&block);
            return Ok(());
        }
        let size = block.size() as u64;
        block.register_execute_callback(move |cpu| run().step(cpu as usize, size));
        block.instructions().for_each(|instruction| watch(&instruction));
        Ok(())
    }

    fn on_vcpu_init(&mut self, _: PluginId, _: VCPUIndex) -> Result<()> {
        if profile::is_asked() {
            profile::start_cpu()?;
        }
        Ok(())
    }

    fn on_vcpu_idle(&mut self, _: PluginId, cpu: VCPUIndex) -> Result<()> {
        if !profile::is_asked() && run().is_on.load(Ordering::Relaxed) {
            run().turns.idle(cpu as usize);
        }
        Ok(())
    }
}

impl Register for Lines {
    fn register(&mut self, id: PluginId, arguments: &Args, info: &Info) -> Result<()> {
        let text = |name: &str| match arguments.parsed.get(name) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Integer(number)) => Some(number.to_string()),
            _ => None,
        };
        let addresses = |name: &'static str| {
            let digits = arguments.raw.iter().filter_map(move |word| word.strip_prefix(name));
            digits.map(move |digits| {
                u64::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("{name} no address"))
            })
        };
        let counted = addresses("count=0x").map(|address| (address, Arc::default()));
        let cpus = info.system.as_ref().map_or(1, |system| system.max_vcpus as usize);
        if let Some(start) = addresses("profile=0x").next() {
            let address = |name| addresses(name).next().unwrap_or(0);
            let places =
                profile::Places { start, switch: address("switch=0x"), first_run: address("first_run=0x") };
            let out = text("out").expect("out=FILE is missing").into();
            let is_single = matches!(arguments.parsed.get("single"), Some(Value::Bool(true)));
            return profile::install(id, out, cpus, is_single, places);
        }
        let _ = RUN.set(Run {
            out: text("out").expect("out=FILE is missing").into(),
            turns: Turns::new(
                cpus,
                text("turn").map_or(500, |turn| turn.parse().expect("turn= is a number")),
            ),
            slow: text("slow").map_or(1, |slow| slow.parse().expect("slow= is a number")),
            is_little_endian: matches!(arguments.parsed.get("little"), Some(Value::Bool(true))),
            has_begun: AtomicBool::new(false),
            is_on: AtomicBool::new(false),
            instructions: (0..cpus).map(|_| AtomicU64::new(0)).collect(),
            seen: Mutex::default(),
            counted: Mutex::new(counted.collect()),
        });
        Ok(())
    }
}

register!(Lines);
