use async_trait::async_trait;
use messenger_core::{
    SessionId, Timestamp, TokenHash, UserId,
    ports::{NewSession, SessionRecord, SessionStore, StoreErrorKind, StoreResult},
};
use messenger_sql::columns::{SESSION, rows};
use sqlx::SqlStr;

use super::{
    PostgresStore,
    connections::Way,
    sql::{Bind as _, Schema, statement},
    users,
};

/// The statements of this file.
#[derive(Debug)]
pub(super) struct Sql {
    insert: SqlStr,
    end_beyond: SqlStr,
    by_token: SqlStr,
    of_user: SqlStr,
    touch: SqlStr,
    end: SqlStr,
    pub(super) end_all: SqlStr,
    remove_expired: SqlStr,
    existing: SqlStr,
}

impl Sql {
    pub(super) fn new(schema: &Schema) -> Self {
        Self {
            insert: statement(format!(
                "INSERT INTO {schema}.messenger_sessions
                    (token_hash, id, user_id, device, created_at, last_used_at, expires_at)
                VALUES ($1, $2, $3, $4, $5, $5, $6)"
            )),
            end_beyond: statement(format!(
                "DELETE FROM {schema}.messenger_sessions WHERE id = ANY (ARRAY (
                    SELECT id FROM {schema}.messenger_sessions WHERE user_id = $1
                    ORDER BY last_used_at DESC, id DESC OFFSET $2
                )) RETURNING id"
            )),
            by_token: statement(format!(
                "SELECT {SESSION} FROM {schema}.messenger_sessions AS s WHERE s.token_hash = $1"
            )),
            of_user: statement(format!(
                "SELECT {SESSION} FROM {schema}.messenger_sessions AS s WHERE s.user_id = $1
                ORDER BY s.created_at DESC, s.id DESC"
            )),
            touch: statement(format!(
                "UPDATE {schema}.messenger_sessions
                SET last_used_at = greatest(last_used_at, $2), expires_at = greatest(expires_at, $3) WHERE id = $1"
            )),
            end: statement(format!(
                "DELETE FROM {schema}.messenger_sessions WHERE id = $1 AND user_id = $2"
            )),
            end_all: statement(format!(
                "DELETE FROM {schema}.messenger_sessions
                WHERE user_id = $1 AND id IS DISTINCT FROM $2 RETURNING id"
            )),
            // Those that somebody else is at work on are left to them, or to the next time.
            remove_expired: statement(format!(
                "DELETE FROM {schema}.messenger_sessions WHERE id = ANY (ARRAY (
                    SELECT id FROM {schema}.messenger_sessions WHERE expires_at < $1
                    ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
                )) AND expires_at < $1"
            )),
            existing: statement(format!("SELECT id FROM {schema}.messenger_sessions WHERE id = ANY ($1)")),
        }
    }
}

#[async_trait]
impl SessionStore for PostgresStore {
    async fn create_session(&self, session: NewSession, max: usize) -> StoreResult<Vec<SessionId>> {
        let user = session.user_id;
        let insert = self
            .query(&self.sql().sessions.insert)
            .bytes(&session.token_hash.0)
            .id(session.id)
            .id(user)
            .bind(session.device.map(|device| device.as_str().to_owned()))
            .time(session.created_at)
            .time(session.expires_at);
        let end_beyond = self.query(&self.sql().sessions.end_beyond).id(user).bind(rows(max));
        self.run(Way::Transaction, move |session| {
            Box::pin(async move {
                users::lock_live(session, &[user]).await?;
                session.execute(insert).await?;
                session.all(end_beyond, |columns| columns.id()).await
            })
        })
        .await
    }

    async fn session_by_token(&self, token: &TokenHash) -> StoreResult<SessionRecord> {
        let query = self.query(&self.sql().sessions.by_token).bytes(&token.0);
        self.one(query, |columns| columns.session()).await?.ok_or_else(|| StoreErrorKind::NotFound.into())
    }

    async fn sessions(&self, user: UserId) -> StoreResult<Vec<SessionRecord>> {
        let query = self.query(&self.sql().sessions.of_user).id(user);
        self.all(query, |columns| columns.session()).await
    }

    async fn touch_session(
        &self,
        session: SessionId,
        used: Timestamp,
        expires: Timestamp,
    ) -> StoreResult<()> {
        let query = self.query(&self.sql().sessions.touch).id(session).time(used).time(expires);
        self.run(Way::Statement, |session| Box::pin(async move { session.execute(query).await.map(drop) }))
            .await
    }

    async fn end_session(&self, user: UserId, session: SessionId) -> StoreResult<()> {
        let query = self.query(&self.sql().sessions.end).id(session).id(user);
        let ended = self.run(Way::Statement, |session| Box::pin(session.execute(query))).await?;
        if ended == 0 { Err(StoreErrorKind::NotFound.into()) } else { Ok(()) }
    }

    async fn remove_expired_sessions(&self, now: Timestamp, limit: usize) -> StoreResult<usize> {
        let query = self.query(&self.sql().sessions.remove_expired).time(now).bind(rows(limit));
        let removed = self.run(Way::Statement, |session| Box::pin(session.execute(query))).await?;
        Ok(usize::try_from(removed).unwrap_or(limit))
    }

    async fn existing_sessions(&self, sessions: &[SessionId]) -> StoreResult<Vec<SessionId>> {
        let query = self.query(&self.sql().sessions.existing).ids(sessions);
        self.all(query, |columns| columns.id()).await
    }
}
