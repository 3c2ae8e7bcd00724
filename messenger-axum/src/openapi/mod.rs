//! The OpenAPI document, made of the same table as the routes, and a page to try it.

mod described;
mod document;
#[cfg(feature = "docs")]
mod page;

use std::sync::LazyLock;

use axum::{Router, response::IntoResponse, routing::get};
use bytes::Bytes;
use http::header;

use crate::door::Door;

pub(crate) use described::Described;

pub(crate) fn routes() -> Router<Door> {
    let router = Router::new().route("/openapi.json", get(openapi_json));
    #[cfg(feature = "docs")]
    let router = router.merge(page::routes());
    router
}

/// The OpenAPI 3.1 document of the routes, as `GET /openapi.json` serves it, for build scripts and generators of
/// clients.
///
/// Its server is `.`, the place where the document itself lies, so it is right wherever the router is mounted.
///
/// ```
/// let document: serde_json::Value = serde_json::from_slice(&messenger_axum::openapi())?;
/// assert_eq!(document["openapi"], "3.1.0");
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn openapi() -> Bytes {
    // The document is made of strings and numbers, which always serialise.
    static DOCUMENT: LazyLock<Bytes> =
        LazyLock::new(|| serde_json::to_vec(&document::document()).unwrap_or_default().into());
    DOCUMENT.clone()
}

async fn openapi_json() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], openapi())
}
