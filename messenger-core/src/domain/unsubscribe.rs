use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{ChatId, UserId};

/// Who wants no more mail, and of what: what an unsubscribe token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsubscribe {
    /// Who.
    pub user: UserId,
    /// Of what.
    pub scope: UnsubscribeScope,
}

/// What there is to be no more mail of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnsubscribeScope {
    /// Anything unread.
    Everything,
    /// What is unread in this chat.
    Chat(ChatId),
}

/// The keys that unsubscribe tokens are signed with: one that signs, and former ones whose tokens are still good.
///
/// Who has a token can unsubscribe its person, and do nothing else with it. It says whom and what in the clear, signed with HMAC-SHA-256
/// (RFC 2104), and does not expire, because a mail does not either: it ends with its key.
///
/// ```
/// use messenger_core::{Unsubscribe, UnsubscribeKeys, UnsubscribeScope, context::Context};
///
/// let context = Context::fixed();
/// let keys = UnsubscribeKeys::new(&[7; 32]).unwrap();
/// let what = Unsubscribe { user: context.id(), scope: UnsubscribeScope::Chat(context.id()) };
/// let token = keys.sign(what);
/// assert_eq!(keys.verify(&token), Ok(what));
/// assert!(UnsubscribeKeys::new(&[8; 32]).unwrap().verify(&token).is_err());
///
/// // After a change of keys.
/// let keys = UnsubscribeKeys::new(&[8; 32]).unwrap().with_former(&[7; 32]).unwrap();
/// assert_eq!(keys.verify(&token), Ok(what));
/// ```
#[derive(Clone)]
pub struct UnsubscribeKeys(Vec<Zeroizing<Vec<u8>>>);

/// A token that no key of this server has signed, or that is of a version which this release does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this link is not valid")]
pub struct InvalidUnsubscribeToken;

/// A key of fewer than 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key has at least {} random bytes", UnsubscribeKeys::LEAST)]
pub struct WeakKey;

/// Also the first byte of a token.
const VERSION: u8 = 1;
/// So that a signature for another purpose, with the same key, is none here.
const PURPOSE: &[u8] = b"messenger unsubscribe\0";
const MAC: usize = 32;

impl UnsubscribeKeys {
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

    /// Makes a token of base64url, at most 88 letters, the same each time.
    pub fn sign(&self, what: Unsubscribe) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(what.user.as_bytes());
        if let UnsubscribeScope::Chat(chat) = what.scope {
            bytes.extend_from_slice(chat.as_bytes());
        }
        // There is always a first key.
        if let Some(mac) = self.0.first().and_then(|key| mac(key, &bytes)) {
            bytes.extend_from_slice(&mac.finalize().into_bytes());
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a token, in a time that does not tell how much of a signature was right.
    ///
    /// # Errors
    /// [`InvalidUnsubscribeToken`], whatever is wrong with it.
    pub fn verify(&self, token: &str) -> Result<Unsubscribe, InvalidUnsubscribeToken> {
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| InvalidUnsubscribeToken)?;
        let signed = bytes.len().checked_sub(MAC).ok_or(InvalidUnsubscribeToken)?;
        let (said, signature) = bytes.split_at(signed);
        let is_signed =
            |key: &Zeroizing<Vec<u8>>| mac(key, said).is_some_and(|mac| mac.verify_slice(signature).is_ok());
        if !self.0.iter().any(is_signed) {
            return Err(InvalidUnsubscribeToken);
        }
        read(said).ok_or(InvalidUnsubscribeToken)
    }
}

fn mac(key: &[u8], said: &[u8]) -> Option<Hmac<Sha256>> {
    // HMAC takes keys of any length.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(PURPOSE);
    mac.update(said);
    Some(mac)
}

fn read(said: &[u8]) -> Option<Unsubscribe> {
    let (&VERSION, rest) = said.split_first()? else { return None };
    let (user, rest) = rest.split_first_chunk::<16>()?;
    let scope = match rest {
        [] => UnsubscribeScope::Everything,
        chat => UnsubscribeScope::Chat(ChatId::from_bytes(chat.try_into().ok()?)),
    };
    Some(Unsubscribe { user: UserId::from_bytes(*user), scope })
}

