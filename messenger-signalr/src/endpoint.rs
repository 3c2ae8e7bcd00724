//! The requests of clients: authentication, and the lookup of their connections.

use std::{sync::Arc, time::Duration};

use axum::{
    BoxError, Router,
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
    routing::any,
};
use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::timeout;

use super::{
    connections::{Connections, Entry, ForSocket, Registration, Start, Taken},
    hub::{Hub, HubRequest},
    negotiate,
    options::{SignalROptions, Transport},
    request::{accepts_events, is_upgrade, query, query_value, token},
    session,
    shared::Shared,
    transports::{Pipe, PipeLine, Polled, SocketLine},
};
use messenger_socket::{Account, Reservation, Unsent, Upgrade};

/// Maximum number of bytes of one WebSocket message or one post, which may contain many hub messages.
const MOST_AT_ONCE: usize = 1024 * 1024;
/// The time limit for receiving the body of a post.
const POST_WAIT: Duration = Duration::from_secs(30);
/// A client whose token has just been revoked learns it from its connection, if that ends within this time.
const ENDING_WAIT: Duration = Duration::from_secs(7);

/// Ends all connections when it is dropped.
struct Endpoint<H: Hub>(Arc<Shared<H>>);

impl<H: Hub> Drop for Endpoint<H> {
    fn drop(&mut self) {
        self.0.connections.abort_all();
    }
}

/// The routes of a hub, to be [nested](Router::nest) at the path of the clients' hub URL.
///
/// When the router is dropped, all connections end.
///
/// ```
/// # use messenger_signalr::{Hub, SignalROptions};
/// # fn host<H: Hub>(hub: H) -> axum::Router {
/// let options = SignalROptions::new().allow_stateful_reconnects(true);
/// axum::Router::new().nest("/hub", messenger_signalr::router(hub, options))
/// # }
/// ```
///
/// The host handles cross-origin requests (with a CORS layer around it), and makes sure that no layer limits the time
/// of these routes, or compresses or buffers their responses.
pub fn router<S: Clone + Send + Sync + 'static>(hub: impl Hub, options: SignalROptions) -> Router<S> {
    let unsent = Unsent::new(options.unsent);
    router_counted_in(hub, options, unsent)
}

/// The same, but the bytes that wait for clients are counted together with those of other sockets of the host, and
/// [`SignalROptions::unsent`] is ignored.
pub fn router_counted_in<S: Clone + Send + Sync + 'static>(
    hub: impl Hub,
    options: SignalROptions,
    unsent: Arc<Unsent>,
) -> Router<S> {
    let options = options.bounded();
    let shared = Shared { hub, options, unsent, connections: Arc::new(Connections::new()) };
    let endpoint = Arc::new(Endpoint(Arc::new(shared)));
    let negotiator = Arc::clone(&endpoint);
    Router::new()
        .route(
            "/",
            any(move |request| {
                let shared = Arc::clone(&endpoint.0);
                async move { answer(shared.transport(request).await) }
            }),
        )
        .route(
            "/negotiate",
            any(move |request| {
                let shared = Arc::clone(&negotiator.0);
                async move { answer(shared.negotiate(request).await) }
            }),
        )
}

