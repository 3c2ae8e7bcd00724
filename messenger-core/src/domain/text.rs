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

/// The rules of a kind of text.
pub trait TextKind {
    /// Returns the text in its stored form, or one sentence that says what is wrong with it.
    fn check<'t>(text: &'t str, limits: &Limits) -> Result<Cow<'t, str>, String>;
}

/// The name that a person logs in with: `a-z 0-9 _ . -`, kept in lower case.
pub type Username = Text<kind::Username>;
/// A mail address: one `@`, no blanks, at most 254 bytes (RFC 5321). Compared case-insensitively.
pub type EmailAddress = Text<kind::EmailAddress>;
/// The name that others see. One line.
pub type DisplayName = Text<kind::DisplayName>;
/// The title of a group. One line.
pub type Title = Text<kind::Title>;
/// The text of a message.
pub type MessageBody = Text<kind::MessageBody>;
/// A client's identifier of its request, by which a repetition is recognised: 1 to 64 visible ASCII characters.
pub type ClientId = Text<kind::ClientId>;
/// The device that a session is used on, as its user named it. One line, at most 128 characters.
pub type Device = Text<kind::Device>;
/// The language that a person reads, as a tag such as `en` or `pt-br` (RFC 5646), kept in lower case. At most 35 characters.
pub type Language = Text<kind::Language>;

impl<K: TextKind> Text<K> {
    /// Checks `text`; an error is a sentence for the person who wrote it.
    pub fn parse(text: &str, limits: &Limits) -> Result<Self, String> {
        K::check(text, limits).map(|checked| Self::trusted(checked))
    }
}

impl<K> Text<K> {
    /// Wraps text that was checked before, as a store reads it back.
    pub fn trusted(text: impl Into<Box<str>>) -> Self {
        Self { text: text.into(), kind: PhantomData }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text in lower case (Unicode), for case-insensitive comparison.
    pub fn folded(&self) -> String {
        self.text.to_lowercase()
    }
}

/// The kinds of [`Text`]; they have no values.
pub mod kind {
    /// The kind of a [`Username`](super::Username).
    #[derive(Debug)]
    pub enum Username {}
    /// The kind of an [`EmailAddress`](super::EmailAddress).
    #[derive(Debug)]
    pub enum EmailAddress {}
    /// The kind of a [`DisplayName`](super::DisplayName).
    #[derive(Debug)]
    pub enum DisplayName {}
    /// The kind of a [`Title`](super::Title).
    #[derive(Debug)]
    pub enum Title {}
    /// The kind of a [`MessageBody`](super::MessageBody).
    #[derive(Debug)]
    pub enum MessageBody {}
    /// The kind of a [`ClientId`](super::ClientId).
    #[derive(Debug)]
    pub enum ClientId {}
    /// The kind of a [`Device`](super::Device).
    #[derive(Debug)]
    pub enum Device {}
    /// The kind of a [`Language`](super::Language).
    #[derive(Debug)]
    pub enum Language {}
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

impl TextKind for kind::Language {
    fn check<'t>(text: &'t str, _: &Limits) -> Result<Cow<'t, str>, String> {
        let mut parts = text.split('-');
        let first = parts.next().unwrap_or_default();
        let is_language = (2..=8).contains(&first.len()) && first.bytes().all(|b| b.is_ascii_alphabetic());
        let is_rest =
            |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
        if text.len() > 35 || !is_language || !parts.all(is_rest) {
            return Err("must be a language such as en or pt-BR".into());
        }
        Ok(Cow::Owned(text.to_ascii_lowercase()))
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
    /// Shows only the length: texts and names of people must not get into logs.
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
    /// Accepts text that another node has checked; input from outside is a `String` until it has been parsed.
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

/// A password as a person typed it: wiped from memory when dropped, not shown by `Debug`.
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
    /// Wraps the password as it was typed.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// Checks it as a new password; the error says what is wrong with it.
    pub fn check(&self, limits: &Limits) -> Result<(), String> {
        length(&self.0, &limits.password)?;
        if self.0.contains('\0') { Err("may not contain the character NUL".into()) } else { Ok(()) }
    }

    /// The text as it was typed.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// The bytes as they were typed.
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
    use std::{
        collections::HashSet,
        hash::{BuildHasher as _, RandomState},
    };

    use super::*;

