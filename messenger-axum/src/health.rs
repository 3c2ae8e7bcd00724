//! Liveness and readiness of the process.

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    middleware::from_fn_with_state,
    response::{IntoResponse as _, Response},
    routing::get,
};
use messenger_core::{Error, Messenger};

use crate::{Options, Problem, door::Door, layers::observe};

/// A store that answers later than this does not count as ready.
const PATIENCE: Duration = Duration::from_secs(5);

/// `GET /health/live` and `GET /health/ready`, for a host that also wants them at its root, where orchestrators look.
///
/// `live` is 200 as long as the process answers. `ready` is 200 if the store can be reached, and otherwise a 503
/// problem; it answers within five seconds.
///
/// ```
/// use axum::Router;
/// use messenger_axum::{Options, health, router};
/// use messenger_core::Messenger;
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let messenger = Messenger::in_memory();
/// let app: Router = Router::new()
///     .nest("/api/v1", router(messenger.clone(), Options::new()))
///     .merge(health(messenger));
/// # });
/// ```
pub fn health(messenger: Messenger) -> Router {
    let door = Door::new(messenger, Options::new());
    routes().layer(from_fn_with_state(door.clone(), observe)).with_state(door)
}

pub(crate) fn routes() -> Router<Door> {
    Router::new().route("/health/live", get(live)).route("/health/ready", get(ready))
}

async fn live() -> &'static str {
    "live"
}

async fn ready(State(door): State<Door>) -> Response {
    let answer = tokio::time::timeout(PATIENCE, door.messenger.ready()).await;
    match answer.unwrap_or_else(|elapsed| Err(Error::Unavailable(Some(Box::new(elapsed))))) {
        Ok(()) => "ready".into_response(),
        Err(error) => Problem::report(&Error::Unavailable(Some(Box::new(error)))).into_response(),
    }
}
