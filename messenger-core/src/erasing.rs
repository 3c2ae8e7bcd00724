//! The background job that finishes erasures which were broken off.

use std::{sync::Arc, time::Duration};

use crate::{
    commands::{ERASE_USER, RETRIES, Remains},
    error::{Error, Result},
    jobs::{Home, JobError, JobResult, Registration, Retry},
    messenger::WeakMessenger,
    ports::ClaimedJob,
};

/// An attempt that takes longer is broken off: what it has erased stays so, and the next one goes on.
const TIMEOUT: Duration = Duration::from_secs(3600);
const RETRY: Retry = Retry { max_attempts: RETRIES, ..Retry::DEFAULT };

/// How these jobs are done.
pub(crate) fn registration(home: &Home) -> Result<Registration> {
    let home = Arc::clone(home);
    Ok(Registration {
        kind: ERASE_USER.parse().map_err(Error::internal)?,
        retry: RETRY,
        timeout: TIMEOUT,
        parallel: 2,
        handler: Arc::new(move |claimed| Box::pin(finish(Arc::clone(&home), claimed))),
    })
}

async fn finish(home: Home, claimed: ClaimedJob) -> JobResult {
    let remains: Remains = serde_json::from_slice(&claimed.payload.0)?;
    let messenger = home.get().and_then(WeakMessenger::upgrade).ok_or_else(Error::unavailable)?;
    match messenger.accounts().finish_erasing(remains.user).await {
        // No other attempt would change that.
        Err(error @ Error::NotFound(_)) => Err(JobError::dead(error)),
        finished => Ok(finished?),
    }
}
