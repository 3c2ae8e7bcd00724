use unicode_segmentation::UnicodeSegmentation as _;

/// What stands in the place of what was cut off.
const ELLIPSIS: char = '…';
/// Begins a part that goes in the direction of its own first letter (UAX #9).
const ISOLATE: char = '\u{2068}';
/// Ends it.
const END: char = '\u{2069}';
/// A letter with its marks has hardly more; one with a hundred marks is there to spoil the page.
const BYTES_PER_GRAPHEME: usize = 40;

/// One line without control characters and without marks that change the direction of what follows, at most `limit` graphemes (UAX #29)
/// long.
pub(crate) fn one_line(text: &str, limit: usize) -> String {
    let plain: String =
        text.chars().map(|c| if is_break(c) { ' ' } else { c }).filter(|&c| !is_hidden(c)).collect();
    let words: Vec<&str> = plain.split_whitespace().collect();
    cut(&words.join(" "), limit)
}

/// One line of what a template has made, in which isolates stay, and are closed if they are cut open.
pub(crate) fn subject(text: &str, limit: usize) -> String {
    let plain: String = text
        .chars()
        .map(|c| if is_break(c) { ' ' } else { c })
        .filter(|c| !c.is_control() || *c == '\t')
        .collect();
    let words: Vec<&str> = plain.split_whitespace().collect();
    let mut cut = cut(&words.join(" "), limit);
    let open = cut.matches(ISOLATE).count().saturating_sub(cut.matches(END).count());
    cut.extend(std::iter::repeat_n(END, open));
    cut
}

/// Lines without control characters, each without blanks at its end, at most `lines` and `limit` graphemes in all.
pub(crate) fn several_lines(text: &str, limit: usize, lines: usize) -> String {
    let text = text.replace("\r\n", "\n");
    let plain: String = text
        .chars()
        .map(|c| if is_break(c) { '\n' } else { c })
        .filter(|&c| c == '\n' || !is_hidden(c))
        .collect();
    let mut kept: Vec<&str> = plain.trim().lines().map(str::trim_end).collect();
    // One blank line says as much as many.
    kept.dedup_by(|next, before| next.is_empty() && before.is_empty());
    let has_more = kept.len() > lines;
    kept.truncate(lines);
    let cut = cut(&kept.join("\n"), limit);
    if has_more && !cut.ends_with(ELLIPSIS) { format!("{cut}{ELLIPSIS}") } else { cut }
}

/// The first `limit` graphemes; if there are more, the last is `…`.
pub(crate) fn cut(text: &str, limit: usize) -> String {
    let mut kept = String::new();
    let mut graphemes = text.graphemes(true);
    for _ in 0..limit {
        match graphemes.next() {
            None => return kept,
            Some(one) if one.len() > BYTES_PER_GRAPHEME => kept.extend(one.chars().next()),
            Some(one) => kept.push_str(one),
        }
    }
    if graphemes.next().is_none() {
        return kept;
    }
    let last = kept.grapheme_indices(true).next_back().map_or(0, |(at, _)| at);
    kept.truncate(last);
    kept.truncate(kept.trim_end().len());
    kept.push(ELLIPSIS);
    kept
}

/// Keeps the direction of `text` to itself in a sentence that is written in another (UAX #9, isolates), if it could have another.
pub(crate) fn isolate(text: &str, sentence_is_rtl: bool) -> String {
    let differs =
        if sentence_is_rtl { text.chars().any(char::is_alphabetic) } else { text.chars().any(is_rtl) };
    if differs { format!("{ISOLATE}{text}{END}") } else { text.to_owned() }
}

/// Whether a language is written from right to left.
pub(crate) fn is_rtl_language(language: &str) -> bool {
    let mut parts = language.split('-');
    let first = parts.next().unwrap_or_default();
    ["ar", "dv", "fa", "he", "ku", "ps", "sd", "ug", "ur", "yi"].contains(&first)
        && !parts.any(|part| part == "latn")
}

/// What the other side said, on one line, without the address of the person.
#[cfg(any(feature = "smtp", feature = "webhook"))]
pub(crate) fn without(text: &str, address: &str) -> String {
    /// Graphemes.
    const LIMIT: usize = 300;
    let text = one_line(text, LIMIT);
    if address.is_empty() {
        return text;
    }
    // Lengths of other letters may change with their case, so only ASCII is compared without it.
    let (lower, address) = (text.to_ascii_lowercase(), address.to_ascii_lowercase());
    let mut kept = String::with_capacity(text.len());
    let mut end = 0;
    for (at, found) in lower.match_indices(&address) {
        kept.push_str(&text[end..at]);
        kept.push(ELLIPSIS);
        end = at + found.len();
    }
    kept.push_str(&text[end..]);
    kept
}

