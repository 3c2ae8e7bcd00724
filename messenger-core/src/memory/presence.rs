use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;

use crate::{
    context::Clock,
    domain::{ConnectionId, Timestamp, UserId},
    ports::{Lease, PresenceError, PresenceState, PresenceStore, WentOffline},
};

/// A [`PresenceStore`] for the nodes within one process.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use messenger_core::{context::Context, memory::MemoryPresence, ports::{Lease, PresenceStore}};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let context = Context::fixed();
/// let presence = MemoryPresence::new(Arc::clone(context.clock()));
/// let lease = Lease { user: context.id(), connection: context.id() };
/// assert_eq!(presence.renew(&[lease], Duration::from_secs(60)).await.unwrap(), [lease.user]);
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct MemoryPresence {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

impl MemoryPresence {
    /// Makes an empty presence whose leases expire by this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::default() }
    }

    fn lock(&self) -> Result<MutexGuard<'_, State>, PresenceError> {
        self.state.lock().map_err(|_| PresenceError("a call panicked half-way".into()))
    }
}

impl fmt::Debug for MemoryPresence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryPresence").finish_non_exhaustive()
    }
}

#[async_trait]
impl PresenceStore for MemoryPresence {
    async fn renew(&self, leases: &[Lease], ttl: Duration) -> Result<Vec<UserId>, PresenceError> {
        let now = self.clock.now();
        let mut state = self.lock()?;
        let came = leases.iter().filter(|lease| state.renew(lease, now, now.after(ttl)));
        Ok(came.map(|lease| lease.user).collect())
    }

    async fn release(&self, leases: &[Lease]) -> Result<(), PresenceError> {
        let now = self.clock.now();
        let mut state = self.lock()?;
        leases.iter().for_each(|lease| state.release(lease, now));
        Ok(())
    }

    async fn sweep(&self, grace: Duration, limit: usize) -> Result<Vec<WentOffline>, PresenceError> {
        let now = self.clock.now();
        let mut state = self.lock()?;
        let due = state.by_end.iter().take_while(|(end, _)| end.after(grace) <= now).take(limit);
        let gone: Vec<_> = due.map(|(end, user)| WentOffline { user: *user, last_seen: *end }).collect();
        for person in &gone {
            state.by_end.remove(&(person.last_seen, person.user));
            state.online.remove(&person.user);
        }
        Ok(gone)
    }

    async fn query(&self, users: &[UserId]) -> Result<Vec<PresenceState>, PresenceError> {
        let state = self.lock()?;
        let is_online = |user: &UserId| state.online.contains_key(user);
        Ok(users.iter().map(|user| PresenceState { user: *user, online: is_online(user) }).collect())
    }
}

#[derive(Default)]
struct State {
    /// People who came online and were not reported offline.
    online: HashMap<UserId, Person>,
    /// The same people ordered by [`Person::end`], so that a sweep only visits those that are due.
    by_end: BTreeSet<(Timestamp, UserId)>,
}

#[derive(Default)]
struct Person {
    /// When each lease expires.
    leases: HashMap<ConnectionId, Timestamp>,
    /// The latest time at which a lease was returned or was found to have expired.
    gone: Option<Timestamp>,
}

impl State {
    /// Renews a lease; returns whether the person came online by it.
    fn renew(&mut self, lease: &Lease, now: Timestamp, end: Timestamp) -> bool {
        let came = !self.online.contains_key(&lease.user);
        self.change(lease.user, |person| {
            person.forget_ended(now);
            person.leases.insert(lease.connection, end);
        });
        came
    }

    fn release(&mut self, lease: &Lease, now: Timestamp) {
        if self.online.contains_key(&lease.user) {
            self.change(lease.user, |person| {
                if let Some(end) = person.leases.remove(&lease.connection) {
                    person.gone = person.gone.max(Some(end.min(now)));
                }
            });
        }
    }

    fn change(&mut self, user: UserId, change: impl FnOnce(&mut Person)) {
        let person = self.online.entry(user).or_default();
        let before = person.end();
        change(person);
        let after = person.end();
        if let Some(before) = before {
            self.by_end.remove(&(before, user));
        }
        if let Some(after) = after {
            self.by_end.insert((after, user));
        }
    }
}

impl Person {
    /// When the last lease expires, or expired.
    fn end(&self) -> Option<Timestamp> {
        self.leases.values().copied().max().max(self.gone)
    }

    /// Removes expired leases: those of connections that were lost would accumulate for a person who is never offline.
    fn forget_ended(&mut self, now: Timestamp) {
        let ended = self.leases.extract_if(|_, end| *end <= now).map(|(_, end)| end).max();
        self.gone = self.gone.max(ended);
    }
}
