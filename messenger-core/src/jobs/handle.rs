use std::{fmt, future::IntoFuture, sync::Arc, time::Duration};

use futures::future::BoxFuture;

use super::{
    engine::{Held, Wake},
    job::Job,
    settings::JobSettings,
};
use crate::{
    context::Context,
    domain::{ChatId, JobId, Timestamp},
    error::{Error, OrNotFound as _, Result},
    lanes::{LaneLimits, Lanes},
    ports::{
        Content, Enqueued, JobChange, JobCounts, JobFilter, JobKind, JobPriority, JobRecord, JobState,
        NewJob, ScheduleName, ScheduleRecord, Store, StoreError, StoreErrorKind, StoreResult, UniqueJob,
    },
    tasks::TaskGroup,
};

/// Maximum length of a payload, in bytes of JSON.
const PAYLOAD: usize = 256 << 10;
/// Maximum number of jobs that are enqueued in one step.
const AT_ONCE: usize = 1000;
/// Maximum length of a payload with which a job is stored in one commit with others, so that a batch stays small.
const SMALL_PAYLOAD: usize = 16 << 10;
/// Maximum number of jobs in a list.
const PAGE: usize = 100;

/// The background jobs of a service: to enqueue some, and to see and change what there is.
///
/// Cheap to clone. Who holds it may do all of it; it is meant for the host and for those who operate the service, and
/// not for people who chat.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use std::{sync::Arc, time::Duration};
/// use messenger_core::{Messenger, jobs::{Job, JobCx}, memory::MemoryStore, ports::{JobFilter, JobState}};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct SendInvoice {
///     number: u32,
/// }
/// impl Job for SendInvoice {
///     const KIND: &'static str = "invoices.send";
/// }
///
/// let (sent, mut invoices) = tokio::sync::mpsc::channel(8);
/// let messenger = Messenger::builder(Arc::new(MemoryStore::new()))
///     .job(move |invoice: SendInvoice, _cx: JobCx| {
///         let sent = sent.clone();
///         async move { Ok(sent.send(invoice.number).await?) }
///     })
///     .build()?;
///
/// let jobs = messenger.jobs();
/// let first = jobs.enqueue(SendInvoice { number: 7 }).once("invoice 7").await?;
/// assert_eq!(invoices.recv().await, Some(7));
///
/// // One that waits for another, and for its time.
/// let later = jobs.enqueue(SendInvoice { number: 8 }).after(first.id).delay(Duration::from_secs(3600)).await?;
/// jobs.cancel(later.id).await?;
/// assert_eq!(jobs.get(later.id).await?.state, JobState::Cancelled);
/// let cancelled = JobFilter { state: Some(JobState::Cancelled), ..JobFilter::default() };
/// assert_eq!(jobs.list(&cancelled, None, 10).await?.len(), 1);
/// messenger.close().await;
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Jobs(Arc<Parts>);

struct Parts {
    store: Arc<dyn Store>,
    context: Context,
    wake: Arc<Wake>,
    held: Arc<Held>,
    /// Jobs that are enqueued one by one: those that wait for a commit are the next.
    enqueuing: Lanes<NewJob, Enqueued>,
    /// How long it takes at most until who does a job has heard that it was cancelled.
    lease: Duration,
}

