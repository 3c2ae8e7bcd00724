//! What watchers are told while a part of presence is away.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use async_trait::async_trait;

use super::*;
use crate::{
    Actor, Messenger, PasswordCost,
    context::Context,
    doc,
    memory::{MemoryPresence, MemoryStore},
    ports::{Lease, PresenceError, PresenceState, PresenceStore, WentOffline},
    queries::GetPresence,
};

/// Presence on several servers, where those of some people may be away.
struct Parts {
    inner: MemoryPresence,
    away: Mutex<HashSet<UserId>>,
    queries: AtomicUsize,
}

impl Parts {
    fn new() -> Arc<Self> {
        let inner = MemoryPresence::new(Arc::clone(Context::system().clock()));
        Arc::new(Self { inner, away: Mutex::default(), queries: AtomicUsize::new(0) })
    }

    fn takes_away(&self, users: impl IntoIterator<Item = UserId>) {
        *self.away.lock().unwrap() = users.into_iter().collect();
    }

    /// Whether this can be reached.
    fn has(&self, user: UserId) -> bool {
        !self.away.lock().unwrap().contains(&user)
    }

    fn those_here(&self, leases: &[Lease]) -> Vec<Lease> {
        leases.iter().filter(|lease| self.has(lease.user)).copied().collect()
    }
}

fn away<T>() -> Result<T, PresenceError> {
    Err(PresenceError("it is away".into()))
}

#[async_trait]
impl PresenceStore for Parts {
    async fn renew(&self, leases: &[Lease], ttl: Duration) -> Result<Vec<UserId>, PresenceError> {
        let here = self.those_here(leases);
        if here.is_empty() { away() } else { self.inner.renew(&here, ttl).await }
    }

    async fn release(&self, leases: &[Lease]) -> Result<(), PresenceError> {
        let here = self.those_here(leases);
        self.inner.release(&here).await?;
        if here.len() < leases.len() { away() } else { Ok(()) }
    }

    async fn sweep(&self, grace: Duration, limit: usize) -> Result<Vec<WentOffline>, PresenceError> {
        let gone = self.inner.sweep(grace, limit).await?;
        if gone.is_empty() && !self.away.lock().unwrap().is_empty() { away() } else { Ok(gone) }
    }

    async fn query(&self, users: &[UserId]) -> Result<Vec<PresenceState>, PresenceError> {
        self.queries.fetch_add(1, Relaxed);
        let here: Vec<UserId> = users.iter().filter(|user| self.has(**user)).copied().collect();
        if here.is_empty() { away() } else { self.inner.query(&here).await }
    }
}

/// A node with people, and presence of which a part may be away.
async fn node(presence: &Arc<Parts>) -> (Messenger, [Actor; 3]) {
    let password_cost = PasswordCost { memory_kib: 8, passes: 1, ..PasswordCost::default() };
    // The clock of presence goes by real time, which does not pass here.
    let hub = HubSettings { offline_grace: Duration::ZERO, ..HubSettings::default() };
    let settings = Settings { password_cost, hub, ..Settings::default() };
    let builder = Messenger::builder(Arc::new(MemoryStore::new())).presence(Arc::clone(presence) as _);
    let messenger = builder.settings(settings).build().unwrap();
    let people = [
        doc::register(&messenger, "ada").await,
        doc::register(&messenger, "bob").await,
        doc::register(&messenger, "cleo").await,
    ];
    (messenger, people)
}

