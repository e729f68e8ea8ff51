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
//! first instruction of a new task. `single=on` says that the CPUs share a thread of the host, as
//! with `-icount`. QEMU 10.0 then calls back with the number of the CPU that a block was translated
//! for, whichever runs it; so PIR is asked, where pseries has the number.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use coherence::profile::{Stretch, Tally, stretches};
use qemu_plugin::instruction::Instruction;
use qemu_plugin::register::RegisterDescriptor;
use qemu_plugin::translation_block::TranslationBlock;
use qemu_plugin::{
    CallbackFlags, PluginId, Result, VCPUIndex, qemu_plugin_get_registers, qemu_plugin_register_atexit_cb,
};

use crate::{BEGIN, END, word_of};

const RFID: u32 = 0x4c00_0024;
/// First instructions of vectors: `mtspr` of r13.
const R13_TO_SPRG1: u32 = 0x7db1_43a6;
const R13_TO_SPRG2: u32 = 0x7db2_43a6;
/// Where an interrupt from translated code arrives, by AIL=3; from real mode: at address 0.
const VECTORS: u64 = 0xc000_0000_0000_4000;
const SYSTEM_CALL: u64 = 0xc00;
/// A system call as an entry of a path; its number is added.
const CALL: u32 = 0x1_0000;
/// A task's first run as an entry of a path.
const NEW: u32 = 0x2_0000;

/// Of a callback that reads registers.
const READS: CallbackFlags = CallbackFlags::QEMU_PLUGIN_CB_R_REGS;

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
    is_single: bool,
    /// The tally's, without its lock.
    is_on: AtomicBool,
    /// The CPU that runs, if they share a thread.
    running: AtomicUsize,
    tally: Mutex<Tally>,
    /// Of any CPU: r0, r3, r4 and PIR.
    registers: OnceLock<[RegisterDescriptor<'static>; 4]>,
}

/// Indices of `Profile::registers`.
const R0: usize = 0;
const R3: usize = 1;
const R4: usize = 2;
const PIR: usize = 3;

static PROFILE: OnceLock<Profile> = OnceLock::new();

pub(crate) fn is_asked() -> bool {
    PROFILE.get().is_some()
}

fn profile() -> &'static Profile {
    PROFILE.get().expect("a profile is asked for")
}

pub(crate) fn install(
    id: PluginId,
    out: PathBuf,
    cpus: usize,
    is_single: bool,
    places: Places,
) -> Result<()> {
    let tally = Mutex::new(Tally::new(cpus));
    let running = AtomicUsize::new(0);
    let _ = PROFILE.set(Profile {
        out,
        places,
        is_single,
        is_on: AtomicBool::new(false),
        running,
        tally,
        registers: OnceLock::new(),
    });
    qemu_plugin_register_atexit_cb(id, |_| {
        std::fs::write(&profile().out, profile().told()).expect("the file out= cannot be written");
    })
}

/// Learns the names of the registers, when a CPU starts.
pub(crate) fn start_cpu() -> Result<()> {
    let all = qemu_plugin_get_registers()?;
    let named =
        ["r0", "r3", "r4", "pir"].map(|name| all.iter().find(|register| register.name == name).cloned());
    let [Some(r0), Some(r3), Some(r4), Some(pir)] = named else {
        panic!("the CPU is no PowerPC of a server")
    };
    let _ = profile().registers.set([r0, r3, r4, pir]);
    Ok(())
}

impl Profile {
    /// A register of the CPU that runs. Only in a callback that may read registers.
    fn register(&self, which: usize) -> u64 {
        let registers = self.registers.get().expect("a CPU has started");
        let bytes = registers[which].read().expect("a register can be read");
        bytes.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }

    /// Learns which CPU runs. Only in a callback that may read registers.
    fn learn(&self) {
        if self.is_single {
            self.running.store(self.register(PIR) as usize, Ordering::Relaxed);
        }
    }

    /// Tells the tally about the CPU that runs; its callback got `index`.
    fn tell(&self, index: VCPUIndex, event: impl FnOnce(&mut Tally, usize)) {
        let cpu = if self.is_single { self.running.load(Ordering::Relaxed) } else { index as usize };
        event(&mut self.tally.lock().unwrap(), cpu);
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

/// The vector that an instruction is the first of.
fn vector(address: u64, word: u32) -> Option<u64> {
    let number = address & 0xfff;
    // Their code is five instructions, so it holds no other multiple of 32 bytes. In real mode
    // firmware has been there before.
    let is_vector = match address - number {
        0 => matches!(word, R13_TO_SPRG1 | R13_TO_SPRG2),
        page => page == VECTORS,
    };
    (is_vector && number >= 0x100 && number.is_multiple_of(0x20)).then_some(number)
}

/// Has an instruction tell the tally.
fn on(instruction: &Instruction<'_>, event: impl Fn(&mut Tally, usize) + Send + Sync + 'static) {
    let told = move |index| {
        profile().learn();
        profile().tell(index, |tally, cpu| event(tally, cpu));
    };
    instruction.register_execute_callback_flags(told, READS);
}

/// Has a block counted.
pub(crate) fn watch(block: &TranslationBlock<'_>) {
    let profile = profile();
    if profile.is_single {
        let learn = |_| {
            if profile.is_on.load(Ordering::Relaxed) {
                profile.learn();
            }
        };
        block.register_execute_callback_flags(learn, READS);
    }
    let instructions: Vec<_> = block.instructions().collect();
    let words: Vec<u32> = instructions.iter().map(|one| word_of(one, false)).collect();
    // Events come before counts: the first instruction in the kernel is the kernel's.
    for (instruction, word) in instructions.iter().zip(&words) {
        let address = instruction.vaddr();
        let set = |event: fn(&mut Tally)| {
            on(instruction, move |tally, _| {
                event(tally);
                profile.is_on.store(tally.is_on(), Ordering::Relaxed);
            });
        };
        match *word {
            BEGIN => set(Tally::begin),
            END => set(Tally::end),
            _ => {}
        }
        if address == profile.places.start {
            set(Tally::start);
        }
        if address == profile.places.first_run {
            on(instruction, |tally, cpu| tally.renew(cpu, NEW));
        }
        if address == profile.places.switch {
            on(instruction, |tally, cpu| tally.switch(cpu, profile.register(R3), profile.register(R4)));
        }
        if let Some(vector) = vector(address, *word) {
            on(instruction, move |tally, cpu| {
                let call = || CALL + u32::from(profile.register(R0) as u16);
                tally.enter(cpu, if vector == SYSTEM_CALL { call() } else { vector as u32 });
            });
        }
    }
    for range in stretches(&words, |word| word == BEGIN || word == END) {
        let first = &instructions[range.start];
        let stretch = Stretch { address: first.vaddr(), words: words[range].to_vec() };
        let number = profile.tally.lock().unwrap().stretch(stretch);
        first.register_execute_callback(move |index| {
            if profile.is_on.load(Ordering::Relaxed) {
                profile.tell(index, |tally, cpu| tally.run(cpu, number));
            }
        });
    }
    // It ends a block, and is still the entry's.
    for (instruction, _) in instructions.iter().zip(&words).filter(|(_, word)| **word == RFID) {
        on(instruction, Tally::leave);
    }
}
