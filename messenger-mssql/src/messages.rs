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
    columns::{CHAT, MESSAGE, integer, rows, weight},
    records::{history_bounds, within},
};

use crate::{
    MssqlStore, append,
    call::Call,
    schema::Schema,
    sql::{LONGEST, id, numbered, procedure},
};

/// The procedures and statements of this file.
#[derive(Debug)]
pub(crate) struct Sql {
    by_id: Arc<str>,
    history: Arc<str>,
    change: Arc<str>,
    erase: Arc<str>,
    changes: Arc<str>,
}

impl Sql {
    /// `hold` keeps what was read of a chat from being changed until the end of the statement, where that needs a word.
    pub(crate) fn new(schema: &Schema, hold: &str) -> Self {
        let (first, second) = (id(1), id(2));
        Self {
            by_id: format!(
                "SELECT {MESSAGE} FROM {schema}.messenger_messages AS m WHERE m.id = {second} AND m.chat_id = {first}"
            )
            .into(),
            history: history(schema, hold).into(),
            change: procedure(schema, "change_message"),
            erase: procedure(schema, "erase_messages"),
            changes: changes(schema, hold).into(),
        }
    }
}

/// Messages `@P3` to `@P4`, but at most `@P5`, those at the end; with nulls if there are none. Of these, the ones nearest to
/// `@P6` that weigh at most `@P7` bytes together: of the others the server reads no more than the length. The plan is the
/// same for all values: a range of the clustered index, and a look into it for each that comes.
fn history(schema: &Schema, hold: &str) -> String {
    let (first, second, weight) = (id(1), id(2), weight("DATALENGTH(n.body)"));
    format!(
        "SELECT c.last_seq, {MESSAGE}
        FROM {schema}.messenger_chats AS c {hold}
        JOIN {schema}.messenger_members AS p
            ON p.chat_id = c.id AND p.user_id = {second} AND p.left_at IS NULL
        CROSS APPLY (SELECT CASE WHEN c.last_seq < @P4 THEN c.last_seq ELSE @P4 END AS seq) AS h
        CROSS APPLY (SELECT CASE WHEN h.seq + 1 - @P5 > @P3 THEN h.seq + 1 - @P5 ELSE @P3 END AS seq) AS l
        OUTER APPLY (
            SELECT q.seq FROM (
                SELECT n.seq, {weight} AS weight, SUM({weight}) OVER (
                    ORDER BY ABS(n.seq - @P6), n.seq DESC ROWS UNBOUNDED PRECEDING
                ) AS total
                FROM {schema}.messenger_messages AS n
                WHERE n.chat_id = c.id AND n.seq >= l.seq AND n.seq <= h.seq
            ) AS q
            WHERE q.total <= @P7 OR q.total = q.weight
        ) AS w
        LEFT JOIN {schema}.messenger_messages AS m ON m.chat_id = c.id AND m.seq = w.seq
        WHERE c.id = {first}
        OPTION (LOOP JOIN, FORCE ORDER)"
    )
}

/// `@P1` are chats with revisions, by rising ids. The head of each, with the messages whose last change is later, or with
/// nulls if there are none: those that were written since and not changed, which lie among as many last ones as there were
/// changes, and those that were changed. Of the first `@P2` of each chat by revision come those that weigh at most `@P3`
/// bytes together, in the order of chats and revisions: of the others the server reads no more than the length.
fn changes(schema: &Schema, hold: &str) -> String {
    let weight = weight("DATALENGTH(n.body)");
    format!(
        "SELECT c.place, {CHAT}, {MESSAGE}
        FROM (
            SELECT f.*, SUM(CASE WHEN f.nth <= @P2 THEN coalesce(f.weight, 0) ELSE 0 END) OVER (
                ORDER BY f.place, f.nth ROWS UNBOUNDED PRECEDING
            ) AS total
            FROM (
                SELECT a.place, {CHAT}, k.seq, k.weight,
                    ROW_NUMBER() OVER (PARTITION BY a.place ORDER BY k.revision) AS nth
                FROM {schema}.messenger_unpack_numbered(@P1) AS a
                JOIN {schema}.messenger_chats AS c {hold} ON c.id = a.id
                OUTER APPLY (
                    SELECT w.* FROM (
                        SELECT TOP (@P2) n.seq, n.revision, {weight} AS weight
                        FROM {schema}.messenger_messages AS n
                        WHERE n.chat_id = c.id AND n.seq > c.last_seq - (c.revision - a.number)
                            AND n.created_revision > a.number AND n.is_changed = 0
                        ORDER BY n.seq
                    ) AS w
                    UNION ALL
                    SELECT x.* FROM (
                        SELECT TOP (@P2) n.seq, n.revision, {weight} AS weight
                        FROM {schema}.messenger_messages AS n
                        WHERE n.chat_id = c.id AND n.revision > a.number AND n.is_changed = 1
                        ORDER BY n.revision
                    ) AS x
                ) AS k
            ) AS f
        ) AS c
        LEFT JOIN {schema}.messenger_messages AS m ON m.chat_id = c.id AND m.seq = c.seq
            AND c.nth <= @P2 AND (c.total <= @P3 OR c.total = c.weight)
        WHERE c.nth = 1 OR m.id IS NOT NULL
        OPTION (LOOP JOIN, FORCE ORDER)"
    )
}

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
        // As the index gives them; this only makes sure.
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
        // By rising ids, as those who write lock them.
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
