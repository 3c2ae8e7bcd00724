use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;

use super::MemoryStore;
use crate::{
    domain::{SessionId, Timestamp, TokenHash, UserId},
    ports::{NewSession, SessionRecord, SessionStore, StoreErrorKind, StoreResult, Unique},
};

#[async_trait]
impl SessionStore for MemoryStore {
    async fn create_session(
        &self,
        session: NewSession,
        expected: u64,
        max: usize,
    ) -> StoreResult<Vec<SessionId>> {
        let mut state = self.lock()?;
        state.users.expect(session.user_id, expected)?;
        state.sessions.check_free(&session)?;
        let user = session.user_id;
        state.sessions.insert(session);
        Ok(state.sessions.end_beyond(user, max))
    }

    async fn session_by_token(&self, token: &TokenHash) -> StoreResult<SessionRecord> {
        let state = self.lock()?;
        let id = state.sessions.by_token.get(token);
        let stored = id.and_then(|id| state.sessions.by_id.get(id));
        stored.map(|stored| stored.record.clone()).ok_or_else(|| StoreErrorKind::NotFound.into())
    }

    async fn sessions(&self, user: UserId) -> StoreResult<Vec<SessionRecord>> {
        let mut sessions: Vec<_> = self.lock()?.sessions.of(user).cloned().collect();
        sessions.sort_by_key(|session| std::cmp::Reverse((session.created_at, session.id)));
        Ok(sessions)
    }

    async fn touch_session(
        &self,
        session: SessionId,
        used: Timestamp,
        expires: Timestamp,
    ) -> StoreResult<()> {
        if let Some(stored) = self.lock()?.sessions.by_id.get_mut(&session) {
            stored.record.last_used_at = stored.record.last_used_at.max(used);
            stored.record.expires_at = stored.record.expires_at.max(expires);
        }
        Ok(())
    }

    async fn end_session(&self, user: UserId, session: SessionId) -> StoreResult<()> {
        let mut state = self.lock()?;
        if state.sessions.by_id.get(&session).is_none_or(|stored| stored.record.user_id != user) {
            return Err(StoreErrorKind::NotFound.into());
        }
        state.sessions.end(session);
        Ok(())
    }

    async fn remove_expired_sessions(&self, now: Timestamp, limit: usize) -> StoreResult<usize> {
        let mut state = self.lock()?;
        let expired = state.sessions.by_id.values().filter(|stored| stored.record.expires_at < now);
        let expired: Vec<_> = expired.map(|stored| stored.record.id).take(limit).collect();
        expired.iter().for_each(|session| state.sessions.end(*session));
        Ok(expired.len())
    }

    async fn existing_sessions(&self, sessions: &[SessionId]) -> StoreResult<Vec<SessionId>> {
        let state = self.lock()?;
        Ok(super::users::distinct(sessions).filter(|id| state.sessions.by_id.contains_key(id)).collect())
    }
}

/// The sessions and their indexes.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_id: BTreeMap<SessionId, Stored>,
    by_token: HashMap<TokenHash, SessionId>,
    by_user: HashMap<UserId, Vec<SessionId>>,
}

#[derive(Debug)]
struct Stored {
    record: SessionRecord,
    token: TokenHash,
}

impl Sessions {
    pub(super) fn check_free(&self, session: &NewSession) -> StoreResult<()> {
        if self.by_id.contains_key(&session.id) || self.by_token.contains_key(&session.token_hash) {
            return Err(StoreErrorKind::AlreadyExists(Unique::Id).into());
        }
        Ok(())
    }

    pub(super) fn insert(&mut self, session: NewSession) {
        self.by_token.insert(session.token_hash, session.id);
        self.by_user.entry(session.user_id).or_default().push(session.id);
        let record = SessionRecord {
            id: session.id,
            user_id: session.user_id,
            device: session.device,
            created_at: session.created_at,
            last_used_at: session.created_at,
            expires_at: session.expires_at,
        };
        self.by_id.insert(session.id, Stored { record, token: session.token_hash });
    }

    /// Ends the person's sessions, except `keep`.
    pub(super) fn end_all(&mut self, user: UserId, keep: Option<SessionId>) -> Vec<SessionId> {
        let ended: Vec<_> = self.of(user).map(|session| session.id).filter(|id| Some(*id) != keep).collect();
        ended.iter().for_each(|session| self.end(*session));
        ended
    }

    fn end_beyond(&mut self, user: UserId, max: usize) -> Vec<SessionId> {
        let mut by_use: Vec<_> = self.of(user).map(|session| (session.last_used_at, session.id)).collect();
        by_use.sort_unstable();
        by_use.truncate(by_use.len().saturating_sub(max));
        let ended: Vec<_> = by_use.into_iter().map(|(_, session)| session).collect();
        ended.iter().for_each(|session| self.end(*session));
        ended
    }

    fn of(&self, user: UserId) -> impl Iterator<Item = &SessionRecord> {
        let ids = self.by_user.get(&user).into_iter().flatten();
        ids.filter_map(|id| self.by_id.get(id)).map(|stored| &stored.record)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &SessionRecord> {
        self.by_id.values().map(|stored| &stored.record)
    }

    pub(super) fn get_mut(&mut self, session: SessionId) -> Option<&mut SessionRecord> {
        self.by_id.get_mut(&session).map(|stored| &mut stored.record)
    }

    fn end(&mut self, session: SessionId) {
        let Some(stored) = self.by_id.remove(&session) else { return };
        self.by_token.remove(&stored.token);
        if let Some(sessions) = self.by_user.get_mut(&stored.record.user_id) {
            sessions.retain(|id| *id != session);
        }
    }
}
