use axum::{Router, middleware::from_fn_with_state};
use messenger_core::Messenger;

use crate::{
    Options, Problem,
    door::Door,
    health,
    layers::{cors, observe},
    openapi,
    problem::Refusal,
    rest, unsubscribe,
};

/// The router of the whole API, to be mounted at any path.
///
/// ```
/// use axum::Router;
/// use messenger_axum::Options;
/// use messenger_core::Messenger;
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let api = messenger_axum::router(Messenger::in_memory(), Options::new());
/// let app: Router = Router::new().nest("/api/v1", api);
/// # });
/// ```
///
/// The limits by address require the address: serve with `app.into_make_service_with_connect_info::<SocketAddr>()`, or
/// see [`Options::trusted_proxies`].
pub fn router(messenger: Messenger, options: Options) -> Router {
    let origins = options.origins.clone();
    let docs = if options.docs { openapi::routes() } else { Router::new() };
    // Without mail there is none to end.
    let unsubscribe = if messenger.notifies() { unsubscribe::routes() } else { Router::new() };
    let door = Door::new(messenger, options);
    let router = Router::new().merge(rest::routes()).merge(docs).merge(health::routes()).merge(unsubscribe);
    #[cfg(any(feature = "ws", feature = "signalr"))]
    let router = router.merge(sockets(&door));
    let router = router
        .fallback(not_found)
        .method_not_allowed_fallback(async || Problem::from(Refusal::MethodNotAllowed))
        .layer(from_fn_with_state(door.clone(), observe))
        .with_state(door);
    if origins.is_empty() { router } else { router.layer(cors(&origins)) }
}

/// The routes of the enabled sockets.
#[cfg(any(feature = "ws", feature = "signalr"))]
fn sockets(door: &Door) -> Router<Door> {
    let sockets = crate::sockets::Sockets::new(door.clone());
    let router = Router::new();
    #[cfg(feature = "ws")]
    let router = if door.options.ws { router.merge(crate::ws::routes(&sockets)) } else { router };
    #[cfg(feature = "signalr")]
    let router = if door.options.hub { router.merge(crate::chat_hub::routes(&sockets)) } else { router };
    router
}

/// The 404 problem of a route that does not exist, as a handler for a host's own fallback.
///
/// ```
/// use axum::Router;
///
/// let app: Router = Router::new().fallback(messenger_axum::not_found);
/// ```
pub async fn not_found() -> Problem {
    Refusal::NoSuchRoute.into()
}
