//! Connections of their own for the bus and for presence, beside those of the store.

use std::{
    fmt,
    sync::{Arc, PoisonError},
    time::Duration,
};

use sqlx::{ConnectOptions as _, PgConnection, postgres::PgConnectOptions};
use tokio::{
    sync::{Mutex, MutexGuard},
    time::{Instant, timeout},
};

use super::sql::Schema;

/// Time limit for opening a connection.
pub(super) const CONNECT: Duration = Duration::from_secs(2);
/// After a failed attempt to connect, calls fail at once for this long. Otherwise those that wait would make one slow attempt
/// after the other.
const PAUSE: Duration = Duration::from_millis(200);
/// Time limit for the turn of a call on its connection.
const TURN: Duration = Duration::from_secs(3);

/// A server, and how it is used.
pub(super) struct Server {
    pub(super) options: PgConnectOptions,
    pub(super) schema: Schema,
    /// Host, port and database.
    pub(super) place: String,
    /// For an answer.
    pub(super) timeout: Duration,
}

impl fmt::Debug for Server {
    /// Omits the options, which may contain a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("place", &self.place)
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

/// Why the server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    #[error("PostgreSQL did not answer in time")]
    Late,
    #[error("PostgreSQL is out of reach")]
    Away,
}

/// One connection, opened when it is first needed, and again after it is lost. Calls have it one after the other.
#[derive(Debug)]
pub(super) struct Line {
    server: Arc<Server>,
    name: &'static str,
    /// Empty while a call has it: one that is dropped half-way leaves none.
    free: Mutex<Option<PgConnection>>,
    /// When the last attempt to connect has failed; none if it has succeeded.
    failed: std::sync::Mutex<Option<Instant>>,
}

impl Line {
    /// `name` is shown in `pg_stat_activity`.
    pub(super) fn new(server: Arc<Server>, name: &'static str) -> Self {
        Self { server, name, free: Mutex::default(), failed: std::sync::Mutex::default() }
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// The connection, for one call.
    pub(super) async fn open(&self) -> Result<Open<'_>, LineError> {
        // While the server is away one call tries to connect, and the others fail at once.
        let mut free = match self.free.try_lock() {
            Ok(free) => free,
            Err(_) if self.failed().is_some() => return Err(LineError::Away),
            Err(_) => timeout(TURN, self.free.lock()).await.map_err(|_| LineError::Late)?,
        };
        if let Some(connection) = free.take() {
            return Ok(Open { connection, free, is_new: false });
        }
        if self.failed().is_some_and(|at| at.elapsed() < PAUSE) {
            return Err(LineError::Away);
        }
        let mut attempt = Attempt { line: self, has_failed: true };
        let options = self.server.options.clone().application_name(self.name);
        let connection = timeout(CONNECT, options.connect()).await.map_err(|_| LineError::Late)??;
        attempt.has_failed = false;
        Ok(Open { connection, free, is_new: true })
    }

    fn failed(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An attempt to connect. It has failed also if its caller does not wait for the end.
struct Attempt<'l> {
    line: &'l Line,
    has_failed: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        *self.line.failed() = self.has_failed.then(Instant::now);
    }
}

/// A connection in use by one call. It is closed if it is dropped, because something may be in progress on it.
pub(super) struct Open<'l> {
    pub(super) connection: PgConnection,
    free: MutexGuard<'l, Option<PgConnection>>,
    /// Whether this is its first call.
    pub(super) is_new: bool,
}

impl Open<'_> {
    /// Leaves the connection to the next call: all answers on it are complete, and no transaction is open.
    pub(super) fn keep(self) {
        let Self { connection, mut free, .. } = self;
        *free = Some(connection);
    }
}
