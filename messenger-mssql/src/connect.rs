//! One connection: from the address to a configured session.

use std::{fmt, io, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{
    TryStreamExt as _,
    future::{BoxFuture, select_ok},
};
use messenger_core::ports::{StoreError, StoreErrorKind};
use messenger_sql::open::OpenErrorKind;
use tiberius::{AuthMethod, Client, Config, EncryptionLevel, QueryItem, SqlBrowser as _, error::Error};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::{Instant, timeout_at},
};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

use crate::{
    address::{Address, Encryption},
    errors::ServerError,
    row::SqlRow,
};

/// A connection of the driver. Not shown by `Debug`: it contains what was last read.
pub(crate) type Link = Client<Compat<Box<dyn Stream>>>;

/// The stream under a connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The source of the tokens with which a node logs in, such as those of Microsoft Entra ID for
/// `https://database.windows.net/`.
///
/// A token is requested whenever a connection is opened: cache it until shortly before it expires.
///
/// ```
/// use std::error::Error;
/// use async_trait::async_trait;
/// use messenger_mssql::TokenSource;
///
/// struct ManagedIdentity;
///
/// #[async_trait]
/// impl TokenSource for ManagedIdentity {
///     async fn token(&self) -> Result<String, Box<dyn Error + Send + Sync>> {
///         // Ask the host's library, which has a cache.
///         Ok("eyJ0eXAi…".to_owned())
///     }
/// }
/// ```
#[async_trait]
pub trait TokenSource: Send + Sync {
    /// Returns a token that is valid now, without `Bearer`.
    ///
    /// # Errors
    /// Any failure. It is shown as the reason why the database can't be reached, so it must not contain a secret.
    async fn token(&self) -> Result<String, Box<dyn std::error::Error + Send + Sync>>;
}

/// Always returns this token, for uses that end before the token expires.
#[async_trait]
impl TokenSource for String {
    async fn token(&self) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.clone())
    }
}

/// How connections are opened.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) address: Address,
    /// Certificates of authorities, as PEM or DER, which are trusted in addition to those of the system.
    pub(crate) authorities: Option<Vec<u8>>,
    /// The source of tokens to log in with, instead of a password.
    pub(crate) token: Option<Arc<dyn TokenSource>>,
    /// The time limit from the first packet to a configured session.
    pub(crate) timeout: Duration,
    /// How long a statement waits for a lock; unlimited if `None`.
    pub(crate) lock_timeout: Option<Duration>,
    pub(crate) dial: Dial,
}

/// How the server is reached.
#[derive(Clone)]
pub(crate) enum Dial {
    Tcp,
    /// Without a network, so that a test can control the clock.
    #[cfg(test)]
    Memory(Arc<dyn Fn() -> io::Result<tokio::io::DuplexStream> + Send + Sync>),
}

/// The current server.
struct Target {
    host: String,
    port: Option<u16>,
}

impl Connector {
    /// A server can redirect its client to another one; the gateway of Azure does so once.
    const REDIRECTS: u32 = 3;

    /// Opens a connection and configures its session, before `deadline` and within the time limit of a connection.
    pub(crate) async fn open(&self, deadline: Instant) -> Result<Link, ConnectError> {
        let deadline = deadline.min(Instant::now() + self.timeout);
        let mut target = Target { host: self.address.host.clone(), port: self.address.known_port() };
        for _ in 0..=Self::REDIRECTS {
            match self.log_in(&target, deadline).await {
                Err(ConnectError::Driver(Error::Routing { host, port })) => {
                    // Otherwise anybody who intercepts the connection could send the redirect, and receive the
                    // password.
                    if !self.encrypts_all() {
                        return Err(ConnectError::UnsafeRedirect);
                    }
                    tracing::debug!(host, port, "the database has moved");
                    target = Target { host, port: Some(port) };
                }
                Err(error) => return Err(error),
                Ok(mut link) => {
                    let settings = self.settings();
                    timeout_at(deadline, batch(&mut link, &settings))
                        .await
                        .map_err(|_| ConnectError::NoAnswer)??;
                    return Ok(link);
                }
            }
        }
        Err(ConnectError::Redirects)
    }

