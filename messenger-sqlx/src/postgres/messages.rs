use async_trait::async_trait;
use messenger_core::{
    ChatId, MessageId, Revision, Seq, Timestamp, UserId,
    ports::{
        Anchor, Appended, Budget, Changes, ChatRecord, DeleteMessage, EditMessage, HistoryRange,
        MessageRecord, MessageStore, NewMessage, NewSystemMessage, StoreErrorKind, StoreResult,
    },
};
use messenger_sql::{
    columns::{integer, rows},
    records::{history_bounds, system_message, within},
};

use super::{
    append,
    connections::{Mode, Session},
    sql::{Bind as _, Query, uuids},
    store::PostgresStore,
};

#[async_trait]
impl MessageStore for PostgresStore {
    async fn append_messages(&self, batch: &[NewMessage]) -> StoreResult<Vec<StoreResult<Appended>>> {
        append::append(self, batch).await
    }

    async fn message(&self, chat: ChatId, message: MessageId) -> StoreResult<MessageRecord> {
        let query = self.query(&self.sql().messages.by_id).id(chat).id(message);
        self.one(query, |columns| columns.message()).await?.ok_or_else(|| StoreErrorKind::NotFound.into())
    }

    async fn history(
        &self,
        chat: ChatId,
        user: UserId,
        anchor: Anchor,
        budget: Budget,
    ) -> StoreResult<HistoryRange> {
        let (low, high) = history_bounds(anchor, budget.messages);
        let query = self.query(&self.sql().messages.history).id(chat).id(user).number(low).number(high);
        let query = query.bind(rows(budget.messages)).number(anchor.place().get()).bind(rows(budget.bytes));
        let rows = self.all(query, |columns| Ok((columns.seq()?, columns.optional_message()?)));
        let rows = rows.await?;
        let last_seq = rows.first().ok_or(StoreErrorKind::NotMember)?.0;
        let mut messages: Vec<_> = rows.into_iter().filter_map(|(_, message)| message).collect();
        // The index already returns this order; the sort only guarantees it.
        messages.sort_unstable_by_key(|message| message.seq);
        Ok(HistoryRange { last_seq, messages })
    }

    async fn edit_message(&self, edit: EditMessage) -> StoreResult<MessageRecord> {
        let query = self.query(&self.sql().messages.change).id(edit.chat).id(edit.message);
        let query = query.number(edit.expected.get()).bind(Some(edit.body.0)).time(edit.edited_at);
        let changed = self.change(edit.chat, edit.message, query).await;
        match changed {
            // Nor is it changed while its author is erased.
            Err(error) if error.kind() == StoreErrorKind::Conflict => {
                let query = self.query(&self.sql().messages.is_of_erased).id(edit.message);
                let is_of_erased = self.one(query, |columns| columns.flag()).await?;
                Err(if is_of_erased == Some(true) { StoreErrorKind::NotMember.into() } else { error })
            }
            changed => changed,
        }
    }

    async fn delete_message(&self, delete: DeleteMessage) -> StoreResult<MessageRecord> {
        let query = self.query(&self.sql().messages.change).id(delete.chat).id(delete.message);
        let query = query.number(delete.expected.get()).bind(None::<Vec<u8>>).time(delete.deleted_at);
        self.change(delete.chat, delete.message, query).await
    }

