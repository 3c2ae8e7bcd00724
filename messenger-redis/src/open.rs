use std::{fmt, sync::Arc, time::Duration};

use redis::{ConnectionAddr, ConnectionInfo, ProtocolVersion, RedisError};

use crate::{
    RedisBus, RedisPresence, RedisRateLimiter,
    address::{Address, AddressError, Kind},
    server::Server,
    sources::Source,
    topology::Topology,
};

/// Redis or Valkey, as one server, with Sentinels or as a cluster: its address, and how it is used. Connections are opened when they
/// are needed, so a node also starts while it can't be reached.
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
    topology: Arc<Topology>,
}

impl Redis {
    /// With the defaults of [`builder`](Self::builder).
    ///
    /// # Errors
    /// [`OpenError`] if the URL can't be understood.
    pub fn open(url: &str) -> Result<Self, OpenError> {
        Self::builder(url).build()
    }

    /// Where Redis is:
    ///
    /// * `redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]`: one server.
    /// * `redis+sentinel://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]…]/SERVICE[/DATABASE]`: a server and its replicas, of which the
    ///   Sentinels that are named know which is the primary now. User and password are those of Redis; a Sentinel that asks for
    ///   a password gets the same. The port is 26379 where none is named.
    /// * `redis+cluster://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]…]`: a cluster of Redis 7 or later, or Valkey. One of its servers
    ///   is enough to find the others, and several are better, in case it is away.
    ///
    /// Each with `rediss` instead of `redis` for connections encrypted by TLS, also to Sentinels, which needs the feature `tls`.
    pub fn builder(url: &str) -> RedisBuilder {
        RedisBuilder {
            url: url.to_owned(),
            authorities: None,
            prefix: "messenger".to_owned(),
            client_name: "messenger".to_owned(),
            timeout: Duration::from_secs(1),
        }
    }

    /// Makes a bus with connections of its own: to each server one to publish, and one for each node that joins.
    pub fn bus(&self) -> RedisBus {
        RedisBus::new(Arc::clone(&self.topology))
    }

    /// Makes a presence store with a connection of its own to each server. It remembers the leases taken through it, to restore them on a server
    /// that has lost them, so a node should have exactly one.
    pub fn presence(&self) -> RedisPresence {
        RedisPresence::new(Arc::clone(&self.topology))
    }

    /// Makes a rate limiter with a connection of its own to each server.
    pub fn rate_limiter(&self) -> RedisRateLimiter {
        RedisRateLimiter::new(Arc::clone(&self.topology))
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("address", &self.topology.address()).finish_non_exhaustive()
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
    authorities: Option<Vec<u8>>,
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

    /// The certificates, as PEM, of the authorities that are trusted instead of those of the system, for a server whose certificate
    /// is from an authority of one's own. Default: those of the system, or of the file that the environment's `SSL_CERT_FILE`
    /// names.
    pub fn ca_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities = Some(pem.into());
        self
    }

    /// Time limit for an answer of a server, after which the connection counts as lost. From 50 ms to 5 s; values outside are
    /// clamped. Default: 1 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.clamp(Duration::from_millis(50), Duration::from_secs(5));
        self
    }

    /// Checks the settings, without connecting.
    ///
    /// # Errors
    /// [`OpenError`] if the URL, the certificates, the prefix or the name can't be used.
    pub fn build(self) -> Result<Redis, OpenError> {
        let Self { url, authorities, prefix, client_name, timeout } = self;
        let Address { kind, hosts, is_encrypted } = Address::parse(&url)?;
        if is_encrypted {
            needs_tls(authorities.as_deref())?;
        } else if authorities.is_some() {
            return Err(OpenError::NotEncrypted);
        }
        let is_plain = |letter: u8| letter.is_ascii_alphanumeric() || b"-_.:".contains(&letter);
        if !(1..=64).contains(&prefix.len()) || !prefix.bytes().all(is_plain) {
            return Err(OpenError::Prefix);
        }
        if client_name.is_empty() || !client_name.bytes().all(|letter| letter.is_ascii_graphic()) {
            return Err(OpenError::ClientName);
        }
        // With version 3 of the protocol a subscribing connection can also run commands.
        let login = hosts[0].redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let has_role = matches!(kind, Kind::Sentinel { .. });
        let server = Server { login, is_encrypted, authorities, has_role, prefix, client_name, timeout };
        let topology = topology(Arc::new(server), kind, &hosts).map_err(OpenError::Url)?;
        Ok(Redis { topology: Arc::new(topology) })
    }
}