/// A refused request, with the response of ASP.NET Core. It is also among the extensions of the response, for a layer
/// that gives it another form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// The status.
    pub status: StatusCode,
    /// The body, which is plain text.
    pub text: &'static str,
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.text).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Why a request was refused: because of the request itself, or because of its user.
enum Refusal {
    Refused(StatusCode, &'static str),
    Unauthorized(Box<Response>),
}

type Answer = Result<Response, Refusal>;

fn answer(answer: Answer) -> Response {
    match answer {
        Ok(response) => response,
        Err(Refusal::Refused(status, text)) => Refused { status, text }.into_response(),
        Err(Refusal::Unauthorized(response)) => *response,
    }
}

const ID_REQUIRED: Refusal = Refusal::Refused(StatusCode::BAD_REQUEST, "Connection ID required");
const UNKNOWN_ID: Refusal = Refusal::Refused(StatusCode::NOT_FOUND, "No Connection with that ID");
const OTHER_TRANSPORT: Refusal =
    Refusal::Refused(StatusCode::BAD_REQUEST, "Cannot change transports mid-connection");
const IN_USE: Refusal =
    Refusal::Refused(StatusCode::CONFLICT, "The connection is in use by another request.");
const NOT_ALLOWED: Refusal =
    Refusal::Refused(StatusCode::METHOD_NOT_ALLOWED, "This method is not allowed here.");
const TOO_MANY_POSTS: Refusal =
    Refusal::Refused(StatusCode::TOO_MANY_REQUESTS, "Too much waits to be taken from this client.");
const TOO_MANY: Refusal =
    Refusal::Refused(StatusCode::SERVICE_UNAVAILABLE, "Too many connections are being opened.");

impl<H: Hub> Shared<H> {
    async fn negotiate(self: &Arc<Self>, request: Request) -> Answer {
        let (parts, _) = request.into_parts();
        let user = self.authenticate(&parts, true).await.map_err(unauthorized)?;
        if parts.method != Method::POST {
            return Err(NOT_ALLOWED);
        }
        let asked = match negotiate::NegotiateRequest::read(query(&parts), &self.options) {
            Ok(asked) => asked,
            Err(error) => return Ok(json(negotiate::error(&error))),
        };
        let token = self.connections.tokens.issue(asked.stateful);
        let entry = self.begin(token, user, asked.stateful).ok_or(TOO_MANY)?;
        Ok(json(negotiate::offer(&asked, entry.token(), entry.public_id(), &self.options)))
    }

    async fn transport(self: &Arc<Self>, request: Request) -> Answer {
        let (mut parts, body) = request.into_parts();
        let id = query_value(query(&parts), "id").map(str::to_owned);
        let id = id.as_deref().filter(|id| !id.is_empty());
        let opens =
            parts.method == Method::GET && (is_upgrade(&parts.headers) || accepts_events(&parts.headers));
        let user = match self.authenticate(&parts, opens).await {
            Ok(user) => user,
            Err(response) if parts.method == Method::GET && !opens => {
                return self.last_polls(id, response).await;
            }
            Err(response) => return Err(unauthorized(response)),
        };
        match parts.method {
            Method::GET if is_upgrade(&parts.headers) => self.web_socket(&mut parts, id, user),
            Method::GET if accepts_events(&parts.headers) => self.events(&*self.own(id, &user)?),
            Method::GET => self.poll(self.own(id, &user)?).await,
            Method::POST => self.post(&*self.own(id, &user)?, body).await,
            Method::DELETE => self.delete(&*self.own(id, &user)?),
            _ => Err(NOT_ALLOWED),
        }
    }

    async fn authenticate(&self, parts: &Parts, begins: bool) -> Result<H::User, Response> {
        self.hub.authenticate(HubRequest { parts, token: token(parts), begins }).await
    }

    /// The connection with this id, if it belongs to this user.
    fn own(&self, id: Option<&str>, user: &H::User) -> Result<Arc<Entry<H::User>>, Refusal> {
        let entry = self.connections.find(id.ok_or(ID_REQUIRED)?).ok_or(UNKNOWN_ID)?;
        if entry.user == *user { Ok(entry) } else { Err(UNKNOWN_ID) }
    }

    /// The same, or a new one for a client that has just negotiated with another node: a WebSocket has no need of that
    /// node, since nothing was said there. A client that returns to a lost connection begins without a handshake, and is
    /// turned away for that.
    fn own_or_of_another_node(
        self: &Arc<Self>,
        token: &str,
        user: H::User,
    ) -> Result<Arc<Entry<H::User>>, Refusal> {
        if self.connections.find(token).is_some() {
            return self.own(Some(token), &user);
        }
        let stateful = self.connections.tokens.agreed_elsewhere(token).ok_or(UNKNOWN_ID)?;
        let stateful = stateful && self.options.allow_stateful_reconnects;
        self.begin(token.to_owned(), user, stateful).ok_or(TOO_MANY)
    }

