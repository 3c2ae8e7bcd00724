use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use messenger_core::{
    ConnectionId, Timestamp, UserId,
    ports::{Lease, PresenceError, PresenceState, PresenceStore, WentOffline},
};
use sqlx::{PgConnection, types::Uuid};
use tokio::time::{Instant, sleep, timeout};

use super::{
    line::{Line, LineError, Open, Server},
    sql::uuids,
    statements::presence::Sql,
};

/// Within this time all nodes have restored what the server lost: each of them calls it every second.
const SETTLING: Duration = Duration::from_millis(2500);
/// After a server did not answer for this long, leases may have ended only because nobody could renew them.
const AWAY: Duration = Duration::from_secs(2);
/// How long after the grace period people have been announced as gone at the latest.
const SWEEPS: Duration = Duration::from_secs(2);
/// How long an ended lease is remembered, to be restored with the others, so that its person is still announced as gone.
const REMEMBERED: Duration = Duration::from_secs(120);
/// Leases that are restored in one statement.
const AT_ONCE: usize = 1000;

/// A [`PresenceStore`] in two unlogged tables of PostgreSQL: leases by the server's clock, changed a batch in one statement.
///
/// The tables are empty after a crash of the server: each node restores the leases of its own connections as soon as it notices,
/// and until all nodes have had time to do so nobody goes offline. They are made by the migrations of
/// [`PostgresStore`](super::PostgresStore).
///
/// ```no_run
/// use std::time::Duration;
/// use messenger_core::{context::Context, ports::{Lease, PresenceStore as _}};
/// use messenger_sqlx::PostgresNodes;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let presence = PostgresNodes::open("postgres://chat@db.example.org/chat")?.presence();
/// let context = Context::system();
/// let lease = Lease { user: context.id(), connection: context.id() };
/// assert_eq!(presence.renew(&[lease], Duration::from_secs(60)).await?, [lease.user]);
/// # Ok(())
/// # }
/// ```
pub struct PostgresPresence {
    line: Line,
    sql: Sql,
    state: Mutex<State>,
}

/// What this node knows, to restore it on a server that has lost it.
#[derive(Default)]
struct State {
    /// When each lease that the server has confirmed ends or ended.
    leases: HashMap<(UserId, ConnectionId), Instant>,
    forgotten_at: Option<Instant>,
    /// The epoch of the tables that have them.
    epoch: Option<Uuid>,
    answered_at: Option<Instant>,
    /// The grace period of the last sweep.
    grace: Duration,
}

/// What has happened to the tables since the last answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// The server was away for so long that leases may have ended which nobody could renew.
    OfTime,
    /// The tables were emptied.
    OfData,
}

