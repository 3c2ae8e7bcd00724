//! The transports of a connection, as the session uses them.

mod pipe;
mod web_socket;

use std::time::Duration;

use bytes::Bytes;
use futures::{Sink, Stream};
use tokio::time::Instant;

use super::options::Transport;

pub(super) use pipe::{Pipe, PipeLine, Polled};
pub(super) use web_socket::SocketLine;

/// The two directions of a connection. Input is a stream of bytes, whose chunks have no meaning; output consists of
/// complete records, and pings.
pub(super) trait Line:
    Stream<Item = Received> + Sink<Outgoing, Error = Gone> + Unpin + Send + 'static
{
    fn transport(&self) -> Transport;

    /// Switches to binary records.
    fn use_binary(&mut self);

    /// Gives up the current transport; another one may follow.
    fn detach(&mut self);

    /// Discards written data that was not sent, because the client is no longer waited for.
    fn give_up(&mut self);

    /// Since when there has been no request of the client to answer, or its answer has not been read; for transports
    /// that need requests.
    fn idle_since(&self) -> Option<Instant>;

    /// Ends the connection in the manner of the transport, after the written data; waits at most this long for the
    /// client to notice.
    fn finish(&mut self, wait: Duration) -> impl Future<Output = ()> + Send;
}

/// Data for a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outgoing {
    /// A complete record.
    Record(Bytes),
    /// A complete record that answers a call of the client.
    Answer(Bytes),
    /// A ping, which the client's library answers automatically. Only a WebSocket has one.
    Ping,
}

/// What was received from a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    Data(Bytes),
    /// Only a sign of life.
    Alive,
    /// The connection continues on a new transport; partly received records are sent again from the beginning.
    Attached,
    /// The transport was lost.
    Lost,
    /// The client has ended the connection.
    Ended,
    /// The received data can't be read.
    Broken,
}

/// There is no transport to write to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gone;