impl fmt::Debug for UnsubscribeKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnsubscribeKeys({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: UserId = UserId::from_bytes([1; 16]);
    const EVERYTHING: Unsubscribe = Unsubscribe { user: USER, scope: UnsubscribeScope::Everything };
    const CHAT: Unsubscribe =
        Unsubscribe { user: USER, scope: UnsubscribeScope::Chat(ChatId::from_bytes([2; 16])) };

    fn keys() -> UnsubscribeKeys {
        UnsubscribeKeys::new(&[7; 32]).unwrap()
    }

    #[test]
    fn a_token_says_whom_and_what() {
        for what in [EVERYTHING, CHAT] {
            let token = keys().sign(what);
            assert_eq!(keys().verify(&token), Ok(what));
            assert_eq!(token, keys().sign(what), "the same mail has the same link");
            assert!(
                token.len() <= 88 && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
            );
        }
        assert_ne!(keys().sign(EVERYTHING), keys().sign(CHAT));
    }

    #[test]
    fn tokens_of_the_first_version_stay_good() {
        // Links in mails that people have kept: what they look like can't be changed without a new version.
        let token = "AQEBAQEBAQEBAQEBAQEBAQGlWUgFLi1qL-dEm6wiKCpuAzNPjGtNAuK9lq_pnlaHaQ";
        assert_eq!(keys().verify(token), Ok(EVERYTHING));
    }

    #[test]
    fn a_token_of_which_anything_is_changed_is_none() {
        for what in [EVERYTHING, CHAT] {
            let bytes = URL_SAFE_NO_PAD.decode(keys().sign(what)).unwrap();
            for place in 0..bytes.len() {
                for bit in 0..8 {
                    let mut changed = bytes.clone();
                    changed[place] ^= 1 << bit;
                    let token = URL_SAFE_NO_PAD.encode(changed);
                    assert_eq!(
                        keys().verify(&token),
                        Err(InvalidUnsubscribeToken),
                        "bit {bit} of byte {place}"
                    );
                }
                let shorter = URL_SAFE_NO_PAD.encode(&bytes[..place]);
                assert_eq!(keys().verify(&shorter), Err(InvalidUnsubscribeToken), "{place} bytes");
            }
        }
    }

    #[test]
    fn what_is_signed_otherwise_is_no_token() {
        let signed = |purpose: &[u8], said: &[u8]| {
            let mut mac = Hmac::<Sha256>::new_from_slice(&[7; 32]).unwrap();
            mac.update(purpose);
            mac.update(said);
            URL_SAFE_NO_PAD.encode([said, &mac.finalize().into_bytes()].concat())
        };
        let said = [&[VERSION][..], &[1; 16]].concat();
        assert_eq!(keys().verify(&signed(PURPOSE, &said)), Ok(EVERYTHING));
        assert!(keys().verify(&signed(b"", &said)).is_err(), "for another purpose");
        assert!(
            keys().verify(&signed(PURPOSE, &[&[2][..], &[1; 16]].concat())).is_err(),
            "of another version"
        );
        for length in [0, 15, 17, 31, 33] {
            let said = [vec![VERSION], vec![1; length]].concat();
            assert!(keys().verify(&signed(PURPOSE, &said)).is_err(), "{length}");
        }
        for text in ["", "?", "AQ==", "ключ"] {
            assert!(keys().verify(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_former_key_verifies_and_does_not_sign() {
        let both = UnsubscribeKeys::new(&[8; 32]).unwrap().with_former(&[7; 32]).unwrap();
        assert_eq!(both.verify(&keys().sign(CHAT)), Ok(CHAT));
        assert!(keys().verify(&both.sign(CHAT)).is_err());
        assert_eq!(format!("{both:?}"), "UnsubscribeKeys(2)");
    }

    #[test]
    fn a_short_key_is_refused() {
        assert_eq!(UnsubscribeKeys::new(&[7; 31]).unwrap_err(), WeakKey);
        assert_eq!(keys().with_former(&[]).unwrap_err(), WeakKey);
        assert_eq!(WeakKey.to_string(), "a key has at least 32 random bytes");
    }
}
