use async_trait::async_trait;
use messenger_core::{
    ChatId, MessageId, Revision, Timestamp, UserId,
    ports::{
        Anchor, Appended, Budget, Changes, ChatRecord, DeleteMessage, EditMessage, HistoryRange,
        MessageRecord, MessageStore, NewMessage, NewSystemMessage, StoreErrorKind, StoreResult,
    },
};
use messenger_sql::{
    columns::{CHAT, MESSAGE, NO_CHAT, NO_MESSAGE, integer, rows, weight},
    records::{history_bounds, system_message, within},
};
use sqlx::SqlStr;

use super::{
    PostgresStore, append,
    connections::{Session, Way},
    sql::{Bind as _, Query, Schema, THIS_COMMIT, statement, uuids},
};

/// The statements of this file.
#[derive(Debug)]
pub(super) struct Sql {
    by_id: SqlStr,
    history: SqlStr,
    change: SqlStr,
    exists: SqlStr,
    look_live: SqlStr,
    live: SqlStr,
    erase: SqlStr,
    changes: SqlStr,
    insert_system: SqlStr,
    lock_chat: SqlStr,
    advance: SqlStr,
}

impl Sql {
    pub(super) fn new(schema: &Schema) -> Self {
        Self {
            by_id: statement(format!(
                "SELECT {MESSAGE} FROM {schema}.messenger_messages AS m WHERE m.id = $2 AND m.chat_id = $1"
            )),
            history: statement(history(schema)),
            change: statement(format!(
                "SELECT {MESSAGE} FROM {schema}.messenger_replace_message($1, $2, $3, $4, $5) AS m"
            )),
            exists: statement(format!(
                "SELECT EXISTS (SELECT FROM {schema}.messenger_messages WHERE id = $2 AND chat_id = $1)"
            )),
            look_live: statement(format!(
                "SELECT id FROM {schema}.messenger_messages
                WHERE chat_id = $1 AND sender_id = $2 AND kind = 0 AND deleted_at IS NULL
                ORDER BY seq LIMIT $3"
            )),
            live: statement(format!(
                "SELECT {MESSAGE} FROM {schema}.messenger_messages AS m
                WHERE m.id = ANY ($1) AND m.deleted_at IS NULL ORDER BY m.seq"
            )),
            erase: statement(format!(
                "UPDATE {schema}.messenger_messages AS m
                SET revision = e.revision, body = NULL, fingerprint = NULL, deleted_at = $3
                FROM unnest($1::uuid[], $2::bigint[]) AS e (id, revision) WHERE m.id = e.id"
            )),
            changes: statement(changes(schema)),
            insert_system: statement(format!(
                "INSERT INTO {schema}.messenger_messages
                    (chat_id, seq, id, sender_id, kind, created_revision, revision, texts, body, created_at)
                VALUES ($1, $2, $3, $4, 1, $5, $5, $6, $7, $8)"
            )),
            lock_chat: statement(format!(
                "SELECT {CHAT} FROM {schema}.messenger_chats AS c WHERE c.id = $1 FOR NO KEY UPDATE"
            )),
            advance: statement(format!(
                "UPDATE {schema}.messenger_chats SET revision = revision + $2, commit_no = {THIS_COMMIT}
                WHERE id = $1"
            )),
        }
    }
}

/// Messages `$3` to `$4`, but at most `$5`, those at the end; with nulls if there are none. Of these, the ones nearest to
/// `$6` that weigh at most `$7` bytes together: of the others the server reads no more than the length.
fn history(schema: &Schema) -> String {
    let weight = weight("octet_length(n.body)");
    format!(
        "SELECT c.last_seq, {MESSAGE}
        FROM {schema}.messenger_members AS p
        JOIN {schema}.messenger_chats AS c ON c.id = p.chat_id
        LEFT JOIN LATERAL (
            SELECT * FROM (
                SELECT n.*, {weight} AS weight, sum({weight}) OVER (
                    ORDER BY abs(n.seq - $6), n.seq DESC ROWS UNBOUNDED PRECEDING
                ) AS total
                FROM {schema}.messenger_messages AS n
                WHERE n.chat_id = $1 AND n.seq <= $4 AND n.seq >= greatest($3, least(c.last_seq, $4) + 1 - $5)
            ) AS w
            WHERE w.total <= $7 OR w.total = w.weight
        ) AS m ON true
        WHERE p.chat_id = $1 AND p.user_id = $2 AND p.left_at IS NULL"
    )
}

