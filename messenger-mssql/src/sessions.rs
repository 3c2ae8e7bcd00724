use std::sync::Arc;

use async_trait::async_trait;
use messenger_core::{
    SessionId, Timestamp, TokenHash, UserId,
    ports::{Content, NewSession, SessionRecord, SessionStore, StoreErrorKind, StoreResult},
};
use messenger_sql::columns::{integer, rows};

use crate::{call::Call, store::MssqlStore};

#[async_trait]
impl SessionStore for MssqlStore {
    async fn create_session(
        &self,
        session: NewSession,
        expected: u64,
        max: usize,
    ) -> StoreResult<Vec<SessionId>> {
        let call = Call::procedure(Arc::clone(&self.sql().sessions.create))
            .id("@id", session.id)
            .bytes("@token_hash", session.token_hash.0)
            .id("@user", session.user_id)
            .number("@expected", integer(expected))
            .optional_text("@device", session.device.as_ref().map(Content::to_text).transpose()?)
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
