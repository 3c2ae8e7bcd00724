//! Connections, and the promise that none is used again with something under way on it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{TryStreamExt as _, future::BoxFuture};
use messenger_core::ports::{StoreError, StoreErrorKind, StoreResult};
use sqlx::{
    Connection as _, PgPool, Postgres, SqlStr,
    pool::PoolConnection,
    postgres::{PgConnection, PgRow},
};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::{
    Statements,
    errors::{is_of_another_transaction, leaves_the_connection_usable, store_error},
    sql::Query,
};
use crate::{columns::Columns, finish::Finish};

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
    /// One for each connection that the pool may have.
    seats: Arc<Semaphore>,
    free: Mutex<Free>,
}

/// How connections are used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    /// Whether the pool is the host's: then nothing of it is kept or closed, and a transaction that the host has left
    /// open is not taken for ours.
    pub(super) shared: bool,
    /// Whether a pooler may give each transaction another connection of the server.
    pub(super) pooled: bool,
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
    /// One statement, which the server does as a whole or not at all.
    Statement,
    /// Several, as a whole or not at all. Each sees what was committed when it began.
    Transaction,
}

#[derive(Debug)]
struct Free {
    /// The one that was used last is used next, so that those not needed grow old.
    sessions: Vec<Session>,
    /// When a connection was last found broken: those of before may be, too.
    broken_at: Option<Instant>,
}

impl Connections {
    /// One that was free for longer is asked whether it is still there before it is used.
    const QUIET: Duration = Duration::from_secs(5);
    /// One that was free for longer is given back to the pool.
    const IDLE: Duration = Duration::from_secs(600);
    /// One that is older is given back to the pool, which closes it: a server that was moved or has grown is found,
    /// and the server's caches don't grow for ever.
    pub(super) const LIFETIME: Duration = Duration::from_secs(1800);

    pub(super) fn new(pool: PgPool, settings: Settings, statements: Arc<Statements>) -> Self {
        let seats = Arc::new(Semaphore::new(pool.options().get_max_connections() as usize));
        let free = Mutex::new(Free { sessions: vec![], broken_at: None });
        Self { pool, settings, statements, seats, free }
    }

    /// Does the work with a connection. A caller that goes away before it has begun leaves it undone; after that it
    /// is finished without the caller.
    pub(super) async fn run<T, F>(self: &Arc<Self>, way: Way, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: for<'s> FnOnce(&'s mut Session) -> BoxFuture<'s, StoreResult<T>> + Send + 'static,
    {
        let deadline = Instant::now() + self.settings.timeout;
        let session = self.session().await?;
        let connections = Arc::clone(self);
        // A connection that does not answer is closed when its time is over: the session is dropped with the work.
        let work = async move { timeout_at(deadline, connections.work(session, way, work)).await };
        Finish::new(work).await.unwrap_or_else(|elapsed| Err(unavailable(elapsed)))
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
            Way::Statement if !pooled && !shared => None,
            _ => Some(self.statements.begin.clone()),
        }
    }

    /// A statement to be bound and run.
    pub(super) fn query(&self, text: &SqlStr) -> Query {
        sqlx::query(text.clone()).persistent(!self.settings.pooled)
    }

    async fn session(self: &Arc<Self>) -> StoreResult<Session> {
        let deadline = Instant::now() + self.settings.acquire_timeout;
        let seat = timeout_at(deadline, Arc::clone(&self.seats).acquire_owned()).await;
        let seat = seat.map_err(unavailable)?.map_err(unavailable)?;
        while let Some((mut session, is_doubtful)) = self.take() {
            if !is_doubtful || timeout_at(deadline, session.is_alive()).await == Ok(true) {
                session.seat = Some(seat);
                return Ok(session);
            }
            self.free().broken_at = Some(Instant::now());
        }
        let connection = timeout_at(deadline, self.pool.acquire()).await;
        let connection = connection.map_err(unavailable)?.map_err(store_error)?;
        Ok(Session {
            connection: Some(connection),
            opened_at: Instant::now(),
            free_since: Instant::now(),
            seat: Some(seat),
            statements: Arc::clone(&self.statements),
            persistent: !self.settings.pooled,
            busy: false,
            in_transaction: false,
        })
    }

    /// The connection that was used last, and whether it may be broken.
    fn take(&self) -> Option<(Session, bool)> {
        let mut free = self.free();
        let session = free.sessions.pop()?;
        let is_doubtful = session.free_since.elapsed() > Self::QUIET
            || free.broken_at.is_some_and(|broken_at| session.opened_at < broken_at);
        Some((session, is_doubtful))
    }

    fn give_back(&self, mut session: Session) {
        if !session.is_at_rest() {
            self.free().broken_at = Some(Instant::now());
            return;
        }
        if self.settings.shared || self.seats.is_closed() || session.opened_at.elapsed() > Self::LIFETIME {
            return;
        }
        session.free_since = Instant::now();
        let seat = session.seat.take();
        let mut free = self.free();
        free.sessions.push(session);
        // The one at the bottom is the one that was not needed for the longest time.
        let is_idle = free.sessions[0].free_since.elapsed() > Self::IDLE;
        let idle = is_idle.then(|| free.sessions.remove(0));
        drop(free);
        drop(idle);
        // Not before the connection is there to be taken: else the next one in line would open another.
        drop(seat);
    }

    fn free(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for what is under way. Whoever comes later is refused.
    pub(super) async fn close(&self) {
        let all = self.pool.options().get_max_connections();
        let under_way = self.seats.acquire_many(all).await;
        self.seats.close();
        drop(under_way);
        let free = std::mem::take(&mut self.free().sessions);
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
    seat: Option<OwnedSemaphorePermit>,
    pub(super) statements: Arc<Statements>,
    persistent: bool,
    /// Something was sent, and not all of the answer has come.
    busy: bool,
    in_transaction: bool,
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
        mut read: impl FnMut(&mut Columns<'_, PgRow>) -> StoreResult<T>,
    ) -> StoreResult<Vec<T>> {
        self.busy = true;
        let mut all = vec![];
        let mut rows = query.fetch(self.connection());
        let ended = loop {
            match rows.try_next().await {
                Ok(Some(row)) => all.push(read(&mut Columns::of(&row))?),
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
        read: impl FnMut(&mut Columns<'_, PgRow>) -> StoreResult<T>,
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
        } else if !self.is_at_rest() {
            connection.close_on_drop();
        }
    }
}

fn unavailable(cause: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, cause)
}
