use std::sync::Arc;

use async_trait::async_trait;
use messenger_core::{
    SessionId, Timestamp, TokenHash, UserId,
    ports::{NewSession, SessionRecord, SessionStore, StoreErrorKind, StoreResult},
};
use messenger_sql::columns::{SESSION, rows};

use crate::{
    MssqlStore,
    call::Call,
    schema::Schema,
    sql::{id, procedure},
};

/// The procedures and statements of this file.
#[derive(Debug)]
pub(crate) struct Sql {
    create: Arc<str>,
    by_token: Arc<str>,
    of_user: Arc<str>,
    touch: Arc<str>,
    end: Arc<str>,
    remove_expired: Arc<str>,
    existing: Arc<str>,
}

impl Sql {
    pub(crate) fn new(schema: &Schema) -> Self {
        let (first, second) = (id(1), id(2));
        Self {
            create: procedure(schema, "create_session"),
            by_token: format!(
                "SELECT {SESSION} FROM {schema}.messenger_sessions AS s WHERE s.token_hash = CAST(@P1 AS binary(32))"
            )
            .into(),
            of_user: format!(
                "SELECT {SESSION} FROM {schema}.messenger_sessions AS s WHERE s.user_id = {first}
                ORDER BY s.created_at DESC, s.id DESC"
            )
            .into(),
            touch: format!(
                "UPDATE {schema}.messenger_sessions SET
                    last_used_at = CASE WHEN last_used_at > @P2 THEN last_used_at ELSE @P2 END,
                    expires_at = CASE WHEN expires_at > @P3 THEN expires_at ELSE @P3 END
                WHERE id = {first}"
            )
            .into(),
            end: format!(
                "DELETE FROM {schema}.messenger_sessions OUTPUT deleted.id WHERE id = {first} AND user_id = {second}"
            )
            .into(),
            // Those that somebody else is at work on are left to them, or to the next time.
            remove_expired: format!(
                "DELETE TOP (@P2) FROM {schema}.messenger_sessions WITH (ROWLOCK, READPAST, READCOMMITTEDLOCK) OUTPUT deleted.id
                WHERE expires_at < @P1"
            )
            .into(),
            existing: format!(
                "SELECT s.id FROM {schema}.messenger_unpack_ids(@P1) AS a
                JOIN {schema}.messenger_sessions AS s ON s.id = a.id"
            )
            .into(),
        }
    }
}

#[async_trait]
impl SessionStore for MssqlStore {
    async fn create_session(&self, session: NewSession, max: usize) -> StoreResult<Vec<SessionId>> {
        let call = Call::procedure(Arc::clone(&self.sql().sessions.create))
            .id("@id", session.id)
            .bytes("@token_hash", session.token_hash.0)
            .id("@user", session.user_id)
            .optional_text("@device", session.device.as_ref().map(|device| device.as_str()))
            .time("@created_at", session.created_at)
            .time("@expires_at", session.expires_at)
            .number("@max", rows(max));
        self.all(call, |columns| columns.id()).await
    }

    async fn session_by_token(&self, token: &TokenHash) -> StoreResult<SessionRecord> {
        let call = Call::statement(Arc::clone(&self.sql().sessions.by_token)).bytes("@P1", token.0);
        self.one(call, |columns| columns.session()).await?.ok_or_else(|| StoreErrorKind::NotFound.into())
    }

    async fn sessions(&self, user: UserId) -> StoreResult<Vec<SessionRecord>> {
        let call = Call::statement(Arc::clone(&self.sql().sessions.of_user)).id("@P1", user);
        self.all(call, |columns| columns.session()).await
    }

    async fn touch_session(
        &self,
        session: SessionId,
        used: Timestamp,
        expires: Timestamp,
    ) -> StoreResult<()> {
        let call = Call::statement(Arc::clone(&self.sql().sessions.touch));
        self.done(call.id("@P1", session).time("@P2", used).time("@P3", expires)).await
    }

    async fn end_session(&self, user: UserId, session: SessionId) -> StoreResult<()> {
        let call = Call::statement(Arc::clone(&self.sql().sessions.end)).id("@P1", session).id("@P2", user);
        let ended = self.one(call, |columns| columns.id::<()>()).await?;
        ended.map(drop).ok_or_else(|| StoreErrorKind::NotFound.into())
    }

    async fn remove_expired_sessions(&self, now: Timestamp, limit: usize) -> StoreResult<usize> {
        let call = Call::statement(Arc::clone(&self.sql().sessions.remove_expired));
        let removed =
            self.all(call.time("@P1", now).number("@P2", rows(limit)), |columns| columns.id::<()>());
        Ok(removed.await?.len())
    }

    async fn existing_sessions(&self, sessions: &[SessionId]) -> StoreResult<Vec<SessionId>> {
        let call = Call::statement(Arc::clone(&self.sql().sessions.existing));
        self.listed(call, sessions, |columns| columns.id()).await
    }
}