    async fn log_in(&self, target: &Target, deadline: Instant) -> Result<Link, ConnectError> {
        let stream =
            timeout_at(deadline, self.reach(target)).await.map_err(|_| ConnectError::Unreachable)??;
        let auth = timeout_at(deadline, self.auth()).await.map_err(|_| ConnectError::NoToken)??;
        let config = self.config(target, auth);
        let client = timeout_at(deadline, Client::connect(config, stream.compat())).await;
        Ok(client.map_err(|_| ConnectError::NoAnswer)??)
    }

    async fn reach(&self, target: &Target) -> Result<Box<dyn Stream>, ConnectError> {
        match &self.dial {
            Dial::Tcp => {}
            #[cfg(test)]
            Dial::Memory(dial) => return Ok(Box::new(dial()?)),
        }
        let stream = match target.port {
            Some(port) => dial(&target.host, port, self.address.all_at_once).await?,
            None => TcpStream::connect_named(&self.config(target, AuthMethod::None)).await?,
        };
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }

    async fn auth(&self) -> Result<AuthMethod, ConnectError> {
        if let Some(source) = &self.token {
            return Ok(AuthMethod::aad_token(source.token().await.map_err(ConnectError::Token)?));
        }
        let Address { user, password, .. } = &self.address;
        let password = password.as_ref().map_or("", |password| &password.0);
        Ok(AuthMethod::sql_server(user.as_deref().unwrap_or_default(), password))
    }

    fn config(&self, target: &Target, auth: AuthMethod) -> Config {
        let address = &self.address;
        let mut config = Config::new();
        config.host(&target.host);
        if let Some(port) = target.port {
            config.port(port);
        } else if let Some(instance) = &address.instance {
            config.instance_name(instance);
        }
        config.database(&address.database);
        config.application_name(&address.application);
        config.authentication(auth);
        config.encryption(match address.encryption {
            Encryption::Required => EncryptionLevel::Required,
            Encryption::Strict => EncryptionLevel::Strict,
            Encryption::Login => EncryptionLevel::Off,
            Encryption::None => EncryptionLevel::NotSupported,
        });
        // The driver panics if both are set.
        if address.trust_any {
            config.trust_cert();
        } else if let Some(authorities) = &self.authorities {
            config.trust_cert_ca_bundle(authorities.as_slice());
        }
        if let Some(host) = &address.certificate_host {
            config.hostname_in_certificate(host);
        }
        // The time limits are ours: the driver's restart with every packet.
        config.handshake_timeout(None);
        config.command_timeout(None);
        config
    }

    const fn encrypts_all(&self) -> bool {
        matches!(self.address.encryption, Encryption::Required | Encryption::Strict)
    }

