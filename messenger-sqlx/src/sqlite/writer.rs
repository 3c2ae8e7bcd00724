use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use messenger_core::ports::{StoreErrorKind, StoreResult};
use messenger_sql::turns::{Caller, Permit, Turns};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::time::Instant;

use super::errors::store_error;

/// Counts the commit of a transaction that changes chats, before it does so. One after the other, and with the time
/// (microseconds since 1970) where that is further, so that a database that was restored from a backup does not count
/// again what was lost with the one before.
pub(super) const NEXT_COMMIT: &str = "UPDATE messenger_commits
    SET last = max(last + 1, CAST(unixepoch('subsec') * 1000000 AS INTEGER)) WHERE only = 1";
/// The number that was counted.
pub(super) const THIS_COMMIT: &str = "(SELECT last FROM messenger_commits WHERE only = 1)";

/// The only connection that writes. SQLite lets one transaction write at a time, so a second connection could
/// but wait, and badly: it would poll for the lock, while those who wait here are served in their order.
#[derive(Debug, Clone)]
pub(super) struct Writer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    turns: Turns,
    place: Mutex<Place>,
    settings: WriterSettings,
}

#[derive(Debug)]
pub(super) struct WriterSettings {
    pub(super) options: SqliteConnectOptions,
    /// The write-ahead log's file.
    pub(super) log: PathBuf,
    /// The log is made to begin anew once it has so many bytes.
    pub(super) log_limit: u64,
    /// How many intents wait for the connection at most.
    pub(super) max_waiting: usize,
    /// The longest wait for the connection.
    pub(super) acquire_timeout: Duration,
    /// The longest time from call to answer.
    pub(super) timeout: Duration,
}

#[derive(Debug)]
enum Place {
    Free(Box<SqliteConnection>, Upkeep),
    /// An intent panicked or its rollback failed: the connection was thrown away, and the next intent opens
    /// another one.
    Lost,
    Closed,
}

#[derive(Debug)]
pub(super) struct Upkeep {
    writes: u32,
    optimized_at: Instant,
}

impl Writer {
    pub(super) fn new(conn: SqliteConnection, settings: WriterSettings) -> Self {
        let place = Mutex::new(Place::Free(Box::new(conn), Upkeep::new()));
        Self(Arc::new(Inner { turns: Turns::new(1, settings.max_waiting), place, settings }))
    }