    /// Registers a negotiated connection; its task waits for a transport.
    fn begin(self: &Arc<Self>, token: String, user: H::User, stateful: bool) -> Option<Arc<Entry<H::User>>> {
        let account = self.unsent.account(&user);
        let (entry, started) = self.connections.add(token, user, account, stateful)?;
        let shared = Arc::clone(self);
        let registration =
            Registration { connections: Arc::clone(&self.connections), entry: Arc::clone(&entry) };
        let task = tokio::spawn(async move {
            let start = timeout(shared.options.disconnect_timeout, started).await;
            let user = registration.entry.user.clone();
            match start {
                Ok(Ok(Start::Socket(socket, others))) => {
                    session::run(shared, user, SocketLine::new(*socket, others), registration).await;
                }
                Ok(Ok(Start::Requests(pipe, transport))) => {
                    session::run(shared, user, PipeLine::new(pipe, transport), registration).await;
                }
                // No transport was connected.
                Ok(Err(_)) | Err(_) => {}
            }
        });
        entry.run_by(task.abort_handle());
        if self.connections.find(entry.token()).is_none() {
            // The connection has already ended, or all connections have.
            task.abort();
        }
        Some(entry)
    }

    fn web_socket(self: &Arc<Self>, parts: &mut Parts, id: Option<&str>, user: H::User) -> Answer {
        self.must_offer(Transport::WebSockets)?;
        const NO_HANDSHAKE: Refusal =
            Refusal::Refused(StatusCode::BAD_REQUEST, "A WebSocket handshake (RFC 6455) is expected.");
        let upgrade = Upgrade::of(parts).ok_or(NO_HANDSHAKE)?;
        let entry = match id {
            Some(token) => self.own_or_of_another_node(token, user)?,
            None => self.begin(self.connections.tokens.issue(false), user, false).ok_or(TOO_MANY)?,
        };
        let place = entry.claim_socket().map_err(refusal_of)?;
        let account = Arc::clone(&entry.account);
        Ok(upgrade.answer(MOST_AT_ONCE, account, async move |socket| match place {
            // If the connection has ended in the meantime, the value is dropped, and the socket with it.
            ForSocket::First(start, others) => drop(start.send(Start::Socket(Box::new(socket), others))),
            ForSocket::Other(others) => drop(others.send(socket).await),
        }))
    }

    fn events(&self, entry: &Entry<H::User>) -> Answer {
        self.must_offer(Transport::ServerSentEvents)?;
        let pipe = self.pipe(entry);
        if !entry.claim_requests(Transport::ServerSentEvents, pipe).map_err(refusal_of)? {
            return Err(IN_USE);
        }
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache,no-store")),
            (header::PRAGMA, HeaderValue::from_static("no-cache")),
            (header::CONTENT_ENCODING, HeaderValue::from_static("identity")),
            // Otherwise nginx would buffer the stream.
            (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
        ];
        Ok((headers, Body::from_stream(pipe.events())).into_response())
    }

    async fn poll(&self, entry: Arc<Entry<H::User>>) -> Answer {
        self.must_offer(Transport::LongPolling)?;
        let pipe = self.pipe(&entry);
        if entry.claim_requests(Transport::LongPolling, pipe).map_err(refusal_of)? {
            // Clients discard the body of the first response.
            pipe.first_poll();
            return Ok(polled(StatusCode::OK, Body::empty()));
        }
        Ok(self.answer_poll(&entry, pipe).await)
    }

    async fn answer_poll(&self, entry: &Entry<H::User>, pipe: &Arc<Pipe>) -> Response {
        match pipe.poll(self.options.poll_timeout).await {
            Polled::Data(written) => polled(StatusCode::OK, Body::from_stream(written.into_stream())),
            Polled::Nothing => polled(StatusCode::OK, Body::empty()),
            Polled::NoMore => {
                if pipe.is_buried() {
                    // Not left to the task of the connection, which may come to it only after the client's next request.
                    self.connections.remove(entry);
                }
                polled(StatusCode::NO_CONTENT, Body::empty())
            }
        }
    }

    /// Answers a poll whose token is no longer valid. If the connection is ending for that reason, the client learns it
    /// from the connection: the official clients treat a 401 as a transport failure, and don't reconnect.
    async fn last_polls(&self, id: Option<&str>, refusal: Response) -> Answer {
        let entry = id.and_then(|id| self.connections.find(id));
        let polls = entry.filter(|entry| entry.transport() == Some(Transport::LongPolling));
        let Some(entry) = polls.filter(|_| refusal.status() == StatusCode::UNAUTHORIZED) else {
            return Err(unauthorized(refusal));
        };
        let pipe = self.pipe(&entry);
        match timeout(ENDING_WAIT, pipe.closed()).await {
            Ok(()) => {
                // Other messages are only for logged-in clients. The client may still receive the end, and the answers
                // to its earlier calls: one of them may be the answer to the log-out itself.
                pipe.keep_answers_and_last();
                Ok(self.answer_poll(&entry, pipe).await)
            }
            Err(_) => Err(unauthorized(refusal)),
        }
    }

