use std::fmt;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{LinkKeys, Timestamp, UserId};

/// A token from a link in a mail, as it was sent back. It is as good as a password: `Debug` does not show it.
///
/// ```
/// use messenger_core::LinkToken;
///
/// let token = LinkToken::from("AQEB");
/// assert_eq!((token.expose(), format!("{token:?}")), ("AQEB", "LinkToken(…)".to_owned()));
/// ```
#[derive(Clone, Deserialize)]
#[serde(from = "String")]
pub struct LinkToken(Zeroizing<String>);

impl LinkToken {
    /// The text of the token.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for LinkToken {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl From<&str> for LinkToken {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl fmt::Debug for LinkToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkToken(…)")
    }
}

/// What a link in a mail lets whoever has it do to an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccountLink {
    /// Set a new password.
    ResetPassword,
    /// Confirm the address.
    ConfirmAddress,
}

/// What the token in a link about an account says. Nothing of it is stored: it ends by itself, and with what it was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AccountToken {
    /// Whose account.
    pub(crate) user: UserId,
    /// From when on it is void.
    pub(crate) expires_at: Timestamp,
    /// Of the account as it was: once that has changed, the token is void.
    pub(crate) fingerprint: Fingerprint,
}

/// A hash of the state of an account that a token is for.
#[derive(Clone, Copy)]
pub(crate) struct Fingerprint([u8; 16]);

/// Also the first byte of a token.
const VERSION: u8 = 1;

impl AccountLink {
    /// So that a token for one purpose is none for another.
    const fn purpose(self) -> &'static [u8] {
        match self {
            Self::ResetPassword => b"messenger reset password\0",
            Self::ConfirmAddress => b"messenger confirm address\0",
        }
    }
}

impl AccountToken {
    /// Makes a token of base64url, 98 letters, the same each time.
    pub(crate) fn sign(self, link: AccountLink, keys: &LinkKeys) -> String {
        let mut said = vec![VERSION];
        said.extend_from_slice(self.user.as_bytes());
        said.extend_from_slice(&self.expires_at.as_micros().to_be_bytes());
        said.extend_from_slice(&self.fingerprint.0);
        keys.sign(link.purpose(), said)
    }

    /// Reads a token that is for this and has not expired. Whether it fits the account is for the caller to see.
    pub(crate) fn verify(token: &str, link: AccountLink, keys: &LinkKeys, now: Timestamp) -> Option<Self> {
        let said = keys.verify(link.purpose(), token)?;
        read(&said).filter(|token| now < token.expires_at)
    }
}

fn read(said: &[u8]) -> Option<AccountToken> {
    let (&VERSION, rest) = said.split_first()? else { return None };
    let (user, rest) = rest.split_first_chunk::<16>()?;
    let (expires_at, fingerprint) = rest.split_first_chunk::<8>()?;
    Some(AccountToken {
        user: UserId::from_bytes(*user),
        expires_at: Timestamp::from_micros(i64::from_be_bytes(*expires_at)),
        fingerprint: Fingerprint(fingerprint.try_into().ok()?),
    })
}

impl Fingerprint {
    /// Of these parts: none of them can take something over from its neighbour.
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut first = [0; 16];
        first.copy_from_slice(&hash.finalize()[..16]);
        Self(first)
    }
}

/// In a time that does not tell how much of it is the same.
impl PartialEq for Fingerprint {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Fingerprint {}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(…)")
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::{AccountLink::*, *};

    const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);
    const LATER: Timestamp = Timestamp::from_micros(1_767_225_600_000_001);

    fn keys() -> LinkKeys {
        LinkKeys::new(&[7; 32]).unwrap()
    }

    fn token() -> AccountToken {
        let fingerprint = Fingerprint::of(&[b"$argon2id$", b"ada@example.org"]);
        AccountToken { user: UserId::from_bytes([1; 16]), expires_at: LATER, fingerprint }
    }

    #[test]
    fn a_token_is_for_one_purpose_until_it_expires() {
        for (link, other) in [(ResetPassword, ConfirmAddress), (ConfirmAddress, ResetPassword)] {
            let signed = token().sign(link, &keys());
            assert_eq!(signed, token().sign(link, &keys()), "each try of a mail is the same");
            assert_eq!(signed.len(), 98);
            assert_eq!(AccountToken::verify(&signed, link, &keys(), NOW), Some(token()));
            assert_eq!(AccountToken::verify(&signed, link, &keys(), LATER), None);
            assert_eq!(AccountToken::verify(&signed, other, &keys(), NOW), None);
            let others = LinkKeys::new(&[8; 32]).unwrap();
            assert_eq!(AccountToken::verify(&signed, link, &others, NOW), None);
        }
    }

    #[test]
    fn a_token_of_which_anything_is_changed_is_none() {
        let bytes = URL_SAFE_NO_PAD.decode(token().sign(ResetPassword, &keys())).unwrap();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            for bytes in [&changed[..], &bytes[..place]] {
                let token = URL_SAFE_NO_PAD.encode(bytes);
                assert_eq!(AccountToken::verify(&token, ResetPassword, &keys(), NOW), None, "{place}");
            }
        }
        let said = &bytes[..bytes.len() - 32];
        for bad in [&said[..said.len() - 1], &[said, &[0]].concat(), &[&[2], &said[1..]].concat()] {
            let token = keys().sign(ResetPassword.purpose(), bad.to_vec());
            assert_eq!(AccountToken::verify(&token, ResetPassword, &keys(), NOW), None);
        }
    }

    #[test]
    fn a_fingerprint_is_of_each_of_its_parts() {
        let one = Fingerprint::of(&[b"ab", b"c"]);
        assert_eq!(one, Fingerprint::of(&[b"ab", b"c"]));
        for other in [&[b"a" as &[u8], b"bc"][..], &[b"ab", b"d"], &[b"abc"], &[b"ab", b"c", b""]] {
            assert_ne!(one, Fingerprint::of(other));
        }
        assert_eq!(format!("{one:?}"), "Fingerprint(…)");
    }
}
