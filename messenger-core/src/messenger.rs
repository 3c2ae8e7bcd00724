use std::{
    fmt,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use dashmap::DashMap;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Actor, Limits, PasswordCost, Policy,
    begun::{Begun, Placing},
    commands,
    context::Context,
    convert,
    domain::{ChatId, Message, TokenHash},
    error::{Error, Result},
    hub::{Connection, Hub, HubParts, HubSettings},
    lanes::{LaneLimits, Lanes, lane_of},
    memory::{MemoryBus, MemoryPresence, MemoryStore},
    passwords::Passwords,
    ports::{
        Bus, BusMessage, ChatRecord, Fingerprint, Hint, MarkerMoved, MoveMarker, NewMessage, NodeId,
        Presence, Store, StoreErrorKind, StoreResult, Topic,
    },
    tasks,
};

/// Something that changes what is stored, or tells others something. It handles itself.
///
/// The implementors of this trait are all that can be done.
pub trait Command: Send + 'static {
    /// What it answers.
    type Output: Send + 'static;
    /// Its name: of the method on sockets, of the operation in the OpenAPI document and in metrics.
    const NAME: &'static str;
    /// Whether it goes on when the caller stops waiting, so that what it has stored is also told. Not needed where
    /// a task of the service does both.
    const DETACHED: bool = true;

    /// Does it.
    fn run(self, cx: &mut Cx) -> impl Future<Output = Result<Self::Output>> + Send;
}

/// Something that only reads. The implementors of this trait are all that can be asked.
pub trait Query: Send + 'static {
    /// What it answers.
    type Output: Send + 'static;
    /// Its name: of the method on sockets, of the operation in the OpenAPI document and in metrics.
    const NAME: &'static str;

    /// Reads.
    fn run(self, cx: &Cx) -> impl Future<Output = Result<Self::Output>> + Send;
}

/// What a command makes or finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome<T> {
    /// The thing.
    pub value: T,
    /// Whether it was made by this command.
    pub created: bool,
}

impl<T: serde::Serialize> serde::Serialize for Outcome<T> {
    /// As the thing alone.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

/// The chat service: the front door of this crate. Cheap to clone; all clones are the same service.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::{Actor, Messenger, Password, commands::RegisterUser, queries::GetMe};
///
/// let messenger = Messenger::in_memory();
/// let registered = messenger
///     .execute(&Actor::anonymous(), RegisterUser {
///         username: "ada".into(),
///         email: "ada@example.org".into(),
///         password: Password::new("correct horse"),
///         display_name: None,
///         device: None,
///     })
///     .await?;
/// let ada = messenger.authenticate(registered.token.expose()).await?;
/// assert_eq!(messenger.query(&ada, GetMe {}).await?.user.username.as_str(), "ada");
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Messenger {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    policy: Option<Arc<dyn Policy>>,
    context: Context,
    limits: Limits,
    settings: Settings,
    passwords: Passwords,
    sends: Lanes<NewMessage, Sent>,
    marks: Lanes<MoveMarker, MarkerMoved>,
    tellers: Tellers,
    hub: Arc<Hub>,
    meters: Meters,
    work: Work,
}

/// What runs, in the order in which it is brought to an end.
struct Work {
    /// New connections are refused and the open ones are ended.
    draining: CancellationToken,
    commands: TaskTracker,
    lanes: (TaskTracker, CancellationToken),
    /// Told and published to the end, then ended with the hub.
    tellers: (TaskTracker, CancellationToken),
    hub: (TaskTracker, CancellationToken),
}

impl Drop for Work {
    /// A service that nobody has closed ends with its last clone, and lets go of its store.
    fn drop(&mut self) {
        let Self { draining, lanes, tellers, hub, .. } = self;
        for stop in [&*draining, &lanes.1, &tellers.1, &hub.1] {
            stop.cancel();
        }
    }
}

/// A message that has been stored, now or before.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) message: Message,
    pub(crate) created: bool,
    pub(crate) fingerprint: Option<Fingerprint>,
}

