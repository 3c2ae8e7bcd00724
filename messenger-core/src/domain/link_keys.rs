use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The keys that the tokens in links are signed with: one that signs, and former ones whose tokens are still good. All nodes of a
/// deployment have the same.
///
/// A token is what it says, followed by an HMAC-SHA-256 (RFC 2104) over its purpose and that, in base64url. `Debug` shows no key.
///
/// ```
/// use messenger_core::{LinkKeys, Unsubscribe, UnsubscribeScope, context::Context};
///
/// let context = Context::fixed();
/// let what = Unsubscribe { user: context.id(), scope: UnsubscribeScope::Everything };
/// let token = what.sign(&LinkKeys::new(&[7; 32]).unwrap());
/// assert!(Unsubscribe::verify(&token, &LinkKeys::new(&[8; 32]).unwrap()).is_err());
///
/// // After a change of keys.
/// let keys = LinkKeys::new(&[8; 32]).unwrap().with_former(&[7; 32]).unwrap();
/// assert_eq!(Unsubscribe::verify(&token, &keys), Ok(what));
/// ```
#[derive(Clone)]
pub struct LinkKeys(Vec<Zeroizing<Vec<u8>>>);

/// A key of fewer than 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key has at least {} random bytes", LinkKeys::LEAST)]
pub struct WeakKey;

const MAC: usize = 32;

impl LinkKeys {
    /// The least length of a key, in bytes.
    pub const LEAST: usize = 32;

    /// Signs with this key.
    ///
    /// # Errors
    /// [`WeakKey`] if it is shorter than [`LEAST`](Self::LEAST).
    pub fn new(key: &[u8]) -> Result<Self, WeakKey> {
        Self(Vec::new()).with_former(key)
    }

    /// Also accepts what was signed with this key.
    ///
    /// # Errors
    /// [`WeakKey`] if it is shorter than [`LEAST`](Self::LEAST).
    pub fn with_former(mut self, key: &[u8]) -> Result<Self, WeakKey> {
        if key.len() < Self::LEAST {
            return Err(WeakKey);
        }
        self.0.push(Zeroizing::new(key.to_vec()));
        Ok(self)
    }

    /// A token that says this, for this purpose, the same each time. A purpose ends with a zero byte and has no other one, so that none is
    /// the begin of another.
    pub(super) fn sign(&self, purpose: &[u8], mut said: Vec<u8>) -> String {
        // There is always a first key.
        if let Some(mac) = self.0.first().and_then(|key| mac(key, purpose, &said)) {
            said.extend_from_slice(&mac.finalize().into_bytes());
        }
        URL_SAFE_NO_PAD.encode(said)
    }

    /// A name for what is said, equal for equal things, from which nobody without the key finds out what was said.
    pub(crate) fn blind(&self, purpose: &[u8], said: &[u8]) -> u128 {
        let mac = self.0.first().and_then(|key| mac(key, purpose, said));
        let first = mac.and_then(|mac| mac.finalize().into_bytes().first_chunk().copied());
        u128::from_be_bytes(first.unwrap_or_default())
    }

    /// What a token says, if one of the keys has signed it for this purpose. The time that this takes does not tell how much of a
    /// signature was right.
    pub(super) fn verify(&self, purpose: &[u8], token: &str) -> Option<Vec<u8>> {
        let mut bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let signed = bytes.len().checked_sub(MAC)?;
        let (said, signature) = bytes.split_at(signed);
        let is_signed = |key: &Zeroizing<Vec<u8>>| {
            mac(key, purpose, said).is_some_and(|mac| mac.verify_slice(signature).is_ok())
        };
        if !self.0.iter().any(is_signed) {
            return None;
        }
        bytes.truncate(signed);
        Some(bytes)
    }
}

fn mac(key: &[u8], purpose: &[u8], said: &[u8]) -> Option<Hmac<Sha256>> {
    // HMAC takes keys of any length.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(purpose);
    mac.update(said);
    Some(mac)
}

impl fmt::Debug for LinkKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkKeys({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_long_enough_and_not_shown() {
        assert_eq!(LinkKeys::new(&[7; 31]).unwrap_err(), WeakKey);
        let keys = LinkKeys::new(&[7; 32]).unwrap();
        assert_eq!(keys.clone().with_former(&[7; 31]).unwrap_err(), WeakKey);
        assert_eq!(format!("{keys:?}"), "LinkKeys(1)");
    }

    #[test]
    fn a_token_is_for_one_purpose_and_of_any_of_the_keys() {
        let [old, new] = [[1; 32], [2; 32]].map(|key| LinkKeys::new(&key).unwrap());
        let token = old.sign(b"a\0", vec![5]);
        assert_eq!(old.verify(b"a\0", &token), Some(vec![5]));
        assert_eq!((old.verify(b"b\0", &token), new.verify(b"a\0", &token)), (None, None));
        let both = new.with_former(&[1; 32]).unwrap();
        assert_eq!(both.verify(b"a\0", &token), Some(vec![5]));
        assert_ne!(both.sign(b"a\0", vec![5]), token, "the first key signs");
        for none in ["", "AAAA", "not base64!"] {
            assert_eq!(old.verify(b"a\0", none), None);
        }
    }
}
