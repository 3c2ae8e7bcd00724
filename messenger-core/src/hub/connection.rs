use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::Future,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Hub,
    catch_up::{CatchUp, Plan, Unnamed},
    delivery::Delivery,
    link::{Link, LinkState},
    lock::lock,
    mailbox::{Ending, Found, Item, Mailbox},
};
use crate::{
    Actor,
    domain::{
        ChatId, Checkpoint, ConnectionId, Event, MarkMove, Position, Presence, Revision, Typing, UserId,
    },
    error::{Error, Result},
    ports::{Memberships, PresenceError},
    tasks,
};

/// How long a new connection waits for presence to record it.
const ARRIVAL: Duration = Duration::from_secs(1);
/// How long events are held back for the next part of a resume.
const NEXT_PART: Duration = Duration::from_secs(30);

impl Hub {
    /// Registers a connection: from now on it is told what happens in the person's chats. `RateLimited` if the person
    /// has too many.
    pub(crate) async fn join(self: &Arc<Self>, actor: &Actor) -> Result<Connection> {
        let user = actor.user()?;
        let id: ConnectionId = self.context.id();
        let link = Arc::new(Link::new(
            id,
            user,
            actor,
            Mailbox::new(self.settings.mailbox, self.settings.mailbox_bytes),
        ));
        // Registered before the chats are read, so that a chat added in between is not missed.
        if !self.register(&link) {
            return Err(Error::RateLimited(self.settings.ping_interval));
        }
        let mut connection = Connection::new(Arc::clone(self), Arc::clone(&link), *actor);
        let live_from_here = |link_state: &mut LinkState, _: &Memberships, chats: &[(ChatId, Revision)]| {
            for (chat, revision) in chats {
                let chat_state = link_state.chats.entry(*chat).or_default();
                chat_state.join(*revision);
                chat_state.set_snapshot(*revision);
            }
        };
        self.enter_all(&link, None, live_from_here).await?;
        // The session may have ended, or the person may have been added to chats, without this node being told.
        self.checks.want(&[], &[user]);
        let arrived = timeout(ARRIVAL, self.presence.renew(&[link.lease()], self.settings.lease)).await;
        match arrived.unwrap_or_else(|late| Err(PresenceError(late.into()))) {
            Ok(online) => self.announce_online(&online),
            // Presence must not fail the connection; the lease is taken with the next renewal.
            // What an outage means is logged once, by the task that renews.
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "presence was not taken");
                // Not only when it is due: somebody who was away for a moment would be gone by then.
                lock(&self.unrecorded).push(link);
            }
        }
        connection.hold_back();
        Ok(connection)
    }
}

/// A live connection of a person, from which a socket reads its events. Dropping it ends the connection.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::{Event, Messenger, hub::Signal};
///
/// let messenger = Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// let mut connection = messenger.connect(&ada).await?;
/// connection.resume(None).await?;
/// let Signal::Event(delivery) = connection.next().await else { panic!() };
/// assert_eq!(delivery.event(), &Event::CaughtUp { position: None });
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
pub struct Connection {
    hub: Arc<Hub>,
    pub(super) link: Arc<Link>,
    actor: Actor,
    inbox: VecDeque<Item>,
    catch_up: Option<Box<CatchUp>>,
    /// What the client has according to the parts of a resume that is not complete yet.
    named: HashMap<ChatId, Revision>,
    /// The catch-up while its next step is being read; the read runs to its end, whether or not anybody waits for it.
    reading: Option<AbortOnDropHandle<(Box<CatchUp>, Result<bool>)>>,
    hold: Option<Pin<Box<Sleep>>>,
    /// Whether the client uses positions.
    wants_position: bool,
    /// Whether a change of a chat has been sent.
    has_told_changes: bool,
    ping: bool,
    ending: Option<Ending>,
}

/// What the socket of a connection must do next.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Signal {
    /// Send this event.
    Event(Arc<Delivery>),
    /// Ask the client for a sign of life, and end the connection if it has given none since the last ping.
    Ping,
    /// End the connection.
    End(Ending),
}