/// `$1` and `$2` are chats and revisions. First the heads, then the messages whose last change is later: those that
/// were written since and not changed, which lie among as many last ones as there were changes, and those that were
/// changed. Of the first `$3` of each chat by revision come those that weigh at most `$4` bytes together, in the order of
/// chats and revisions: of the others the server reads no more than the length.
fn changes(schema: &Schema) -> String {
    let asked = "unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS a (chat, since, place)";
    let head = format!(
        "JOIN LATERAL (SELECT * FROM {schema}.messenger_chats AS h WHERE h.id = a.chat OFFSET 0) AS c ON true"
    );
    let weight = weight("octet_length(n.body)");
    format!(
        "WITH found AS MATERIALIZED (
            SELECT a.place, a.chat, k.seq, k.revision, k.weight,
                row_number() OVER (PARTITION BY a.place ORDER BY k.revision) AS nth
            FROM {asked} {head}
            JOIN LATERAL (
                (
                    SELECT n.seq, n.revision, {weight} AS weight FROM {schema}.messenger_messages AS n
                    WHERE n.chat_id = a.chat AND n.seq > c.last_seq - (c.revision - a.since)
                        AND n.created_revision > a.since AND n.revision = n.created_revision
                    ORDER BY n.seq LIMIT $3
                ) UNION ALL (
                    SELECT n.seq, n.revision, {weight} FROM {schema}.messenger_messages AS n
                    WHERE n.chat_id = a.chat AND n.revision > a.since AND n.revision > n.created_revision
                    ORDER BY n.revision LIMIT $3
                )
            ) AS k ON true
        ), weighed AS MATERIALIZED (
            SELECT f.place, f.chat, f.seq, f.weight,
                sum(f.weight) OVER (ORDER BY f.chat, f.revision ROWS UNBOUNDED PRECEDING) AS total
            FROM found AS f WHERE f.nth <= $3
        )
        SELECT a.place, {CHAT}, {NO_MESSAGE} FROM {asked} {head}
        UNION ALL
        SELECT w.place, {NO_CHAT}, {MESSAGE} FROM weighed AS w
        JOIN LATERAL (
            SELECT * FROM {schema}.messenger_messages AS n WHERE n.chat_id = w.chat AND n.seq = w.seq OFFSET 0
        ) AS m ON true
        WHERE w.total <= $4 OR w.total = w.weight"
    )
}

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
        // As the index gives them; this only makes sure.
        messages.sort_unstable_by_key(|message| message.seq);
        Ok(HistoryRange { last_seq, messages })
    }

    async fn edit_message(&self, edit: EditMessage) -> StoreResult<MessageRecord> {
        let query = self.query(&self.sql().messages.change).id(edit.chat).id(edit.message);
        let query = query.number(edit.expected.get()).bind(Some(edit.body.0)).time(edit.edited_at);
        self.change(edit.chat, edit.message, query).await
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
            // There is no index for this rare errand, so they are looked for where nobody has to wait for it.
            let look = self.query(&self.sql().messages.look_live).id(chat).id(sender).bind(rows(limit));
            let found = self.all(look, |columns| columns.id()).await?;
            if found.is_empty() {
                return Ok(vec![]);
            }
            let erased = self.run(Way::Transaction, move |session| Box::pin(erase(session, chat, found, at)));
            let erased = erased.await?;
            // None are left of those that were found if others deleted them meanwhile; there may be more.
            if !erased.is_empty() {
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
    /// A change of one message, and why it has found nothing to change.
    async fn change(&self, chat: ChatId, message: MessageId, change: Query) -> StoreResult<MessageRecord> {
        let exists = self.query(&self.sql().messages.exists).id(chat).id(message);
        let changed = self.run(Way::Statement, |session| {
            Box::pin(async move { session.one(change, |columns| columns.message()).await })
        });
        if let Some(message) = changed.await? {
            return Ok(message);
        }
        let exists = self.one(exists, |columns| columns.flag()).await?;
        Err(if exists == Some(true) { StoreErrorKind::Conflict } else { StoreErrorKind::NotFound }.into())
    }
}

/// The chat, which nobody else changes until the transaction ends.
pub(super) async fn lock_chat(session: &mut Session, chat: ChatId) -> StoreResult<ChatRecord> {
    let query = session.query(&session.statements.messages.lock_chat).id(chat);
    session.one(query, |columns| columns.chat()).await?.ok_or_else(|| StoreErrorKind::NotFound.into())
}

/// Writes a system message with the next numbers of the chat, which the caller stores.
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

/// Makes tombstones of those of the messages that are none yet.
async fn erase(
    session: &mut Session,
    chat: ChatId,
    messages: Vec<MessageId>,
    at: Timestamp,
) -> StoreResult<Vec<MessageRecord>> {
    let mut revision = lock_chat(session, chat).await?.revision;
    let live = session.query(&session.statements.messages.live).ids(&messages);
    let mut live = session.all(live, |columns| columns.message()).await?;
    if live.is_empty() {
        return Ok(live);
    }
    for message in &mut live {
        revision = revision.next();
        message.revision = revision;
        (message.body, message.fingerprint, message.deleted_at) = (None, None, Some(at));
    }
    let erase = session
        .query(&session.statements.messages.erase)
        .bind(uuids(live.iter().map(|message| &message.id)))
        .bind(live.iter().map(|message| integer(message.revision.get())).collect::<Vec<_>>())
        .time(at);
    session.execute(erase).await?;
    let advance = session.query(&session.statements.messages.advance).id(chat).bind(rows(live.len()));
    session.execute(advance).await?;
    Ok(live)
}
