#[cfg(test)]
mod tests;

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use messenger_core::ports::StoreResult;
use messenger_sql::{
    columns::Columns,
    migrations::Migrations,
    open::{Migrated, OpenError, OpenErrorKind},
    pool::Settings,
    turns,
};
use tokio::time::{Instant, timeout};

use crate::{
    address::{Address, Encryption},
    connect::{ConnectError, Connector, Dial, Link, TokenSource, batch},
    connections::Connections,
    migrate::{Commits, Dialect, MIGRATIONS, MigrateError, migrate, pending_migrations},
    row::SqlRow,
    schema::Schema,
    store::MssqlStore,
};

/// Longer than anybody waits, and short enough for any clock and for the server.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Shorter times are raised to this, so that nothing is given up before it has begun.
const SHORTEST: Duration = Duration::from_millis(1);

/// The oldest version known to work, as the server numbers it: SQL Server 2019.
const OLDEST: i64 = 15;

impl MssqlStore {
    /// Connects to the database of an address and brings its tables up to date.
    ///
    /// The address is `mssql://USER:PASSWORD@HOST:PORT/DATABASE?PARAMETER=VALUE&…`, with every character that is not a
    /// letter or a digit percent-encoded, or a .NET connection string,
    /// `Server=HOST,PORT;Database=…;User Id=…;Password=…;…`. The default port is 1433. Both forms have these
    /// parameters; their names are case-insensitive:
    ///
    /// | parameter | |
    /// |---|---|
    /// | `encrypt` | `true` by default; `strict`: from the first byte on (TDS 8); `false`: only the login |
    /// | `trustServerCertificate` | `true`: any certificate is accepted |
    /// | `trustServerCertificateCA` | a file of certificate authorities, trusted in addition to those of the system |
    /// | `hostNameInCertificate` | the name that the certificate must be for, instead of the host |
    /// | `instance` | the instance whose port is requested from the SQL Browser of the host, by UDP, if no port is given |
    /// | `applicationName` | as the server's lists of sessions show it; `messenger` by default |
    /// | `connectTimeout` | in seconds: see [`connect_timeout`](MssqlBuilder::connect_timeout) |
    /// | `commandTimeout` | in seconds: see [`timeout`](MssqlBuilder::timeout) |
    /// | `multiSubnetFailover` | `true`: all addresses of the host are tried at once |
    /// | `applicationIntent` | only `ReadWrite` is accepted |
    ///
    /// # Errors
    /// [`OpenError`] explains in one sentence why the database can't be used.
    pub async fn connect(address: &str) -> Result<Self, OpenError> {
        Self::builder(address).open().await
    }

    /// Settings for connecting to the database of an address, as [`connect`](Self::connect) takes it.
    pub fn builder(address: &str) -> MssqlBuilder {
        MssqlBuilder::new(address)
    }
}

/// Settings of a [`MssqlStore`].
///
/// ```no_run
/// # async fn open() -> Result<(), messenger_mssql::OpenError> {
/// use std::time::Duration;
/// use messenger_mssql::MssqlStore;
///
/// let store = MssqlStore::builder("mssql://chat:secret@db.example.org/app")
///     .schema("chat")
///     .max_connections(20)
///     .lock_timeout(Duration::from_secs(2))
///     .open()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing before `open`"]
pub struct MssqlBuilder {
    address: Box<str>,
    schema: String,
    max_connections: u32,
    max_waiting: usize,
    lanes: usize,
    connect_timeout: Option<Duration>,
    acquire_timeout: Duration,
    timeout: Option<Duration>,
    lock_timeout: Duration,
    idle_timeout: Duration,
    max_lifetime: Duration,
    trust_any: Option<bool>,
    authority: Option<PathBuf>,
    token: Option<Arc<dyn TokenSource>>,
    migrate: bool,
    pub(crate) migrations: &'static Migrations,
    dial: Dial,
}

impl fmt::Debug for MssqlBuilder {
    /// Leaves out the address: it may contain a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MssqlBuilder").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl MssqlBuilder {
    pub(crate) fn new(address: &str) -> Self {
        Self {
            address: address.into(),
            schema: "messenger".to_owned(),
            max_connections: 16,
            max_waiting: turns::WAITING,
            lanes: 1,
            connect_timeout: None,
            acquire_timeout: Duration::from_secs(5),
            timeout: None,
            lock_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(600),
            max_lifetime: Duration::from_secs(1800),
            trust_any: None,
            authority: None,
            token: None,
            migrate: true,
            migrations: &MIGRATIONS,
            dial: Dial::Tcp,
        }
    }

