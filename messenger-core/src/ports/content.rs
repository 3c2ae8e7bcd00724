use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::{StoreError, StoreErrorKind, StoreResult};

/// Bytes that a store keeps without interpreting them: UTF-8 text, or what an encrypting wrapper made of it.
///
/// Bodies, notes and mail addresses may be any bytes. Titles, display names and devices are always UTF-8 text, because
/// their columns are: a wrapper that seals them writes text, such as Base64, without the character NUL. Counted in
/// UTF-16 code units (in Base64, one for each character), a title has at most 1,600, and a display name or a device at
/// most 800: what the narrowest column takes.
///
/// ```
/// use messenger_core::ports::Content;
///
/// assert_eq!(Content::from("hello").to_text().unwrap(), "hello");
/// assert_eq!(format!("{:?}", Content::from("hello")), "Content(5 bytes)");
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content(pub Vec<u8>);

impl Content {
    /// The content as text; `Corrupt` if it is not UTF-8, for instance because it is sealed.
    pub fn to_text(&self) -> StoreResult<&str> {
        std::str::from_utf8(&self.0).map_err(|error| StoreError::new(StoreErrorKind::Corrupt, error))
    }

    /// The content as text, without a copy.
    pub fn into_text(self) -> StoreResult<String> {
        String::from_utf8(self.0)
            .map_err(|error| StoreError::new(StoreErrorKind::Corrupt, error.utf8_error()))
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} bytes)", self.0.len())
    }
}
