use bytes::Bytes;
use messenger_core::{Error, Result};
use serde::Serialize;

/// The encoding of a result in a message of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// JSON text.
    Json,
    /// The MessagePack of the SignalR hub.
    #[cfg(feature = "signalr")]
    MessagePack,
}

impl Encoding {
    /// Encodes a value.
    ///
    /// # Errors
    /// [`Error::Internal`] if it can't be represented in the encoding, which never happens to results of operations.
    pub(crate) fn encode(self, value: &impl Serialize) -> Result<Bytes> {
        match self {
            Self::Json => serde_json::to_vec(value).map(Bytes::from).map_err(Error::internal),
            #[cfg(feature = "signalr")]
            Self::MessagePack => {
                let value =
                    messenger_signalr::Protocol::MessagePack.payload(value).map_err(Error::internal)?;
                Ok(value.bytes().cloned().unwrap_or_default())
            }
        }
    }
}
