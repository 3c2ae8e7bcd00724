use std::time::Duration;

use redis::{AsyncConnectionConfig, Client, RedisError, aio::MultiplexedConnection};
use tokio::time::timeout;

/// Time limit for opening a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// A server, and how it is used.
pub(crate) struct Server {
    pub(crate) client: Client,
    pub(crate) prefix: String,
    pub(crate) client_name: String,
    pub(crate) timeout: Duration,
}

impl Server {
    /// Host and port.
    pub(crate) fn address(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    /// Opens a connection as `config` says, with the time limits of this server.
    pub(crate) async fn connect(
        &self,
        config: AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, ServerError> {
        let config = config.set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(self.timeout));
        let connect = async {
            let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
            // An ACL may forbid it; the connection then has no name.
            let _ = redis::cmd("CLIENT")
                .arg("SETNAME")
                .arg(&self.client_name)
                .query_async::<()>(&mut connection)
                .await;
            Ok(connection)
        };
        timeout(CONNECT + self.timeout, connect).await.unwrap_or(Err(ServerError::Late))
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
}
