//! Connections, with the guarantee that none is reused while something is in progress on it.

use std::{sync::Arc, time::Duration};

use futures::{TryStreamExt as _, future::BoxFuture};
use messenger_core::ports::{StoreError, StoreErrorKind, StoreResult};
use messenger_sql::pool::{self, Connect, Connection, Pool};
use sqlx::{
    ConnectOptions as _, Connection as _, PgPool, Postgres, SqlStr, pool::PoolConnection,
    postgres::PgConnection,
};
use tokio::{
    runtime::Handle,
    time::{Instant, timeout_at},
};

use super::{
    errors::{is_of_another_transaction, leaves_the_connection_usable, store_error},
    sql::{Columns, Query},
    statements::Statements,
};
use crate::row::Fetched;

/// Provides intents with connections.
#[derive(Debug)]
pub(super) struct Connections {
    settings: Settings,
    pub(super) statements: Arc<Statements>,
    pool: Arc<Pool<Opener>>,
}

/// How connections are used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    /// Whether the pool is the host's: then none of its connections is kept or closed, and each write has a transaction
    /// of its own, so that it is not rolled back with one that the host has left open.
    pub(super) shared: bool,
    /// Whether a pooler may give each transaction another connection of the server.
    pub(super) pooled: bool,
    /// Maximum number of intents that wait for a connection.
    pub(super) max_waiting: usize,
    /// The longest wait for a connection.
    pub(super) acquire_timeout: Duration,
    /// The longest time from call to answer.
    pub(super) timeout: Duration,
}

/// Opens and closes connections with the pool of sqlx. Free connections of our own pool are kept outside of it:
/// returned to sqlx, each would cost a round trip to the server and a task, because sqlx can't know that nothing is in
/// progress on it.
#[derive(Debug)]
struct Opener {
    pool: PgPool,
    statements: Arc<Statements>,
    persistent: bool,
}

/// How an intent uses its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// One read-only statement, or several whose order does not matter.
    Read,
    /// As `Read`, for statements that might read very much if the server planned them by its statistics.
    Planned,
    /// One statement, which the server carries out as a whole or not at all.
    Statement,
    /// Several statements, carried out as a whole or not at all. Each sees what was committed when it began.
    Transaction,
}

impl Connections {
    /// A connection that was free for longer is closed when another one is used.
    const IDLE: Duration = Duration::from_secs(600);
    /// An older connection is closed after use.
    pub(super) const LIFETIME: Duration = Duration::from_secs(1800);

    pub(super) fn new(pool: PgPool, settings: Settings, statements: Arc<Statements>) -> Self {
        let of_pool = pool::Settings {
            max_connections: pool.options().get_max_connections(),
            max_waiting: settings.max_waiting,
            acquire_timeout: settings.acquire_timeout,
            timeout: settings.timeout,
            idle_timeout: Self::IDLE,
            max_lifetime: Self::LIFETIME,
            keeps_free: !settings.shared,
        };
        let opener = Opener { pool, statements: Arc::clone(&statements), persistent: !settings.pooled };
        Self { settings, statements, pool: Arc::new(Pool::new(opener, of_pool)) }
    }

    /// Runs the work with a connection. Once begun, it continues whether or not its caller polls it; if the caller goes
    /// away before, it is not begun.
    pub(super) async fn run<T, F>(&self, mode: Mode, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: for<'s> FnOnce(&'s mut Session) -> BoxFuture<'s, StoreResult<T>> + Send + 'static,
    {
        let begin = self.begin(mode);
        let work = move |mut session: pool::Pooled<Session>| async move {
            let answer = session.run(begin, work).await;
            (session, answer)
        };
        self.pool.run(work).await
    }

    /// The statements that begin a transaction, if this mode needs one.
    fn begin(&self, mode: Mode) -> Option<SqlStr> {
        let Settings { shared, pooled, .. } = self.settings;
        match mode {
            Mode::Read if !pooled => None,
            // Our own connections get these settings when they are opened.
            Mode::Planned if !pooled && !shared => None,
            Mode::Planned => Some(self.statements.begin_planned.clone()),
            Mode::Statement if !pooled && !shared => None,
            _ => Some(self.statements.begin.clone()),
        }
    }

