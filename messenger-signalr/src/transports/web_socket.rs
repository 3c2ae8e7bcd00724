use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures::{Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use super::{Gone, Line, Outgoing, Received};
use crate::options::Transport;
use messenger_socket::{Message, SocketError, WebSocket};

/// Normal closure (RFC 6455, section 7.4.1).
const DONE: u16 = 1000;

/// A connection over a WebSocket, or over several successive ones.
pub(crate) struct SocketLine {
    socket: Option<WebSocket>,
    /// Delivers sockets that replace a lost one.
    others: Option<mpsc::Receiver<WebSocket>>,
    /// A socket that arrived while data was still to be written to the old one.
    next: Option<WebSocket>,
    binary: bool,
    /// Whether unreadable data was received, after which nothing can be read.
    broken: bool,
}

impl SocketLine {
    pub(crate) const fn new(socket: WebSocket, others: Option<mpsc::Receiver<WebSocket>>) -> Self {
        Self { socket: Some(socket), others, next: None, binary: false, broken: false }
    }

    fn poll_other(&mut self, task: &mut Context<'_>) -> Poll<WebSocket> {
        if let Some(next) = self.next.take() {
            return Poll::Ready(next);
        }
        match &mut self.others {
            Some(others) => match others.poll_recv(task) {
                Poll::Ready(Some(socket)) => Poll::Ready(socket),
                Poll::Ready(None) => {
                    self.others = None;
                    Poll::Pending
                }
                Poll::Pending => Poll::Pending,
            },
            None => Poll::Pending,
        }
    }

    /// Waits for the socket, unless another one has arrived: then the client no longer uses the old one.
    fn poll_writing(
        &mut self,
        task: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut WebSocket>, &mut Context<'_>) -> Poll<Result<(), SocketError>>,
    ) -> Poll<Result<(), Gone>> {
        let Some(socket) = &mut self.socket else { return Poll::Ready(Err(Gone)) };
        match poll(Pin::new(socket), task) {
            Poll::Ready(done) => Poll::Ready(done.map_err(|_| Gone)),
            Poll::Pending => {
                self.next = Some(ready!(self.poll_other(task)));
                Poll::Ready(Err(Gone))
            }
        }
    }
}

impl Stream for SocketLine {
    type Item = Received;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Received>> {
        if let Poll::Ready(socket) = self.poll_other(task) {
            self.socket = Some(socket);
            return Poll::Ready(Some(Received::Attached));
        }
        let Some(socket) = &mut self.socket else { return Poll::Pending };
        let received = match ready!(socket.poll_next_unpin(task)) {
            Some(Ok(Message::Text(bytes) | Message::Binary(bytes))) => Received::Data(bytes),
            Some(Ok(Message::Ping(_) | Message::Pong)) => Received::Alive,
            Some(Ok(Message::Close(_))) => Received::Ended,
            Some(Err(SocketError::TooBig | SocketError::Protocol)) => {
                self.broken = true;
                Received::Broken
            }
            Some(Err(_)) | None => Received::Lost,
        };
        Poll::Ready(Some(received))
    }
}

impl Sink<Outgoing> for SocketLine {
    type Error = Gone;

    fn poll_ready(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        self.poll_writing(task, |socket, task| socket.poll_ready(task))
    }

    fn start_send(mut self: Pin<&mut Self>, outgoing: Outgoing) -> Result<(), Gone> {
        let message = match outgoing {
            Outgoing::Record(record) | Outgoing::Answer(record) if self.binary => Message::Binary(record),
            // Records of a text protocol are UTF-8.
            Outgoing::Record(record) | Outgoing::Answer(record) => Message::Text(record),
            Outgoing::Ping => Message::Ping(Bytes::new()),
        };
        self.socket.as_mut().ok_or(Gone)?.start_send_unpin(message).map_err(|_| Gone)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        self.poll_writing(task, |socket, task| socket.poll_flush(task))
    }

    fn poll_close(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        self.poll_flush(task)
    }
}

impl Line for SocketLine {
    fn transport(&self) -> Transport {
        Transport::WebSockets
    }

    fn use_binary(&mut self) {
        self.binary = true;
    }

    fn detach(&mut self) {
        self.socket = None;
    }

    fn give_up(&mut self) {
        // A frame that was begun can't be completed.
        if self.socket.as_ref().is_some_and(WebSocket::is_behind) {
            self.socket = None;
        }
    }

    fn idle_since(&self) -> Option<Instant> {
        None
    }

    async fn finish(&mut self, wait: Duration) {
        let Some(mut socket) = self.socket.take() else { return };
        let close = async {
            // Nothing is sent if the client closed first, because that has been answered.
            let _ = socket.send(Message::close(DONE, "")).await;
            // Dropping the socket with unread bytes in it could discard the last written data before the client reads
            // it.
            while let Some(Ok(message)) = socket.next().await {
                if matches!(message, Message::Close(_)) {
                    let _ = socket.flush().await;
                    return;
                }
            }
            if self.broken {
                // Nothing can be read, so it can only wait.
                std::future::pending::<()>().await;
            }
        };
        let _ = timeout(wait, close).await;
    }
}
