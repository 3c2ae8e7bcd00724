use std::{
    collections::HashSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use super::mailbox::Mailbox;
use crate::{
    Actor,
    domain::{ChatId, ConnectionId, SessionId, Timestamp, UserId},
    ports::Lease,
};

/// A connection as the hub knows it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: ConnectionId,
    pub(super) user: UserId,
    pub(super) session: Option<SessionId>,
    pub(super) mailbox: Mailbox,
    /// Microseconds since 1970; `i64::MAX` if never.
    expires_at: AtomicI64,
    places: Mutex<Places>,
}

/// Where the hub has an entry for this connection.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) chats: HashSet<ChatId>,
    pub(super) watched: HashSet<UserId>,
    /// Those of the watched whom the client has asked for.
    pub(super) asked: HashSet<UserId>,
    /// Once the connection is gone, nothing may be entered any more.
    pub(super) gone: bool,
}

impl Link {
    pub(super) fn new(id: ConnectionId, user: UserId, actor: &Actor, mailbox: Mailbox) -> Self {
        let expires_at = actor.expires_at().map_or(i64::MAX, Timestamp::as_micros);
        Self {
            id,
            user,
            session: actor.session(),
            mailbox,
            expires_at: AtomicI64::new(expires_at),
            places: Mutex::default(),
        }
    }

    pub(super) fn lease(&self) -> Lease {
        Lease { user: self.user, connection: self.id }
    }

    pub(super) fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.load(Ordering::Relaxed) <= now.as_micros()
    }

    pub(super) fn expires_at(&self) -> Timestamp {
        Timestamp::from_micros(self.expires_at.load(Ordering::Relaxed))
    }

    pub(super) fn extend(&self, expires_at: Timestamp) {
        self.expires_at.fetch_max(expires_at.as_micros(), Ordering::Relaxed);
    }

    pub(super) fn places(&self) -> MutexGuard<'_, Places> {
        // Nothing panics while it holds the lock.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