/// How long things last and how much waits.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a session lasts after it was last used.
    pub session_lifetime: Duration,
    /// How long a send or a mark waits for its commit before the caller is told that the service is busy.
    pub commit_wait: Duration,
    /// Messages or marks in one commit, at most.
    pub batch: usize,
    /// Messages or marks that may wait for a commit, per lane.
    pub queue: usize,
    /// What one password hash costs.
    pub password_cost: PasswordCost,
    /// How the hub keeps time and bounds.
    pub hub: HubSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            session_lifetime: Duration::from_secs(30 * 86_400),
            commit_wait: Duration::from_secs(10),
            batch: 256,
            queue: 4096,
            password_cost: PasswordCost::default(),
            hub: HubSettings::default(),
        }
    }
}

/// Puts a [`Messenger`] together.
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
    presence: Option<Arc<dyn Presence>>,
    bus: Option<Arc<dyn Bus>>,
    policy: Option<Arc<dyn Policy>>,
    context: Context,
    limits: Limits,
    settings: Settings,
}

impl Messenger {
    /// A service that keeps everything in memory: for trying out and for tests.
    ///
    /// # Panics
    /// Outside a tokio runtime, where its tasks run.
    pub fn in_memory() -> Self {
        let settings = Settings {
            password_cost: PasswordCost { memory_kib: 64, passes: 1, ..PasswordCost::default() },
            ..Settings::default()
        };
        #[expect(clippy::expect_used, reason = "building fails for an impossible password cost only")]
        Self::builder(Arc::new(MemoryStore::new())).settings(settings).build().expect("the cost is possible")
    }

    /// A service on this store; presence and bus within the process, unless others are given.
    pub fn builder(store: Arc<dyn Store>) -> Builder {
        Builder {
            store,
            presence: None,
            bus: None,
            policy: None,
            context: Context::system(),
            limits: Limits::default(),
            settings: Settings::default(),
        }
    }

    /// Does a command. This is the whole way of each: policy, the command itself, telling the others, measuring.
    ///
    /// # Errors
    /// Those of the command; [`Error::Unavailable`] when the store can't be reached in time.
    pub async fn execute<C: Command>(&self, actor: &Actor, command: C) -> Result<C::Output> {
        let cx = Cx::new(*actor, self.clone());
        if !C::DETACHED {
            return cx.execute(command).await;
        }
        // A caller who hangs up drops this future; what the command has stored is told to the others all the same.
        tasks::answer_of(self.inner.work.commands.spawn(cx.execute(command)).await)
    }

    /// Begins a command, for a caller who may have many under way. Resolves as soon as the next one of the caller can be
    /// begun without overtaking it: when it has its place in the queue for the next commit, or else when it is done.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use messenger_core::{Messenger, commands::{CreateGroupChat, SendMessage}, doc::register};
    /// # let messenger = Messenger::in_memory();
    /// # let ada = register(&messenger, "ada").await;
    /// # let group = CreateGroupChat { title: "Tea".into(), member_ids: vec![], client_id: None };
    /// # let chat_id = messenger.execute(&ada, group).await?.value.id;
    /// let send = |body: &str| SendMessage { chat_id, body: body.into(), client_id: None, reply_to: None };
    /// let first = messenger.begin(&ada, send("first")).await;
    /// // It may be in the same commit, and comes after the first.
    /// let second = messenger.begin(&ada, send("second")).await;
    /// assert_eq!(first.answer().await?.value.seq.get() + 1, second.answer().await?.value.seq.get());
    /// # Ok::<(), messenger_core::Error>(()) }).unwrap();
    /// ```
    pub async fn begin<C: Command>(&self, actor: &Actor, command: C) -> Begun<C::Output> {
        if C::DETACHED {
            return Begun::Done(self.execute(actor, command).await);
        }
        let placing = Placing::default();
        let cx = Cx { placing: Some(placing.clone()), ..Cx::new(*actor, self.clone()) };
        placing.begin(Box::pin(cx.execute(command))).await
    }

