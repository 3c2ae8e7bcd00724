use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::future::join_all;
use messenger_core::{
    Timestamp, UserId,
    ports::{Lease, PresenceError, PresenceState, PresenceStore, WentOffline},
};
use redis::{Cmd, FromRedisValue, Pipeline, Value};
use tokio::time::{Instant, sleep};

use crate::{
    code::Code,
    leases::{PARTITIONS, by_partition, key, partition},
    restoring::{AT_ONCE, Keys, Partitions, RENEW, Ready, new_epoch},
    server::ServerError,
    topology::Topology,
};

/// If a node that is about to announce that people have gone does not confirm it for this long, another one announces it.
const CLAIM: Duration = Duration::from_secs(5);

static RELEASE: Code = Code::new(include_str!("scripts/release.lua"));
static COUNT: Code = Code::new(include_str!("scripts/count.lua"));
static SWEEP: Code = Code::new(include_str!("scripts/sweep.lua"));
static CONFIRM: Code = Code::new(include_str!("scripts/confirm.lua"));

/// A [`PresenceStore`] in Redis: leases by the server's clock, changed by atomic scripts.
///
/// The server may lose everything, or return to an older state: each node restores the leases of its own connections as soon as
/// it notices, and until all nodes have had time to do so nobody goes offline.
///
/// Keys are `PREFIX:{PREFIX:presence:N}:…`, for N from 0 to 15: `due` has the people online by the end of their last lease,
/// `leases` the leases of each person, `claimed` the people who have gone and are about to be announced, `epoch` a value by
/// which a loss of data is noticed, and `settling` exists while nodes restore their leases. About 250 bytes for a person with
/// one connection.
///
/// ```no_run
/// use std::time::Duration;
/// use messenger_core::{context::Context, ports::{Lease, PresenceStore as _}};
/// use messenger_redis::Redis;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let presence = Redis::open("redis://127.0.0.1")?.presence();
/// let context = Context::system();
/// let lease = Lease { user: context.id(), connection: context.id() };
/// assert_eq!(presence.renew(&[lease], Duration::from_secs(60)).await?, [lease.user]);
/// # Ok(())
/// # }
/// ```
pub struct RedisPresence {
    partitions: Partitions,
    /// The partition at which the next sweep begins, so that each of them comes first in turn.
    next: AtomicUsize,
}

impl RedisPresence {
    pub(crate) fn new(topology: Arc<Topology>) -> Self {
        Self { partitions: Partitions::new(topology), next: AtomicUsize::new(0) }
    }

    async fn renew_all(&self, leases: &[Lease], ttl: Duration) -> Result<Vec<UserId>, ServerError> {
        self.partitions.leases().prolong(leases, Instant::now() + ttl);
        let renew = |ready: Ready| async move { self.renew_on(&ready, leases, ttl).await };
        let came = self.partitions.on_each(leases.iter().map(|lease| partition(lease.user)), renew).await?;
        Ok(succeeded(came)?.into_iter().flatten().collect())
    }

    async fn renew_on(
        &self,
        ready: &Ready,
        leases: &[Lease],
        ttl: Duration,
    ) -> Result<Vec<UserId>, ServerError> {
        let leases: Vec<&Lease> = leases.iter().filter(|lease| ready.has(partition(lease.user))).collect();
        let end = Instant::now() + ttl;
        let were_known: HashSet<UserId> = {
            let mut known = self.partitions.leases();
            let before = leases.iter().filter(|lease| known.all.contains_key(&key(lease)));
            let before = before.map(|lease| lease.user).collect();
            known.all.extend(leases.iter().map(|lease| (key(lease), end)));
            before
        };
        let epoch = new_epoch();
        let (mut calls, mut partitions) = (Vec::new(), Vec::new());
        for (partition, leases) in by_partition(&leases, |lease| lease.user) {
            for some in leases.chunks(AT_ONCE) {
                let mut call = RENEW.call(&self.keys(partition).all());
                call.arg(ttl.as_micros() as u64).arg(&epoch).arg("").arg("1");
                for lease in some {
                    call.arg(lease.user.as_bytes()).arg(lease.connection.as_bytes());
                }
                calls.push(call);
                partitions.push(partition);
            }
        }
        let answers: Vec<Vec<Vec<u8>>> = self.partitions.call(ready, &RENEW, calls).await?;
        let (mut epochs, mut came) = (Vec::new(), Vec::new());
        for (partition, answer) in partitions.into_iter().zip(answers) {
            let mut answer = answer.into_iter();
            epochs.extend(answer.next().map(|epoch| (partition, epoch)));
            came.extend(answer.filter_map(|user| user_of(&user)));
        }
        if self.partitions.compare_epochs(ready, epochs).await? {
            // They are new to the server only.
            came.retain(|user| !were_known.contains(user));
        }
        Ok(came)
    }