fn topology(server: Arc<Server>, kind: Kind, hosts: &[ConnectionInfo]) -> Result<Topology, RedisError> {
    let places = hosts.iter().filter_map(|host| match host.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            Some((host.clone(), *port))
        }
        _ => None,
    });
    let members = places.clone().map(|(host, port)| server.member(&host, port));
    let mut members = members.collect::<Result<Vec<_>, _>>()?;
    let names: Vec<&str> = members.iter().map(|member| &*member.address).collect();
    let names = names.join(",");
    Ok(match kind {
        Kind::Single => Topology::of_one(server, members.remove(0)),
        Kind::Cluster => Topology::from(server, names, Source::Cluster { hosts: members }),
        Kind::Sentinel { service } => {
            let hosts = places.collect();
            Topology::from(server, names, Source::Sentinel { hosts, service })
        }
    })
}

impl fmt::Debug for RedisBuilder {
    /// Omits the URL, which may contain a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBuilder").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

#[cfg(feature = "tls")]
fn needs_tls(authorities: Option<&[u8]>) -> Result<(), OpenError> {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};

    // Without a default provider the client panics if the enabled features don't name exactly one.
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        return Err(OpenError::NoCryptoProvider);
    }
    let Some(pem) = authorities else { return Ok(()) };
    let mut trusted = rustls::RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(pem).flatten();
    certificates.for_each(|certificate| drop(trusted.add(certificate)));
    if trusted.is_empty() { Err(OpenError::Certificate) } else { Ok(()) }
}

#[cfg(not(feature = "tls"))]
fn needs_tls(_: Option<&[u8]>) -> Result<(), OpenError> {
    Err(OpenError::TlsIsOff)
}

impl From<AddressError> for OpenError {
    fn from(error: AddressError) -> Self {
        match error {
            AddressError::Scheme => Self::Scheme,
            AddressError::Url(error) => Self::Url(error),
            AddressError::ManyHosts => Self::ManyHosts,
            AddressError::NoService => Self::NoService,
            AddressError::ClusterDatabase => Self::ClusterDatabase,
        }
    }
}

/// An address or a setting that can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Not one of the schemes of [`Redis::builder`].
    #[error(
        "the URL of Redis begins with none of `redis://`, `redis+sentinel://`, `redis+cluster://`, nor with `rediss` instead"
    )]
    Scheme,
    /// The URL is malformed.
    #[error("the URL of Redis can't be understood: write redis://USER:PASSWORD@HOST:PORT/DATABASE")]
    Url(#[source] RedisError),
    /// `redis://` with several hosts.
    #[error("`redis://` takes one host: write redis+cluster://HOST:PORT,HOST:PORT for a cluster")]
    ManyHosts,
    /// `redis+sentinel://` without the name of a service.
    #[error("the URL names no service: write redis+sentinel://HOST:PORT,HOST:PORT/SERVICE")]
    NoService,
    /// `redis+cluster://` with a database: a cluster has none but 0.
    #[error("a cluster has no databases: write redis+cluster://HOST:PORT,HOST:PORT")]
    ClusterDatabase,
    /// `rediss://` without the feature `tls`.
    #[error("`rediss://` needs the feature `tls` of messenger-redis")]
    TlsIsOff,
    /// `rediss://` in a process without rustls' default provider.
    #[error(
        "`rediss://` needs a default provider of rustls: call rustls::crypto::CryptoProvider::install_default"
    )]
    NoCryptoProvider,
    /// Certificates of authorities for connections that are not encrypted.
    #[error("certificates of authorities are for `rediss://`")]
    NotEncrypted,
    /// What should be certificates of authorities has none, as PEM.
    #[error("the certificates of authorities are not PEM, or none of them is such a certificate")]
    Certificate,
    /// The prefix is empty, too long, or has characters that are not allowed.
    #[error("the prefix of keys is not 1 to 64 letters, digits, `-`, `_`, `.` or `:`")]
    Prefix,
    /// The client's name is empty, or has spaces or characters beyond ASCII.
    #[error("the name of the client is empty, or has letters that Redis does not take")]
    ClientName,
}
