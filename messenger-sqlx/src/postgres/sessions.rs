use async_trait::async_trait;
use messenger_core::{
    SessionId, Timestamp, TokenHash, UserId,
    ports::{Content, NewSession, SessionRecord, SessionStore, StoreErrorKind, StoreResult},
};
use messenger_sql::columns::rows;

use super::{connections::Mode, sql::Bind as _, store::PostgresStore, users};

#[async_trait]
impl SessionStore for PostgresStore {
    async fn create_session(
        &self,
        session: NewSession,
        expected: u64,
        max: usize,
    ) -> StoreResult<Vec<SessionId>> {
        let user = session.user_id;
        let insert = self
            .query(&self.sql().sessions.insert)
            .bytes(&session.token_hash.0)
            .id(session.id)
            .id(user)
            .bind(session.device.map(Content::into_text).transpose()?)
            .time(session.created_at)
            .time(session.expires_at);
        let end_beyond = self.query(&self.sql().sessions.end_beyond).id(user).bind(rows(max));
        self.run(Mode::Transaction, move |session| {
            Box::pin(async move {
                users::lock_version(session, user, expected).await?;
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
        self.run(Mode::Statement, |session| Box::pin(async move { session.execute(query).await.map(drop) }))
            .await
    }

    async fn end_session(&self, user: UserId, session: SessionId) -> StoreResult<()> {
        let query = self.query(&self.sql().sessions.end).id(session).id(user);
        let ended = self.run(Mode::Statement, |session| Box::pin(session.execute(query))).await?;
        if ended == 0 { Err(StoreErrorKind::NotFound.into()) } else { Ok(()) }
    }

    async fn remove_expired_sessions(&self, now: Timestamp, limit: usize) -> StoreResult<usize> {
        let query = self.query(&self.sql().sessions.remove_expired).time(now).bind(rows(limit));
        let removed = self.run(Mode::Statement, |session| Box::pin(session.execute(query))).await?;
        Ok(usize::try_from(removed).unwrap_or(limit))
    }

    async fn existing_sessions(&self, sessions: &[SessionId]) -> StoreResult<Vec<SessionId>> {
        let query = self.query(&self.sql().sessions.existing).ids(sessions);
        self.all(query, |columns| columns.id()).await
    }
}
