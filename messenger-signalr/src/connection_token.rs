//! The secret by which the requests of a client find their connection.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// How long after a negotiation another node takes its WebSocket, and by how much the clocks of nodes may differ.
const FRESH: Duration = Duration::from_secs(60);

const TIME: usize = 8;
const ISSUER: usize = 8;
const RANDOM: usize = 16;
const LENGTH: usize = TIME + 1 + ISSUER + RANDOM;

/// Makes the tokens of one endpoint.
///
/// A token is the time of the negotiation in milliseconds since 1970, whether stateful reconnect was agreed on, a number
/// of the endpoint, and 128 random bits, in a form that needs no escaping in a URL. An endpoint finds its own connections
/// by the whole of it. The rest is for the endpoints of other nodes, which don't know the connection: a WebSocket needs no
/// more than that to begin there. It is not protected, because who makes one up gains what a negotiation would have given.
pub(super) struct Issuer([u8; ISSUER]);

impl Issuer {
    pub(super) fn new() -> Self {
        Self(random())
    }

    pub(super) fn issue(&self, stateful: bool) -> String {
        let mut bytes = [0; LENGTH];
        bytes[..TIME].copy_from_slice(&now_ms().to_be_bytes());
        bytes[TIME] = u8::from(stateful);
        bytes[TIME + 1..][..ISSUER].copy_from_slice(&self.0);
        bytes[TIME + 1 + ISSUER..].copy_from_slice(&random::<RANDOM>());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Whether stateful reconnect was agreed on, if the token is of a negotiation with another endpoint within this
    /// minute. A token of this endpoint that leads to no connection is of one that has ended.
    pub(super) fn agreed_elsewhere(&self, token: &str) -> Option<bool> {
        self.agreed_at(token, now_ms())
    }

    fn agreed_at(&self, token: &str, now_ms: u64) -> Option<bool> {
        let bytes: [u8; LENGTH] = URL_SAFE_NO_PAD.decode(token).ok()?.try_into().ok()?;
        let time = u64::from_be_bytes(*bytes.first_chunk()?);
        let is_fresh = u128::from(now_ms.abs_diff(time)) <= FRESH.as_millis();
        let is_of_another = bytes[TIME + 1..][..ISSUER] != self.0;
        (is_fresh && is_of_another).then_some(bytes[TIME] == 1)
    }
}

/// 128 random bits, as an id that is no secret.
pub(super) fn public_id() -> String {
    URL_SAFE_NO_PAD.encode(random::<RANDOM>())
}

#[expect(clippy::disallowed_methods, reason = "this is no command")]
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is no command, and its secrets must not be deterministic"
)]
#[expect(clippy::expect_used, reason = "a system without randomness can't keep secrets")]
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_agreed_is_known_elsewhere_for_a_minute() {
        let (here, there, now) = (Issuer::new(), Issuer::new(), now_ms());
        for stateful in [true, false] {
            let token = here.issue(stateful);
            assert_eq!(there.agreed_elsewhere(&token), Some(stateful));
            assert_eq!(here.agreed_elsewhere(&token), None, "it would know");
            assert_eq!(there.agreed_at(&token, now + 59_000), Some(stateful));
            assert_eq!(there.agreed_at(&token, now - 59_000), Some(stateful), "that clock is ahead");
            assert_eq!(there.agreed_at(&token, now + 62_000), None);
            assert_eq!(there.agreed_at(&token, now - 62_000), None);
        }
    }

    #[test]
    fn no_two_are_the_same_and_what_is_none_is_refused() {
        let (here, there) = (Issuer::new(), Issuer::new());
        assert_ne!(here.issue(true), here.issue(true));
        assert_ne!(public_id(), public_id());
        for text in ["", "x", "not base64!", &public_id(), &format!("{}AAAA", here.issue(true))] {
            assert_eq!(there.agreed_elsewhere(text), None, "{text}");
        }
    }
}
