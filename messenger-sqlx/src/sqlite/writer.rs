use std::{path::PathBuf, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use messenger_core::ports::{StoreError, StoreErrorKind, StoreResult};
use messenger_sql::finish::Finish;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::{Instant, timeout},
};

use super::errors::store_error;

/// The only connection that writes. SQLite lets one transaction write at a time, so a second connection could
/// but wait, and badly: it would poll for the lock, while those who wait here are served in their order.
#[derive(Debug, Clone)]
pub(super) struct Writer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    seat: Arc<Mutex<Seat>>,
    settings: WriterSettings,
}

#[derive(Debug)]
pub(super) struct WriterSettings {
    pub(super) options: SqliteConnectOptions,
    /// The write-ahead log's file.
    pub(super) log: PathBuf,
    /// The log is made to begin anew once it has so many bytes.
    pub(super) log_limit: u64,
    /// The longest wait for the connection.
    pub(super) acquire_timeout: Duration,
    /// The longest time from call to answer.
    pub(super) timeout: Duration,
}

#[derive(Debug)]
enum Seat {
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
        let seat = Seat::Free(Box::new(conn), Upkeep::new());
        Self(Arc::new(Inner { seat: Arc::new(Mutex::new(seat)), settings }))
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
    /// A caller that goes away leaves it done as a whole or not at all.
    pub(super) async fn run<T, F>(&self, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, StoreResult<T>> + Send + 'static,
    {
        let inner = Arc::clone(&self.0);
        let work = Finish::new(async move { inner.work(work).await });
        timeout(self.0.settings.timeout, work).await.unwrap_or_else(|elapsed| Err(unavailable(elapsed)))
    }

    pub(super) async fn close(&self) {
        // The lock is fair: those who were waiting for it come first.
        let mut seat = self.0.seat.lock().await;
        if let Seat::Free(conn, _) = std::mem::replace(&mut *seat, Seat::Closed)
            && let Err(error) = conn.close().await
        {
            tracing::warn!(%error, "the database file was not closed well");
        }
    }
}

impl Inner {
    async fn work<T, F>(self: &Arc<Self>, work: F) -> StoreResult<T>
    where
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, StoreResult<T>>,
    {
        let (mut seat, mut conn, mut upkeep) = self.take().await?;
        let result = work(&mut conn).await;
        if result.is_err() && execute(&mut conn, "ROLLBACK").await.is_err() {
            return result;
        }
        if upkeep.is_due() {
            // The next writer waits for it, but not this one.
            let inner = Arc::clone(self);
            tokio::spawn(async move {
                upkeep.run(&mut conn, &inner.settings).await;
                *seat = Seat::Free(conn, upkeep);
            });
        } else {
            *seat = Seat::Free(conn, upkeep);
        }
        result
    }

    /// Takes the connection out of its seat. Whoever does not put it back leaves the seat `Lost`.
    async fn take(&self) -> StoreResult<(OwnedMutexGuard<Seat>, Box<SqliteConnection>, Upkeep)> {
        let seat = timeout(self.settings.acquire_timeout, Arc::clone(&self.seat).lock_owned()).await;
        let mut seat = seat.map_err(unavailable)?;
        let (conn, upkeep) = match std::mem::replace(&mut *seat, Seat::Lost) {
            Seat::Free(conn, upkeep) => (conn, upkeep),
            Seat::Lost => {
                let conn = self.settings.options.connect().await.map_err(store_error)?;
                (Box::new(conn), Upkeep::new())
            }
            Seat::Closed => {
                *seat = Seat::Closed;
                return Err(StoreErrorKind::Unavailable.into());
            }
        };
        Ok((seat, conn, upkeep))
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

fn unavailable(elapsed: tokio::time::error::Elapsed) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, elapsed)
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