impl Jobs {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        context: Context,
        settings: &JobSettings,
        limits: LaneLimits,
        tasks: &TaskGroup,
    ) -> Self {
        let lease = settings.clone().clamped().lease;
        let enqueuing = {
            let store = Arc::clone(&store);
            Lanes::start(LaneLimits { lanes: 1, ..limits }, tasks, move |_, jobs: Arc<[NewJob]>| {
                let store = Arc::clone(&store);
                async move { Ok(store.enqueue_jobs(&jobs).await?.into_iter().map(Ok).collect()) }
            })
        };
        let (wake, held) = (Arc::default(), Arc::default());
        Self(Arc::new(Parts { store, context, wake, held, enqueuing, lease }))
    }

    pub(crate) fn wake(&self) -> Arc<Wake> {
        Arc::clone(&self.0.wake)
    }

    pub(crate) fn held(&self) -> Arc<Held> {
        Arc::clone(&self.0.held)
    }

    /// Enqueues a job, which is due at once unless the answer says otherwise. It is stored when the answer is awaited.
    #[expect(clippy::needless_pass_by_value, reason = "a job is given away when it is enqueued")]
    pub fn enqueue<J: Job>(&self, job: J) -> Enqueue {
        Enqueue { new: self.new_job(&job), jobs: self.clone() }
    }

    /// Enqueues several jobs in one step, at most 1,000: all or none, but for those whose key is in use. Answers in
    /// order.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use messenger_core::{Messenger, jobs::Job};
    /// # #[derive(serde::Serialize, serde::Deserialize)]
    /// # struct Remind { user: u32 }
    /// # impl Job for Remind { const KIND: &'static str = "remind"; }
    /// let jobs = Messenger::in_memory().jobs();
    /// let reminders = (1..=3).map(|user| jobs.enqueue(Remind { user }).once(format!("remind {user}")));
    /// assert!(jobs.enqueue_all(reminders).await?.iter().all(|job| job.created));
    /// # Ok::<(), messenger_core::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] if one of them is too long or has a key that is none, or if they are too many;
    /// [`Error::Unavailable`], and then they may be stored all the same.
    pub async fn enqueue_all(&self, jobs: impl IntoIterator<Item = Enqueue>) -> Result<Vec<EnqueuedJob>> {
        let new: Vec<NewJob> = jobs.into_iter().map(|job| job.new).collect::<Result<_>>()?;
        if new.len() > AT_ONCE {
            return Err(Error::invalid("jobs", format!("At most {AT_ONCE} are enqueued at once.")));
        }
        let answers = self.enqueue_new(&new).await?;
        Ok(new.iter().zip(answers).map(|(job, enqueued)| EnqueuedJob::of(job, enqueued)).collect())
    }

    /// Stores jobs, and lets the workers of this node know of them.
    pub(crate) async fn enqueue_new(&self, new: &[NewJob]) -> StoreResult<Vec<Enqueued>> {
        let answer = self.0.store.enqueue_jobs(new).await;
        // Also when the answer was lost: they may be stored.
        self.note(new);
        answer
    }

    /// Lets the workers of this node know of jobs that may have been stored.
    pub(crate) fn note(&self, new: &[NewJob]) {
        for job in new {
            if let Some(other) = job.after {
                self.0.wake.note_after(other, &job.kind);
            }
            self.0.wake.note(&job.kind, job.run_at);
        }
    }

    async fn enqueue_one(&self, job: NewJob) -> Result<EnqueuedJob> {
        let answer = self.store_one(&job).await;
        self.note(std::slice::from_ref(&job));
        Ok(EnqueuedJob::of(&job, answer?))
    }

    /// Stores a job in one commit with others that are enqueued meanwhile. One that others may be in the way of is stored
    /// alone, because they would wait for it.
    async fn store_one(&self, job: &NewJob) -> Result<Enqueued> {
        let is_plain = job.unique.is_none() && job.after.is_none();
        if is_plain && job.payload.0.len() <= SMALL_PAYLOAD {
            let place = ChatId::from_bytes(*job.id.as_bytes());
            // Refused where the service has ended before this handle.
            if let Ok(placed) = self.0.enqueuing.place(place, job.clone()).await {
                return placed.answer().await;
            }
        }
        let answers = self.0.store.enqueue_jobs(std::slice::from_ref(job)).await?;
        answers.into_iter().next().ok_or_else(|| Error::internal("the store gave no answer"))
    }

    fn new_job<J: Job>(&self, job: &J) -> Result<NewJob> {
        let kind = J::KIND.parse::<JobKind>().map_err(Error::internal)?;
        let created_at = self.0.context.now();
        Ok(NewJob {
            id: self.0.context.id(),
            kind,
            payload: payload_of(job)?,
            priority: J::PRIORITY,
            run_at: created_at,
            max_attempts: J::RETRY.max_attempts.max(1),
            unique: None,
            after: None,
            created_at,
        })
    }

    /// A job by its id.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none, or none any more; [`Error::Unavailable`].
    pub async fn get(&self, id: JobId) -> Result<JobRecord> {
        self.0.store.job(id).await.or_not_found(|| Error::NotFound("job"))
    }

    /// Jobs, the newest first, those before `before` if it is given: at most `limit`, of which there can be
    /// 100, because each comes with what it is about: 25 MiB at most.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn list(
        &self,
        filter: &JobFilter,
        before: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<JobRecord>> {
        Ok(self.0.store.jobs(filter, before, limit.min(PAGE)).await?)
    }

    /// Puts a job back that has ended, with all its attempts, or lets one that waits be due now. Returns it as it was.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Forbidden`] if it is at work, waits for another, if its key is in use, or if it was
    /// cancelled so lately that another node may not have heard of it; [`Error::Unavailable`].
    pub async fn retry(&self, id: JobId) -> Result<JobRecord> {
        const NOT_NOW: &str = "A job that is at work, or waits for another one, can't be put back.";
        const NOT_YET: &str =
            "The job was cancelled a moment ago, and may still be at work; try again later.";
        // Looked at before the store changes it, and not by the store under its lock. Between both a node would have to
        // claim the job and somebody to cancel it, so that this puts back what that node is still at; it hears so when it
        // renews its lease, after a third of that, and until then another may be at the same job. That is as when a
        // handler is not dropped in time, for which handlers are made: what the first one stores changes nothing, since
        // its claim has an older number.
        let JobRecord { state, attempt, ended_at, .. } = self.get(id).await?;
        let heard = ended_at.map(|ended| ended.after(self.0.lease));
        if state == JobState::Cancelled && attempt > 0 && heard > Some(self.0.context.now()) {
            return Err(Error::Forbidden(NOT_YET));
        }
        let before = self.change(id, JobChange::Retry, NOT_NOW).await?;
        self.0.wake.note(&before.kind, self.0.context.now());
        Ok(before)
    }

    /// Ends a job that has not ended, and those that wait for it. What is at work on it is dropped: on this node at
    /// once, on others when they renew their lease. Returns it as it was.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Forbidden`] if it has ended; [`Error::Unavailable`].
    pub async fn cancel(&self, id: JobId) -> Result<JobRecord> {
        let before = self.change(id, JobChange::Cancel, "The job has ended.").await?;
        self.0.held.cancelled(id);
        Ok(before)
    }

    /// Removes a job that is not at work; those that wait for it are cancelled. Returns it as it was.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Forbidden`] if it is at work; [`Error::Unavailable`].
    pub async fn drop(&self, id: JobId) -> Result<JobRecord> {
        self.change(id, JobChange::Drop, "The job is at work; cancel it first.").await
    }

    async fn change(&self, id: JobId, change: JobChange, not_now: &'static str) -> Result<JobRecord> {
        let changed = self.0.store.change_job(id, change, self.0.context.now()).await;
        changed.map_err(|error: StoreError| match error.kind() {
            StoreErrorKind::NotFound => Error::NotFound("job"),
            StoreErrorKind::Conflict => Error::Forbidden(not_now),
            StoreErrorKind::AlreadyExists(_) => {
                Error::Forbidden("A job with the same key has been enqueued since.")
            }
            _ => error.into(),
        })
    }

    /// Lets no node begin a job of this kind until it is [resumed](Self::resume). What is at work goes on.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn pause(&self, kind: &JobKind) -> Result<()> {
        Ok(self.0.store.pause_jobs(kind, true).await?)
    }

    /// Ends a [pause](Self::pause).
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn resume(&self, kind: &JobKind) -> Result<()> {
        self.0.store.pause_jobs(kind, false).await?;
        self.0.wake.note(kind, self.0.context.now());
        Ok(())
    }

    /// How many jobs there are of each kind, and which kinds are paused.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn counts(&self) -> Result<Vec<JobCounts>> {
        Ok(self.0.store.job_counts(self.0.context.now()).await?)
    }

    /// The schedules of jobs that recur.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn schedules(&self) -> Result<Vec<ScheduleRecord>> {
        Ok(self.0.store.schedules().await?)
    }

    /// Forgets a schedule, and tells whether there was one. A node that has it among [those it was built
    /// with](crate::Builder::recurring) makes it anew within a minute.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn remove_schedule(&self, name: &ScheduleName) -> Result<bool> {
        Ok(self.0.store.remove_schedule(name).await?)
    }
}

