//! Connections, and the promise that none is used again with something under way on it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{TryStreamExt as _, future::BoxFuture};
use messenger_core::ports::{StoreError, StoreErrorKind, StoreResult};
use messenger_sql::turns::{Caller, Seat, Turns};
use sqlx::{Connection as _, PgPool, Postgres, SqlStr, pool::PoolConnection, postgres::PgConnection};
use tokio::{
    runtime::Handle,
    time::{Instant, timeout_at},
};

use super::{
    Statements,
    errors::{is_of_another_transaction, leaves_the_connection_usable, store_error},
    sql::{Columns, Query},
};
use crate::row::Fetched;

/// Where intents get their connections from.
///
/// The pool of sqlx opens and closes them. Of a pool of our own, those that are free are kept here: given back to
/// sqlx, each would cost an exchange with the server and a task, because sqlx can't know that nothing is under way
/// on it.
#[derive(Debug)]
pub(super) struct Connections {
    pool: PgPool,
    settings: Settings,
    pub(super) statements: Arc<Statements>,
    /// With a seat for each connection that the pool may have.
    turns: Turns,
    /// The one that was used last is used next, so that those not needed grow old.
    free: Mutex<Vec<Session>>,
    broken_at: BrokenAt,
}

/// How connections are used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    /// Whether the pool is the host's: then nothing of it is kept or closed, and each write has a transaction of its own,
    /// so that it is not rolled back with one that the host has left open.
    pub(super) shared: bool,
    /// Whether a pooler may give each transaction another connection of the server.
    pub(super) pooled: bool,
    /// How many intents wait for a connection at most.
    pub(super) max_waiting: usize,
    /// The longest wait for a connection.
    pub(super) acquire_timeout: Duration,
    /// The longest time from call to answer.
    pub(super) timeout: Duration,
}

/// How an intent uses its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// One statement that changes nothing, or several whose order does not matter.
    Read,
    /// As `Read`, for what may look at very much if the server decides by what it has counted.
    Planned,
    /// One statement, which the server does as a whole or not at all.
    Statement,
    /// Several, as a whole or not at all. Each sees what was committed when it began.
    Transaction,
}

/// When a connection was last found broken: those that have not been used since may be, too.
type BrokenAt = Arc<Mutex<Option<Instant>>>;

impl Connections {
    /// One that was free for longer is asked whether it is still there before it is used.
    const QUIET: Duration = Duration::from_secs(5);
    /// One that was free for longer is closed when another one is given back.
    const IDLE: Duration = Duration::from_secs(600);
    /// One that is older is closed after use: a server that was moved is found, and the server's caches don't grow for
    /// ever.
    pub(super) const LIFETIME: Duration = Duration::from_secs(1800);

    pub(super) fn new(pool: PgPool, settings: Settings, statements: Arc<Statements>) -> Self {
        let turns = Turns::new(pool.options().get_max_connections(), settings.max_waiting);
        Self { pool, settings, statements, turns, free: Mutex::default(), broken_at: BrokenAt::default() }
    }

    /// Does the work with a connection. Once begun it goes on wherever its caller is; a caller that goes away before
    /// leaves it undone.
    pub(super) async fn run<T, F>(self: &Arc<Self>, way: Way, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: for<'s> FnOnce(&'s mut Session) -> BoxFuture<'s, StoreResult<T>> + Send + 'static,
    {
        let Settings { acquire_timeout, timeout, .. } = self.settings;
        let now = Instant::now();
        let (until, deadline) = (now + acquire_timeout.min(timeout), now + timeout);
        let connections = Arc::clone(self);
        let work = move |seat, caller: Caller<T>| async move {
            let session = match connections.session(seat, until).await {
                Ok(session) => session,
                Err(error) => return caller.answer(Err(error)),
            };
            if caller.is_gone() {
                return connections.give_back(session);
            }
            // A connection that does not answer is closed when its time is over: the session is dropped with the work.
            let answer = timeout_at(deadline, connections.work(session, way, work)).await;
            caller.answer(answer.unwrap_or_else(|elapsed| Err(unavailable(elapsed))));
        };
        self.turns.run(until, work).await
    }

