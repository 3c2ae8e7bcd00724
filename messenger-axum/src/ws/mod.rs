//! The raw WebSocket, `/ws`: JSON-RPC 2.0, one text frame a message.

mod frames;
mod replies;
mod session;
#[cfg(test)]
mod tests;

use axum::{
    Router,
    extract::{
        State,
        ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use http::request::Parts;
use messenger_core::{Error, Result};

use crate::{
    Problem,
    door::{Door, bearer},
    origin,
    writing::WRITE_BUFFER,
};

use session::Session;

/// The WebSocket's own read buffer; the library's default of 128 KiB would be most of what an idle socket costs.
const READ_BUFFER: usize = 1024;

/// The routes of the sockets. They get the outermost layer (request id, span, problem documents), and not the
/// limit of requests at once; the limit of time only until they are open.
pub(crate) fn routes() -> Router<Door> {
    Router::new().route("/ws", get(open))
}

async fn open(
    State(door): State<Door>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    parts: Parts,
) -> Response {
    let connected = async {
        let upgrade =
            upgrade.map_err(|_| Error::Malformed("A WebSocket handshake (RFC 6455) is expected.".into()))?;
        origin::check(&parts, &door.options)?;
        let token = bearer(&parts.headers).or_else(|| from_query(parts.uri.query()?));
        let actor = door.log_in(&parts, token, true).await?;
        Ok((upgrade, door.messenger.connect(&actor).await?))
    };
    let connected = tokio::time::timeout(door.timeout(), connected).await;
    let (upgrade, connection) =
        match connected.unwrap_or_else(|late| Err(Error::Unavailable(Some(late.into())))) {
            Ok(connected) => connected,
            Err(error) => return Problem::report(&error).into_response(),
        };
    let largest = door.options.frame_limit;
    upgrade
        .read_buffer_size(READ_BUFFER)
        // No limit to what it may hold: each answer is written before the next, however long it is.
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(largest)
        .max_frame_size(largest)
        .on_upgrade(move |socket| Session::new(door, connection).run(socket))
}

/// A token is base64url, which is not escaped in a query; anything else is no token.
fn from_query(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| pair.strip_prefix("access_token="))
}
