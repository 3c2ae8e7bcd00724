#![deny(clippy::missing_trait_methods)]

mod chats;
mod jobs;
mod messages;
mod open;
mod passing;
mod sessions;
mod users;

use std::{fmt, sync::Arc};

use async_trait::async_trait;

use super::{EncryptionError, KeyService, PlainValues, SealSettings, sealer::Sealer};
use crate::{
    context::Context,
    ports::{Capabilities, Store, StoreResult},
};

/// Wraps a store and seals what people write before it gets there.
///
/// Sealed are texts, what system messages say, titles, mail addresses, names of devices, payloads of jobs and the reasons
/// why they failed, and display names if the [settings](SealSettings::display_names) say so. Addresses are found by a keyed
/// hash (HMAC-SHA-256), and fingerprints of requests are keyed in the same way. Not sealed are usernames, ids, times,
/// who is in which chat, and sizes.
///
/// A value that was changed in the database, or copied to another place there, does not open: a text, a title or a name
/// is shown as unreadable, and everything else stays readable. Each such value that is read is counted in the metric
/// `messenger_sealed_values_damaged_total`.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use std::sync::Arc;
/// use messenger_core::{
///     Messenger, encryption::{KeyRing, SealSettings, SealedStore}, memory::MemoryStore,
/// };
///
/// let keys = KeyRing::new(&[7; 32]);
/// let store = SealedStore::open(Arc::new(MemoryStore::new()), Arc::new(keys), SealSettings::default()).await?;
/// let messenger = Messenger::builder(Arc::new(store)).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub struct SealedStore {
    inner: Arc<dyn Store>,
    sealer: Arc<Sealer>,
}

impl SealedStore {
    /// Wraps this store. Its shared keys are made if there are none.
    ///
    /// # Errors
    /// [`EncryptionError`] if the store or the key service can't be reached, and if the keys in the store were wrapped by
    /// another key service.
    pub async fn open(
        inner: Arc<dyn Store>,
        keys: Arc<dyn KeyService>,
        settings: SealSettings,
    ) -> Result<Self, EncryptionError> {
        Self::open_with(inner, keys, settings, Context::system()).await
    }

    /// As [`open`](Self::open), with another source of time and randomness than the system.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_with(
        inner: Arc<dyn Store>,
        keys: Arc<dyn KeyService>,
        settings: SealSettings,
        context: Context,
    ) -> Result<Self, EncryptionError> {
        let sealer = Sealer::open(Arc::clone(&inner), keys, settings, context).await?;
        Ok(Self { inner, sealer: Arc::new(sealer) })
    }

    /// Seals with the keys of this store: for a [`SealedBus`](super::SealedBus).
    pub(super) fn sealer(&self) -> Arc<Sealer> {
        Arc::clone(&self.sealer)
    }

    /// The weight in the wrapped store of a message whose plain body has so many bytes.
    #[cfg(feature = "testkit")]
    pub(crate) const fn weight_of(plain: usize) -> usize {
        crate::ports::MessageRecord::BASE_WEIGHT + crate::encryption::seal::sealed_length(plain)
    }

    /// The wrapped store.
    #[cfg(feature = "testkit")]
    pub(crate) fn wrapped(&self) -> Arc<dyn Store> {
        Arc::clone(&self.inner)
    }

    /// What the wrapped store has in place of this fingerprint.
    #[cfg(feature = "testkit")]
    pub(crate) fn fingerprint(&self, plain: crate::ports::Fingerprint) -> crate::ports::Fingerprint {
        self.sealer.fingerprint(plain)
    }

    /// What the wrapped store has in place of this key of an address.
    #[cfg(feature = "testkit")]
    pub(crate) fn address_key(&self, plain: &[u8]) -> Vec<u8> {
        self.sealer.blind(plain)
    }

    fn accepts_plain(&self) -> bool {
        self.sealer.settings.plain == PlainValues::Accepted
    }
}

impl fmt::Debug for SealedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedStore").finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for SealedStore {
    fn capabilities(&self) -> Capabilities {
        let inner = self.inner.capabilities();
        let found = inner.display_names_are_found && !self.sealer.settings.display_names;
        inner.with_display_names_found(found)
    }

    async fn ping(&self) -> StoreResult<()> {
        self.inner.ping().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
