use std::sync::Arc;

use async_trait::async_trait;
use messenger_core::{
    Revision, Seq, Timestamp,
    ports::{
        AskOverdue, Hold, HoldSubject, OverdueChat, Purge, PurgeId, PurgeRecord, Purged, RetentionChange,
        RetentionStore, RosterChanged, StoreErrorKind, StoreResult,
    },
};
use messenger_sql::{
    columns::{integer, rows},
    records::system_message,
    retention::stored,
};

use crate::{call::Call, store::MssqlStore};

/// In place of a time, where nothing is older.
const NEVER: i64 = -1;

#[async_trait]
impl RetentionStore for MssqlStore {
    async fn set_retention(&self, change: RetentionChange) -> StoreResult<RosterChanged> {
        let message = change.message;
        let call = Call::procedure(Arc::clone(&self.sql().retention.set))
            .id("@chat", change.chat)
            .number("@expected", integer(change.expected))
            .optional_number("@retention", stored(change.retention))
            .id("@message", message.id)
            .id("@sender", message.sender)
            .bytes("@note", message.note.0.clone())
            .time("@at", message.at);
        let chat = self.one(call, |columns| columns.chat()).await?.ok_or(StoreErrorKind::Other)?;
        // The message has the last numbers that the chat assigned.
        let mut before = chat.clone();
        before.revision = Revision::new(chat.revision.get().saturating_sub(1));
        before.last_seq = Seq::new(chat.last_seq.get().saturating_sub(1));
        let message = system_message(&mut before, message);
        Ok(RosterChanged { chat, messages: vec![message] })
    }

    async fn overdue_chats(&self, asked: &AskOverdue, limit: usize) -> StoreResult<Vec<OverdueChat>> {
        let before = asked.retention.map(|kept| asked.now.before(kept.as_duration()));
        let call = Call::statement(Arc::clone(&self.sql().retention.overdue))
            .number("@P1", before.map_or(NEVER, Timestamp::as_micros))
            .time("@P2", asked.now)
            .number("@P3", rows(limit));
        self.all(call, |columns| columns.overdue_chat()).await
    }

    async fn purge(&self, purge: &Purge) -> StoreResult<Purged> {
        let call = Call::procedure(Arc::clone(&self.sql().retention.purge))
            .id("@id", purge.id)
            .id("@chat", purge.chat)
            .time("@now", purge.now)
            .optional_number("@retention", stored(purge.retention))
            .number("@limit", rows(purge.limit));
        let found = self.all(call, |columns| Ok((columns.flag()?, columns.optional_message()?))).await?;
        let more = found.first().is_some_and(|(more, _)| *more);
        let mut messages: Vec<_> = found.into_iter().filter_map(|(_, message)| message).collect();
        messages.sort_unstable_by_key(|message| message.seq);
        Ok(Purged { messages, more })
    }

    async fn hold(&self, hold: &Hold) -> StoreResult<bool> {
        let (kind, id) = hold.subject.parts();
        let call = Call::procedure(Arc::clone(&self.sql().retention.hold))
            .number("@kind", kind)
            .bytes("@id", *id)
            .text("@reason", hold.reason.as_str())
            .time("@at", hold.at);
        self.one(call, |columns| columns.flag()).await?.ok_or_else(|| StoreErrorKind::Other.into())
    }

    async fn release(&self, subject: HoldSubject) -> StoreResult<bool> {
        let (kind, id) = subject.parts();
        let call = Call::procedure(Arc::clone(&self.sql().retention.release));
        let call = call.number("@kind", kind).bytes("@id", *id);
        self.one(call, |columns| columns.flag()).await?.ok_or_else(|| StoreErrorKind::Other.into())
    }

    async fn holds(&self, after: Option<HoldSubject>, limit: usize) -> StoreResult<Vec<Hold>> {
        let (kind, id) = after.as_ref().map_or((-1, &[0; 16]), HoldSubject::parts);
        let call = Call::statement(Arc::clone(&self.sql().retention.holds))
            .number("@P1", kind)
            .bytes("@P2", *id)
            .number("@P3", rows(limit));
        self.all(call, |columns| columns.hold()).await
    }

    async fn purges(&self, after: Option<PurgeId>, limit: usize) -> StoreResult<Vec<PurgeRecord>> {
        let after = after.unwrap_or_else(|| PurgeId::from_bytes([0; 16]));
        let call = Call::statement(Arc::clone(&self.sql().retention.purges))
            .id("@P1", after)
            .number("@P2", rows(limit));
        self.all(call, |columns| columns.purge()).await
    }
}
