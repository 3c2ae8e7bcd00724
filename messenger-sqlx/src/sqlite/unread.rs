use std::{fmt::Write as _, sync::LazyLock};

use async_trait::async_trait;
use messenger_core::{
    Timestamp, UserId,
    ports::{
        AskUnread, ClaimUnread, ClaimedChat, MessageRecord, Notified, PendingChat, PendingMember, SeenPlace,
        StoreErrorKind, StoreResult, UnreadRange, UnreadStore,
    },
};
use messenger_sql::{
    columns::{MESSAGE, rows},
    unread::{self, CLAIMED, Dialect, LIVE, MARK},
};
use sqlx::SqliteConnection;

use super::{
    enqueue::enqueue_jobs_in,
    sql::{self, Bind as _},
    store::SqliteStore,
};

const DIALECT: Dialect<'static> = Dialect {
    schema: "",
    join: "CROSS JOIN",
    parameter: "$",
    id: |number| format!("${number}"),
    top: false,
    fence: "",
};

pub(super) static MEMBERS: LazyLock<String> = LazyLock::new(|| DIALECT.members());

pub(super) static CHATS: LazyLock<String> = LazyLock::new(|| DIALECT.chats());

pub(super) static SEEN: LazyLock<String> = LazyLock::new(|| DIALECT.seen());

pub(super) static CLAIM: LazyLock<String> = LazyLock::new(|| {
    format!(
        "UPDATE messenger_chats SET unread_claims = coalesce(unread_claims, 0) + 1, unread_leased_until = $3
        WHERE id IN (
            SELECT id FROM messenger_chats WHERE unread_since IS NOT NULL AND unread_since <= $1
                AND (unread_leased_until IS NULL OR unread_leased_until < $2)
            ORDER BY unread_since, id LIMIT $4
        )
        RETURNING {}",
        CLAIMED.join(", ")
    )
});

/// The first text message from `$4` on that is later than `$2` or `$3`.
pub(super) static NEXT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT n.created_at, n.seq FROM messenger_messages AS n
        WHERE n.chat_id = $1 AND n.seq >= $4 AND {LIVE} AND (n.created_at > $2 OR n.seq > $3)
        ORDER BY n.seq LIMIT 1"
    )
});

pub(super) static LINES: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {MESSAGE} FROM (
            SELECT key, unhex(value ->> 0) AS chat_id, value ->> 1 AS after, value ->> 2 AS up_to FROM json_each($2)
        ) AS a
        CROSS JOIN messenger_members AS p ON p.chat_id = a.chat_id AND p.user_id = $1 AND p.left_at IS NULL
        CROSS JOIN messenger_messages AS m ON m.rowid IN (
            SELECT n.rowid FROM messenger_messages AS n
            WHERE n.chat_id = a.chat_id AND n.seq > a.after AND n.seq <= a.up_to AND {LIVE} AND n.sender_id <> $1
            ORDER BY n.seq DESC LIMIT $3
        )
        ORDER BY a.key, m.seq"
    )
});

pub(super) static TELL: LazyLock<String> = LazyLock::new(|| {
    format!(
        "UPDATE messenger_members AS p SET notified_seq = $4, notified_at = $5, notified_read = p.read_seq,
            notified_times = 1 + CASE WHEN p.read_seq > p.notified_read THEN 0 ELSE coalesce(p.notified_times, 0) END
        WHERE p.chat_id = $1 AND p.user_id = $2 AND p.left_at IS NULL AND {MARK} = $3"
    )
});

const TELL_PERSON: &str =
    "UPDATE messenger_users SET notified_at = $3, notified_since = $4, notified_times = $5
    WHERE id = $1 AND erased_at IS NULL AND notified_at IS $2";

#[async_trait]
impl UnreadStore for SqliteStore {
    async fn claim_unread_chats(&self, claim: &ClaimUnread, limit: usize) -> StoreResult<Vec<ClaimedChat>> {
        let query = sqlx::query(CLAIM.as_str()).time(claim.due).time(claim.now).time(claim.until);
        let query = query.bind(rows(limit));
        let claimed = self.writer.transaction(|conn| {
            Box::pin(async move { sql::all(conn, query, |columns| columns.claimed_chat()).await })
        });
        Ok(unread::in_order(claimed.await?))
    }

