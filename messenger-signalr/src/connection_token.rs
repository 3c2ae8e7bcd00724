//! The secret by which the requests of a client find their connection.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// How long after a negotiation another node takes its WebSocket, and by how much the clocks of nodes may differ.
const FRESH: Duration = Duration::from_secs(60);

const TIME: usize = 8;
const RANDOM: usize = 16;
const LENGTH: usize = TIME + 1 + RANDOM;

/// The time of the negotiation in milliseconds since 1970, whether stateful reconnect was agreed on, and 128 random bits,
/// in a form that needs no escaping in a URL.
///
/// A node finds its own connections by the whole of it. Time and agreement are for the other nodes, which don't know the
/// connection: a WebSocket needs no more than they say to begin there. They are not protected, because who makes one up
/// gains what a negotiation would have given.
pub(super) fn generate(stateful: bool) -> String {
    let mut bytes = [0; LENGTH];
    bytes[..TIME].copy_from_slice(&now_ms().to_be_bytes());
    bytes[TIME] = u8::from(stateful);
    bytes[TIME + 1..].copy_from_slice(&random());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// 128 random bits, as an id that is no secret.
pub(super) fn public_id() -> String {
    URL_SAFE_NO_PAD.encode(random())
}

/// Whether stateful reconnect was agreed on, if the token is of a negotiation of this minute.
pub(super) fn agreed_lately(token: &str) -> Option<bool> {
    agreed_at(token, now_ms())
}

fn agreed_at(token: &str, now_ms: u64) -> Option<bool> {
    let bytes: [u8; LENGTH] = URL_SAFE_NO_PAD.decode(token).ok()?.try_into().ok()?;
    let time = u64::from_be_bytes(*bytes.first_chunk()?);
    let is_fresh = u128::from(now_ms.abs_diff(time)) <= FRESH.as_millis();
    is_fresh.then_some(bytes[TIME] == 1)
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
fn random() -> [u8; RANDOM] {
    let mut bytes = [0; RANDOM];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_agreed_is_known_elsewhere_for_a_minute() {
        let now = now_ms();
        for stateful in [true, false] {
            let token = generate(stateful);
            assert_eq!(token.len(), 34);
            assert_eq!(agreed_lately(&token), Some(stateful));
            assert_eq!(agreed_at(&token, now + 59_000), Some(stateful));
            assert_eq!(agreed_at(&token, now - 59_000), Some(stateful), "the other clock is behind");
            assert_eq!(agreed_at(&token, now + 62_000), None);
            assert_eq!(agreed_at(&token, now - 62_000), None);
        }
    }

    #[test]
    fn no_two_are_the_same_and_what_is_none_is_refused() {
        assert_ne!(generate(true), generate(true));
        assert_ne!(public_id(), public_id());
        for text in ["", "x", "not base64!", &public_id(), &format!("{}AAAA", generate(true))] {
            assert_eq!(agreed_lately(text), None, "{text}");
        }
    }
}
