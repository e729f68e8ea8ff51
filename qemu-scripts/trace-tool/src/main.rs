//! `trace-tool text DUMP` and `trace-tool check DUMP [CONSOLE]`.
//!
//! Status 0; 1 if the trace is wrong; 2 for wrong usage or a file that is no dump.

use std::process::ExitCode;

use trace_tool::events::Trace;
use trace_tool::{check, counters};

const USAGE: &str = "usage: trace-tool text DUMP | check DUMP [CONSOLE]";

fn read(path: &str) -> Result<Trace, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    Trace::read(&bytes).map_err(|wrong| format!("{path} {wrong}"))
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

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["text", path] => read(path).map(|trace| print!("{trace}")).map(|()| true),
        ["check", path] => checked(path, None),
        ["check", path, console] => checked(path, Some(console)),
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
