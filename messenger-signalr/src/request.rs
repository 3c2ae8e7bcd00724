//! Reads the query and head of a request.

use http::{HeaderMap, header, request::Parts};

/// Finds the token of a request: in `Authorization: Bearer` (RFC 6750), or in the query, where browsers put it.
pub(crate) fn token(parts: &Parts) -> Option<&str> {
    bearer(&parts.headers).or_else(|| query_value(query(parts), "access_token"))
}

/// Gives the query, empty if there is none.
pub(crate) fn query(parts: &Parts) -> &str {
    parts.uri.query().unwrap_or_default()
}

/// Finds a value in a query, by a name in any case. Ids and tokens need no escapes, so a value with escapes is neither.
pub(crate) fn query_value<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query.split('&').find_map(|pair| {
        let (found, value) = pair.split_once('=')?;
        (found.eq_ignore_ascii_case(name) && !value.contains('%')).then_some(value)
    })
}

/// Tells whether the client asks for a WebSocket.
pub(crate) fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Tells whether the client asks for an event stream.
pub(crate) fn accepts_events(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.to_ascii_lowercase().contains("text/event-stream"))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
