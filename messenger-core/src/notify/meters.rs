//! Metrics of what people are told.

/// What became of a notification of a kind, and why.
pub(super) fn outcome(kind: &str, outcome: &'static str, reason: &'static str) {
    let kind = kind.strip_prefix("messenger.notify-").unwrap_or(kind).to_owned();
    metrics::counter!("messenger_notifications_total", "kind" => kind, "outcome" => outcome, "reason" => reason)
        .increment(1);
}