    /// Does the work in one transaction.
    pub(super) async fn transaction<T, F>(&self, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, StoreResult<T>> + Send + 'static,
    {
        self.run(|conn| {
            Box::pin(async move {
                begin(conn).await?;
                let answer = work(conn).await?;
                execute(conn, "COMMIT").await?;
                Ok(answer)
            })
        })
        .await
    }

    /// Does work that begins and commits a transaction by itself. If it fails, that is rolled back.
    ///
    /// A caller that goes away before its turn leaves it undone; after that it is finished without the caller.
    pub(super) async fn run<T, F>(&self, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, StoreResult<T>> + Send + 'static,
    {
        let WriterSettings { acquire_timeout, timeout, .. } = self.0.settings;
        let now = Instant::now();
        let inner = Arc::clone(&self.0);
        let work = move |permit, caller: Caller<T>| async move {
            // Half of a write is none, so it goes on when its time is over.
            caller.answer_with(now + timeout, inner.work(permit, work), || ()).await;
        };
        self.0.turns.run(now + acquire_timeout.min(timeout), work).await
    }

    pub(super) async fn close(&self) {
        self.0.turns.close().await;
        let place = self.0.leave(Place::Closed);
        if let Place::Free(conn, _) = place
            && let Err(error) = conn.close().await
        {
            tracing::warn!(%error, "the database file was not closed well");
        }
    }
}

impl Inner {
    async fn work<T, F>(self: Arc<Self>, permit: Permit, work: F) -> StoreResult<T>
    where
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, StoreResult<T>>,
    {
        let (mut conn, mut upkeep) = self.take().await?;
        let result = work(&mut conn).await;
        if result.is_err() && execute(&mut conn, "ROLLBACK").await.is_err() {
            return result;
        }
        if upkeep.is_due() {
            // The next writer waits for it, but not this one.
            tokio::spawn(async move {
                upkeep.run(&mut conn, &self.settings).await;
                self.leave(Place::Free(conn, upkeep));
                drop(permit);
            });
        } else {
            self.leave(Place::Free(conn, upkeep));
        }
        result
    }

    /// Takes the connection out of its place. Whoever does not put it back leaves the place `Lost`.
    async fn take(&self) -> StoreResult<(Box<SqliteConnection>, Upkeep)> {
        match self.leave(Place::Lost) {
            Place::Free(conn, upkeep) => Ok((conn, upkeep)),
            Place::Lost => {
                let conn = self.settings.options.connect().await.map_err(store_error)?;
                Ok((Box::new(conn), Upkeep::new()))
            }
            Place::Closed => {
                self.leave(Place::Closed);
                Err(StoreErrorKind::Unavailable.into())
            }
        }
    }

    /// Leaves this in the place of what was there. Only who has the permit does that.
    fn leave(&self, place: Place) -> Place {
        std::mem::replace(&mut *self.place.lock().unwrap_or_else(PoisonError::into_inner), place)
    }
}

impl Upkeep {
    const EVERY: u32 = 256;
    const OPTIMIZE_EVERY: Duration = Duration::from_secs(60 * 60);

    fn new() -> Self {
        Self { writes: 0, optimized_at: Instant::now() }
    }

    const fn is_due(&mut self) -> bool {
        self.writes = self.writes.wrapping_add(1);
        self.writes.is_multiple_of(Self::EVERY)
    }

    async fn run(&mut self, conn: &mut SqliteConnection, settings: &WriterSettings) {
        // SQLite begins the log anew only when no reader is looking into it. While people read all the time that
        // moment never comes by itself.
        let log = std::fs::metadata(&settings.log).map_or(0, |file| file.len());
        if log > settings.log_limit {
            warn_if_failed(execute(conn, "PRAGMA wal_checkpoint(TRUNCATE)").await);
        }
        if self.optimized_at.elapsed() > Self::OPTIMIZE_EVERY {
            self.optimized_at = Instant::now();
            warn_if_failed(execute(conn, "PRAGMA optimize").await);
        }
    }
}

fn warn_if_failed(result: StoreResult<()>) {
    if let Err(error) = result {
        tracing::warn!(source = ?error, "the upkeep of the database file failed");
    }
}

/// Begins a transaction that may write. A plain `BEGIN` takes the lock at the first write, and that fails if
/// somebody else has written since the first read.
pub(super) async fn begin(conn: &mut SqliteConnection) -> StoreResult<()> {
    execute(conn, "BEGIN IMMEDIATE").await
}

pub(super) async fn execute(conn: &mut SqliteConnection, sql: &'static str) -> StoreResult<()> {
    sqlx::query(sql).execute(conn).await.map(drop).map_err(store_error)
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqliteJournalMode;

    use super::*;

    #[tokio::test]
    async fn a_log_that_has_grown_begins_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("some.db");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let options = options.journal_mode(SqliteJournalMode::Wal);
        let mut conn = options.connect().await.unwrap();
        execute(&mut conn, "CREATE TABLE some (thing INTEGER)").await.unwrap();

        let log = directory.path().join("some.db-wal");
        let bytes = || std::fs::metadata(&log).unwrap().len();
        let mut settings = WriterSettings {
            options,
            log: log.clone(),
            log_limit: bytes(),
            max_waiting: 1,
            acquire_timeout: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
        };
        Upkeep::new().run(&mut conn, &settings).await;
        assert_eq!(bytes(), settings.log_limit);
        settings.log_limit -= 1;
        Upkeep::new().run(&mut conn, &settings).await;
        assert_eq!(bytes(), 0);
    }
}
