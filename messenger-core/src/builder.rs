use std::{fmt, sync::Arc};

use crate::{
    context::Context,
    domain::Limits,
    error::{Error, Result},
    memory::{MemoryBus, MemoryPresence, MemoryStore},
    messenger::Messenger,
    passwords::PasswordCost,
    policy::{Policy, PolicyGate},
    ports::{Bus, PresenceStore, Store},
    service::{Parts, Service},
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

    /// Measures every intent of the store, as [`InstrumentedStore`] describes. Off by default.
    #[must_use]
    pub const fn instrument_store(mut self, on: bool) -> Self {
        self.instrument_store = on;
        self
    }

    /// Starts the service.
    ///
    /// # Errors
    /// [`Error::Internal`] for a password cost that Argon2 does not allow, and for a bus without a presence.
    ///
    /// # Panics
    /// Panics outside a tokio runtime, which runs the service's tasks until [`Messenger::close`].
    pub fn build(self) -> Result<Messenger> {
        let Self { store, presence, bus, policy, context, limits, settings, instrument_store } = self;
        let store = if instrument_store { Arc::new(InstrumentedStore::new(store)) } else { store };
        if bus.is_some() && presence.is_none() {
            return Err(Error::internal("nodes on a bus need a presence that they share"));
        }
        let presence = presence.unwrap_or_else(|| Arc::new(MemoryPresence::new(Arc::clone(context.clock()))));
        let bus = bus.unwrap_or_else(|| Arc::new(MemoryBus::new()));
        let policy = PolicyGate::new(policy);
        let service = Service::start(Parts { store, presence, bus, policy, context, limits, settings })?;
        Ok(Messenger::of(service))
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
