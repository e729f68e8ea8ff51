// SPDX-License-Identifier: GPL-2.0-or-later
//! Counts the instructions of a guest by address: for a big-endian powerpc64 kernel with vectors
//! where this project has them.
//!
//! Counted is what runs between the marks; in a run without marks, everything from the instruction
//! at `profile=ADDRESS` on, the first of the program. The file `out=` gets, at the end of the run, a
//! line for each path and stretch (`coherence::profile`): its runs, the address, the instructions'
//! words, and the entries of the path. An entry is a vector's number, [`CALL`] with a system call's
//! number, or [`NEW`].
//!
//! `switch=ADDRESS` is a function that leaves the task r3 for the task r4, `first_run=ADDRESS` the
//! first instruction of a new task.

use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

use coherence::profile::{Stretch, Tally, stretches};
use qemu_plugin::register::RegisterDescriptor;
use qemu_plugin::translation_block::TranslationBlock;
use qemu_plugin::{
    CallbackFlags, PluginId, Result, qemu_plugin_get_registers, qemu_plugin_register_atexit_cb,
};

use crate::{BEGIN, END, word_of};

const RFID: u32 = 0x4c00_0024;
/// Where an interrupt from translated code arrives, by AIL=3; from real mode: at address 0.
const VECTORS: u64 = 0xc000_0000_0000_4000;
const SYSTEM_CALL: u64 = 0xc00;
/// A system call as an entry of a path; its number is added.
const CALL: u32 = 0x1_0000;
/// A task's first run as an entry of a path.
const NEW: u32 = 0x2_0000;

/// Addresses at which something happens.
pub(crate) struct Places {
    pub(crate) start: u64,
    pub(crate) switch: u64,
    pub(crate) first_run: u64,
}

/// The measurement.
struct Profile {
    out: PathBuf,
    places: Places,
    tally: Mutex<Tally>,
    /// r0, r3 and r4 of each CPU.
    registers: Mutex<Vec<Option<[RegisterDescriptor<'static>; 3]>>>,
}

static PROFILE: OnceLock<Profile> = OnceLock::new();

pub(crate) fn is_asked() -> bool {
    PROFILE.get().is_some()
}

fn profile() -> &'static Profile {
    PROFILE.get().expect("a profile is asked for")
}

pub(crate) fn install(id: PluginId, out: PathBuf, cpus: usize, places: Places) -> Result<()> {
    let registers = Mutex::new((0..cpus).map(|_| None).collect());
    let _ = PROFILE.set(Profile { out, places, tally: Mutex::new(Tally::new(cpus)), registers });
    qemu_plugin_register_atexit_cb(id, |_| {
        std::fs::write(&profile().out, profile().told()).expect("the file out= cannot be written");
    })
}

/// Learns the names of a CPU's registers.
pub(crate) fn start_cpu(cpu: usize) -> Result<()> {
    let all = qemu_plugin_get_registers()?;
    let named = ["r0", "r3", "r4"].map(|name| all.iter().find(|register| register.name == name).cloned());
    let [Some(r0), Some(r3), Some(r4)] = named else { panic!("the CPU is no PowerPC") };
    profile().registers.lock().unwrap()[cpu] = Some([r0, r3, r4]);
    Ok(())
}

impl Profile {
    /// r0, r3 and r4. Only in a callback that may read registers.
    fn registers(&self, cpu: usize) -> [u64; 3] {
        let registers = self.registers.lock().unwrap();
        registers[cpu].as_ref().expect("the CPU has started").each_ref().map(|register| {
            let bytes = register.read().expect("a register can be read");
            bytes.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
        })
    }

    fn told(&self) -> String {
        let tally = self.tally.lock().unwrap();
        let mut text = format!("{}\n", if tally.is_marked() { "marks" } else { "whole" });
        for (path, stretch, runs) in tally.counted() {
            let words: String = stretch.words.iter().map(|word| format!("{word:08x}")).collect();
            let path: String = path.iter().map(|entry| format!(" {entry:#x}")).collect();
            text += &format!("{runs} {:#x} {words}{path}\n", stretch.address);
        }
        text
    }
}

/// The vector at an address.
fn vector(address: u64) -> Option<u64> {
    let number = address & 0xfff;
    let is_vector = matches!(address - number, 0 | VECTORS) && number >= 0x100 && number % 0x20 == 0;
    // Their code is five instructions, so it holds no other multiple of 32 bytes.
    is_vector.then_some(number)
}

/// Has a block counted.
pub(crate) fn watch(block: &TranslationBlock<'_>) {
    let Profile { places, .. } = profile();
    let instructions: Vec<_> = block.instructions().collect();
    let words: Vec<u32> = instructions.iter().map(|one| word_of(one, false)).collect();
    // Events come before counts: the first instruction in the kernel is the kernel's.
    for (instruction, word) in instructions.iter().zip(&words) {
        let address = instruction.vaddr();
        let on = |event: fn(&mut Tally, usize)| {
            instruction.register_execute_callback(move |cpu| {
                event(&mut profile().tally.lock().unwrap(), cpu as usize)
            });
        };
        match *word {
            BEGIN => on(|tally, _| tally.begin()),
            END => on(|tally, _| tally.end()),
            _ => {}
        }
        if address == places.start {
            on(|tally, _| tally.start());
        }
        if address == places.first_run {
            on(|tally, cpu| tally.renew(cpu, NEW));
        }
        if address == places.switch {
            let switch = |cpu| {
                let [_, from, to] = profile().registers(cpu as usize);
                profile().tally.lock().unwrap().switch(cpu as usize, from, to);
            };
            instruction.register_execute_callback_flags(switch, CallbackFlags::QEMU_PLUGIN_CB_R_REGS);
        }
        if let Some(vector) = vector(address) {
            let enter = move |cpu| {
                let call = |number: u64| CALL + number as u16 as u32;
                let cpu = cpu as usize;
                let by =
                    if vector == SYSTEM_CALL { call(profile().registers(cpu)[0]) } else { vector as u32 };
                profile().tally.lock().unwrap().enter(cpu, by);
            };
            instruction.register_execute_callback_flags(enter, CallbackFlags::QEMU_PLUGIN_CB_R_REGS);
        }
    }
    for range in stretches(&words, |word| word == BEGIN || word == END) {
        let first = &instructions[range.start];
        let stretch = Stretch { address: first.vaddr(), words: words[range].to_vec() };
        let mut tally = profile().tally.lock().unwrap();
        let number = tally.stretch(stretch);
        first.register_execute_callback(move |cpu| profile().tally.lock().unwrap().run(cpu as usize, number));
    }
    // It ends a block, and is still the entry's.
    for (instruction, _) in instructions.iter().zip(&words).filter(|(_, word)| **word == RFID) {
        instruction.register_execute_callback(|cpu| profile().tally.lock().unwrap().leave(cpu as usize));
    }
}
