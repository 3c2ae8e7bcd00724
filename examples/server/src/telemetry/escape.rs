use std::fmt::{self, Write};

/// Whether this sign does something to a terminal, begins a line, or changes the order in which others are shown: with it in the
/// log, who sends texts could forge lines of it or hide some.
fn is_active(sign: char) -> bool {
    sign.is_control()
        || matches!(
            sign,
            // Separators of lines and paragraphs.
            '\u{2028}' | '\u{2029}'
            // Marks, embeddings, overrides and isolates of direction (UAX #9).
            | '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Without a look of their own: the mark of byte order, annotations, tags.
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// Writes what it is given with such signs in the form of Rust: `\n`, `\u{1b}`.
pub(super) struct Escaped<W>(pub(super) W);

impl<W: Write> Write for Escaped<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(is_active) {
            self.0.write_str(&rest[..at])?;
            let mut signs = rest[at..].chars();
            if let Some(sign) = signs.next() {
                match sign {
                    '\n' | '\r' | '\t' => write!(self.0, "{}", sign.escape_default())?,
                    _ => write!(self.0, "{}", sign.escape_unicode())?,
                }
            }
            rest = signs.as_str();
        }
        self.0.write_str(rest)
    }
}

/// The JSON of one line with such signs in the form of JSON. There they stand in texts alone, so what it means stays the same.
pub(super) fn escaped_json(line: &str) -> String {
    let mut escaped = String::with_capacity(line.len());
    for sign in line.chars() {
        if is_active(sign) {
            for unit in sign.encode_utf16(&mut [0; 2]) {
                // Writing to a string does not fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(sign);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTIVE: &str =
        "a\u{1b}[31mb\r\nc\td\0\u{7f}\u{85}\u{9b}\u{2028}\u{2029}\u{202e}\u{2066}\u{200f}\u{feff}\u{e0041}z";

    #[test]
    fn what_acts_is_shown_instead() {
        let mut escaped = String::new();
        Escaped(&mut escaped).write_str(ACTIVE).unwrap();
        assert_eq!(
            escaped,
            r"a\u{1b}[31mb\r\nc\td\u{0}\u{7f}\u{85}\u{9b}\u{2028}\u{2029}\u{202e}\u{2066}\u{200f}\u{feff}\u{e0041}z"
        );
        let plain = "Zoë, Привет, 你好, שלום, 👩‍👩‍👧 \\ \"";
        let mut escaped = String::new();
        Escaped(&mut escaped).write_str(plain).unwrap();
        assert_eq!(escaped, plain);
    }

    #[test]
    fn json_means_the_same_afterwards() {
        let json = serde_json::to_string(&[ACTIVE]).unwrap();
        let escaped = escaped_json(&json);
        assert!(!escaped.contains(is_active), "{escaped}");
        assert_eq!(serde_json::from_str::<[String; 1]>(&escaped).unwrap(), [ACTIVE]);
    }
}