    async fn work<T, F>(&self, mut session: Session, way: Way, work: F) -> StoreResult<T>
    where
        F: for<'s> FnOnce(&'s mut Session) -> BoxFuture<'s, StoreResult<T>>,
    {
        let result = match self.begin(way) {
            None => work(&mut session).await,
            Some(begin) => {
                session.begin(begin).await?;
                let result = work(&mut session).await;
                session.end(result).await
            }
        };
        self.give_back(session);
        result
    }

    /// The statements that begin a transaction, where one is to be begun.
    fn begin(&self, way: Way) -> Option<SqlStr> {
        let Settings { shared, pooled, .. } = self.settings;
        match way {
            Way::Read if !pooled => None,
            // All connections of our own are told when they are opened.
            Way::Planned if !pooled && !shared => None,
            Way::Planned => Some(self.statements.begin_planned.clone()),
            Way::Statement if !pooled && !shared => None,
            _ => Some(self.statements.begin.clone()),
        }
    }

    /// A statement to be bound and run.
    pub(super) fn query(&self, text: &SqlStr) -> Query {
        sqlx::query(text.clone()).persistent(!self.settings.pooled)
    }

    async fn session(&self, seat: Seat, until: Instant) -> StoreResult<Session> {
        while let Some((mut session, is_doubtful)) = self.take() {
            if !is_doubtful || timeout_at(until, session.is_alive()).await == Ok(true) {
                session.seat = Some(seat);
                return Ok(session);
            }
        }
        let connection = timeout_at(until, self.pool.acquire()).await;
        let connection = connection.map_err(unavailable)?.map_err(store_error)?;
        Ok(Session {
            connection: Some(connection),
            opened_at: Instant::now(),
            free_since: Instant::now(),
            seat: Some(seat),
            statements: Arc::clone(&self.statements),
            broken_at: Arc::clone(&self.broken_at),
            persistent: !self.settings.pooled,
            busy: false,
            in_transaction: false,
            is_old: false,
        })
    }

    /// The connection that was used last, and whether it may be broken.
    fn take(&self) -> Option<(Session, bool)> {
        let session = lock(&self.free).pop()?;
        let is_doubtful = session.free_since.elapsed() > Self::QUIET
            || lock(&self.broken_at).is_some_and(|broken_at| session.free_since < broken_at);
        Some((session, is_doubtful))
    }

    fn give_back(&self, mut session: Session) {
        if self.settings.shared || self.turns.is_closed() || !session.is_at_rest() {
            return;
        }
        if session.opened_at.elapsed() > Self::LIFETIME {
            session.is_old = true;
            return;
        }
        session.free_since = Instant::now();
        let seat = session.seat.take();
        let mut free = lock(&self.free);
        free.push(session);
        // Those at the bottom are those that were not needed for the longest time.
        let idle = free.iter().take_while(|session| session.free_since.elapsed() > Self::IDLE).count();
        let mut idle: Vec<_> = free.drain(..idle).collect();
        drop(free);
        idle.iter_mut().for_each(|session| session.is_old = true);
        // Not before the connection is there to be taken: else the next one in line would open another.
        drop(seat);
    }

    /// Waits for what is under way. Whoever comes later is refused.
    pub(super) async fn close(&self) {
        self.turns.close().await;
        let free = std::mem::take(&mut *lock(&self.free));
        drop(free);
        if !self.settings.shared {
            self.pool.close().await;
        }
    }
}

