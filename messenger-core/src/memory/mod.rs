//! The ports in memory: for tests, for experiments, and as the model that other backends are compared with.

mod bus;
mod chats;
mod contents;
mod jobs;
mod keys;
mod markers;
mod messages;
mod notifier;
mod presence;
mod retention;
mod schedules;
mod sessions;
mod unread;
mod users;

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher as _, RandomState},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;

use self::{
    chats::ChatState, jobs::Jobs, retention::Retained, schedules::Schedule, sessions::Sessions, users::Users,
};
use crate::{
    domain::{ChatId, ClientId, MessageId, Seq, UserId},
    ports::{Capabilities, Fingerprint, KeyId, ScheduleName, Store, StoreErrorKind, StoreResult, StoredKey},
};

pub use self::{bus::MemoryBus, notifier::MemoryNotifier, presence::MemoryPresence};

/// A [`Store`] that forgets everything when the process ends.
///
/// ```
/// use messenger_core::{context::Context, memory::MemoryStore, ports::{ChatStore, StoreErrorKind}};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let (store, context) = (MemoryStore::new(), Context::fixed());
/// let error = store.roster(context.id()).await.unwrap_err();
/// assert_eq!(error.kind(), StoreErrorKind::NotFound);
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
    closed: AtomicBool,
}

impl MemoryStore {
    /// Makes an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// The lock is held during one intent and never over an await, so every intent is one atomic step.
    fn lock(&self) -> StoreResult<MutexGuard<'_, State>> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StoreErrorKind::Unavailable.into());
        }
        // Poisoned: an intent panicked half-way, so the state can't be trusted.
        self.state.lock().map_err(|_| StoreErrorKind::Corrupt.into())
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn ping(&self) -> StoreResult<()> {
        self.lock().map(drop)
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }
}

/// All that is stored.
#[derive(Debug, Default)]
struct State {
    users: Users,
    sessions: Sessions,
    jobs: Jobs,
    schedules: BTreeMap<ScheduleName, Schedule>,
    keys: BTreeMap<KeyId, StoredKey>,
    retained: Retained,
    chats: HashMap<ChatId, ChatState>,
    /// Direct chats by their [pair key](crate::ports::DirectChat::pair_key).
    pairs: HashMap<[u8; 32], ChatId>,
    /// Groups by creator and client id.
    groups: HashMap<(UserId, ClientId), (ChatId, Fingerprint)>,
    /// Where each message is.
    places: HashMap<MessageId, (ChatId, Seq)>,
    /// Text messages by sender and client id.
    client_ids: HashMap<(UserId, ClientId), MessageId>,
    /// The chats that each person is or ever was a member of.
    joined: HashMap<UserId, Vec<ChatId>>,
    /// The number of commits that changed a chat.
    commits: u64,
    history: History,
}

impl State {
    const fn next_commit(&mut self) -> u64 {
        self.commits += 1;
        self.commits
    }
}

/// Identifies the store: a new store counts its commits from the beginning.
#[derive(Debug)]
struct History(u64);

impl Default for History {
    fn default() -> Self {
        Self(RandomState::new().hash_one(()))
    }
}
