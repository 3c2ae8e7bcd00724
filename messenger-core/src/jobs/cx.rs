use std::sync::{Arc, OnceLock};

use super::{
    JobError, JobResult,
    engine::{Handler, Recurring, Registration},
    handle::payload_of,
    job::Job,
    schedule::Schedule,
};
use crate::{
    domain::{JobId, Timestamp},
    error::{Error, Result},
    messenger::{Messenger, WeakMessenger},
    ports::{ClaimedJob, JobKind},
};

/// What a handler is told of the attempt that it is.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use std::sync::Arc;
/// use messenger_core::{Actor, Messenger, UserId, jobs::{Job, JobCx}, memory::MemoryStore, queries::GetMe};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Greet {
///     user: UserId,
/// }
/// impl Job for Greet {
///     const KIND: &'static str = "greet";
/// }
///
/// let builder = Messenger::builder(Arc::new(MemoryStore::new())).job(|greet: Greet, cx: JobCx| async move {
///     let me = cx.messenger()?.query(&Actor::on_behalf_of(greet.user), GetMe {}).await?;
///     println!("{}, attempt {}: good morning, {}", cx.id, cx.attempt, me.user.username.as_str());
///     Ok(())
/// });
/// # builder.build()?;
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct JobCx {
    /// The id of the job: the same in each attempt, so that what is done outside can be made to happen once.
    pub id: JobId,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// How many there are.
    pub max_attempts: u32,
    /// When it was due. Of a job that recurs, the time of its schedule.
    pub due_at: Timestamp,
    /// When it was enqueued.
    pub created_at: Timestamp,
    home: Home,
}

impl JobCx {
    /// The service that does the job.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if nobody has it any more.
    pub fn messenger(&self) -> Result<Messenger> {
        self.home.get().and_then(WeakMessenger::upgrade).ok_or_else(Error::unavailable)
    }
}

/// The service that handlers belong to, once it is there.
pub(crate) type Home = Arc<OnceLock<WeakMessenger>>;

/// How jobs of this kind are done.
pub(crate) fn registration<J, F, Fut>(handler: F, home: &Home) -> Result<Registration>
where
    J: Job,
    F: Fn(J, JobCx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = JobResult> + Send + 'static,
{
    Ok(Registration {
        kind: host_kind::<J>()?,
        retry: J::RETRY,
        timeout: J::TIMEOUT,
        parallel: J::PARALLEL,
        handler: erased(handler, Arc::clone(home)),
    })
}

/// A job of this kind that recurs.
pub(crate) fn recurring<J: Job>(name: &str, schedule: Schedule, job: &J) -> Result<Recurring> {
    Ok(Recurring {
        name: name.parse().map_err(Error::internal)?,
        schedule,
        kind: host_kind::<J>()?,
        payload: payload_of(job)?,
        priority: J::PRIORITY,
        max_attempts: J::RETRY.max_attempts.max(1),
    })
}

fn host_kind<J: Job>() -> Result<JobKind> {
    let kind: JobKind = J::KIND.parse().map_err(Error::internal)?;
    if kind.as_str().starts_with("messenger.") {
        return Err(Error::internal(format!("kinds of jobs such as `{kind}` are the service's own")));
    }
    Ok(kind)
}

fn erased<J, F, Fut>(handler: F, home: Home) -> Handler
where
    J: Job,
    F: Fn(J, JobCx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = JobResult> + Send + 'static,
{
    Arc::new(move |claimed: ClaimedJob| {
        let payload = serde_json::from_slice::<J>(&claimed.payload.0);
        let cx = JobCx {
            id: claimed.claim.job,
            attempt: claimed.attempt,
            max_attempts: claimed.max_attempts,
            due_at: claimed.run_at,
            created_at: claimed.created_at,
            home: Arc::clone(&home),
        };
        match payload {
            Ok(job) => Box::pin(handler(job, cx)),
            Err(error) => Box::pin(std::future::ready(Err(unreadable(&error)))),
        }
    })
}

/// Another node may be of a release that can read it. What the error says may quote what is in the payload.
fn unreadable(error: &serde_json::Error) -> JobError {
    JobError::failed(format!("the payload can't be read, at its byte {}", error.column()))
}
