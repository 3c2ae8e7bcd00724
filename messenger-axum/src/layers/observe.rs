use std::{panic::AssertUnwindSafe, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use futures::FutureExt as _;
use http::{HeaderValue, Method, StatusCode, header};
use tracing::Instrument as _;

use super::request_id::{self, RequestId};
use crate::{
    door::Door,
    problem::{MEDIA_TYPE, Problem, Refusal},
};

/// Counts answered requests, by `method`, `route` and class of `status` (such as `2xx`).
pub const REQUESTS: &str = "messenger_http_requests_total";
/// Their durations, with the same labels.
pub const REQUEST_DURATION: &str = "messenger_http_request_duration_seconds";

/// Marks an answer as a page that stays as it is, whatever its status: who sees it reads no problem documents.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ForPeople;

/// The outermost layer: gives the request an id and a span, counts it, and makes sure that every failure is answered
/// with a problem document.
///
/// Neither the query nor the body is read here: they may contain tokens and user content.
pub(crate) async fn observe(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers(), &door.context);
    let method = known(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("none", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!("request", method, route, request_id = %id);
    request.extensions_mut().insert(id.clone());
    async {
        let started = Instant::now();
        let response = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        let response = completed(response.unwrap_or_else(|_| panicked()), &id);
        let (status, took) = (response.status(), started.elapsed());
        let labels = [("method", method.into()), ("route", route.into()), ("status", class(status).into())];
        count(&labels, took.as_secs_f64());
        tracing::debug!(status = status.as_u16(), took_us = took.as_micros(), "answered");
        response
    }
    .instrument(span)
    .await
}

fn count(labels: &[(&'static str, metrics::SharedString); 3], seconds: f64) {
    metrics::counter!(REQUESTS, labels).increment(1);
    metrics::histogram!(REQUEST_DURATION, labels).record(seconds);
}

/// The panic's message is left to the panic hook: it may quote user content.
fn panicked() -> Response {
    tracing::error!("a request panicked");
    Problem::from(Refusal::Other(StatusCode::INTERNAL_SERVER_ERROR)).into_response()
}

fn completed(mut response: Response, id: &RequestId) -> Response {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        response = with_headers_of(&response, problem.with_request_id(id.as_str()));
    } else if response.extensions_mut().remove::<ForPeople>().is_some() {
        // A page with a status of its own.
    } else if is_error(response.status()) && !is_problem(&response) {
        // Plain text from axum or another library.
        let problem = Problem::from(Refusal::Other(response.status())).with_request_id(id.as_str());
        response = with_headers_of(&response, problem);
    }
    let headers = response.headers_mut();
    if let Some(id) = id.header() {
        headers.insert(request_id::HEADER, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn with_headers_of(old: &Response, problem: Problem) -> Response {
    let mut new = problem.into_response();
    for (name, value) in old.headers() {
        // Keeps headers such as `Allow`, but not those that describe the old body.
        if !matches!(*name, header::CONTENT_LENGTH | header::CONTENT_TYPE | header::CONTENT_ENCODING) {
            new.headers_mut().entry(name).or_insert_with(|| value.clone());
        }
    }
    new
}

fn is_error(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

fn is_problem(response: &Response) -> bool {
    response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == MEDIA_TYPE)
}

/// Clients can invent methods; the metrics only have labels for existing ones.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}
