use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use messenger_core::ports::{StoreErrorKind, StoreResult};
use messenger_sql::turns::{Caller, Permit, Turns};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions,
};
use tokio::time::Instant;

use super::{
    errors::store_error,
    sql::{self, Columns},
};

/// Numbers the commit of a transaction that changes chats, before it commits. The numbers are consecutive, or the time
/// (microseconds since 1970) where that is greater, so that a database restored from a backup does not reuse the
/// numbers of lost commits.
pub(super) const NEXT_COMMIT: &str = "UPDATE messenger_commits
    SET last = max(last + 1, CAST(unixepoch('subsec') * 1000000 AS INTEGER)) WHERE only = 1";
/// The number assigned to this commit.
pub(super) const THIS_COMMIT: &str = "(SELECT last FROM messenger_commits WHERE only = 1)";

/// The only connection that writes. SQLite allows one write transaction at a time, so a second connection could only
/// wait, and badly: it would poll for the lock, while callers that wait here are served in order.
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
    /// The file of the write-ahead log.
    pub(super) log: PathBuf,
    /// The log is restarted once it has this many bytes.
    pub(super) log_limit: u64,
    /// The longest wait for another process that writes.
    pub(super) busy_timeout: Duration,
    /// Maximum number of intents that wait for the connection.
    pub(super) max_waiting: usize,
    /// The longest wait for the connection.
    pub(super) acquire_timeout: Duration,
    /// The longest time from call to answer.
    pub(super) timeout: Duration,
}

#[derive(Debug)]
enum Place {
    Free(Box<SqliteConnection>, Upkeep),
    /// An intent panicked or its rollback failed: the connection was discarded, and the next intent opens another one.
    Lost,
    Closed,
}

#[derive(Debug)]
pub(super) struct Upkeep {
    writes: u32,
    optimized_at: Instant,
    /// From when on the log is to be emptied, because it may have what was overwritten.
    scrub_at: Option<Instant>,
}

/// What a write leaves behind in the log, where the pages of before stay until they are overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Residue {
    /// Nothing that must go.
    Harmless,
    /// What is to go soon.
    Stale,
    /// What is to be gone before the answer.
    Secret,
}

impl Writer {
    pub(super) fn new(conn: SqliteConnection, settings: WriterSettings) -> Self {
        let place = Mutex::new(Place::Free(Box::new(conn), Upkeep::new()));
        Self(Arc::new(Inner { turns: Turns::new(1, settings.max_waiting), place, settings }))
    }

