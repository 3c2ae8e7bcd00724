//! The web page, embedded in the binary.

use axum::{
    Json, Router,
    extract::{Path, Request},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
        X_CONTENT_TYPE_OPTIONS,
    },
};
use serde_json::json;
use tower_http::compression::CompressionLayer;

/// The page at `/`, what it loads under `/assets/`, what it should know of the server, and a plain answer for everything else.
pub(crate) fn router(mails: bool) -> Router {
    Router::new()
        .route("/config.json", get(async move || config(mails)))
        .route("/", get(async |headers: HeaderMap| answer("index.html", &headers)))
        .route(
            "/assets/{*path}",
            get(async |Path(path): Path<String>, headers: HeaderMap| answer(&path, &headers)),
        )
        .fallback(async || missing())
        .layer(CompressionLayer::new())
        .layer(middleware::from_fn(with_security_headers))
}

/// Whether people get mail.
fn config(mails: bool) -> impl IntoResponse {
    ([(CACHE_CONTROL, "no-cache")], Json(json!({ "mail": mails })))
}

/// The pages to which links in mails about accounts lead, below this path. `GET` changes nothing: programs follow links in mails, too.
pub(crate) fn of_links(api: &str) -> Router {
    let page = || get(async |headers: HeaderMap| answer("account.html", &headers));
    Router::new()
        .route(&format!("{api}/reset-password"), page())
        .route(&format!("{api}/confirm-email"), page())
        .layer(CompressionLayer::new())
        .layer(middleware::from_fn(with_security_headers))
}

/// The page of those who operate the server, at `/ops`; what it loads is with that of the other.
pub(crate) fn of_operators() -> Router {
    Router::new()
        .route("/ops", get(async |headers: HeaderMap| answer("ops.html", &headers)))
        .layer(CompressionLayer::new())
        .layer(middleware::from_fn(with_security_headers))
}

/// A file of `web/`.
struct Asset {
    path: &'static str,
    etag: &'static str,
    bytes: &'static [u8],
}

const ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

fn answer(path: &str, headers: &HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.path == path) else { return missing() };
    let head = [
        (ETAG, asset.etag),
        // The names carry no version, so a browser asks each time; it mostly gets a 304.
        (CACHE_CONTROL, "no-cache"),
    ];
    if is_fresh(headers, asset.etag) {
        return (StatusCode::NOT_MODIFIED, head).into_response();
    }
    (head, [(CONTENT_TYPE, content_type(path))], asset.bytes).into_response()
}

/// Whether the client has this version already (RFC 9110, section 13.1.2).
fn is_fresh(headers: &HeaderMap, etag: &str) -> bool {
    let known = opaque(etag);
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|tag| tag.trim() == "*" || opaque(tag) == known)
}

fn opaque(tag: &str) -> &str {
    tag.trim().trim_start_matches("W/")
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("txt") => "text/plain; charset=utf-8",
        Some("woff2") => "font/woff2",
        Some("json" | "webmanifest") => "application/json",
        _ => "application/octet-stream",
    }
}

fn missing() -> Response {
    (StatusCode::NOT_FOUND, "There is nothing here. The page is at /, the API under /api/v1.\n")
        .into_response()
}

async fn with_security_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in SECURITY_HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

const SECURITY_HEADERS: [(HeaderName, &str); 5] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];
