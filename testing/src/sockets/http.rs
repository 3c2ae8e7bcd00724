//! An HTTP client that does as little as it can, and one that leaves answers unread.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::Result;

/// Who waits longer has not been answered.
const PATIENCE: Duration = Duration::from_secs(40);
/// What the system takes for a client that reads nothing.
const SMALL: u32 = 4096;

/// One connection that is used again and again.
#[derive(Debug)]
pub struct Http {
    address: SocketAddr,
    token: String,
    stream: Option<TcpStream>,
}

impl Http {
    /// Of the session with this token. The connection is opened when it is needed.
    pub fn new(address: SocketAddr, token: &str) -> Self {
        Self { address, token: token.to_owned(), stream: None }
    }

    /// The status and the body of an answer that is there in time.
    ///
    /// # Errors
    /// If there is none.
    pub async fn ask(&mut self, method: &str, path: &str, body: &str) -> Result<(u16, Vec<u8>)> {
        let answer = timeout(PATIENCE, self.exchange(method, path, body)).await;
        // Where an answer is not whole, nothing more can be asked on the same connection.
        if !matches!(answer, Ok(Ok(_))) {
            self.stream = None;
        }
        answer?
    }

    async fn exchange(&mut self, method: &str, path: &str, body: &str) -> Result<(u16, Vec<u8>)> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect(self.address).await?;
                stream.set_nodelay(true)?;
                none.insert(stream)
            }
        };
        stream.write_all(&request(self.address, &self.token, method, path, body)).await?;
        let (head, mut rest) = head(stream).await?;
        let length = field(&head, "content-length").map_or(Ok(0), str::parse)?;
        let read = rest.len();
        rest.resize(length, 0);
        stream.read_exact(rest.get_mut(read..).unwrap_or_default()).await?;
        if field(&head, "connection") == Some("close") {
            self.stream = None;
        }
        Ok((status(&head)?, rest))
    }
}

/// A request with a body of JSON.
pub fn request(address: SocketAddr, token: &str, method: &str, path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} /api/v1{path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The head of an answer, and what came with it.
///
/// # Errors
/// If the connection ends before.
pub async fn head(stream: &mut TcpStream) -> Result<(String, Vec<u8>)> {
    let mut read = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = read.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&read).to_ascii_lowercase(), rest));
        }
    }
}

/// A field of a head in small letters.
fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn status(head: &str) -> Result<u16> {
    Ok(head.split(' ').nth(1).ok_or("an answer without a status")?.parse()?)
}

/// A connection of somebody who is about to read nothing.
///
/// # Errors
/// If it is refused.
pub async fn connect_small(address: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(SMALL)?;
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Waits until the other side has ended a connection on which nothing is read, as far as that shows, or for so long.
pub async fn until_ended(stream: &TcpStream, length: Duration) {
    const LOOK: Duration = Duration::from_millis(250);
    let ended = async {
        // Told only as an error, or as the end of reading, because there is always something to read.
        while let Ok(ready) =
            stream.ready(tokio::io::Interest::READABLE | tokio::io::Interest::WRITABLE).await
        {
            if ready.is_read_closed() || ready.is_write_closed() || ready.is_error() {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let _ = timeout(length, ended).await;
}