/// The result of [`Connection::resume_since`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resumed {
    /// What the client missed follows.
    Begun,
    /// These chats have changed since the position, or the person is no longer in them, and the client has not stated
    /// its revisions of them. It does so with [`Connection::resume`], possibly in parts; a chat that it does not name,
    /// it does not have. The revisions already known of the other chats are kept until then, as after a part.
    NeedsRevisions(Vec<ChatId>),
    /// The position is from another store, or so much has changed that it is of no use: the client must state the
    /// revisions of all its chats with [`Connection::resume`]. Earlier parts are discarded.
    UnknownPosition,
}

impl Connection {
    pub(super) fn new(hub: Arc<Hub>, link: Arc<Link>, actor: Actor) -> Self {
        let hold = Some(Box::pin(tokio::time::sleep(hub.settings.resume_grace)));
        Self {
            hub,
            link,
            actor,
            inbox: VecDeque::new(),
            catch_up: None,
            named: HashMap::new(),
            reading: None,
            hold,
            wants_position: false,
            has_told_changes: false,
            ping: false,
            ending: None,
        }
    }

    /// Its id.
    pub fn id(&self) -> ConnectionId {
        self.link.id
    }

    /// The actor whose connection it is.
    pub const fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Starts the time in which the client may resume before events are sent.
    pub(super) fn hold_back(&mut self) {
        if let Some(hold) = &mut self.hold {
            hold.as_mut().reset(Instant::now() + self.hub.settings.resume_grace);
        }
    }

    /// Starts sending events. Called with the first request that is not a resume; otherwise events are held back for
    /// [`HubSettings::resume_grace`](super::HubSettings::resume_grace), so that a resume can still come first.
    pub fn go_live(&mut self) {
        self.hold = None;
    }

    /// Sends what the client missed, then [`Event::CaughtUp`], then continues live.
    ///
    /// `chats` states what the client has. What it missed in these chats follows as events ([`Event::ChatReset`] where
    /// it is too much), other chats of the person as [`Event::ChatAdded`], and chats that the person is no longer in as
    /// [`Event::ChatRemoved`]. With `None` there is nothing to catch up on.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the store can't be read; then nothing has been sent.
    pub async fn resume(&mut self, chats: Option<HashMap<ChatId, Revision>>) -> Result<()> {
        if let Some(chats) = chats {
            return self.plan(chats, None).await.map(drop);
        }
        drop(self.take_parts());
        self.end_reading().await?;
        match &mut self.catch_up {
            Some(catch_up) => catch_up.end_once_more(),
            None => self.catch_up = Some(Box::new(CatchUp::nothing())),
        }
        self.hold = None;
        Ok(())
    }

    /// Like [`resume`](Self::resume), for a client that uses positions: it is given its position with
    /// [`Event::CaughtUp`], and has everything up to the one given here; `None` if it has none yet. `chats` states the
    /// client's revisions of the chats that it was told of since that position; they take precedence over it. It need
    /// not name its other chats, however many there are; if some have changed since the position, it is asked for its
    /// revisions of them.
    ///
    /// # Errors
    /// As for [`resume`](Self::resume) and [`resume_part`](Self::resume_part).
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use std::collections::HashMap;
    /// use messenger_core::{Event, Messenger, hub::{Resumed, Signal}};
    ///
    /// let messenger = Messenger::in_memory();
    /// # let ada = messenger_core::doc::register(&messenger, "ada").await;
    /// let mut connection = messenger.connect(&ada).await?;
    /// connection.resume_since(None, HashMap::new()).await?;
    /// let Signal::Event(delivery) = connection.next().await else { panic!() };
    /// let Event::CaughtUp { position: Some(position) } = delivery.event() else { panic!() };
    ///
    /// let mut connection = messenger.connect(&ada).await?;
    /// assert_eq!(connection.resume_since(Some(position), HashMap::new()).await?, Resumed::Begun);
    /// # Ok::<(), messenger_core::Error>(()) }).unwrap();
    /// ```
    pub async fn resume_since(
        &mut self,
        position: Option<&Position>,
        chats: HashMap<ChatId, Revision>,
    ) -> Result<Resumed> {
        self.wants_position = true;
        let Some(position) = position else { return self.plan(chats, None).await };
        match position.checkpoint() {
            Some(since) => self.plan(chats, Some(since)).await,
            None => Ok(self.unknown_position()),
        }
    }

