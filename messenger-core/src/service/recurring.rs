//! The service's own jobs that recur: removing what is no longer needed.

use std::{future::Future, sync::Arc, time::Duration};

use crate::{
    context::Context,
    jobs::{JobError, JobResult, JobSettings, Recurring, Registration, Retry, Schedule},
    ports::{Content, JobPriority, Store, StoreResult},
};

/// Time between two removals.
const INTERVAL: Duration = Duration::from_secs(600);
/// Maximum number of rows removed in one transaction.
const AT_ONCE: usize = 500;
/// The next one makes up for what was not removed.
const RETRY: Retry = Retry { max_attempts: 3, ..Retry::DEFAULT };

/// All of them, with their schedules.
pub(super) fn all(
    store: &Arc<dyn Store>,
    context: &Context,
    settings: &JobSettings,
) -> Vec<(Registration, Recurring)> {
    let keep = settings.keep_done;
    let sessions = removing("messenger.tidy-sessions", store, context, move |store, context| async move {
        store.remove_expired_sessions(context.now(), AT_ONCE).await
    });
    let jobs = removing("messenger.prune-jobs", store, context, move |store, context| async move {
        store.prune_jobs(context.now().before(keep), AT_ONCE).await
    });
    [sessions, jobs].into_iter().flatten().collect()
}

/// A job that removes some until there are none left. The name is that of its kind and of its schedule.
fn removing<Fut>(
    name: &'static str,
    store: &Arc<dyn Store>,
    context: &Context,
    remove: impl Fn(Arc<dyn Store>, Context) -> Fut + Clone + Send + Sync + 'static,
) -> Option<(Registration, Recurring)>
where
    Fut: Future<Output = StoreResult<usize>> + Send,
{
    let (store, context) = (Arc::clone(store), context.clone());
    let handler = move |_| {
        let (store, context, remove) = (Arc::clone(&store), context.clone(), remove.clone());
        Box::pin(async move { remove_all(|| remove(Arc::clone(&store), context.clone())).await }) as _
    };
    let kind: crate::ports::JobKind = name.parse().ok()?;
    let registration = Registration {
        kind: kind.clone(),
        retry: RETRY,
        timeout: INTERVAL,
        parallel: 1,
        handler: Arc::new(handler),
    };
    let recurring = Recurring {
        name: name.parse().ok()?,
        schedule: Schedule::every(INTERVAL),
        kind,
        payload: Content::from("{}"),
        priority: JobPriority::Low,
        max_attempts: RETRY.max_attempts,
    };
    Some((registration, recurring))
}

async fn remove_all<Fut: Future<Output = StoreResult<usize>>>(remove: impl Fn() -> Fut) -> JobResult {
    while remove().await.map_err(JobError::from)? == AT_ONCE {}
    Ok(())
}
