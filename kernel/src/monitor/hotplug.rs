//! `offline` and `online`: a CPU goes, and comes back.

use alloc::format;
use alloc::string::String;

use kcore::cpu::CpuId;

use crate::machine::lazy_tlb;
use crate::println;
use crate::task::{self, Refused};

/// Takes a CPU offline. If the monitor runs there, it is moved.
pub(super) fn offline(words: &[&str]) {
    change("offline", words, task::offline);
}

/// Brings a CPU back.
pub(super) fn online(words: &[&str]) {
    change("online", words, task::online);
}

/// Calls `act` for the CPU in `words` and prints the outcome. `command` is also the name of the
/// state that it leads to.
fn change(command: &str, words: &[&str], act: fn(CpuId) -> Result<(), Refused>) {
    let Some(number) = words.first().and_then(|word| word.parse().ok()) else {
        return println!("usage: {command} CPU, a number that `cpus` shows");
    };
    let all = lazy_tlb().nr_cpus();
    // A number that no mask has room for is not a `CpuId`.
    let outcome = if number < all { act(CpuId::new(number)) } else { Err(Refused::NoSuchCpu) };
    match outcome {
        Ok(()) => println!("CPU {number} is {command}; {} of {all} online", lazy_tlb().online().len()),
        Err(refused) => println!("{command}: {}", reason(refused, number)),
    }
}

fn reason(refused: Refused, number: usize) -> String {
    match refused {
        Refused::NoSuchCpu => format!("there is no CPU {number}"),
        Refused::BootCpu => format!("CPU {number} is the boot CPU, which stays"),
        Refused::Busy => format!("the worker of CPU {number} does not come to an end of its work"),
        Refused::Firmware => format!("the firmware does not do that to CPU {number}"),
        Refused::Lost => format!("CPU {number} was started, did not come up in time and may still run"),
    }
}