    async fn plan(
        &mut self,
        mut chats: HashMap<ChatId, Revision>,
        since: Option<Checkpoint>,
    ) -> Result<Resumed> {
        chats.extend(self.take_parts());
        // The step being read decides what the client is given, and must not do so after the new plan is made.
        self.end_reading().await?;
        match CatchUp::plan(&self.hub, &self.link, chats, since, self.has_told_changes).await? {
            Plan::Made(mut catch_up) => {
                if !self.wants_position {
                    catch_up.forget_position();
                }
                self.catch_up = Some(Box::new(catch_up));
                self.hold = None;
                Ok(Resumed::Begun)
            }
            Plan::NeedsRevisions(Unnamed { known, unknown }) => {
                self.resume_part(known)?;
                Ok(Resumed::NeedsRevisions(unknown))
            }
            Plan::UnknownPosition => Ok(self.unknown_position()),
        }
    }

    /// The client must name all its chats again.
    fn unknown_position(&mut self) -> Resumed {
        drop(self.take_parts());
        self.await_next_part();
        Resumed::UnknownPosition
    }

    /// Takes a part of the client's revisions, for a client that can't send them all at once: the rest follows in more
    /// parts, and the last in [`resume`](Self::resume). Until then events are held back, for 30 s after each part. For
    /// a chat that is named twice, the first revision counts.
    ///
    /// # Errors
    /// [`Error::Invalid`] if a person's connections to this node have named more than 100,000 chats;
    /// [`Error::Unavailable`] if all connections together have named too many. Then the parts are discarded.
    pub fn resume_part(&mut self, chats: HashMap<ChatId, Revision>) -> Result<()> {
        for (chat, revision) in chats {
            self.named.entry(chat).or_insert(revision);
        }
        self.hub.has_named(&self.link, self.named.len()).inspect_err(|_| drop(self.take_parts()))?;
        self.await_next_part();
        Ok(())
    }

    fn await_next_part(&mut self) {
        if let Some(hold) = &mut self.hold {
            hold.as_mut().reset(Instant::now() + NEXT_PART);
        }
    }

    fn take_parts(&mut self) -> HashMap<ChatId, Revision> {
        // Zero chats never exceed the limit.
        let _ = self.hub.has_named(&self.link, 0);
        std::mem::take(&mut self.named)
    }

    /// Watches the presence of these people, and returns their current presence.
    ///
    /// # Errors
    /// [`Error::Invalid`] if they are too many; the error of the host's policy for `WatchPresence`;
    /// [`Error::Unavailable`]. Then nobody is watched who was not watched before.
    pub async fn watch(&self, users: &[UserId]) -> Result<Vec<Presence>> {
        self.hub.policy.allow(&self.actor, "WatchPresence").await?;
        self.hub.check_presence_users(users)?;
        let Some(new) = self.hub.watch_asked(&self.link, users) else {
            return Err(Error::invalid("userIds", "are more people than one connection may watch"));
        };
        let present = self.hub.presence_of(users).await;
        let present = present.inspect_err(|_| self.hub.unwatch_asked(&self.link, &new))?;
        let mut link_state = self.link.state();
        for presence in &present {
            // From now on presence is only announced if it differs from this answer.
            if let Some(watch) = link_state.watched.get_mut(&presence.user_id) {
                watch.online = Some(presence.online);
            }
        }
        drop(link_state);
        // Events queued for the client may be older than this answer: the answer is sent again after them.
        for presence in present.iter().filter(|presence| new.contains(&presence.user_id)) {
            self.hub.tell_again(&self.link, *presence);
        }
        Ok(present)
    }

