use std::{fmt, str::FromStr as _, sync::Arc, time::Duration};

use messenger_sql::{
    migrations::Migrations,
    open::{Migrated, OpenError, OpenErrorKind},
    turns,
};
use sqlx::{
    ConnectOptions as _, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{
    connections::{Connections, Settings},
    errors::failure,
    migrate::{MIGRATIONS, MigrateError, migrate, pending_migrations},
    sql::Schema,
    statements::{IDLE_IN_TRANSACTION, PLANNER, Statements},
    store::PostgresStore,
};

/// Longer than anybody waits, and short enough for any clock and for the server.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The oldest version of PostgreSQL known to work, as the server numbers it.
const OLDEST: i32 = 130_000;

impl PostgresStore {
    /// Connects to the database of a URL and brings its tables up to date.
    ///
    /// The URL is `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, with the parameters that [`PgConnectOptions`] knows,
    /// for instance `sslmode=verify-full` and `sslrootcert=FILE`.
    ///
    /// # Errors
    /// [`OpenError`] explains in one sentence why the database can't be used.
    pub async fn connect(url: &str) -> Result<Self, OpenError> {
        Self::builder(url).open().await
    }

    /// Settings for connecting to the database of a URL, as [`connect`](Self::connect) takes it.
    pub fn builder(url: &str) -> PostgresBuilder {
        PostgresBuilder::of_url(url)
    }

    /// Settings for a store that uses a connection pool of the host.
    pub fn with_pool(pool: PgPool) -> PostgresBuilder {
        PostgresBuilder::of_pool(pool)
    }
}

/// Settings of a [`PostgresStore`].
///
/// ```no_run
/// # async fn open() -> Result<(), messenger_sqlx::postgres::OpenError> {
/// use std::time::Duration;
/// use messenger_sqlx::PostgresStore;
///
/// let store = PostgresStore::builder("postgres://chat@db.example.org/app")
///     .schema("chat")
///     .max_connections(20)
///     .statement_timeout(Duration::from_secs(5))
///     .open()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing before `open`"]
pub struct PostgresBuilder {
    source: Source,
    schema: String,
    max_connections: u32,
    max_waiting: usize,
    lanes: usize,
    acquire_timeout: Duration,
    timeout: Duration,
    statement_timeout: Duration,
    transaction_pooling: bool,
    migrate: bool,
    pub(super) migrations: &'static Migrations,
}

#[derive(Clone)]
enum Source {
    Url(Box<str>),
    Pool(PgPool),
}

impl fmt::Debug for Source {
    /// Leaves out the URL: it may contain a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Url(_) => "Url",
            Self::Pool(_) => "Pool",
        })
    }
}

impl PostgresBuilder {
    pub(super) fn of_url(url: &str) -> Self {
        Self::of(Source::Url(url.into()))
    }

    pub(super) fn of_pool(pool: PgPool) -> Self {
        Self::of(Source::Pool(pool))
    }

    fn of(source: Source) -> Self {
        Self {
            source,
            schema: "messenger".to_owned(),
            max_connections: 16,
            max_waiting: turns::WAITING,
            lanes: 1,
            acquire_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(15),
            statement_timeout: Duration::from_secs(10),
            transaction_pooling: false,
            migrate: true,
            migrations: &MIGRATIONS,
        }
    }

