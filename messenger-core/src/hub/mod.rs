//! Real time: who is connected to this node, and what they are told.
//!
//! The bus is a hint and the store is the truth. A room for each chat that a local connection is in
//! keeps the last change it gave out; what is missing is read from the store, and a sweep compares all rooms with
//! the store every few seconds, so that what a bus has lost arrives late, in order, once.

mod catch_up;
mod connection;
mod delivery;
mod link;
mod mailbox;
mod room;
mod tasks;

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use dashmap::DashMap;
use tokio::sync::{Notify, mpsc};

pub use connection::{Connection, Signal};
pub use delivery::{Delivery, FrameSlot};
pub use mailbox::Ending;

use self::{
    link::Link,
    mailbox::{Item, Mailbox},
    room::{Outcome, Room},
};
use crate::{
    Actor, Limits, Policy,
    context::Context,
    domain::{ChatId, ConnectionId, Event, Presence as PresenceOf, Revision, SessionId, SystemEvent, UserId},
    error::{Error, Result},
    ports::{Bus, BusMessage, ChatHead, Hint, Lease, NodeId, Presence, Store, Topic},
};

/// How the hub keeps time and bounds.
#[derive(Debug, Clone)]
pub struct HubSettings {
    /// Events that may wait for one connection; a connection with more is ended.
    pub mailbox: usize,
    /// How long a new connection is given to say [`Connection::resume`] before live events go out.
    pub resume_grace: Duration,
    /// How often a connection is asked to show that it lives.
    pub ping_interval: Duration,
    /// How often all rooms are compared with the store.
    pub sweep_interval: Duration,
    /// How long a presence lease lasts; it is renewed every third of it. From 3 to 60 s; what lies beyond is brought
    /// within.
    pub lease: Duration,
    /// How long after the last lease a person is offline.
    pub offline_grace: Duration,
    /// People whose presence one connection may ask to watch; the other sides of direct chats are watched by
    /// themselves and don't count.
    pub watched: usize,
    /// Connections that one person may have to this node.
    pub connections_of_one: usize,
}

impl Default for HubSettings {
    fn default() -> Self {
        Self {
            mailbox: 4096,
            resume_grace: Duration::from_secs(1),
            ping_interval: Duration::from_secs(30),
            sweep_interval: Duration::from_secs(10),
            lease: Duration::from_secs(60),
            offline_grace: Duration::from_secs(5),
            watched: 1000,
            connections_of_one: 100,
        }
    }
}

/// The connections of this node.
pub(crate) struct Hub {
    node: NodeId,
    store: Arc<dyn Store>,
    presence: Arc<dyn Presence>,
    bus: Arc<dyn Bus>,
    policy: Option<Arc<dyn Policy>>,
    context: Context,
    limits: Limits,
    settings: HubSettings,
    session_lifetime: Duration,
    rooms: DashMap<ChatId, Arc<Room>>,
    users: DashMap<UserId, LocalUser>,
    watchers: DashMap<UserId, Vec<Arc<Link>>>,
    /// All connections, in as many groups as there are seconds between two pings.
    wheel: Box<[Mutex<Vec<Arc<Link>>>]>,
    open: AtomicUsize,
    checks: Mutex<Checks>,
    checks_wanted: Notify,
    departed: Mutex<Vec<Lease>>,
    /// To the task that tells the other nodes.
    abroad: mpsc::Sender<Vec<BusMessage>>,
}

/// A person with connections to this node.
#[derive(Debug, Default)]
struct LocalUser {
    links: Vec<Arc<Link>>,
    /// The [count](crate::ports::UserRecord::memberships) at which their chats were last read.
    memberships: u64,
}

/// What is to be compared with the store as soon as can be.
#[derive(Debug, Default)]
struct Checks {
    chats: HashSet<ChatId>,
    users: HashSet<UserId>,
    /// What the bus is to be told, in order: whether a topic is wanted from now on.
    topics: Vec<(Topic, bool)>,
}

