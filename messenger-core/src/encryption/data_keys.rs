use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt as _, stream};
use moka::sync::Cache;
use tokio::time::{Instant, timeout};

use super::{DataKey, KeyService, KeyServiceError};
use crate::{
    context::Context,
    domain::UserId,
    ports::{KeyId, Store, StoreError, StoreErrorKind, StoreResult, StoredKey, WrappedKey},
};

/// How long one call of the key service may take.
const WAIT: Duration = Duration::from_secs(2);
/// How long a key service that was away is not asked again: what waits for it would hold up what does not need it.
const AWAY: Duration = Duration::from_secs(1);
/// Calls of the key service at the same time, for one intent.
const AT_ONCE: usize = 16;

/// The data keys, unwrapped: those of people in a cache with a bound.
pub(super) struct DataKeys {
    service: Arc<dyn KeyService>,
    store: Arc<dyn Store>,
    context: Context,
    cache: Cache<UserId, Held>,
    away_until: Mutex<Option<Instant>>,
}

/// What is known for good about a person's key.
#[derive(Clone)]
enum Held {
    Key(DataKey),
    Destroyed,
}

/// A person's key, or why there is none.
#[derive(Debug, Clone)]
pub(super) enum Found {
    Key(DataKey),
    /// It was destroyed.
    Destroyed,
    /// The person has none yet.
    Missing,
    /// It can't be told now.
    Unavailable,
    /// What is stored can't be unwrapped.
    Damaged,
}

impl Found {
    /// The key, or the error of an intent that needs it.
    pub(super) fn into_key(self) -> StoreResult<DataKey> {
        match self {
            Self::Key(key) => Ok(key),
            Self::Destroyed | Self::Missing => Err(StoreErrorKind::NotFound.into()),
            Self::Unavailable => Err(StoreErrorKind::Unavailable.into()),
            Self::Damaged => Err(StoreErrorKind::Corrupt.into()),
        }
    }
}

impl From<Held> for Found {
    fn from(held: Held) -> Self {
        match held {
            Held::Key(key) => Self::Key(key),
            Held::Destroyed => Self::Destroyed,
        }
    }
}

impl DataKeys {
    pub(super) fn new(
        store: Arc<dyn Store>,
        service: Arc<dyn KeyService>,
        context: Context,
        (most, idle): (u64, Duration),
    ) -> Self {
        let cache = Cache::builder().max_capacity(most).time_to_live(idle).build();
        Self { service, store, context, cache, away_until: Mutex::default() }
    }

    /// The person's key if it is in memory.
    pub(super) fn cached(&self, user: UserId) -> Option<Found> {
        self.cache.get(&user).map(Found::from)
    }

    /// The keys of these people. Whoever has none gets one if `make` is set.
    pub(super) async fn of(&self, users: &[UserId], make: bool) -> StoreResult<HashMap<UserId, Found>> {
        let mut found: HashMap<UserId, Found> = HashMap::new();
        let mut unknown = Vec::new();
        for &user in users {
            found.entry(user).or_insert_with(|| {
                self.cached(user).unwrap_or_else(|| {
                    unknown.push(KeyId::of_user(user));
                    Found::Missing
                })
            });
        }
        if unknown.is_empty() {
            return Ok(found);
        }
        let stored = self.store.keys(&unknown).await?;
        self.open_all(stored, &mut found).await;
        let missing = |id: &KeyId| id.owner.is_some_and(|user| matches!(found[&user], Found::Missing));
        let missing: Vec<_> = unknown.into_iter().filter(missing).collect();
        if make && !missing.is_empty() {
            self.make(missing, &mut found).await?;
        }
        Ok(found)
    }

    /// The key of one person, who gets one if they have none.
    pub(super) async fn for_writing(&self, user: UserId) -> StoreResult<DataKey> {
        if let Some(found) = self.cached(user) {
            return found.into_key();
        }
        self.of(&[user], true).await?.remove(&user).unwrap_or(Found::Missing).into_key()
    }

    /// Forgets the person's key, which was destroyed.
    pub(super) fn destroyed(&self, user: UserId) {
        self.cache.insert(user, Held::Destroyed);
    }