    /// The schema that contains the tables, which is created if it does not exist; default: `messenger`. 1 to 63 of the
    /// letters a to z, digits and `_`; it must not begin with a digit or with `pg_`.
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.schema = name.into();
        self
    }

    /// Maximum number of open connections, at least 2; default: 16. Idle ones are closed after ten minutes. Has no
    /// effect on a pool of the host.
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.max_connections = connections.max(2);
        self
    }

    /// Maximum number of intents that wait for a free connection; default: 16,384. Each takes some 2 KiB. A further one
    /// is `Unavailable` at once.
    pub fn max_waiting(mut self, intents: usize) -> Self {
        self.max_waiting = intents;
        self
    }

    /// How many batches of messages are committed at the same time, at least 1; default: 1. More of them help where the
    /// server is far away or has many cores; fewer make larger batches, which cost less for each message.
    pub fn lanes(mut self, lanes: usize) -> Self {
        self.lanes = lanes.max(1);
        self
    }

    /// How long an intent waits for a connection; default: 5 seconds.
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

    /// After how long the server cancels a statement, including waits for locks; default: 10 seconds. Whole
    /// milliseconds. In a pool of the host, statements that only read keep the pool's own setting.
    pub fn statement_timeout(mut self, timeout: Duration) -> Self {
        self.statement_timeout = timeout.clamp(Duration::from_millis(1), LONGEST);
        self
    }

    /// For a URL of a pooler that gives each transaction another connection, such as PgBouncer with
    /// `pool_mode = transaction`. Nothing is then kept on a connection: statements are not prepared in advance, and every intent is
    /// a transaction of its own, which takes four round trips instead of one.
    pub fn transaction_pooling(mut self, on: bool) -> Self {
        self.transaction_pooling = on;
        self
    }

    /// Whether the tables are brought up to date; default: true. If not, they must already be up to date, and the right
    /// to change them is not needed.
    pub fn migrate(mut self, on: bool) -> Self {
        self.migrate = on;
        self
    }

    /// Opens the store. While another node migrates the tables, this waits for it without a limit.
    ///
    /// # Errors
    /// [`OpenError`] explains in one sentence why the database can't be used.
    pub async fn open(self) -> Result<PostgresStore, OpenError> {
        let schema = Schema::parse(&self.schema).ok_or_else(|| not_a_schema(&self.schema))?;
        let (pool, place) = self.pool()?;
        let is_ready = self.prepare(&pool, &schema, &place).await;
        let shared = matches!(self.source, Source::Pool(_));
        if is_ready.is_err() && !shared {
            pool.close().await;
        }
        is_ready?;
        let per_transaction = (shared || self.transaction_pooling).then_some(self.statement_timeout);
        let statements = Statements::new(&schema, per_transaction);
        let settings = Settings {
            shared,
            pooled: self.transaction_pooling,
            max_waiting: self.max_waiting,
            acquire_timeout: self.acquire_timeout,
            timeout: self.timeout,
        };
        let connections = Connections::new(pool, settings, Arc::new(statements));
        Ok(PostgresStore::new(Arc::new(connections), self.lanes))
    }

    /// Makes the pool, without a connection yet, and describes the database it leads to.
    fn pool(&self) -> Result<(PgPool, String), OpenError> {
        let url = match &self.source {
            Source::Pool(pool) => return Ok((pool.clone(), place(&pool.connect_options()))),
            Source::Url(url) => url,
        };
        let options = address(url)?.application_name("messenger").disable_statement_logging();
        let place = place(&options);
        let pool = PgPoolOptions::new()
            .max_connections(self.max_connections)
            .acquire_timeout(self.acquire_timeout)
            .test_before_acquire(false)
            .max_lifetime(Connections::LIFETIME)
            .connect_lazy_with(self.tell(options));
        Ok((pool, place))
    }

    /// Adds the settings that each connection is opened with.
    fn tell(&self, options: PgConnectOptions) -> PgConnectOptions {
        if self.transaction_pooling {
            // A pooler knows few of these settings and refuses the others.
            return options.extra_float_digits(None).statement_cache_capacity(0);
        }
        let options = options.options([
            ("statement_timeout", self.statement_timeout.as_millis().to_string().as_str()),
            ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION.to_string().as_str()),
            // Statements after a lock must see what was committed under the lock before.
            ("default_transaction_isolation", "read committed"),
        ]);
        options.options(PLANNER)
    }

    async fn prepare(&self, pool: &PgPool, schema: &Schema, place: &str) -> Result<(), OpenError> {
        let unreachable = |error| unusable(place, error);
        let mut conn = match &self.source {
            // The first connection is opened without the pool, which would retry for a long time and then only report a
            // time-out.
            Source::Url(_) => {
                let options = pool.connect_options();
                let conn = tokio::time::timeout(self.acquire_timeout, options.connect()).await;
                conn.map_err(|_| silent(place))?.map_err(unreachable)?
            }
            Source::Pool(pool) => pool.acquire().await.map_err(unreachable)?.detach(),
        };
        // In a transaction, because a pooler may give each statement another connection, and a statement is sent in two
        // parts. Waits without a limit, as the migration itself does, for a node that changes the table of migrations.
        let begin = "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0";
        sqlx::raw_sql(begin).execute(&mut conn).await.map_err(unreachable)?;
        check_server(&mut conn, place).await?;
        let refused = |error| not_migrated(place, schema, error);
        let pending = pending_migrations(&mut conn, schema, self.migrations).await.map_err(refused)?;
        sqlx::raw_sql("COMMIT").execute(&mut conn).await.map_err(unreachable)?;
        if self.migrate && !pending.is_empty() {
            migrate(&mut conn, schema, self.migrations).await.map_err(refused)?;
        } else {
            migrated(&named(place, schema)).require_nothing(&pending)?;
        }
        let _ = sqlx::Connection::close(conn).await;
        Ok(())
    }
}