    /// Runs the work in one transaction.
    pub(super) async fn transaction<T, F>(&self, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, StoreResult<T>> + Send + 'static,
    {
        self.transaction_leaving(Residue::Harmless, work).await
    }

    /// As [`transaction`](Self::transaction). What the work overwrites is gone from the log soon afterwards.
    pub(super) async fn transaction_that_replaces<T, F>(&self, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, StoreResult<T>> + Send + 'static,
    {
        self.transaction_leaving(Residue::Stale, work).await
    }

    /// As [`transaction`](Self::transaction). What the work overwrites is gone from the log before the answer, or soon
    /// afterwards if others are reading from it.
    pub(super) async fn transaction_that_destroys<T, F>(&self, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, StoreResult<T>> + Send + 'static,
    {
        self.transaction_leaving(Residue::Secret, work).await
    }

    async fn transaction_leaving<T, F>(&self, residue: Residue, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, StoreResult<T>> + Send + 'static,
    {
        self.run_leaving(residue, |conn| {
            Box::pin(async move {
                begin(conn).await?;
                let answer = work(conn).await?;
                execute(conn, "COMMIT").await?;
                Ok(answer)
            })
        })
        .await
    }

    /// Runs work that begins and commits a transaction by itself. If it fails, the transaction is rolled back.
    ///
    /// If the caller goes away before its turn, the work is not begun; after that it is completed without the caller.
    pub(super) async fn run<T, F>(&self, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, StoreResult<T>> + Send + 'static,
    {
        self.run_leaving(Residue::Harmless, work).await
    }

    async fn run_leaving<T, F>(&self, residue: Residue, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, StoreResult<T>> + Send + 'static,
    {
        let WriterSettings { acquire_timeout, timeout, .. } = self.0.settings;
        let now = Instant::now();
        let inner = Arc::clone(&self.0);
        let work = move |permit, caller: Caller<T>| async move {
            // A write must not be interrupted, so it continues after its time is over.
            caller.answer_with(now + timeout, inner.work(permit, residue, work), || ()).await;
        };
        self.0.turns.run(now + acquire_timeout.min(timeout), work).await
    }

    /// Rewrites the file, and then empties the log, on a connection of its own: it takes longer than any intent may. Tells
    /// whether the log was emptied.
    pub(super) async fn vacuum(&self) -> StoreResult<bool> {
        let WriterSettings { options, busy_timeout, .. } = &self.0.settings;
        let mut conn = options.connect().await.map_err(store_error)?;
        let emptied = match execute(&mut conn, "VACUUM").await {
            Ok(()) => empty_log(&mut conn, *busy_timeout, *busy_timeout).await,
            Err(error) => Err(error),
        };
        if let Err(error) = conn.close().await {
            tracing::warn!(%error, "the database file was not closed well");
        }
        emptied
    }

    pub(super) async fn close(&self) {
        self.0.turns.close().await;
        let Place::Free(mut conn, mut upkeep) = self.0.leave(Place::Closed) else { return };
        // The last one who closes the file removes the log, but there may be others.
        if upkeep.scrub_at.is_some() {
            upkeep.scrub(&mut conn, &self.0.settings).await;
        }
        if let Err(error) = conn.close().await {
            tracing::warn!(%error, "the database file was not closed well");
        }
    }
}

impl Inner {
    async fn work<T, F>(self: Arc<Self>, permit: Permit, residue: Residue, work: F) -> StoreResult<T>
    where
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, StoreResult<T>>,
    {
        let (mut conn, mut upkeep) = self.take().await?;
        let result = work(&mut conn).await;
        if result.is_err() && execute(&mut conn, "ROLLBACK").await.is_err() {
            return result;
        }
        if result.is_ok() {
            upkeep.note(residue);
            if residue == Residue::Secret {
                upkeep.scrub(&mut conn, &self.settings).await;
            }
        }
        if upkeep.is_due() {
            // The next writer waits for it, but this one does not.
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

    /// Takes the connection. If it is not put back, the place stays `Lost`.
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

    /// Replaces the connection state. Only the holder of the permit may call it.
    fn leave(&self, place: Place) -> Place {
        std::mem::replace(&mut *self.place.lock().unwrap_or_else(PoisonError::into_inner), place)
    }
}

impl Upkeep {
    const EVERY: u32 = 256;
    const OPTIMIZE_EVERY: Duration = Duration::from_secs(60 * 60);
    /// The pause between two attempts to empty the log.
    const SCRUB_EVERY: Duration = Duration::from_secs(1);
    /// How long an attempt to empty the log waits for others, while whoever wants to write waits for it.
    const SCRUB_WAIT: Duration = Duration::from_millis(100);

    /// What was written before, by a process that has died, is not known: the log is emptied once.
    fn new() -> Self {
        let now = Instant::now();
        Self { writes: 0, optimized_at: now, scrub_at: Some(now) }
    }

    fn note(&mut self, residue: Residue) {
        if residue != Residue::Harmless {
            self.scrub_at.get_or_insert_with(|| Instant::now() + Self::SCRUB_EVERY);
        }
    }

    fn is_due(&mut self) -> bool {
        self.writes = self.writes.wrapping_add(1);
        self.writes.is_multiple_of(Self::EVERY) || self.is_scrub_due()
    }

    fn is_scrub_due(&self) -> bool {
        self.scrub_at.is_some_and(|at| at <= Instant::now())
    }

    /// Moves the log into the database file and empties it. If others are in the way, a later write tries again.
    async fn scrub(&mut self, conn: &mut SqliteConnection, settings: &WriterSettings) {
        let emptied = empty_log(conn, Self::SCRUB_WAIT, settings.busy_timeout).await;
        let is_empty = matches!(emptied, Ok(true));
        self.scrub_at = (!is_empty).then(|| Instant::now() + Self::SCRUB_EVERY);
        warn_if_failed(emptied.map(drop));
    }

    async fn run(&mut self, conn: &mut SqliteConnection, settings: &WriterSettings) {
        if self.is_scrub_due() {
            self.scrub(conn, settings).await;
        }
        // SQLite restarts the log only when no reader is using it. Under constant reads that never happens by itself.
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

/// Tells whether the log was emptied: not if somebody has been reading or writing for longer than `wait`.
async fn empty_log(conn: &mut SqliteConnection, wait: Duration, usual_wait: Duration) -> StoreResult<bool> {
    set_wait(conn, wait).await?;
    let read = |columns: &mut Columns<'_>| columns.integer();
    let is_busy = sql::one(conn, sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)"), read).await;
    set_wait(conn, usual_wait).await?;
    Ok(is_busy? == Some(0))
}

async fn set_wait(conn: &mut SqliteConnection, wait: Duration) -> StoreResult<()> {
    let set = AssertSqlSafe(format!("PRAGMA busy_timeout = {}", wait.as_millis()));
    sql::run(conn, sqlx::query(set)).await.map(drop)
}

fn warn_if_failed(result: StoreResult<()>) {
    if let Err(error) = result {
        tracing::warn!(source = ?error, "the upkeep of the database file failed");
    }
}

/// Begins a transaction that may write. A plain `BEGIN` takes the lock at the first write, which fails if another
/// connection has written since the first read.
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
            busy_timeout: Duration::from_secs(1),
            max_waiting: 1,
            acquire_timeout: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
        };
        let mut upkeep = Upkeep { scrub_at: None, ..Upkeep::new() };
        upkeep.run(&mut conn, &settings).await;
        assert_eq!(bytes(), settings.log_limit);
        settings.log_limit -= 1;
        upkeep.run(&mut conn, &settings).await;
        assert_eq!(bytes(), 0);
    }
}
