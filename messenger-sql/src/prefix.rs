//! Names with a given prefix, as a range for an index in the order of code points.

use messenger_core::{Username, ports::NamePlace};

/// Sorts before every name: names have no control characters, and are not empty.
const LEAST: &str = "\u{1}";

/// The names that a search covers: from `low` on, but with that exact name only usernames after `after`, and up to but
/// excluding `end`.
#[derive(Debug, PartialEq, Eq)]
pub struct Names {
    /// A name, or the prefix.
    pub low: String,
    /// A username, or an empty text, which sorts before all.
    pub after: String,
    /// `None` if the range is unbounded.
    pub end: Option<String>,
}

impl Names {
    /// The names that begin with `prefix` and sort after this place.
    pub fn with(prefix: &str, after: Option<&NamePlace>) -> Self {
        let first = prefix.max(LEAST);
        let after = after.filter(|after| after.name.as_str() >= first);
        let username = after.map_or("", |after| Username::as_str(&after.username));
        Self {
            low: after.map_or(first, |after| &after.name).to_owned(),
            after: username.to_owned(),
            end: end_of(prefix),
        }
    }
}

/// The first text after all texts that begin with `prefix`; `None` if every greater text begins with it.
fn end_of(prefix: &str) -> Option<String> {
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
    use super::*;

    #[test]
    fn a_search_goes_on_after_a_place() {
        let names =
            |low: &str, after: &str| Names { low: low.into(), after: after.into(), end: Some("ae".into()) };
        let place = |name: &str| NamePlace { name: name.into(), username: Username::trusted("u") };
        assert_eq!(Names::with("ad", None), names("ad", ""));
        assert_eq!(Names::with("ad", Some(&place("ada"))), names("ada", "u"));
        assert_eq!(Names::with("ad", Some(&place("ad"))), names("ad", "u"));
        assert_eq!(Names::with("ad", Some(&place("a"))), names("ad", ""), "a place before the first");
        assert_eq!(Names::with("ad", Some(&place("b"))), names("b", "u"), "a place after the last");
        let all = Names { low: LEAST.into(), after: String::new(), end: None };
        assert_eq!(Names::with("", None), all, "an empty name is not found");
        assert_eq!(Names::with("", Some(&place(""))), all);
    }

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
