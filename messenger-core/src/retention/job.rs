//! The background job that purges what is overdue.

use std::{sync::Arc, time::Duration};

use crate::{
    error::{Error, Result},
    jobs::{Home, JobResult, Recurring, Registration, Retry, Schedule},
    messenger::WeakMessenger,
    ports::{Content, JobPriority},
};

/// The name of the kind, and of its schedule.
const NAME: &str = "messenger.purge";
/// The time between two runs; one that takes longer is not overtaken by the next one.
const INTERVAL: Duration = Duration::from_secs(300);
/// An attempt that takes longer is broken off: what it has purged stays so, and the next one goes on.
const TIMEOUT: Duration = Duration::from_secs(3600);
/// The next one makes up for what was not purged.
const RETRY: Retry = Retry { max_attempts: 3, ..Retry::DEFAULT };

/// How these jobs are done.
pub(crate) fn registration(home: &Home) -> Result<Registration> {
    let home = Arc::clone(home);
    Ok(Registration {
        kind: NAME.parse().map_err(Error::internal)?,
        retry: RETRY,
        timeout: TIMEOUT,
        parallel: 1,
        handler: Arc::new(move |_| Box::pin(purge(Arc::clone(&home)))),
    })
}

/// When they are done.
pub(crate) fn recurring() -> Result<Recurring> {
    Ok(Recurring {
        name: NAME.parse().map_err(Error::internal)?,
        schedule: Schedule::every(INTERVAL),
        kind: NAME.parse().map_err(Error::internal)?,
        payload: Content::from("{}"),
        priority: JobPriority::Low,
        max_attempts: RETRY.max_attempts,
    })
}

async fn purge(home: Home) -> JobResult {
    let messenger = home.get().and_then(WeakMessenger::upgrade).ok_or_else(Error::unavailable)?;
    messenger.retention().purge().await?;
    Ok(())
}