    /// Answers a query. What it has begun in the store goes on also while this future is not polled.
    ///
    /// # Errors
    /// Those of the query; [`Error::Unavailable`] when the store can't be reached in time.
    pub async fn query<Q: Query>(&self, actor: &Actor, query: Q) -> Result<Q::Output> {
        let cx = Cx::new(*actor, self.clone());
        cx.allow(Q::NAME).await?;
        let begun = Instant::now();
        let answer = query.run(&cx).await;
        self.inner.meters.record(Q::NAME, begun, &answer);
        answer
    }

    /// The person that a session token stands for.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] if the token is unknown, revoked or expired; [`Error::Unavailable`].
    pub async fn authenticate(&self, token: &str) -> Result<Actor> {
        /// A session's last use is stored at most this often.
        const TOUCH: Duration = Duration::from_secs(300);

        let session = match self.store().session_by_token(&TokenHash::of(token)).await {
            Err(error) if error.kind() == StoreErrorKind::NotFound => return Err(Error::Unauthenticated),
            found => found?,
        };
        let now = self.context().now();
        if session.expires_at <= now {
            return Err(Error::Unauthenticated);
        }
        let mut expires_at = session.expires_at;
        if now.since(session.last_used_at) >= TOUCH {
            expires_at = now.after(self.inner.settings.session_lifetime);
            self.store().touch_session(session.id, now, expires_at).await?;
        }
        Ok(Actor::in_session(session.user_id, session.id, expires_at))
    }

    /// Opens a live connection for a person: the events of a socket.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] for nobody, [`Error::RateLimited`] for a person with
    /// [too many](HubSettings::connections_of_one), [`Error::Unavailable`] when the node stops or the store can't be
    /// read.
    pub async fn connect(&self, actor: &Actor) -> Result<Connection> {
        if self.inner.work.draining.is_cancelled() {
            return Err(Error::unavailable());
        }
        let connection = self.inner.hub.join(actor).await?;
        if self.inner.work.draining.is_cancelled() {
            return Err(Error::unavailable());
        }
        Ok(connection)
    }

    /// How many connections are open on this node.
    pub fn connections(&self) -> usize {
        self.inner.hub.connections()
    }

    /// Whether commands can be done now.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the store can't be reached or the node stops.
    pub async fn ready(&self) -> Result<()> {
        if self.inner.work.draining.is_cancelled() {
            return Err(Error::unavailable());
        }
        Ok(self.store().ping().await?)
    }

    /// What is too short, too long or too many.
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// Resolves when the node begins to stop.
    pub async fn stopping(&self) {
        self.inner.work.draining.cancelled().await;
    }

    /// Tells all connections to go to another node and refuses new ones. Commands are still done.
    pub fn drain(&self) {
        self.inner.work.draining.cancel();
        self.inner.hub.end_all();
    }

    /// Drains, finishes what is under way, and closes the store. Later calls answer [`Error::Unavailable`].
    pub async fn close(&self) {
        self.drain();
        let Work { commands, lanes, tellers, hub, .. } = &self.inner.work;
        commands.close();
        commands.wait().await;
        for (tasks, stop) in [lanes, tellers, hub] {
            tasks.close();
            stop.cancel();
            tasks.wait().await;
        }
        if let Err(error) = self.hub().depart().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "presence was not given back");
        }
        self.store().close().await;
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.inner.store
    }

    pub(crate) fn context(&self) -> &Context {
        &self.inner.context
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    pub(crate) fn passwords(&self) -> &Passwords {
        &self.inner.passwords
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.inner.hub
    }
}

impl fmt::Debug for Messenger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messenger").field("connections", &self.connections()).finish_non_exhaustive()
    }
}

impl Builder {
    /// Presence shared by several nodes.
    #[must_use]
    pub fn presence(mut self, presence: Arc<dyn Presence>) -> Self {
        self.presence = Some(presence);
        self
    }

    /// A bus between several nodes, which need a [presence](Self::presence) that they share, too.
    #[must_use]
    pub fn bus(mut self, bus: Arc<dyn Bus>) -> Self {
        self.bus = Some(bus);
        self
    }

