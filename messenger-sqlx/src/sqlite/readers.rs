use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use messenger_core::ports::{StoreError, StoreErrorKind, StoreResult};
use messenger_sql::turns::{Caller, Permit, Turns};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::time::{Instant, timeout_at};

use super::errors::store_error;

/// The connections that read.
///
/// Does not use the pool of sqlx: that pings each returned connection in a task, which costs as much as a short read;
/// and it gives a connection to a caller, who may leave it idle for any length of time.
#[derive(Debug)]
pub(super) struct Readers {
    turns: Turns,
    /// The connection used last is used next.
    free: Mutex<Vec<Reader>>,
    settings: ReaderSettings,
}

#[derive(Debug)]
pub(super) struct ReaderSettings {
    pub(super) options: SqliteConnectOptions,
    /// Maximum number of connections.
    pub(super) count: u32,
    /// Maximum number of intents that wait for a connection.
    pub(super) max_waiting: usize,
    /// The longest wait for a connection.
    pub(super) acquire_timeout: Duration,
    /// The longest time from call to answer.
    pub(super) timeout: Duration,
}

struct Reader {
    conn: SqliteConnection,
    /// Set when nobody waits for the current read any more.
    over: Arc<AtomicBool>,
}

impl Readers {
    /// Opens one connection. The others are opened when they are needed.
    pub(super) async fn open(settings: ReaderSettings) -> Result<Self, sqlx::Error> {
        let turns = Turns::new(settings.count, settings.max_waiting);
        let first = Reader::open(&settings.options).await?;
        Ok(Self { turns, free: Mutex::new(vec![first]), settings })
    }

    /// Runs a read. Once begun, it continues whether or not its caller polls it; if the caller goes away, or its time
    /// is over, SQLite is interrupted.
    pub(super) async fn run<T, F>(self: &Arc<Self>, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, StoreResult<T>> + Send + 'static,
    {
        let ReaderSettings { acquire_timeout, timeout, .. } = self.settings;
        let now = Instant::now();
        let (until, deadline) = (now + acquire_timeout.min(timeout), now + timeout);
        let readers = Arc::clone(self);
        let work = move |permit, caller| readers.read(permit, caller, until, deadline, work);
        self.turns.run(until, work).await
    }

    async fn read<T, F>(
        self: Arc<Self>,
        permit: Permit,
        caller: Caller<T>,
        until: Instant,
        deadline: Instant,
        work: F,
    ) where
        T: Send,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, StoreResult<T>> + Send,
    {
        let mut reader = match self.take(until).await {
            Ok(reader) => reader,
            Err(error) => return caller.answer(Err(error)),
        };
        let over = Arc::clone(&reader.over);
        let work = async {
            let result = work(&mut reader.conn).await;
            self.give_back(reader, result.is_err()).await;
            // Only after the connection has been put back: otherwise the next caller would open another one.
            drop(permit);
            result
        };
        caller.answer_with(deadline, work, || over.store(true, Relaxed)).await;
    }

    async fn take(&self, until: Instant) -> StoreResult<Reader> {
        if let Some(reader) = self.free().pop() {
            return Ok(reader);
        }
        let opened = timeout_at(until, Reader::open(&self.settings.options)).await;
        let opened = opened.map_err(|elapsed| StoreError::new(StoreErrorKind::Unavailable, elapsed))?;
        opened.map_err(store_error)
    }

    async fn give_back(&self, mut reader: Reader, is_doubtful: bool) {
        if is_doubtful && reader.conn.ping().await.is_err() {
            return;
        }
        // Only after the ping: until then the caller of the previous read could interrupt what runs.
        reader.over.store(false, Relaxed);
        self.free().push(reader);
    }

    /// Nothing behind this lock can be left half changed, so a poisoned lock can be used.
    fn free(&self) -> MutexGuard<'_, Vec<Reader>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for running reads. Later calls are refused.
    pub(super) async fn close(&self) {
        self.turns.close().await;
        let free = std::mem::take(&mut *self.free());
        for reader in free {
            if let Err(error) = reader.conn.close().await {
                tracing::warn!(%error, "a connection that read was not closed well");
            }
        }
    }
}

impl Reader {
    /// The number of virtual machine instructions between two checks for an interrupt: a fraction of a millisecond.
    const STEPS: i32 = 10_000;

