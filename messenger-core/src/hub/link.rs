use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use super::mailbox::Mailbox;
use crate::{
    Actor,
    domain::{ChatId, ConnectionId, Revision, SessionId, Timestamp, UserId},
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
    /// The [count](crate::ports::UserRecord::memberships) at which this connection was let into all chats of its
    /// person.
    memberships: AtomicU64,
    places: Mutex<Places>,
}

/// Where the hub has an entry for this connection.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) chats: HashMap<ChatId, Place, BuildHasherDefault<IdHasher>>,
    /// People whose comings and goings are told.
    pub(super) watched: HashMap<UserId, Watch>,
    /// Once the connection is gone, nothing may be entered any more.
    pub(super) gone: bool,
}

/// Why a person is watched, and what was told of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Watch {
    /// The other side of a direct chat.
    pub(super) peer: bool,
    /// The client has asked for it.
    pub(super) asked: bool,
    /// Whether the person was there when the client was last told.
    pub(super) online: Option<bool>,
}

/// A connection's place in a chat.
///
/// Whether it has a seat is for the [room](super::room::Room) to say, under the room's lock; the rest is for its
/// [`Connection`](super::Connection).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// A revision, and [`SEAT`](Self::SEAT).
    known: u64,
    /// A revision, or [`NOTHING`](Self::NOTHING).
    told: u64,
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
            memberships: AtomicU64::new(0),
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

    pub(super) fn memberships(&self) -> u64 {
        self.memberships.load(Ordering::Relaxed)
    }

    pub(super) fn has_entered(&self, memberships: u64) {
        self.memberships.fetch_max(memberships, Ordering::Relaxed);
    }

    pub(super) fn places(&self) -> MutexGuard<'_, Places> {
        // Nothing panics while it holds the lock.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the client has of a chat.
    pub(super) fn told(&self, chat: ChatId) -> Option<Revision> {
        self.places().chats.get(&chat)?.told()
    }

    /// Whether it is news to the client that this person has come or gone; from now on it is none.
    pub(super) fn is_news(&self, user: UserId, online: bool) -> bool {
        let mut places = self.places();
        places.watched.get_mut(&user).is_some_and(|watch| watch.online.replace(online) != Some(online))
    }

    /// The client has been given the whole chat up to here.
    pub(super) fn give(&self, chat: ChatId, revision: Revision) {
        self.places().chats.entry(chat).or_default().give(revision);
    }

    /// The client does not have the chat any more.
    pub(super) fn forget(&self, chat: ChatId) {
        self.places().chats.entry(chat).or_default().forget();
    }
}

impl Places {
    /// Whether the connection has a seat in the chat, and what was read of it at `revision` is no older than that.
    pub(super) fn is_seated_since(&self, chat: ChatId, revision: Revision) -> bool {
        self.chats.get(&chat).is_some_and(|place| place.has_seat() && place.known() <= revision)
    }
}

impl Place {
    /// Far above all revisions: no chat changes so often.
    const SEAT: u64 = 1 << 63;
    const NOTHING: u64 = u64::MAX;

    pub(super) const fn has_seat(self) -> bool {
        self.known & Self::SEAT != 0
    }

    pub(super) const fn seat(&mut self) {
        self.known |= Self::SEAT;
    }

    pub(super) const fn unseat(&mut self) {
        self.known &= !Self::SEAT;
    }

    /// The person was a member then, and the client was given, or is about to be given, all there was of the chat: what
    /// the room has to say of it up to here, it does not say to this client.
    pub(super) const fn known(self) -> Revision {
        Revision::new(self.known & !Self::SEAT)
    }

    pub(super) fn know(&mut self, revision: Revision) {
        self.known = self.known().max(revision).get() | self.known & Self::SEAT;
    }

    /// The last change that the client has; `None` if it does not have the chat.
    pub(super) fn told(self) -> Option<Revision> {
        (self.told != Self::NOTHING).then(|| Revision::new(self.told))
    }

    pub(super) fn tell(&mut self, revision: Revision) {
        self.told = revision.get();
    }

    pub(super) fn give(&mut self, revision: Revision) {
        self.know(revision);
        self.tell(revision);
    }

    pub(super) fn forget(&mut self) {
        self.told = Self::NOTHING;
    }
}

impl Default for Place {
    fn default() -> Self {
        Self { known: 0, told: Self::NOTHING }
    }
}

/// Takes the random part of an id for its hash. Only for ids that this side has made: those of strangers could be chosen
/// to be alike.
#[derive(Debug, Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        // The last bytes of a UUIDv7 are random, those before them in part.
        if let Some(last) = bytes.last_chunk() {
            self.0 ^= u64::from_be_bytes(*last);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
