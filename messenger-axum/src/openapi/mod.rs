//! The OpenAPI document, generated from the same table as the routes, and a page to try it.

mod described;
mod document;
mod fields;
#[cfg(feature = "docs")]
mod page;
mod problems;

use axum::{Router, extract::State, response::IntoResponse, routing::get};
use bytes::Bytes;
use http::header;
use messenger_core::Limits;

use crate::door::Door;

pub(crate) use described::Described;

pub(crate) fn routes() -> Router<Door> {
    let router = Router::new().route("/openapi.json", get(openapi_json));
    #[cfg(feature = "docs")]
    let router = router.merge(page::routes());
    router
}

/// The OpenAPI 3.1 document of the routes, as `GET /openapi.json` serves it for a service with these limits: for build
/// scripts and client generators.
///
/// Its server is `.`, the location of the document itself, so it is correct wherever the router is mounted.
///
/// ```
/// use messenger_core::Limits;
///
/// let document: serde_json::Value = serde_json::from_slice(&messenger_axum::openapi(&Limits::default()))?;
/// assert_eq!(document["openapi"], "3.1.0");
/// assert_eq!(document["components"]["schemas"]["SendMessage"]["properties"]["body"]["maxLength"], 8000);
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn openapi(limits: &Limits) -> Bytes {
    // The document consists of strings and numbers, which always serialise.
    serde_json::to_vec(&document::document(limits)).unwrap_or_default().into()
}

async fn openapi_json(State(door): State<Door>) -> impl IntoResponse {
    let document = door.openapi.get_or_init(|| openapi(door.messenger.limits())).clone();
    ([(header::CONTENT_TYPE, "application/json")], document)
}
