//! Sets of numbers as people write them: `0-3,7`.

use alloc::string::String;
use core::fmt::Write as _;

/// The numbers, which ascend, with their runs drawn together; `-` for none.
pub fn ranges(numbers: impl IntoIterator<Item = usize>) -> String {
    let mut numbers = numbers.into_iter().peekable();
    let mut text = String::new();
    while let Some(first) = numbers.next() {
        let mut last = first;
        while let Some(next) = numbers.next_if(|&next| next == last + 1) {
            last = next;
        }
        let comma = if text.is_empty() { "" } else { "," };
        // Writing to a string does not fail.
        let _ = match last - first {
            0 => write!(text, "{comma}{first}"),
            1 => write!(text, "{comma}{first},{last}"),
            _ => write!(text, "{comma}{first}-{last}"),
        };
    }
    if text.is_empty() { "-".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_drawn_together() {
        assert_eq!(ranges([]), "-");
        assert_eq!(ranges([5]), "5");
        assert_eq!(ranges([0, 1]), "0,1");
        assert_eq!(ranges([0, 1, 2, 3, 7, 9, 10, 11]), "0-3,7,9-11");
    }
}