    /// What the host adds to the rules.
    #[must_use]
    pub fn policy(mut self, policy: Arc<dyn Policy>) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Time, ids and randomness from elsewhere than the system.
    #[must_use]
    pub fn context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// Other limits than the default ones.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Other settings than the default ones.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Starts the service.
    ///
    /// # Errors
    /// [`Error::Internal`] for a password cost that Argon2 can't have, and for a bus without a presence.
    ///
    /// # Panics
    /// Outside a tokio runtime, where the service's tasks run until [`Messenger::close`].
    pub fn build(self) -> Result<Messenger> {
        let Self { store, presence, bus, policy, context, limits, settings } = self;
        if bus.is_some() && presence.is_none() {
            return Err(Error::internal("nodes on a bus need a presence that they share"));
        }
        let presence = presence.unwrap_or_else(|| Arc::new(MemoryPresence::new(Arc::clone(context.clock()))));
        let bus = bus.unwrap_or_else(|| Arc::new(MemoryBus::new()));
        let passwords = Passwords::new(settings.password_cost)?;
        let work = Work {
            draining: CancellationToken::new(),
            commands: TaskTracker::new(),
            lanes: Default::default(),
            tellers: Default::default(),
            hub: Default::default(),
        };

        let (hub, abroad) = Hub::new(HubParts {
            node: NodeId(u64::from_be_bytes(context.random())),
            store: Arc::clone(&store),
            presence,
            bus,
            policy: policy.clone(),
            context: context.clone(),
            limits: limits.clone(),
            settings: settings.hub.clone(),
            session_lifetime: settings.session_lifetime,
        });
        let hub = Arc::new(hub);
        hub.start(abroad, &work.hub.0, &work.hub.1);
        work.hub
            .0
            .spawn(work.hub.1.clone().run_until_cancelled_owned(tidy(Arc::clone(&store), context.clone())));

        let lanes = LaneLimits {
            lanes: store.lanes(),
            batch: settings.batch.max(1),
            queue: settings.queue.max(1),
            wait: settings.commit_wait,
        };
        let tellers = start_tellers(lanes.lanes, &hub, &work.tellers);
        let sends = start_sends(lanes, &store, &tellers, &work.lanes);
        let marks = start_marks(lanes, limits.lively_members, &store, &tellers, &work.lanes);
        let inner = Inner {
            store,
            policy,
            context,
            limits,
            settings,
            passwords,
            sends,
            marks,
            tellers,
            hub,
            meters: Meters::default(),
            work,
        };
        Ok(Messenger { inner: Arc::new(inner) })
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

/// Removes what nobody can use any more: sessions that have expired.
async fn tidy(store: Arc<dyn Store>, context: Context) {
    const INTERVAL: Duration = Duration::from_secs(600);
    const AT_ONCE: usize = 500;

    loop {
        tokio::time::sleep(INTERVAL).await;
        loop {
            match store.remove_expired_sessions(context.now(), AT_ONCE).await {
                Ok(AT_ONCE) => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "expired sessions were not removed"
                    );
                    break;
                }
            }
        }
    }
}

/// Takes what waits in a queue; after the stop what is left, and then nothing.
async fn next_of<T>(queue: &mut mpsc::Receiver<T>, stop: &CancellationToken, taken: &mut Vec<T>) -> bool {
    loop {
        tokio::select! {
            biased;
            count = queue.recv_many(taken, 64) => return count > 0,
            () = stop.cancelled(), if !queue.is_closed() => queue.close(),
        }
    }
}

type Tellers = Box<[mpsc::Sender<Vec<BusMessage>>]>;
type Owned = (TaskTracker, CancellationToken);

/// One task per lane that tells the connections, so that the next commit does not wait for that.
fn start_tellers(lanes: usize, hub: &Arc<Hub>, (tasks, stop): &Owned) -> Tellers {
    (0..lanes.max(1))
        .map(|_| {
            let (teller, mut queue) = mpsc::channel(64);
            let (hub, stop) = (Arc::clone(hub), stop.clone());
            tasks.spawn(async move {
                let mut batches = Vec::new();
                while next_of(&mut queue, &stop, &mut batches).await {
                    batches.drain(..).for_each(|messages| hub.tell_or_compare(messages));
                }
            });
            teller
        })
        .collect()
}

