use std::{borrow::Cow, fmt, marker::PhantomData, ops::RangeInclusive};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Limits;

/// Text of kind `K` that has been checked.
///
/// ```
/// use messenger_core::{Limits, Username};
///
/// let name = Username::parse("Ada", &Limits::default()).unwrap();
/// assert_eq!(name.as_str(), "ada");
/// assert!(Username::parse("a b", &Limits::default()).is_err());
/// ```
pub struct Text<K> {
    text: Box<str>,
    kind: PhantomData<fn() -> K>,
}

/// What a kind of text must be like.
pub trait TextKind {
    /// The text as it is kept, or one sentence that says what is wrong with it.
    fn check<'t>(text: &'t str, limits: &Limits) -> Result<Cow<'t, str>, String>;
}

/// The name that a person logs in with: `a-z 0-9 _ . -`, kept in lower case.
pub type Username = Text<kind::Username>;
/// A mail address: one `@`, no blanks, at most 254 bytes (RFC 5321). Compared without case.
pub type EmailAddress = Text<kind::EmailAddress>;
/// The name that others see. One line.
pub type DisplayName = Text<kind::DisplayName>;
/// The title of a group. One line.
pub type Title = Text<kind::Title>;
/// The text of a message.
pub type MessageBody = Text<kind::MessageBody>;
/// What a client calls its request, so that a repetition is recognised: 1 to 64 visible ASCII characters.
pub type ClientId = Text<kind::ClientId>;
/// What a session is used on, as its user said. One line, at most 128 characters.
pub type Device = Text<kind::Device>;

impl<K: TextKind> Text<K> {
    /// Checks `text`; an error is a sentence for the person who wrote it.
    pub fn parse(text: &str, limits: &Limits) -> Result<Self, String> {
        K::check(text, limits).map(|checked| Self::trusted(checked))
    }
}

impl<K> Text<K> {
    /// Text that was checked before, as a store reads it back.
    pub fn trusted(text: impl Into<Box<str>>) -> Self {
        Self { text: text.into(), kind: PhantomData }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text in lower case (Unicode), for comparing without case.
    pub fn folded(&self) -> String {
        self.text.to_lowercase()
    }
}

/// The kinds of [`Text`]; they have no values.
pub mod kind {
    /// Of a [`Username`](super::Username).
    #[derive(Debug)]
    pub enum Username {}
    /// Of a [`EmailAddress`](super::EmailAddress).
    #[derive(Debug)]
    pub enum EmailAddress {}
    /// Of a [`DisplayName`](super::DisplayName).
    #[derive(Debug)]
    pub enum DisplayName {}
    /// Of a [`Title`](super::Title).
    #[derive(Debug)]
    pub enum Title {}
    /// Of a [`MessageBody`](super::MessageBody).
    #[derive(Debug)]
    pub enum MessageBody {}
    /// Of a [`ClientId`](super::ClientId).
    #[derive(Debug)]
    pub enum ClientId {}
    /// Of a [`Device`](super::Device).
    #[derive(Debug)]
    pub enum Device {}
}

impl TextKind for kind::Username {
    fn check<'t>(text: &'t str, limits: &Limits) -> Result<Cow<'t, str>, String> {
        length(text, &limits.username)?;
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)) {
            return Err("may have only the letters a to z, digits, '_', '.' and '-'".into());
        }
        Ok(Cow::Owned(text.to_ascii_lowercase()))
    }
}

impl TextKind for kind::EmailAddress {
    fn check<'t>(text: &'t str, _: &Limits) -> Result<Cow<'t, str>, String> {
        let well_formed = |(local, domain): (&str, &str)| {
            (1..=64).contains(&local.len())
                && !domain.is_empty()
                && !domain.contains('@')
                && !domain.starts_with(['.', '-'])
                && !domain.ends_with(['.', '-'])
                && !domain.contains("..")
        };
        let plain = !text.chars().any(|c| c.is_whitespace() || c.is_control() || "<>\"(),;:\\".contains(c));
        if text.len() > 254 || !plain || !text.split_once('@').is_some_and(well_formed) {
            return Err("must be a mail address such as ada@example.org".into());
        }
        Ok(Cow::Borrowed(text))
    }
}

impl TextKind for kind::DisplayName {
    fn check<'t>(text: &'t str, limits: &Limits) -> Result<Cow<'t, str>, String> {
        one_line(text, &limits.display_name)
    }
}

