//! The raw WebSocket, `/ws`: JSON-RPC 2.0, one message per text frame.

mod frames;
mod replies;
mod session;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::get,
};
use messenger_core::Error;

use crate::{
    Problem,
    door::{Door, bearer},
    sockets::{Sockets, origin},
};
use messenger_socket::Upgrade;

use session::Session;

/// The routes of the raw WebSocket. They have the outermost layer (request id, span, problem documents), but not the
/// limit on concurrent requests; the time limit applies only until the socket is open.
pub(crate) fn routes(sockets: &Sockets) -> Router<Door> {
    Router::new().route("/ws", get(open)).with_state(sockets.clone())
}

async fn open(State(sockets): State<Sockets>, request: Request) -> Response {
    let door = &sockets.door;
    let (mut parts, _) = request.into_parts();
    let upgrade = Upgrade::of(&mut parts);
    let connected = async {
        let upgrade = upgrade
            .ok_or_else(|| Error::Malformed("A WebSocket handshake (RFC 6455) is expected.".into()))?;
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
    let account = sockets.account_of(connection.actor());
    let session = Session::new(door.clone(), connection, Arc::clone(&account));
    upgrade.answer(door.options.frame_limit, account, move |socket| session.run(socket))
}

/// A token is base64url, which needs no escaping in a query; anything else is no token.
fn from_query(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| pair.strip_prefix("access_token="))
}
