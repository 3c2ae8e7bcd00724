//! Names that begin with a prefix, as a range that an index in the order of code points can be asked for.

/// The first text after all texts that begin with `prefix`; `None` if every greater text begins with it.
pub fn end_of(prefix: &str) -> Option<String> {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        // There are no characters from U+D800 to U+DFFF, so the one after U+D7FF is U+E000.
        let next = if last == '\u{D7FF}' { Some('\u{E000}') } else { char::from_u32(u32::from(last) + 1) };
        if let Some(next) = next {
            end.push(next);
            return Some(end);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::end_of;

    #[test]
    fn the_end_is_right_after_the_longest_text_with_the_prefix() {
        for (prefix, end) in [
            ("ad", Some("ae")),
            ("a\u{10FFFF}", Some("b")),
            ("\u{D7FF}", Some("\u{E000}")),
            ("%", Some("&")),
            ("\u{10FFFF}", None),
            ("", None),
        ] {
            assert_eq!(end_of(prefix).as_deref(), end, "{prefix:?}");
        }
    }
}
