//! WebSockets (RFC 6455), server side: they use memory only for data in transit, because most of them are idle most of
//! the time.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{Sink, Stream};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    decoder::Decoder,
    message::{Message, SocketError},
    outbox::{self, Outbox},
    unsent::{Account, Reservation},
    writer::WRITE_BUFFER,
};

/// How many bytes are read at a time while no frame length is known.
const READ: usize = 2 * 1024;
/// How much a buffer grows at a time for a long frame.
const STEP: usize = 16 * 1024;

/// The server side of a WebSocket.
pub struct WebSocket<Io = TokioIo<Upgraded>> {
    io: Io,
    decoder: Decoder,
    outbox: Outbox,
    /// The answer to the client's last ping, until there is room for it.
    pong: Option<Bytes>,
    /// Whether the client's closing frame was received.
    is_closed_by_client: bool,
    is_closed_by_server: bool,
    account: Arc<Account>,
    /// The reservation for copied data that the client has not read.
    copied: Option<Reservation>,
    /// The reservation for an incomplete message.
    unfinished: Option<Reservation>,
}

impl<Io: AsyncRead + AsyncWrite + Unpin> WebSocket<Io> {
    /// Serves a WebSocket over this connection, which has been upgraded. A message from the client may have up to
    /// `limit` bytes, and what waits for the client is counted in `account`.
    pub fn new(io: Io, limit: usize, account: Arc<Account>) -> Self {
        Self {
            io,
            decoder: Decoder::new(limit),
            outbox: Outbox::default(),
            pong: None,
            is_closed_by_client: false,
            is_closed_by_server: false,
            account,
            copied: None,
            unfinished: None,
        }
    }

    /// Whether some data is not written yet.
    pub const fn is_behind(&self) -> bool {
        self.outbox.len() > 0
    }

    fn poll_outbox(&mut self, task: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        if self.outbox.len() == 0 {
            return Poll::Ready(Ok(()));
        }
        let written = self.outbox.poll_write(&mut self.io, task);
        if written.is_ready() {
            self.copied = None;
        } else {
            self.account.keep_counted(&mut self.copied, self.outbox.copied());
        }
        match written {
            Poll::Ready(written) => Poll::Ready(Ok(written?)),
            // Checked only here: a client that reads everything written to it holds nothing.
            Poll::Pending => self.account.poll_evicted(task).map(|()| Err(SocketError::Unread)),
        }
    }

    /// Counts the memory of an incomplete message, which is as much of a burden as data that waits to be written.
    fn count_unfinished(&mut self) {
        self.account.keep_counted(&mut self.unfinished, self.decoder.held());
    }

    fn push(&mut self, message: Message) {
        let (first, payload) = match message {
            Message::Text(text) => (outbox::TEXT, text),
            Message::Binary(bytes) => (outbox::BINARY, bytes),
            Message::Ping(payload) => (outbox::PING, payload),
            Message::Pong => (outbox::PONG, Bytes::new()),
            Message::Close(payload) => (outbox::CLOSE, payload),
        };
        // Nothing follows the closing frame.
        if self.is_closed_by_server {
            return;
        }
        self.is_closed_by_server = first == outbox::CLOSE;
        self.outbox.push(first, payload);
    }

    /// Answers pings and the closing frame.
    fn answer(&mut self, message: &Message) {
        match message {
            Message::Ping(payload) => self.pong = Some(payload.clone()),
            Message::Close(payload) => {
                self.is_closed_by_client = true;
                self.push(Message::Close(payload.clone()));
            }
            _ => {}
        }
        self.push_pong();
    }

    fn push_pong(&mut self) {
        // A client that does not read the answers can't make them accumulate.
        if self.outbox.len() < WRITE_BUFFER
            && !self.is_closed_by_server
            && let Some(payload) = self.pong.take()
        {
            self.outbox.push(outbox::PONG, payload);
        }
    }

    /// Reads available data. Ready with false at the end.
    fn poll_read(&mut self, task: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if let Some((received, missing)) = self.decoder.missing()
            && missing > READ
        {
            // Grows the buffer for what arrives, and not for the whole announced length.
            received.reserve(missing.min(STEP));
            return read_into(&mut self.io, received, missing, task);
        }
        // Not on the heap, where the buffer would be kept while the connection is idle.
        let mut room = [const { MaybeUninit::uninit() }; READ];
        let mut read = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut self.io).poll_read(task, &mut read))?;
        self.decoder.push(read.filled());
        Poll::Ready(Ok(!read.filled().is_empty()))
    }
}

fn read_into(
    io: &mut (impl AsyncRead + Unpin),
    received: &mut BytesMut,
    most: usize,
    task: &mut Context<'_>,
) -> Poll<io::Result<bool>> {
    let mut room = received.limit(most);
    let count = ready!(tokio_util::io::poll_read_buf(Pin::new(io), task, &mut room))?;
    Poll::Ready(Ok(count > 0))
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Stream for WebSocket<Io> {
    type Item = Result<Message, SocketError>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if this.is_closed_by_client {
                // The answer to the client's closing frame is the last one.
                let _ = ready!(this.poll_outbox(task));
                return Poll::Ready(None);
            }
            match this.decoder.next() {
                Ok(Some(message)) => {
                    this.count_unfinished();
                    this.answer(&message);
                    return Poll::Ready(Some(Ok(message)));
                }
                Ok(None) => this.count_unfinished(),
                Err(fault) => return Poll::Ready(Some(Err(fault))),
            }
            if this.unfinished.is_some() && this.account.poll_evicted(task).is_ready() {
                return Poll::Ready(Some(Err(SocketError::Unread)));
            }
            this.push_pong();
            if let Poll::Ready(Err(fault)) = this.poll_outbox(task) {
                return Poll::Ready(Some(Err(fault)));
            }
            match ready!(this.poll_read(task)) {
                Ok(true) => {}
                Ok(false) => return Poll::Ready(Some(Err(SocketError::Lost))),
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Sink<Message> for WebSocket<Io> {
    type Error = SocketError;

    fn poll_ready(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        if self.outbox.len() < WRITE_BUFFER { Poll::Ready(Ok(())) } else { self.poll_outbox(task) }
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), SocketError> {
        self.push(message);
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        ready!(self.poll_outbox(task))?;
        Pin::new(&mut self.io).poll_flush(task).map_err(SocketError::from)
    }

    fn poll_close(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        self.poll_flush(task)
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::unsent::{Unsent, UnsentLimits};

    #[tokio::test]
    async fn a_message_that_is_not_whole_is_counted_until_it_is() {
        let limits = UnsentLimits { per_connection: 20_000, ..UnsentLimits::default() };
        let account = Unsent::new(limits).account(&"ada");
        let (mut client, server) = tokio::io::duplex(100_000);
        let mut socket = WebSocket::new(server, 50_000, Arc::clone(&account));
        // Masked with zeros, so the payload is the text itself.
        client.write_all(&[0x81, 0x80 | 126, 0xc3, 0x50, 0, 0, 0, 0]).await.unwrap();
        let text = [b'x'; 50_000];
        client.write_all(&text[..25_000]).await.unwrap();
        assert!(futures::poll!(socket.next()).is_pending());
        assert!(!account.has_room());
        client.write_all(&text[25_000..]).await.unwrap();
        let message = socket.next().await.unwrap().unwrap();
        assert_eq!(message, Message::Text(Bytes::copy_from_slice(&text)));
        assert!(account.has_room());
    }
}
