use std::{sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _,
    RedisConnectionInfo, RedisError, RedisResult, Value, aio::MultiplexedConnection,
};
use tokio::time::timeout;

use crate::layout::Member;

/// Time limit for opening a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// How servers are reached and used.
pub(crate) struct Server {
    /// User, password, database and version of the protocol.
    pub(crate) login: RedisConnectionInfo,
    pub(crate) is_encrypted: bool,
    /// The certificates, as PEM, of those who are trusted instead of the system's.
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "without it nothing is encrypted"))]
    pub(crate) authorities: Option<Vec<u8>>,
    /// Whether a server may turn out to be a replica.
    pub(crate) has_role: bool,
    pub(crate) prefix: String,
    pub(crate) client_name: String,
    pub(crate) timeout: Duration,
}

impl Server {
    pub(crate) fn member(&self, host: &str, port: u16) -> RedisResult<Member> {
        let client = self.client(host, port, self.login.clone())?;
        Ok(Member { address: client.get_connection_info().addr().to_string().into(), client })
    }

    pub(crate) fn client(&self, host: &str, port: u16, login: RedisConnectionInfo) -> RedisResult<Client> {
        let host = host.to_owned();
        let address = if self.is_encrypted {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        self.client_of(address.into_connection_info()?.set_redis_settings(login))
    }

    #[cfg(feature = "tls")]
    fn client_of(&self, info: ConnectionInfo) -> RedisResult<Client> {
        match &self.authorities {
            Some(pem) => {
                let certificates = redis::TlsCertificates { client_tls: None, root_cert: Some(pem.clone()) };
                Client::build_with_tls(info, certificates)
            }
            None => Client::open(info),
        }
    }

    #[cfg(not(feature = "tls"))]
    fn client_of(&self, info: ConnectionInfo) -> RedisResult<Client> {
        Client::open(info)
    }

    /// Opens a connection as `config` says, with the time limits of this server.
    pub(crate) async fn connect(
        &self,
        member: &Member,
        config: AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, ServerError> {
        let connect = async {
            let mut connection = self.open(&member.client, config).await?;
            // An ACL may forbid it; the connection then has no name.
            let _ = redis::cmd("CLIENT")
                .arg("SETNAME")
                .arg(&self.client_name)
                .query_async::<()>(&mut connection)
                .await;
            if self.has_role {
                self.ask_for_life(&mut connection).await?;
            }
            Ok(connection)
        };
        timeout(CONNECT + self.timeout, connect).await.unwrap_or(Err(ServerError::Late))
    }

    /// Opens a connection without a name.
    pub(crate) async fn open(
        &self,
        client: &Client,
        config: AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, ServerError> {
        let config = config.set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(self.timeout));
        Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
    }

    /// Whether the connection works, and leads to a primary.
    pub(crate) async fn ask_for_life(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<(), ServerError> {
        if !self.has_role {
            return Ok(redis::cmd("PING").query_async(connection).await?);
        }
        must_be_primary(Some(&redis::cmd("ROLE").query_async(connection).await?))
    }
}

/// Checks the answer to `ROLE`.
pub(crate) fn must_be_primary(role: Option<&Value>) -> Result<(), ServerError> {
    match role {
        Some(Value::Array(role)) if role.first() == Some(&Value::BulkString(b"master".to_vec())) => Ok(()),
        _ => Err(ServerError::Replica),
    }
}

/// Why Redis did not answer a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error("Redis did not answer in time")]
    Late,
    #[error("Redis is out of reach")]
    Away,
    #[error("it is a replica")]
    Replica,
    #[error("nobody says where Redis is: {0}")]
    Nowhere(Arc<Self>),
    #[error("no Sentinel knows a service of the name `{0}`")]
    Service(String),
    #[error("no server of the cluster has the slot")]
    Slot,
    #[error("a cluster needs Redis 7 or later, for its sharded channels")]
    Old(#[source] RedisError),
    #[error("what Redis says of its cluster can't be understood")]
    Answer,
}

pub(crate) fn has_code(error: &ServerError, code: &str) -> bool {
    matches!(error, ServerError::Redis(error) if error.code() == Some(code))
}

/// Whether another server has what was asked for, or this one does not have it just now.
pub(crate) fn is_elsewhere(error: &ServerError) -> bool {
    ["MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN"].iter().any(|code| has_code(error, code))
}