fn start_sends(
    limits: LaneLimits,
    store: &Arc<dyn Store>,
    tellers: &Tellers,
    (tasks, stop): &Owned,
) -> Lanes<NewMessage, Sent> {
    let (store, tellers) = (Arc::clone(store), tellers.clone());
    let sizes = metrics::histogram!("messenger_send_batch_size");
    Lanes::start(limits, tasks, stop, move |lane, batch: Arc<[NewMessage]>| {
        let (store, teller) = (Arc::clone(&store), tellers[lane].clone());
        sizes.record(batch.len() as f64);
        async move {
            let appended = match store.append_messages(&batch).await {
                Ok(appended) => appended,
                Err(error) => {
                    // Perhaps they are stored, and only the answer was lost.
                    let _ = teller.send(commands::in_doubt(&batch)).await;
                    return Err(error);
                }
            };
            let (outcomes, told) = commands::stored(appended);
            // Full when the connections are told more slowly than messages are stored: then storing waits.
            let _ = teller.send(told).await;
            Ok(outcomes)
        }
    })
}

fn start_marks(
    limits: LaneLimits,
    lively_members: usize,
    store: &Arc<dyn Store>,
    tellers: &Tellers,
    (tasks, stop): &Owned,
) -> Lanes<MoveMarker, MarkerMoved> {
    let (store, tellers) = (Arc::clone(store), tellers.clone());
    Lanes::start(limits, tasks, stop, move |lane, batch: Arc<[MoveMarker]>| {
        let (store, teller) = (Arc::clone(&store), tellers[lane].clone());
        async move {
            let outcomes = store.move_markers(&batch).await?;
            let told = commands::moved(&batch, &outcomes, lively_members);
            if !told.is_empty() {
                let _ = teller.send(told).await;
            }
            Ok(outcomes)
        }
    })
}

/// What a command or query works with: who asks, the service, and what the others are to be told.
pub struct Cx {
    actor: Actor,
    messenger: Messenger,
    told: Vec<(Option<ChatId>, BusMessage)>,
    /// What a write that is under way is about.
    writing: Vec<Topic>,
    placing: Option<Placing>,
}

impl Cx {
    const fn new(actor: Actor, messenger: Messenger) -> Self {
        Self { actor, messenger, told: Vec::new(), writing: Vec::new(), placing: None }
    }

    async fn execute<C: Command>(mut self, command: C) -> Result<C::Output> {
        self.allow(C::NAME).await?;
        let begun = Instant::now();
        let answer = command.run(&mut self).await;
        if let Err(Error::Unavailable(_) | Error::Internal(_)) = &answer {
            // Perhaps it is stored, and only the answer was lost.
            let topics = std::mem::take(&mut self.writing);
            self.tell_invalid(topics);
        }
        // Also what a command told before it failed: that much is stored.
        self.tell_others().await;
        self.messenger.inner.meters.record(C::NAME, begun, &answer);
        answer
    }

    async fn allow(&self, operation: &'static str) -> Result<()> {
        let Some(policy) = self.policy().cloned() else { return Ok(()) };
        let actor = self.actor;
        tasks::driven(async move { policy.allow(&actor, operation).await }).await
    }

    /// Tells the others what has been done so far.
    pub(crate) async fn tell_others(&mut self) {
        for (chat, message) in self.told.drain(..) {
            let tellers = &self.messenger.inner.tellers;
            let lane = chat.map_or(0, |chat| lane_of(chat, tellers.len()));
            // Fails only when the node has stopped; others find it in the store.
            let _ = tellers[lane].send(vec![message]).await;
        }
    }

    /// Who asks.
    pub const fn actor(&self) -> &Actor {
        &self.actor
    }

    /// The service.
    pub const fn messenger(&self) -> &Messenger {
        &self.messenger
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &**self.messenger.store()
    }

    pub(crate) fn context(&self) -> &Context {
        self.messenger.context()
    }

    pub(crate) fn limits(&self) -> &Limits {
        self.messenger.limits()
    }

