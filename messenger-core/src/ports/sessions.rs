use async_trait::async_trait;

use super::{Content, StoreResult};
use crate::domain::{SessionId, Timestamp, TokenHash, UserId};

/// The sessions of accounts.
#[async_trait]
pub trait SessionStore: Send + Sync + 'static {
    /// Stores a session of a person whose account has the version `expected`: that of the password with which they
    /// logged in. If the person then has more than `max`, the least recently used ones are ended. Returns the ended
    /// sessions.
    ///
    /// # Behavior
    /// - `create_session_can_be_found_by_its_token`
    /// - `create_session_of_unknown_or_erased_user_is_not_found`
    /// - `create_session_conflicts_with_an_older_version`: nothing is stored, and no session ends.
    /// - `create_session_with_a_former_password_leaves_none`: however many change the password at the same time.
    /// - `create_session_ends_the_longest_unused_beyond_the_limit`
    async fn create_session(
        &self,
        session: NewSession,
        expected: u64,
        max: usize,
    ) -> StoreResult<Vec<SessionId>>;

    /// Finds the session of a token, even if it has expired.
    ///
    /// # Behavior
    /// - `session_by_unknown_token_is_not_found`
    async fn session_by_token(&self, token: &TokenHash) -> StoreResult<SessionRecord>;

    /// Lists the person's sessions, newest first.
    ///
    /// # Behavior
    /// - `sessions_lists_only_ones_own`
    async fn sessions(&self, user: UserId) -> StoreResult<Vec<SessionRecord>>;

    /// Moves `last_used_at` and `expires_at` forward, never back. Unknown sessions are ignored.
    ///
    /// # Behavior
    /// - `touch_session_only_moves_forward`
    async fn touch_session(&self, session: SessionId, used: Timestamp, expires: Timestamp)
    -> StoreResult<()>;

    /// Ends a session of this person.
    ///
    /// # Behavior
    /// - `end_session_of_somebody_else_is_not_found`
    /// - `end_session_makes_its_token_unknown`
    async fn end_session(&self, user: UserId, session: SessionId) -> StoreResult<()>;

    /// Removes at most `limit` sessions whose `expires_at` is before `now`, and returns how many were removed.
    ///
    /// # Behavior
    /// - `remove_expired_sessions_keeps_the_live_ones`
    async fn remove_expired_sessions(&self, now: Timestamp, limit: usize) -> StoreResult<usize>;

    /// Returns those of the sessions that exist.
    ///
    /// # Behavior
    /// - `existing_sessions_skips_the_ended`
    async fn existing_sessions(&self, sessions: &[SessionId]) -> StoreResult<Vec<SessionId>>;
}

/// A session to store.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Its id.
    pub id: SessionId,
    /// The person who is logged in.
    pub user_id: UserId,
    /// The hash of its token.
    pub token_hash: TokenHash,
    /// The device it is used on: plain, or sealed as text by a wrapper. At most 800 UTF-16 code units.
    pub device: Option<Content>,
    /// When the person logged in, which is also when it was last used.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// A session as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// Its id.
    pub id: SessionId,
    /// The person who is logged in.
    pub user_id: UserId,
    /// The device it is used on, as in [`NewSession::device`].
    pub device: Option<Content>,
    /// When the person logged in.
    pub created_at: Timestamp,
    /// When it was last used.
    pub last_used_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
}
