//! The page at `/docs`: Swagger UI, served entirely by this server.

use std::sync::{Arc, LazyLock};

use axum::{
    Router,
    extract::Path,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use http::header;
use utoipa_swagger_ui::Config;

use crate::{Problem, door::Door, problem::Refusal};

const PAGE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("page.js");

/// Allows only what this server serves, and the styles and images that Swagger UI has in its own files.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// The page changes only with the crate.
const CACHE: &str = "public, max-age=3600";

pub(super) fn routes() -> Router<Door> {
    Router::new()
        .route("/docs", get(page))
        // Relative, because only the host knows where the router is mounted.
        .route("/docs/", get(async || Redirect::permanent("../docs")))
        .route("/docs/{file}", get(file))
}

async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, CACHE),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, PAGE).into_response()
}

async fn file(Path(name): Path<String>) -> Response {
    static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(Arc::default);
    let cache = (header::CACHE_CONTROL, CACHE);
    if name == "page.js" {
        return ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8"), cache], SCRIPT).into_response();
    }
    if !matches!(name.as_str(), "swagger-ui.css" | "swagger-ui-bundle.js" | "favicon-32x32.png") {
        return Problem::from(Refusal::NoSuchRoute).into_response();
    }
    match utoipa_swagger_ui::serve(&name, Arc::clone(&CONFIG)) {
        Ok(Some(file)) => {
            let kind = [(header::CONTENT_TYPE, file.content_type), (header::CACHE_CONTROL, CACHE.into())];
            let encoding = file.gzpipped.then_some([(header::CONTENT_ENCODING, "gzip")]);
            (kind, encoding, file.bytes.into_owned()).into_response()
        }
        _ => Problem::from(Refusal::NoSuchRoute).into_response(),
    }
}
