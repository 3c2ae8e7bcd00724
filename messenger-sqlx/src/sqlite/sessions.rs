use std::sync::LazyLock;

use async_trait::async_trait;
use messenger_core::{
    SessionId, Timestamp, TokenHash, UserId,
    ports::{Content, NewSession, SessionRecord, SessionStore, StoreErrorKind, StoreResult},
};
use messenger_sql::columns::{SESSION, rows};
use sqlx::SqliteConnection;

use super::{
    accounts,
    sql::{self, Bind as _, json_ids},
    store::SqliteStore,
};

pub(super) static BY_TOKEN: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {SESSION} FROM messenger_sessions AS s WHERE s.token_hash = $1"));

pub(super) static OF_USER: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {SESSION} FROM messenger_sessions AS s WHERE s.user_id = $1
        ORDER BY s.created_at DESC, s.id DESC"
    )
});

#[async_trait]
impl SessionStore for SqliteStore {
    async fn create_session(
        &self,
        session: NewSession,
        expected: u64,
        max: usize,
    ) -> StoreResult<Vec<SessionId>> {
        self.writer
            .transaction(move |conn| {
                Box::pin(async move {
                    accounts::expect(conn, session.user_id, expected).await?;
                    insert(conn, &session).await?;
                    end_beyond(conn, session.user_id, max).await
                })
            })
            .await
    }

    async fn session_by_token(&self, token: &TokenHash) -> StoreResult<SessionRecord> {
        let query = sqlx::query(BY_TOKEN.as_str()).bytes(&token.0);
        self.one(query, |columns| columns.session()).await?.ok_or_else(|| StoreErrorKind::NotFound.into())
    }

    async fn sessions(&self, user: UserId) -> StoreResult<Vec<SessionRecord>> {
        self.all(sqlx::query(OF_USER.as_str()).id(user), |columns| columns.session()).await
    }

    async fn touch_session(
        &self,
        session: SessionId,
        used: Timestamp,
        expires: Timestamp,
    ) -> StoreResult<()> {
        self.writer
            .transaction(move |conn| {
                Box::pin(async move {
                    let touch = "UPDATE messenger_sessions
                        SET last_used_at = max(last_used_at, $2), expires_at = max(expires_at, $3)
                        WHERE id = $1";
                    sql::run(conn, sqlx::query(touch).id(session).time(used).time(expires)).await.map(drop)
                })
            })
            .await
    }

    async fn end_session(&self, user: UserId, session: SessionId) -> StoreResult<()> {
        self.writer
            .transaction(move |conn| {
                Box::pin(async move {
                    let end = "DELETE FROM messenger_sessions WHERE id = $1 AND user_id = $2";
                    let ended = sql::run(conn, sqlx::query(end).id(session).id(user)).await?;
                    if ended == 0 { Err(StoreErrorKind::NotFound.into()) } else { Ok(()) }
                })
            })
            .await
    }

    async fn remove_expired_sessions(&self, now: Timestamp, limit: usize) -> StoreResult<usize> {
        self.writer
            .transaction(move |conn| {
                Box::pin(async move {
                    let remove = "DELETE FROM messenger_sessions WHERE token_hash IN (
                            SELECT token_hash FROM messenger_sessions WHERE expires_at < $1
                            ORDER BY expires_at LIMIT $2
                        )";
                    let removed = sql::run(conn, sqlx::query(remove).time(now).bind(rows(limit))).await?;
                    Ok(usize::try_from(removed).unwrap_or(limit))
                })
            })
            .await
    }

    async fn existing_sessions(&self, sessions: &[SessionId]) -> StoreResult<Vec<SessionId>> {
        let query = "SELECT id FROM messenger_sessions WHERE id IN (SELECT unhex(value) FROM json_each($1))";
        self.all(sqlx::query(query).bind(json_ids(sessions)), |columns| columns.id()).await
    }
}

pub(super) async fn insert(conn: &mut SqliteConnection, session: &NewSession) -> StoreResult<()> {
    let insert = "INSERT INTO messenger_sessions
            (token_hash, id, user_id, device, created_at, last_used_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $5, $6)";
    let insert = sqlx::query(insert)
        .bytes(&session.token_hash.0)
        .id(session.id)
        .id(session.user_id)
        .bind(session.device.as_ref().map(Content::to_text).transpose()?)
        .time(session.created_at)
        .time(session.expires_at);
    sql::run(conn, insert).await.map(drop)
}

/// Ends the person's sessions except `keep`.
pub(super) async fn end_all(
    conn: &mut SqliteConnection,
    user: UserId,
    keep: Option<SessionId>,
) -> StoreResult<Vec<SessionId>> {
    let end = "DELETE FROM messenger_sessions WHERE user_id = $1 AND id IS NOT $2 RETURNING id";
    let keep = keep.as_ref().map(|keep| keep.as_bytes().as_slice());
    sql::all(conn, sqlx::query(end).id(user).bind(keep), |columns| columns.id()).await
}

async fn end_beyond(conn: &mut SqliteConnection, user: UserId, max: usize) -> StoreResult<Vec<SessionId>> {
    let end = "DELETE FROM messenger_sessions WHERE token_hash IN (
            SELECT token_hash FROM messenger_sessions WHERE user_id = $1
            ORDER BY last_used_at DESC, id DESC LIMIT -1 OFFSET $2
        ) RETURNING id";
    sql::all(conn, sqlx::query(end).id(user).bind(rows(max)), |columns| columns.id()).await
}