/// A job as it is stored.
pub(super) fn payload_of<J: Job>(job: &J) -> Result<Content> {
    let payload = serde_json::to_vec(job).map_err(Error::internal)?;
    if payload.len() > PAYLOAD {
        return Err(Error::invalid("payload", format!("It has more than {PAYLOAD} bytes.")));
    }
    Ok(Content(payload))
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jobs").finish_non_exhaustive()
    }
}

/// What became of a job that was to be enqueued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnqueuedJob {
    /// The id of the job; with a [key](Enqueue::once) that is in use, of the job that has it.
    pub id: JobId,
    /// Whether this call has created it.
    pub created: bool,
}

impl EnqueuedJob {
    fn of(job: &NewJob, enqueued: Enqueued) -> Self {
        match enqueued {
            Enqueued::New => Self { id: job.id, created: true },
            Enqueued::Existing(id) => Self { id, created: false },
        }
    }
}

/// A job that is about to be enqueued; awaiting it does that, in one commit with those that are enqueued meanwhile.
///
/// # Errors
/// [`Error::Invalid`] if the payload is longer than 256 KiB or the key is none; [`Error::Unavailable`], and then it may
/// be stored all the same: who asks again with the same key gets one job.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # use std::time::Duration;
/// # use messenger_core::{Messenger, jobs::Job, ports::JobPriority};
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// # struct Remind { user: u32 }
/// # impl Job for Remind { const KIND: &'static str = "remind"; }
/// let jobs = Messenger::in_memory().jobs();
/// let remind = || jobs.enqueue(Remind { user: 7 }).delay(Duration::from_secs(60)).priority(JobPriority::High);
/// let first = remind().once("user 7").await?;
/// let again = remind().once("user 7").await?;
/// assert_eq!((again.id, again.created), (first.id, false));
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[must_use = "it is enqueued when it is awaited"]
#[derive(Debug)]
pub struct Enqueue {
    new: Result<NewJob>,
    jobs: Jobs,
}