/// What a hub is made of.
pub(crate) struct HubParts {
    pub(crate) node: NodeId,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) presence: Arc<dyn Presence>,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) policy: Option<Arc<dyn Policy>>,
    pub(crate) context: Context,
    pub(crate) limits: Limits,
    pub(crate) settings: HubSettings,
    pub(crate) session_lifetime: Duration,
    pub(crate) abroad: mpsc::Sender<Vec<BusMessage>>,
}

impl Hub {
    pub(crate) fn new(parts: HubParts) -> Self {
        let HubParts { node, store, presence, bus, policy, context, limits, .. } = parts;
        let HubParts { mut settings, session_lifetime, abroad, .. } = parts;
        settings.lease = settings.lease.clamp(Duration::from_secs(3), Duration::from_secs(60));
        let groups = usize::try_from(settings.ping_interval.as_secs()).unwrap_or(usize::MAX).clamp(1, 300);
        Self {
            node,
            store,
            presence,
            bus,
            policy,
            context,
            limits,
            settings,
            session_lifetime,
            rooms: DashMap::new(),
            users: DashMap::new(),
            watchers: DashMap::new(),
            wheel: (0..groups).map(|_| Mutex::default()).collect(),
            open: AtomicUsize::new(0),
            checks: Mutex::default(),
            checks_wanted: Notify::new(),
            departed: Mutex::default(),
            abroad,
        }
    }

    /// How many connections are open.
    pub(crate) fn connections(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Takes in a connection: from now on it is told what happens in the person's chats. `RateLimited` if the person
    /// has too many.
    pub(crate) async fn join(self: &Arc<Self>, actor: &Actor) -> Result<Connection> {
        let user = actor.user()?;
        let id: ConnectionId = self.context.id();
        let link = Arc::new(Link::new(id, user, actor, Mailbox::new(self.settings.mailbox)));
        // Known by its person before the chats are read, so that a chat added meanwhile is not missed.
        if !self.register(&link) {
            return Err(Error::RateLimited(self.settings.ping_interval));
        }
        let connection = Connection::new(Arc::clone(self), Arc::clone(&link), *actor);
        self.enter_chats(&link).await?;
        let arrived = self.presence.renew(&[link.lease()], self.settings.lease).await;
        match arrived {
            Ok(online) => self.announce_online(&online),
            // Presence is worth less than the connection; the lease is taken with the next renewal.
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "presence was not taken"),
        }
        Ok(connection)
    }

    /// False if the person has as many connections as they may have.
    fn register(&self, link: &Arc<Link>) -> bool {
        let mut user = self.users.entry(link.user).or_default();
        if user.links.len() >= self.settings.connections_of_one.max(1) {
            return false;
        }
        let first = user.links.is_empty();
        user.links.push(Arc::clone(link));
        drop(user);
        lock(self.group(link.id)).push(Arc::clone(link));
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        metrics::gauge!("messenger_connections").set(open as f64);
        let mut checks = lock(&self.checks);
        if first {
            checks.topics.push((Topic::User(link.user), true));
        }
        // The session may have ended after it was looked at for this connection.
        checks.users.insert(link.user);
        drop(checks);
        self.checks_wanted.notify_one();
        true
    }

    /// Lets the connection into the rooms of all its person's chats.
    async fn enter_chats(&self, link: &Arc<Link>) -> Result<()> {
        let memberships = self.store.memberships(link.user).await?;
        let mut doubtful = Vec::new();
        for head in &memberships.chats {
            if !self.enter(link, head) {
                doubtful.push(head.chat);
            }
        }
        if let Some(mut user) = self.users.get_mut(&link.user) {
            user.memberships = user.memberships.max(memberships.count);
        }
        if doubtful.is_empty() {
            return Ok(());
        }
        // From these chats somebody was removed between the reading and the entering, perhaps this person. A removal
        // from now on finds the connection in the room, so one more look decides.
        let now = self.store.memberships(link.user).await?;
        let still: HashSet<ChatId> = now.chats.iter().map(|head| head.chat).collect();
        for chat in doubtful.into_iter().filter(|chat| !still.contains(chat)) {
            self.exit(link, chat);
            link.mailbox.forget(chat);
        }
        Ok(())
    }

