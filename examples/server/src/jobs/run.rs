//! Does what `messenger-server jobs` is asked for, on the store, without a server.

use messenger_core::{
    Error, JobId, Messenger,
    jobs::Jobs,
    ports::{JobCounts, JobKind},
};
use serde::Serialize;
use serde_json::json;

use super::{
    cli::{Action, Change, JobsCommand},
    text,
    view::{CountsView, JobDetail, JobLine},
};
use crate::{config::Config, error::ServerError, store};

/// Answers what is to be printed.
pub(crate) async fn run(config: &Config, command: &JobsCommand) -> Result<String, ServerError> {
    let store = store::open_beside(config).await?.store;
    let messenger = Messenger::builder(store).workers(false).build().map_err(ServerError::start)?;
    let answer = act(&messenger.jobs(), &command.action, command.json).await;
    messenger.close().await;
    answer
}

async fn act(jobs: &Jobs, action: &Action, json: bool) -> Result<String, ServerError> {
    match action {
        Action::Counts => {
            let counts = jobs.counts().await.map_err(ServerError::JobsUnreachable)?;
            let counts: Vec<CountsView> = counts.into_iter().map(Into::into).collect();
            if json { in_json(&counts) } else { Ok(text::counts(&counts)) }
        }
        Action::List { filter, before, limit } => {
            let found = jobs.list(filter, *before, *limit).await.map_err(ServerError::JobsUnreachable)?;
            let lines: Vec<JobLine> = found.into_iter().map(Into::into).collect();
            if json { in_json(&lines) } else { Ok(text::list(&lines)) }
        }
        Action::Show(id) => {
            let job = JobDetail::from(jobs.get(*id).await.map_err(|error| refused(*id, error))?);
            if json { in_json(&job) } else { Ok(text::detail(&job)) }
        }
        Action::Change(change, id) => {
            let said = changed(jobs, *change, *id).await.map_err(|error| refused(*id, error))?;
            if json {
                in_json(&json!({ "id": id, "done": said }))
            } else {
                Ok(format!("The job {id} {said}.\n"))
            }
        }
        Action::Pause(kind) => paused(jobs, kind, true, json).await,
        Action::Resume(kind) => paused(jobs, kind, false, json).await,
    }
}

async fn changed(jobs: &Jobs, change: Change, id: JobId) -> Result<&'static str, Error> {
    match change {
        Change::Retry => jobs.retry(id).await.map(|_| "is due now, with all its attempts"),
        Change::Cancel => jobs.cancel(id).await.map(|_| "was cancelled"),
        Change::Drop => jobs.drop(id).await.map(|_| "was removed"),
    }
}

async fn paused(jobs: &Jobs, kind: &JobKind, paused: bool, json: bool) -> Result<String, ServerError> {
    let done = if paused { jobs.pause(kind).await } else { jobs.resume(kind).await };
    done.map_err(ServerError::JobsUnreachable)?;
    if json {
        return in_json(&json!({ "kind": kind.as_str(), "paused": paused }));
    }
    let counts = jobs.counts().await.map_err(ServerError::JobsUnreachable)?;
    let is_known = |of: &JobCounts| {
        of.kind == *kind && JobCounts { paused: false, ..of.clone() } != JobCounts::none(kind.clone())
    };
    let said = if paused { "is paused" } else { "is not paused" };
    // A slip in a name would otherwise go unnoticed.
    let known = if counts.iter().any(is_known) { "" } else { "; there are no jobs of it at present" };
    Ok(format!("The kind {kind} {said}{known}.\n"))
}

fn refused(id: JobId, error: Error) -> ServerError {
    match error {
        Error::NotFound(_) => ServerError::Jobs(format!(
            "There is no job {id}; `messenger-server jobs list` shows what there is."
        )),
        Error::Forbidden(reason) => ServerError::Jobs(reason.to_owned()),
        other => ServerError::JobsUnreachable(other),
    }
}

fn in_json(value: &impl Serialize) -> Result<String, ServerError> {
    let text = serde_json::to_string_pretty(value).map_err(ServerError::start)?;
    Ok(format!("{text}\n"))
}
