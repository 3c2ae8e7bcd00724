//! What carries the bytes of a connection, seen from the session.

mod pipe;
mod web_socket;

use std::time::Duration;

use bytes::Bytes;
use futures::{Sink, Stream};
use tokio::time::Instant;

use super::options::Transport;

pub(super) use pipe::{Pipe, PipeLine, Polled};
pub(super) use web_socket::SocketLine;

/// The two directions of a connection. What comes in is a stream of bytes, whose parts mean nothing; what goes out
/// are whole records, and questions.
pub(super) trait Line:
    Stream<Item = Received> + Sink<Outgoing, Error = Gone> + Unpin + Send + 'static
{
    fn transport(&self) -> Transport;

    /// From now on records are not text.
    fn use_binary(&mut self);

    /// What it runs over is given up; another may come.
    fn detach(&mut self);

    /// What was written and not taken is taken back, for a client that is not waited for any more.
    fn give_up(&mut self);

    /// Since when no request of the client has been there to answer, or its answer has not been read, for transports
    /// that need one.
    fn idle_since(&self) -> Option<Instant>;

    /// Ends it in the way of the transport, after what was written; waits so long at most for the client to notice.
    fn finish(&mut self, wait: Duration) -> impl Future<Output = ()> + Send;
}

/// What is written to a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outgoing {
    /// A whole record.
    Record(Bytes),
    /// A whole record that answers what the client has called.
    Answer(Bytes),
    /// A question whether the client is there, which its library answers by itself. Only a WebSocket has one.
    Ping,
}

/// What a line has to say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    Data(Bytes),
    /// Nothing but that the client is there.
    Alive,
    /// It goes on over something new; what was received in part comes again from its beginning.
    Attached,
    /// It was lost.
    Lost,
    /// The client has ended it.
    Ended,
    /// What comes over it can't be read.
    Broken,
}

/// There is nothing to write to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gone;
