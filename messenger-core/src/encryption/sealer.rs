use std::{collections::HashMap, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::{
    DataKey, KeyService, KeyServiceError,
    data_keys::{DataKeys, Found, SharedKeyError},
    place::{FINGERPRINTS, INDEX, Place, SHARED},
    seal::{self, Damaged},
};
use crate::{
    context::Context,
    domain::UserId,
    ports::{Content, ContentField, Fingerprint, Store, StoreError, StoreErrorKind, StoreResult},
};

/// What is sealed, and how.
///
/// ```
/// use messenger_core::encryption::{PlainValues, SealSettings};
///
/// let settings = SealSettings { padding: true, plain: PlainValues::Refused, ..SealSettings::default() };
/// # let _ = settings;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealSettings {
    /// Whether display names are sealed; then people are found by their usernames alone. Off by default.
    pub display_names: bool,
    /// Whether texts are padded before they are sealed, so that sizes tell less: to a length with at most two bits set
    /// among its upper ones (Padmé), which adds at most 12 %. Off by default.
    pub padding: bool,
    /// What becomes of values that were stored before anything was sealed. Accepted by default.
    pub plain: PlainValues,
    /// How many people's data keys are kept in memory, unwrapped. 100,000 by default, which takes about 20 MB.
    pub keys_cached: u64,
    /// How long a data key is kept in memory. One hour by default.
    pub keys_cached_for: Duration,
}

/// What becomes of values that are not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PlainValues {
    /// They are read as they are: for a database in which not everything is sealed yet.
    #[default]
    Accepted,
    /// They count as damaged, so that nobody who can write to the database can put one in place of a sealed value.
    Refused,
}

impl Default for SealSettings {
    fn default() -> Self {
        Self {
            display_names: false,
            padding: false,
            plain: PlainValues::Accepted,
            keys_cached: 100_000,
            keys_cached_for: Duration::from_secs(3600),
        }
    }
}

