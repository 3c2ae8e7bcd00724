use std::{fmt, sync::Arc, time::Duration};

use redis::{Client, IntoConnectionInfo as _, ProtocolVersion, RedisError};

use crate::{RedisBus, RedisPresence, server::Server};

/// A Redis or Valkey server: its address, and how it is used. Connections are opened when they are needed, so a node also starts
/// while the server can't be reached.
///
/// ```no_run
/// use std::sync::Arc;
/// use messenger_core::{Messenger, memory::MemoryStore};
/// use messenger_redis::Redis;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let redis = Redis::open("redis://127.0.0.1:6379")?;
/// let builder = Messenger::builder(Arc::new(MemoryStore::new()));
/// let messenger = builder.bus(Arc::new(redis.bus())).presence(Arc::new(redis.presence())).build()?;
/// # drop(messenger);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Redis {
    server: Arc<Server>,
}

impl Redis {
    /// With the defaults of [`builder`](Self::builder).
    ///
    /// # Errors
    /// [`OpenError`] if the URL can't be understood.
    pub fn open(url: &str) -> Result<Self, OpenError> {
        Self::builder(url).build()
    }

    /// `redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]`, or `rediss://…` for a connection encrypted by TLS, which needs
    /// the feature `tls`.
    pub fn builder(url: &str) -> RedisBuilder {
        RedisBuilder {
            url: url.to_owned(),
            prefix: "messenger".to_owned(),
            client_name: "messenger".to_owned(),
            timeout: Duration::from_secs(1),
        }
    }

    /// Makes a bus with connections of its own: one to publish, and one for each node that joins.
    pub fn bus(&self) -> RedisBus {
        RedisBus::new(Arc::clone(&self.server))
    }

    /// Makes a presence store with a connection of its own. It remembers the leases taken through it, to restore them on a server
    /// that has lost them, so a node should have exactly one.
    pub fn presence(&self) -> RedisPresence {
        RedisPresence::new(Arc::clone(&self.server))
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("address", &self.server.address()).finish_non_exhaustive()
    }
}

/// Made by [`Redis::builder`].
///
/// ```
/// use std::time::Duration;
/// use messenger_redis::Redis;
///
/// let builder = Redis::builder("redis://chat:secret@redis.example.org/2").prefix("chat").client_name("chat-1");
/// let redis = builder.timeout(Duration::from_millis(500)).build().unwrap();
/// assert!(!format!("{redis:?}").contains("secret"));
/// ```
#[derive(Clone)]
pub struct RedisBuilder {
    url: String,
    prefix: String,
    client_name: String,
    timeout: Duration,
}

impl RedisBuilder {
    /// The prefix of the names of all keys and channels: 1 to 64 letters, digits, `-`, `_`, `.` or `:`. Nodes with the same prefix
    /// belong to one installation, whatever their database: Redis' channels don't know databases. Default: `messenger`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// The name of the connections in `CLIENT LIST`, without spaces. Default: `messenger`.
    pub fn client_name(mut self, name: impl Into<String>) -> Self {
        self.client_name = name.into();
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
    /// [`OpenError`] if the URL, the prefix or the name can't be used.
    pub fn build(self) -> Result<Redis, OpenError> {
        let Self { url, prefix, client_name, timeout } = self;
        if url.starts_with("rediss://") {
            needs_tls()?;
        }
        if !url.starts_with("redis://") && !url.starts_with("rediss://") {
            return Err(OpenError::Scheme);
        }
        let is_plain = |letter: u8| letter.is_ascii_alphanumeric() || b"-_.:".contains(&letter);
        if !(1..=64).contains(&prefix.len()) || !prefix.bytes().all(is_plain) {
            return Err(OpenError::Prefix);
        }
        if client_name.is_empty() || !client_name.bytes().all(|letter| letter.is_ascii_graphic()) {
            return Err(OpenError::ClientName);
        }
        let info = url.as_str().into_connection_info().map_err(OpenError::Url)?;
        // With version 3 of the protocol a subscribing connection can also run commands.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = Client::open(info.set_redis_settings(settings)).map_err(OpenError::Url)?;
        Ok(Redis { server: Arc::new(Server { client, prefix, client_name, timeout }) })
    }
}

impl fmt::Debug for RedisBuilder {
    /// Omits the URL, which may contain a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBuilder").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

#[cfg(feature = "tls")]
fn needs_tls() -> Result<(), OpenError> {
    // Without a default provider the client panics if the enabled features don't name exactly one.
    let installed = rustls::crypto::CryptoProvider::get_default().is_some();
    if installed { Ok(()) } else { Err(OpenError::NoCryptoProvider) }
}

#[cfg(not(feature = "tls"))]
fn needs_tls() -> Result<(), OpenError> {
    Err(OpenError::TlsIsOff)
}

/// An address or a setting that can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Neither `redis://` nor `rediss://`.
    #[error("the URL of Redis begins with neither `redis://` nor `rediss://`")]
    Scheme,
    /// The URL is malformed.
    #[error("the URL of Redis can't be understood: write redis://USER:PASSWORD@HOST:PORT/DATABASE")]
    Url(#[source] RedisError),
    /// `rediss://` without the feature `tls`.
    #[error("`rediss://` needs the feature `tls` of messenger-redis")]
    TlsIsOff,
    /// `rediss://` in a process without rustls' default provider.
    #[error(
        "`rediss://` needs a default provider of rustls: call rustls::crypto::CryptoProvider::install_default"
    )]
    NoCryptoProvider,
    /// The prefix is empty, too long, or has characters that are not allowed.
    #[error("the prefix of keys is not 1 to 64 letters, digits, `-`, `_`, `.` or `:`")]
    Prefix,
    /// The client's name is empty, or has spaces or characters beyond ASCII.
    #[error("the name of the client is empty, or has letters that Redis does not take")]
    ClientName,
}
