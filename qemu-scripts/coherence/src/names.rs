//! Names of functions, short enough for a table.

/// `<a::B<C> as D>::e::<F>` is `a::B::e`: paths without what is generic.
pub fn short(name: &str) -> String {
    let mut text = String::new();
    let mut rest = name;
    // A name in brackets is of a type with its function behind it.
    if let Some(inside) = name.strip_prefix('<') {
        let end = end_of_brackets(inside);
        let path = &inside[..end];
        text = short(path.split(" as ").next().unwrap_or(path).trim_start_matches(['&', '*']));
        rest = &inside[(end + 1).min(inside.len())..];
    }
    while let Some(at) = rest.find('<') {
        text += rest[..at].strip_suffix("::").unwrap_or(&rest[..at]);
        let inside = &rest[at + 1..];
        rest = &inside[(end_of_brackets(inside) + 1).min(inside.len())..];
    }
    text + rest
}

/// Where the bracket is that closes one opened before `text`.
fn end_of_brackets(text: &str) -> usize {
    let mut depth = 1;
    for (at, letter) in text.char_indices() {
        // An arrow of a function's type closes nothing.
        match letter {
            '<' => depth += 1,
            '>' if !text[..at].ends_with('-') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lose_what_is_generic() {
        assert_eq!(short("kernel::task::wake"), "kernel::task::wake");
        assert_eq!(short("<kernel::sync::Lock<u8>>::lock"), "kernel::sync::Lock::lock");
        assert_eq!(short("<a::B<C<D>> as e::F<G>>::h::<I>"), "a::B::h");
        assert_eq!(short("a::b::<fn(u8) -> u8>::{closure#0}"), "a::b::{closure#0}");
    }
}