    /// Lets a connection into one room. False if people were removed from the chat since `head` was read.
    fn enter(&self, link: &Arc<Link>, head: &ChatHead) -> bool {
        if let Some(peer) = head.peer {
            self.watch(link, peer);
        }
        let mut places = link.places();
        if places.gone {
            return true;
        }
        if !places.chats.insert(head.chat) {
            // Added while the chats were being read: to this connection it is a chat like the others.
            link.mailbox.forget_added(head.chat);
            return true;
        }
        self.in_room(head.chat, head.revision, |room| room.enter(link, head.revision))
    }

    /// Does something in the room of a chat, which is made if it is not there: one that has given out all up to
    /// `delivered`. Under the map's lock, or the room could be taken down meanwhile for being empty.
    fn in_room<T>(&self, chat: ChatId, delivered: Revision, act: impl FnOnce(&Room) -> T) -> T {
        let mut made = false;
        let room = self.rooms.entry(chat).or_insert_with(|| {
            made = true;
            Arc::new(Room::new(chat, delivered))
        });
        let done = act(&room);
        drop(room);
        if made {
            let mut checks = lock(&self.checks);
            checks.topics.push((Topic::Chat(chat), true));
            checks.chats.insert(chat);
            drop(checks);
            self.checks_wanted.notify_one();
        }
        done
    }

    fn exit(&self, link: &Link, chat: ChatId) {
        link.places().chats.remove(&chat);
        let empty = self.rooms.get(&chat).is_some_and(|room| room.leave(link));
        if empty && self.rooms.remove_if(&chat, |_, room| room.is_empty()).is_some() {
            self.topic_unwanted(Topic::Chat(chat));
        }
    }

    /// Forgets a connection. Its lease is given back by the next tick.
    fn leave(&self, link: &Arc<Link>) {
        let (chats, watched) = {
            let mut places = link.places();
            places.gone = true;
            (std::mem::take(&mut places.chats), std::mem::take(&mut places.watched))
        };
        for chat in chats {
            self.exit(link, chat);
        }
        for user in watched {
            self.unwatch(link, user);
        }
        if let Some(mut user) = self.users.get_mut(&link.user) {
            user.links.retain(|other| other.id != link.id);
        }
        if self.users.remove_if(&link.user, |_, user| user.links.is_empty()).is_some() {
            self.topic_unwanted(Topic::User(link.user));
        }
        lock(self.group(link.id)).retain(|other| other.id != link.id);
        lock(&self.departed).push(link.lease());
        let open = self.open.fetch_sub(1, Ordering::Relaxed) - 1;
        metrics::gauge!("messenger_connections").set(open as f64);
    }

    /// Ends all connections of the node.
    pub(crate) fn end_all(&self) {
        for group in &self.wheel {
            for link in lock(group).iter() {
                link.mailbox.end(Ending::GoingAway);
            }
        }
    }

    /// Tells the connections of this node what has happened.
    pub(crate) fn apply(&self, message: &BusMessage) {
        match &*message.hint {
            Hint::Event(event) => self.apply_event(message, event),
            Hint::Added { chat, users } => {
                for user in users {
                    self.enter_added(*chat, *user, Revision::ZERO);
                }
            }
            Hint::SessionsEnded { user, sessions } => self.end_sessions(*user, sessions),
        }
    }

