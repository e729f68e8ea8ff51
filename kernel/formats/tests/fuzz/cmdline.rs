//! Command lines: any text at all, and clean ones, whose answer is known.

use formats::cmdline::{Item, Items, Unknown, items};

use crate::lies_in;
use crate::mutate::mutate;
use crate::rng::Rng;

const WORDS: [&str; 16] = [
    "lazy_tlb=eager",
    "init=/bin/demo",
    "--",
    "=",
    "a=",
    "=b",
    "\"",
    "\"\"",
    "x=\"y z\"",
    "\"q r\"",
    "quiet",
    "a=b=c",
    "module.option=1",
    "é=ß",
    "\t",
    "a\"b",
];

/// Words in any order, damaged.
pub(crate) fn make(rng: &mut Rng) -> Vec<u8> {
    let mut line = Vec::new();
    for _ in 0..rng.below(12) {
        line.extend(rng.pick(&WORDS).bytes());
        line.extend(rng.pick(&[" ", " ", "  ", "\n", ""]).bytes());
    }
    if rng.one_in(2) {
        mutate(rng, &mut line);
    }
    line
}

/// Properties of any line: its pieces lie in it, in order, and end.
pub(crate) fn check(input: &[u8]) -> bool {
    // The kernel takes text only.
    let Ok(line) = core::str::from_utf8(input) else { return false };
    let (mut last, mut for_init, mut count) = (line.as_ptr(), false, 0);
    let mut all: Items<'_> = items(line);
    for item in all.by_ref() {
        count += 1;
        assert!(count <= line.len(), "more words than characters");
        let word = match item {
            Item::Option(option) => {
                assert!(!for_init, "an option behind --");
                assert!(!option.key.contains('='), "a key with =");
                assert!(option.word.starts_with(option.key));
                let unknown = option.if_unknown();
                assert_eq!(unknown == Unknown::Ignored, option.key.contains('.'));
                if let Some(value) = option.value {
                    assert!(option.word.contains(value) && unknown != Unknown::Argument);
                }
                option.word
            }
            Item::InitArgument(word) => {
                for_init = true;
                word
            }
        };
        assert!(lies_in(word.as_bytes(), line.as_bytes()) && word.as_ptr() >= last, "words go back");
        last = word.as_ptr();
    }
    assert!(all.next().is_none(), "an end that is none");
    count > 0
}

/// A line of plain words, separated by one space: the word count is known.
/// Values with spaces are quoted.
pub(crate) fn make_clean(rng: &mut Rng) -> Vec<u8> {
    let word =
        |rng: &mut Rng| (0..1 + rng.below(8)).map(|_| rng.pick(b"abcxyz019_-/:,")).collect::<Vec<u8>>();
    let mut line = Vec::new();
    for n in 0..1 + rng.below(10) {
        if n > 0 {
            line.push(b' ');
        }
        let mut text = vec![b'k'];
        text.extend(word(rng));
        match rng.below(3) {
            0 => line.extend(text),
            1 => line.extend([text, vec![b'='], word(rng)].concat()),
            _ => line.extend([text, b"=\"".to_vec(), word(rng), vec![b' '], word(rng), vec![b'"']].concat()),
        }
    }
    line
}

/// Reads a clean line and writes it again: the result must equal the line.
pub(crate) fn check_clean(input: &[u8]) -> bool {
    let line = core::str::from_utf8(input).expect("ASCII");
    let again: Vec<String> = items(line)
        .map(|item| match item {
            Item::Option(option) => match option.value {
                Some(value) if value.contains(' ') => format!("{}=\"{value}\"", option.key),
                Some(value) => format!("{}={value}", option.key),
                None => option.key.into(),
            },
            Item::InitArgument(_) => panic!("there was no --"),
        })
        .collect();
    assert_eq!(again.join(" "), line);
    true
}
