//! REST: from an HTTP request to an operation and back.

mod answer;
mod body;
mod export;

use axum::{
    Router,
    extract::{FromRequestParts as _, RawPathParams, Request, State},
    response::{IntoResponse as _, Response},
    routing::{MethodFilter, on},
};
use bytes::Bytes;
use http::{HeaderValue, Method, header, request::Parts};
use messenger_core::{Error, Result as Outcome};

use crate::{
    client::Client,
    door::Door,
    fields::{self, DecodedPair, Fields, Pair},
    operation::{Answer, Call, Operation, Writing, operations},
    problem::Problem,
};

/// A route for every operation.
pub(crate) fn routes() -> Router<Door> {
    operations().iter().fold(Router::new(), |router, operation| {
        let handler = move |State(door): State<Door>, request: Request| async move {
            handle(&door, operation, request).await.unwrap_or_else(Problem::into_response)
        };
        router.route(operation.path, on(filter(&operation.method), handler))
    })
}

/// The cheapest checks that refuse most come first. The body is received before the turn, and the turn ends before the
/// answer is sent: resources that others need do not wait for this client.
async fn handle(door: &Door, operation: &Operation, request: Request) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    body::check_head(&parts.headers, door.options.body_limit)?;
    let actor = door.in_time(door.admit(operation.access, &parts)).await?;
    let client = door.client(&parts).known(&actor);
    door.admission.answers.check(client)?;
    let body = body::read(door, client, &parts.headers, body).await?;

    let params = RawPathParams::from_request_parts(&mut parts, &())
        .await
        .map_err(|_| Error::Malformed("The path is not UTF-8 with percent-encoding.".into()))?;
    let path: Vec<Pair<'_>> = params.iter().collect();
    let query = query(operation, &parts, &body)?;
    let query: Vec<Pair<'_>> = query.iter().map(|(name, text)| (&**name, &**text)).collect();
    let fields = if operation.method == Method::GET {
        Fields::of_query(&path, &query)
    } else {
        Fields::of_json(&path, &body)
    };
    let bytes = body.len();
    let call = Call { actor, client, bytes, fields, writing: Writing::Pieces };
    if operation.is_download() {
        return Ok(export::begin(door, &call, &parts.headers).await?);
    }
    let answer = door.in_time(work(door, operation, &call)).await?;
    Ok(respond(door, operation, client, answer)?)
}

async fn work(door: &Door, operation: &Operation, call: &Call<'_>) -> Outcome<Answer> {
    // Operations on passwords take a turn of another kind by themselves.
    let _turn = if operation.has_own_turns {
        None
    } else {
        Some(door.admission.work.take(call.client, call.bytes).await?)
    };
    operation.run(door, call).await.answer().await
}

fn respond(door: &Door, operation: &Operation, client: Client, answer: Answer) -> Outcome<Response> {
    let status = answer.status();
    let Some(pieces) = answer.into_pieces() else { return Ok(status.into_response()) };
    let body = answer::body(&door.admission.answers, client, pieces, operation.only_reads)?;
    let json = HeaderValue::from_static("application/json");
    Ok((status, [(header::CONTENT_TYPE, json)], body).into_response())
}

/// `GET` has its fields in the query, all other methods have them in the body; fields in the other place would be
/// ignored, and are therefore refused.
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

fn filter(method: &Method) -> MethodFilter {
    // The table has only these methods; an unreachable route would fail every test of it.
    match *method {
        Method::POST => MethodFilter::POST,
        Method::PUT => MethodFilter::PUT,
        Method::PATCH => MethodFilter::PATCH,
        Method::DELETE => MethodFilter::DELETE,
        _ => MethodFilter::GET,
    }
}
