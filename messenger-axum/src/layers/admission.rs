use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use messenger_core::Error;

use crate::{door::Door, problem::Problem};

/// Lets only so many requests be worked on at once, for only so long.
///
/// Not around sockets: they last, and have limits of their own.
pub(crate) async fn admission(State(door): State<Door>, request: Request, next: Next) -> Response {
    let work = async {
        let turn = door.turn().await?;
        let response = next.run(request).await;
        drop(turn);
        Ok(response)
    };
    match tokio::time::timeout(door.timeout(), work).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => Problem::report(&error).into_response(),
        Err(elapsed) => Problem::report(&Error::Unavailable(Some(Box::new(elapsed)))).into_response(),
    }
}
