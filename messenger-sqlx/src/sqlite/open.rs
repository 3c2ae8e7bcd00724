use std::{
    path::{Path, PathBuf},
    str::FromStr as _,
    sync::Arc,
    time::Duration,
};

use messenger_sql::{
    migrations::Migrations,
    open::{Migrated, OpenError, OpenErrorKind},
    turns,
};
use sqlx::{
    ConnectOptions as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteSynchronous},
};
use tokio::time::Instant;

use super::{
    errors::is_busy,
    migrate::{MIGRATIONS, MigrateError, migrate},
    modes,
    readers::{ReaderSettings, Readers},
    sole::Sole,
    store::SqliteStore,
    writer::{Writer, WriterSettings},
};

/// The write-ahead log is checkpointed into the database file after this many pages (of 4 KiB each). Pages that changed
/// several times in between are written once, so batches of messages in many chats benefit from a large value.
const CHECKPOINT_PAGES: u32 = 4000;
/// A larger log is restarted, and its file truncated to this size.
const LOG_LIMIT: u64 = 64 << 20;
/// How much of the file readers access through memory mapping, without a copy.
const MAPPED: u64 = 256 << 20;
/// Longer than anybody waits, and short enough for any clock.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

impl SqliteStore {
    /// Opens the store in the file `address`, which is created if it does not exist, and brings its tables up to date.
    ///
    /// On Unix the file and those beside it are for their owner alone (mode 600), whatever the umask is. If everybody may use a file that
    /// exists, its mode is changed to that; what a group alone may use is left to it.
    ///
    /// `address` is a path, or `sqlite://` and a path, with `?mode=rw` if the file must already exist.
    ///
    /// # Errors
    /// [`OpenError`] explains in one sentence why the file can't be used.
    pub async fn open(address: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::builder(address).open().await
    }

    /// Settings for opening the store in the file `address`, as [`open`](Self::open) takes it.
    pub fn builder(address: impl AsRef<Path>) -> SqliteBuilder {
        SqliteBuilder::new(address.as_ref())
    }
}

/// Settings of a [`SqliteStore`].
///
/// ```no_run
/// # async fn open() -> Result<(), messenger_sqlx::sqlite::OpenError> {
/// use std::time::Duration;
/// use messenger_sqlx::SqliteStore;
///
/// let store = SqliteStore::builder("chat.db").readers(4).timeout(Duration::from_secs(10)).open().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing before `open`"]
pub struct SqliteBuilder {
    address: PathBuf,
    readers: u32,
    max_waiting: usize,
    busy_timeout: Duration,
    acquire_timeout: Duration,
    timeout: Duration,
    shared: bool,
    pub(super) migrations: &'static Migrations,
}

impl SqliteBuilder {
    pub(super) fn new(address: &Path) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            address: address.to_owned(),
            readers: u32::try_from(cores.clamp(2, 8)).unwrap_or(8),
            max_waiting: turns::WAITING,
            busy_timeout: Duration::from_secs(5),
            acquire_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(15),
            shared: false,
            migrations: &MIGRATIONS,
        }
    }

    /// The number of connections that read, at least 1; each has a thread. Default: the number of cores, but 2 to 8.
    pub fn readers(mut self, readers: u32) -> Self {
        self.readers = readers.max(1);
        self
    }

    /// Maximum number of intents that wait for a free connection, separately for reads and writes; default: 16,384.
    /// Each takes some 2 KiB. A further one is `Unavailable` at once.
    pub fn max_waiting(mut self, intents: usize) -> Self {
        self.max_waiting = intents;
        self
    }

    /// How long a write waits for another process that writes to the file; default: 5 seconds. Whole milliseconds, up
    /// to 2^31.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout.min(Duration::from_millis(i32::MAX as u64));
        self
    }

    /// How long an intent waits for a free connection; default: 5 seconds.
    pub fn acquire_timeout(mut self, timeout: Duration) -> Self {
        self.acquire_timeout = timeout.min(LONGEST);
        self
    }

    /// How long a caller waits for an answer, including all other waits; default: 15 seconds. A write that takes longer
    /// is `Unavailable` to its caller, and may still be carried out.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.min(LONGEST);
        self
    }

    /// Whether other stores, in this process or another, may open the file at the same time; default: no, and the second
    /// one is refused with [`OpenErrorKind::InUse`]. Where they may, a node hears of what another one has stored some
    /// seconds later.
    pub fn shared(mut self, shared: bool) -> Self {
        self.shared = shared;
        self
    }

    /// Opens the store.
    ///
    /// # Errors
    /// [`OpenError`] explains in one sentence why the file can't be used.
    pub async fn open(self) -> Result<SqliteStore, OpenError> {
        let (path, create) = locate(&self.address)?;
        if create {
            modes::create(&path);
        }
        let options = self.options(&path).create_if_missing(create);
        let mut conn = options.connect().await.map_err(|error| unusable(&path, error))?;
        let sole = if self.shared { Sole::nothing() } else { Sole::lock(&path)? };
        self.use_log(&path, &mut conn).await?;
        let migrated = migrate(&mut conn, self.migrations).await;
        migrated.map_err(|error| not_migrated(&path, error))?;
        // Not before it is known to be a database of ours.
        modes::narrow(&path);

        let options = options.create_if_missing(false);
        let readers = Readers::open(self.reader_settings(&options)).await;
        let readers = readers.map_err(|error| unusable(&path, error))?;
        let mut log = path.into_os_string();
        log.push("-wal");
        let settings = WriterSettings {
            options,
            log: log.into(),
            log_limit: LOG_LIMIT,
            busy_timeout: self.busy_timeout,
            max_waiting: self.max_waiting,
            acquire_timeout: self.acquire_timeout,
            timeout: self.timeout,
        };
        Ok(SqliteStore {
            readers: Arc::new(readers),
            writer: Writer::new(conn, settings),
            sole,
            shared: self.shared,
        })
    }

    fn reader_settings(&self, options: &SqliteConnectOptions) -> ReaderSettings {
        ReaderSettings {
            options: options.clone().pragma("query_only", "ON").optimize_on_close(false, None),
            count: self.readers,
            max_waiting: self.max_waiting,
            acquire_timeout: self.acquire_timeout,
            timeout: self.timeout,
        }
    }

    fn options(&self, path: &Path) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(self.busy_timeout)
            // The log is synced before a commit is acknowledged; on macOS only this reaches the disk's platter.
            .synchronous(SqliteSynchronous::Full)
            .pragma("fullfsync", "ON")
            // Our tables have no foreign keys, and checking those of the host is the host's business.
            .foreign_keys(false)
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string())
            .pragma("journal_size_limit", LOG_LIMIT.to_string())
            .pragma("mmap_size", MAPPED.to_string())
            // In KiB, if negative.
            .pragma("cache_size", "-16384")
            .pragma("temp_store", "MEMORY")
            // What was deleted or overwritten is zeros in the file, and not only unreachable.
            .pragma("secure_delete", "ON")
            // The number of rows of an index that `PRAGMA optimize` reads at most.
            .analysis_limit(400)
            .optimize_on_close(true, None)
            // So that a page of history or a catch-up passes from SQLite's thread to ours without a pause.
            .row_buffer_size(256)
            .disable_statement_logging()
    }

    /// Enables the write-ahead log. SQLite does not wait for locks itself when it does that.
    async fn use_log(&self, path: &Path, conn: &mut SqliteConnection) -> Result<(), OpenError> {
        let deadline = Instant::now() + self.busy_timeout;
        loop {
            let mode =
                sqlx::query_scalar::<_, String>("PRAGMA journal_mode = WAL").fetch_one(&mut *conn).await;
            match mode {
                Ok(mode) if mode == "wal" => return Ok(()),
                Ok(_) => {
                    let sentence = format!(
                        "the database file `{}` lies where SQLite can't keep a write-ahead log",
                        path.display()
                    );
                    return Err(OpenError::new(OpenErrorKind::NoLog, sentence));
                }
                Err(error) if is_busy(&error) && Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(error) => return Err(unusable(path, error)),
            }
        }
    }
}

