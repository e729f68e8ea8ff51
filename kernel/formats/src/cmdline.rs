//! The command line, by Linux's rules.
//!
//! Words are separated by spaces; double quotes keep spaces in a word and are
//! dropped when they enclose a whole word or value. `--` ends the kernel's
//! options: the words behind it are init's arguments. Options before it that
//! the kernel does not know go to init too: `name=value` to its environment, a
//! plain word to its arguments. A name with a dot (a module's option) is
//! dropped (Linux, Documentation/admin-guide/kernel-parameters.rst).

/// One piece of a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// `key` or `key=value`, for the kernel or, if it does not know the key, for
    /// init.
    Option(KeyValue<'a>),
    /// A word behind `--`: an argument of init, whatever it looks like.
    InitArgument(&'a str),
}

/// A word before `--`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyValue<'a> {
    /// Up to the first `=`, or all of it.
    pub key: &'a str,
    /// Behind the first `=`, without the quotes around it.
    pub value: Option<&'a str>,
    /// The word as init would get it: without the quotes around it, but with
    /// those around the value.
    pub word: &'a str,
}

/// Where an option goes that the kernel does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// `name=value`: init's environment.
    Environment,
    /// A plain word: init's arguments.
    Argument,
    /// A name with a dot: dropped.
    Ignored,
}

impl KeyValue<'_> {
    /// Where this option goes if the kernel does not know it.
    #[must_use]
    pub fn if_unknown(&self) -> Unknown {
        if self.key.contains('.') {
            Unknown::Ignored
        } else if self.value.is_some() {
            Unknown::Environment
        } else {
            Unknown::Argument
        }
    }
}

/// The pieces of a command line in order.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    rest: &'a str,
    for_init: bool,
}

/// Splits `line` into its pieces.
#[must_use]
pub fn items(line: &str) -> Items<'_> {
    Items { rest: line, for_init: false }
}

/// The words of `line`, without their quotes.
pub fn words(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = Items { rest: line, for_init: true };
    core::iter::from_fn(move || rest.next_word().map(unquoted))
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        let word = self.next_word()?;
        if self.for_init {
            return Some(Item::InitArgument(unquoted(word)));
        }
        if word == "--" {
            self.for_init = true;
            return self.next();
        }
        let word = unquoted(word);
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key, Some(unquoted(value))),
            None => (word, None),
        };
        Some(Item::Option(KeyValue { key, value, word }))
    }
}

impl<'a> Items<'a> {
    /// The next word with its quotes. A quote that is never closed runs to the
    /// end of the line.
    fn next_word(&mut self) -> Option<&'a str> {
        let line = self.rest.trim_ascii_start();
        if line.is_empty() {
            return None;
        }
        let mut quoted = false;
        let end = line.find(|c: char| {
            quoted ^= c == '"';
            c.is_ascii_whitespace() && !quoted
        });
        let (word, rest) = line.split_at(end.unwrap_or(line.len()));
        self.rest = rest;
        Some(word)
    }
}

/// The value of the last option `key`, if it has one.
#[must_use]
pub fn value_of<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let of_key = |item| match item {
        Item::Option(option) if option.key == key => option.value,
        _ => None,
    };
    items(line).filter_map(of_key).last()
}

/// A size in bytes, like `64M`: a number, alone or with K, M or G.
#[must_use]
pub fn size(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()?.to_ascii_uppercase() {
        b'K' => (&text[..text.len() - 1], 10),
        b'M' => (&text[..text.len() - 1], 20),
        b'G' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| all_digits)?;
    number.checked_mul(1 << shift)
}

/// `text` without its quotes, if a quote starts it.
fn unquoted(text: &str) -> &str {
    match text.strip_prefix('"') {
        Some(inner) => inner.strip_suffix('"').unwrap_or(inner),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    fn option<'a>(key: &'a str, value: Option<&'a str>, word: &'a str) -> Item<'a> {
        Item::Option(KeyValue { key, value, word })
    }

    #[test]
    fn options_then_arguments() {
        let all: Vec<_> = items("  lazy_tlb=eager quiet -- a b=c  -- \"d e\"").collect();
        assert_eq!(
            all,
            [
                option("lazy_tlb", Some("eager"), "lazy_tlb=eager"),
                option("quiet", None, "quiet"),
                Item::InitArgument("a"),
                Item::InitArgument("b=c"),
                Item::InitArgument("--"),
                Item::InitArgument("d e"),
            ]
        );
    }

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("64M", Some(64 << 20)), ("1g", Some(1 << 30)), ("8k", Some(8192)), ("7", Some(7))]
        {
            assert_eq!(size(text), bytes, "{text}");
        }
        for text in ["", "M", "+1M", "1.5G", "-1", "1T", "99999999999G"] {
            assert_eq!(size(text), None, "{text}");
        }
        assert_eq!(value_of("a mem=1M -- mem=2M", "mem"), Some("1M"));
        assert_eq!(value_of("mem=1M mem=2M", "mem"), Some("2M"));
        assert_eq!(value_of("mem -- mem=2M", "mem"), None);
    }

    #[test]
    fn quotes_keep_spaces() {
        assert_eq!(items("a=\"b c\"").next(), Some(option("a", Some("b c"), "a=\"b c\"")));
        assert_eq!(items("\"a=b c\"").next(), Some(option("a", Some("b c"), "a=b c")));
        assert_eq!(items("a=\"b c").next(), Some(option("a", Some("b c"), "a=\"b c")));
        assert_eq!(items("\"").next(), Some(option("", None, "")));
    }

    #[test]
    fn only_the_first_equals_sign_counts() {
        assert_eq!(items("a=b=c").next(), Some(option("a", Some("b=c"), "a=b=c")));
        assert_eq!(items("a=").next(), Some(option("a", Some(""), "a=")));
    }

    #[test]
    fn words_are_unquoted() {
        assert_eq!(
            words(" run  /bin/echo \"a  b\" -- c=\"d\"").collect::<Vec<_>>(),
            ["run", "/bin/echo", "a  b", "--", "c=\"d\""]
        );
    }

    #[test]
    fn nothing_gives_nothing() {
        assert_eq!(items("").next(), None);
        assert_eq!(items(" \t\n ").next(), None);
        assert_eq!(items("--").next(), None);
    }

    #[test]
    fn unknown_options_go_to_init() {
        let unknown = |line| match items(line).next() {
            Some(Item::Option(option)) => option.if_unknown(),
            other => panic!("{other:?}"),
        };
        assert_eq!(unknown("TERM=vt100"), Unknown::Environment);
        assert_eq!(unknown("single"), Unknown::Argument);
        assert_eq!(unknown("driver.debug=1"), Unknown::Ignored);
    }
}