    async fn release_all(&self, leases: &[Lease]) -> Result<(), ServerError> {
        let now = Instant::now();
        {
            let mut known = self.partitions.leases();
            for lease in leases {
                if let Some(end) = known.all.get_mut(&key(lease)) {
                    *end = now.min(*end);
                }
            }
            known.forget(now);
        }
        let release = |ready: Ready| async move {
            let calls = by_partition(leases, |lease| lease.user)
                .filter(|(partition, _)| ready.has(*partition))
                .flat_map(|(partition, leases)| self.releases(partition, &leases));
            let _done: Vec<Value> = self.partitions.call(&ready, &RELEASE, calls.collect::<Vec<_>>()).await?;
            Ok(())
        };
        let released = self.partitions.on_each(leases.iter().map(|lease| partition(lease.user)), release);
        released.await?.into_iter().collect()
    }

    fn releases(&self, partition: usize, leases: &[&Lease]) -> Vec<Cmd> {
        let Keys { due, leases: key, .. } = self.keys(partition);
        let calls = leases.chunks(AT_ONCE).map(|some| {
            let mut call = RELEASE.call(&[due, key]);
            for lease in some {
                call.arg(lease.user.as_bytes()).arg(lease.connection.as_bytes());
            }
            call
        });
        calls.collect()
    }

    async fn sweep_all(&self, grace: Duration, limit: usize) -> Result<Vec<WentOffline>, ServerError> {
        self.partitions.leases().grace = grace;
        let count = |ready| async move {
            let counts = self.count(&ready, grace).await?;
            Ok((ready, counts))
        };
        let (servers, mut failed) = divide(self.partitions.on_each(0..PARTITIONS, count).await?);
        let mut most = [0; PARTITIONS];
        for (partition, count) in servers.iter().flat_map(|(_, counts)| counts) {
            most[*partition] = *count;
        }
        let (mut left, first) = (limit, self.next.fetch_add(1, Ordering::Relaxed));
        for turn in 0..PARTITIONS {
            let most = &mut most[first.wrapping_add(turn) % PARTITIONS];
            *most = left.min(*most).min(AT_ONCE);
            left -= *most;
        }
        let gone = servers.iter().map(|(ready, _)| self.sweep_on(ready, grace, &most));
        let (gone, why) = divide(join_all(gone).await);
        failed = failed.or(why);
        let gone: Vec<WentOffline> = gone.into_iter().flatten().collect();
        // Where it has failed the people are still to be announced.
        failed.filter(|_| gone.is_empty()).map_or(Ok(gone), Err)
    }

    /// How many people have gone, in each partition of a server; none if it has lost data.
    async fn count(&self, ready: &Ready, grace: Duration) -> Result<Vec<(usize, usize)>, ServerError> {
        let partitions: Vec<usize> = (0..PARTITIONS).filter(|partition| ready.has(*partition)).collect();
        let calls = partitions.iter().map(|partition| {
            let Keys { due, claimed, epoch, .. } = self.keys(*partition);
            let mut call = COUNT.call(&[due, claimed, epoch]);
            call.arg(grace.as_micros() as u64);
            call
        });
        let answers: Vec<(Vec<u8>, usize)> =
            self.partitions.call(ready, &COUNT, calls.collect::<Vec<_>>()).await?;
        let counts = partitions.iter().copied().zip(answers.iter().map(|(_, count)| *count)).collect();
        let epochs = partitions.into_iter().zip(answers.into_iter().map(|(epoch, _)| epoch));
        let is_lost = self.partitions.compare_epochs(ready, epochs).await?;
        Ok(if is_lost { vec![] } else { counts })
    }

    /// Claims at most so many people of each partition of a server.
    async fn sweep_on(
        &self,
        ready: &Ready,
        grace: Duration,
        most: &[usize; PARTITIONS],
    ) -> Result<Vec<WentOffline>, ServerError> {
        let partitions = (0..PARTITIONS).filter(|partition| ready.has(*partition) && most[*partition] > 0);
        let partitions: Vec<usize> = partitions.collect();
        let calls = partitions.iter().map(|partition| {
            let mut call = SWEEP.call(&self.keys(*partition).all());
            call.arg(grace.as_micros() as u64).arg(most[*partition]).arg(CLAIM.as_micros() as u64);
            call
        });
        let answers: Vec<Vec<Vec<u8>>> =
            self.partitions.call(ready, &SWEEP, calls.collect::<Vec<_>>()).await?;
        let (mut gone, mut confirmed) = (Vec::new(), Vec::new());
        for (partition, answer) in partitions.into_iter().zip(answers) {
            let Keys { leases, claimed, .. } = self.keys(partition);
            let mut confirm = CONFIRM.call(&[leases, claimed]);
            for person in answer.chunks_exact(2) {
                confirm.arg(&person[0]);
                gone.extend(went_offline(&person[0], &person[1]));
            }
            confirmed.push(confirm);
        }
        // Without the confirmation another node announces these people as well: better twice than never.
        let _ = self.partitions.call::<Value>(ready, &CONFIRM, confirmed).await;
        Ok(gone)
    }

