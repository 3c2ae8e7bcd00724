use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
};

use super::{lock::lock, mailbox::Mailbox};
use crate::{
    Actor,
    domain::{ChatId, ConnectionId, Revision, SessionId, Timestamp, UserId},
    ports::Lease,
};

/// The hub's record of a connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: ConnectionId,
    pub(super) user: UserId,
    pub(super) session: Option<SessionId>,
    pub(super) mailbox: Mailbox,
    /// Microseconds since 1970; `i64::MAX` if never.
    expires_at: AtomicI64,
    /// The [count](crate::ports::UserRecord::memberships) at which this connection joined the rooms of all chats of its
    /// person, or `ENTERING`.
    memberships: AtomicU64,
    /// How many chats were named in the parts of a resume that is not complete yet.
    named: AtomicUsize,
    state: Mutex<LinkState>,
}

/// The state of this connection in rooms and as a watcher.
#[derive(Debug, Default)]
pub(super) struct LinkState {
    pub(super) chats: HashMap<ChatId, ChatState, BuildHasherDefault<IdHasher>>,
    /// People whose presence the client is told.
    pub(super) watched: HashMap<UserId, Watch>,
    /// Once the connection is gone, it may join no more rooms.
    pub(super) gone: bool,
}

/// Why a person is watched, and what the client was last told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Watch {
    /// The person is the peer of a direct chat.
    pub(super) peer: bool,
    /// The client has asked to watch the person.
    pub(super) asked: bool,
    /// Whether the person was online when the client was last told.
    pub(super) online: Option<bool>,
}

/// A connection's state in a chat: whether it has joined the [room](super::room::Room), and what its client has.
///
/// The room is ahead of the client by what waits in the mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChatState {
    // Revisions, or `NONE`. Options would take twice the memory.
    member_at: u64,
    snapshot: u64,
    delivered: u64,
}

impl Link {
    /// No count of memberships is this high.
    const ENTERING: u64 = u64::MAX;

    pub(super) fn new(id: ConnectionId, user: UserId, actor: &Actor, mailbox: Mailbox) -> Self {
        let expires_at = actor.expires_at().map_or(i64::MAX, Timestamp::as_micros);
        Self {
            id,
            user,
            session: actor.session(),
            mailbox,
            expires_at: AtomicI64::new(expires_at),
            memberships: AtomicU64::new(Self::ENTERING),
            named: AtomicUsize::new(0),
            state: Mutex::default(),
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

    /// Whether the person was added to chats after this connection joined the rooms of all chats there were. While it
    /// joins them for the first time it lacks none: showing chats that the client is about to receive could fill its
    /// mailbox.
    pub(super) fn lacks_chats(&self, memberships: u64) -> bool {
        self.memberships.load(Ordering::Relaxed) < memberships
    }

    pub(super) fn has_entered(&self, memberships: u64) {
        let latest = |known| Some(if known == Self::ENTERING { memberships } else { memberships.max(known) });
        // The closure always returns a value, so the update never fails.
        let _ = self.memberships.fetch_update(Ordering::Relaxed, Ordering::Relaxed, latest);
    }

    pub(super) fn named(&self) -> usize {
        self.named.load(Ordering::Relaxed)
    }

    /// Returns how many chats were named before.
    pub(super) fn has_named(&self, chats: usize) -> usize {
        self.named.swap(chats, Ordering::Relaxed)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, LinkState> {
        lock(&self.state)
    }

    /// The client's revision of a chat.
    pub(super) fn delivered(&self, chat: ChatId) -> Option<Revision> {
        self.state().chats.get(&chat)?.delivered()
    }

    /// Whether the client has yet to be told that this person is online or offline; from now on it counts as told.
    pub(super) fn is_news(&self, user: UserId, online: bool) -> bool {
        let mut link_state = self.state();
        link_state.watched.get_mut(&user).is_some_and(|watch| watch.online.replace(online) != Some(online))
    }

    /// Records that the client has been given the whole chat up to this revision.
    pub(super) fn set_snapshot(&self, chat: ChatId, revision: Revision) {
        self.state().chats.entry(chat).or_default().set_snapshot(revision);
    }

    /// Records that the client no longer has the chat.
    pub(super) fn forget(&self, chat: ChatId) {
        self.state().chats.entry(chat).or_default().forget();
    }
}

impl LinkState {
    /// Whether the connection has joined the room of the chat, and data of the chat read at `revision` is no older than
    /// that.
    pub(super) fn has_joined_since(&self, chat: ChatId, revision: Revision) -> bool {
        let member_at = self.chats.get(&chat).and_then(|chat_state| chat_state.member_at());
        member_at.is_some_and(|member_at| member_at <= revision)
    }
}

impl ChatState {
    const NONE: u64 = u64::MAX;

    pub(super) const fn has_joined(self) -> bool {
        self.member_at != Self::NONE
    }

    /// The latest revision at which the person is known to be a member, if the connection has joined. Earlier changes
    /// of their membership in the room no longer apply.
    pub(super) fn member_at(self) -> Option<Revision> {
        self.has_joined().then(|| Revision::new(self.member_at))
    }

    /// Joins, or stays, with the person a member at `revision`.
    pub(super) fn join(&mut self, revision: Revision) {
        self.member_at = self.member_at().map_or(revision, |known| known.max(revision)).get();
    }

    pub(super) const fn leave(&mut self) {
        self.member_at = Self::NONE;
    }

    /// The last change that the client has; `None` if it does not have the chat.
    pub(super) fn delivered(self) -> Option<Revision> {
        (self.delivered != Self::NONE).then(|| Revision::new(self.delivered))
    }

    pub(super) fn set_delivered(&mut self, revision: Revision) {
        self.delivered = revision.get();
    }

    /// The client was given the whole chat, not single changes, up to this revision.
    pub(super) const fn snapshot(self) -> Revision {
        Revision::new(self.snapshot)
    }

    pub(super) fn set_snapshot(&mut self, revision: Revision) {
        self.snapshot = revision.get();
        self.delivered = revision.get();
    }

    pub(super) const fn forget(&mut self) {
        (self.snapshot, self.delivered) = (0, Self::NONE);
    }
}

impl Default for ChatState {
    fn default() -> Self {
        Self { member_at: Self::NONE, snapshot: 0, delivered: Self::NONE }
    }
}

/// The leases of these connections.
pub(super) fn leases(group: &Mutex<Vec<Arc<Link>>>) -> Vec<Lease> {
    lock(group).iter().map(|link| link.lease()).collect()
}

/// Uses the random part of an id as its hash. Only for ids generated by this service: strangers could choose ids that
/// collide.
#[derive(Debug, Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        // The last bytes of a UUIDv7 are random; those before them are only partly random.
        if let Some(last) = bytes.last_chunk() {
            self.0 = u64::from_be_bytes(*last);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashSet,
        hash::{BuildHasher as _, BuildHasherDefault},
    };

    use super::*;
    use crate::context::Context;

    #[test]
    fn ids_that_are_made_one_after_the_other_lie_apart() {
        let context = Context::system();
        let hashes: Vec<u64> = (0..1000)
            .map(|_| BuildHasherDefault::<IdHasher>::default().hash_one(context.id::<crate::Chat>()))
            .collect();
        // A hash table uses the lowest bits for the bucket, and the highest to tell entries of a bucket apart.
        let lowest: HashSet<u64> = hashes.iter().map(|hash| hash & 0xff).collect();
        let highest: HashSet<u64> = hashes.iter().map(|hash| hash >> 57).collect();
        assert!(lowest.len() > 200 && highest.len() > 20, "{} and {}", lowest.len(), highest.len());
    }
}
