//! When leases are taken and renewed where presence answers slowly.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use super::*;
use crate::{
    Messenger,
    doc::register,
    hub::lock::lock,
    memory::MemoryStore,
    ports::{Lease, PresenceError, PresenceState, PresenceStore, WentOffline},
};

/// Presence that takes its time, and notes when it has recorded leases.
#[derive(Default)]
struct Slow {
    /// How long each answer takes.
    takes: Duration,
    /// So many calls are never answered, and do nothing.
    lost: Mutex<usize>,
    recorded: Mutex<Vec<(Instant, Lease)>>,
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
        Ok(vec![])
    }

    async fn query(&self, users: &[UserId]) -> Result<Vec<PresenceState>, PresenceError> {
        Ok(users.iter().map(|user| PresenceState { user: *user, online: true }).collect())
    }
}

/// A node, and a connection to it.
async fn connected(presence: &Arc<Slow>) -> (Messenger, Connection) {
    let messenger = Messenger::builder(Arc::new(MemoryStore::new())).presence(Arc::clone(presence) as _);
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