/// Why the keys of a database could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncryptionError {
    /// The store failed.
    #[error("the data keys can't be read")]
    Store(#[source] StoreError),
    /// The key service failed, or is not the one that the data keys were wrapped by.
    #[error("the database is encrypted with another key than was given, or its keys were changed")]
    Keys(#[source] KeyServiceError),
}

impl From<SharedKeyError> for EncryptionError {
    fn from(error: SharedKeyError) -> Self {
        match error {
            SharedKeyError::Store(error) => Self::Store(error),
            SharedKeyError::Service(error) => Self::Keys(error),
        }
    }
}

/// Begins a sealed value in a column of text. No line that people write has a control character.
const SEALED_TEXT: char = '\u{1}';

/// Seals and opens values.
pub(super) struct Sealer {
    pub(super) keys: DataKeys,
    shared: DataKey,
    index: DataKey,
    fingerprints: DataKey,
    context: Context,
    pub(super) settings: SealSettings,
}

impl Sealer {
    pub(super) async fn open(
        store: Arc<dyn Store>,
        service: Arc<dyn KeyService>,
        settings: SealSettings,
        context: Context,
    ) -> Result<Self, EncryptionError> {
        let cache = (settings.keys_cached, settings.keys_cached_for);
        let keys = DataKeys::new(store, service, context.clone(), cache);
        let shared = keys.shared(SHARED).await?;
        let index = keys.shared(INDEX).await?;
        let fingerprints = keys.shared(FINGERPRINTS).await?;
        Ok(Self { keys, shared, index, fingerprints, context, settings })
    }

    /// The key of what belongs to no single person.
    pub(super) fn shared_key(&self) -> Found {
        Found::Key(self.shared.clone())
    }

    /// Whether this is a sealed value, in a column of bytes or of text.
    pub(super) fn is_sealed(content: &Content) -> bool {
        seal::is_sealed(&content.0) || content.0.first() == Some(&(SEALED_TEXT as u8))
    }

    /// With which byte a sealed value begins, and no other, where this field is kept.
    pub(super) const fn mark(field: ContentField) -> u8 {
        if field.is_text() { SEALED_TEXT as u8 } else { seal::SEALED }
    }

    /// The key that seals what is at this place; that of a person who has none is made.
    pub(super) async fn key_for_writing(&self, place: &Place) -> StoreResult<DataKey> {
        match place.key().owner {
            None => Ok(self.shared.clone()),
            Some(user) => self.keys.for_writing(user).await,
        }
    }

    /// Seals a value with this key.
    pub(super) fn seal_with(&self, key: &DataKey, place: &Place, plain: &Content) -> StoreResult<Content> {
        let padding = match place {
            Place::Text { .. } if self.settings.padding => padded(plain.0.len()) - plain.0.len(),
            _ => 0,
        };
        let sealed = seal::seal(key, place, &plain.0, padding, || self.context.random());
        sealed.map(Content).map_err(|error| StoreError::new(StoreErrorKind::Other, error))
    }

    /// Seals a value that belongs to no single person.
    pub(super) fn seal_shared(&self, place: &Place, plain: &Content) -> StoreResult<Content> {
        self.seal_with(&self.shared, place, plain)
    }

    pub(super) async fn seal(&self, place: &Place, plain: &Content) -> StoreResult<Content> {
        self.seal_with(&self.key_for_writing(place).await?, place, plain)
    }

    /// Seals a value that is kept in a column of text.
    pub(super) async fn seal_text(&self, place: &Place, plain: &Content) -> StoreResult<Content> {
        self.seal_text_with(&self.key_for_writing(place).await?, place, plain)
    }

    /// Seals a value that is kept in a column of text, with this key.
    pub(super) fn seal_text_with(
        &self,
        key: &DataKey,
        place: &Place,
        plain: &Content,
    ) -> StoreResult<Content> {
        let sealed = self.seal_with(key, place, plain)?;
        let mut text = String::with_capacity(1 + sealed.0.len().div_ceil(3) * 4);
        text.push(SEALED_TEXT);
        URL_SAFE_NO_PAD.encode_string(sealed.0, &mut text);
        Ok(Content::from(text))
    }

    /// Opens a value. What does not open stays bytes that are no text, so that whoever reads it finds it damaged.
    pub(super) fn open_in_place(&self, key: &Found, place: &Place, content: &mut Content) -> StoreResult<()> {
        if !seal::is_sealed(&content.0) {
            self.plain(content);
            return Ok(());
        }
        match key {
            Found::Unavailable => Err(StoreErrorKind::Unavailable.into()),
            Found::Key(key) => {
                if let Err(error) = seal::open(key, place, &mut content.0) {
                    self.damaged(place, error);
                }
                Ok(())
            }
            Found::Destroyed | Found::Missing | Found::Damaged => {
                self.damaged(place, Damaged);
                Ok(())
            }
        }
    }

    /// As [`open_in_place`](Self::open_in_place), for the first `shown` bytes of a value; tells whether there is more.
    pub(super) fn open_beginning(
        &self,
        key: &Found,
        place: &Place,
        content: &mut Content,
        (shown, is_cut): (usize, bool),
    ) -> StoreResult<bool> {
        let is_sealed = seal::is_sealed(&content.0);
        let is_cut = match key {
            Found::Key(key) if is_sealed && is_cut => seal::open_beginning(key, place, &mut content.0)
                .unwrap_or_else(|error| {
                    self.damaged(place, error);
                    false
                }),
            _ => {
                self.open_in_place(key, place, content)?;
                is_cut
            }
        };
        let is_longer = content.0.len() > shown && !seal::is_sealed(&content.0);
        if is_longer {
            content.0.truncate(shown);
        }
        Ok(is_cut || is_longer)
    }

    /// Opens a value that is kept in a column of text.
    pub(super) fn open_text(&self, key: &Found, place: &Place, content: &mut Content) -> StoreResult<()> {
        let Some(text) = content.0.strip_prefix(&[SEALED_TEXT as u8]) else {
            self.plain(content);
            return Ok(());
        };
        match URL_SAFE_NO_PAD.decode(text) {
            Ok(sealed) if seal::is_sealed(&sealed) => {
                content.0 = sealed;
                self.open_in_place(key, place, content)
            }
            _ => {
                self.damaged(place, Damaged);
                content.0 = seal::UNREADABLE.to_vec();
                Ok(())
            }
        }
    }

    fn plain(&self, content: &mut Content) {
        if self.settings.plain == PlainValues::Refused {
            metrics::counter!("messenger_sealed_values_damaged_total").increment(1);
            content.0 = seal::UNREADABLE.to_vec();
        }
    }

    fn damaged(&self, place: &Place, error: Damaged) {
        metrics::counter!("messenger_sealed_values_damaged_total").increment(1);
        // Whoever can do nothing without the value says so at a higher level.
        tracing::debug!(?place, error = &error as &dyn std::error::Error, "a sealed value does not open");
    }

    /// That of `keys` which opens what is at this place.
    pub(super) fn pick(&self, keys: &HashMap<UserId, Found>, place: &Place) -> Found {
        match place.key().owner {
            None => self.shared_key(),
            Some(user) => keys.get(&user).cloned().unwrap_or(Found::Missing),
        }
    }

    /// The key under which an address is found: equal addresses have equal ones, and without the key nobody can tell
    /// whose it is.
    pub(super) fn blind(&self, address: &[u8]) -> Vec<u8> {
        hmac(&self.index, b"address\0", address).to_vec()
    }

    /// A fingerprint that confirms no guess about what it was made of.
    pub(super) fn fingerprint(&self, plain: Fingerprint) -> Fingerprint {
        Fingerprint::of(&hmac(&self.fingerprints, b"request\0", &plain.0))
    }
}

fn hmac(key: &DataKey, purpose: &[u8], said: &[u8]) -> [u8; 32] {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).expect("any length will do");
    mac.update(purpose);
    mac.update(said);
    mac.finalize().into_bytes().into()
}

/// The least length of at least `length` whose lower bits are zero, as many as do not make it more than 12 % longer (Padmé,
/// Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", 2019). At least 32.
fn padded(length: usize) -> usize {
    let length = length.max(32);
    let exponent = length.ilog2();
    let significant = exponent.ilog2() + 1;
    let mask = (1 << (exponent - significant)) - 1;
    (length + mask) & !mask
}

#[cfg(test)]
mod tests {
    use super::padded;

    #[test]
    fn padding_hides_sizes_and_adds_little() {
        for (length, expected) in
            [(0, 32), (1, 32), (32, 32), (33, 36), (100, 104), (1000, 1024), (8000, 8192)]
        {
            assert_eq!(padded(length), expected, "{length}");
        }
        for length in 32..40_000 {
            let padded = padded(length);
            assert!(padded >= length && padded * 100 <= length * 112 + 100, "{length}: {padded}");
        }
    }
}
