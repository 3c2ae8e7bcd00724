use std::sync::LazyLock;

use async_trait::async_trait;
use messenger_core::{
    ChatId, RetentionPeriod, Timestamp, UserId,
    ports::{
        AskOverdue, Hold, HoldSubject, OverdueChat, Purge, PurgeId, PurgeRecord, Purged, RetentionChange,
        RetentionStore, RosterChanged, StoreErrorKind, StoreResult,
    },
};
use messenger_sql::{
    columns::{integer, rows},
    retention::{HOLD, Looked, PURGE, look, stored, without_body},
};
use sqlx::SqliteConnection;

use super::{
    chats, messages,
    sql::{self, Bind as _},
    store::SqliteStore,
    writer::{self, NEXT_COMMIT},
};

/// Of each index the first `$3`; `$1` is the time before which messages are older than the deployment keeps them, or null.
pub(super) const OVERDUE: &str = "SELECT c.id, coalesce(c.kept_since, c.created_at), c.retention_secs
    FROM messenger_chats AS c WHERE c.id IN (
        SELECT id FROM (SELECT id FROM messenger_chats WHERE kept_since IS NULL AND $1 IS NOT NULL LIMIT $3)
        UNION SELECT id FROM (SELECT id FROM messenger_chats WHERE kept_since < $1 ORDER BY kept_since LIMIT $3)
        UNION SELECT id FROM (SELECT id FROM messenger_chats WHERE purge_at < $2 ORDER BY purge_at LIMIT $3)
    )
    ORDER BY 2, 1 LIMIT $3";

const SET: &str = "UPDATE messenger_chats
    SET retention_secs = $2, purge_at = coalesce(kept_since, created_at) + $2 * 1000000 WHERE id = $1";

const CHAT: &str = "SELECT c.retention_secs, coalesce(c.purge_seq, 0), c.revision,
        EXISTS (SELECT 1 FROM messenger_holds AS h WHERE h.kind = 0 AND h.id = c.id)
    FROM messenger_chats AS c WHERE c.id = $1";

/// The messages after `$2`, at most `$3`, each with whether its sender is under a hold.
pub(super) static NEXT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {}, h.id IS NOT NULL FROM messenger_messages AS m
        LEFT JOIN messenger_holds AS h ON h.kind = 1 AND h.id = m.sender_id
        WHERE m.chat_id = $1 AND m.seq > $2 ORDER BY m.seq LIMIT $3",
        without_body()
    )
});

pub(super) static HOLDS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {HOLD} FROM messenger_holds AS h WHERE (h.kind, h.id) > ($1, $2)
        ORDER BY h.kind, h.id LIMIT $3"
    )
});

pub(super) static PURGES: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT {PURGE} FROM messenger_purges AS g WHERE g.id > $1 ORDER BY g.id LIMIT $2")
});

const LOOKED: &str = "UPDATE messenger_chats SET purge_seq = $2, kept_since = coalesce($3, kept_since),
        purge_at = CASE WHEN $3 IS NULL THEN purge_at ELSE $3 + retention_secs * 1000000 END
    WHERE id = $1";

const RECORD: &str = "INSERT INTO messenger_purges
        (id, chat_id, purged_at, before_at, retention_secs, is_own, first_seq, last_seq, messages)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

const LOOK_AGAIN: &str = "UPDATE messenger_chats SET kept_since = NULL, purge_seq = NULL,
        purge_at = CASE WHEN retention_secs IS NOT NULL THEN 0 END
    WHERE id = $1";

const LOOK_AGAIN_AT_ALL: &str = "UPDATE messenger_chats SET kept_since = NULL, purge_seq = NULL,
        purge_at = CASE WHEN retention_secs IS NOT NULL THEN 0 END
    WHERE id IN (SELECT chat_id FROM messenger_members WHERE user_id = $1)";

#[async_trait]
impl RetentionStore for SqliteStore {
    async fn set_retention(&self, change: RetentionChange) -> StoreResult<RosterChanged> {
        self.writer.transaction(move |conn| Box::pin(set(conn, change))).await
    }

    async fn overdue_chats(&self, asked: &AskOverdue, limit: usize) -> StoreResult<Vec<OverdueChat>> {
        let before = asked.retention.map(|kept| asked.now.before(kept.as_duration()).as_micros());
        let query = sqlx::query(OVERDUE).bind(before).time(asked.now).bind(rows(limit));
        self.all(query, |columns| columns.overdue_chat()).await
    }

    async fn purge(&self, purge: &Purge) -> StoreResult<Purged> {
        let purge = *purge;
        self.writer.transaction(move |conn| Box::pin(step(conn, purge))).await
    }

    async fn hold(&self, hold: &Hold) -> StoreResult<bool> {
        let hold = hold.clone();
        self.writer.transaction(move |conn| Box::pin(insert_hold(conn, hold))).await
    }

    async fn release(&self, subject: HoldSubject) -> StoreResult<bool> {
        self.writer.transaction(move |conn| Box::pin(release(conn, subject))).await
    }

    async fn holds(&self, after: Option<HoldSubject>, limit: usize) -> StoreResult<Vec<Hold>> {
        let (kind, id) = after.as_ref().map_or((-1, &[0; 16]), HoldSubject::parts);
        let query = sqlx::query(HOLDS.as_str()).bind(kind).bind(id.to_vec()).bind(rows(limit));
        self.all(query, |columns| columns.hold()).await
    }

