//! Leases in one place for all nodes, which may be slow, and may lose everything: presence as `docs/decisions/0038` wants it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use messenger_core::{ConnectionId, UserId, context::Clock, memory::MemoryPresence, ports::*};
use tokio::time::{Instant, sleep, sleep_until};

use super::GRACE;
use crate::rng::Rng;

/// What an answer takes where nothing is wrong: from so many milliseconds to so many, each way.
pub(crate) const QUICK: (u64, u64) = (0, 20);

/// After a loss nobody goes offline for so long: each node makes a call each second, and so restores its leases.
const SETTLING: Duration = Duration::from_millis(2500);
/// Who was found to have gone by a node that does not say so is found by another one after this.
const CLAIM: Duration = Duration::from_secs(5);

/// What all nodes have in common.
pub(crate) struct Server {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    leases: Arc<MemoryPresence>,
    /// Rises with each loss.
    epoch: u64,
    settles_at: Option<Instant>,
    claimed: BTreeMap<UserId, (WentOffline, Instant)>,
    /// The least and the most milliseconds that an answer takes, each way.
    slow: (u64, u64),
    rng: Rng,
}

impl Server {
    pub(crate) fn new(clock: Arc<dyn Clock>, rng: Rng) -> Arc<Self> {
        let state = State {
            leases: Arc::new(MemoryPresence::new(Arc::clone(&clock))),
            epoch: 0,
            settles_at: None,
            claimed: BTreeMap::new(),
            slow: QUICK,
            rng,
        };
        Arc::new(Self { clock, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything is lost.
    pub(crate) fn flush(&self) {
        let mut state = self.state();
        state.leases = Arc::new(MemoryPresence::new(Arc::clone(&self.clock)));
        state.epoch += 1;
        state.claimed.clear();
        state.settles_at = None;
    }

    pub(crate) fn answers_within(&self, slow: (u64, u64)) {
        self.state().slow = slow;
    }
}

/// The server as one node reaches it. It knows the leases that the node has taken, and restores them.
pub(crate) struct NodeLeases {
    server: Arc<Server>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    epoch: u64,
    own: HashMap<(UserId, ConnectionId), Instant>,
    dead: bool,
}

impl NodeLeases {
    pub(crate) fn new(server: &Arc<Server>) -> Arc<Self> {
        let known = Known { epoch: server.state().epoch, ..Known::default() };
        Arc::new(Self { server: Arc::clone(server), known: Mutex::new(known) })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process is no more: it makes no call, and takes no answer.
    pub(crate) fn kill(&self) {
        self.known().dead = true;
    }

    async fn travel(&self) {
        let time = {
            let mut state = self.server.state();
            let (least, most) = state.slow;
            state.rng.millis(least, most)
        };
        sleep(time).await;
        if self.known().dead {
            std::future::pending::<()>().await;
        }
    }

    /// On the server, with all that this node has to restore.
    async fn reach(&self) -> Result<Arc<MemoryPresence>, PresenceError> {
        self.travel().await;
        let now = Instant::now();
        let (leases, lost) = {
            let (mut state, mut known) = (self.server.state(), self.known());
            let lost = known.epoch != state.epoch;
            known.epoch = state.epoch;
            if lost {
                state.settles_at = Some(now + SETTLING);
            }
            // Who has gone has a grace period, which they would lose with the rest.
            known.own.retain(|_, end| *end + GRACE > now);
            (Arc::clone(&state.leases), lost.then(|| known.own.clone()))
        };
        let mut lost: Vec<_> = lost.unwrap_or_default().into_iter().collect();
        lost.sort_unstable();
        for ((user, connection), end) in lost {
            leases.renew(&[Lease { user, connection }], end.saturating_duration_since(now)).await?;
        }
        Ok(leases)
    }

    fn settles_at(&self) -> Option<Instant> {
        self.server.state().settles_at.filter(|at| Instant::now() < *at)
    }
}

#[async_trait]
impl PresenceStore for NodeLeases {
    async fn renew(&self, leases: &[Lease], ttl: Duration) -> Result<Vec<UserId>, PresenceError> {
        let server = self.reach().await?;
        let end = Instant::now() + ttl;
        self.known().own.extend(leases.iter().map(|lease| ((lease.user, lease.connection), end)));
        let came = server.renew(leases, ttl).await;
        self.travel().await;
        came
    }

    async fn release(&self, leases: &[Lease]) -> Result<(), PresenceError> {
        let server = self.reach().await?;
        {
            let mut known = self.known();
            for lease in leases {
                if let Some(end) = known.own.get_mut(&(lease.user, lease.connection)) {
                    *end = (*end).min(Instant::now());
                }
            }
        }
        server.release(leases).await?;
        self.travel().await;
        Ok(())
    }

    async fn sweep(&self, grace: Duration, limit: usize) -> Result<Vec<WentOffline>, PresenceError> {
        let server = self.reach().await?;
        if self.settles_at().is_some() {
            return Ok(vec![]);
        }
        let now = Instant::now();
        let gone = server.sweep(grace, limit).await?;
        let gone: Vec<WentOffline> = {
            let mut state = self.server.state();
            let forgotten = state.claimed.values().filter(|(_, until)| *until <= now);
            let gone: Vec<_> = forgotten.map(|(gone, _)| *gone).chain(gone).collect();
            state.claimed.extend(gone.iter().map(|gone| (gone.user, (*gone, now + CLAIM))));
            gone
        };
        self.travel().await;
        let mut state = self.server.state();
        for gone in &gone {
            state.claimed.remove(&gone.user);
        }
        Ok(gone)
    }

    async fn query(&self, users: &[UserId]) -> Result<Vec<PresenceState>, PresenceError> {
        let mut server = self.reach().await?;
        if let Some(at) = self.settles_at() {
            // The other nodes may not have restored their leases yet.
            sleep_until(at).await;
            server = self.reach().await?;
        }
        let states = server.query(users).await;
        self.travel().await;
        states
    }
}