impl PostgresPresence {
    pub(super) fn new(server: Arc<Server>) -> Self {
        let sql = Sql::new(&server.schema);
        Self { line: Line::new(server, "messenger presence"), sql, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No holder leaves it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to a statement, in time.
    async fn answer<T>(
        &self,
        statement: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, LineError> {
        Ok(timeout(self.line.server().timeout, statement).await.map_err(|_| LineError::Late)??)
    }

    /// A connection with a transaction, on a server that has been given the leases that it may have lost; and for how long nobody
    /// goes offline yet.
    ///
    /// What is reported of people is read before it is committed: if the answer is lost, so is the change, and the next call reports
    /// it.
    async fn begin(&self) -> Result<(Open<'_>, Duration), LineError> {
        let mut open = self.line.open().await?;
        let (epoch, settles) = self.begin_on(&mut open.connection).await?;
        let Some(loss) = self.state().loss(epoch, open.is_new) else {
            self.state().epoch = epoch;
            return Ok((open, settles));
        };
        let epoch = self.restore(&mut open.connection, loss).await?;
        self.commit(&mut open.connection).await?;
        self.state().epoch = Some(epoch);
        let (_, settles) = self.begin_on(&mut open.connection).await?;
        Ok((open, settles))
    }

    async fn begin_on(&self, connection: &mut PgConnection) -> Result<(Option<Uuid>, Duration), LineError> {
        let begin = sqlx::raw_sql(self.sql.begin.clone()).fetch_all(connection);
        let row = self.answer(begin).await?.pop();
        let Some(row) = row else { return Ok((None, Duration::ZERO)) };
        let settles: i64 = sqlx::Row::try_get(&row, 1)?;
        Ok((Some(sqlx::Row::try_get(&row, 0)?), Duration::from_micros(settles.try_into().unwrap_or(0))))
    }

    async fn commit(&self, connection: &mut PgConnection) -> Result<(), LineError> {
        self.answer(sqlx::raw_sql("COMMIT").execute(connection)).await?;
        self.state().answered_at = Some(Instant::now());
        Ok(())
    }

    async fn end(&self, mut open: Open<'_>) -> Result<(), LineError> {
        self.commit(&mut open.connection).await?;
        open.keep();
        Ok(())
    }

    /// Gives the server this node's leases, and lets nobody go offline until the other nodes have had time to do the same. Returns
    /// the epoch.
    async fn restore(&self, connection: &mut PgConnection, loss: Loss) -> Result<Uuid, LineError> {
        tracing::warn!(place = self.line.server().place, ?loss, "presence is restored on PostgreSQL");
        let settle = sqlx::query_scalar(self.sql.settle.clone()).bind(micros(SETTLING));
        let epoch = self.answer(settle.fetch_one(&mut *connection)).await?;
        let leases: Vec<_> = self.state().restored(loss, Instant::now()).into_iter().collect();
        for some in leases.chunks(AT_ONCE) {
            let some = some.iter().copied().collect();
            // Who has been reported as gone meanwhile, by a server that has its data, comes anew with the next renewal.
            self.renew_on(connection, &some, loss == Loss::OfData).await?;
        }
        Ok(epoch)
    }

    /// Takes or renews leases that end after so many microseconds; of people who are not online only if they are to come. Returns
    /// those who did.
    async fn renew_on(
        &self,
        connection: &mut PgConnection,
        leases: &BTreeMap<(UserId, ConnectionId), i64>,
        may_come: bool,
    ) -> Result<Vec<UserId>, LineError> {
        let (users, connections): (Vec<Uuid>, Vec<Uuid>) =
            leases.keys().map(|(user, connection)| (user.as_uuid(), connection.as_uuid())).unzip();
        let left: Vec<i64> = leases.values().copied().collect();
        let renew = sqlx::query_scalar(self.sql.renew.clone());
        let renew = renew.bind(users).bind(connections).bind(left).bind(may_come).fetch_all(connection);
        let came: Vec<Uuid> = self.answer(renew).await?;
        Ok(came.into_iter().map(UserId::from_uuid).collect())
    }

    async fn renew_all(&self, leases: &[Lease], ttl: Duration) -> Result<Vec<UserId>, LineError> {
        let end = Instant::now() + ttl;
        let (mut open, _) = self.begin().await?;
        let left = leases.iter().map(|lease| (key(lease), micros(ttl))).collect();
        let came = self.renew_on(&mut open.connection, &left, true).await?;
        self.commit(&mut open.connection).await?;
        self.state().leases.extend(leases.iter().map(|lease| (key(lease), end)));
        open.keep();
        Ok(came)
    }

    async fn release_all(&self, leases: &[Lease]) -> Result<(), LineError> {
        // Also if the server is not reached, so that they are not restored.
        self.state().end(leases, Instant::now());
        let (mut open, _) = self.begin().await?;
        // Once more: they may have been renewed while this waited for its turn.
        self.state().end(leases, Instant::now());
        let (users, connections) = (
            uuids(leases.iter().map(|lease| &lease.user)),
            uuids(leases.iter().map(|lease| &lease.connection)),
        );
        let release = sqlx::query(self.sql.release.clone()).bind(users).bind(connections);
        self.answer(release.execute(&mut open.connection)).await?;
        self.end(open).await
    }

    async fn sweep_all(&self, grace: Duration, limit: usize) -> Result<Vec<WentOffline>, LineError> {
        self.state().grace = grace;
        let (mut open, _) = self.begin().await?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let sweep = sqlx::query_as(self.sql.sweep.clone()).bind(micros(grace)).bind(limit);
        let gone: Vec<(Uuid, i64)> = self.answer(sweep.fetch_all(&mut open.connection)).await?;
        // If it is not known whether this is committed, these people may be reported once more: better twice than never.
        let ended = self.end(open).await;
        if gone.is_empty() {
            ended?;
        }
        let gone = gone.into_iter().map(|(user, at)| WentOffline {
            user: UserId::from_uuid(user),
            last_seen: Timestamp::from_micros(at),
        });
        Ok(gone.collect())
    }

    async fn query_all(&self, users: &[UserId]) -> Result<Vec<PresenceState>, LineError> {
        let (states, settles) = self.query_once(users).await?;
        if settles.is_zero() || states.iter().all(|state| state.online) {
            return Ok(states);
        }
        // The other nodes may not have restored their leases yet.
        sleep(settles.min(SETTLING)).await;
        Ok(self.query_once(users).await?.0)
    }

    async fn query_once(&self, users: &[UserId]) -> Result<(Vec<PresenceState>, Duration), LineError> {
        let (mut open, settles) = self.begin().await?;
        let query = sqlx::query_scalar(self.sql.query.clone()).bind(uuids(users));
        let online: Vec<Uuid> = self.answer(query.fetch_all(&mut open.connection)).await?;
        self.end(open).await?;
        let online: HashSet<Uuid> = online.into_iter().collect();
        let state = |user: &UserId| PresenceState { user: *user, online: online.contains(&user.as_uuid()) };
        Ok((users.iter().map(state).collect(), settles))
    }
}

impl fmt::Debug for PostgresPresence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresPresence").field("place", &self.line.server().place).finish_non_exhaustive()
    }
}

#[async_trait]
impl PresenceStore for PostgresPresence {
    async fn renew(&self, leases: &[Lease], ttl: Duration) -> Result<Vec<UserId>, PresenceError> {
        if leases.is_empty() {
            return Ok(vec![]);
        }
        self.renew_all(leases, ttl).await.map_err(failed)
    }