    /// Stops watching these people, and returns their current presence. The peer of a direct chat is still watched.
    ///
    /// # Errors
    /// [`Error::Invalid`] if they are too many; the error of the host's policy for `UnwatchPresence`;
    /// [`Error::Unavailable`].
    pub async fn unwatch(&self, users: &[UserId]) -> Result<Vec<Presence>> {
        self.hub.policy.allow(&self.actor, "UnwatchPresence").await?;
        self.hub.check_presence_users(users)?;
        self.hub.unwatch_asked(&self.link, users);
        self.hub.presence_of(users).await
    }

    /// Waits for the next signal. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Signal {
        loop {
            if let Some(signal) = self.try_next() {
                return signal;
            }
            if self.is_catching_up() {
                if self.advance_catch_up().await.is_err() {
                    return Signal::End(Ending::TooFarBehind);
                }
                continue;
            }
            if let Some(Item::Show(chat, revision)) = self.inbox.front() {
                self.catch_up = Some(Box::new(self.showing(*chat, *revision)));
                self.inbox.pop_front();
                continue;
            }
            let found = poll_fn(|task| self.poll_mailbox(task)).await;
            self.ping |= found.ping;
            self.ending = self.ending.or(found.ending);
        }
    }

    /// The next signal, if there is one without waiting: so that available events are sent together.
    pub fn try_next(&mut self) -> Option<Signal> {
        if let Some(found) = self.link.mailbox.take_urgent() {
            self.ping |= found.ping;
            self.ending = self.ending.or(found.ending);
        }
        if let Some(ending @ (Ending::SessionEnded | Ending::TooFarBehind)) = self.ending {
            return Some(Signal::End(ending));
        }
        if std::mem::take(&mut self.ping) {
            return Some(Signal::Ping);
        }
        if let Some(catch_up) = &mut self.catch_up {
            let event = catch_up.ready.pop_front()?;
            self.has_told_changes |= event.change().is_some();
            return Some(Signal::Event(Arc::new(Delivery::new(event))));
        }
        if self.reading.is_some() {
            return None;
        }
        loop {
            let told = match self.inbox.pop_front() {
                Some(Item::Event(delivery, since)) => self.event(delivery, since),
                Some(Item::Removed(chat, revision)) => self.removed(chat, revision),
                Some(Item::Show(chat, revision)) => self.shown(chat, revision),
                // The remaining events of the node have been sent.
                None => return self.ending.map(Signal::End),
            };
            match told {
                Emit::Now(delivery) => return Some(Signal::Event(delivery)),
                Emit::Nothing => {}
                Emit::Later(item) => {
                    self.inbox.push_front(item);
                    return None;
                }
            }
        }
    }

    fn poll_mailbox(&mut self, task: &mut Context<'_>) -> Poll<Found> {
        if let Some(hold) = &mut self.hold
            && (hold.as_mut().poll(task).is_ready() || self.link.mailbox.is_half_full())
        {
            self.hold = None;
        }
        self.link.mailbox.poll_take(&mut self.inbox, self.hold.is_some(), task)
    }

    /// Decides what the client is told of an event; a change of a chat follows the change `since`.
    fn event(&mut self, delivery: Arc<Delivery>, since: Revision) -> Emit {
        match delivery.event() {
            Event::PresenceChanged(Presence { user_id, online, .. }) => {
                let is_news = self.link.is_news(*user_id, *online);
                if is_news { Emit::Now(delivery) } else { Emit::Nothing }
            }
            // Ephemeral events are sent only to clients that have the chat.
            Event::Typing(Typing { chat_id, .. })
            | Event::ReadMoved(MarkMove { chat_id, .. })
            | Event::DeliveredMoved(MarkMove { chat_id, .. }) => match self.link.delivered(*chat_id) {
                Some(_) => Emit::Now(delivery),
                None => Emit::Nothing,
            },
            event => match event.change() {
                Some((chat, revision)) => self.change(delivery, chat, since, revision),
                None => Emit::Now(delivery),
            },
        }
    }

    /// A change is sent if it directly follows what the client has.
    fn change(&mut self, delivery: Arc<Delivery>, chat: ChatId, since: Revision, revision: Revision) -> Emit {
        let mut link_state = self.link.state();
        let Some(chat_state) = link_state.chats.get_mut(&chat) else { return Emit::Nothing };
        let Some(has) = chat_state.delivered().filter(|has| revision > *has) else { return Emit::Nothing };
        if since > has {
            drop(link_state);
            // Must not happen, and is repaired by reading: leaving changes out would be worse.
            tracing::error!(%chat, %has, %since, "changes of a chat are missing in a mailbox");
            return Emit::Later(Item::Show(chat, revision));
        }
        chat_state.set_delivered(revision);
        let given = chat_state.snapshot();
        drop(link_state);
        self.has_told_changes = true;
        Emit::Now(delivery.for_one_who_has(given, has))
    }

    fn shown(&self, chat: ChatId, revision: Revision) -> Emit {
        match self.link.delivered(chat) {
            Some(told) if told >= revision => Emit::Nothing,
            _ => Emit::Later(Item::Show(chat, revision)),
        }
    }

    fn removed(&self, chat: ChatId, revision: Revision) -> Emit {
        let mut link_state = self.link.state();
        let Some(chat_state) = link_state.chats.get_mut(&chat) else { return Emit::Nothing };
        // If the client was given the chat after this removal, the removal is outdated.
        let had_it = chat_state.snapshot() < revision && chat_state.delivered().is_some();
        if had_it {
            chat_state.forget();
        }
        if !chat_state.has_joined() && chat_state.delivered().is_none() {
            link_state.chats.remove(&chat);
        }
        if had_it {
            Emit::Now(Arc::new(Delivery::new(Event::ChatRemoved { chat_id: chat })))
        } else {
            Emit::Nothing
        }
    }

    const fn is_catching_up(&self) -> bool {
        self.catch_up.is_some() || self.reading.is_some()
    }

    async fn advance_catch_up(&mut self) -> Result<()> {
        if let Some(mut catch_up) = self.catch_up.take() {
            let (hub, link) = (Arc::clone(&self.hub), Arc::clone(&self.link));
            self.reading = Some(AbortOnDropHandle::new(tokio::spawn(async move {
                let more = catch_up.read_more(&hub, &link).await;
                (catch_up, more)
            })));
        }
        self.end_reading().await
    }

    /// Waits until the step being read is complete. Dropping the future loses nothing.
    async fn end_reading(&mut self) -> Result<()> {
        let Some(reading) = &mut self.reading else { return Ok(()) };
        let read = reading.await;
        self.reading = None;
        let (catch_up, more) = tasks::answer_of(read.map(Ok))?;
        if more? {
            self.catch_up = Some(catch_up);
        }
        Ok(())
    }

    /// Shows a chat that is new to the client. If the client has it already, what it lacks of it is sent; if the person
    /// is no longer in it, the removal is queued behind this item.
    fn showing(&self, chat: ChatId, revision: Revision) -> CatchUp {
        match self.link.delivered(chat) {
            Some(has) => CatchUp::one(&self.hub, chat, has, revision),
            None => CatchUp::shown(chat),
        }
    }
}

/// What to do with a queued item.
enum Emit {
    /// Send this to the client.
    Now(Arc<Delivery>),
    /// Skip it: the client knows it already, or it does not concern the client.
    Nothing,
    /// Something must be read first, when this is the first in the queue.
    Later(Item),
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.hub.leave(&self.link);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.link.id)
            .field("actor", &self.actor)
            .finish_non_exhaustive()
    }
}
