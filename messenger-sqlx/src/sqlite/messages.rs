use std::sync::LazyLock;

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
use sqlx::SqliteConnection;

use super::{
    append,
    sql::{self, Batched, Bind as _, json_ids, json_pairs},
    store::SqliteStore,
    writer::{self, NEXT_COMMIT, THIS_COMMIT},
};

pub(super) static BY_ID: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT {MESSAGE} FROM messenger_messages AS m WHERE m.id = $2 AND m.chat_id = $1")
});

/// Messages `$3` to `$4`, but at most `$5`, those at the end; with nulls if there are none. Of these, the ones nearest
/// to `$6` that weigh at most `$7` bytes together: of the others no more than the length is read. The weights are
/// computed before they are summed, because SQLite keeps the columns that a window uses, and so would read all bodies.
pub(super) static HISTORY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT c.last_seq, {MESSAGE}
        FROM messenger_members AS p
        CROSS JOIN messenger_chats AS c ON c.id = p.chat_id
        LEFT JOIN messenger_messages AS m ON m.chat_id = $1 AND m.seq IN (
            SELECT w.seq FROM (
                SELECT l.seq, l.weight, sum(l.weight) OVER (
                    ORDER BY abs(l.seq - $6), l.seq DESC ROWS UNBOUNDED PRECEDING
                ) AS total
                FROM (
                    SELECT n.seq, {weight} AS weight FROM messenger_messages AS n
                    WHERE n.chat_id = $1 AND n.seq >= max($3, min(c.last_seq, $4) + 1 - $5) AND n.seq <= $4
                ) AS l
            ) AS w
            WHERE w.total <= $7 OR w.total = w.weight
        )
        WHERE p.chat_id = $1 AND p.user_id = $2 AND p.left_at IS NULL",
        weight = weight("length(n.body)")
    )
});

/// `$1` is a list of chats with revisions. First the heads, then the messages whose last change is later: the unchanged
/// messages written since, which are among the last n messages if there were n changes, and the changed messages. Of
/// either kind at most `$2` plus one: if there were no more changes than that, nothing has to be cut off; otherwise the
/// last one is determined. Of the first `$2` of each chat by revision, it returns those that weigh at most `$3` bytes
/// together, in the order of chats and revisions.
pub(super) static CHANGES: LazyLock<String> = LazyLock::new(|| {
    format!(
        "WITH asked (key, chat_id, since) AS MATERIALIZED (
            SELECT key, unhex(value ->> 0), value ->> 1 FROM json_each($1)
        ), found AS (
            SELECT a.key, m.chat_id, m.seq, m.revision, {weight} AS weight
            FROM asked AS a
            CROSS JOIN messenger_chats AS c ON c.id = a.chat_id
            CROSS JOIN messenger_messages AS m ON m.chat_id = a.chat_id
                AND m.seq > c.last_seq - (c.revision - a.since)
                AND m.created_revision > a.since AND m.revision = m.created_revision
                AND m.seq <= CASE WHEN c.revision - a.since <= $2 THEN c.last_seq ELSE coalesce((
                    SELECT x.seq FROM messenger_messages AS x
                    WHERE x.chat_id = a.chat_id AND x.seq > c.last_seq - (c.revision - a.since)
                        AND x.created_revision > a.since AND x.revision = x.created_revision
                    ORDER BY x.seq LIMIT 1 OFFSET $2
                ), c.last_seq) END
            UNION ALL
            SELECT a.key, m.chat_id, m.seq, m.revision, {weight}
            FROM asked AS a
            CROSS JOIN messenger_chats AS c ON c.id = a.chat_id
            CROSS JOIN messenger_messages AS m ON m.chat_id = a.chat_id
                AND m.revision > a.since AND m.revision > m.created_revision
                AND m.revision <= CASE WHEN c.revision - a.since <= $2 THEN c.revision ELSE coalesce((
                    SELECT x.revision FROM messenger_messages AS x
                    WHERE x.chat_id = a.chat_id AND x.revision > a.since AND x.revision > x.created_revision
                    ORDER BY x.revision LIMIT 1 OFFSET $2
                ), c.revision) END
        ), weighed AS MATERIALIZED (
            SELECT f.key, f.chat_id, f.seq, f.weight,
                sum(f.weight) OVER (ORDER BY f.chat_id, f.revision ROWS UNBOUNDED PRECEDING) AS total
            FROM (SELECT *, row_number() OVER (PARTITION BY key ORDER BY revision) AS nth FROM found) AS f
            WHERE f.nth <= $2
        )
        SELECT a.key, {CHAT}, {NO_MESSAGE}
        FROM asked AS a CROSS JOIN messenger_chats AS c ON c.id = a.chat_id
        UNION ALL
        SELECT w.key, {NO_CHAT}, {MESSAGE}
        FROM weighed AS w CROSS JOIN messenger_messages AS m ON m.chat_id = w.chat_id AND m.seq = w.seq
        WHERE w.total <= $3 OR w.total = w.weight",
        weight = weight("length(m.body)")
    )
});

