use async_trait::async_trait;

use super::SealedStore;
use crate::{
    domain::{SessionId, Timestamp, TokenHash, UserId},
    encryption::place::Place,
    ports::{NewSession, SessionRecord, SessionStore, StoreResult},
};

impl SealedStore {
    pub(super) async fn seal_session(&self, session: NewSession) -> StoreResult<NewSession> {
        let place = Place::Device { session: session.id, user: session.user_id };
        let device = match &session.device {
            Some(device) => Some(self.sealer.seal_text(&place, device).await?),
            None => None,
        };
        Ok(NewSession { device, ..session })
    }
}

#[async_trait]
impl SessionStore for SealedStore {
    async fn create_session(
        &self,
        session: NewSession,
        expected: u64,
        max: usize,
    ) -> StoreResult<Vec<SessionId>> {
        let session = self.seal_session(session).await?;
        self.inner.create_session(session, expected, max).await
    }

    async fn session_by_token(&self, token: &TokenHash) -> StoreResult<SessionRecord> {
        let mut session = self.inner.session_by_token(token).await?;
        self.open_sessions(vec![&mut session]).await?;
        Ok(session)
    }

    async fn sessions(&self, user: UserId) -> StoreResult<Vec<SessionRecord>> {
        let mut sessions = self.inner.sessions(user).await?;
        self.open_sessions(sessions.iter_mut().collect()).await?;
        Ok(sessions)
    }

    async fn touch_session(
        &self,
        session: SessionId,
        used: Timestamp,
        expires: Timestamp,
    ) -> StoreResult<()> {
        self.inner.touch_session(session, used, expires).await
    }

    async fn end_session(&self, user: UserId, session: SessionId) -> StoreResult<()> {
        self.inner.end_session(user, session).await
    }

    async fn remove_expired_sessions(&self, now: Timestamp, limit: usize) -> StoreResult<usize> {
        self.inner.remove_expired_sessions(now, limit).await
    }

    async fn existing_sessions(&self, sessions: &[SessionId]) -> StoreResult<Vec<SessionId>> {
        self.inner.existing_sessions(sessions).await
    }
}
