//! Liveness and readiness of the process.

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    middleware::from_fn_with_state,
    response::{IntoResponse as _, Response},
    routing::get,
};
use messenger_core::{Error, Messenger, hub::Outage};

use crate::{Options, Problem, door::Door, layers::observe};

/// A store that answers later than this does not count as ready.
const PATIENCE: Duration = Duration::from_secs(5);

/// `GET /health/live` and `GET /health/ready`, for a host that also wants them at its root, where orchestrators look.
///
/// `live` is 200 as long as the process answers. `ready` is 200 if the store can be reached, and otherwise a 503
/// problem; it answers within five seconds. Its text is `ready`, and a line for each of the node's
/// [outages](Messenger::outages): without its bus or presence a node is ready all the same.
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

fn readiness(outages: &[Outage]) -> String {
    let lines =
        outages.iter().map(|Outage { of, since, .. }| format!("\ndegraded: {} since {since}", of.name()));
    std::iter::once("ready".to_owned()).chain(lines).collect()
}

async fn ready(State(door): State<Door>) -> Response {
    let answer = tokio::time::timeout(PATIENCE, door.messenger.ready()).await;
    match answer.unwrap_or_else(|elapsed| Err(Error::Unavailable(Some(Box::new(elapsed))))) {
        Ok(()) => readiness(&door.messenger.outages()).into_response(),
        Err(error) => Problem::report(&Error::Unavailable(Some(Box::new(error)))).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use messenger_core::hub::Dependency;

    use super::*;

    #[test]
    fn what_is_missing_is_named_with_the_time() {
        assert_eq!(readiness(&[]), "ready");
        let since = "2026-11-22T03:18:41.123Z".parse().unwrap();
        let outages = [Dependency::Bus, Dependency::Presence].map(|of| Outage { of, since });
        let lines = "ready\ndegraded: bus since 2026-11-22T03:18:41.123Z\ndegraded: presence since 2026-11-22T03:18:41.123Z";
        assert_eq!(readiness(&outages), lines);
    }
}
