use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};
use messenger_core::context::Context;

/// The id of a request: in its answer, in a problem, in the logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestId(String);

/// The header with the id, in a request and in its answer.
pub(super) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The kind of the id; has no values.
enum Request {}

impl RequestId {
    /// Takes the id that a proxy or client gave, if it is safe to log, and otherwise makes a new one.
    pub(super) fn of(headers: &HeaderMap, context: &Context) -> Self {
        let given = headers.get(HEADER).and_then(|value| value.to_str().ok()).filter(|id| is_sane(id));
        Self(given.map_or_else(|| context.id::<Request>().to_string(), str::to_owned))
    }

    pub(super) fn header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.0).ok()
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_sane(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_that_may_stand_in_a_log_are_taken_over() {
        let context = Context::fixed();
        let of = |given: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, HeaderValue::from_bytes(given.as_bytes()).unwrap());
            RequestId::of(&headers, &context)
        };
        assert_eq!(of("abc-123").as_str(), "abc-123");
        for bad in ["", "a b", "é", "a\"b", &"x".repeat(65)] {
            assert_ne!(of(bad).as_str(), bad);
            assert_eq!(of(bad).as_str().len(), 36);
        }
        assert_ne!(RequestId::of(&HeaderMap::new(), &context), RequestId::of(&HeaderMap::new(), &context));
    }
}
