//! What the domain needs from outside: a store, presence, and a bus between nodes.
//!
//! Every method is an *intent*: it succeeds or fails as a whole. The `# Behavior` list of a method is its
//! contract, and each point has a case in the conformance kit (feature `testkit`). No method has a default
//! body, so that a wrapper can't forget one.

mod bus;
mod chats;
mod error;
mod markers;
mod messages;
mod presence;
mod sessions;
mod users;

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use bus::{Bus, BusError, BusEvent, BusMessage, Hint, NodeId, Subscription, Topic};
pub use chats::{
    Activity, ChatHead, ChatRecord, ChatStore, ChatView, DirectChat, MemberChat, MemberRecord, Membership,
    Memberships, NewGroup, NewSystemMessage, Opened, Roster, RosterChange, RosterChanged,
};
pub use error::{StoreError, StoreErrorKind, StoreResult, Unique};
pub use markers::{MarkerMoved, MarkerStore, MoveMarker};
pub use messages::{
    Anchor, Appended, Budget, Changes, DeleteMessage, EditMessage, Fingerprint, HistoryRange, MessageRecord,
    MessageStore, NewMessage,
};
pub use presence::{Lease, Presence, PresenceError, PresenceState, WentOffline};
pub use sessions::{NewSession, SessionRecord, SessionStore};
pub use users::{FoundUser, LoginKey, NamePlace, NewUser, StoredAddress, UpdateUser, UserRecord, UserStore};

/// All that is stored.
///
/// # Behavior
/// - `dropped_future_leaves_nothing_half_done`: a future of any method may be dropped at any await; the intent
///   is then done as a whole or not at all, and later calls are not disturbed.
/// - `intents_left_alone_keep_nobody_waiting`: what a method has begun goes on wherever its caller is. However many
///   futures were polled once and are then left alone, not dropped, they hold nothing that others need, such as one
///   of a few connections or a place in the queue for one; polled again, they give their answers.
/// - `intents_of_all_kinds_left_alone_keep_nobody_waiting`
/// - `intents_dropped_half_way_keep_nobody_waiting`
/// - `racing_writers_of_all_kinds_get_along`: they are answered as the ports say, never with a deadlock.
#[async_trait]
pub trait Store: UserStore + SessionStore + ChatStore + MessageStore + MarkerStore {
    /// What this store can do, and how it is best used. It stays the same for as long as the store is open.
    fn capabilities(&self) -> Capabilities;

    /// Whether the store can be reached and written to now.
    ///
    /// # Behavior
    /// - `open_store_answers_a_ping`
    async fn ping(&self) -> StoreResult<()>;

    /// Finishes what is under way and lets go of connections and files. Later calls are `Unavailable`.
    ///
    /// # Behavior
    /// - `closed_store_is_unavailable`
    async fn close(&self);
}

/// What a store can do, and how it is best used, as data: so a wrapper passes on also what it knows nothing of.
///
/// ```
/// use messenger_core::ports::Capabilities;
///
/// assert_eq!(Capabilities::default().append_lanes, 1);
/// assert_eq!(Capabilities::default().with_append_lanes(4).append_lanes, 4);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// How many batches of [`MessageStore::append_messages`] make sense at the same time: one for a store with a single
    /// writer. At least 1; default: 1. Messages of one chat are never in two batches at once.
    pub append_lanes: usize,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self { append_lanes: 1 }
    }
}

impl Capabilities {
    /// With this many [`append_lanes`](Self::append_lanes).
    #[must_use]
    pub const fn with_append_lanes(self, append_lanes: usize) -> Self {
        Self { append_lanes }
    }
}

/// Bytes that a store keeps and does not look into: UTF-8 text, or what an encrypting wrapper made of it.
///
/// ```
/// use messenger_core::ports::Content;
///
/// assert_eq!(Content::from("hello").to_text().unwrap(), "hello");
/// assert_eq!(format!("{:?}", Content::from("hello")), "Content(5 bytes)");
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content(pub Vec<u8>);

impl Content {
    /// The text; `Corrupt` if it is none, for instance because it is sealed.
    pub fn to_text(&self) -> StoreResult<&str> {
        std::str::from_utf8(&self.0).map_err(|error| StoreError::new(StoreErrorKind::Corrupt, error))
    }

    /// The text, without a copy.
    pub fn into_text(self) -> StoreResult<String> {
        String::from_utf8(self.0)
            .map_err(|error| StoreError::new(StoreErrorKind::Corrupt, error.utf8_error()))
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} bytes)", self.0.len())
    }
}
