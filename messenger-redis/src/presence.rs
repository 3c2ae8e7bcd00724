use std::{
    collections::{HashMap, HashSet},
    fmt,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use messenger_core::{
    ConnectionId, Timestamp, UserId,
    ports::{Lease, PresenceError, PresenceState, PresenceStore, WentOffline},
};
use redis::{Cmd, FromRedisValue, Pipeline, Script, Value};
use tokio::time::{Instant, sleep};

use crate::{
    requests::{Open, Requests, is_forbidden, is_unknown_script},
    server::{Server, ServerError},
};

/// Groups of people whose keys share a hash tag, so that a cluster keeps the keys of a group on one server.
const PARTITIONS: usize = 16;
/// Leases, or people, in one call of a script; Redis does nothing else meanwhile.
const AT_ONCE: usize = 500;
/// Within this time all nodes have restored what the server lost: each of them calls it every second.
const SETTLING: Duration = Duration::from_millis(2500);
/// After a server did not answer for this long, leases may have ended only because nobody could renew them.
const AWAY: Duration = Duration::from_secs(2);
/// If a node that is about to announce that people have gone does not confirm it for this long, another one announces it.
const CLAIM: Duration = Duration::from_secs(5);
/// How long after the grace period people have been announced as gone at the latest.
const SWEEPS: Duration = Duration::from_secs(2);
/// How long an ended lease is remembered, to be restored with the others, so that its person is still announced as gone.
const REMEMBERED: Duration = Duration::from_secs(120);

static RENEW: Code = Code::new(include_str!("scripts/renew.lua"));
static RELEASE: Code = Code::new(include_str!("scripts/release.lua"));
static COUNT: Code = Code::new(include_str!("scripts/count.lua"));
static SWEEP: Code = Code::new(include_str!("scripts/sweep.lua"));
static CONFIRM: Code = Code::new(include_str!("scripts/confirm.lua"));

/// A script, and the hash that identifies it on a server.
struct Code {
    text: &'static str,
    hash: OnceLock<String>,
}

impl Code {
    const fn new(text: &'static str) -> Self {
        Self { text, hash: OnceLock::new() }
    }

    fn call(&self, keys: &[&str]) -> Cmd {
        let hash = self.hash.get_or_init(|| Script::new(self.text).get_hash().to_owned());
        let mut call = redis::cmd("EVALSHA");
        call.arg(hash).arg(keys.len()).arg(keys);
        call
    }
}

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
    server: Arc<Server>,
    requests: Requests,
    keys: [Keys; PARTITIONS],
    state: Mutex<State>,
    /// The number of the connection over which leases were last restored.
    restored: AtomicU64,
    restoring: tokio::sync::Mutex<()>,
    /// The partition at which the next sweep begins, so that each of them comes first in turn.
    next: AtomicUsize,
}

/// What this node knows, to restore it on a server that has lost it.
#[derive(Default)]
struct State {
    /// When each lease ends or ended.
    leases: HashMap<(UserId, ConnectionId), Instant>,
    forgotten_at: Option<Instant>,
    /// The last epoch seen of each partition.
    epochs: [Option<Vec<u8>>; PARTITIONS],
    /// The `run_id` of the server.
    run: Option<String>,
    answered_at: Option<Instant>,
    /// What the server has lost and this node has not restored yet.
    loss: Loss,
    /// The grace period of the last sweep.
    grace: Duration,
    /// Until when other nodes may still be restoring their leases.
    settles_at: Option<Instant>,
}

/// What a server may have lost; the greater the worse.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Loss {
    #[default]
    Nothing,
    /// It was away for so long that leases may have ended which nobody could renew.
    OfTime,
    /// It has none of its data, or old data.
    OfData {
        /// When it was last seen to have them.
        intact_at: Option<Instant>,
    },
}

struct Keys {
    due: String,
    leases: String,
    claimed: String,
    epoch: String,
    settling: String,
}

