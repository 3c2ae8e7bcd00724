use std::io;

use bytes::{BufMut as _, Bytes, BytesMut};

/// A message of a WebSocket, in either direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Text. The receiver checks whether it is UTF-8.
    Text(Bytes),
    /// Arbitrary bytes.
    Binary(Bytes),
    /// A ping, with its payload. One from the client has been answered already.
    Ping(Bytes),
    /// A pong; its payload is dropped.
    Pong,
    /// The closing frame: a code and a reason for people, or nothing.
    Close(Bytes),
}

impl Message {
    /// Makes a closing frame of a code and a reason of at most 123 bytes.
    pub fn close(code: u16, words: &str) -> Self {
        let mut payload = BytesMut::with_capacity(2 + words.len());
        payload.put_u16(code);
        payload.put_slice(words.as_bytes());
        Self::Close(payload.freeze())
    }
}

/// Why a WebSocket can't be used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SocketError {
    /// The connection failed, or ended without a closing frame.
    #[error("the connection is lost")]
    Lost,
    /// The connection was evicted, because too many bytes wait for the client, or for the rest of a message from it.
    #[error("too much waits to be written")]
    Unread,
    /// A message from the client is longer than the limit.
    #[error("a message is too big")]
    TooBig,
    /// The client violated RFC 6455.
    #[error("this is no frame of a WebSocket")]
    Protocol,
}

impl From<io::Error> for SocketError {
    fn from(_: io::Error) -> Self {
        Self::Lost
    }
}