    async fn post(&self, entry: &Entry<H::User>, body: Body) -> Answer {
        const ON_SOCKET: Refusal = Refusal::Refused(
            StatusCode::METHOD_NOT_ALLOWED,
            "POST requests are not allowed for WebSocket connections.",
        );
        if entry.transport() == Some(Transport::WebSockets) {
            return Err(ON_SOCKET);
        }
        // Clients send their posts one after the other.
        let _at_once = entry.posts.try_acquire().map_err(|_| TOO_MANY_POSTS)?;
        if !entry.account.has_room() {
            return Err(TOO_MANY_POSTS);
        }
        // Counted until the connection has processed it.
        let (bytes, _share) = read(body, &entry.account).await?;
        if !bytes.is_empty() {
            self.pipe(entry).post(bytes).await.map_err(|_| UNKNOWN_ID)?;
        }
        Ok("".into_response())
    }

    fn delete(&self, entry: &Entry<H::User>) -> Answer {
        const NOT_POLLING: Refusal = Refusal::Refused(
            StatusCode::BAD_REQUEST,
            "Cannot terminate this connection using the DELETE endpoint.",
        );
        if entry.transport() != Some(Transport::LongPolling) {
            return Err(NOT_POLLING);
        }
        self.pipe(entry).end();
        Ok(StatusCode::ACCEPTED.into_response())
    }

    fn pipe<'e>(&self, entry: &'e Entry<H::User>) -> &'e Arc<Pipe> {
        let options = &self.options;
        entry.pipe(|| {
            let account = Arc::clone(&entry.account);
            Pipe::new(options.application_max_buffer_size, options.transport_max_buffer_size, account)
        })
    }

    fn must_offer(&self, transport: Transport) -> Result<(), Refusal> {
        let text = match transport {
            _ if self.options.offers(transport) => return Ok(()),
            Transport::WebSockets => "WebSockets transport not supported by this end point type",
            Transport::ServerSentEvents => "ServerSentEvents transport not supported by this end point type",
            Transport::LongPolling => "LongPolling transport not supported by this end point type",
        };
        Err(Refusal::Refused(StatusCode::NOT_FOUND, text))
    }
}

fn unauthorized(response: Response) -> Refusal {
    Refusal::Unauthorized(Box::new(response))
}

const fn refusal_of(taken: Taken) -> Refusal {
    match taken {
        Taken::Busy => IN_USE,
        Taken::Elsewhere => OTHER_TRANSPORT,
        Taken::Over => UNKNOWN_ID,
    }
}

async fn read(body: Body, account: &Arc<Account>) -> Result<(Bytes, Option<Reservation>), Refusal> {
    const BROKE_OFF: Refusal = Refusal::Refused(StatusCode::BAD_REQUEST, "The body broke off.");
    let mut body = Limited::new(body, MOST_AT_ONCE);
    let (mut gathered, mut share) = (BytesMut::new(), None);
    let whole = async {
        while let Some(frame) = body.frame().await {
            gathered.extend_from_slice(&frame?.into_data().unwrap_or_default());
            account.keep_counted(&mut share, gathered.capacity());
            if account.is_evicted() {
                return Ok(false);
            }
        }
        Ok(true)
    };
    match timeout(POST_WAIT, whole).await {
        Ok(Ok(true)) => Ok((gathered.freeze(), share)),
        Ok(Ok(false)) => Err(UNKNOWN_ID),
        Ok(Err(error)) => {
            let error: BoxError = error;
            Err(if error.is::<LengthLimitError>() {
                Refusal::Refused(StatusCode::PAYLOAD_TOO_LARGE, "The body is too large.")
            } else {
                BROKE_OFF
            })
        }
        Err(_) => Err(BROKE_OFF),
    }
}

fn json(body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

fn polled(status: StatusCode, body: Body) -> Response {
    let headers = [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store")),
        (header::PRAGMA, HeaderValue::from_static("no-cache")),
        (header::EXPIRES, HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT")),
    ];
    let mut response = (status, headers, body).into_response();
    if status == StatusCode::OK {
        let kind = HeaderValue::from_static("application/octet-stream");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}
