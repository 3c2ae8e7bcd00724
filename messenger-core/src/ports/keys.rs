use std::fmt;

use async_trait::async_trait;

use super::StoreResult;
use crate::domain::{Timestamp, UserId};

/// Data keys of an encrypting wrapper, each wrapped (sealed) by a key that is not in the store.
///
/// A store that nothing encrypts has none. Destroying a key is what makes sealed content unreadable for good, in every
/// copy of the database made later.
#[async_trait]
pub trait KeyStore: Send + Sync + 'static {
    /// Stores those of the keys whose id does not exist, and returns what is then stored under each of the ids, in the
    /// same order.
    ///
    /// # Behavior
    /// - `create_keys_answers_with_the_first_that_was_stored`: also within one call.
    /// - `create_keys_does_not_bring_back_what_was_destroyed`
    /// - `create_keys_lets_one_of_many_racers_win`
    async fn create_keys(&self, keys: &[StoredKey]) -> StoreResult<Vec<StoredKey>>;

    /// Reads those of the keys that exist, destroyed ones too, in no particular order, each once.
    ///
    /// # Behavior
    /// - `keys_skips_unknown_ids`
    async fn keys(&self, ids: &[KeyId]) -> StoreResult<Vec<StoredKey>>;

    /// Reads a page of all keys, destroyed ones too, in the order of their ids, beginning after `after`.
    ///
    /// # Behavior
    /// - `list_keys_pages_by_id`
    async fn list_keys(&self, after: Option<KeyId>, limit: usize) -> StoreResult<Vec<StoredKey>>;

    /// Puts `wrapped` in place of what was `expected`, for each of the keys by itself, and tells how many of them this
    /// was done for.
    ///
    /// # Behavior
    /// - `rewrap_keys_replaces_what_was_expected`: a key that was destroyed or wrapped anew meanwhile stays as it is.
    async fn rewrap_keys(&self, rewraps: &[Rewrap]) -> StoreResult<usize>;

    /// Destroys the person's keys: what is known of each is its id alone, from now on for good. If the person has none,
    /// the first one is stored as destroyed.
    ///
    /// # Behavior
    /// - `destroy_keys_leaves_ids_alone`: and the keys of others as they are; also when it is done again.
    /// - `destroy_keys_comes_before_a_key_that_is_created_later`
    async fn destroy_keys(&self, user: UserId, at: Timestamp) -> StoreResult<()>;
}

/// The id of a data key.
///
/// Stores keep it as the 16 bytes of the person's id, or 16 zeros, and a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId {
    /// Whose content is sealed with it; `None` for what belongs to no single person.
    pub owner: Option<UserId>,
    /// Which of the owner's keys it is, from 1 to `i32::MAX`.
    pub number: u32,
}

impl KeyId {
    /// The first key of a person.
    pub const fn of_user(user: UserId) -> Self {
        Self { owner: Some(user), number: 1 }
    }

    /// A key that belongs to no single person.
    pub const fn of_all(number: u32) -> Self {
        Self { owner: None, number }
    }

    /// The id of a key whose owner is kept as these bytes.
    pub fn from_bytes(owner: [u8; 16], number: u32) -> Self {
        Self { owner: (owner != [0; 16]).then(|| UserId::from_bytes(owner)), number }
    }

    /// The owner as 16 bytes; zeros for none. No person's id consists of zeros.
    pub fn owner_bytes(&self) -> [u8; 16] {
        self.owner.map_or([0; 16], |owner| *owner.as_bytes())
    }
}

/// A data key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// Its id.
    pub id: KeyId,
    /// The key, wrapped; `None` once destroyed.
    pub wrapped: Option<WrappedKey>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was destroyed.
    pub destroyed_at: Option<Timestamp>,
}

/// A wrapped data key: bytes that a store keeps without interpreting them, at most 256.
#[derive(Clone, PartialEq, Eq)]
pub struct WrappedKey(pub Vec<u8>);

impl fmt::Debug for WrappedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WrappedKey({} bytes)", self.0.len())
    }
}

/// A key that is wrapped anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrap {
    /// The key.
    pub id: KeyId,
    /// How it is wrapped now.
    pub expected: WrappedKey,
    /// How it is wrapped from then on.
    pub wrapped: WrappedKey,
}
