//! Runs a target: kept inputs, then fresh ones until the time is over.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::rng::Rng;

/// The longest that a parser may take over one input.
const HANG: Duration = Duration::from_secs(10);

/// One parser under test.
pub(crate) struct Target {
    /// The name of its test and its folders.
    pub(crate) name: &'static str,
    /// Makes an input.
    pub(crate) make: fn(&mut Rng) -> Vec<u8>,
    /// Feeds it; panics if the parser panics or its answer is wrong. True if the
    /// parser accepted it: a target that never returns true tests nothing.
    pub(crate) check: fn(&[u8]) -> bool,
}

/// Runs `target`.
pub(crate) fn run(target: &Target) {
    if let Ok(path) = std::env::var("FUZZ_INPUT") {
        let input = fs::read(&path).unwrap_or_else(|why| panic!("{path}: {why}"));
        println!("fuzz {}: {path} was {}", target.name, verdict((target.check)(&input)));
        return;
    }
    let current = Mutex::new(Vec::new());
    let (beat, watched) = mpsc::channel();
    std::thread::scope(|scope| {
        let current = &current;
        scope.spawn(move || {
            loop {
                match watched.recv_timeout(HANG) {
                    Ok(()) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        eprintln!("{}", save(target, &current.lock().unwrap(), "no end"));
                        std::process::abort();
                    }
                }
            }
        });
        // Dropping it ends the watch, in a panic too.
        let beat: Sender<()> = beat;
        kept(target);
        fresh(target, current, &beat);
    });
}

fn verdict(accepted: bool) -> &'static str {
    if accepted { "accepted" } else { "refused" }
}

/// Feeds the inputs that earlier runs found.
fn kept(target: &Target) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz-seeds").join(target.name);
    for file in fs::read_dir(folder).into_iter().flatten().flatten() {
        let input = fs::read(file.path()).expect("a kept input can be read");
        feed(target, &input);
    }
}

fn fresh(target: &Target, current: &Mutex<Vec<u8>>, beat: &Sender<()>) {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect(name));
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
    let seed = number("FUZZ_SEED").unwrap_or_else(clock);
    let limit = Duration::from_secs(number("FUZZ_SECONDS").unwrap_or(1));
    println!("fuzz {}: FUZZ_SEED={seed}", target.name);
    let (begun, mut rng) = (Instant::now(), Rng::new(seed));
    let (mut inputs, mut accepted) = (0_u64, 0_u64);
    while begun.elapsed() < limit {
        for _ in 0..64 {
            let input = (target.make)(&mut rng);
            current.lock().unwrap().clone_from(&input);
            accepted += u64::from(feed(target, &input));
            inputs += 1;
        }
        let _ = beat.send(());
    }
    println!("fuzz {}: {inputs} inputs, {accepted} of them accepted", target.name);
    // A generator that makes only rubbish, or nothing but good input, is broken.
    assert!(accepted * 100 > inputs, "{}: hardly any input is accepted", target.name);
}

/// Feeds one input; saves it if it fails.
fn feed(target: &Target, input: &[u8]) -> bool {
    catch_unwind(AssertUnwindSafe(|| (target.check)(input)))
        .unwrap_or_else(|_| panic!("{}", save(target, input, "a failure")))
}

/// Saves a failing input. The result is a sentence with the command that replays it.
fn save(target: &Target, input: &[u8], what: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/fuzz");
    let name = input.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let path: PathBuf = folder.join(format!("{}-{name:016x}", target.name));
    let saved =
        fs::create_dir_all(&folder).and_then(|()| fs::write(&path, input)).and_then(|()| path.canonicalize());
    let place = saved.map_or_else(|why| format!("(not saved: {why})"), |path| path.display().to_string());
    let test = target.name.replace("cmdline-clean", "a_clean_command_line_reads_back");
    format!(
        "fuzz {}: {what}; replay it with: FUZZ_INPUT={place} cargo test -p formats --test fuzz -- --exact {test}\n\
         and keep it in kernel/formats/fuzz-seeds/{}/",
        target.name, target.name
    )
}