    /// A key that belongs to no single person, which is made if there is none.
    pub(super) async fn shared(&self, id: KeyId) -> Result<DataKey, SharedKeyError> {
        let stored = self.store.keys(&[id]).await.map_err(SharedKeyError::Store)?.pop();
        let stored = match stored {
            Some(stored) => stored,
            None => {
                let (made, _) = self.generate(id).await.map_err(SharedKeyError::Service)?;
                let first = self.store.create_keys(&[made]).await.map_err(SharedKeyError::Store)?.pop();
                // Another node may have made one meanwhile: the first one counts.
                first.ok_or(SharedKeyError::Service(KeyServiceError::Damaged))?
            }
        };
        let wrapped = stored.wrapped.ok_or(SharedKeyError::Service(KeyServiceError::Damaged))?;
        // Also what was just stored: it has to open before anything is sealed with it.
        self.unwrap(id, &wrapped).await.map_err(SharedKeyError::Service)
    }

    async fn open_all(&self, stored: Vec<StoredKey>, found: &mut HashMap<UserId, Found>) {
        let opened = stream::iter(stored).map(|key| async move { (key.id, self.open(key).await) });
        let mut opened = opened.buffer_unordered(AT_ONCE);
        while let Some((id, opened)) = opened.next().await {
            if let Some(user) = id.owner {
                found.insert(user, opened);
            }
        }
    }

    async fn open(&self, stored: StoredKey) -> Found {
        let held = match &stored.wrapped {
            None => Held::Destroyed,
            Some(wrapped) => match self.unwrap(stored.id, wrapped).await {
                Ok(key) => Held::Key(key),
                Err(KeyServiceError::Unavailable(_)) => return Found::Unavailable,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(owner = ?stored.id.owner, error, "a person's data key can't be unwrapped");
                    return Found::Damaged;
                }
            },
        };
        if let Some(user) = stored.id.owner {
            self.cache.insert(user, held.clone());
        }
        held.into()
    }

    async fn make(&self, ids: Vec<KeyId>, found: &mut HashMap<UserId, Found>) -> StoreResult<()> {
        let made = stream::iter(ids).map(|id| async move { (id, self.generate(id).await) });
        let made: Vec<_> = made.buffer_unordered(AT_ONCE).collect().await;
        let mut new = Vec::with_capacity(made.len());
        for (id, made) in made {
            match (made, id.owner) {
                (Ok((stored, _)), _) => new.push(stored),
                (Err(_), Some(user)) => {
                    found.insert(user, Found::Unavailable);
                }
                (Err(_), None) => {}
            }
        }
        // Another node may have made one meanwhile: the first one counts.
        let first = self.store.create_keys(&new).await?;
        self.open_all(first, found).await;
        Ok(())
    }

    async fn generate(&self, id: KeyId) -> Result<(StoredKey, DataKey), KeyServiceError> {
        let key = DataKey::from_bytes(&zeroize::Zeroizing::new(self.context.random::<32>()));
        let wrapped = self.ask(self.service.wrap(id, &key)).await?;
        let created_at = self.context.now();
        Ok((StoredKey { id, wrapped: Some(wrapped), created_at, destroyed_at: None }, key))
    }

    async fn unwrap(&self, id: KeyId, wrapped: &WrappedKey) -> Result<DataKey, KeyServiceError> {
        self.ask(self.service.unwrap(id, wrapped)).await
    }

    async fn ask<T>(
        &self,
        answer: impl Future<Output = Result<T, KeyServiceError>>,
    ) -> Result<T, KeyServiceError> {
        if self.is_away() {
            return Err(KeyServiceError::unavailable("it was away a moment ago"));
        }
        let answer =
            timeout(WAIT, answer).await.unwrap_or_else(|late| Err(KeyServiceError::unavailable(late)));
        if let Err(error @ KeyServiceError::Unavailable(_)) = &answer {
            tracing::warn!(error = error as &dyn std::error::Error, "the key service does not answer");
            *self.away_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + AWAY);
        }
        answer
    }

    fn is_away(&self) -> bool {
        let until = *self.away_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }
}

/// Why a key that all need is not there.
#[derive(Debug)]
pub(super) enum SharedKeyError {
    Store(StoreError),
    Service(KeyServiceError),
}
