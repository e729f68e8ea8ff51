//! Shows and checks a trace: see `USAGE`.
//!
//! Status 0; 1 if the trace is wrong; 2 for wrong usage, a file that is no dump, or a question about
//! what is not in it.

use std::process::ExitCode;

use trace_tool::events::Trace;
use trace_tool::story::Story;
use trace_tool::svg::{self, Asked, Window};
use trace_tool::{check, counters, explain, perfetto};

const USAGE: &str = "usage: trace-tool text DUMP | check DUMP [CONSOLE] \
    | svg DUMP FILE [from=US] [to=US] [around=EVENT[:MM]] | explain DUMP [mm=MM | cpu=N] \
    | perfetto DUMP FILE";

fn read(path: &str) -> Result<Trace, String> {
    let bytes = std::fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("there is no {path}; make trace writes one"),
        _ => format!("{path}: {error}"),
    })?;
    Trace::read(&bytes).map_err(|wrong| format!("{path} {wrong}"))
}

fn write(path: &str, contents: &[u8]) -> Result<(), String> {
    std::fs::write(path, contents).map_err(|error| format!("{path}: {error}"))
}

/// Checks the trace, and the report on the console if it is given. Prints the verdict.
fn checked(path: &str, console: Option<&str>) -> Result<bool, String> {
    let trace = read(path)?;
    let mut verdict =
        check::check(&trace).map(|checked| format!("check: {} events, {checked}", trace.events.len()));
    if let (Ok(said), Some(console)) = (&verdict, console) {
        let text = std::fs::read(console).map_err(|error| format!("{console}: {error}"))?;
        let text = String::from_utf8_lossy(&text);
        verdict = match trace.is_complete() && text.contains("lazy-tlb report") {
            true => counters::compare(&trace, &text)
                .map(|n| format!("{said}; {n} counters agree with the report")),
            false => Ok(format!("{said}; counters not compared: events are missing, or there is no report")),
        };
    }
    match &verdict {
        Ok(said) => println!("{said}"),
        Err(fault) => println!("check: {fault}"),
    }
    Ok(verdict.is_ok())
}

/// Writes the timeline, and prints which part of the trace it shows.
fn timeline(path: &str, file: &str, words: &[&str]) -> Result<(), String> {
    let trace = read(path)?;
    let mut asked = Asked::default();
    for word in words {
        let (name, value) = word.split_once('=').ok_or(USAGE)?;
        let us = || match value.parse::<f64>() {
            Ok(us) if us.is_finite() && us >= 0.0 => Ok(Some(us)),
            _ => Err(format!("{}={value} is no number of microseconds", name.to_uppercase())),
        };
        match name {
            "from" => asked.from = us()?,
            "to" => asked.to = us()?,
            "around" => asked.around = Some(value.into()),
            _ => return Err(USAGE.into()),
        }
    }
    let story = Story::of(&trace);
    let window = Window::choose(&trace, &story, &asked)?;
    write(file, svg::draw(&trace, &story, &window)?.as_bytes())?;
    println!("svg: {}, {:.2} to {:.2} µs", window.why, trace.us(window.from), trace.us(window.to));
    Ok(())
}

/// Prints the life of an address space, or what a CPU did.
fn explained(path: &str, words: &[&str]) -> Result<(), String> {
    let trace = read(path)?;
    let story = Story::of(&trace);
    let about = |text| {
        explain::find_mm(&story, text).map(|(mm, which)| which + &explain::explain_mm(&trace, &story, mm))
    };
    let text = match words {
        [] => about(None)?,
        [word] => match word.split_once('=') {
            Some(("mm", mm)) => about(Some(mm))?,
            Some(("cpu", cpu)) => explain::explain_cpu(&trace, &story, cpu)?,
            _ => return Err(USAGE.into()),
        },
        _ => return Err(USAGE.into()),
    };
    print!("{text}");
    Ok(())
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["text", path] => read(path).map(|trace| print!("{trace}")).map(|()| true),
        ["check", path] => checked(path, None),
        ["check", path, console] => checked(path, Some(console)),
        ["svg", path, file, ref words @ ..] => timeline(path, file, words).map(|()| true),
        ["perfetto", path, file] => read(path)
            .and_then(|trace| write(file, &perfetto::encode(&trace, &Story::of(&trace))))
            .map(|()| true),
        ["explain", path, ref words @ ..] => explained(path, words).map(|()| true),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(why) => {
            eprintln!("trace-tool: {why}");
            ExitCode::from(2)
        }
    }
}
