use std::{fmt, sync::Arc};

use crate::{
    context::Context,
    domain::{Limits, RetentionPeriod},
    erasing,
    error::{Error, Result},
    jobs::{self, Home, Job, JobCx, JobResult, Recurring, Registration, Schedule},
    memory::{MemoryBus, MemoryPresence, MemoryStore},
    messenger::Messenger,
    notify::{Notifications, NotifySettings},
    passwords::PasswordCost,
    policy::{Policy, PolicyGate},
    ports::{Bus, Notifier, PresenceStore, Store},
    retention,
    service::{Parts, Service, Work},
    settings::Settings,
    stores::InstrumentedStore,
};

/// Configures and builds a [`Messenger`].
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use std::sync::Arc;
/// use messenger_core::{Limits, Messenger, memory::MemoryStore};
///
/// let messenger = Messenger::builder(Arc::new(MemoryStore::new()))
///     .limits(Limits { members: 50, ..Limits::default() })
///     .build()?;
/// assert_eq!(messenger.limits().members, 50);
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
pub struct Builder {
    store: Arc<dyn Store>,
    presence: Option<Arc<dyn PresenceStore>>,
    bus: Option<Arc<dyn Bus>>,
    policy: Option<Arc<dyn Policy>>,
    context: Context,
    limits: Limits,
    settings: Settings,
    instrument_store: bool,
    workers: bool,
    home: Home,
    jobs: Vec<Result<Registration>>,
    recurring: Vec<Result<Recurring>>,
    notifications: Option<Notifications>,
    retention: Option<RetentionPeriod>,
}

impl Messenger {
    /// A service that keeps everything in memory: for experiments and tests.
    ///
    /// # Panics
    /// Panics outside a tokio runtime, which runs its tasks.
    pub fn in_memory() -> Self {
        let settings = Settings {
            password_cost: PasswordCost { memory_kib: 64, passes: 1, ..PasswordCost::default() },
            ..Settings::default()
        };
        #[expect(clippy::expect_used, reason = "building fails for an impossible password cost only")]
        Self::builder(Arc::new(MemoryStore::new())).settings(settings).build().expect("the cost is possible")
    }

    /// Builds a service on this store; presence and bus are within the process, unless others are given.
    pub fn builder(store: Arc<dyn Store>) -> Builder {
        Builder::new(store)
    }
}