/// Who comes or goes next, as a client is told.
async fn next_change(connection: &mut Connection) -> (UserId, bool) {
    loop {
        if let Event::PresenceChanged(presence) = event(connection).await {
            return (presence.user_id, presence.online);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_whom_nothing_is_known_it_is_told_when_it_is() {
    let presence = Parts::new();
    let (messenger, [ada, bob, cleo]) = node(&presence).await;
    let [bob_id, cleo_id] = [&bob, &cleo].map(|actor| actor.user().unwrap());
    let _bob = messenger.connect(&bob).await.unwrap();
    let mut watcher = messenger.connect(&ada).await.unwrap();
    watcher.resume(None).await.unwrap();
    presence.takes_away([bob_id]);
    let answered = watcher.watch(&[bob_id, cleo_id]).await.unwrap();
    let answered: Vec<_> = answered.iter().map(|state| (state.user_id, state.online)).collect();
    assert_eq!(answered, [(cleo_id, false)], "nobody is said to be offline without being so");
    watcher.watch(&[bob_id]).await.expect_err("nothing is known");
    assert!(timeout(SOON / 2, next_change(&mut watcher)).await.is_err(), "nothing is known");
    presence.takes_away([]);
    assert_eq!(next_change(&mut watcher).await, (bob_id, true));
}

#[tokio::test(start_paused = true)]
async fn whose_server_is_away_is_as_watchers_were_told_last() {
    let presence = Parts::new();
    let (messenger, [ada, bob, cleo]) = node(&presence).await;
    let [ada_id, bob_id, cleo_id] = [&ada, &bob, &cleo].map(|actor| actor.user().unwrap());
    let bob_here = messenger.connect(&bob).await.unwrap();
    let mut watcher = messenger.connect(&ada).await.unwrap();
    watcher.resume(None).await.unwrap();
    watcher.watch(&[bob_id]).await.unwrap();
    presence.takes_away([bob_id, cleo_id]);
    drop(bob_here);
    let user_ids = vec![cleo_id, bob_id, ada_id];
    let answer = messenger.query(&ada, GetPresence { user_ids }).await.unwrap().items;
    let answer: Vec<_> = answer.iter().map(|state| (state.user_id, state.online)).collect();
    assert_eq!(answer, [(bob_id, true), (ada_id, true)]);
    assert!(timeout(SOON / 2, next_change(&mut watcher)).await.is_err(), "nothing is known");
    presence.takes_away([]);
    assert_eq!(next_change(&mut watcher).await, (bob_id, false));
}

#[tokio::test(start_paused = true)]
async fn who_goes_is_told_of_while_the_server_of_others_is_away() {
    let presence = Parts::new();
    let (messenger, [ada, bob, cleo]) = node(&presence).await;
    let [bob_id, cleo_id] = [&bob, &cleo].map(|actor| actor.user().unwrap());
    let (bob_here, cleo_here) =
        (messenger.connect(&bob).await.unwrap(), messenger.connect(&cleo).await.unwrap());
    let mut watcher = messenger.connect(&ada).await.unwrap();
    watcher.resume(None).await.unwrap();
    watcher.watch(&[bob_id, cleo_id]).await.unwrap();
    presence.takes_away([bob_id]);
    drop((bob_here, cleo_here));
    assert_eq!(next_change(&mut watcher).await, (cleo_id, false));
    assert_eq!(messenger.outages().len(), 1, "somebody has gone, but not everybody was looked at");
    assert!(timeout(SOON / 2, next_change(&mut watcher)).await.is_err(), "nothing is known");
    presence.takes_away([]);
    assert_eq!(next_change(&mut watcher).await, (bob_id, false));
}

#[tokio::test(start_paused = true)]
async fn those_whose_server_is_there_are_not_compared_without_pause() {
    let presence = Parts::new();
    let (messenger, [ada, bob, cleo]) = node(&presence).await;
    let [bob_id, cleo_id] = [&bob, &cleo].map(|actor| actor.user().unwrap());
    let mut watcher = messenger.connect(&ada).await.unwrap();
    watcher.resume(None).await.unwrap();
    watcher.watch(&[bob_id, cleo_id]).await.unwrap();
    presence.takes_away([bob_id]);
    let before = presence.queries.load(Relaxed);
    tokio::time::sleep(Duration::from_secs(120)).await;
    let queries = presence.queries.load(Relaxed) - before;
    // At each sweep, and some more in the beginning.
    assert!((12..=35).contains(&queries), "{queries}");
}