    /// The schema that contains the tables, which is created if it does not exist; default: `messenger`. 1 to 63 of the
    /// letters a to z, digits and `_`; it must not begin with a digit or be one of the server's own, such as `dbo`.
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.schema = name.into();
        self
    }

    /// Maximum number of open connections, at least 2; default: 16.
    pub fn max_connections(mut self, connections: u32) -> Self {
        // More than any server allows, and few enough to wait for all of them.
        self.max_connections = connections.clamp(2, 32_767);
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

    /// How long it may take to open a connection, from looking up the host to a configured session; default: as in the
    /// address, or else 5 seconds.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = Some(timeout.clamp(SHORTEST, LONGEST));
        self
    }

    /// How long an intent waits for a connection; default: 5 seconds.
    pub fn acquire_timeout(mut self, timeout: Duration) -> Self {
        self.acquire_timeout = timeout.min(LONGEST);
        self
    }

    /// How long a caller waits for an answer, including all other waits; default: as in the address (`commandTimeout`),
    /// or else 15 seconds. A write that takes longer is `Unavailable` to its caller, and may still be carried out.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout.clamp(SHORTEST, LONGEST));
        self
    }

    /// After how long the server cancels a statement that waits for a lock; default: 5 seconds. Whole milliseconds.
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout.clamp(SHORTEST, LONGEST);
        self
    }

    /// After how long without use a connection is closed, when another one is used; default: 10 minutes. Must be
    /// shorter than the time after which network devices on the way drop idle connections silently: for Azure, that is
    /// 30 minutes.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout.clamp(SHORTEST, LONGEST);
        self
    }

    /// The maximum age at which a connection is used; default: 30 minutes.
    pub fn max_lifetime(mut self, lifetime: Duration) -> Self {
        self.max_lifetime = lifetime.clamp(SHORTEST, LONGEST);
        self
    }

    /// Whether any server certificate is accepted; default: as in the address (`trustServerCertificate`), or else
    /// false. If it is, whoever intercepts the connection can read and change everything.
    pub const fn trust_server_certificate(mut self, on: bool) -> Self {
        self.trust_any = Some(on);
        self
    }

    /// A file with the certificates of authorities, as PEM or DER, that are trusted in addition to those of the system;
    /// default: as in the address (`trustServerCertificateCA`).
    pub fn certificate_authority(mut self, file: impl Into<PathBuf>) -> Self {
        self.authority = Some(file.into());
        self
    }

    /// Logs in with tokens, such as those of Microsoft Entra ID, instead of a password.
    pub fn aad_token(mut self, source: impl TokenSource + 'static) -> Self {
        self.token = Some(Arc::new(source));
        self
    }

    /// Whether the tables are brought up to date; default: true. If not, they must already be up to date, and the right
    /// to change them is not needed.
    pub const fn migrate(mut self, on: bool) -> Self {
        self.migrate = on;
        self
    }

    /// Opens the store. While another node migrates the tables, this waits for it, for at most 15 minutes.
    ///
    /// # Errors
    /// [`OpenError`] explains in one sentence why the database can't be used.
    pub async fn open(self) -> Result<MssqlStore, OpenError> {
        let schema = Schema::parse(&self.schema).ok_or_else(|| not_a_schema(&self.schema))?;
        let address = self.whole_address().map_err(|reason| no_address(&reason))?;
        let place = address.place();
        let timeout = self.timeout.or(address.command_timeout).unwrap_or(Duration::from_secs(15));
        let connector = Connector {
            authorities: authorities(&address).await?,
            timeout: self.connect_timeout.or(address.connect_timeout).unwrap_or(Duration::from_secs(5)),
            lock_timeout: Some(self.lock_timeout),
            address,
            token: self.token.clone(),
            dial: self.dial.clone(),
        };
        let is_versioned = self.prepare(&connector, timeout, &schema, &place).await?;
        let settings = Settings {
            max_connections: self.max_connections,
            max_waiting: self.max_waiting,
            acquire_timeout: self.acquire_timeout,
            timeout,
            idle_timeout: self.idle_timeout,
            max_lifetime: self.max_lifetime,
            keeps_free: true,
        };
        Ok(MssqlStore::new(Connections::new(connector, settings), &schema, is_versioned, self.lanes))
    }

    /// The address with the settings of the builder, or what is wrong with it.
    fn whole_address(&self) -> Result<Address, String> {
        let mut address: Address = self.address.parse()?;
        match (self.trust_any, &self.authority) {
            (Some(true), Some(_)) => {
                return Err(
                    "any certificate is trusted, and an authority is set: one of them is enough".to_owned()
                );
            }
            (Some(true), None) => (address.trust_any, address.authority) = (true, None),
            (_, Some(file)) => (address.trust_any, address.authority) = (false, Some(file.clone())),
            (Some(false), None) => address.trust_any = false,
            (None, None) => {}
        }
        match (&self.token, &address.user) {
            (None, None) => Err("it names no user, and no source of tokens is set".to_owned()),
            (Some(_), Some(_)) => {
                Err("it names a user, and a source of tokens is set: one of them is enough".to_owned())
            }
            (Some(_), None) if address.encryption == Encryption::None => {
                Err("a token is sent over an encrypted connection only".to_owned())
            }
            _ => Ok(address),
        }
    }

    /// Checks the database and brings it up to date, on a connection that may wait for locks. Returns whether the
    /// database keeps row versions for readers.
    async fn prepare(
        &self,
        connector: &Connector,
        limit: Duration,
        schema: &Schema,
        place: &str,
    ) -> Result<bool, OpenError> {
        let connector = Connector { lock_timeout: None, ..connector.clone() };
        let failed = |error| unusable(place, error);
        let mut link = connector.open(Instant::now() + connector.timeout).await.map_err(failed)?;
        let server = timeout(limit, Server::ask(&mut link)).await;
        let server = server.unwrap_or(Err(ConnectError::NoAnswer)).map_err(failed)?;
        server.check(place)?;
        let refused = |error| not_migrated(place, schema, error);
        let pending = pending_migrations(&mut link, schema, self.migrations).await.map_err(refused)?;
        if self.migrate && !pending.is_empty() {
            let dialect = timeout(limit, server.dialect(&mut link)).await;
            let dialect = dialect.unwrap_or(Err(ConnectError::NoAnswer)).map_err(failed)?;
            migrate(&mut link, schema, self.migrations, dialect).await.map_err(refused)?;
        } else {
            migrated(&named(place, schema)).require_nothing(&pending)?;
        }
        Ok(server.is_versioned)
    }
}

