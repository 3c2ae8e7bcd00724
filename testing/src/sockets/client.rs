//! A WebSocket client (RFC 6455) that does as little as it can.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{Result, http::connect_small};

/// The buffer of a client, and what it does not keep after it was needed.
const SMALL: usize = 4096;
const LARGE: usize = 64 * 1024;

/// One connected socket.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    /// What was read and is not yet a whole frame, then room.
    buffer: Vec<u8>,
    filled: usize,
    out: Vec<u8>,
    read: u64,
    written: u64,
}

impl Client {
    /// Opens a socket at this path, for the session with this token.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn connect(address: SocketAddr, path: &str, token: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Self::shake_hands(stream, address, path, token).await
    }

    /// One for which the system takes only little that is not read.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn connect_small(address: SocketAddr, path: &str, token: &str) -> Result<Self> {
        Self::shake_hands(connect_small(address).await?, address, path, token).await
    }

    async fn shake_hands(
        mut stream: TcpStream,
        address: SocketAddr,
        path: &str,
        token: &str,
    ) -> Result<Self> {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut client =
            Self { stream, buffer: vec![0; SMALL], filled: 0, out: Vec::new(), read: 0, written: 0 };
        let head = client.head().await?;
        if head.starts_with(b"HTTP/1.1 101 ") {
            return Ok(client);
        }
        Err(format!("the handshake was refused: {}", String::from_utf8_lossy(&head)).into())
    }

    /// What is below.
    pub const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Bytes read and written since the handshake.
    pub const fn traffic(&self) -> (u64, u64) {
        (self.read, self.written)
    }

    async fn head(&mut self) -> Result<Vec<u8>> {
        loop {
            self.fill().await?;
            let end = self.buffer[..self.filled].windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                let head = self.buffer[..end].to_vec();
                self.forget(end + 4);
                return Ok(head);
            }
        }
    }

    /// Writes frames with one call of the system.
    ///
    /// # Errors
    /// If the connection has ended.
    pub async fn send(&mut self, payloads: &[Vec<u8>], binary: bool) -> Result {
        self.out.clear();
        for payload in payloads {
            frame(&mut self.out, if binary { BINARY } else { TEXT }, payload);
        }
        self.written += self.out.len() as u64;
        Ok(self.stream.write_all(&self.out).await?)
    }

    /// Waits for frames and gives the payloads of all that are there to `take`; answers pings. Dropping the future
    /// loses nothing.
    ///
    /// # Errors
    /// If the server has closed the socket, or says what no server says.
    pub async fn receive(&mut self, mut take: impl FnMut(&[u8])) -> Result {
        let mut at = 0;
        self.out.clear();
        if self.filled == 0 || next_frame(&self.buffer[..self.filled])?.is_none() {
            self.fill().await?;
        }
        while let Some(Frame { kind, payload, length }) = next_frame(&self.buffer[at..self.filled])? {
            match kind {
                TEXT | BINARY => take(payload),
                PING => frame(&mut self.out, PONG, payload),
                CLOSE => return Err(closed(payload)),
                _ => {}
            }
            at += length;
        }
        self.forget(at);
        if !self.out.is_empty() {
            self.stream.write_all(&self.out).await?;
        }
        Ok(())
    }

    async fn fill(&mut self) -> io::Result<()> {
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.filled * 4, 0);
        }
        match self.stream.read(&mut self.buffer[self.filled..]).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.filled += read;
                self.read += read as u64;
                Ok(())
            }
        }
    }

    fn forget(&mut self, bytes: usize) {
        self.buffer.copy_within(bytes..self.filled, 0);
        self.filled -= bytes;
        if self.filled == 0 && self.buffer.len() > LARGE {
            self.buffer = vec![0; SMALL];
        }
    }
}

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

fn closed(payload: &[u8]) -> Box<dyn std::error::Error + Send + Sync> {
    let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
    format!("the server closed a socket with code {code}").into()
}

struct Frame<'b> {
    kind: u8,
    payload: &'b [u8],
    /// With its header.
    length: usize,
}

/// The first frame in these bytes, once it is whole. A server does not mask, and this one does not split.
fn next_frame(bytes: &[u8]) -> Result<Option<Frame<'_>>> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    let (header, payload) = match second {
        126 => match rest.first_chunk() {
            Some(length) => (4, usize::from(u16::from_be_bytes(*length))),
            None => return Ok(None),
        },
        127 => match rest.first_chunk() {
            Some(length) => (10, usize::try_from(u64::from_be_bytes(*length))?),
            None => return Ok(None),
        },
        length => (2, usize::from(*length)),
    };
    if first & 0x80 == 0 {
        return Err("the server split a message into frames".into());
    }
    let length = header + payload;
    let whole = bytes.get(header..length);
    Ok(whole.map(|payload| Frame { kind: first & 0x0f, payload, length }))
}

/// Writes a masked frame, as a client must.
fn frame(out: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    const MASK: [u8; 4] = [0x5a, 0xa5, 0x3c, 0xc3];
    out.push(0x80 | kind);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..=125), _) => out.push(0x80 | length),
        (_, Ok(length)) => {
            out.push(0x80 | 126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}
