//! The raw WebSocket, `/ws`.
//!
//! What it can use: [`crate::door::Door`] (the messenger, `limits.person` for each request of a socket, `address`),
//! [`crate::rpc::procedure`] for calls by name, and [`crate::Problem`] for the `data` of an error.

use axum::Router;

use crate::door::Door;

/// The routes of the sockets. They get the outermost layer (request id, span, problem documents), and neither the
/// time limit nor the limit of requests at once.
pub(crate) fn routes() -> Router<Door> {
    Router::new()
}
