//! The program as it is run: what it says, and its status.

use std::path::PathBuf;
use std::process::Command;

use trace_format::{Body, Dump, Kind, LINE, MAGIC, RECORD_BYTES, Record, VERSION};

/// A file of this test in a folder of its own.
fn file(name: &str, contents: &[u8]) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, contents).unwrap();
    path
}

/// The dump of one CPU that has recorded these events, a microsecond apart.
fn dump(bodies: &[Body]) -> Vec<u8> {
    let head = Dump::head_bytes(1);
    let mut words = vec![0_u64; (head + 256 * RECORD_BYTES) / 8];
    words[..7].copy_from_slice(&[MAGIC, VERSION, 1, 256, 1_000_000, 2, 0xfff]);
    words[2 * LINE / 8] = (bodies.len() * RECORD_BYTES) as u64;
    for (n, &body) in (0..).zip(bodies) {
        words[head / 8 + n * 4..][..4].copy_from_slice(&Record { time: n as u64 + 1, body }.encode(n as u64));
    }
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// The status, and what is printed on both streams.
fn run(words: &[&str]) -> (i32, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_trace-tool")).args(words).output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    (done.status.code().unwrap(), String::from_utf8(said).unwrap())
}

#[test]
fn a_file_that_is_no_dump_is_one_sentence() {
    let wrong = file("wrong.bin", &[0; 4096]);
    let wrong = wrong.to_str().unwrap();
    for command in ["text", "check", "explain"] {
        assert_eq!(run(&[command, wrong]), (2, format!("trace-tool: {wrong} is not a trace\n")));
        let missing = "trace-tool: there is no nowhere.bin; make trace writes one\n";
        assert_eq!(run(&[command, "nowhere.bin"]), (2, missing.into()));
    }
}

#[test]
fn wrong_usage_has_status_2() {
    for words in [&[][..], &["dance"], &["text"], &["svg", "x"], &["perfetto", "x"]] {
        let (status, said) = run(words);
        assert_eq!((status, said.starts_with("trace-tool: usage: ")), (2, true), "{words:?}: {said}");
    }
}

#[test]
fn every_view_of_a_trace_is_written() {
    let life = [
        (Kind::Created, 0),
        (Kind::Users, 1),
        (Kind::Zombie, 0),
        (Kind::Count, 2),
        (Kind::Dying, 0),
        (Kind::Dead, 0),
        (Kind::Freed, 0),
    ];
    let path =
        file("life.bin", &dump(&life.map(|(kind, sub)| Body { sub, ..Body::about(kind, 1 << 32 | 3) })));
    let (path, picture) = (path.to_str().unwrap(), file("life.svg", b""));
    let picture = picture.to_str().unwrap();
    assert_eq!(
        run(&["check", path]),
        (0, "check: 7 events, 0 calls, 0 borrows, 1 mms freed: right\n".into())
    );
    let shown = "svg: the end of mm3.1, freed 4.00 µs after its last user had gone, 1.00 to 7.00 µs\n";
    assert_eq!(run(&["svg", path, picture]), (0, shown.into()));
    assert!(std::fs::read_to_string(picture).unwrap().ends_with("</svg>\n"));
    assert_eq!(run(&["perfetto", path, picture]), (0, String::new()));
    assert!(!std::fs::read(picture).unwrap().is_empty());
    assert!(run(&["explain", path]).1.ends_with("freed at 7.00 µs, 4.00 µs after its last user had gone.\n"));
    assert_eq!(run(&["text", path]).1.lines().count(), 8);
    for (words, why) in [
        (["explain", path, "mm=mm9.9"], "the trace has no address space mm9.9"),
        (["explain", path, "cpu=1"], "there is no CPU 1; the machine has CPU 0 alone"),
        (["svg", path, "/nowhere/x.svg"], "/nowhere/x.svg: No such file or directory (os error 2)"),
    ] {
        assert_eq!(run(&words), (2, format!("trace-tool: {why}\n")));
    }
}

#[test]
fn a_trace_without_events_has_no_picture() {
    let path = file("empty.bin", &dump(&[]));
    let path = path.to_str().unwrap();
    assert_eq!(run(&["svg", path, "x.svg"]), (2, "trace-tool: the window has no event\n".into()));
    assert_eq!(
        run(&["explain", path]),
        (2, "trace-tool: the trace has no address space that is freed\n".into())
    );
    assert_eq!(run(&["text", path]), (0, "# 0 events of 1 CPUs\n".into()));
}