    async fn release(&self, leases: &[Lease]) -> Result<(), PresenceError> {
        if leases.is_empty() {
            return Ok(());
        }
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
    /// What was lost, where the tables have this epoch now; a loss of time shows only in a connection that is new.
    fn loss(&self, epoch: Option<Uuid>, is_new: bool) -> Option<Loss> {
        let is_another = epoch.is_none() || self.epoch.is_some_and(|known| Some(known) != epoch);
        let was_away = is_new && self.answered_at.is_some_and(|at| at.elapsed() > AWAY);
        is_another.then_some(Loss::OfData).or(was_away.then_some(Loss::OfTime))
    }

    /// The leases to restore, with the microseconds that are left of each. Of those that have ended, only people are still to be
    /// announced as gone who were in their grace period when the data were last there, or before the next sweep, a second later.
    fn restored(&self, loss: Loss, now: Instant) -> BTreeMap<(UserId, ConnectionId), i64> {
        let intact_at = self.answered_at.unwrap_or(now);
        let since = match loss {
            Loss::OfTime => now,
            Loss::OfData => intact_at.checked_sub(self.grace + SWEEPS).unwrap_or(intact_at),
        };
        let left = |end: Instant| {
            micros(end.saturating_duration_since(now)) - micros(now.saturating_duration_since(end))
        };
        let leases = self.leases.iter().filter(|(_, end)| **end > since);
        leases.map(|(key, end)| (*key, left(*end))).collect()
    }

    fn end(&mut self, leases: &[Lease], now: Instant) {
        for lease in leases {
            if let Some(end) = self.leases.get_mut(&key(lease)) {
                *end = now.min(*end);
            }
        }
        self.forget(now);
    }

    /// Forgets leases that ended long ago. It looks at all of them, so it does so only from time to time.
    fn forget(&mut self, now: Instant) {
        if self.forgotten_at.is_none_or(|at| now.duration_since(at) > REMEMBERED / 4) {
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

/// At most so many that the server can add them to the time of day.
fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX).min(i64::MAX / 4)
}

fn failed(error: LineError) -> PresenceError {
    PresenceError(error.into())
}