/// A connection on which one intent is at work. Dropped while something is under way on it, it is closed, and the
/// server undoes what was not committed.
#[derive(Debug)]
pub(super) struct Session {
    /// Taken out when this is dropped.
    connection: Option<PoolConnection<Postgres>>,
    opened_at: Instant,
    free_since: Instant,
    /// None while it is free.
    seat: Option<Seat>,
    pub(super) statements: Arc<Statements>,
    broken_at: BrokenAt,
    persistent: bool,
    /// Something was sent, and not all of the answer has come.
    busy: bool,
    in_transaction: bool,
    /// It is to be closed, and not given back to the pool.
    is_old: bool,
}

impl Session {
    /// A statement to be bound and run.
    pub(super) fn query(&self, text: &SqlStr) -> Query {
        sqlx::query(text.clone()).persistent(self.persistent)
    }

    /// All rows of a query.
    pub(super) async fn all<T>(
        &mut self,
        query: Query,
        mut read: impl FnMut(&mut Columns<'_>) -> StoreResult<T>,
    ) -> StoreResult<Vec<T>> {
        self.busy = true;
        let mut all = vec![];
        let mut rows = query.fetch(self.connection());
        let ended = loop {
            match rows.try_next().await {
                Ok(Some(row)) => all.push(read(&mut Columns::of(&Fetched(row)))?),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        drop(rows);
        self.settle(ended)?;
        Ok(all)
    }

    /// The only row of a query.
    pub(super) async fn one<T>(
        &mut self,
        query: Query,
        read: impl FnMut(&mut Columns<'_>) -> StoreResult<T>,
    ) -> StoreResult<Option<T>> {
        Ok(self.all(query, read).await?.pop())
    }

    /// Runs a statement and answers how many rows it changed.
    pub(super) async fn execute(&mut self, query: Query) -> StoreResult<u64> {
        self.busy = true;
        let done = query.execute(self.connection()).await;
        self.settle(done).map(|done| done.rows_affected())
    }

    /// Runs statements without parameters.
    pub(super) async fn execute_all(&mut self, text: SqlStr) -> StoreResult<()> {
        self.busy = true;
        let done = sqlx::raw_sql(text).execute(self.connection()).await;
        self.settle(done).map(drop)
    }

    fn settle<T>(&mut self, done: Result<T, sqlx::Error>) -> StoreResult<T> {
        self.busy = done.as_ref().is_err_and(|error| !leaves_the_connection_usable(error));
        done.map_err(store_error)
    }

    async fn begin(&mut self, begin: SqlStr) -> StoreResult<()> {
        self.in_transaction = true;
        match self.execute_all(begin.clone()).await {
            // The host has left a transaction open on a connection of its pool.
            Err(error) if is_of_another_transaction(&error) => {
                self.execute_all(SqlStr::from_static("ROLLBACK")).await?;
                self.execute_all(begin).await
            }
            begun => begun,
        }
    }

    /// Commits what has gone well, and undoes the rest.
    async fn end<T>(&mut self, result: StoreResult<T>) -> StoreResult<T> {
        if self.busy {
            return result;
        }
        let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = self.execute_all(SqlStr::from_static(end)).await;
        self.in_transaction = ended.is_err();
        ended.and(result)
    }

    const fn is_at_rest(&self) -> bool {
        !self.busy && !self.in_transaction
    }

    async fn is_alive(&mut self) -> bool {
        self.busy = true;
        self.busy = self.connection().ping().await.is_err();
        !self.busy
    }

    #[expect(clippy::expect_used, reason = "it is there until the session is dropped")]
    fn connection(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("the session has its connection")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        if Handle::try_current().is_err() {
            // The pool gives back and closes in tasks. Without a runtime it is enough to close the socket.
            drop(connection.detach());
            return;
        }
        if !self.is_at_rest() {
            *lock(&self.broken_at) = Some(Instant::now());
        }
        if self.is_old || !self.is_at_rest() {
            connection.close_on_drop();
        }
    }
}

/// Nothing that is locked here can be left half changed.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unavailable(cause: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, cause)
}