    /// What is wrong with a text; empty if it is accepted.
    fn wrong<K: TextKind>(text: &str) -> String {
        Text::<K>::parse(text, &Limits::default()).err().unwrap_or_default()
    }

    #[test]
    fn length_counts_characters_and_not_bytes() {
        for character in ["a", "ü", "€", "𝔸"] {
            for (min, max) in [(0, 0), (0, 3), (1, 1), (1, 4), (2, 2), (3, 8), (3, 40)] {
                for count in 0..50 {
                    let fits = length(&character.repeat(count), &(min..=max)).is_ok();
                    assert_eq!(fits, min <= count && count <= max, "{count} of {character}: {min} to {max}");
                }
            }
        }
        assert_eq!(length("", &(3..=32)).unwrap_err(), "must have 3 to 32 characters");
    }

    #[test]
    fn each_kind_has_its_length() {
        fn lengths<K: TextKind>(limits: &Limits) -> (usize, usize) {
            let fits = |count: &usize| Text::<K>::parse(&"x".repeat(*count), limits).is_ok();
            let fitting: Vec<usize> = (0..10_000).filter(fits).collect();
            (fitting[0], *fitting.last().unwrap())
        }
        let limits = Limits::default();
        assert_eq!(lengths::<kind::Username>(&limits), (3, 32));
        assert_eq!(lengths::<kind::DisplayName>(&limits), (1, 64));
        assert_eq!(lengths::<kind::Title>(&limits), (1, 128));
        assert_eq!(lengths::<kind::MessageBody>(&limits), (1, 8000));
        let limits = Limits { username: 2..=3, display_name: 4..=5, title: 6..=7, body: 8..=9, ..limits };
        assert_eq!(lengths::<kind::Username>(&limits), (2, 3));
        assert_eq!(lengths::<kind::DisplayName>(&limits), (4, 5));
        assert_eq!(lengths::<kind::Title>(&limits), (6, 7));
        assert_eq!(lengths::<kind::MessageBody>(&limits), (8, 9));
        // These bounds are fixed.
        assert_eq!(lengths::<kind::ClientId>(&limits), (1, 64));
        assert_eq!(lengths::<kind::Device>(&limits), (1, 128));
    }

    #[test]
    fn a_username_has_few_characters_and_is_kept_in_lower_case() {
        for good in ["ada", "ADA", "a.b_c-d", "007", "..."] {
            let name = Username::parse(good, &Limits::default()).unwrap();
            assert_eq!(name.as_str(), good.to_lowercase());
        }
        for bad in ["a da", "adä", "ada!", "ada@", "ada\n", "deleted:ada", "ad\0", "адa"] {
            assert!(wrong::<kind::Username>(bad).contains("letters a to z"), "{bad:?}");
        }
    }

    #[test]
    fn a_name_a_title_and_a_device_are_one_line_that_is_not_blank() {
        let one_liners = [wrong::<kind::DisplayName>, wrong::<kind::Title>, wrong::<kind::Device>];
        for wrong in one_liners {
            for good in ["Ada", "Ada Lovelace", " x ", "ÄÖÜ 👩‍🔬"] {
                assert_eq!(wrong(good), "", "{good:?}");
            }
            for bad in ["two\nlines", "a\0b", "tab\there", "\u{7f}", "\u{85}"] {
                assert!(wrong(bad).contains("one line"), "{bad:?}");
            }
            for blank in [" ", "   ", "\u{3000}"] {
                assert!(wrong(blank).contains("blank"), "{blank:?}");
            }
        }
        let name = DisplayName::parse(" Ada ", &Limits::default()).unwrap();
        assert_eq!(name.as_str(), " Ada ", "it is kept as it was written");
    }

    #[test]
    fn a_message_may_have_lines_but_no_nul_and_is_not_blank() {
        for good in ["hello", "two\nlines", "tab\there", " x "] {
            assert_eq!(wrong::<kind::MessageBody>(good), "", "{good:?}");
            assert_eq!(MessageBody::parse(good, &Limits::default()).unwrap().as_str(), good);
        }
        assert!(wrong::<kind::MessageBody>("a\0b").contains("NUL"));
        for blank in [" ", "\n", " \t\r\n "] {
            assert!(wrong::<kind::MessageBody>(blank).contains("blank"), "{blank:?}");
        }
    }

