use async_trait::async_trait;

use super::{
    chats::ChatStore, contents::ContentStore, error::StoreResult, jobs::JobStore, keys::KeyStore,
    markers::MarkerStore, messages::MessageStore, retention::RetentionStore, schedules::ScheduleStore,
    sessions::SessionStore, unread::UnreadStore, users::UserStore,
};

/// The whole store.
///
/// # Behavior
/// - `dropped_future_leaves_nothing_half_done`: a future of any method may be dropped at any await; the intent is then
///   carried out as a whole or not at all, and later calls are not affected.
/// - `intents_left_alone_keep_nobody_waiting`: an operation that has begun continues whether or not its caller polls
///   it. Futures that were polled once and then neither polled nor dropped, however many, hold nothing that others
///   need, such as one of a few connections or a place in the queue for one; when polled again, they give their
///   answers.
/// - `intents_of_all_kinds_left_alone_keep_nobody_waiting`
/// - `intents_dropped_half_way_keep_nobody_waiting`
/// - `racing_writers_of_all_kinds_get_along`: each gets an outcome that the ports define, never a deadlock.
#[async_trait]
pub trait Store:
    UserStore
    + SessionStore
    + ChatStore
    + MessageStore
    + MarkerStore
    + UnreadStore
    + JobStore
    + ScheduleStore
    + KeyStore
    + RetentionStore
    + ContentStore
{
    /// The capabilities of this store. They stay the same for as long as the store is open.
    fn capabilities(&self) -> Capabilities;

    /// Checks whether the store can be reached and written to now.
    ///
    /// # Behavior
    /// - `open_store_answers_a_ping`
    async fn ping(&self) -> StoreResult<()>;

    /// Finishes running work and releases connections and files. Later calls are `Unavailable`.
    ///
    /// # Behavior
    /// - `closed_store_is_unavailable`
    async fn close(&self);
}

/// The capabilities of a store, as data: so a wrapper also passes on those it does not know.
///
/// ```
/// use messenger_core::ports::Capabilities;
///
/// assert_eq!(Capabilities::default().append_lanes, 1);
/// assert_eq!(Capabilities::default().with_append_lanes(4).append_lanes, 4);
/// assert!(!Capabilities::default().with_display_names_found(false).display_names_are_found);
/// assert!(!Capabilities::default().with_shared(false).shared);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// How many batches of [`MessageStore::append_messages`] may usefully run at the same time: one for a store with a
    /// single writer. At least 1; default: 1. Messages of one chat are never in two batches at once.
    pub append_lanes: usize,
    /// Whether people can also be found by their display names. A wrapper that leaves the
    /// [keys](super::StoredName::key) of display names empty sets it to false, and then the core does not treat any
    /// account as found by that name. Default: true.
    pub display_names_are_found: bool,
    /// Whether other processes may write to it, so that what has [changed](super::ChatStore::changed_since) must be asked for
    /// every few seconds. Default: true.
    pub shared: bool,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self { append_lanes: 1, display_names_are_found: true, shared: true }
    }
}

impl Capabilities {
    /// Sets [`append_lanes`](Self::append_lanes).
    #[must_use]
    pub const fn with_append_lanes(self, append_lanes: usize) -> Self {
        Self { append_lanes, ..self }
    }

    /// Sets [whether display names are found](Self::display_names_are_found).
    #[must_use]
    pub const fn with_display_names_found(self, display_names_are_found: bool) -> Self {
        Self { display_names_are_found, ..self }
    }

    /// Sets [whether other processes may write to it](Self::shared).
    #[must_use]
    pub const fn with_shared(self, shared: bool) -> Self {
        Self { shared, ..self }
    }
}