/// Reads the file once: the driver would read it for each connection, and report less about what is wrong with it.
async fn authorities(address: &Address) -> Result<Option<Vec<u8>>, OpenError> {
    let Some(file) = address.authority.clone() else { return Ok(None) };
    let name = file.display().to_string();
    let read = tokio::task::spawn_blocking(|| std::fs::read(file)).await.map_err(std::io::Error::other);
    let bytes = read.and_then(|read| read);
    bytes.map(Some).map_err(|error| {
        no_address(&format!("the file {name} with the certificates of authorities can't be read: {error}"))
    })
}

/// The properties of server and database that are checked before use.
#[derive(Debug, Default)]
struct Server {
    /// `None` for another engine that speaks the server's protocol.
    major: Option<i64>,
    version: String,
    is_azure: bool,
    durability: Option<i64>,
    is_read_only: bool,
    is_versioned: bool,
}

impl Server {
    // Not by `DB_ID`: on Azure the numbers differ. Properties that an engine does not know are null.
    const QUESTION: &str = "SELECT
    CAST(SERVERPROPERTY('ProductMajorVersion') AS nvarchar(128)),
    CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(128)),
    CAST(SERVERPROPERTY('EngineEdition') AS int),
    CAST(@@VERSION AS nvarchar(400)),
    CAST(DATABASEPROPERTYEX(DB_NAME(), 'Updateability') AS nvarchar(128)),
    CAST(d.delayed_durability AS int),
    CAST(d.is_read_committed_snapshot_on AS int)
