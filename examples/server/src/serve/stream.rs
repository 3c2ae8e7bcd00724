use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
    time::{Sleep, sleep},
};
use tokio_util::task::task_tracker::TaskTrackerToken;

/// What belongs to a connection for as long as its socket is open, also after it became a WebSocket.
#[expect(dead_code, reason = "kept for what dropping them does")]
pub(super) struct Held {
    pub(super) permit: OwnedSemaphorePermit,
    pub(super) tracked: TaskTrackerToken,
}

/// A client's socket that fails when the client reads nothing for too long.
pub(super) struct ClientStream<S> {
    socket: S,
    write_timeout: Duration,
    // Only while a write waits: most connections are idle, and there are many.
    stalled: Option<Pin<Box<Sleep>>>,
    _held: Option<Held>,
    _counted: Counted,
}

impl<S> ClientStream<S> {
    pub(super) fn new(socket: S, write_timeout: Duration, held: Option<Held>) -> Self {
        Self { socket, write_timeout, stalled: None, _held: held, _counted: Counted::new() }
    }

    fn in_time<T>(&mut self, cx: &mut Context<'_>, write: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if write.is_ready() {
            self.stalled = None;
            return write;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(self.write_timeout)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ClientStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ClientStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.in_time(cx, write)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.in_time(cx, write)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flush = Pin::new(&mut self.socket).poll_flush(cx);
        self.in_time(cx, flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shutdown = Pin::new(&mut self.socket).poll_shutdown(cx);
        self.in_time(cx, shutdown)
    }
}

/// One in the gauge of open connections.
struct Counted;

impl Counted {
    fn new() -> Self {
        metrics::gauge!(OPEN).increment(1);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        metrics::gauge!(OPEN).decrement(1);
    }
}

const OPEN: &str = "messenger_server_open_connections";

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_cut() {
        let (server, _client) = duplex(8);
        let mut stream = ClientStream::new(server, Duration::from_secs(30), None);
        let error = stream.write_all(&[0; 9]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_slowly_is_served() {
        let (server, mut client) = duplex(8);
        let mut stream = ClientStream::new(server, Duration::from_secs(30), None);
        let write = tokio::spawn(async move { stream.write_all(&[0; 80]).await });
        for _ in 0..80 {
            sleep(Duration::from_secs(29)).await;
            client.read_u8().await.unwrap();
        }
        write.await.unwrap().unwrap();
    }
}