/// The messages that are no tombstones yet.
pub(super) static LIVE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {MESSAGE} FROM messenger_messages AS m
        WHERE m.id IN (SELECT unhex(value) FROM json_each($1)) AND m.deleted_at IS NULL
        ORDER BY m.seq"
    )
});

pub(super) const ERASE: &str = "UPDATE messenger_messages AS m
    SET revision = erased.revision, body = NULL, fingerprint = NULL, deleted_at = $2
    FROM (SELECT unhex(value ->> 0) AS id, value ->> 1 AS revision FROM json_each($1)) AS erased
    WHERE m.id = +erased.id";

#[async_trait]
impl MessageStore for SqliteStore {
    /// Stores up to 2,048 messages in one commit; a larger batch takes several.
    async fn append_messages(&self, batch: &[NewMessage]) -> StoreResult<Vec<StoreResult<Appended>>> {
        let mut answers = Vec::with_capacity(batch.len());
        for part in batch.chunks(Batched::MAX) {
            let part = part.to_vec();
            answers.extend(self.writer.run(move |conn| Box::pin(append::append(conn, part))).await?);
        }
        Ok(answers)
    }

    async fn message(&self, chat: ChatId, message: MessageId) -> StoreResult<MessageRecord> {
        let query = sqlx::query(BY_ID.as_str()).id(chat).id(message);
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
        let query = sqlx::query(HISTORY.as_str()).id(chat).id(user).number(low).number(high);
        let query = query.bind(rows(budget.messages)).number(anchor.place().get()).bind(rows(budget.bytes));
        let rows = self.all(query, |columns| Ok((columns.seq()?, columns.optional_message()?))).await?;
        let last_seq = rows.first().ok_or(StoreErrorKind::NotMember)?.0;
        let mut messages: Vec<_> = rows.into_iter().filter_map(|(_, message)| message).collect();
        // They are found in this order; the sort only guarantees it.
        messages.sort_unstable_by_key(|message| message.seq);
        Ok(HistoryRange { last_seq, messages })
    }

    async fn edit_message(&self, edit: EditMessage) -> StoreResult<MessageRecord> {
        self.writer
            .transaction(move |conn| {
                Box::pin(async move {
                    expect_live_author(conn, edit.chat, edit.message).await?;
                    let revision = expect(conn, edit.chat, edit.message, edit.expected).await?;
                    let change = "UPDATE messenger_messages SET revision = $2, body = $3, edited_at = $4
                        WHERE id = $1";
                    let change = sqlx::query(change).id(edit.message).number(revision.get());
                    sql::run(conn, change.bytes(&edit.body.0).time(edit.edited_at)).await?;
                    reread(conn, edit.chat, edit.message).await
                })
            })
            .await
    }

    async fn delete_message(&self, delete: DeleteMessage) -> StoreResult<MessageRecord> {
        self.writer
            .transaction(move |conn| {
                Box::pin(async move {
                    let revision = expect(conn, delete.chat, delete.message, delete.expected).await?;
                    let change = "UPDATE messenger_messages
                        SET revision = $2, body = NULL, fingerprint = NULL, deleted_at = $3 WHERE id = $1";
                    let change = sqlx::query(change).id(delete.message).number(revision.get());
                    sql::run(conn, change.time(delete.deleted_at)).await?;
                    reread(conn, delete.chat, delete.message).await
                })
            })
            .await
    }

