use std::sync::Arc;

use messenger_socket::Account;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::oneshot;

use super::{
    client_results::{ClientCall, ClientCalls, ClientResultError},
    protocol::Protocol,
};

/// The hub's handle to a connection.
#[derive(Debug, Clone)]
pub struct Caller {
    pub(super) id: Arc<str>,
    pub(super) protocol: Protocol,
    pub(super) calls: ClientCalls,
    pub(super) account: Arc<Account>,
}

impl Caller {
    /// The connection's id, which is no secret.
    pub fn connection_id(&self) -> &str {
        &self.id
    }

    /// The account that counts what waits for this client.
    pub const fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// The encoding of values for this client.
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Calls a method of the client and waits for its result; without a time limit while the connection lives, so a
    /// caller that needs one sets its own. The invocation that makes this call no longer blocks those behind it.
    ///
    /// # Errors
    /// As the variants of [`ClientResultError`] say.
    pub async fn invoke<T: DeserializeOwned>(
        &self,
        target: &str,
        argument: &(impl Serialize + Sync + ?Sized),
    ) -> Result<T, ClientResultError> {
        let argument = self.protocol.payload(argument)?;
        let (reply, answer) = oneshot::channel();
        self.calls.push(ClientCall { target: target.into(), argument, reply })?;
        answer.await.map_err(|_| ClientResultError::Gone)??.read().map_err(ClientResultError::from)
    }
}