    fn apply_event(&self, message: &BusMessage, event: &Event) {
        let delivery = || Arc::new(Delivery::of_hint(Arc::clone(&message.hint)));
        match event {
            Event::PresenceChanged(presence) => self.tell_watchers(presence.user_id, delivery),
            Event::Typing(typing) => self.broadcast(typing.chat_id, delivery, Some(typing.user_id)),
            Event::ReadMoved(mark) | Event::DeliveredMoved(mark) => {
                if message.topics.contains(&Topic::Chat(mark.chat_id)) {
                    self.broadcast(mark.chat_id, delivery, None);
                } else {
                    self.tell_user(mark.user_id, delivery);
                }
            }
            event => {
                if let Some((chat, revision)) = event.change() {
                    let outcome = match self.room(chat) {
                        Some(room) => room.announce(revision, delivery()),
                        // Nobody here is in the chat, but some may just have been added to it.
                        None => Outcome { gap: false, added: added_by(event, revision) },
                    };
                    self.follow_up(chat, outcome);
                }
            }
        }
    }

    /// The room of a chat, without the map's lock: what is done in it may take a while.
    fn room(&self, chat: ChatId) -> Option<Arc<Room>> {
        self.rooms.get(&chat).map(|room| Arc::clone(&room))
    }

    fn follow_up(&self, chat: ChatId, outcome: Outcome) {
        for (user, revision) in outcome.added {
            self.enter_added(chat, user, revision);
        }
        if outcome.gap {
            lock(&self.checks).chats.insert(chat);
            self.checks_wanted.notify_one();
        }
    }

    fn enter_added(&self, chat: ChatId, user: UserId, revision: Revision) {
        for link in self.links_of(user) {
            self.enter_added_link(&link, chat, revision);
        }
    }

    fn enter_added_link(&self, link: &Arc<Link>, chat: ChatId, revision: Revision) {
        let mut places = link.places();
        if places.gone {
            return;
        }
        if self.in_room(chat, revision, |room| room.enter_added(link, revision)) {
            places.chats.insert(chat);
            return;
        }
        drop(places);
        // What the store says now decides.
        if let Some(mut user) = self.users.get_mut(&link.user) {
            user.memberships = 0;
        }
        lock(&self.checks).users.insert(link.user);
        self.checks_wanted.notify_one();
    }

    fn broadcast(&self, chat: ChatId, delivery: impl FnOnce() -> Arc<Delivery>, except: Option<UserId>) {
        if let Some(room) = self.room(chat) {
            room.broadcast(&delivery(), except);
        }
    }

    fn tell_user(&self, user: UserId, delivery: impl FnOnce() -> Arc<Delivery>) {
        tell(&self.links_of(user), delivery);
    }

    fn tell_watchers(&self, user: UserId, delivery: impl FnOnce() -> Arc<Delivery>) {
        let watchers = self.watchers.get(&user).map(|links| links.clone()).unwrap_or_default();
        tell(&watchers, delivery);
    }

    fn end_sessions(&self, user: UserId, sessions: &[SessionId]) {
        for link in self.links_of(user) {
            if link.session.is_some_and(|session| sessions.contains(&session)) {
                link.mailbox.end(Ending::SessionEnded);
            }
        }
    }

    fn links_of(&self, user: UserId) -> Vec<Arc<Link>> {
        self.users.get(&user).map(|user| user.links.clone()).unwrap_or_default()
    }

    /// What the host has to say of something that only connections do.
    async fn allow(&self, actor: &Actor, operation: &'static str) -> Result<()> {
        match &self.policy {
            Some(policy) => policy.allow(actor, operation).await,
            None => Ok(()),
        }
    }

    /// Tells the connection of the comings and goings of all of them, or of none if they are too many.
    fn watch_all(&self, link: &Arc<Link>, users: &[UserId]) -> bool {
        let mut places = link.places();
        let new: HashSet<UserId> =
            users.iter().filter(|user| !places.asked.contains(user)).copied().collect();
        if places.asked.len() + new.len() > self.settings.watched {
            return false;
        }
        places.asked.extend(&new);
        drop(places);
        new.into_iter().for_each(|user| self.watch(link, user));
        true
    }