/// `a•••@example.org` of `ada@example.org`: enough to know one's own by.
pub(crate) fn masked(address: &str) -> String {
    let (local, domain) = address.rsplit_once('@').unwrap_or((address, ""));
    let first = local.graphemes(true).next().unwrap_or_default();
    one_line(&format!("{first}•••@{domain}"), 120)
}

/// Characters of scripts that are written from right to left, by their blocks.
const fn is_rtl(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}' | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}')
}

const fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Control characters but blanks, marks that turn what follows round beyond the end of a name, and characters of no width that hide
/// something: tags and the mark of a byte order. Joiners stay, which emoji and some scripts need.
fn is_hidden(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{e0001}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_line_whatever_is_in_it() {
        for (text, line) in [
            ("Ada", "Ada"),
            ("Ada\r\nBcc: eve@example.org", "Ada Bcc: eve@example.org"),
            ("a\u{2028}b\u{85}c\u{b}d", "a b c d"),
            ("a\0b\u{1b}[31mc\u{7f}", "ab[31mc"),
            ("  a \t b  ", "a b"),
            ("\u{202e}gnp.exe\u{2066}", "gnp.exe"),
            ("👩\u{200d}🔬", "👩\u{200d}🔬"),
        ] {
            assert_eq!(one_line(text, 40), line, "{text:?}");
        }
    }

    #[test]
    fn a_subject_is_one_line_whose_isolates_are_closed() {
        assert_eq!(subject(" a\r\nBcc: b\0 \n", 40), "a Bcc: b");
        assert_eq!(subject("From \u{2068}abcdef\u{2069}", 20), "From \u{2068}abcdef\u{2069}");
        assert_eq!(subject("From \u{2068}abcdef\u{2069}", 9), "From \u{2068}ab…\u{2069}");
    }

    #[test]
    fn a_cut_is_between_graphemes() {
        for (text, limit, expected) in [
            ("Ada", 3, "Ada"),
            ("Adam", 3, "Ad…"),
            ("👨‍👩‍👧‍👦👩‍🔬🇩🇪", 3, "👨‍👩‍👧‍👦👩‍🔬🇩🇪"),
            ("👨‍👩‍👧‍👦👩‍🔬🇩🇪x", 3, "👨‍👩‍👧‍👦👩‍🔬…"),
            ("e\u{301}e\u{301}e\u{301}", 2, "e\u{301}…"),
            ("नमस्ते", 2, "न…"),
            ("สวัสดี", 2, "ส…"),
            ("a b c", 3, "a…"),
            ("", 3, ""),
            ("ab", 1, "…"),
        ] {
            assert_eq!(cut(text, limit), expected, "{text}");
        }
    }

    #[test]
    fn a_letter_with_too_many_marks_loses_them() {
        let zalgo = format!("Z{}a", "\u{336}".repeat(1000));
        assert_eq!(cut(&zalgo, 10), "Za");
    }

    #[test]
    fn a_message_keeps_its_lines_up_to_a_number() {
        assert_eq!(several_lines(" a \r\n\n\n\n b\u{2029}c ", 100, 9), "a\n\n b\nc");
        assert_eq!(several_lines("a\nb\nc", 100, 2), "a\nb…");
        assert_eq!(several_lines("abc\nd", 3, 1), "abc…");
        assert_eq!(several_lines("abcd\ne", 3, 1), "ab…");
        assert_eq!(several_lines("a\u{202e}b\0", 3, 1), "ab");
    }

    #[test]
    fn what_may_run_the_other_way_is_isolated() {
        for (text, rtl, expected) in [
            ("Ada", false, "Ada"),
            ("Ада", false, "Ада"),
            ("שרה", false, "\u{2068}שרה\u{2069}"),
            ("ليلى 1", false, "\u{2068}ليلى 1\u{2069}"),
            ("Ada", true, "\u{2068}Ada\u{2069}"),
            ("17", true, "17"),
        ] {
            assert_eq!(isolate(text, rtl), expected);
        }
        assert!(is_rtl_language("ar-eg") && is_rtl_language("he"));
        assert!(!is_rtl_language("en") && !is_rtl_language("ku-latn") && !is_rtl_language("arn"));
    }

    #[cfg(any(feature = "smtp", feature = "webhook"))]
    #[test]
    fn what_a_server_said_is_kept_without_the_address() {
        let text = "5.1.1 <Ada@Example.org>:\r\n ada@example.org is unknown";
        assert_eq!(without(text, "ada@example.org"), "5.1.1 <…>: … is unknown");
        assert_eq!(without("nothing", "ada@example.org"), "nothing");
        assert_eq!(without("a", ""), "a");
        assert!(without(&"x".repeat(1000), "y").len() < 310);
    }

    #[test]
    fn a_masked_address_shows_its_first_letter_and_its_domain() {
        assert_eq!(masked("ada@example.org"), "a•••@example.org");
        assert_eq!(masked("e\u{301}a@x"), "e\u{301}•••@x");
        assert_eq!(masked("no address"), "n•••@");
    }
}
