//! The store in a PostgreSQL database.

mod append;
mod chats;
mod connections;
mod errors;
mod markers;
mod messages;
mod migrate;
mod open;
mod sessions;
mod sql;
mod users;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::BoxFuture;
use messenger_core::ports::{Capabilities, Store, StoreErrorKind, StoreResult};
use sqlx::{PgPool, SqlStr};

use self::{
    connections::{Connections, Session, Way},
    sql::{Columns, Query, Schema, statement},
};
pub use self::{migrate::migrations_sql, open::PostgresBuilder};
pub use messenger_sql::open::{OpenError, OpenErrorKind};

/// A [`Store`] in a PostgreSQL database, in a schema of its own: shared by any number of nodes, and what was
/// acknowledged is in the server's log.
///
/// ```no_run
/// use messenger_core::{context::Context, ports::{ChatStore, Store, StoreErrorKind}};
/// use messenger_sqlx::PostgresStore;
///
/// # async fn look() -> Result<(), Box<dyn std::error::Error>> {
/// let store = PostgresStore::connect("postgres://chat:secret@db.example.org/chat?sslmode=verify-full").await?;
/// let error = store.roster(Context::fixed().id()).await.unwrap_err();
/// assert_eq!(error.kind(), StoreErrorKind::NotFound);
/// store.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PostgresStore {
    connections: Arc<Connections>,
    lanes: usize,
}

impl PostgresStore {
    /// Connects to the database of a URL and brings its tables up to date.
    ///
    /// The URL is `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, with the parameters that
    /// [`PgConnectOptions`](sqlx::postgres::PgConnectOptions) knows, for instance `sslmode=verify-full` and
    /// `sslrootcert=FILE`.
    ///
    /// # Errors
    /// [`OpenError`] says in one sentence why the database can't be used.
    pub async fn connect(url: &str) -> Result<Self, OpenError> {
        Self::builder(url).open().await
    }

    /// Settings for connecting to the database of a URL, as [`connect`](Self::connect) takes it.
    pub fn builder(url: &str) -> PostgresBuilder {
        PostgresBuilder::of_url(url)
    }

    /// Settings for a store that takes its connections from a pool of the host.
    pub fn with_pool(pool: PgPool) -> PostgresBuilder {
        PostgresBuilder::of_pool(pool)
    }

    async fn run<T, F>(&self, way: Way, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: for<'s> FnOnce(&'s mut Session) -> BoxFuture<'s, StoreResult<T>> + Send + 'static,
    {
        self.connections.run(way, work).await
    }

    /// All rows of a query that changes nothing.
    async fn all<T: Send + 'static>(
        &self,
        query: Query,
        read: impl FnMut(&mut Columns<'_>) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<Vec<T>> {
        self.run(Way::Read, |session| Box::pin(session.all(query, read))).await
    }

    /// As [`all`](Self::all), by the plan that is wanted also on connections that are not told how to plan.
    async fn all_planned<T: Send + 'static>(
        &self,
        query: Query,
        read: impl FnMut(&mut Columns<'_>) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<Vec<T>> {
        self.run(Way::Planned, |session| Box::pin(session.all(query, read))).await
    }

    /// The only row of a query that changes nothing.
    async fn one<T: Send + 'static>(
        &self,
        query: Query,
        read: impl FnMut(&mut Columns<'_>) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<Option<T>> {
        self.run(Way::Read, |session| Box::pin(session.one(query, read))).await
    }

    /// A statement to be bound and run.
    fn query(&self, text: &SqlStr) -> Query {
        self.connections.query(text)
    }

    fn sql(&self) -> &Statements {
        &self.connections.statements
    }
}

#[async_trait]
impl Store for PostgresStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_append_lanes(self.lanes)
    }

    async fn ping(&self) -> StoreResult<()> {
        let writable = self.one(self.query(&self.sql().writable), |columns| columns.flag()).await?;
        if writable == Some(true) { Ok(()) } else { Err(StoreErrorKind::Unavailable.into()) }
    }

    async fn close(&self) {
        self.connections.close().await;
    }
}

/// After so many milliseconds the server ends a transaction whose node has gone without a word.
const IDLE_IN_TRANSACTION: u32 = 60_000;

/// Plans are the same for all values: by an index. What seems best while the tables are small or not yet analysed would
/// stay in use while they grow.
const PLANNER: [(&str, &str); 4] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("jit", "off"),
];

/// Every statement, with the schema's name in it.
#[derive(Debug)]
struct Statements {
    begin: SqlStr,
    begin_planned: SqlStr,
    writable: SqlStr,
    users: users::Sql,
    sessions: sessions::Sql,
    chats: chats::Sql,
    messages: messages::Sql,
    append: append::Sql,
    markers: markers::Sql,
}

impl Statements {
    /// `statement_timeout` is told with each transaction.
    fn new(schema: &Schema, statement_timeout: Option<Duration>) -> Self {
        let mut begin = "BEGIN ISOLATION LEVEL READ COMMITTED".to_owned();
        if let Some(limit) = statement_timeout {
            begin += &format!(
                "; SET LOCAL statement_timeout = {}; SET LOCAL idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION}",
                limit.as_millis()
            );
        }
        let mut begin_planned = begin.clone();
        for (setting, value) in PLANNER {
            begin_planned += &format!("; SET LOCAL {setting} = {value}");
        }
        Self {
            begin: statement(begin),
            begin_planned: statement(begin_planned),
            // False also on a server that only follows another one.
            writable: SqlStr::from_static("SELECT current_setting('transaction_read_only') = 'off'"),
            users: users::Sql::new(schema),
            sessions: sessions::Sql::new(schema),
            chats: chats::Sql::new(schema),
            messages: messages::Sql::new(schema),
            append: append::Sql::new(schema),
            markers: markers::Sql::new(schema),
        }
    }
}
