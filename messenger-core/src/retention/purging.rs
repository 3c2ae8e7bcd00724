//! Turns what is overdue into tombstones.

use crate::{
    cx::Cx,
    domain::{ChatId, RetentionPeriod},
    error::{OrNotFound as _, Result},
    ports::{AskOverdue, OverdueChat, Purge, Topic},
};

/// How many chats are asked for at once.
const CHATS_AT_ONCE: usize = 100;
/// How many messages are looked at in one transaction, which keeps those waiting who write to the chat.
const MESSAGES_AT_ONCE: usize = 200;
/// How many transactions follow each other in one chat before it is the turn of the next chat.
const STEPS_AT_ONCE: usize = 20;

/// What was purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PurgeReport {
    /// How often a chat was looked at.
    pub looks: u64,
    /// How many messages are tombstones now.
    pub messages: u64,
}

/// Purges until nothing is overdue.
pub(super) async fn purge_overdue(cx: &mut Cx) -> Result<PurgeReport> {
    let mut done = PurgeReport::default();
    loop {
        let asked = AskOverdue { now: cx.context().now(), retention: cx.settings().retention };
        let overdue = cx.store().overdue_chats(&asked, CHATS_AT_ONCE).await?;
        note_lateness(&asked, &overdue);
        if overdue.is_empty() {
            return Ok(done);
        }
        for overdue in overdue {
            done.looks += 1;
            for _ in 0..STEPS_AT_ONCE {
                let (purged, more) = step(cx, overdue.chat).await?;
                done.messages += purged;
                if !more {
                    break;
                }
            }
        }
    }
}

/// How many messages were purged, and whether there may be more.
async fn step(cx: &mut Cx, chat: ChatId) -> Result<(u64, bool)> {
    let context = cx.context();
    let (id, now, retention) = (context.id(), context.now(), cx.settings().retention);
    let purge = Purge { id, chat, now, retention, limit: MESSAGES_AT_ONCE };
    cx.begin_write([Topic::Chat(chat)]);
    let purged = cx.store().purge(&purge).await?;
    let count = purged.messages.len() as u64;
    if count > 0 {
        metrics::counter!("messenger_messages_purged_total").increment(count);
        let head = cx.store().roster(chat).await.or_not_found(|| crate::Error::NotFound("chat"))?.chat;
        cx.publish_changes(&head, purged.messages);
        // Announced at once: all that is overdue would be much to keep in memory until the end.
        cx.flush().await;
    }
    Ok((count, purged.more))
}

/// Tells for how long the one that has waited longest should have been gone.
fn note_lateness(asked: &AskOverdue, overdue: &[OverdueChat]) {
    let late = overdue.iter().filter_map(|overdue| {
        let kept = RetentionPeriod::shorter(asked.retention, overdue.retention)?;
        Some(asked.now.since(overdue.since.after(kept.as_duration())))
    });
    let late = late.max().unwrap_or_default();
    metrics::gauge!("messenger_purge_late_seconds").set(late.as_secs_f64());
}
