//! HTTP/1.1 on a listener, with the limits that `axum::serve` has not: the head of a request has a time and a
//! size, a client that reads nothing is cut, and there are only so many connections.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

use super::{
    peer,
    stream::{ClientStream, Held},
};

/// What a client may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientLimits {
    pub(super) connections: usize,
    pub(super) header_timeout: Duration,
    pub(super) write_timeout: Duration,
}

/// Connections being served.
pub(super) struct HttpServer {
    open: TaskTracker,
    stop: CancellationToken,
}

impl HttpServer {
    /// Serves `app` on `listener` from now on.
    pub(super) fn start(listener: TcpListener, app: Router, limits: ClientLimits) -> Self {
        let (open, stop) = (TaskTracker::new(), CancellationToken::new());
        let acceptor = Acceptor {
            app,
            connections: Arc::new(Semaphore::new(limits.connections)),
            http: http(limits.header_timeout),
            limits,
            open: open.clone(),
            stop: stop.clone(),
        };
        tokio::spawn(acceptor.run(listener));
        Self { open, stop }
    }

    /// Accepts nothing more, lets requests under way finish, and closes idle connections a moment later. WebSockets
    /// are the business of those who serve them.
    pub(super) fn stop(&self) {
        self.stop.cancel();
        self.open.close();
    }

    /// Waits until every connection has ended, and says how many had not at `deadline`.
    pub(super) async fn ended_by(&self, deadline: Instant) -> usize {
        match timeout_at(deadline, self.open.wait()).await {
            Ok(()) => 0,
            Err(_) => self.open.len(),
        }
    }
}

fn http(header_timeout: Duration) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD)
        .max_buf_size(MAX_BUFFER);
    http
}

/// Browsers send about twenty; more is answered with 431.
const MAX_HEADERS: usize = 100;
/// Bytes of the head of a request; a long cookie of another program on the same host still fits.
const MAX_HEAD: usize = 16 * 1024;
/// Bytes of one connection that wait to be handled or to be sent.
const MAX_BUFFER: usize = 64 * 1024;

struct Acceptor {
    app: Router,
    connections: Arc<Semaphore>,
    http: http1::Builder,
    limits: ClientLimits,
    open: TaskTracker,
    stop: CancellationToken,
}

impl Acceptor {
    async fn run(self, listener: TcpListener) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.accept_all(&listener) => {}
        }
    }

    async fn accept_all(&self, listener: &TcpListener) {
        let mut failing = false;
        // The place is taken before the connection is, so that the queue of the system holds those that wait.
        while let Ok(permit) = Arc::clone(&self.connections).acquire_owned().await {
            match listener.accept().await {
                Ok((socket, peer)) => {
                    failing = false;
                    self.serve(socket, peer, permit);
                }
                Err(error) if concerns_one_client(&error) => {}
                Err(error) => {
                    // No file descriptor is left, as a rule: one comes free when a connection ends.
                    if !failing {
                        tracing::warn!(%error, "connections can't be accepted; trying again");
                    }
                    failing = true;
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn serve(&self, socket: TcpStream, peer: SocketAddr, permit: OwnedSemaphorePermit) {
        // Frames are written whole, so there is nothing to wait for (Nagle, RFC 896).
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "a connection ended before it began");
            return;
        }
        if let Err(error) = peer::watch(&socket, self.limits.write_timeout) {
            tracing::debug!(%error, "the system will be late to notice if a client is lost");
        }
        let held = Held { permit, tracked: self.open.token() };
        let stream = ClientStream::new(socket, self.limits.write_timeout, Some(held));
        let app = self.app.clone();
        let service = service_fn(move |mut request: http::Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            app.clone().oneshot(request.map(Body::new))
        });
        let connection = self.http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let stop = self.stop.clone();
        tokio::spawn(async move {
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stopped(&stop) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%peer, error = &error as &dyn std::error::Error, "a connection failed");
            }
        });
    }
}

/// Some time after the server has been told to stop: a client that polls is between two of its polls then, and hears of
/// the end by the next. On a connection that is closed at once that poll would be lost, and be taken for a fault.
async fn stopped(stop: &CancellationToken) {
    stop.cancelled().await;
    sleep(LAST_POLLS).await;
}

const LAST_POLLS: Duration = Duration::from_millis(500);

fn concerns_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
