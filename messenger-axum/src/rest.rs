//! The REST door: from an HTTP request to an operation and back.

use axum::{
    Router,
    body::Body,
    extract::{FromRequestParts as _, RawPathParams, Request, State},
    response::IntoResponse as _,
    routing::{MethodFilter, on},
};
use bytes::Bytes;
use http::{HeaderMap, Method, header, request::Parts};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use messenger_core::Error;

use crate::{
    door::Door,
    fields::{self, DecodedPair, Fields, Pair},
    operation::{Answer, Call, Operation, operations},
    problem::{Problem, Refusal},
    signalr::Protocol,
};

/// A route for every operation.
pub(crate) fn routes() -> Router<Door> {
    operations().iter().fold(Router::new(), |router, operation| {
        let handler = move |State(door): State<Door>, request: Request| async move {
            handle(&door, operation, request).await.map_or_else(Problem::into_response, Answer::into_response)
        };
        router.route(operation.path, on(filter(&operation.method), handler))
    })
}

async fn handle(door: &Door, operation: &Operation, request: Request) -> Result<Answer, Problem> {
    let (mut parts, body) = request.into_parts();
    let actor = door.admit(operation.access, &parts).await?;
    let params = RawPathParams::from_request_parts(&mut parts, &())
        .await
        .map_err(|_| Error::Malformed("The path is not UTF-8 with percent-encoding.".into()))?;
    let path: Vec<Pair<'_>> = params.iter().collect();
    let body = read(&parts.headers, body, door.options.body_limit).await?;
    let query = query(operation, &parts, &body)?;
    let query: Vec<Pair<'_>> = query.iter().map(|(name, text)| (&**name, &**text)).collect();
    let fields = if operation.method == Method::GET {
        Fields::of_query(&path, &query)
    } else {
        Fields::of_json(&path, &body)
    };
    Ok(operation.run(door, &Call { actor, fields, protocol: Protocol::Json, placed: None }).await?)
}

/// `GET` has its fields in the query, all others have them in the body; what is in the other place would be
/// lost, and is refused for that.
fn query<'a>(operation: &Operation, parts: &'a Parts, body: &Bytes) -> Result<Vec<DecodedPair<'a>>, Error> {
    let query = fields::pairs(parts.uri.query().unwrap_or_default())?;
    let is_get = operation.method == Method::GET;
    if is_get && !body.is_empty() {
        return Err(Error::Malformed("This request takes its fields in the query, not in a body.".into()));
    }
    match query.first() {
        Some((name, _)) if !is_get => Err(Error::Malformed(format!(
            "unknown field `{name}` in the query: this request takes its fields in the body"
        ))),
        _ => Ok(query),
    }
}

/// The whole body, if it is empty or JSON, and not too large.
async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Problem> {
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > limit as u64) {
        return Err(Refusal::BodyTooLarge(limit).into());
    }
    let body = match Limited::new(body, limit).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(Refusal::BodyTooLarge(limit).into()),
        Err(_) => return Err(Error::Malformed("The body broke off.".into()).into()),
    };
    if body.is_empty() || is_json(headers) { Ok(body) } else { Err(Refusal::NotJson.into()) }
}

fn is_json(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let plain =
        text(header::CONTENT_ENCODING).is_none_or(|encoding| encoding.eq_ignore_ascii_case("identity"));
    let Some(media) = text(header::CONTENT_TYPE) else { return false };
    let (essence, parameters) = media.split_once(';').unwrap_or((media, ""));
    let essence = essence.trim().to_ascii_lowercase();
    let json =
        essence == "application/json" || essence.starts_with("application/") && essence.ends_with("+json");
    let charset =
        parameters.split(';').filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| {
            !name.trim().eq_ignore_ascii_case("charset")
                || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        });
    plain && json && charset
}

fn filter(method: &Method) -> MethodFilter {
    // The table has none but these; a route that was not reachable would fail every test of it.
    match *method {
        Method::POST => MethodFilter::POST,
        Method::PUT => MethodFilter::PUT,
        Method::PATCH => MethodFilter::PATCH,
        Method::DELETE => MethodFilter::DELETE,
        _ => MethodFilter::GET,
    }
}