    async fn erase_messages(
        &self,
        chat: ChatId,
        sender: UserId,
        at: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<MessageRecord>> {
        loop {
            // There is no index for this rare operation, so the messages are searched for on a reader, where nobody has
            // to wait.
            let look = "SELECT id FROM messenger_messages
                WHERE chat_id = $1 AND sender_id = $2 AND kind = 0 AND deleted_at IS NULL
                ORDER BY seq LIMIT $3";
            let look = sqlx::query(look).id(chat).id(sender).bind(rows(limit));
            let found = self.all(look, |columns| columns.id()).await?;
            if found.is_empty() {
                return Ok(vec![]);
            }
            let erased = self.writer.transaction(move |conn| Box::pin(erase(conn, chat, found, at))).await?;
            // Nothing is erased if others have deleted all of the found messages in the meantime; there may be more.
            if !erased.is_empty() {
                return Ok(erased);
            }
        }
    }

    async fn changes(&self, since: &[(ChatId, Revision)], budget: Budget) -> StoreResult<Vec<Changes>> {
        let list = json_pairs(since.iter().map(|(chat, since)| (chat, integer(since.get()))));
        let query =
            sqlx::query(CHANGES.as_str()).bind(list).bind(rows(budget.messages)).bind(rows(budget.bytes));
        let rows = self.all(query, |columns| {
            Ok((columns.index()?, columns.optional_chat()?, columns.optional_message()?))
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

/// Writes a system message with the next seq and revision of the chat, which the caller stores.
pub(super) async fn append_system(
    conn: &mut SqliteConnection,
    chat: &mut ChatRecord,
    new: NewSystemMessage,
) -> StoreResult<MessageRecord> {
    let message = system_message(chat, new);
    let insert = "INSERT INTO messenger_messages
            (chat_id, seq, id, sender_id, kind, created_revision, revision, texts, body, created_at)
        VALUES ($1, $2, $3, $4, 1, $5, $5, $6, $7, $8)";
    let insert = sqlx::query(insert)
        .id(message.chat)
        .number(message.seq.get())
        .id(message.id)
        .id(message.sender)
        .number(message.revision.get())
        .number(chat.texts)
        .bind(message.body.as_ref().map(|note| note.0.as_slice()))
        .time(message.created_at);
    sql::run(conn, insert).await?;
    Ok(message)
}

/// Assigns the chat's next revision, for a message that was last changed at `expected`.
async fn expect(
    conn: &mut SqliteConnection,
    chat: ChatId,
    message: MessageId,
    expected: Revision,
) -> StoreResult<Revision> {
    let query = "SELECT revision FROM messenger_messages WHERE id = $1 AND chat_id = $2";
    let found = sql::one(conn, sqlx::query(query).id(message).id(chat), |columns| columns.revision()).await?;
    if found.ok_or(StoreErrorKind::NotFound)? != expected {
        return Err(StoreErrorKind::Conflict.into());
    }
    advance(conn, chat, 1).await
}

/// `NotFound` for an unknown message, `NotMember` for one whose author is erased.
async fn expect_live_author(
    conn: &mut SqliteConnection,
    chat: ChatId,
    message: MessageId,
) -> StoreResult<()> {
    let query = "SELECT u.erased_at IS NOT NULL FROM messenger_messages AS m
        LEFT JOIN messenger_users AS u ON u.id = m.sender_id WHERE m.id = $1 AND m.chat_id = $2";
    let query = sqlx::query(query).id(message).id(chat);
    match sql::one(conn, query, |columns| columns.integer()).await? {
        None => Err(StoreErrorKind::NotFound.into()),
        Some(0) => Ok(()),
        Some(_) => Err(StoreErrorKind::NotMember.into()),
    }
}

static ADVANCE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "UPDATE messenger_chats SET revision = revision + $2, commit_no = {THIS_COMMIT}
        WHERE id = $1 RETURNING revision"
    )
});

/// Assigns the chat's next `count` revisions and returns the last of them.
async fn advance(conn: &mut SqliteConnection, chat: ChatId, count: usize) -> StoreResult<Revision> {
    writer::execute(conn, NEXT_COMMIT).await?;
    let advance = sqlx::query(ADVANCE.as_str()).id(chat).bind(rows(count));
    sql::one(conn, advance, |columns| columns.revision())
        .await?
        .ok_or_else(|| StoreErrorKind::NotFound.into())
}

async fn reread(conn: &mut SqliteConnection, chat: ChatId, message: MessageId) -> StoreResult<MessageRecord> {
    let query = sqlx::query(BY_ID.as_str()).id(chat).id(message);
    let message = sql::one(conn, query, |columns| columns.message()).await?;
    message.ok_or_else(|| StoreErrorKind::NotFound.into())
}

/// Turns those of the messages into tombstones that are none yet.
async fn erase(
    conn: &mut SqliteConnection,
    chat: ChatId,
    messages: Vec<MessageId>,
    at: Timestamp,
) -> StoreResult<Vec<MessageRecord>> {
    let query = sqlx::query(LIVE.as_str()).bind(json_ids(&messages));
    let mut live = sql::all(conn, query, |columns| columns.message()).await?;
    if live.is_empty() {
        return Ok(live);
    }
    let mut revision = advance(conn, chat, live.len()).await?.get() - live.len() as u64;
    for message in &mut live {
        revision += 1;
        message.revision = Revision::new(revision);
        (message.body, message.fingerprint, message.deleted_at) = (None, None, Some(at));
    }
    store_tombstones(conn, &live, at).await?;
    Ok(live)
}

/// Turns messages into tombstones whose new revisions are the next ones of the chat, which it advances.
pub(super) async fn make_tombstones(
    conn: &mut SqliteConnection,
    chat: ChatId,
    due: &[MessageRecord],
    at: Timestamp,
) -> StoreResult<()> {
    advance(conn, chat, due.len()).await?;
    store_tombstones(conn, due, at).await
}

async fn store_tombstones(
    conn: &mut SqliteConnection,
    due: &[MessageRecord],
    at: Timestamp,
) -> StoreResult<()> {
    let list = json_pairs(due.iter().map(|message| (&message.id, integer(message.revision.get()))));
    sql::run(conn, sqlx::query(ERASE).bind(list).time(at)).await.map(drop)
}