impl Keys {
    fn new(prefix: &str, partition: usize) -> Self {
        let key = |name: &str| format!("{prefix}:{{{prefix}:presence:{partition}}}:{name}");
        Self {
            due: key("due"),
            leases: key("leases"),
            claimed: key("claimed"),
            epoch: key("epoch"),
            settling: key("settling"),
        }
    }

    fn all(&self) -> [&str; 5] {
        [&self.due, &self.leases, &self.claimed, &self.epoch, &self.settling]
    }
}

impl RedisPresence {
    pub(crate) fn new(server: Arc<Server>) -> Self {
        let keys = std::array::from_fn(|partition| Keys::new(&server.prefix, partition));
        Self {
            requests: Requests::new(Arc::clone(&server)),
            server,
            keys,
            state: Mutex::default(),
            restored: AtomicU64::new(0),
            restoring: tokio::sync::Mutex::default(),
            next: AtomicUsize::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No holder leaves it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection over which the server has been given the leases that it may have lost.
    async fn open(&self) -> Result<Open, ServerError> {
        let open = self.requests.open().await?;
        if self.restored.load(Ordering::Acquire) < open.number {
            let _one_at_a_time = self.restoring.lock().await;
            if self.restored.load(Ordering::Acquire) < open.number {
                self.begin(&open).await?;
                self.restored.store(open.number, Ordering::Release);
            }
        }
        Ok(open)
    }

    /// Begins to use a connection. A restarted server has no data or old data, and on one that was away for long leases have ended
    /// that nobody could renew.
    async fn begin(&self, open: &Open) -> Result<(), ServerError> {
        let run = self.run_id(open).await?;
        if open.number == 1 {
            self.state().run = run;
            return Ok(());
        }
        let loss = {
            let mut state = self.state();
            let is_another = std::mem::replace(&mut state.run, run.clone()) != run;
            let was_away = state.answered_at.is_none_or(|at| at.elapsed() > AWAY);
            let loss = match (is_another, was_away) {
                (true, _) => Loss::OfData { intact_at: state.answered_at },
                (false, true) => Loss::OfTime,
                (false, false) => Loss::Nothing,
            };
            // Kept until it is made good: an attempt that fails half-way has answers of its own.
            state.loss = state.loss.max(loss);
            state.loss
        };
        self.restore(open, &[true; PARTITIONS], loss).await?;
        self.state().loss = Loss::Nothing;
        Ok(())
    }

    /// The `run_id` of the server; `None` if this user may not ask for it.
    async fn run_id(&self, open: &Open) -> Result<Option<String>, ServerError> {
        let mut commands = Pipeline::new();
        commands.cmd("INFO").arg("server");
        match self.requests.run::<Vec<String>>(open, &commands).await {
            Ok(answer) => {
                let lines = answer.iter().flat_map(|text| text.lines());
                Ok(lines.filter_map(|line| line.strip_prefix("run_id:")).map(str::to_owned).next())
            }
            Err(error) if is_forbidden(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives the server this node's leases of these partitions. After a loss nobody goes offline until the other nodes have had
    /// time to do the same.
    async fn restore(
        &self,
        open: &Open,
        partitions: &[bool; PARTITIONS],
        loss: Loss,
    ) -> Result<(), ServerError> {
        let (now, settles) = (Instant::now(), loss != Loss::Nothing);
        let mut own: [Vec<(UserId, ConnectionId, i64)>; PARTITIONS] = Default::default();
        {
            let mut state = self.state();
            if settles {
                state.settles_at = Some(now + SETTLING);
            }
            let since = state.restored_since(loss, now);
            for ((user, connection), end) in &state.leases {
                let partition = partition(*user);
                if partitions[partition] && *end > since {
                    own[partition].push((*user, *connection, micros_until(now, *end)));
                }
            }
        }
        let (epoch, settling) = (new_epoch(), if settles { SETTLING } else { Duration::ZERO });
        for (partition, leases) in own.iter().enumerate().filter(|(partition, _)| partitions[*partition]) {
            // Also without leases: the other nodes need the time to restore theirs.
            for some in chunks_or_one(leases) {
                let mut call = RENEW.call(&self.keys[partition].all());
                call.arg(0).arg(&epoch).arg(settling.as_millis() as u64);
                for (user, connection, left) in some {
                    call.arg(user.as_bytes()).arg(connection.as_bytes()).arg(*left);
                }
                let answer: Vec<Vec<Vec<u8>>> = self.call(open, &RENEW, vec![call]).await?;
                let epoch = answer.into_iter().flatten().next();
                self.state().epochs[partition] = epoch;
            }
        }
        Ok(())
    }

    /// Compares the epochs of answers with those seen before, and restores what was lost. Returns whether anything was.
    async fn compare_epochs(
        &self,
        open: &Open,
        seen: impl IntoIterator<Item = (usize, Vec<u8>)>,
    ) -> Result<bool, ServerError> {
        let mut lost = [false; PARTITIONS];
        {
            let mut state = self.state();
            for (partition, epoch) in seen {
                match &state.epochs[partition] {
                    Some(known) if *known != epoch => lost[partition] = true,
                    None if !epoch.is_empty() => state.epochs[partition] = Some(epoch),
                    _ => {}
                }
            }
        }
        if !lost.contains(&true) {
            return Ok(false);
        }
        tracing::warn!(address = self.server.address(), "Redis has lost data: presence is restored");
        self.restore(open, &lost, Loss::OfData { intact_at: Some(Instant::now()) }).await?;
        Ok(true)
    }

    /// Runs calls of a script in one exchange.
    async fn call<T: FromRedisValue>(
        &self,
        open: &Open,
        script: &Code,
        calls: Vec<Cmd>,
    ) -> Result<Vec<T>, ServerError> {
        let mut commands = Pipeline::new();
        calls.into_iter().for_each(|call| {
            commands.add_command(call);
        });
        let answer = self.run(open, &commands).await;
        if answer.as_ref().is_err_and(is_unknown_script) {
            let mut load = Pipeline::new();
            load.cmd("SCRIPT").arg("LOAD").arg(script.text);
            let _hash: Vec<String> = self.run(open, &load).await?;
            self.run(open, &commands).await
        } else {
            answer
        }
    }

    /// Runs commands, and notes when the server last answered.
    async fn run<T: FromRedisValue>(&self, open: &Open, commands: &Pipeline) -> Result<T, ServerError> {
        let answer = self.requests.run(open, commands).await;
        if answer.is_ok() {
            self.state().answered_at = Some(Instant::now());
        }
        answer
    }

    async fn renew_all(&self, leases: &[Lease], ttl: Duration) -> Result<Vec<UserId>, ServerError> {
        let open = self.open().await?;
        let end = Instant::now() + ttl;
        let were_known: HashSet<UserId> = {
            let mut state = self.state();
            let before = leases.iter().filter(|lease| state.leases.contains_key(&key(lease)));
            let before = before.map(|lease| lease.user).collect();
            state.leases.extend(leases.iter().map(|lease| (key(lease), end)));
            before
        };
        let epoch = new_epoch();
        let (mut calls, mut partitions) = (Vec::new(), Vec::new());
        for (partition, leases) in by_partition(leases, |lease| lease.user) {
            for some in leases.chunks(AT_ONCE) {
                let mut call = RENEW.call(&self.keys[partition].all());
                call.arg(ttl.as_micros() as u64).arg(&epoch).arg("");
                for lease in some {
                    call.arg(lease.user.as_bytes()).arg(lease.connection.as_bytes());
                }
                calls.push(call);
                partitions.push(partition);
            }
        }
        let answers: Vec<Vec<Vec<u8>>> = self.call(&open, &RENEW, calls).await?;
        let (mut epochs, mut came) = (Vec::new(), Vec::new());
        for (partition, answer) in partitions.into_iter().zip(answers) {
            let mut answer = answer.into_iter();
            epochs.extend(answer.next().map(|epoch| (partition, epoch)));
            came.extend(answer.filter_map(|user| user_of(&user)));
        }
        if self.compare_epochs(&open, epochs).await? {
            // They are new to the server only.
            came.retain(|user| !were_known.contains(user));
        }
        Ok(came)
    }

    async fn release_all(&self, leases: &[Lease]) -> Result<(), ServerError> {
        let now = Instant::now();
        {
            let mut state = self.state();
            for lease in leases {
                if let Some(end) = state.leases.get_mut(&key(lease)) {
                    *end = now.min(*end);
                }
            }
            state.forget(now);
        }
        let open = self.open().await?;
        let mut calls = Vec::new();
        for (partition, leases) in by_partition(leases, |lease| lease.user) {
            let Keys { due, leases: key, .. } = &self.keys[partition];
            for some in leases.chunks(AT_ONCE) {
                let mut call = RELEASE.call(&[due, key]);
                for lease in some {
                    call.arg(lease.user.as_bytes()).arg(lease.connection.as_bytes());
                }
                calls.push(call);
            }
        }
        if !calls.is_empty() {
            let _done: Vec<Value> = self.call(&open, &RELEASE, calls).await?;
        }
        Ok(())
    }

    async fn sweep_all(&self, grace: Duration, limit: usize) -> Result<Vec<WentOffline>, ServerError> {
        let open = self.open().await?;
        self.state().grace = grace;
        let grace = grace.as_micros() as u64;
        let counts = self.keys.iter().map(|keys| {
            let mut call = COUNT.call(&[&keys.due, &keys.claimed, &keys.epoch]);
            call.arg(grace);
            call
        });
        let counts: Vec<(Vec<u8>, usize)> = self.call(&open, &COUNT, counts.collect()).await?;
        let epochs = counts.iter().enumerate().map(|(partition, (epoch, _))| (partition, epoch.clone()));
        if self.compare_epochs(&open, epochs).await? {
            return Ok(vec![]);
        }
        let (mut left, mut calls, mut partitions) = (limit, Vec::new(), Vec::new());
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        for turn in 0..PARTITIONS {
            let partition = first.wrapping_add(turn) % PARTITIONS;
            let most = left.min(counts.get(partition).map_or(0, |(_, count)| *count)).min(AT_ONCE);
            if most > 0 {
                let mut call = SWEEP.call(&self.keys[partition].all());
                call.arg(grace).arg(most).arg(CLAIM.as_micros() as u64);
                calls.push(call);
                partitions.push(partition);
                left -= most;
            }
        }
        if calls.is_empty() {
            return Ok(vec![]);
        }
        let answers: Vec<Vec<Vec<u8>>> = self.call(&open, &SWEEP, calls).await?;
        let (mut gone, mut confirmed) = (Vec::new(), Vec::new());
        for (partition, answer) in partitions.into_iter().zip(answers) {
            let Keys { leases, claimed, .. } = &self.keys[partition];
            let mut confirm = CONFIRM.call(&[leases, claimed]);
            for person in answer.chunks_exact(2) {
                confirm.arg(&person[0]);
                gone.extend(went_offline(&person[0], &person[1]));
            }
            confirmed.push(confirm);
        }
        // Without the confirmation another node announces these people as well: better twice than never.
        let _ = self.call::<Value>(&open, &CONFIRM, confirmed).await;
        Ok(gone)
    }

    async fn query_all(&self, users: &[UserId]) -> Result<Vec<PresenceState>, ServerError> {
        let states = self.query_once(users).await?;
        let settles_at = self.state().settles_at.filter(|at| *at > Instant::now());
        let Some(at) = settles_at else { return Ok(states) };
        // The other nodes may not have restored their leases yet.
        sleep(at.saturating_duration_since(Instant::now())).await;
        self.query_once(users).await
    }

    async fn query_once(&self, users: &[UserId]) -> Result<Vec<PresenceState>, ServerError> {
        let open = self.open().await?;
        let groups: Vec<_> = by_partition(users, |user| *user).collect();
        let mut commands = Pipeline::new();
        for (partition, users) in &groups {
            let Keys { due, epoch, .. } = &self.keys[*partition];
            commands.cmd("GET").arg(epoch);
            for some in users.chunks(AT_ONCE) {
                commands.cmd("ZMSCORE").arg(due);
                some.iter().for_each(|user| {
                    commands.arg(user.as_bytes());
                });
            }
        }
        let answers: Vec<Value> = self.run(&open, &commands).await?;
        let (mut answers, mut epochs) = (answers.into_iter(), Vec::new());
        let mut online = HashSet::new();
        for (partition, users) in &groups {
            let epoch = answers.next().map(Option::<Vec<u8>>::from_redis_value).transpose();
            let epoch = epoch.map_err(redis::RedisError::from)?.flatten();
            epochs.push((*partition, epoch.unwrap_or_default()));
            for some in users.chunks(AT_ONCE) {
                let scores = answers.next().map(Vec::<Option<f64>>::from_redis_value).transpose();
                let scores = scores.map_err(redis::RedisError::from)?.unwrap_or_default();
                let there = some.iter().zip(scores).filter(|(_, score)| score.is_some());
                online.extend(there.map(|(user, _)| **user));
            }
        }
        self.compare_epochs(&open, epochs).await?;
        Ok(users.iter().map(|user| PresenceState { user: *user, online: online.contains(user) }).collect())
    }
}

impl fmt::Debug for RedisPresence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisPresence").field("address", &self.server.address()).finish_non_exhaustive()
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

impl State {
    /// The leases that are restored are those that end after this. Of the others, people are only still to be announced as gone
    /// if the data were lost in their grace period, or before the next sweep, which is a second later.
    fn restored_since(&self, loss: Loss, now: Instant) -> Instant {
        match loss {
            Loss::OfData { intact_at: Some(at) } => {
                at.checked_sub(self.grace + SWEEPS).map_or(now, |since| since.min(now))
            }
            _ => now,
        }
    }

    /// Forgets leases that ended long ago. It looks at all of them, so it does so only from time to time.
    fn forget(&mut self, now: Instant) {
        let is_due = self.forgotten_at.is_none_or(|at| now.duration_since(at) > REMEMBERED / 4);
        if is_due {
            self.forgotten_at = Some(now);
            self.leases.retain(|_, end| now.saturating_duration_since(*end) < REMEMBERED);
            // What a burst of connections took is given back.
            self.leases.shrink_to(self.leases.len() * 2);
        }
    }
}

fn key(lease: &Lease) -> (UserId, ConnectionId) {
    (lease.user, lease.connection)
}

/// By the last byte of the id, which is random.
fn partition(user: UserId) -> usize {
    usize::from(user.as_bytes()[15]) % PARTITIONS
}

/// The items of each partition that has any.
fn by_partition<T>(items: &[T], user: impl Fn(&T) -> UserId) -> impl Iterator<Item = (usize, Vec<&T>)> {
    let mut groups: [Vec<&T>; PARTITIONS] = Default::default();
    items.iter().for_each(|item| groups[partition(user(item))].push(item));
    groups.into_iter().enumerate().filter(|(_, group)| !group.is_empty())
}

fn chunks_or_one<T>(items: &[T]) -> impl Iterator<Item = &[T]> {
    let empty = items.is_empty().then_some(items);
    empty.into_iter().chain(items.chunks(AT_ONCE))
}

fn micros_until(now: Instant, end: Instant) -> i64 {
    let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    match end.checked_duration_since(now) {
        Some(left) => micros(left),
        None => -micros(now.duration_since(end)),
    }
}

/// A random value that no other state of a server has.
fn new_epoch() -> String {
    format!("{:016x}", RandomState::new().hash_one(()))
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
