use std::{collections::BTreeMap, fmt};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chacha20poly1305::{AeadInOut as _, XNonce, aead::inout::InOutBuf};
use zeroize::Zeroizing;

use super::{DataKey, KeyService, KeyServiceError};
use crate::{
    context::Context,
    ports::{KeyId, WrappedKey},
};

/// Key-encryption keys (KEKs) in the memory of the process, by version. One of them wraps; the others still unwrap, so that
/// keys can be changed while nodes run. `Debug` shows the versions alone, first that of the one that wraps.
///
/// A wrapped key has 77 bytes: the version of this form (1), the version of the KEK (4 bytes, big-endian), a random nonce of 24
/// bytes, the data key sealed by XChaCha20-Poly1305 (32 bytes), and the tag (16 bytes). The associated data is
/// `messenger data key`, the 16 bytes of the owner, and the 4 bytes of the key's number.
///
/// ```
/// use messenger_core::encryption::KeyRing;
///
/// let ring = KeyRing::parse(
///     "# Key-encryption keys, made by `messenger-server keys generate`
///      2:MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=
///      1:YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXoxMjM0NTY=",
/// )?;
/// assert_eq!(format!("{ring:?}"), "KeyRing([2, 1])");
/// # Ok::<(), messenger_core::encryption::InvalidKeyRing>(())
/// ```
#[derive(Clone)]
pub struct KeyRing {
    keys: BTreeMap<u32, DataKey>,
    current: u32,
    context: Context,
}

const FORM: u8 = 1;
const CONTEXT: &[u8] = b"messenger data key";

/// Text that is no key ring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKeyRing {
    /// There is no key in it.
    #[error("there is no key-encryption key; a line with one is `1:` and the Base64 of 32 random bytes")]
    Empty,
    /// A line is no key.
    #[error(
        "line {0} is no key-encryption key; it has to be a version from 1 to {max}, `:`, and the Base64 of 32 random bytes",
        max = i32::MAX
    )]
    Line(usize),
    /// A version is there twice.
    #[error("version {0} of the key-encryption key is there twice")]
    Twice(u32),
}

impl KeyRing {
    /// The ring with this one key, of version 1.
    pub fn new(key: &[u8; 32]) -> Self {
        let keys = BTreeMap::from([(1, DataKey::from_bytes(key))]);
        Self { keys, current: 1, context: Context::system() }
    }

    /// Adds a key that wraps from now on.
    ///
    /// # Errors
    /// [`InvalidKeyRing::Twice`] if there is one of this version.
    pub fn with_current(self, version: u32, key: &[u8; 32]) -> Result<Self, InvalidKeyRing> {
        Ok(Self { current: version, ..self.with(version, key)? })
    }

    /// Adds a key that only unwraps: a former one, or one that other nodes wrap with already.
    ///
    /// # Errors
    /// [`InvalidKeyRing::Twice`] if there is one of this version.
    pub fn with(mut self, version: u32, key: &[u8; 32]) -> Result<Self, InvalidKeyRing> {
        match self.keys.insert(version, DataKey::from_bytes(key)) {
            Some(_) => Err(InvalidKeyRing::Twice(version)),
            None => Ok(self),
        }
    }

    /// Reads keys from lines `version:key`, of which the first one wraps: a number from 1 to 2,147,483,647, and the Base64 (RFC 4648, with
    /// padding) of 32 bytes. Empty lines and those that begin with `#` count nothing.
    ///
    /// # Errors
    /// For anything else; an error does not quote the text.
    pub fn parse(text: &str) -> Result<Self, InvalidKeyRing> {
        let (mut keys, mut current) = (BTreeMap::new(), None);
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (version, key) = line_of(line).ok_or(InvalidKeyRing::Line(number + 1))?;
            if keys.insert(version, key).is_some() {
                return Err(InvalidKeyRing::Twice(version));
            }
            current = current.or(Some(version));
        }
        let current = current.ok_or(InvalidKeyRing::Empty)?;
        Ok(Self { keys, current, context: Context::system() })
    }

    /// A line with a new random key of this version, as [`parse`](Self::parse) reads it.
    pub fn generate_line(version: u32, context: &Context) -> Zeroizing<String> {
        let key = Zeroizing::new(context.random::<32>());
        let text = Zeroizing::new(STANDARD.encode(*key));
        Zeroizing::new(format!("{version}:{}", *text))
    }

    /// The versions that there are, in ascending order.
    pub fn versions(&self) -> impl Iterator<Item = u32> {
        self.keys.keys().copied()
    }

    /// Uses another source of randomness than the system.
    #[must_use]
    pub fn context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }
}

fn line_of(line: &str) -> Option<(u32, DataKey)> {
    let (version, key) = line.split_once(':')?;
    let version = version.trim().parse::<u32>().ok()?;
    let bytes = Zeroizing::new(STANDARD.decode(key.trim()).ok()?);
    let key = DataKey::from_bytes(bytes.as_slice().try_into().ok()?);
    (1..=i32::MAX.unsigned_abs()).contains(&version).then_some((version, key))
}

fn associated(id: KeyId) -> Vec<u8> {
    [CONTEXT, &id.owner_bytes(), &id.number.to_be_bytes()].concat()
}

#[async_trait]
impl KeyService for KeyRing {
    fn current(&self) -> u32 {
        self.current
    }

    fn version(&self, wrapped: &WrappedKey) -> Option<u32> {
        let (form, rest) = wrapped.0.split_first()?;
        let version = rest.first_chunk().map(|version| u32::from_be_bytes(*version));
        version.filter(|_| *form == FORM)
    }

    async fn wrap(&self, id: KeyId, key: &DataKey) -> Result<WrappedKey, KeyServiceError> {
        let version = self.current;
        let kek = self.keys.get(&version).ok_or(KeyServiceError::UnknownVersion { version })?;
        let nonce = self.context.random::<24>();
        let mut sealed = Zeroizing::new(*key.expose());
        let inside = InOutBuf::from(sealed.as_mut_slice());
        let tag = kek.cipher().encrypt_inout_detached(&XNonce::from(nonce), &associated(id), inside);
        let tag = tag.map_err(|_| KeyServiceError::Damaged)?;
        Ok(WrappedKey([&[FORM][..], &version.to_be_bytes(), &nonce, &*sealed, &tag].concat()))
    }

    async fn unwrap(&self, id: KeyId, wrapped: &WrappedKey) -> Result<DataKey, KeyServiceError> {
        let version = self.version(wrapped).ok_or(KeyServiceError::Damaged)?;
        let kek = self.keys.get(&version).ok_or(KeyServiceError::UnknownVersion { version })?;
        let parts = || {
            let (nonce, rest) = wrapped.0.get(5..)?.split_first_chunk::<24>()?;
            let (sealed, rest) = rest.split_first_chunk::<32>()?;
            let tag: &[u8; 16] = rest.try_into().ok()?;
            Some((nonce, sealed, tag))
        };
        let (nonce, sealed, tag) = parts().ok_or(KeyServiceError::Damaged)?;
        let mut key = Zeroizing::new(*sealed);
        let inside = InOutBuf::from(key.as_mut_slice());
        let opened = kek.cipher().decrypt_inout_detached(
            &XNonce::from(*nonce),
            &associated(id),
            inside,
            &(*tag).into(),
        );
        opened.map_err(|_| KeyServiceError::Damaged)?;
        Ok(DataKey::from_bytes(&key))
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others = self.versions().filter(|version| *version != self.current);
        write!(f, "KeyRing({:?})", std::iter::once(self.current).chain(others).collect::<Vec<_>>())
    }
}
