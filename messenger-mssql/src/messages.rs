use std::sync::Arc;

use async_trait::async_trait;
use messenger_core::{
    ChatId, MessageId, Revision, Timestamp, UserId,
    ports::{
        Anchor, Appended, Budget, Changes, DeleteMessage, EditMessage, HistoryRange, MessageRecord,
        MessageStore, NewMessage, StoreErrorKind, StoreResult,
    },
};
use messenger_sql::{
    columns::{integer, rows},
    records::{history_bounds, within},
};

use crate::{
    append,
    call::Call,
    sql::{LONGEST, numbered},
    store::MssqlStore,
};

#[async_trait]
impl MessageStore for MssqlStore {
    async fn append_messages(&self, batch: &[NewMessage]) -> StoreResult<Vec<StoreResult<Appended>>> {
        append::append(self, batch).await
    }

    async fn message(&self, chat: ChatId, message: MessageId) -> StoreResult<MessageRecord> {
        let call = Call::statement(Arc::clone(&self.sql().messages.by_id)).id("@P1", chat).id("@P2", message);
        self.one(call, |columns| columns.message()).await?.ok_or_else(|| StoreErrorKind::NotFound.into())
    }

    async fn history(
        &self,
        chat: ChatId,
        user: UserId,
        anchor: Anchor,
        budget: Budget,
    ) -> StoreResult<HistoryRange> {
        let (low, high) = history_bounds(anchor, budget.messages);
        let call = Call::statement(Arc::clone(&self.sql().messages.history))
            .id("@P1", chat)
            .id("@P2", user)
            .number("@P3", integer(low))
            .number("@P4", integer(high))
            .number("@P5", rows(budget.messages))
            .number("@P6", integer(anchor.place().get()))
            .number("@P7", rows(budget.bytes));
        let found = self.all(call, |columns| Ok((columns.seq()?, columns.optional_message()?))).await?;
        let last_seq = found.first().ok_or(StoreErrorKind::NotMember)?.0;
        let mut messages: Vec<_> = found.into_iter().filter_map(|(_, message)| message).collect();
        // The index already returns this order; the sort only guarantees it.
        messages.sort_unstable_by_key(|message| message.seq);
        Ok(HistoryRange { last_seq, messages })
    }

    async fn edit_message(&self, edit: EditMessage) -> StoreResult<MessageRecord> {
        let call = Call::procedure(Arc::clone(&self.sql().messages.change))
            .id("@chat", edit.chat)
            .id("@message", edit.message)
            .number("@expected", integer(edit.expected.get()))
            .bytes("@body", edit.body.0)
            .time("@at", edit.edited_at);
        self.one(call, |columns| columns.message()).await?.ok_or_else(|| StoreErrorKind::Other.into())
    }

    async fn delete_message(&self, delete: DeleteMessage) -> StoreResult<MessageRecord> {
        let call = Call::procedure(Arc::clone(&self.sql().messages.change))
            .id("@chat", delete.chat)
            .id("@message", delete.message)
            .number("@expected", integer(delete.expected.get()))
            .time("@at", delete.deleted_at);
        self.one(call, |columns| columns.message()).await?.ok_or_else(|| StoreErrorKind::Other.into())
    }

    async fn erase_messages(
        &self,
        chat: ChatId,
        sender: UserId,
        at: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<MessageRecord>> {
        let call = Call::procedure(Arc::clone(&self.sql().messages.erase))
            .id("@chat", chat)
            .id("@sender", sender)
            .time("@at", at)
            .number("@limit", rows(limit));
        let mut erased = self.all(call, |columns| columns.message()).await?;
        erased.sort_unstable_by_key(|message| message.seq);
        Ok(erased)
    }

    async fn changes(&self, since: &[(ChatId, Revision)], budget: Budget) -> StoreResult<Vec<Changes>> {
        // Ordered by id, because writers lock the chats in this order.
        let mut since = since.to_vec();
        since.sort_unstable_by_key(|(chat, _)| *chat);
        let mut found: Vec<Option<Changes>> = vec![None; since.len()];
        for (asked, found) in since.chunks(LONGEST).zip(found.chunks_mut(LONGEST)) {
            let call = Call::statement(Arc::clone(&self.sql().messages.changes))
                .bytes("@P1", numbered(asked.iter().map(|(chat, since)| (*chat, integer(since.get())))))
                .number("@P2", rows(budget.messages))
                .number("@P3", rows(budget.bytes));
            let rows = self
                .all(call, |columns| Ok((columns.place()?, columns.chat()?, columns.optional_message()?)));
            for (place, chat, message) in rows.await? {
                let of_chat = found.get_mut(place).ok_or(StoreErrorKind::Corrupt)?;
                let changes = of_chat.get_or_insert(Changes { chat, messages: vec![], truncated: false });
                changes.messages.extend(message);
            }
        }
        let since = since.into_iter().map(|(_, since)| since);
        let found = found.into_iter().zip(since).filter_map(|(changes, since)| Some((changes?, since)));
        Ok(within(found.collect(), budget))
    }
}
