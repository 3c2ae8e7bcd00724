//! `/ops`: background jobs behind the operator's key.

use std::{str::FromStr as _, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, Query, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use messenger_axum::{LoginLimit, Problem};
use messenger_core::{
    Error, JobId,
    jobs::Jobs,
    ports::{JobFilter, JobKind},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    config::OperatorKey,
    jobs::{CountsView, JobDetail, JobLine, state_of},
};

/// The routes, each of which asks for the key.
pub(crate) fn router(jobs: Jobs, key: OperatorKey, limit: LoginLimit) -> Router {
    let guard = Arc::new(Guard { key, limit });
    Router::new()
        .route("/ops/jobs", get(overview))
        .route("/ops/jobs/{id}", get(show))
        .route("/ops/jobs/{id}/{change}", post(change))
        .route("/ops/kinds/{kind}/{change}", post(change_kind))
        .with_state(jobs)
        .layer(middleware::from_fn_with_state(guard, guarded))
}

struct Guard {
    key: OperatorKey,
    limit: LoginLimit,
}

async fn guarded(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    // Before the key is looked at, so that no key can be tried beyond the limit.
    if let Err(error) = guard.limit.take(&parts).await {
        return Problem::report(&error).into_response();
    }
    if !bearer(&parts.headers).is_some_and(|given| guard.key.is(given)) {
        let said = [(header::WWW_AUTHENTICATE, "Bearer")];
        return (StatusCode::UNAUTHORIZED, said, "The operator's key is missing or wrong.\n").into_response();
    }
    let mut response = next.run(Request::from_parts(parts, body)).await;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
}

/// How many jobs are shown, unless more are asked for.
const SHOWN: usize = 50;

#[derive(Deserialize)]
struct Wanted {
    kind: Option<String>,
    state: Option<String>,
    before: Option<JobId>,
    limit: Option<usize>,
    /// Counting reads what there is of each state, which is a lot more than the jobs that are shown.
    #[serde(default = "yes")]
    counts: bool,
}

const fn yes() -> bool {
    true
}

#[derive(Serialize)]
struct Overview {
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<Vec<CountsView>>,
    jobs: Vec<JobLine>,
}

async fn overview(State(jobs): State<Jobs>, Query(wanted): Query<Wanted>) -> Result<Json<Overview>, Problem> {
    let Wanted { kind, state, before, limit, counts } = wanted;
    let state = state.as_deref().map(state_of).transpose();
    let filter = JobFilter {
        kind: kind.as_deref().map(kind_of).transpose()?,
        state: state.map_err(|names| Error::invalid("state", names))?,
    };
    let counts = if counts { Some(jobs.counts().await?.into_iter().map(Into::into).collect()) } else { None };
    let jobs = jobs.list(&filter, before, limit.unwrap_or(SHOWN)).await?;
    Ok(Json(Overview { counts, jobs: jobs.into_iter().map(Into::into).collect() }))
}

async fn show(State(jobs): State<Jobs>, Path(id): Path<String>) -> Result<Json<JobDetail>, Problem> {
    Ok(Json(jobs.get(id_of(&id)?).await?.into()))
}

async fn change(
    State(jobs): State<Jobs>,
    Path((id, change)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let id = id_of(&id)?;
    match change.as_str() {
        "retry" => jobs.retry(id).await?,
        "cancel" => jobs.cancel(id).await?,
        "drop" => jobs.drop(id).await?,
        _ => return Err(messenger_axum::not_found().await),
    };
    tracing::info!(%id, change, "an operator changed a job");
    Ok(StatusCode::NO_CONTENT)
}

async fn change_kind(
    State(jobs): State<Jobs>,
    Path((kind, change)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let kind = kind_of(&kind)?;
    let paused = match change.as_str() {
        "pause" => true,
        "resume" => false,
        _ => return Err(messenger_axum::not_found().await),
    };
    if paused {
        jobs.pause(&kind).await?;
    } else {
        jobs.resume(&kind).await?;
    }
    tracing::info!(%kind, paused, "an operator changed a kind of jobs");
    Ok(Json(json!({ "kind": kind.as_str(), "paused": paused })).into_response())
}

fn id_of(text: &str) -> Result<JobId, Error> {
    JobId::from_str(text).map_err(|_| Error::NotFound("job"))
}

fn kind_of(text: &str) -> Result<JobKind, Error> {
    JobKind::from_str(text).map_err(|error| Error::invalid("kind", error.to_string()))
}
