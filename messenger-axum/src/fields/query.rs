//! Reads the query of a URL as pairs of text.

use std::borrow::Cow;

use messenger_core::{Error, Result};

/// A decoded name and its text.
pub(crate) type DecodedPair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Decodes the pairs of an `application/x-www-form-urlencoded` query.
///
/// Stricter than the URL standard, which replaces bytes that are not UTF-8 by U+FFFD: a search for a text that nobody
/// entered is of no use.
pub(crate) fn pairs(query: &str) -> Result<Vec<DecodedPair<'_>>> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name)?, decoded(value)?))
        })
        .collect()
}

fn decoded(text: &str) -> Result<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Ok(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => escaped(&mut rest).ok_or_else(not_encoded)?,
            byte => byte,
        });
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| not_encoded())
}

fn escaped(digits: &mut std::str::Bytes<'_>) -> Option<u8> {
    let mut digit = || char::from(digits.next()?).to_digit(16);
    let (high, low) = (digit()?, digit()?);
    u8::try_from(high * 16 + low).ok()
}

fn not_encoded() -> Error {
    Error::Malformed("The query is not UTF-8 with percent-encoding.".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded() {
        let pairs = pairs("query=J%C3%BCrgen+%2B&limit=5&&flag").unwrap();
        assert_eq!(
            pairs,
            [("query", "Jürgen +"), ("limit", "5"), ("flag", "")].map(|(a, b)| (a.into(), b.into()))
        );
    }

    #[test]
    fn what_is_not_utf8_is_refused() {
        for bad in ["q=%ff", "q=%", "q=%4", "q=%zz", "%C3=1", "q=%+1"] {
            assert!(pairs(bad).is_err(), "{bad}");
        }
    }
}
