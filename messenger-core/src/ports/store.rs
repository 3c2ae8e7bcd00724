use async_trait::async_trait;

use super::{
    chats::ChatStore, error::StoreResult, markers::MarkerStore, messages::MessageStore,
    sessions::SessionStore, users::UserStore,
};

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
/// assert!(!Capabilities::default().with_display_names_found(false).display_names_are_found);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// How many batches of [`MessageStore::append_messages`] make sense at the same time: one for a store with a single
    /// writer. At least 1; default: 1. Messages of one chat are never in two batches at once.
    pub append_lanes: usize,
    /// Whether people are found by their display names, too. A wrapper that makes the [keys](super::StoredName::key)
    /// of display names empty says no, and then the core takes no account for one found by that name. Default: true.
    pub display_names_are_found: bool,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self { append_lanes: 1, display_names_are_found: true }
    }
}

impl Capabilities {
    /// With this many [`append_lanes`](Self::append_lanes).
    #[must_use]
    pub const fn with_append_lanes(self, append_lanes: usize) -> Self {
        Self { append_lanes, ..self }
    }

    /// With display names that are [found](Self::display_names_are_found) or not.
    #[must_use]
    pub const fn with_display_names_found(self, display_names_are_found: bool) -> Self {
        Self { display_names_are_found, ..self }
    }
}