    /// Runs statements outside of any transaction, one after the other, for as long as they take, on a connection of their own.
    pub(super) async fn run_apart(&self, statements: &[SqlStr]) -> StoreResult<()> {
        let options = self.pool.connect().pool.connect_options();
        let mut conn = options.connect().await.map_err(store_error)?;
        if !self.settings.pooled {
            let limitless = "SET statement_timeout = 0";
            sqlx::raw_sql(limitless).execute(&mut conn).await.map_err(store_error)?;
        }
        for statement in statements {
            sqlx::raw_sql(statement.clone()).execute(&mut conn).await.map_err(store_error)?;
        }
        let _ = conn.close().await;
        Ok(())
    }

    /// Makes a query to bind and run.
    pub(super) fn query(&self, text: &SqlStr) -> Query {
        sqlx::query(text.clone()).persistent(!self.settings.pooled)
    }

    /// Waits for running work. Later calls are refused.
    pub(super) async fn close(&self) {
        self.pool.close().await;
        if !self.settings.shared {
            self.pool.connect().pool.close().await;
        }
    }
}

impl Connect for Opener {
    type Connection = Session;

    async fn connect(&self, until: Instant) -> StoreResult<Session> {
        let connection = timeout_at(until, self.pool.acquire()).await;
        Ok(Session {
            connection: Some(connection.map_err(unavailable)?.map_err(store_error)?),
            statements: Arc::clone(&self.statements),
            persistent: self.persistent,
            busy: false,
            in_transaction: false,
            is_old: false,
        })
    }
}

/// A connection in use by one intent. If it is dropped while something is in progress on it, it is closed, and the
/// server rolls back what was not committed.
#[derive(Debug)]
pub(super) struct Session {
    /// Taken out on drop.
    connection: Option<PoolConnection<Postgres>>,
    pub(super) statements: Arc<Statements>,
    persistent: bool,
    /// Something was sent, and the answer is not complete.
    busy: bool,
    in_transaction: bool,
    /// The connection will be closed instead of being returned to the pool.
    is_old: bool,
}

impl Session {
    /// Makes a query to bind and run.
    pub(super) fn query(&self, text: &SqlStr) -> Query {
        sqlx::query(text.clone()).persistent(self.persistent)
    }

    /// Reads all rows of a query.
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

    /// Reads the only row of a query.
    pub(super) async fn one<T>(
        &mut self,
        query: Query,
        read: impl FnMut(&mut Columns<'_>) -> StoreResult<T>,
    ) -> StoreResult<Option<T>> {
        Ok(self.all(query, read).await?.pop())
    }

    /// Runs a statement and returns how many rows it changed.
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

    /// Runs the work, in a transaction that `begin` begins, if given.
    async fn run<T, F>(&mut self, begin: Option<SqlStr>, work: F) -> StoreResult<T>
    where
        F: for<'s> FnOnce(&'s mut Self) -> BoxFuture<'s, StoreResult<T>>,
    {
        let Some(begin) = begin else { return work(self).await };
        self.begin(begin).await?;
        let result = work(self).await;
        self.end(result).await
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

    /// Commits if the work succeeded, and otherwise rolls back.
    async fn end<T>(&mut self, result: StoreResult<T>) -> StoreResult<T> {
        if self.busy {
            return result;
        }
        let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = self.execute_all(SqlStr::from_static(end)).await;
        self.in_transaction = ended.is_err();
        ended.and(result)
    }

    #[expect(clippy::expect_used, reason = "it is there until the session is dropped")]
    fn connection(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("the session has its connection")
    }
}

impl Connection for Session {
    fn is_at_rest(&self) -> bool {
        !self.busy && !self.in_transaction
    }

    async fn is_alive(&mut self) -> bool {
        self.busy = true;
        self.busy = self.connection().ping().await.is_err();
        !self.busy
    }

    fn retire(&mut self) {
        self.is_old = true;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        if Handle::try_current().is_err() {
            // The pool returns and closes connections in tasks. Without a runtime it is enough to close the socket.
            drop(connection.detach());
            return;
        }
        if self.is_old || !self.is_at_rest() {
            connection.close_on_drop();
        }
    }
}

fn unavailable(cause: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, cause)
}