    async fn erase_messages(
        &self,
        chat: ChatId,
        sender: UserId,
        at: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<MessageRecord>> {
        loop {
            // There is no index for this rare operation, so the messages are searched for outside the transaction,
            // where nobody has to wait. Those stored since then are few, and are searched for in the transaction: with
            // the chat locked, nobody is storing more.
            let head = self.query(&self.sql().messages.last_seq).id(chat);
            let Some(head) = self.one(head, |columns| columns.seq()).await? else { return Ok(vec![]) };
            let look = self.query(&self.sql().messages.look_live).id(chat).id(sender).bind(rows(limit));
            let found = self.all(look.number(0), |columns| columns.id()).await?;
            let is_all = found.is_empty();
            let live = Live { chat, sender, found, since: head, limit };
            let erased =
                self.run(Mode::Transaction, move |session| Box::pin(erase(session, live, at))).await?;
            // Nothing is erased if others have deleted all of the found messages in the meantime; there may be more.
            if is_all || !erased.is_empty() {
                return Ok(erased);
            }
        }
    }

    async fn changes(&self, since: &[(ChatId, Revision)], budget: Budget) -> StoreResult<Vec<Changes>> {
        let query = self
            .query(&self.sql().messages.changes)
            .bind(uuids(since.iter().map(|(chat, _)| chat)))
            .bind(since.iter().map(|(_, since)| integer(since.get())).collect::<Vec<_>>())
            .bind(rows(budget.messages))
            .bind(rows(budget.bytes));
        let rows = self.all(query, |columns| {
            Ok((columns.place()?, columns.optional_chat()?, columns.optional_message()?))
        });
        let mut found: Vec<Option<Changes>> = vec![None; since.len()];
        // The heads come first.
        for (place, chat, message) in rows.await? {
            let of_chat = found.get_mut(place).ok_or(StoreErrorKind::Corrupt)?;
            if let Some(chat) = chat {
                *of_chat = Some(Changes { chat, messages: vec![], truncated: false });
            } else if let (Some(changes), Some(message)) = (of_chat, message) {
                changes.messages.push(message);
            }
        }
        let since = since.iter().map(|(_, since)| *since);
        let found = found.into_iter().zip(since).filter_map(|(changes, since)| Some((changes?, since)));
        Ok(within(found.collect(), budget))
    }
}

impl PostgresStore {
    /// Changes one message, or finds out why there was nothing to change.
    async fn change(&self, chat: ChatId, message: MessageId, change: Query) -> StoreResult<MessageRecord> {
        let exists = self.query(&self.sql().messages.exists).id(chat).id(message);
        let changed = self.run(Mode::Statement, |session| {
            Box::pin(async move { session.one(change, |columns| columns.message()).await })
        });
        if let Some(message) = changed.await? {
            return Ok(message);
        }
        let exists = self.one(exists, |columns| columns.flag()).await?;
        Err(if exists == Some(true) { StoreErrorKind::Conflict } else { StoreErrorKind::NotFound }.into())
    }
}

/// Locks the chat until the transaction ends.
pub(super) async fn lock_chat(session: &mut Session, chat: ChatId) -> StoreResult<ChatRecord> {
    let query = session.query(&session.statements.messages.lock_chat).id(chat);
    session.one(query, |columns| columns.chat()).await?.ok_or_else(|| StoreErrorKind::NotFound.into())
}

/// Writes a system message with the next seq and revision of the chat, which the caller stores.
pub(super) async fn append_system(
    session: &mut Session,
    chat: &mut ChatRecord,
    new: NewSystemMessage,
) -> StoreResult<MessageRecord> {
    let message = system_message(chat, new);
    let insert = session
        .query(&session.statements.messages.insert_system)
        .id(message.chat)
        .number(message.seq.get())
        .id(message.id)
        .id(message.sender)
        .number(message.revision.get())
        .number(chat.texts)
        .bind(message.body.as_ref().map(|note| note.0.clone()))
        .time(message.created_at);
    session.execute(insert).await?;
    Ok(message)
}

/// Messages of one person that were found, or have been stored since the search.
struct Live {
    chat: ChatId,
    sender: UserId,
    found: Vec<MessageId>,
    /// The last message of the chat when the search began.
    since: Seq,
    limit: usize,
}

/// Turns those of the messages into tombstones that are none yet; if none were found, those stored since.
async fn erase(session: &mut Session, messages: Live, at: Timestamp) -> StoreResult<Vec<MessageRecord>> {
    let Live { chat, sender, mut found, since, limit } = messages;
    let mut revision = lock_chat(session, chat).await?.revision;
    if found.is_empty() {
        let look = session.query(&session.statements.messages.look_live).id(chat).id(sender);
        found = session.all(look.bind(rows(limit)).number(since.get()), |columns| columns.id()).await?;
    }
    let live = session.query(&session.statements.messages.live).ids(&found);
    let mut live = session.all(live, |columns| columns.message()).await?;
    if live.is_empty() {
        return Ok(live);
    }
    for message in &mut live {
        revision = revision.next();
        message.revision = revision;
        (message.body, message.fingerprint, message.deleted_at) = (None, None, Some(at));
    }
    make_tombstones(session, chat, &live, at).await?;
    Ok(live)
}

/// Turns messages into tombstones whose new revisions are the next ones of the chat, which the caller has locked.
pub(super) async fn make_tombstones(
    session: &mut Session,
    chat: ChatId,
    due: &[MessageRecord],
    at: Timestamp,
) -> StoreResult<()> {
    let erase = session
        .query(&session.statements.messages.erase)
        .bind(uuids(due.iter().map(|message| &message.id)))
        .bind(due.iter().map(|message| integer(message.revision.get())).collect::<Vec<_>>())
        .time(at);
    session.execute(erase).await?;
    let advance = session.query(&session.statements.messages.advance).id(chat).bind(rows(due.len()));
    session.execute(advance).await.map(drop)
}