/// The file that an address names, and whether it may be created.
fn locate(address: &Path) -> Result<(PathBuf, bool), OpenError> {
    let refuse = |reason: &str| {
        let sentence = format!("`{}` is not the address of a database file: {reason}", address.display());
        OpenError::new(OpenErrorKind::Address, sentence)
    };
    let url = address.to_str().filter(|text| text.starts_with("sqlite:"));
    let (url, parameters) = url.map_or(("", ""), |url| url.split_once('?').unwrap_or((url, "")));
    let path = if url.is_empty() {
        address.to_owned()
    } else {
        // Removes the scheme and decodes percent-encoded characters such as %20.
        SqliteConnectOptions::from_str(url).map_err(|_| refuse("it can't be read"))?.get_filename().to_owned()
    };
    let name = if url.is_empty() { address } else { Path::new(url) };
    let in_memory = [":memory:", "sqlite::memory:", "sqlite://:memory:"].map(Path::new).contains(&name);
    if in_memory || path.as_os_str().is_empty() {
        return Err(refuse("it names no file"));
    }
    match parameters {
        "" | "mode=rwc" => Ok((path, true)),
        "mode=rw" => Ok((path, false)),
        _ => Err(refuse("of parameters it may have only mode=rw or mode=rwc")),
    }
}

fn unusable(path: &Path, error: sqlx::Error) -> OpenError {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    let reason = match &error {
        _ if directory.is_some_and(|directory| !directory.is_dir()) => "there is no such directory".into(),
        sqlx::Error::Database(error) => error.message().to_owned(),
        other => other.to_string(),
    };
    let sentence = format!("the database file `{}` can't be used: {reason}", path.display());
    OpenError::new(OpenErrorKind::Failed, sentence).with_source(error)
}

fn not_migrated(path: &Path, error: MigrateError) -> OpenError {
    match error {
        MigrateError::Refused(refusal) => {
            let name = format!("the database `{}`", path.display());
            Migrated { name: &name, routines: "functions" }.refused(&refusal)
        }
        MigrateError::Failed(error) => unusable(path, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_path_or_a_url() {
        for (address, path, create) in [
            ("chat.db", "chat.db", true),
            ("/var/chat.db", "/var/chat.db", true),
            ("sqlite://chat.db", "chat.db", true),
            ("sqlite:///var/my%20chat.db?mode=rwc", "/var/my chat.db", true),
            ("sqlite:chat.db?mode=rw", "chat.db", false),
        ] {
            assert_eq!(locate(Path::new(address)).unwrap(), (PathBuf::from(path), create), "{address}");
        }
    }

    #[test]
    fn an_address_that_names_no_file_is_refused() {
        for address in [
            "",
            ":memory:",
            "sqlite:",
            "sqlite::memory:",
            "sqlite://",
            "sqlite://a.db?mode=ro",
            "sqlite:a?mode=memory",
        ] {
            let error = locate(Path::new(address)).unwrap_err().to_string();
            assert!(error.contains("is not the address of a database file"), "{address}: {error}");
        }
    }
}
