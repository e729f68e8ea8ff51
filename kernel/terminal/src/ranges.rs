//! Sets of numbers as people write them: `0-3,7`.

use alloc::string::String;
use core::fmt::Write as _;

/// The numbers, which ascend, with their runs of three and more drawn together; `-` for
/// none.
pub fn ranges(numbers: impl IntoIterator<Item = usize>) -> String {
    let text = list(numbers, 3);
    if text.is_empty() { "-".into() } else { text }
}

/// The numbers, which ascend, with their runs of `drawn`, which is 2 or 3, and more drawn
/// together. With 2 it is Linux's list format.
pub fn list(numbers: impl IntoIterator<Item = usize>, drawn: usize) -> String {
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
            1 if drawn > 2 => write!(text, "{comma}{first},{last}"),
            _ => write!(text, "{comma}{first}-{last}"),
        };
    }
    text
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

    #[test]
    fn linux_draws_two_together() {
        assert_eq!(list([], 2), "");
        assert_eq!(list([0, 1, 3, 5, 6, 7], 2), "0-1,3,5-7");
    }
}
