use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// The first byte of a TLS record with a handshake (RFC 8446).
const HANDSHAKE: u8 = 22;

/// A connection on which TLS may begin later. Until then it is read byte by byte, so that nothing which somebody on the way has put behind the
/// server's answer to STARTTLS is taken for an answer that came by TLS: it is left where the handshake expects the server's, and ends it
/// (CVE-2011-0411 and its kin).
pub(super) struct Stream {
    tcp: TcpStream,
    by_byte: bool,
}

impl Stream {
    pub(super) const fn new(tcp: TcpStream, tls_may_begin: bool) -> Self {
        Self { tcp, by_byte: tls_may_begin }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.by_byte || into.remaining() == 0 {
            return Pin::new(&mut this.tcp).poll_read(cx, into);
        }
        let mut byte = [0];
        let mut one = ReadBuf::new(&mut byte);
        ready!(Pin::new(&mut this.tcp).poll_read(cx, &mut one))?;
        into.put_slice(one.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.by_byte && from.first() == Some(&HANDSHAKE) {
            this.by_byte = false;
        }
        Pin::new(&mut this.tcp).poll_write(cx, from)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}

impl AsyncTokioStream for Stream {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.peer_addr()
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}