    async fn finish_unread_chat(&self, claimed: &ClaimedChat, due: Timestamp) -> StoreResult<bool> {
        let claimed = *claimed;
        self.writer.transaction(move |conn| Box::pin(finish(conn, claimed, due))).await
    }

    async fn unread_members(
        &self,
        asked: &AskUnread,
        after: Option<UserId>,
        limit: usize,
    ) -> StoreResult<Vec<PendingMember>> {
        let after = after.unwrap_or_else(|| UserId::from_bytes([0; 16]));
        let query = sqlx::query(MEMBERS.as_str()).id(asked.chat).time(asked.due).time(asked.now);
        self.all(query.id(after).bind(rows(limit)), |columns| columns.pending_member()).await
    }

    async fn unread_chats(
        &self,
        user: UserId,
        until: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<PendingChat>> {
        let query = sqlx::query(CHATS.as_str()).id(user).time(until).time(now).bind(rows(limit));
        self.all(query, |columns| columns.pending_chat()).await
    }

    async fn unread_lines(
        &self,
        user: UserId,
        ranges: &[UnreadRange],
        lines: usize,
    ) -> StoreResult<Vec<MessageRecord>> {
        let query = sqlx::query(LINES.as_str()).id(user).bind(json(ranges)).bind(rows(lines));
        self.all(query, |columns| columns.message()).await
    }

    async fn record_notified(&self, notified: &Notified) -> StoreResult<bool> {
        let notified = notified.clone();
        let done =
            self.writer.transaction(|conn| Box::pin(async move { record(conn, &notified).await })).await;
        match done {
            Err(error) if error.kind() == StoreErrorKind::Conflict => Ok(false),
            done => done.map(|()| true),
        }
    }

    async fn people_last_seen(
        &self,
        after: SeenPlace,
        until: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<SeenPlace>> {
        let query = sqlx::query(SEEN.as_str()).time(after.at).id(after.user).time(until).bind(rows(limit));
        self.all(query, |columns| columns.seen_place()).await
    }
}

async fn finish(conn: &mut SqliteConnection, claimed: ClaimedChat, due: Timestamp) -> StoreResult<bool> {
    let held = "SELECT unread_seq FROM messenger_chats
        WHERE id = $1 AND unread_claims = $2 AND unread_leased_until IS NOT NULL AND unread_since IS NOT NULL";
    let held = sqlx::query(held).id(claimed.chat).number(claimed.number);
    let Some(first) = sql::one(conn, held, |columns| columns.seq()).await? else { return Ok(false) };
    let next = sqlx::query(NEXT.as_str()).id(claimed.chat).time(due).number(claimed.last_seq.get());
    let next = next.number(first.get());
    let next = sql::one(conn, next, |columns| Ok((columns.integer()?, columns.integer()?))).await?;
    let (at, seq) = next.unzip();
    let set = "UPDATE messenger_chats SET unread_since = $2, unread_seq = $3, unread_leased_until = NULL
        WHERE id = $1";
    sql::run(conn, sqlx::query(set).id(claimed.chat).bind(at).bind(seq)).await?;
    Ok(true)
}

/// `Conflict` if it is not as was expected: then the transaction is undone.
async fn record(conn: &mut SqliteConnection, notified: &Notified) -> StoreResult<()> {
    let person = sqlx::query(TELL_PERSON)
        .id(notified.user)
        .bind(notified.expected.map(Timestamp::as_micros))
        .time(notified.told.at)
        .time(notified.told.since)
        .bind(i64::from(notified.told.times));
    expect_one(sql::run(conn, person).await?)?;
    for range in &notified.ranges {
        let tell = sqlx::query(TELL.as_str())
            .id(range.chat)
            .id(notified.user)
            .number(range.after.get())
            .number(range.up_to.get())
            .time(notified.told.at);
        expect_one(sql::run(conn, tell).await?)?;
    }
    enqueue_jobs_in(conn, &notified.jobs).await.map(drop)
}

fn expect_one(changed: u64) -> StoreResult<()> {
    if changed == 1 { Ok(()) } else { Err(StoreErrorKind::Conflict.into()) }
}

fn json(ranges: &[UnreadRange]) -> String {
    let mut text = String::from("[");
    for range in ranges {
        if text.len() > 1 {
            text.push(',');
        }
        let chat = range.chat.as_uuid().simple();
        // Writing to a String never fails.
        let _ = write!(text, "[\"{chat}\",{},{}]", range.after.get(), range.up_to.get());
    }
    text.push(']');
    text
}
