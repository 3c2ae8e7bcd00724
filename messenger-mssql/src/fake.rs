//! A fake server that speaks as much of the [protocol](https://learn.microsoft.com/openspecs/windows_protocols/ms-tds)
//! as the tests need, with scripted answers.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use tiberius::error::Error;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, duplex},
    net::TcpListener,
    sync::watch,
    time::sleep,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer},
    },
};

use crate::connect::{Connector, Dial};

/// The response to a request.
#[derive(Clone)]
pub(crate) enum Reply {
    /// A complete answer, made of tokens.
    Tokens(Vec<u8>),
    /// The beginning of an answer, after which the connection is closed.
    Cut(Vec<u8>),
    /// The beginning of an answer, and nothing more.
    Stall(Vec<u8>),
    /// A complete answer, after a delay.
    Late(Duration, Vec<u8>),
    /// Bytes that violate the protocol.
    Bytes(Vec<u8>),
}

/// A certificate for `localhost`, and the authority that issued it.
pub(crate) struct Certificate {
    /// As PEM.
    pub(crate) authority: String,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new([]).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = parameters.self_signed(&authority_key).unwrap();
        let issuer = rcgen::Issuer::new(parameters, authority_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, &issuer).unwrap();
        Self {
            authority: authority.pem(),
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        }
    }

    fn acceptor(&self) -> TlsAcceptor {
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth();
        let mut config = config.with_single_cert(self.chain.clone(), self.key.clone_key()).unwrap();
        config.alpn_protocols = vec![b"tds/8.0".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// The number of its connection, from 1.
    pub(crate) connection: usize,
    /// The text of a batch, or the name of a procedure.
    pub(crate) text: String,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// The number of connections opened so far.
    pub(crate) opened: usize,
    /// The number of connections that are open.
    pub(crate) open: usize,
    /// The maximum number of connections open at the same time.
    pub(crate) most: usize,
    /// The number of login attempts.
    pub(crate) logins: usize,
    /// The requests, without those that set up a session.
    pub(crate) requests: Vec<Request>,
}

#[derive(Clone)]
pub(crate) struct Server(Arc<State>);

struct State {
    prelogin: Mutex<Option<Reply>>,
    login: Mutex<Reply>,
    /// The replies to the next requests, except those that set up a session.
    replies: Mutex<VecDeque<Reply>>,
    /// The replies to all requests with this text.
    answers: Mutex<Vec<(&'static str, Reply)>>,
    seen: watch::Sender<Seen>,
}

impl Server {
    /// A server that accepts every login, and answers requests with empty results.
    pub(crate) fn new() -> Self {
        let state = State {
            prelogin: Mutex::default(),
            login: Mutex::new(Reply::Tokens([login_ack(), done()].concat())),
            replies: Mutex::default(),
            answers: Mutex::default(),
            seen: watch::Sender::default(),
        };
        Self(Arc::new(state))
    }

    /// Replies so to a new connection, instead of offering no encryption.
    pub(crate) fn at_first(self, reply: Reply) -> Self {
        *self.0.prelogin.lock().unwrap() = Some(reply);
        self
    }

    /// Replies so to a login, instead of accepting it.
    pub(crate) fn at_login(self, reply: Reply) -> Self {
        *self.0.login.lock().unwrap() = reply;
        self
    }

    /// Replies so to the next request after those that already have replies.
    pub(crate) fn then(&self, reply: Reply) {
        self.0.replies.lock().unwrap().push_back(reply);
    }

    /// Replies so to every request that contains this text.
    pub(crate) fn whenever(&self, text: &'static str, reply: Reply) {
        self.0.answers.lock().unwrap().insert(0, (text, reply));
    }

    pub(crate) fn seen(&self) -> Seen {
        self.0.seen.borrow().clone()
    }

    /// The texts of the requests.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.seen().requests.into_iter().map(|request| request.text).collect()
    }

    /// The connections of the requests.
    pub(crate) fn connections(&self) -> Vec<usize> {
        self.seen().requests.into_iter().map(|request| request.connection).collect()
    }

    /// Waits until the server has seen this.
    pub(crate) async fn until(&self, is_so: impl FnMut(&Seen) -> bool) {
        let mut seen = self.0.seen.subscribe();
        let waited = tokio::time::timeout(Duration::from_secs(60), seen.wait_for(is_so)).await;
        drop(waited.expect("the server sees it in time").unwrap());
    }

    /// Connects without a network.
    pub(crate) fn dial(&self) -> Dial {
        let server = self.clone();
        Dial::Memory(Arc::new(move || {
            let (ours, theirs) = duplex(1 << 16);
            tokio::spawn(server.clone().serve(theirs));
            Ok::<DuplexStream, io::Error>(ours)
        }))
    }

    /// Listens on TCP; returns the port.
    pub(crate) async fn listen(&self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(server.clone().serve(stream));
            }
        });
        port
    }

    /// Listens on TCP with TLS from the first byte on; returns the port.
    pub(crate) async fn listen_encrypted(&self, certificate: &Certificate) -> u16 {
        let acceptor = certificate.acceptor();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (server, acceptor) = (server.clone(), acceptor.clone());
                tokio::spawn(async move {
                    // A client that does not trust the certificate closes the connection.
                    if let Ok(stream) = acceptor.accept(stream).await {
                        server.serve(stream).await;
                    }
                });
            }
        });
        port
    }

    pub(crate) async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut number = 0;
        self.0.seen.send_modify(|seen| {
            seen.opened += 1;
            seen.open += 1;
            seen.most = seen.most.max(seen.open);
            number = seen.opened;
        });
        // Ends when the client does.
        let _ = self.converse(stream, number).await;
        self.0.seen.send_modify(|seen| seen.open -= 1);
    }

    async fn converse(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        number: usize,
    ) -> io::Result<()> {
        loop {
            let (kind, message) = receive(&mut stream).await?;
            let reply = match kind {
                PRELOGIN => {
                    self.0.prelogin.lock().unwrap().clone().unwrap_or_else(|| Reply::Tokens(no_encryption()))
                }
                LOGIN => {
                    self.0.seen.send_modify(|seen| seen.logins += 1);
                    self.0.login.lock().unwrap().clone()
                }
                RPC | BATCH => {
                    let text = text_of(kind, &message);
                    if text.contains("SET XACT_ABORT ON") {
                        Reply::Tokens(done())
                    } else {
                        self.0.seen.send_modify(|seen| {
                            seen.requests.push(Request { connection: number, text: text.clone() });
                        });
                        self.reply_to(&text)
                    }
                }
                // Not a message of the protocol.
                _ => return Ok(()),
            };
            let (bytes, goes_on) = match reply {
                Reply::Tokens(tokens) => (packet(&tokens, true), true),
                Reply::Cut(tokens) => (packet(&tokens, false), false),
                Reply::Stall(tokens) => (packet(&tokens, false), true),
                Reply::Bytes(bytes) => (bytes, true),
                Reply::Late(late, tokens) => {
                    sleep(late).await;
                    (packet(&tokens, true), true)
                }
            };
            stream.write_all(&bytes).await?;
            if !goes_on {
                return Ok(());
            }
        }
    }

    fn reply_to(&self, text: &str) -> Reply {
        let always = self.0.answers.lock().unwrap();
        if let Some((_, reply)) = always.iter().find(|(part, _)| text.contains(part)) {
            return reply.clone();
        }
        self.0.replies.lock().unwrap().pop_front().unwrap_or_else(|| Reply::Tokens(done()))
    }
}