    async fn open(options: &SqliteConnectOptions) -> Result<Self, sqlx::Error> {
        let mut conn = options.connect().await?;
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        conn.lock_handle().await?.set_progress_handler(Self::STEPS, move || !is_over.load(Relaxed));
        Ok(Self { conn, over })
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("over", &self.over).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, poll};

    use super::*;
    use crate::SqliteStore;

    const ENDLESS: &str =
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";

    async fn endless(store: &SqliteStore) -> StoreResult<Option<i64>> {
        store.one(sqlx::query(ENDLESS), |columns| columns.integer()).await
    }

    async fn one(store: &SqliteStore) -> StoreResult<Option<i64>> {
        store.one(sqlx::query("SELECT 1"), |columns| columns.integer()).await
    }

    #[tokio::test]
    async fn a_read_that_nobody_waits_for_is_ended() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::builder(directory.path().join("chat.db")).readers(1).open().await.unwrap();
        for _ in 0..3 {
            let mut read = Box::pin(endless(&store));
            assert!(poll!(&mut read).is_pending());
            // Waits until the read has begun.
            while store.readers.turns.free() > 0 || !store.readers.free().is_empty() {
                tokio::task::yield_now().await;
            }
            drop(read);
            assert_eq!(one(&store).await.unwrap(), Some(1));
        }
    }

    #[tokio::test]
    async fn a_read_whose_time_is_over_is_ended() {
        let directory = tempfile::tempdir().unwrap();
        let builder = SqliteStore::builder(directory.path().join("chat.db")).readers(1);
        let store = builder.timeout(Duration::from_millis(100)).open().await.unwrap();
        let error = endless(&store).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        while store.readers.turns.free() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(one(&store).await.unwrap(), Some(1));
    }

    #[tokio::test]
    async fn a_connection_is_used_again_after_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::builder(directory.path().join("chat.db")).readers(1).open().await.unwrap();
        let failed = store.one(sqlx::query("SELECT abs(-9223372036854775808)"), |columns| columns.integer());
        failed.await.unwrap_err();
        // Decoding a row fails while SQLite has more rows.
        let rows = sqlx::query(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 9999) SELECT i FROM n",
        );
        let failed = store.all(rows, |_| -> StoreResult<()> { Err(StoreErrorKind::Corrupt.into()) }).await;
        assert_eq!(failed.unwrap_err().kind(), StoreErrorKind::Corrupt);
        assert_eq!(store.readers.free().len(), 1);
        assert_eq!(one(&store).await.unwrap(), Some(1));
    }

    #[tokio::test]
    async fn who_goes_away_while_a_connection_is_looked_at_after_an_error_ends_nothing_of_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::builder(directory.path().join("chat.db")).readers(1).open().await.unwrap();
        // Long enough for SQLite to check for an interrupt.
        let long = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 9999) SELECT max(i) FROM n";
        let is_asked = Arc::new(tokio::sync::Notify::new());
        for _ in 0..50 {
            let (readers, asked) = (Arc::clone(&store.readers), Arc::clone(&is_asked));
            let read = tokio::spawn(async move {
                let work = readers.run(move |_| {
                    asked.notify_one();
                    std::future::ready(Err::<(), _>(StoreErrorKind::Corrupt.into())).boxed()
                });
                work.await
            });
            is_asked.notified().await;
            read.abort();
            assert_eq!(store.one(sqlx::query(long), |columns| columns.integer()).await.unwrap(), Some(9999));
        }
    }
}