impl TextKind for kind::Title {
    fn check<'t>(text: &'t str, limits: &Limits) -> Result<Cow<'t, str>, String> {
        one_line(text, &limits.title)
    }
}

impl TextKind for kind::MessageBody {
    fn check<'t>(text: &'t str, limits: &Limits) -> Result<Cow<'t, str>, String> {
        length(text, &limits.body)?;
        if text.contains('\0') {
            return Err("may not contain the character NUL".into());
        }
        not_blank(text).map(Cow::Borrowed)
    }
}

impl TextKind for kind::ClientId {
    fn check<'t>(text: &'t str, _: &Limits) -> Result<Cow<'t, str>, String> {
        length(text, &(1..=64))?;
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("may have only visible ASCII characters".into());
        }
        Ok(Cow::Borrowed(text))
    }
}

impl TextKind for kind::Device {
    fn check<'t>(text: &'t str, _: &Limits) -> Result<Cow<'t, str>, String> {
        one_line(text, &(1..=128))
    }
}

fn one_line<'t>(text: &'t str, range: &RangeInclusive<usize>) -> Result<Cow<'t, str>, String> {
    length(text, range)?;
    if text.chars().any(char::is_control) {
        return Err("must be one line without control characters".into());
    }
    not_blank(text).map(Cow::Borrowed)
}

fn not_blank(text: &str) -> Result<&str, String> {
    if text.trim().is_empty() { Err("must not be blank".into()) } else { Ok(text) }
}

fn length(text: &str, range: &RangeInclusive<usize>) -> Result<(), String> {
    let (min, max) = (*range.start(), *range.end());
    // A character has at most four bytes, so most texts are within bounds without being counted.
    let within = (text.len() <= max && text.len() >= min * 4) || range.contains(&text.chars().count());
    if within { Ok(()) } else { Err(format!("must have {min} to {max} characters")) }
}

impl<K> Clone for Text<K> {
    fn clone(&self) -> Self {
        Self::trusted(self.text.clone())
    }
}
impl<K> PartialEq for Text<K> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}
impl<K> Eq for Text<K> {}
impl<K> PartialOrd for Text<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Text<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}
impl<K> std::hash::Hash for Text<K> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}
impl<K> fmt::Debug for Text<K> {
    /// Only the length: what people write and who they are belongs in no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({} bytes)", self.text.len())
    }
}
impl<K> Serialize for Text<K> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}
impl<'de, K> Deserialize<'de> for Text<K> {
    /// Text that another node has checked; input from outside is a `String` until it has been parsed.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<str>::deserialize(deserializer).map(Self::trusted)
    }
}

#[cfg(feature = "openapi")]
impl<K> utoipa::PartialSchema for Text<K> {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::schema::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .into()
    }
}
#[cfg(feature = "openapi")]
impl<K> utoipa::ToSchema for Text<K> {
    fn name() -> Cow<'static, str> {
        "Text".into()
    }
}

/// A password as a person typed it: wiped from memory when dropped, shown by no `Debug`.
///
/// ```
/// use messenger_core::Password;
///
/// assert_eq!(format!("{:?}", Password::new("correct horse")), "Password(…)");
/// ```
#[derive(Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String, format = Password))]
#[serde(from = "String")]
pub struct Password(Zeroizing<String>);

impl Password {
    /// The password as it was typed.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// Says what is wrong with it as a new password.
    pub fn check(&self, limits: &Limits) -> Result<(), String> {
        length(&self.0, &limits.password)?;
        if self.0.contains('\0') { Err("may not contain the character NUL".into()) } else { Ok(()) }
    }

    /// The bytes to be hashed.
    pub fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_counts_characters_and_not_bytes() {
        let limits = Limits { body: 1..=4, ..Limits::default() };
        assert!(MessageBody::parse("𝔸𝔸𝔸𝔸", &limits).is_ok());
        for bad in ["", "   ", "\n", "12345", "𝔸𝔸𝔸𝔸𝔸", "a\0b"] {
            assert!(MessageBody::parse(bad, &limits).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_mail_address_is_one_at_and_no_blanks() {
        let limits = Limits::default();
        for good in ["ada@example.org", "a.b+c@localhost", "ü@bücher.example"] {
            assert!(EmailAddress::parse(good, &limits).is_ok(), "{good}");
        }
        for bad in ["", "ada", "@example.org", "ada@", "a@b@c", "a b@c", "a@b\r\nBcc: x", "<a@b>", "a@.b"] {
            assert!(EmailAddress::parse(bad, &limits).is_err(), "{bad}");
        }
    }
}
