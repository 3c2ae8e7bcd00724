//! When leases are taken and renewed where presence answers slowly.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use super::*;
use crate::{
    Messenger,
    doc::register,
    hub::lock::lock,
    memory::MemoryStore,
    ports::{
        Lease, PresenceError, PresenceState, PresenceStore, Store, StoreErrorKind, UserStore as _,
        WentOffline,
    },
    testing::TestStore,
};

/// Presence that takes its time, and notes when it has recorded leases.
#[derive(Default)]
struct Slow {
    /// How long each answer takes.
    takes: Duration,
    /// So many calls are never answered, and do nothing.
    lost: Mutex<usize>,
    recorded: Mutex<Vec<(Instant, Lease)>>,
    /// Who is found to have gone, at each sweep one.
    going: Mutex<Vec<UserId>>,
    /// Whether it can't be reached.
    is_away: AtomicBool,
}

impl Slow {
    /// When this lease was recorded.
    fn recorded(&self, lease: Lease) -> Vec<Instant> {
        lock(&self.recorded).iter().filter(|(_, other)| *other == lease).map(|(at, _)| *at).collect()
    }
}

#[async_trait]
impl PresenceStore for Slow {
    async fn renew(&self, leases: &[Lease], _: Duration) -> Result<Vec<UserId>, PresenceError> {
        if self.is_away.load(Relaxed) {
            return Err(PresenceError("it is away".into()));
        }
        let is_lost = std::mem::replace(&mut *lock(&self.lost), 0) > 0;
        if is_lost {
            std::future::pending::<()>().await;
        }
        let now = Instant::now();
        lock(&self.recorded).extend(leases.iter().map(|lease| (now, *lease)));
        sleep(self.takes).await;
        Ok(vec![])
    }

    async fn release(&self, _: &[Lease]) -> Result<(), PresenceError> {
        sleep(self.takes).await;
        Ok(())
    }

    async fn sweep(&self, _: Duration, _: usize) -> Result<Vec<WentOffline>, PresenceError> {
        sleep(self.takes).await;
        let going = lock(&self.going).pop();
        Ok(going.map(|user| WentOffline { user, last_seen: Timestamp::from_micros(1) }).into_iter().collect())
    }

    async fn query(&self, users: &[UserId]) -> Result<Vec<PresenceState>, PresenceError> {
        Ok(users.iter().map(|user| PresenceState { user: *user, online: true }).collect())
    }
}

/// A node, and a connection to it.
async fn connected(presence: &Arc<Slow>) -> (Messenger, Connection) {
    connected_on(Arc::new(MemoryStore::new()), presence).await
}

async fn connected_on(store: Arc<dyn Store>, presence: &Arc<Slow>) -> (Messenger, Connection) {
    let messenger = Messenger::builder(store).presence(Arc::clone(presence) as _);
    let messenger = messenger.build().unwrap();
    let actor = register(&messenger, "ada").await;
    let connection = messenger.connect(&actor).await.unwrap();
    (messenger, connection)
}

#[tokio::test(start_paused = true)]
async fn leases_are_renewed_in_time_however_slowly_presence_answers() {
    for millis in [0, 1200, 3000] {
        let presence = Arc::new(Slow { takes: Duration::from_millis(millis), ..Slow::default() });
        let (_node, connection) = connected(&presence).await;
        sleep(Duration::from_secs(300)).await;
        let recorded = presence.recorded(connection.link.lease());
        let longest = recorded.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        let lease = HubSettings::default().lease;
        assert!(longest <= lease / 2, "{longest:?} where each answer takes {millis} ms");
        // Not more often than is due, either.
        assert!((8..=18).contains(&recorded.len()), "{} where each answer takes {millis} ms", recorded.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_not_taken_in_time_is_taken_in_the_next_turn() {
    let presence = Arc::new(Slow { lost: Mutex::new(1), ..Slow::default() });
    let (_node, connection) = connected(&presence).await;
    let came = Instant::now();
    sleep(Duration::from_secs(60)).await;
    let recorded = presence.recorded(connection.link.lease());
    assert!(recorded[0] - came <= Duration::from_secs(1), "{:?}", recorded[0] - came);
    // Unless the connection has gone meanwhile: nobody would return the lease.
    *lock(&presence.lost) = 1;
    let (_node, connection) = connected(&presence).await;
    let lease = connection.link.lease();
    drop(connection);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(presence.recorded(lease), []);
}

#[tokio::test(start_paused = true)]
async fn no_lease_and_no_announcement_waits_for_a_store_that_is_busy() {
    let store = Arc::new(TestStore::default());
    let presence = Arc::new(Slow::default());
    let (node, mut connection) = connected_on(Arc::clone(&store) as _, &presence).await;
    connection.resume(None).await.unwrap();
    let gone = register(&node, "bob").await.user().unwrap();
    connection.watch(&[gone]).await.unwrap();
    let began = Instant::now();
    store.meanwhile("set_last_seen", sleep(Duration::from_secs(600)));
    lock(&presence.going).extend(vec![gone; 300]);
    let told = loop {
        if let Event::PresenceChanged(told) = event(&mut connection).await {
            break told;
        }
    };
    assert!(!told.online && told.user_id == gone);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    sleep(Duration::from_secs(300)).await;
    let recorded = presence.recorded(connection.link.lease());
    let longest = recorded.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(longest <= Duration::from_secs(21), "{longest:?}");
    assert_eq!(node.outages(), []);
    assert_eq!(store.user(gone).await.unwrap().last_seen_at, None);
    sleep(Duration::from_secs(301)).await;
    assert_eq!(store.user(gone).await.unwrap().last_seen_at, Some(Timestamp::from_micros(1)));
}

#[tokio::test(start_paused = true)]
async fn when_somebody_was_last_seen_is_stored_once_the_store_is_back() {
    let store = Arc::new(TestStore::default());
    let presence = Arc::new(Slow::default());
    let (node, _connection) = connected_on(Arc::clone(&store) as _, &presence).await;
    let gone = register(&node, "bob").await.user().unwrap();
    store.fail("set_last_seen", StoreErrorKind::Unavailable, 5);
    lock(&presence.going).push(gone);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(store.user(gone).await.unwrap().last_seen_at, Some(Timestamp::from_micros(1)));
    assert_eq!(store.calls("set_last_seen"), 6);
}

#[tokio::test(start_paused = true)]
async fn leases_to_return_are_not_kept_for_longer_than_they_last() {
    let presence = Arc::new(Slow::default());
    let (node, _connection) = connected(&presence).await;
    let actor = register(&node, "bob").await;
    presence.is_away.store(true, Relaxed);
    for _ in 0..600 {
        drop(node.connect(&actor).await.unwrap());
        sleep(Duration::from_secs(1)).await;
    }
    let kept = lock(&node.service().hub.departed).len();
    assert!((30..=62).contains(&kept), "{kept}");
    presence.is_away.store(false, Relaxed);
    sleep(Duration::from_secs(5)).await;
    assert!(lock(&node.service().hub.departed).is_empty());
}
