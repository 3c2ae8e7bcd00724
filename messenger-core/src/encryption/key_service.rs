use async_trait::async_trait;

use super::DataKey;
use crate::ports::{KeyId, WrappedKey};

/// Wraps data keys with key-encryption keys (KEKs), which it never gives away: a [`KeyRing`](super::KeyRing) in the
/// process, or a key management service (KMS).
///
/// While a service is away, whoever's data key is in the cache can be read and can write; for others the store is
/// unavailable, and nothing is lost.
///
/// ```
/// use async_trait::async_trait;
/// use messenger_core::{
///     encryption::{DataKey, KeyService, KeyServiceError},
///     ports::{KeyId, WrappedKey},
/// };
///
/// /// What the SDK of a KMS looks like.
/// struct Kms;
/// impl Kms {
///     async fn encrypt(&self, _plain: &[u8; 32], _context: &[u8]) -> std::io::Result<(u32, Vec<u8>)> {
/// #       Ok((1, _plain.iter().map(|byte| byte ^ 0x55).collect()))
///         // …
///     }
///     async fn decrypt(&self, _blob: &[u8], _context: &[u8]) -> std::io::Result<[u8; 32]> {
/// #       Ok(std::array::from_fn(|i| _blob[i] ^ 0x55))
///         // …
///     }
/// }
///
/// struct KmsKeys(Kms);
///
/// #[async_trait]
/// impl KeyService for KmsKeys {
///     fn current(&self) -> u32 {
///         1
///     }
///
///     fn version(&self, wrapped: &WrappedKey) -> Option<u32> {
///         wrapped.0.first_chunk().map(|version| u32::from_be_bytes(*version))
///     }
///
///     async fn wrap(&self, id: KeyId, key: &DataKey) -> Result<WrappedKey, KeyServiceError> {
///         let context = [&id.owner_bytes()[..], &id.number.to_be_bytes()].concat();
///         let answer = self.0.encrypt(key.expose(), &context).await;
///         let (version, blob) = answer.map_err(KeyServiceError::unavailable)?;
///         Ok(WrappedKey([&version.to_be_bytes()[..], &blob].concat()))
///     }
///
///     async fn unwrap(&self, id: KeyId, wrapped: &WrappedKey) -> Result<DataKey, KeyServiceError> {
///         let blob = wrapped.0.get(4..).ok_or(KeyServiceError::Damaged)?;
///         let context = [&id.owner_bytes()[..], &id.number.to_be_bytes()].concat();
///         let key = self.0.decrypt(blob, &context).await.map_err(KeyServiceError::unavailable)?;
///         Ok(DataKey::from_bytes(&key))
///     }
/// }
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let (keys, id) = (KmsKeys(Kms), KeyId::of_all(1));
/// # let wrapped = keys.wrap(id, &DataKey::from_bytes(&[7; 32])).await?;
/// # assert_eq!(keys.unwrap(id, &wrapped).await?.expose(), &[7; 32]);
/// # Ok::<(), KeyServiceError>(()) }).unwrap();
/// ```
#[async_trait]
pub trait KeyService: Send + Sync + 'static {
    /// The version of the KEK that [`wrap`](Self::wrap) uses.
    fn current(&self) -> u32;

    /// The version of the KEK that a key is wrapped with; `None` if this can't be a wrapped key.
    fn version(&self, wrapped: &WrappedKey) -> Option<u32>;

    /// Wraps a data key, so that it can be unwrapped only under the same id. At most 256 bytes.
    async fn wrap(&self, id: KeyId, key: &DataKey) -> Result<WrappedKey, KeyServiceError>;

    /// Unwraps a data key.
    async fn unwrap(&self, id: KeyId, wrapped: &WrappedKey) -> Result<DataKey, KeyServiceError>;
}

/// Why a key was not wrapped or unwrapped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyServiceError {
    /// The service can't be reached, or does not answer in time.
    #[error("the key service can't be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The key is wrapped with a KEK that the service does not have.
    #[error("a data key is wrapped with version {version} of the key-encryption key, which was not given")]
    UnknownVersion {
        /// The version of that KEK.
        version: u32,
    },
    /// The KEK of this version did not wrap this key under this id: another KEK has the same version, or what is stored was
    /// changed.
    #[error(
        "a data key can't be unwrapped: another key-encryption key is given under its version, or it was changed"
    )]
    Damaged,
}

impl KeyServiceError {
    /// The service can't be reached, for this cause.
    pub fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(cause.into())
    }
}