impl Enqueue {
    /// It is due at this time.
    pub fn at(self, time: Timestamp) -> Self {
        self.with(|new| {
            new.run_at = time;
            Ok(())
        })
    }

    /// It is due after this time.
    pub fn delay(self, time: Duration) -> Self {
        self.with(|new| {
            new.run_at = new.created_at.after(time);
            Ok(())
        })
    }

    /// It is due when this other job has been done. Where that is not known, as if it had been done; where it was
    /// cancelled, this one is, too; where it failed for good, this one waits for it to be put back or dropped.
    pub fn after(self, other: JobId) -> Self {
        self.with(|new| {
            new.after = Some(other);
            Ok(())
        })
    }

    /// It is not enqueued while there is a job of its kind with this key that has not ended. The key is 1 to 200
    /// characters of ASCII.
    pub fn once(self, key: impl Into<String>) -> Self {
        self.unique(key.into(), None)
    }

    /// As [`once`](Self::once), and neither if one that was enqueued in this time up to now has been done.
    pub fn once_within(self, key: impl Into<String>, time: Duration) -> Self {
        self.unique(key.into(), Some(time))
    }

    fn unique(self, key: String, time: Option<Duration>) -> Self {
        self.with(|new| {
            if !(1..=200).contains(&key.len()) || !key.is_ascii() {
                return Err(Error::invalid("key", "It must be 1 to 200 characters of ASCII."));
            }
            new.unique = Some(UniqueJob { key, since: time.map(|time| new.created_at.before(time)) });
            Ok(())
        })
    }

    /// How urgent it is among those of its kind, in place of what the [kind](Job::PRIORITY) says.
    pub fn priority(self, priority: JobPriority) -> Self {
        self.with(|new| {
            new.priority = priority;
            Ok(())
        })
    }

    /// How often it is tried at most, in place of what the [kind](Job::RETRY) says; at least 1.
    pub fn max_attempts(self, max_attempts: u32) -> Self {
        self.with(|new| {
            new.max_attempts = max_attempts.max(1);
            Ok(())
        })
    }

    /// The job as a store takes it, not enqueued: for one that is stored together with something else.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn into_new_job(self) -> Result<NewJob> {
        self.new
    }

    fn with(mut self, set: impl FnOnce(&mut NewJob) -> Result<()>) -> Self {
        self.new = self.new.and_then(|mut new| set(&mut new).map(|()| new));
        self
    }
}

impl IntoFuture for Enqueue {
    type Output = Result<EnqueuedJob>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.jobs.enqueue_one(self.new?).await })
    }
}
