use super::{ChatId, LinkKeys, UserId};

/// Who wants no more mail, and of what: what an unsubscribe token says.
///
/// Who has a token can unsubscribe its person, and do nothing else with it. It says whom and what in the clear, signed by [`LinkKeys`],
/// and does not expire, because a mail does not either: it ends with its key.
///
/// ```
/// use messenger_core::{LinkKeys, Unsubscribe, UnsubscribeScope, context::Context};
///
/// let context = Context::fixed();
/// let keys = LinkKeys::new(&[7; 32]).unwrap();
/// let what = Unsubscribe { user: context.id(), scope: UnsubscribeScope::Chat(context.id()) };
/// assert_eq!(Unsubscribe::verify(&what.sign(&keys), &keys), Ok(what));
/// ```
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

/// A token that no key of this server has signed, or that is of a version which this release does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this link is not valid")]
pub struct InvalidUnsubscribeToken;

/// Also the first byte of a token.
const VERSION: u8 = 1;
/// So that a signature for another purpose, with the same key, is none here.
const PURPOSE: &[u8] = b"messenger unsubscribe\0";

impl Unsubscribe {
    /// Makes a token of base64url, at most 88 letters, the same each time.
    pub fn sign(self, keys: &LinkKeys) -> String {
        let mut said = vec![VERSION];
        said.extend_from_slice(self.user.as_bytes());
        if let UnsubscribeScope::Chat(chat) = self.scope {
            said.extend_from_slice(chat.as_bytes());
        }
        keys.sign(PURPOSE, said)
    }

    /// Reads a token, in a time that does not tell how much of a signature was right.
    ///
    /// # Errors
    /// [`InvalidUnsubscribeToken`], whatever is wrong with it.
    pub fn verify(token: &str, keys: &LinkKeys) -> Result<Self, InvalidUnsubscribeToken> {
        let said = keys.verify(PURPOSE, token).ok_or(InvalidUnsubscribeToken)?;
        read(&said).ok_or(InvalidUnsubscribeToken)
    }
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

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use hmac::{Hmac, KeyInit as _, Mac as _};
    use sha2::Sha256;

    use super::*;

    const USER: UserId = UserId::from_bytes([1; 16]);
    const EVERYTHING: Unsubscribe = Unsubscribe { user: USER, scope: UnsubscribeScope::Everything };
    const CHAT: Unsubscribe =
        Unsubscribe { user: USER, scope: UnsubscribeScope::Chat(ChatId::from_bytes([2; 16])) };

    fn keys() -> LinkKeys {
        LinkKeys::new(&[7; 32]).unwrap()
    }

    fn signed_by_us(what: Unsubscribe) -> String {
        what.sign(&keys())
    }

    fn verified(token: &str) -> Result<Unsubscribe, InvalidUnsubscribeToken> {
        Unsubscribe::verify(token, &keys())
    }

    #[test]
    fn a_token_says_whom_and_what() {
        for what in [EVERYTHING, CHAT] {
            let token = signed_by_us(what);
            assert_eq!(verified(&token), Ok(what));
            assert_eq!(token, signed_by_us(what), "the same mail has the same link");
            assert!(
                token.len() <= 88 && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
            );
        }
        assert_ne!(signed_by_us(EVERYTHING), signed_by_us(CHAT));
    }

    #[test]
    fn tokens_of_the_first_version_stay_good() {
        // Links in mails that people have kept: what they look like can't be changed without a new version.
        let token = "AQEBAQEBAQEBAQEBAQEBAQGlWUgFLi1qL-dEm6wiKCpuAzNPjGtNAuK9lq_pnlaHaQ";
        assert_eq!(verified(token), Ok(EVERYTHING));
    }

    #[test]
    fn a_token_of_which_anything_is_changed_is_none() {
        for what in [EVERYTHING, CHAT] {
            let bytes = URL_SAFE_NO_PAD.decode(signed_by_us(what)).unwrap();
            for place in 0..bytes.len() {
                for bit in 0..8 {
                    let mut changed = bytes.clone();
                    changed[place] ^= 1 << bit;
                    let token = URL_SAFE_NO_PAD.encode(changed);
                    assert_eq!(verified(&token), Err(InvalidUnsubscribeToken), "bit {bit} of byte {place}");
                }
                let shorter = URL_SAFE_NO_PAD.encode(&bytes[..place]);
                assert_eq!(verified(&shorter), Err(InvalidUnsubscribeToken), "{place} bytes");
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
        assert_eq!(verified(&signed(PURPOSE, &said)), Ok(EVERYTHING));
        assert!(verified(&signed(b"", &said)).is_err(), "for another purpose");
        assert!(verified(&signed(PURPOSE, &[&[2][..], &[1; 16]].concat())).is_err(), "of another version");
        for length in [0, 15, 17, 31, 33] {
            let said = [vec![VERSION], vec![1; length]].concat();
            assert!(verified(&signed(PURPOSE, &said)).is_err(), "{length}");
        }
        for text in ["", "?", "AQ==", "ключ"] {
            assert!(verified(text).is_err(), "{text}");
        }
    }
}
