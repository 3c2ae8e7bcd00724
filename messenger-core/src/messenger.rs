use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use crate::{
    accounts::Accounts,
    actor::Actor,
    begun::{Begun, Placing},
    cx::Cx,
    domain::{Limits, TokenHash},
    error::{Error, OrNotFound as _, Result},
    hub::{Connection, Outage},
    jobs::Jobs,
    operation::{self, Command, Query},
    retention::Retention,
    service::{Service, Work},
    tasks,
};

/// The chat service: the entry point of this crate. Cheap to clone; all clones are the same service.
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
    service: Arc<Service>,
}

impl Messenger {
    pub(crate) fn of(service: Service) -> Self {
        Self { service: Arc::new(service) }
    }

    /// Starts the workers of background jobs.
    pub(crate) fn begin_work(&self, work: Work) -> Result<()> {
        self.service.begin_work(work)
    }

    /// A way to this service that does not keep it.
    pub(crate) fn downgrade(&self) -> WeakMessenger {
        WeakMessenger(Arc::downgrade(&self.service))
    }

    /// Runs a command: asks the policy, runs the command itself, publishes its announcements, measures.
    ///
    /// # Errors
    /// Those of the command; [`Error::Unavailable`] when the store can't be reached in time.
    pub async fn execute<C: Command>(&self, actor: &Actor, command: C) -> Result<C::Output> {
        let cx = self.cx(actor);
        if !C::DETACHED {
            return operation::execute(cx, command).await;
        }
        // A caller who hangs up drops this future; what the command has stored is announced all the same.
        let begun = self.service.tasks.commands.spawn(operation::execute(cx, command));
        tasks::answer_of(begun.ok_or_else(Error::unavailable)?.await)
    }

    /// Begins a command, for a caller who may have many in progress. Resolves as soon as the caller's next command can
    /// begin without overtaking this one: when it has its place in the queue for the next commit, or otherwise when it
    /// is done.
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
        let cx = self.cx(actor).with_placing(placing.clone());
        placing.begin(Box::pin(operation::execute(cx, command))).await
    }

    /// Runs a query. Reads of the store that it has begun continue even while this future is not polled.
    ///
    /// # Errors
    /// Those of the query; [`Error::Unavailable`] when the store can't be reached in time.
    pub async fn query<Q: Query>(&self, actor: &Actor, query: Q) -> Result<Q::Output> {
        operation::query(self.cx(actor), query).await
    }

    /// Authenticates the person that a session token belongs to.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] if the token is unknown, revoked or expired; [`Error::Unavailable`].
    pub async fn authenticate(&self, token: &str) -> Result<Actor> {
        /// The last use of a session is stored at most this often.
        const TOUCH: Duration = Duration::from_secs(300);

        let Service { store, context, settings, .. } = &*self.service;
        let found = store.session_by_token(&TokenHash::of(token)).await;
        let session = found.or_not_found(|| Error::Unauthenticated)?;
        let now = context.now();
        if session.expires_at <= now {
            return Err(Error::Unauthenticated);
        }
        let mut expires_at = session.expires_at;
        if now.since(session.last_used_at) >= TOUCH {
            expires_at = now.after(settings.session_lifetime);
            store.touch_session(session.id, now, expires_at).await?;
        }
        Ok(Actor::in_session(session.user_id, session.id, expires_at))
    }

    /// The background jobs.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let messenger = messenger_core::Messenger::in_memory();
    /// assert_eq!(messenger.jobs().list(&Default::default(), None, 10).await?, []);
    /// # Ok::<(), messenger_core::Error>(()) }).unwrap();
    /// ```
    pub fn jobs(&self) -> Jobs {
        self.service.jobs.clone()
    }

    /// The accounts, for those who operate the service.
    pub fn accounts(&self) -> Accounts {
        Accounts::new(Arc::clone(&self.service))
    }

    /// How long messages are kept, and legal holds, for those who operate the service.
    pub fn retention(&self) -> Retention {
        Retention::new(Arc::clone(&self.service))
    }

    /// Opens a live connection for a person, which receives the events for a socket.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] for an anonymous caller, [`Error::RateLimited`] for a person with [too
    /// many](crate::hub::HubSettings::connections_of_one), [`Error::Unavailable`] when the node is stopping or the
    /// store can't be read.
    pub async fn connect(&self, actor: &Actor) -> Result<Connection> {
        self.refuse_while_draining()?;
        let connection = self.service.hub.join(actor).await?;
        self.refuse_while_draining()?;
        Ok(connection)
    }

    /// How many connections are open on this node.
    pub fn connections(&self) -> usize {
        self.service.hub.connections()
    }

    /// Whether commands can be run now.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the store can't be reached or the node is stopping.
    pub async fn ready(&self) -> Result<()> {
        self.refuse_while_draining()?;
        Ok(self.service.store.ping().await?)
    }

    /// What this node goes on without at present: it is ready all the same.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let messenger = messenger_core::Messenger::in_memory();
    /// assert_eq!(messenger.outages(), []);
    /// # });
    /// ```
    pub fn outages(&self) -> Vec<Outage> {
        self.service.hub.outages()
    }

    fn refuse_while_draining(&self) -> Result<()> {
        if self.service.tasks.draining.is_cancelled() { Err(Error::unavailable()) } else { Ok(()) }
    }

    /// The bounds on lengths and counts.
    pub fn limits(&self) -> &Limits {
        &self.service.limits
    }

    /// Whether people are told outside of the chat: whether this node was built with a
    /// [notifier](crate::Builder::notifier).
    pub fn notifies(&self) -> bool {
        self.service.notifications.is_some()
    }

    /// Resolves when the node begins to stop.
    pub async fn stopping(&self) {
        self.service.tasks.draining.cancelled().await;
    }

    /// Tells all connections to go to another node, refuses new ones, and begins no more jobs. Commands are still run.
    pub fn drain(&self) {
        self.service.drain();
    }

    /// Drains, finishes running work, and closes the store. Later calls answer [`Error::Unavailable`]. Jobs that take
    /// longer than [`stop_wait`](crate::jobs::JobSettings::stop_wait) are given back.
    pub async fn close(&self) {
        self.service.close().await;
    }

    #[cfg(test)]
    pub(crate) fn service(&self) -> &Service {
        &self.service
    }

    fn cx(&self, actor: &Actor) -> Cx {
        Cx::new(*actor, Arc::clone(&self.service))
    }
}

/// A way to a service that ends with its last [`Messenger`].
#[derive(Clone)]
pub(crate) struct WeakMessenger(Weak<Service>);

impl WeakMessenger {
    pub(crate) fn upgrade(&self) -> Option<Messenger> {
        Some(Messenger { service: self.0.upgrade()? })
    }
}

impl fmt::Debug for WeakMessenger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakMessenger").finish_non_exhaustive()
    }
}

impl fmt::Debug for Messenger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messenger").field("connections", &self.connections()).finish_non_exhaustive()
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