    async fn query_all(&self, users: &[UserId]) -> Result<Vec<PresenceState>, ServerError> {
        let states = self.query_once(users).await?;
        let settles_at = self.partitions.leases().settles_at.filter(|at| *at > Instant::now());
        let Some(at) = settles_at else { return Ok(states) };
        // The other nodes may not have restored their leases yet.
        sleep(at.saturating_duration_since(Instant::now())).await;
        self.query_once(users).await
    }

    async fn query_once(&self, users: &[UserId]) -> Result<Vec<PresenceState>, ServerError> {
        let query = |ready| async move { self.query_on(&ready, users).await };
        let states = self.partitions.on_each(users.iter().copied().map(partition), query).await?;
        let states: HashMap<UserId, bool> = succeeded(states)?.into_iter().flatten().collect();
        let state = |user: &UserId| Some(PresenceState { user: *user, online: *states.get(user)? });
        Ok(users.iter().filter_map(state).collect())
    }

    /// Whether the people in partitions of a server are online.
    async fn query_on(&self, ready: &Ready, users: &[UserId]) -> Result<Vec<(UserId, bool)>, ServerError> {
        let groups = by_partition(users, |user| *user).filter(|(partition, _)| ready.has(*partition));
        let groups: Vec<_> = groups.collect();
        let mut commands = Pipeline::new();
        for (partition, users) in &groups {
            let Keys { due, epoch, .. } = self.keys(*partition);
            commands.cmd("GET").arg(epoch);
            for some in users.chunks(AT_ONCE) {
                commands.cmd("ZMSCORE").arg(due);
                some.iter().for_each(|user| {
                    commands.arg(user.as_bytes());
                });
            }
        }
        let answers: Vec<Value> = self.partitions.run(ready, &commands).await?;
        let (mut answers, mut epochs) = (answers.into_iter(), Vec::new());
        let mut states = Vec::new();
        for (partition, users) in &groups {
            let epoch = answers.next().map(Option::<Vec<u8>>::from_redis_value).transpose();
            let epoch = epoch.map_err(redis::RedisError::from)?.flatten();
            epochs.push((*partition, epoch.unwrap_or_default()));
            for some in users.chunks(AT_ONCE) {
                let scores = answers.next().map(Vec::<Option<f64>>::from_redis_value).transpose();
                let scores = scores.map_err(redis::RedisError::from)?.unwrap_or_default();
                states.extend(some.iter().zip(scores).map(|(user, score)| (**user, score.is_some())));
            }
        }
        self.partitions.compare_epochs(ready, epochs).await?;
        Ok(states)
    }

    fn keys(&self, partition: usize) -> &Keys {
        &self.partitions.keys[partition]
    }
}

impl fmt::Debug for RedisPresence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisPresence")
            .field("address", &self.partitions.topology().address())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl PresenceStore for RedisPresence {
    async fn renew(&self, leases: &[Lease], ttl: Duration) -> Result<Vec<UserId>, PresenceError> {
        if leases.is_empty() {
            return Ok(vec![]);
        }
        self.renew_all(leases, ttl).await.map_err(failed)
    }

    async fn release(&self, leases: &[Lease]) -> Result<(), PresenceError> {
        self.release_all(leases).await.map_err(failed)
    }

    async fn sweep(&self, grace: Duration, limit: usize) -> Result<Vec<WentOffline>, PresenceError> {
        self.sweep_all(grace, limit).await.map_err(failed)
    }

    async fn query(&self, users: &[UserId]) -> Result<Vec<PresenceState>, PresenceError> {
        if users.is_empty() {
            return Ok(vec![]);
        }
        self.query_all(users).await.map_err(failed)
    }
}

/// What has succeeded, and an error of what has not.
fn divide<T>(answers: Vec<Result<T, ServerError>>) -> (Vec<T>, Option<ServerError>) {
    let (mut all, mut failed) = (vec![], None);
    for answer in answers {
        match answer {
            Ok(answer) => all.push(answer),
            Err(error) => failed = Some(error),
        }
    }
    (all, failed)
}

/// What has succeeded; an error if nothing has.
fn succeeded<T>(answers: Vec<Result<T, ServerError>>) -> Result<Vec<T>, ServerError> {
    let (all, failed) = divide(answers);
    failed.filter(|_| all.is_empty()).map_or(Ok(all), Err)
}

fn user_of(bytes: &[u8]) -> Option<UserId> {
    bytes.try_into().ok().map(UserId::from_bytes)
}

fn went_offline(user: &[u8], seen: &[u8]) -> Option<WentOffline> {
    let micros = std::str::from_utf8(seen).ok()?.parse().ok()?;
    Some(WentOffline { user: user_of(user)?, last_seen: Timestamp::from_micros(micros) })
}

fn failed(error: ServerError) -> PresenceError {
    PresenceError(error.into())
}
