//! When people were last seen. It is stored by a task of its own, so that no lease and no announcement waits for the store.

use std::{collections::HashMap, sync::Mutex};

use tokio::{sync::Notify, time::sleep};

use super::{
    bounds::{AT_ONCE, RETRY},
    lock::lock,
};
use crate::{
    domain::{Timestamp, UserId},
    ports::Store,
};

/// Maximum number of people of whom it waits to be stored. Beyond it, while the store is away, it is not stored.
const MOST: usize = 100_000;

/// What is to be stored.
#[derive(Debug, Default)]
pub(super) struct LastSeen {
    waiting: Mutex<HashMap<UserId, Timestamp>>,
    wanted: Notify,
}

impl LastSeen {
    /// Has these moments stored.
    pub(super) fn store(&self, seen: &[(UserId, Timestamp)]) {
        let mut waiting = lock(&self.waiting);
        for (user, at) in seen {
            if waiting.len() < MOST || waiting.contains_key(user) {
                let latest = waiting.entry(*user).or_insert(*at);
                *latest = (*at).max(*latest);
            }
        }
        drop(waiting);
        self.wanted.notify_one();
    }

    /// What is known here and may not be stored yet.
    pub(super) fn of(&self, user: UserId) -> Option<Timestamp> {
        lock(&self.waiting).get(&user).copied()
    }

    /// All that is left.
    pub(super) fn take(&self) -> Vec<(UserId, Timestamp)> {
        std::mem::take(&mut *lock(&self.waiting)).into_iter().collect()
    }

    fn some(&self) -> Vec<(UserId, Timestamp)> {
        lock(&self.waiting).iter().take(AT_ONCE).map(|(user, at)| (*user, *at)).collect()
    }

    /// These were stored, unless somebody was seen later meanwhile.
    fn stored(&self, seen: &[(UserId, Timestamp)]) {
        let mut waiting = lock(&self.waiting);
        for (user, at) in seen {
            if waiting.get(user) == Some(at) {
                waiting.remove(user);
            }
        }
        waiting.shrink_to(AT_ONCE);
    }

    /// Stores what waits, and tries again until it is stored; does not end.
    pub(super) async fn keep(&self, store: &dyn Store) {
        let mut fails = false;
        loop {
            let seen = self.some();
            if seen.is_empty() {
                self.wanted.notified().await;
                continue;
            }
            match store.set_last_seen(&seen).await {
                Ok(()) => {
                    self.stored(&seen);
                    fails = false;
                }
                Err(error) => {
                    if !fails {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "when people were last seen is not stored yet");
                    }
                    fails = true;
                    sleep(RETRY).await;
                }
            }
        }
    }
}