    pub(crate) fn policy(&self) -> Option<&Arc<dyn Policy>> {
        self.messenger.inner.policy.as_ref()
    }

    pub(crate) fn sends(&self) -> &Lanes<NewMessage, Sent> {
        &self.messenger.inner.sends
    }

    pub(crate) fn marks(&self) -> &Lanes<MoveMarker, MarkerMoved> {
        &self.messenger.inner.marks
    }

    /// Lets the caller begin the next command: this one can't be overtaken any more.
    pub(crate) fn placed(&self) {
        if let Some(placing) = &self.placing {
            placing.placed();
        }
    }

    /// Tells others when the command is done: in the order of what else happens in the chat, if it is about one.
    pub(crate) fn tell(&mut self, chat: Option<ChatId>, message: BusMessage) {
        self.told.push((chat, message));
    }

    /// A write begins that is about these: if its answer is lost, they are compared with the store.
    pub(crate) fn writes(&mut self, topics: impl IntoIterator<Item = Topic>) {
        self.writing = topics.into_iter().collect();
    }

    /// Lets all nodes compare with the store what these topics name, for something may have been stored of which nobody
    /// was told.
    pub(crate) fn tell_invalid(&mut self, topics: Vec<Topic>) {
        let chat = topics.iter().find_map(|topic| match topic {
            Topic::Chat(chat) => Some(*chat),
            Topic::User(_) | Topic::Nodes => None,
        });
        if !topics.is_empty() {
            self.tell(chat, BusMessage { topics, hint: Arc::new(Hint::Invalidate {}) });
        }
    }

    /// Tells of changes of a chat.
    pub(crate) fn tell_changes(
        &mut self,
        chat: &ChatRecord,
        records: Vec<crate::ports::MessageRecord>,
    ) -> StoreResult<()> {
        for record in records {
            let before = crate::Revision::new(record.revision.get().saturating_sub(1));
            let event = convert::event(record, chat, before)?;
            self.tell(Some(chat.id), commands::told(chat.id, event));
        }
        Ok(())
    }
}

impl fmt::Debug for Cx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cx").field("actor", &self.actor).finish_non_exhaustive()
    }
}

/// How long operations took, by name and outcome.
#[derive(Default)]
struct Meters(DashMap<(&'static str, &'static str), metrics::Histogram>);

impl Meters {
    fn record<T>(&self, operation: &'static str, begun: Instant, answer: &Result<T>) {
        let outcome = match answer {
            Ok(_) => "ok",
            Err(error) => error.code(),
        };
        let seconds = begun.elapsed().as_secs_f64();
        // Looked up by the recorder once, since that costs more than the record.
        if let Some(meter) = self.0.get(&(operation, outcome)) {
            return meter.record(seconds);
        }
        let meter = metrics::histogram!(
            "messenger_operation_duration_seconds",
            "operation" => operation,
            "outcome" => outcome
        );
        meter.record(seconds);
        self.0.insert((operation, outcome), meter);
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        ports::StoreErrorKind,
        testing::{Scene, Who, code},
    };

    #[tokio::test]
    async fn a_node_is_ready_while_its_store_is_there_and_it_does_not_stop() {
        let scene = Scene::new().await;
        assert!(scene.messenger.ready().await.is_ok());
        scene.store.fail("ping", StoreErrorKind::Unavailable, 1);
        assert_eq!(code(&scene.messenger.ready().await), "unavailable");
        assert!(scene.messenger.ready().await.is_ok());
        scene.messenger.drain();
        assert_eq!(code(&scene.messenger.ready().await), "unavailable");
        assert_eq!(code(&scene.messenger.connect(&scene.actor(Who::Member)).await), "unavailable");
    }

    #[tokio::test]
    async fn who_waits_for_the_end_of_a_node_hears_of_it_when_it_begins_to_stop() {
        let scene = Scene::new().await;
        let mut stopping = std::pin::pin!(scene.messenger.stopping());
        assert!(futures::poll!(&mut stopping).is_pending());
        scene.messenger.drain();
        assert!(futures::poll!(&mut stopping).is_ready());
    }
}