    #[test]
    fn a_language_is_a_tag_and_is_kept_in_lower_case() {
        for good in ["en", "ru", "pt-BR", "zh-Hant-TW", "sl-rozaj-biske", "de-1996"] {
            let language = Language::parse(good, &Limits::default()).unwrap();
            assert_eq!(language.as_str(), good.to_lowercase());
        }
        let long = format!("en{}", "-abcdefgh".repeat(4));
        for bad in ["", "e", "en_US", "en-", "-en", "1a", "en--us", "en-abcdefghi", "en\r\nru", "рус", &long]
        {
            assert!(wrong::<kind::Language>(bad).contains("a language such as"), "{bad:?}");
        }
    }

    #[test]
    fn a_client_id_is_of_visible_ascii_characters() {
        for good in ["1", "c-1", "!~", "{\"a\":1}"] {
            assert_eq!(ClientId::parse(good, &Limits::default()).unwrap().as_str(), good);
        }
        for bad in ["a b", "ü", "a\n", "\u{7f}"] {
            assert!(wrong::<kind::ClientId>(bad).contains("visible ASCII"), "{bad:?}");
        }
    }

    #[test]
    fn a_mail_address_is_one_at_and_no_blanks() {
        let limits = Limits::default();
        let longest = format!("{}@{}", "x".repeat(64), "y".repeat(189));
        for good in [
            "ada@example.org",
            "Ada@Example.ORG",
            "a.b+c@localhost",
            "ü@bücher.example",
            "a@b",
            "-a.@a-b.c",
            &longest,
        ] {
            assert_eq!(EmailAddress::parse(good, &limits).unwrap().as_str(), good);
        }
        let (long, long_name) = (format!("{longest}y"), format!("{}@example.org", "x".repeat(65)));
        let bad =
            ["", "ada", "@", "@example.org", "ada@", "a@b@c", "a@@b", "a@b\r\nBcc: x", &long, &long_name];
        let at_the_edges = ["a@.b", "a@-b", "a@b.", "a@b-", "a@b..c", "a@.", "a@-"];
        let blanks = ["a b@c", " a@b", "a@b ", "a\u{a0}b@c", "a\0b@c", "a\u{7f}@c"];
        for bad in [&bad[..], &at_the_edges, &blanks].concat() {
            assert!(EmailAddress::parse(bad, &limits).is_err(), "{bad:?}");
        }
        for special in "<>\"(),;:\\".chars() {
            assert!(EmailAddress::parse(&format!("a{special}b@example.org"), &limits).is_err(), "{special}");
            assert!(EmailAddress::parse(&format!("a@b{special}c"), &limits).is_err(), "{special}");
        }
    }

    #[test]
    fn a_password_has_8_to_256_characters_and_no_nul() {
        let check = |text: String| Password::new(text).check(&Limits::default());
        for (count, fits) in [(7, false), (8, true), (256, true), (257, false)] {
            assert_eq!(check("ü".repeat(count)).is_ok(), fits, "{count}");
        }
        assert!(check("with\0nul".into()).unwrap_err().contains("NUL"));
        // Blanks count like any other character.
        assert!(check(" ".repeat(8)).is_ok());
    }

    #[test]
    fn a_password_is_hashed_as_it_was_typed_and_shown_by_nothing() {
        let password: Password = serde_json::from_str("\" Correct horse \"").unwrap();
        assert_eq!(password.expose(), b" Correct horse ");
        assert_eq!(format!("{password:?}"), "Password(…)");
    }

    #[test]
    fn texts_are_compared_by_what_they_say() {
        let [a, b] = ["a", "b"].map(Title::trusted);
        assert!(a < b && a == a.clone() && a != b);
        assert_eq!(a.partial_cmp(&b), Some(std::cmp::Ordering::Less));
        let state = RandomState::new();
        assert_ne!(state.hash_one(&a), state.hash_one(&b));
        assert_eq!(HashSet::from([a.clone(), a, b]).len(), 2);
        assert_eq!(Title::trusted("ÄÖ Ada").folded(), "äö ada");
    }

    #[test]
    fn a_text_is_the_same_over_the_wire_and_only_its_length_in_a_log() {
        let title = Title::trusted("Tea \"&\" Coffee");
        let json = serde_json::to_string(&title).unwrap();
        assert_eq!(json, r#""Tea \"&\" Coffee""#);
        assert_eq!(serde_json::from_str::<Title>(&json).unwrap(), title);
        assert_eq!(format!("{title:?}"), "Text(14 bytes)");
    }
}