/// What the URL says.
pub(super) fn address(url: &str) -> Result<PgConnectOptions, OpenError> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(no_address("it does not begin with `postgres://`"));
    }
    PgConnectOptions::from_str(url).map_err(|error| no_address(&reason(&error)))
}

/// Host, port and database, for error messages.
pub(super) fn place(options: &PgConnectOptions) -> String {
    let host =
        options.get_socket().map_or_else(|| options.get_host().to_owned(), |path| path.display().to_string());
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    format!("{host}:{}/{database}", options.get_port())
}

/// Checks that the server is recent enough, and that its commits are durable.
async fn check_server(conn: &mut PgConnection, place: &str) -> Result<(), OpenError> {
    let query = "SELECT current_setting('server_version_num')::integer, current_setting('server_version'),
        current_setting('synchronous_commit'), current_setting('transaction_read_only') = 'on',
        current_setting('server_encoding')";
    let query = sqlx::query_as(query).persistent(false).fetch_one(conn).await;
    let (number, version, commit, read_only, encoding): (i32, String, String, bool, String) =
        query.map_err(|error| unusable(place, error))?;
    if number < OLDEST {
        let sentence = format!(
            "the server of the database {place} is PostgreSQL {version}, and 13 is the oldest that will do"
        );
        return Err(OpenError::new(OpenErrorKind::Version, sentence));
    }
    if encoding != "UTF8" {
        let sentence =
            format!("the database {place} has the encoding {encoding}; make one with ENCODING 'UTF8'");
        return Err(OpenError::new(OpenErrorKind::Encoding, sentence));
    }
    if commit == "off" {
        let sentence = format!(
            "the database {place} has synchronous_commit = off for this user, so what is acknowledged could be lost; \
             set it to on"
        );
        return Err(OpenError::new(OpenErrorKind::NotDurable, sentence));
    }
    if read_only {
        let sentence = format!("the database {place} is read-only; connect to the server that is written to");
        return Err(OpenError::new(OpenErrorKind::ReadOnly, sentence));
    }
    Ok(())
}

pub(super) fn not_a_schema(name: &str) -> OpenError {
    OpenError::new(
        OpenErrorKind::Schema,
        format!(
            "`{name}` can't be the name of a schema: 1 to 63 of a to z, digits and `_` can, not beginning with a digit or \
             with `pg_`"
        ),
    )
}

fn no_address(reason: &str) -> OpenError {
    let sentence = format!("the URL of the PostgreSQL database can't be used: {reason}");
    OpenError::new(OpenErrorKind::Address, sentence)
}

fn unusable(place: &str, error: sqlx::Error) -> OpenError {
    let sentence = format!("the database {place} can't be used: {}", reason(&error));
    OpenError::new(failure(&error), sentence).with_source(error)
}

fn silent(place: &str) -> OpenError {
    let sentence = format!("the database {place} can't be used: it did not answer in time");
    OpenError::new(OpenErrorKind::Unreachable, sentence)
}

fn not_migrated(place: &str, schema: &Schema, error: MigrateError) -> OpenError {
    match error {
        MigrateError::Refused(refusal) => migrated(&named(place, schema)).refused(&refusal),
        MigrateError::Failed(error) => unusable(place, error),
    }
}

fn named(place: &str, schema: &Schema) -> String {
    format!("the schema {} of the database {place}", schema.name())
}

const fn migrated(name: &str) -> Migrated<'_> {
    Migrated { name, routines: "functions" }
}

fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Configuration(error) => error.to_string(),
        other => other.to_string(),
    }
}
