use std::{fmt, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use messenger_core::Timestamp;
use sha2::Sha256;
use zeroize::Zeroizing;

/// The key by which requests are signed, which both sides have.
///
/// Requests are signed as [Standard Webhooks](https://www.standardwebhooks.com) has it, for which there are libraries in many languages:
/// HMAC-SHA-256 over `ID.SECONDS.BODY`, in base64, behind `v1,`.
///
/// ```
/// use messenger_core::context::Context;
/// use messenger_mail::WebhookKey;
///
/// let now = Context::fixed().now();
/// let key = WebhookKey::parse("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap();
/// let (seconds, signature) = key.sign("an id", now, b"{}");
/// // What the receiver does, with the headers webhook-id, webhook-timestamp and webhook-signature.
/// assert!(key.verify("an id", &seconds, &signature, b"{}", now).is_ok());
/// assert!(key.verify("an id", &seconds, &signature, b"{ }", now).is_err());
/// ```
#[derive(Clone)]
pub struct WebhookKey(Zeroizing<Vec<u8>>);

/// A key that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key is whsec_ and at least {} random bytes in base64", WebhookKey::LEAST)]
pub struct InvalidWebhookKey;

/// Why a request is not to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// The time is not a number of seconds.
    #[error("the time of the request can't be read")]
    Time,
    /// It was signed too long ago, or in the future: it may be a copy of an earlier request.
    #[error("the request was signed at another time than now")]
    Old,
    /// Nobody who has the key has signed this.
    #[error("the request is not signed with this key")]
    Signature,
}

impl WebhookKey {
    /// The least length, in bytes.
    pub const LEAST: usize = 24;
    /// How far the time of a signature may be from that of the receiver, on both sides.
    pub const REPLAY_WINDOW: Duration = Duration::from_secs(5 * 60);

    /// Makes a key of these bytes.
    ///
    /// # Errors
    /// [`InvalidWebhookKey`] if there are fewer than [`LEAST`](Self::LEAST).
    pub fn new(bytes: &[u8]) -> Result<Self, InvalidWebhookKey> {
        if bytes.len() < Self::LEAST {
            return Err(InvalidWebhookKey);
        }
        Ok(Self(Zeroizing::new(bytes.to_vec())))
    }

    /// Reads the form in which keys are passed on: `whsec_` and base64.
    ///
    /// # Errors
    /// [`InvalidWebhookKey`] if it is something else, or too short.
    pub fn parse(text: &str) -> Result<Self, InvalidWebhookKey> {
        let text = text.strip_prefix("whsec_").ok_or(InvalidWebhookKey)?;
        let bytes = Zeroizing::new(STANDARD.decode(text).map_err(|_| InvalidWebhookKey)?);
        Self::new(&bytes)
    }

    /// The headers `webhook-timestamp` and `webhook-signature`.
    pub fn sign(&self, id: &str, at: Timestamp, body: &[u8]) -> (String, String) {
        let seconds = (at.as_micros() / 1_000_000).to_string();
        let signed = self.mac(id, &seconds, body).map(|mac| STANDARD.encode(mac.finalize().into_bytes()));
        (seconds, format!("v1,{}", signed.unwrap_or_default()))
    }

    /// Checks the headers of a request, in a time that does not tell how much of a signature was right. `signatures` may be several,
    /// with blanks between them, while the sender changes its key. Within the [window](Self::REPLAY_WINDOW) a copy of a request has the same `id`,
    /// which a receiver remembers for as long as it would do harm to see it twice.
    ///
    /// # Errors
    /// [`WebhookError`] says why it is not to be believed.
    pub fn verify(
        &self,
        id: &str,
        seconds: &str,
        signatures: &str,
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), WebhookError> {
        let at: i64 = seconds.parse().map_err(|_| WebhookError::Time)?;
        let now = now.as_micros() / 1_000_000;
        if now.abs_diff(at) > Self::REPLAY_WINDOW.as_secs() {
            return Err(WebhookError::Old);
        }
        let is_ours = |signature: &str| {
            let decoded = signature.strip_prefix("v1,").and_then(|text| STANDARD.decode(text).ok());
            decoded
                .zip(self.mac(id, seconds, body))
                .is_some_and(|(bytes, mac)| mac.verify_slice(&bytes).is_ok())
        };
        if signatures.split(' ').any(is_ours) { Ok(()) } else { Err(WebhookError::Signature) }
    }

    fn mac(&self, id: &str, seconds: &str, body: &[u8]) -> Option<Hmac<Sha256>> {
        // HMAC takes keys of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(format!("{id}.{seconds}.").as_bytes());
        mac.update(body);
        Some(mac)
    }
}

impl fmt::Debug for WebhookKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const AT: i64 = 1_614_265_330;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn key() -> WebhookKey {
        WebhookKey::parse(KEY).unwrap()
    }

    #[test]
    fn a_signature_is_that_of_standard_webhooks() {
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(key().sign(ID, at(AT), BODY), (AT.to_string(), signature.to_owned()));
    }

    #[test]
    fn what_was_changed_is_not_believed() {
        let (seconds, signature) = key().sign(ID, at(AT), BODY);
        let verify =
            |id, seconds: &str, signature: &str, body| key().verify(id, seconds, signature, body, at(AT));
        assert_eq!(verify(ID, &seconds, &signature, BODY), Ok(()));
        assert_eq!(verify("x", &seconds, &signature, BODY), Err(WebhookError::Signature));
        assert_eq!(verify(ID, &(AT + 1).to_string(), &signature, BODY), Err(WebhookError::Signature));
        assert_eq!(verify(ID, &seconds, &signature, b"{}"), Err(WebhookError::Signature));
        assert_eq!(verify(ID, "now", &signature, BODY), Err(WebhookError::Time));
        for wrong in ["", "v1,", "v2,x", &signature[3..], &signature.replace("v1", "v2"), "v1,AAAA"] {
            assert_eq!(verify(ID, &seconds, wrong, BODY), Err(WebhookError::Signature), "{wrong}");
        }
        let other = WebhookKey::new(&[7; 24]).unwrap();
        assert!(other.verify(ID, &seconds, &signature, BODY, at(AT)).is_err());
    }

    #[test]
    fn one_of_several_signatures_is_enough() {
        let (seconds, signature) = key().sign(ID, at(AT), BODY);
        let (_, other) = WebhookKey::new(&[7; 24]).unwrap().sign(ID, at(AT), BODY);
        let both = format!("{other} v1a,unknown {signature}");
        assert_eq!(key().verify(ID, &seconds, &both, BODY, at(AT)), Ok(()));
    }

    #[test]
    fn a_signature_is_good_for_five_minutes_on_both_sides() {
        let (seconds, signature) = key().sign(ID, at(AT), BODY);
        for (now, expected) in [
            (AT - 301, Err(WebhookError::Old)),
            (AT - 300, Ok(())),
            (AT + 300, Ok(())),
            (AT + 301, Err(WebhookError::Old)),
        ] {
            assert_eq!(key().verify(ID, &seconds, &signature, BODY, at(now)), expected, "{now}");
        }
        assert!(key().verify(ID, &i64::MIN.to_string(), &signature, BODY, at(AT)).is_err());
    }

    #[test]
    fn a_key_is_long_enough_and_not_shown() {
        for wrong in ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_????", "whsec_AAAA"] {
            assert_eq!(WebhookKey::parse(wrong).unwrap_err(), InvalidWebhookKey, "{wrong}");
        }
        assert!(WebhookKey::new(&[1; 23]).is_err());
        assert_eq!(format!("{:?}", key()), "WebhookKey(…)");
    }
}