FROM (SELECT 1 AS one) AS o LEFT JOIN sys.databases AS d ON d.name = DB_NAME();";

    async fn ask(link: &mut Link) -> Result<Self, ConnectError> {
        let rows = batch(link, Self::QUESTION).await?;
        let row = rows.first().ok_or_else(|| ConnectError::InvalidResponse("no row".into()))?;
        Self::read(&mut Columns::of(row)).map_err(|error| ConnectError::InvalidResponse(error.into()))
    }

    fn read(columns: &mut Columns<'_, SqlRow>) -> StoreResult<Self> {
        // By numbers, since the names of editions differ: Azure SQL Database, its managed instance, and Fabric.
        const AZURE: [i64; 3] = [5, 8, 12];
        let major = columns.optional_text()?.and_then(|major| major.parse().ok());
        let version = columns.optional_text()?.unwrap_or_default().to_owned();
        let edition = columns.optional_integer()?;
        let is_other = columns.optional_text()?.is_some_and(|text| text.contains("Babelfish"));
        Ok(Self {
            major: major.filter(|_| !is_other),
            version,
            is_azure: edition.is_some_and(|edition| AZURE.contains(&edition)),
            is_read_only: columns.optional_text()? == Some("READ_ONLY"),
            durability: columns.optional_integer()?,
            // Such an engine always keeps row versions.
            is_versioned: columns.optional_integer()? == Some(1) || is_other,
        })
    }

    /// SQL Server itself is not probed: if it refused the probe for another reason, its commits would never be
    /// numbered.
    async fn dialect(&self, link: &mut Link) -> Result<Dialect, ConnectError> {
        if self.major.is_some() {
            return Ok(Dialect::SQL_SERVER);
        }
        Ok(Dialect { commits: Commits::ask(link).await?, is_sql_server: false })
    }

    /// Checks that the server is recent enough, and that its commits are durable.
    fn check(&self, place: &str) -> Result<(), OpenError> {
        const FORCED: i64 = 2;
        if !self.is_azure && self.major.is_some_and(|major| major < OLDEST) {
            let sentence = format!(
                "the server of the database {place} is SQL Server {}, and {OLDEST} (SQL Server 2019) is the oldest that \
                 will do",
                self.version
            );
            return Err(OpenError::new(OpenErrorKind::Version, sentence));
        }
        if self.durability == Some(FORCED) {
            let sentence = format!(
                "the database {place} has DELAYED_DURABILITY = FORCED, so what is acknowledged could be lost; set it to \
                 ALLOWED or DISABLED"
            );
            return Err(OpenError::new(OpenErrorKind::NotDurable, sentence));
        }
        if self.is_read_only {
            let sentence =
                format!("the database {place} is read-only; connect to the server that is written to");
            return Err(OpenError::new(OpenErrorKind::ReadOnly, sentence));
        }
        Ok(())
    }
}

fn not_a_schema(name: &str) -> OpenError {
    OpenError::new(
        OpenErrorKind::Schema,
        format!(
            "`{name}` can't be the name of a schema: 1 to 63 of a to z, digits and `_` can, not beginning with a digit, and \
             none of the server's own"
        ),
    )
}

fn no_address(reason: &str) -> OpenError {
    let sentence = format!("the address of the SQL Server database can't be used: {reason}");
    OpenError::new(OpenErrorKind::Address, sentence)
}

fn unusable(place: &str, error: ConnectError) -> OpenError {
    let sentence = format!("the database {place} can't be used: {error}");
    OpenError::new(error.failure(), sentence).with_source(error)
}

fn not_migrated(place: &str, schema: &Schema, error: MigrateError) -> OpenError {
    let name = named(place, schema);
    match error {
        MigrateError::Refused(refusal) => migrated(&name).refused(&refusal),
        MigrateError::Failed(error) => unusable(place, error),
        MigrateError::Unreadable(error) => unusable(place, ConnectError::InvalidResponse(error.into())),
        MigrateError::Busy => OpenError::new(
            OpenErrorKind::Busy,
            format!("{name} is being migrated by another node, and has been for 15 minutes"),
        ),
    }
}

fn named(place: &str, schema: &Schema) -> String {
    format!("the schema {} of the database {place}", schema.name())
}

const fn migrated(name: &str) -> Migrated<'_> {
    Migrated { name, routines: "procedures" }
}