impl Builder {
    fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            presence: None,
            bus: None,
            policy: None,
            context: Context::system(),
            limits: Limits::default(),
            settings: Settings::default(),
            instrument_store: false,
            workers: true,
            home: Home::default(),
            jobs: Vec::new(),
            recurring: Vec::new(),
            notifications: None,
            retention: None,
        }
    }

    /// Uses a presence that several nodes share.
    #[must_use]
    pub fn presence(mut self, presence: Arc<dyn PresenceStore>) -> Self {
        self.presence = Some(presence);
        self
    }

    /// Uses a bus between several nodes, which must also share a [presence](Self::presence).
    #[must_use]
    pub fn bus(mut self, bus: Arc<dyn Bus>) -> Self {
        self.bus = Some(bus);
        self
    }

    /// Uses the host's policy.
    #[must_use]
    pub fn policy(mut self, policy: Arc<dyn Policy>) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Uses another source of time, ids and randomness than the system.
    #[must_use]
    pub fn context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// Uses other limits than the default ones.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Uses other settings than the default ones.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Keeps messages for no longer than this: those that are older are purged by a background job, as
    /// [`Retention`](crate::Retention) describes. All nodes have the same period. Without it they are kept for good, except in
    /// groups that have a period of their own.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use std::sync::Arc;
    /// use messenger_core::{Messenger, RetentionPeriod, memory::MemoryStore};
    ///
    /// let year = RetentionPeriod::from_secs(365 * 86_400)?;
    /// let messenger = Messenger::builder(Arc::new(MemoryStore::new())).retention(year).build()?;
    /// assert_eq!(messenger.retention().period(), Some(year));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    #[must_use]
    pub const fn retention(mut self, period: RetentionPeriod) -> Self {
        self.retention = Some(period);
        self
    }

    /// Measures every intent of the store, as [`InstrumentedStore`] describes. Off by default.
    #[must_use]
    pub const fn instrument_store(mut self, on: bool) -> Self {
        self.instrument_store = on;
        self
    }

    /// Does jobs of a kind: `handler` is called for each attempt.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use std::sync::Arc;
    /// use messenger_core::{Messenger, jobs::{Job, JobCx}, memory::MemoryStore};
    ///
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Resize {
    ///     picture: u64,
    /// }
    /// impl Job for Resize {
    ///     const KIND: &'static str = "pictures.resize";
    /// }
    /// async fn resize(job: Resize, cx: JobCx) -> messenger_core::jobs::JobResult {
    ///     Ok(println!("{} is resized by {}", job.picture, cx.id))
    /// }
    ///
    /// let messenger = Messenger::builder(Arc::new(MemoryStore::new())).job(resize).build()?;
    /// messenger.jobs().enqueue(Resize { picture: 7 }).await?;
    /// # Ok::<(), messenger_core::Error>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn job<J, F, Fut>(mut self, handler: F) -> Self
    where
        J: Job,
        F: Fn(J, JobCx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = JobResult> + Send + 'static,
    {
        self.jobs.push(jobs::registration(handler, &self.home));
        self
    }

    /// Enqueues this job at each time of a schedule: over all nodes once, and once for all times that were missed. While
    /// one has not ended, no other is enqueued. The schedule is kept in the store by its name, of 1 to 64 of the
    /// characters `a` to `z`, `0` to `9`, `.`, `-` and `_`.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use std::sync::Arc;
    /// use messenger_core::{Messenger, jobs::{Job, JobCx, Schedule}, memory::MemoryStore};
    ///
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Report {}
    /// impl Job for Report {
    ///     const KIND: &'static str = "report";
    /// }
    ///
    /// let messenger = Messenger::builder(Arc::new(MemoryStore::new()))
    ///     .job(|_: Report, cx: JobCx| async move { Ok(println!("the report of {}", cx.due_at)) })
    ///     .recurring("nightly", Schedule::cron("0 3 * * *", "Europe/Berlin")?, &Report {})
    ///     .build()?;
    /// # messenger.close().await;
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn recurring<J: Job>(mut self, name: &str, schedule: Schedule, job: &J) -> Self {
        self.recurring.push(jobs::recurring(name, schedule, job));
        self
    }

    /// Tells people outside of the chat, by mail or whatever else the notifier does: of what they have not read, and about their
    /// accounts. All nodes have the same settings, also those without [workers](Self::workers). Without it nobody is told.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use std::sync::Arc;
    /// use messenger_core::{
    ///     LinkKeys, Messenger, PublicUrl, memory::{MemoryNotifier, MemoryStore}, notify::NotifySettings,
    /// };
    ///
    /// let url = PublicUrl::parse("https://chat.example.org").unwrap();
    /// let settings = NotifySettings::new(LinkKeys::new(&[7; 32]).unwrap(), url);
    /// let messenger = Messenger::builder(Arc::new(MemoryStore::new()))
    ///     .notifier(Arc::new(MemoryNotifier::new()), settings)
    ///     .build()?;
    /// # messenger.close().await;
    /// # Ok::<(), messenger_core::Error>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn notifier(mut self, notifier: Arc<dyn Notifier>, settings: NotifySettings) -> Self {
        self.notifications = Some(Notifications::new(notifier, settings));
        self
    }

    /// Whether this node does background jobs, its own and the host's; without, it only enqueues them, and another node
    /// on the same store must do them. On by default.
    #[must_use]
    pub const fn workers(mut self, on: bool) -> Self {
        self.workers = on;
        self
    }

    /// Starts the service.
    ///
    /// # Errors
    /// [`Error::Internal`] for a password cost that Argon2 does not allow, for a bus without a presence, and for kinds
    /// of jobs and schedules that have a name that is none, or the same name.
    ///
    /// # Panics
    /// Panics outside a tokio runtime, which runs the service's tasks until [`Messenger::close`].
    pub fn build(self) -> Result<Messenger> {
        let Self { store, presence, bus, policy, context, limits, settings, instrument_store, .. } = self;
        let Self { workers, home, jobs, recurring, notifications, retention: kept, .. } = self;
        let settings = Settings { retention: kept.or(settings.retention), ..settings };
        let notifications = notifications.map(Arc::new);
        let store = if instrument_store { Arc::new(InstrumentedStore::new(store)) } else { store };
        if bus.is_some() && presence.is_none() {
            return Err(Error::internal("nodes on a bus need a presence that they share"));
        }
        let presence = presence.unwrap_or_else(|| Arc::new(MemoryPresence::new(Arc::clone(context.clock()))));
        let bus = bus.unwrap_or_else(|| Arc::new(MemoryBus::new()));
        let policy = PolicyGate::new(policy);
        let mut jobs = jobs.into_iter().collect::<Result<Vec<_>>>()?;
        jobs.extend([erasing::registration(&home)?, retention::registration(&home)?]);
        let mut recurring = recurring.into_iter().collect::<Result<Vec<_>>>()?;
        recurring.push(retention::recurring()?);
        let work = Work { on: workers, jobs, recurring };
        let service =
            Service::start(Parts { store, presence, bus, policy, context, limits, settings, notifications })?;
        let messenger = Messenger::of(service);
        // Before any job is begun: its handler may want it. It is set nowhere else.
        let _ = home.set(messenger.downgrade());
        messenger.begin_work(work)?;
        Ok(messenger)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("limits", &self.limits)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