    /// The settings of a session. Indexes on computed columns and filtered indexes are only maintained under these.
    fn settings(&self) -> String {
        let limit =
            self.lock_timeout.map_or(-1, |limit| i32::try_from(limit.as_millis()).unwrap_or(i32::MAX));
        format!(
            "SET XACT_ABORT ON; SET NOCOUNT ON; SET LOCK_TIMEOUT {limit};
SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET IMPLICIT_TRANSACTIONS OFF;
SET QUOTED_IDENTIFIER ON; SET ANSI_NULLS ON; SET ANSI_PADDING ON; SET ANSI_WARNINGS ON; SET ARITHABORT ON;
SET CONCAT_NULL_YIELDS_NULL ON; SET NUMERIC_ROUNDABORT OFF; SET TEXTSIZE 2147483647;"
        )
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Connects to one of the addresses of a host. An address that does not answer for a while gives way to the next, so
/// that it does not use up the time for all.
async fn dial(host: &str, port: u16, all_at_once: bool) -> io::Result<TcpStream> {
    let addresses: Vec<_> = lookup_host((host, port)).await?.collect();
    if all_at_once && !addresses.is_empty() {
        let all =
            addresses.into_iter().map(|address| Box::pin(TcpStream::connect(address)) as BoxFuture<'_, _>);
        return Ok(select_ok(all).await?.0);
    }
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    let count = addresses.len();
    for (tried, address) in addresses.into_iter().enumerate() {
        let connected = if tried + 1 < count {
            let patience = Duration::from_secs(2);
            let connected = tokio::time::timeout(patience, TcpStream::connect(address)).await;
            connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        } else {
            TcpStream::connect(address).await
        };
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Runs statements of our own without parameters, and reads all their rows.
pub(crate) async fn batch(link: &mut Link, text: &str) -> Result<Vec<SqlRow>, Error> {
    let mut items = link.simple_query(text).await?;
    let mut rows = vec![];
    while let Some(item) = items.try_next().await? {
        if let QueryItem::Row(row) = item {
            rows.push(SqlRow(row));
        }
    }
    Ok(rows)
}

/// Why no connection was made. `Display` is a clause that follows a colon.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("it can't be reached in time")]
    Unreachable,
    #[error("it did not answer in time")]
    NoAnswer,
    #[error("there was no token to log in with in time")]
    NoToken,
    #[error("there is no token to log in with: {0}")]
    Token(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("it can't be reached: {0}")]
    Network(#[from] io::Error),
    #[error("it sends us on and on to other servers")]
    Redirects,
    #[error("it sends us on to another server, which is followed only if all is encrypted")]
    UnsafeRedirect,
    /// The answer of the server can't be read.
    #[error("it does not answer as an SQL Server does: {0}")]
    InvalidResponse(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("{0}")]
    Server(#[source] ServerError),
    #[error("{}", driver(_0))]
    Driver(#[source] Error),
}

impl ConnectError {
    /// Why the database can't be opened.
    pub(crate) fn failure(&self) -> OpenErrorKind {
        match self {
            Self::Server(error) => error.failure(),
            Self::UnsafeRedirect | Self::Driver(Error::Tls(_)) => OpenErrorKind::Encryption,
            Self::Driver(Error::Protocol(text)) if offers_no_encryption(text) => OpenErrorKind::Encryption,
            Self::NoToken | Self::Token(_) => OpenErrorKind::Login,
            _ => OpenErrorKind::Unreachable,
        }
    }
}

impl From<Error> for ConnectError {
    fn from(error: Error) -> Self {
        match error {
            Error::Server(error) => Self::Server(error.into()),
            other => Self::Driver(other),
        }
    }
}

impl From<ConnectError> for StoreError {
    /// Also if the reason is a lasting one: the server may accept the login later.
    fn from(error: ConnectError) -> Self {
        Self::new(StoreErrorKind::Unavailable, error)
    }
}

/// The driver reports a server that refuses encryption only by this text, and has no error of its own for it.
fn offers_no_encryption(text: &str) -> bool {
    text.contains("encryption level")
}

/// Describes a driver error for people who do not program with the driver.
fn driver(error: &Error) -> String {
    match error {
        // Also reported for an answer that is too short.
        Error::Io { kind: io::ErrorKind::UnexpectedEof, .. } => {
            "it has ended the connection, or is no SQL Server".to_owned()
        }
        Error::Io { message, .. } => match message.strip_prefix("Protocol error: ") {
            Some(text) => format!("it does not answer as an SQL Server does: {text}"),
            None => message.clone(),
        },
        Error::Protocol(text) if offers_no_encryption(text) => {
            "it offers no encryption, which is required".to_owned()
        }
        Error::Protocol(text) | Error::Encoding(text) => {
            format!("it does not answer as an SQL Server does: {text}")
        }
        // The driver adds which of its functions would trust the certificate.
        Error::Tls(text) => match text.split_once(" To connect anyway") {
            Some((text, _)) => {
                format!("{text} Name the file of its authority with `trustServerCertificateCA`")
            }
            None => format!("there is no encrypted connection: {text}"),
        },
        Error::Conversion(text) => text.clone().into_owned(),
        other => other.to_string(),
    }
}
