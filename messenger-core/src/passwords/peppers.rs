use std::{fmt, sync::Arc};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::domain::{LinkKeys, WeakKey};

/// Keys without which no password can be tried against its hash, so that a stolen database is not enough to search for
/// passwords: one with which passwords are hashed, and former ones whose hashes still fit. All nodes have the same.
///
/// A key is the secret input of Argon2 (RFC 9106, `K`). Which one it was is in the hash, as `keyid`: the first 8 bytes of
/// HMAC-SHA-256 (RFC 2104) with the key over `messenger password pepper`. `Debug` shows no key.
///
/// ```
/// use messenger_core::{Peppers, Settings};
///
/// let peppers = Peppers::new(&[8; 32]).unwrap();
/// // After a change of keys: a password is hashed anew when its person next logs in.
/// let peppers = Peppers::new(&[9; 32]).unwrap().with_former(&[8; 32]).unwrap();
/// let settings = Settings { password_peppers: Some(peppers), ..Settings::default() };
/// # let _ = settings;
/// ```
#[derive(Clone)]
pub struct Peppers(Arc<Vec<Pepper>>);

#[derive(Clone)]
pub(super) struct Pepper {
    pub(super) id: [u8; 8],
    pub(super) key: Zeroizing<Vec<u8>>,
}

impl Peppers {
    /// The least length of a key, in bytes.
    pub const LEAST: usize = LinkKeys::LEAST;

    /// Hashes passwords with this key.
    ///
    /// # Errors
    /// [`WeakKey`] if it is shorter than [`LEAST`](Self::LEAST).
    pub fn new(key: &[u8]) -> Result<Self, WeakKey> {
        Self(Arc::default()).with_former(key)
    }

    /// Also tries passwords that were hashed with this key.
    ///
    /// # Errors
    /// [`WeakKey`] if it is shorter than [`LEAST`](Self::LEAST).
    pub fn with_former(self, key: &[u8]) -> Result<Self, WeakKey> {
        if key.len() < Self::LEAST {
            return Err(WeakKey);
        }
        let mut keys = Arc::unwrap_or_clone(self.0);
        keys.push(Pepper::of(key));
        Ok(Self(Arc::new(keys)))
    }

    pub(super) fn newest(&self) -> Option<&Pepper> {
        self.0.first()
    }

    pub(super) fn with_id(&self, id: &[u8]) -> Option<&Pepper> {
        self.0.iter().find(|pepper| pepper.id == id)
    }
}

impl Pepper {
    fn of(key: &[u8]) -> Self {
        let mut id = [0; 8];
        // HMAC takes keys of any length.
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) {
            mac.update(b"messenger password pepper");
            id.copy_from_slice(&mac.finalize().into_bytes()[..8]);
        }
        Self { id, key: Zeroizing::new(key.to_vec()) }
    }
}

impl fmt::Debug for Peppers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peppers({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_long_enough_and_not_shown() {
        assert_eq!(Peppers::new(&[7; 31]).unwrap_err(), WeakKey);
        let peppers = Peppers::new(&[7; 32]).unwrap();
        assert_eq!(peppers.clone().with_former(&[8; 31]).unwrap_err(), WeakKey);
        assert_eq!(format!("{:?}", peppers.with_former(&[8; 32]).unwrap()), "Peppers(2)");
    }

    #[test]
    fn a_key_is_known_by_its_id() {
        let peppers = Peppers::new(&[7; 32]).unwrap().with_former(&[8; 32]).unwrap();
        // Computed with Python: hmac.new(b"\x07" * 32, b"messenger password pepper", "sha256").hexdigest()[:16]
        let id = [0xd9, 0x00, 0xd8, 0xa0, 0xaa, 0xfb, 0xfb, 0xad];
        assert_eq!(peppers.newest().unwrap().id, id);
        assert_eq!(*peppers.with_id(&id).unwrap().key, [7; 32]);
        assert_eq!(*peppers.with_id(&Pepper::of(&[8; 32]).id).unwrap().key, [8; 32]);
        assert!(peppers.with_id(&[0; 8]).is_none() && peppers.with_id(&[]).is_none());
    }
}
