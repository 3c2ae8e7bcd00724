//! Metrics of what people are told.

use std::time::Duration;

use super::deciding::Reason;

/// What became of a notification of a kind, and why.
pub(super) fn outcome(kind: &str, outcome: &'static str, reason: &'static str) {
    let kind = kind.strip_prefix("messenger.notify-").unwrap_or(kind).to_owned();
    metrics::counter!("messenger_notifications_total", "kind" => kind, "outcome" => outcome, "reason" => reason)
        .increment(1);
}

/// What was decided about a person who has not read something, and why.
pub(super) fn look(outcome: &'static str, reason: Reason) {
    let reason = if outcome == "told" { "" } else { reason.name() };
    metrics::counter!("messenger_unread_looks_total", "outcome" => outcome, "reason" => reason).increment(1);
}

/// How long ago the chat that has waited longest was due to be looked at.
pub(super) fn oldest(late: Option<Duration>) {
    metrics::gauge!("messenger_unread_late_seconds").set(late.unwrap_or_default().as_secs_f64());
}
