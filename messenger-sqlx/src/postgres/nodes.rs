use std::{fmt, sync::Arc, time::Duration};

use messenger_sql::open::OpenError;
use sqlx::ConnectOptions as _;

use super::{
    bus::PostgresBus,
    line::Server,
    open::{address, not_a_schema, place},
    presence::PostgresPresence,
    sql::Schema,
};

/// What several nodes on one PostgreSQL database share besides the store, where there is no Redis: a [bus](Self::bus), and
/// [who is online](Self::presence). Connections are opened when they are needed, so a node also starts while the server can't be
/// reached.
///
/// ```no_run
/// use std::sync::Arc;
/// use messenger_core::Messenger;
/// use messenger_sqlx::{PostgresNodes, PostgresStore};
///
/// # async fn open() -> Result<(), Box<dyn std::error::Error>> {
/// let url = "postgres://chat:secret@db.example.org/chat";
/// let store = PostgresStore::connect(url).await?;
/// let nodes = PostgresNodes::open(url)?;
/// let builder = Messenger::builder(Arc::new(store));
/// let messenger = builder.bus(Arc::new(nodes.bus())).presence(Arc::new(nodes.presence())).build()?;
/// # drop(messenger);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct PostgresNodes {
    server: Arc<Server>,
}

impl PostgresNodes {
    /// With the defaults of [`builder`](Self::builder).
    ///
    /// # Errors
    /// [`OpenError`] if the URL can't be understood.
    pub fn open(url: &str) -> Result<Self, OpenError> {
        Self::builder(url).build()
    }

    /// The URL is one that [`PostgresStore::connect`](super::PostgresStore::connect) takes, of the same database. It must lead to
    /// the server itself, or to a pooler that keeps a connection for each client: one that gives each transaction another
    /// connection, such as PgBouncer with `pool_mode = transaction`, passes on no notifications.
    pub fn builder(url: &str) -> PostgresNodesBuilder {
        PostgresNodesBuilder {
            url: url.into(),
            schema: "messenger".to_owned(),
            timeout: Duration::from_secs(1),
        }
    }

    /// Makes a bus with connections of its own: one to publish, and one for each node that joins. It needs no tables.
    pub fn bus(&self) -> PostgresBus {
        PostgresBus::new(Arc::clone(&self.server))
    }

    /// Makes a presence store with a connection of its own. It remembers the leases taken through it, to restore them on a server
    /// that has lost them, so a node should have exactly one.
    pub fn presence(&self) -> PostgresPresence {
        PostgresPresence::new(Arc::clone(&self.server))
    }
}

/// Made by [`PostgresNodes::builder`].
///
/// ```
/// use std::time::Duration;
/// use messenger_sqlx::PostgresNodes;
///
/// let builder = PostgresNodes::builder("postgres://chat:secret@db.example.org/chat").schema("chat");
/// let nodes = builder.timeout(Duration::from_millis(500)).build().unwrap();
/// assert!(!format!("{nodes:?}").contains("secret"));
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing before `build`"]
pub struct PostgresNodesBuilder {
    url: Box<str>,
    schema: String,
    timeout: Duration,
}

impl PostgresNodesBuilder {
    /// The schema of the store, by which its nodes find each other; default: `messenger`. See
    /// [`PostgresBuilder::schema`](super::PostgresBuilder::schema).
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.schema = name.into();
        self
    }

    /// Time limit for an answer of the server, after which the connection counts as lost. From 50 ms to 5 s; values outside are
    /// clamped. Default: 1 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.clamp(Duration::from_millis(50), Duration::from_secs(5));
        self
    }

    /// Checks the settings, without connecting.
    ///
    /// # Errors
    /// [`OpenError`] if the URL or the schema's name can't be used.
    pub fn build(self) -> Result<PostgresNodes, OpenError> {
        let schema = Schema::parse(&self.schema).ok_or_else(|| not_a_schema(&self.schema))?;
        let options = address(&self.url)?.disable_statement_logging();
        let place = place(&options);
        Ok(PostgresNodes { server: Arc::new(Server { options, schema, place, timeout: self.timeout }) })
    }
}

impl fmt::Debug for PostgresNodesBuilder {
    /// Omits the URL, which may contain a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresNodesBuilder").field("schema", &self.schema).finish_non_exhaustive()
    }
}