/// A connector to such a server, without any encryption.
pub(crate) fn connector(dial: Dial) -> Connector {
    Connector {
        address: "mssql://sa:secret@db/app?encrypt=DANGER_PLAINTEXT".parse().unwrap(),
        authorities: None,
        token: None,
        timeout: Duration::from_secs(5),
        lock_timeout: Some(Duration::from_secs(5)),
        dial,
    }
}

/// Makes a server error through the driver, because only the driver can construct one.
pub(crate) async fn error(number: u32, class: u8, message: &str) -> Error {
    let server = Server::new();
    let mut link = connector(server.dial()).open(far()).await.unwrap();
    server.then(refusal(number, class, message));
    link.simple_query("SELECT 1").await.unwrap_err()
}

pub(crate) fn far() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(3600)
}

/// The complete answer to a refused statement.
pub(crate) fn refusal(number: u32, class: u8, message: &str) -> Reply {
    const ERROR: u16 = 2;
    Reply::Tokens([error_token(number, class, message), done_with(ERROR)].concat())
}

/// The complete answer of a procedure that returns a code.
pub(crate) fn returned(code: i32) -> Reply {
    Reply::Tokens([vec![0x79], code.to_le_bytes().to_vec(), done_proc()].concat())
}

/// A value in a row.
#[derive(Clone, Copy)]
pub(crate) enum Value {
    Number(Option<i64>),
    Text(Option<&'static str>),
    Bytes(&'static [u8]),
}

/// The complete answer of a procedure with rows, which all have the types of the first.
pub(crate) fn rows(rows: &[&[Value]]) -> Reply {
    Reply::Tokens([rows_tokens(rows), vec![0x79, 0, 0, 0, 0], done_proc()].concat())
}

pub(crate) fn rows_tokens(rows: &[&[Value]]) -> Vec<u8> {
    let first = rows[0];
    let mut tokens = vec![0x81];
    tokens.extend(u16::try_from(first.len()).unwrap().to_le_bytes());
    for value in first {
        // User type and flags.
        tokens.extend([0; 6]);
        match value {
            Value::Number(_) => tokens.extend([0x26, 8]),
            Value::Bytes(_) => tokens.extend([0xA5, 0x40, 0x1F]),
            Value::Text(_) => tokens.extend([0xE7, 0x40, 0x1F, 0x09, 0x04, 0xD0, 0x00, 0x34]),
        }
        tokens.extend(b_varchar("c"));
    }
    for row in rows {
        tokens.push(0xD1);
        for value in *row {
            match value {
                Value::Number(None) => tokens.push(0),
                Value::Number(Some(number)) => {
                    tokens.push(8);
                    tokens.extend(number.to_le_bytes());
                }
                Value::Bytes(bytes) => {
                    tokens.extend(u16::try_from(bytes.len()).unwrap().to_le_bytes());
                    tokens.extend(*bytes);
                }
                Value::Text(None) => tokens.extend([0xFF, 0xFF]),
                Value::Text(Some(text)) => {
                    let bytes = utf16(text);
                    tokens.extend(u16::try_from(bytes.len()).unwrap().to_le_bytes());
                    tokens.extend(bytes);
                }
            }
        }
    }
    tokens
}

const PRELOGIN: u8 = 0x12;
const LOGIN: u8 = 0x10;
const RPC: u8 = 0x03;
const BATCH: u8 = 0x01;

/// Receives the kind of a message and its content.
async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, Vec<u8>)> {
    let mut message = vec![];
    loop {
        let mut header = [0; 8];
        stream.read_exact(&mut header).await?;
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let mut part = vec![0; length - header.len()];
        stream.read_exact(&mut part).await?;
        message.extend(part);
        if header[1] & 1 == 1 {
            return Ok((header[0], message));
        }
    }
}

fn packet(tokens: &[u8], is_last: bool) -> Vec<u8> {
    let length = u16::try_from(tokens.len() + 8).unwrap().to_be_bytes();
    let header = [0x04, u8::from(is_last), length[0], length[1], 0, 0, 1, 0];
    [&header, tokens].concat()
}

fn text_of(kind: u8, message: &[u8]) -> String {
    let number = |at: usize| u32::from_le_bytes(message[at..at + 4].try_into().unwrap());
    let headers = number(0) as usize;
    let text = &message[headers..];
    let text = match u16::from_le_bytes([text[0], text[1]]) {
        u16::MAX if kind == RPC => return "sp_executesql".to_owned(),
        length if kind == RPC => &text[2..2 + 2 * usize::from(length)],
        _ => text,
    };
    let units: Vec<_> = text.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    String::from_utf16(&units).unwrap()
}

fn no_encryption() -> Vec<u8> {
    let version = [0, 0, 11, 0, 6];
    let encryption = [1, 0, 17, 0, 1];
    let not_supported = 2;
    [&version[..], &encryption, &[0xFF], &[15, 0, 0, 0, 0, 0], &[not_supported]].concat()
}

/// Accepts a login after a delay.
pub(crate) fn late_login(late: Duration) -> Reply {
    Reply::Late(late, [login_ack(), done()].concat())
}

fn login_ack() -> Vec<u8> {
    let mut body = vec![1, 0x74, 0, 0, 4];
    body.extend(b_varchar("fake"));
    body.extend([15, 0, 0, 0]);
    token(0xAD, &body)
}

/// Redirects the login to another server.
pub(crate) fn routing(host: &str, port: u16) -> Reply {
    let units = u16::try_from(host.encode_utf16().count()).unwrap();
    let mut value = vec![0];
    value.extend(port.to_le_bytes());
    value.extend(units.to_le_bytes());
    value.extend(utf16(host));
    let mut body = vec![20];
    body.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
    body.extend(value);
    body.extend([0, 0]);
    Reply::Tokens([login_ack(), token(0xE3, &body), done()].concat())
}

pub(crate) fn error_token(number: u32, class: u8, message: &str) -> Vec<u8> {
    let mut body = number.to_le_bytes().to_vec();
    body.extend([1, class]);
    body.extend(u16::try_from(message.encode_utf16().count()).unwrap().to_le_bytes());
    body.extend(utf16(message));
    body.extend(b_varchar("fake"));
    body.extend(b_varchar("p"));
    body.extend(3_u32.to_le_bytes());
    token(0xAA, &body)
}

pub(crate) fn done() -> Vec<u8> {
    done_with(0)
}

fn done_with(status: u16) -> Vec<u8> {
    [vec![0xFD], status.to_le_bytes().to_vec(), vec![0; 10]].concat()
}

fn done_proc() -> Vec<u8> {
    [vec![0xFE], vec![0; 12]].concat()
}

fn token(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_le_bytes();
    [&[kind], &length[..], body].concat()
}

fn b_varchar(text: &str) -> Vec<u8> {
    [vec![u8::try_from(text.encode_utf16().count()).unwrap()], utf16(text)].concat()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}