    /// Tells the connection of this person's comings and goings.
    fn watch(&self, link: &Arc<Link>, user: UserId) {
        let mut places = link.places();
        if places.gone || !places.watched.insert(user) {
            return;
        }
        let mut watchers = self.watchers.entry(user).or_default();
        let first = watchers.is_empty();
        watchers.push(Arc::clone(link));
        drop(watchers);
        if first {
            lock(&self.checks).topics.push((Topic::User(user), true));
            self.checks_wanted.notify_one();
        }
    }

    fn unwatch(&self, link: &Link, user: UserId) {
        if let Some(mut watchers) = self.watchers.get_mut(&user) {
            watchers.retain(|other| other.id != link.id);
        }
        if self.watchers.remove_if(&user, |_, watchers| watchers.is_empty()).is_some() {
            self.topic_unwanted(Topic::User(user));
        }
    }

    fn topic_unwanted(&self, topic: Topic) {
        // Whoever comes to need it has a place in the map before they say so behind this lock: either it is seen here,
        // or their word comes after this one.
        let mut checks = lock(&self.checks);
        let needed = match topic {
            Topic::Chat(chat) => self.rooms.contains_key(&chat),
            Topic::User(user) => self.users.contains_key(&user) || self.watchers.contains_key(&user),
        };
        if !needed {
            checks.topics.push((topic, false));
            self.checks_wanted.notify_one();
        }
    }

    /// Whether these people are there, in the same order; an unknown person is not.
    pub(crate) async fn presence_of(&self, users: &[UserId]) -> Result<Vec<PresenceOf>> {
        let unavailable = |error| Error::Unavailable(Some(Box::new(error)));
        let states = self.presence.query(users).await.map_err(unavailable)?;
        let offline: Vec<UserId> =
            states.iter().filter(|state| !state.online).map(|state| state.user).collect();
        let records = if offline.is_empty() { Vec::new() } else { self.store.users(&offline).await? };
        let last_seen = |user: UserId| records.iter().find(|r| r.id == user).and_then(|r| r.last_seen_at);
        Ok(states
            .iter()
            .map(|state| PresenceOf {
                user_id: state.user,
                online: state.online,
                last_seen_at: if state.online { None } else { last_seen(state.user) },
            })
            .collect())
    }

    fn check_presence_users(&self, users: &[UserId]) -> Result<()> {
        let max = self.limits.presence_users;
        if users.len() > max {
            Err(Error::invalid("userIds", format!("may name at most {max} people")))
        } else {
            Ok(())
        }
    }

    /// Tells the connections of this node, and the other nodes, which hear of it when the bus can be reached and
    /// find it in the store otherwise.
    pub(crate) fn tell(&self, messages: Vec<BusMessage>) {
        for message in &messages {
            self.apply(message);
        }
        if self.abroad.try_send(messages).is_err() {
            metrics::counter!("messenger_bus_dropped_total").increment(1);
        }
    }

    fn announce_online(&self, users: &[UserId]) {
        for user in users {
            self.announce_presence(PresenceOf { user_id: *user, online: true, last_seen_at: None });
        }
    }

    fn group(&self, id: ConnectionId) -> &Mutex<Vec<Arc<Link>>> {
        let bytes = id.as_bytes();
        &self.wheel[usize::from(u16::from_be_bytes([bytes[14], bytes[15]])) % self.wheel.len()]
    }
}

fn tell(links: &[Arc<Link>], delivery: impl FnOnce() -> Arc<Delivery>) {
    if links.is_empty() {
        return;
    }
    let delivery = delivery();
    for link in links {
        link.mailbox.push(Item::Event(Arc::clone(&delivery)));
    }
}

fn added_by(event: &Event, revision: Revision) -> Vec<(UserId, Revision)> {
    let Event::ChatUpdated(update) = event else { return Vec::new() };
    match &update.message.system {
        Some(note) if note.event == SystemEvent::MembersAdded => {
            note.user_ids.iter().map(|user| (*user, revision)).collect()
        }
        _ => Vec::new(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in this module panics while it holds a lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