    async fn purges(&self, after: Option<PurgeId>, limit: usize) -> StoreResult<Vec<PurgeRecord>> {
        let after = after.unwrap_or_else(|| PurgeId::from_bytes([0; 16]));
        let query = sqlx::query(PURGES.as_str()).id(after).bind(rows(limit));
        self.all(query, |columns| columns.purge()).await
    }
}

async fn set(conn: &mut SqliteConnection, change: RetentionChange) -> StoreResult<RosterChanged> {
    let query = sqlx::query(chats::BY_ID.as_str()).id(change.chat);
    let chat = sql::one(conn, query, |columns| columns.chat()).await?;
    let mut chat = chat.ok_or(StoreErrorKind::NotFound)?;
    if chat.roster_version != change.expected {
        return Err(StoreErrorKind::Conflict.into());
    }
    writer::execute(conn, NEXT_COMMIT).await?;
    chat.roster_version += 1;
    let message = messages::append_system(conn, &mut chat, change.message).await?;
    chats::update(conn, &chat, Some(message.created_at)).await?;
    sql::run(conn, sqlx::query(SET).id(chat.id).bind(stored(change.retention))).await?;
    Ok(RosterChanged { chat, messages: vec![message] })
}

async fn step(conn: &mut SqliteConnection, purge: Purge) -> StoreResult<Purged> {
    let query = sqlx::query(CHAT).id(purge.chat);
    let chat = sql::one(conn, query, |columns| {
        Ok((columns.retention()?, columns.seq()?, columns.revision()?, columns.flag()?))
    });
    let Some((own, from, revision, is_held)) = chat.await? else { return Ok(Purged::default()) };
    let Some(kept) = RetentionPeriod::shorter(purge.retention, own) else { return Ok(Purged::default()) };
    if is_held {
        let looked = Looked { up_to: from, since: Some(purge.now), ..Looked::default() };
        note(conn, purge.chat, &looked).await?;
        return Ok(Purged::default());
    }
    let before = purge.now.before(kept.as_duration());
    let next = sqlx::query(NEXT.as_str()).id(purge.chat).number(from.get()).bind(rows(purge.limit));
    let next = sql::all(conn, next, |columns| Ok((columns.message()?, columns.flag()?))).await?;
    let looked = look(next, (from, purge.limit), (before, purge.now), revision);
    note(conn, purge.chat, &looked).await?;
    if let (Some(first), Some(last)) = (looked.due.first(), looked.due.last()) {
        messages::make_tombstones(conn, purge.chat, &looked.due, purge.now).await?;
        let record = sqlx::query(RECORD).id(purge.id).id(purge.chat).time(purge.now).time(before);
        let record = record.number(kept.as_secs()).bind(own == Some(kept));
        let record = record.number(first.seq.get()).number(last.seq.get()).number(looked.due.len() as u64);
        sql::run(conn, record).await?;
    }
    Ok(Purged { messages: looked.due, more: looked.since.is_none() })
}

/// Notes how far the chat was looked through.
async fn note(conn: &mut SqliteConnection, chat: ChatId, looked: &Looked) -> StoreResult<()> {
    let since = looked.since.map(Timestamp::as_micros);
    sql::run(conn, sqlx::query(LOOKED).id(chat).bind(integer(looked.up_to.get())).bind(since)).await.map(drop)
}

async fn insert_hold(conn: &mut SqliteConnection, hold: Hold) -> StoreResult<bool> {
    let known = match hold.subject {
        HoldSubject::Chat(chat) => sqlx::query("SELECT 1 FROM messenger_chats WHERE id = $1").id(chat),
        HoldSubject::User(user) => {
            sqlx::query("SELECT 1 FROM messenger_users WHERE id = $1 AND erased_at IS NULL").id(user)
        }
    };
    sql::one(conn, known, |_| Ok(())).await?.ok_or(StoreErrorKind::NotFound)?;
    let (kind, id) = hold.subject.parts();
    let insert = "INSERT INTO messenger_holds (kind, id, reason, held_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT DO NOTHING";
    let insert = sqlx::query(insert).bind(kind).bind(id.as_slice()).bind(hold.reason.as_str()).time(hold.at);
    Ok(sql::run(conn, insert).await? == 1)
}

async fn release(conn: &mut SqliteConnection, subject: HoldSubject) -> StoreResult<bool> {
    let (kind, id) = subject.parts();
    let delete = sqlx::query("DELETE FROM messenger_holds WHERE kind = $1 AND id = $2");
    let was_held = sql::run(conn, delete.bind(kind).bind(id.as_slice())).await? == 1;
    let again = match subject {
        HoldSubject::Chat(_) => LOOK_AGAIN,
        HoldSubject::User(_) => LOOK_AGAIN_AT_ALL,
    };
    sql::run(conn, sqlx::query(again).bind(id.as_slice())).await?;
    Ok(was_held)
}

/// `Held` if the person is under a hold.
pub(super) async fn expect_free(conn: &mut SqliteConnection, user: UserId) -> StoreResult<()> {
    let held = sqlx::query("SELECT 1 FROM messenger_holds WHERE kind = 1 AND id = $1").id(user);
    match sql::one(conn, held, |_| Ok(())).await? {
        Some(()) => Err(StoreErrorKind::Held.into()),
        None => Ok(()),
    }
}
