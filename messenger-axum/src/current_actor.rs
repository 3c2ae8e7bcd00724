use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;
use messenger_core::{Actor, Error, Messenger};

use crate::{Problem, door::bearer};

/// The caller, for a host's own routes: the person whose session token the request carries.
///
/// A request without a valid token is answered with a 401 problem. The state of the router must be a [`Messenger`], or
/// provide one (axum's `FromRef`).
///
/// ```
/// use axum::{Router, routing::get};
/// use messenger_axum::{CurrentActor, Problem};
/// use messenger_core::Messenger;
///
/// async fn whoami(CurrentActor(actor): CurrentActor) -> Result<String, Problem> {
///     Ok(actor.user()?.to_string())
/// }
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let app: Router = Router::new().route("/whoami", get(whoami)).with_state(Messenger::in_memory());
/// # });
/// ```
#[derive(Clone)]
pub struct CurrentActor(pub Actor);

impl<S> FromRequestParts<S> for CurrentActor
where
    Messenger: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let token = bearer(&parts.headers).ok_or(Error::Unauthenticated)?;
        Ok(Self(Messenger::from_ref(state).authenticate(token).await?))
    }
}
