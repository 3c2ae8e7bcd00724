//! The opening handshake (RFC 6455, section 4.2).

use std::sync::Arc;

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use sha1::{Digest as _, Sha1};

use crate::{unsent::Account, web_socket::WebSocket};

/// The constant that is hashed with the key (section 1.3).
const SALT: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A request for a WebSocket.
pub struct Upgrade {
    accept: HeaderValue,
    connection: OnUpgrade,
}

impl Upgrade {
    /// Checks a request. `None` if it requests something else, or its connection can't be upgraded.
    pub fn of(parts: &mut Parts) -> Option<Self> {
        let headers = &parts.headers;
        let asks = parts.method == Method::GET
            && has_token(headers, &header::CONNECTION, "upgrade")
            && has_token(headers, &header::UPGRADE, "websocket")
            && has_token(headers, &header::SEC_WEBSOCKET_VERSION, "13");
        let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| asks)?;
        let nonce = STANDARD.decode(key).ok()?;
        if nonce.len() != 16 {
            return None;
        }
        let accept = STANDARD.encode(Sha1::new().chain_update(key).chain_update(SALT).finalize());
        let accept = HeaderValue::try_from(accept).ok()?;
        Some(Self { accept, connection: parts.extensions.remove::<OnUpgrade>()? })
    }

    /// Accepts the request, and calls `serve` with the socket. A message from the client may have up to `limit` bytes,
    /// and what waits for the client is counted in `account`.
    pub fn answer<F>(
        self,
        limit: usize,
        account: Arc<Account>,
        serve: impl FnOnce(WebSocket) -> F + Send + 'static,
    ) -> Response
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let connection = self.connection;
        tokio::spawn(async move {
            // Fails if the client has gone before the response was sent.
            if let Ok(upgraded) = connection.await {
                serve(WebSocket::new(TokioIo::new(upgraded), limit, account)).await;
            }
        });
        let headers = [
            (header::CONNECTION, HeaderValue::from_static("upgrade")),
            (header::UPGRADE, HeaderValue::from_static("websocket")),
            (header::SEC_WEBSOCKET_ACCEPT, self.accept),
        ];
        (StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response()
    }
}

/// Looks for a token in a header that contains a list, in any case.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(token))
}
