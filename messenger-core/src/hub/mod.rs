//! Real time: which connections this node has, and what they are told.
//!
//! The bus is a hint and the store is the truth. There is a room for each chat that a local connection is in; it keeps
//! the last change that it gave out. What is missing is read from the store, and a sweep compares all rooms with the
//! store every few seconds, so that what the bus has lost arrives late, in order, once.
//!
//! What a connection is told of a chat depends only on what its own client has: a room gives out changes, and each
//! connection takes those that follow what it was told last.

mod bounds;
mod catch_up;
mod checks;
mod comparing;
mod connection;
mod delivery;
mod last_seen;
mod leases;
mod link;
mod lock;
mod mailbox;
mod outage;
mod outgoing;
mod polling;
mod room;
mod settings;
mod tasks;
#[cfg(test)]
mod tests;
mod watched;
mod watching;
mod within;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use dashmap::DashMap;
use tokio::{sync::mpsc, time::Instant};

pub use connection::{Connection, Resumed, Signal};
pub use delivery::{Delivery, FrameEncoder};
pub use mailbox::Ending;
pub use outage::{Dependency, Outage};
pub use settings::HubSettings;

use self::{
    bounds::ATTEMPTS,
    checks::Checks,
    last_seen::LastSeen,
    link::{Link, LinkState},
    lock::lock,
    mailbox::Item,
    outage::Outages,
    outgoing::Outgoing,
    room::{Entered, Outcome, Room},
    watched::Watched,
};
use crate::{
    Limits,
    context::Context,
    domain::{ChatId, ConnectionId, Event, Revision, SessionId, SystemEvent, Timestamp, UserId},
    error::{Error, Result},
    policy::PolicyGate,
    ports::{
        Bus, BusMessage, ChatHead, Hint, Lease, MemberChat, Memberships, NodeId, PresenceStore, Store, Topic,
    },
};

/// How many chats the connections of one person to this node may have named in parts of incomplete resumes, and those
/// of all people: some 3 MB and 30 MB.
const NAMED_BY_ONE: usize = 100_000;
const NAMED_IN_ALL: usize = 1_000_000;

/// The connections of this node.
pub(crate) struct Hub {
    node: NodeId,
    store: Arc<dyn Store>,
    presence: Arc<dyn PresenceStore>,
    bus: Arc<dyn Bus>,
    policy: PolicyGate,
    context: Context,
    limits: Limits,
    settings: HubSettings,
    session_lifetime: Duration,
    rooms: DashMap<ChatId, Arc<Room>>,
    /// People with connections to this node.
    users: DashMap<UserId, Vec<Arc<Link>>>,
    watched: DashMap<UserId, Watched>,
    /// All connections, in as many groups as there are seconds between two pings.
    wheel: Box<[Mutex<Vec<Arc<Link>>>]>,
    open: AtomicUsize,
    /// How many chats are named in the parts of incomplete resumes.
    named: AtomicUsize,
    checks: Checks,
    /// Connections that presence did not record when they came.
    unrecorded: Mutex<Vec<Arc<Link>>>,
    /// Leases to return, and since when: after their time they have ended by themselves.
    departed: Mutex<VecDeque<(Instant, Lease)>>,
    /// People whose leases were returned in the last [`HubSettings::offline_grace`].
    departed_lately: Mutex<VecDeque<(Timestamp, UserId)>>,
    last_seen: LastSeen,
    outgoing: Outgoing,
    outages: Arc<Outages>,
}

/// The components of a hub.
pub(crate) struct HubParts {
    pub(crate) node: NodeId,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) presence: Arc<dyn PresenceStore>,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) policy: PolicyGate,
    pub(crate) context: Context,
    pub(crate) limits: Limits,
    pub(crate) settings: HubSettings,
    pub(crate) session_lifetime: Duration,
}

impl Hub {
    /// Makes a hub, and the queue of messages to the other nodes.
    pub(crate) fn new(parts: HubParts) -> (Self, mpsc::Receiver<Vec<BusMessage>>) {
        let HubParts { node, store, presence, bus, policy, context, limits, .. } = parts;
        let HubParts { mut settings, session_lifetime, .. } = parts;
        settings.lease = settings.lease.clamp(Duration::from_secs(3), Duration::from_secs(60));
        let groups = usize::try_from(settings.ping_interval.as_secs()).unwrap_or(usize::MAX).clamp(1, 300);
        let (outgoing, waiting) = Outgoing::new();
        let outages = Outages::new(context.clone());
        let hub = Self {
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
            watched: DashMap::new(),
            wheel: (0..groups).map(|_| Mutex::default()).collect(),
            open: AtomicUsize::new(0),
            named: AtomicUsize::new(0),
            checks: Checks::default(),
            unrecorded: Mutex::default(),
            departed: Mutex::default(),
            departed_lately: Mutex::default(),
            last_seen: LastSeen::default(),
            outgoing,
            outages,
        };
        hub.topic_wanted(Topic::Nodes);
        (hub, waiting)
    }

    /// What can't be reached at present.
    pub(crate) fn outages(&self) -> Vec<Outage> {
        self.outages.current()
    }

    /// How many connections are open.
    pub(crate) fn connections(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Registers a connection; false if the person has the maximum number of connections.
    fn register(&self, link: &Arc<Link>) -> bool {
        let mut links = self.users.entry(link.user).or_default();
        if links.len() >= self.settings.connections_of_one.max(1) {
            return false;
        }
        let first = links.is_empty();
        links.push(Arc::clone(link));
        drop(links);
        lock(self.group(link.id)).push(Arc::clone(link));
        self.open.fetch_add(1, Ordering::Relaxed);
        metrics::gauge!("messenger_connections").increment(1);
        if first {
            self.topic_wanted(Topic::User(link.user));
        }
        true
    }

    /// Lets the connection join the rooms of all its person's chats. Then `begin` determines what its client has of
    /// them; for each chat it is given a revision at which the person was a member, and after which the connection
    /// receives every change.
    async fn enter_all<T>(
        &self,
        link: &Arc<Link>,
        left_after: Option<u64>,
        begin: impl FnOnce(&mut LinkState, &Memberships, &[(ChatId, Revision)]) -> T,
    ) -> Result<T> {
        let mut taken = Taken { hub: self, link, chats: Vec::new() };
        for _ in 0..ATTEMPTS {
            let memberships = self.store.memberships(link.user, left_after).await?;
            let enter = |MemberChat { head, .. }: &MemberChat| match self.enter(link, head, false) {
                Entered::Now { since } => {
                    taken.chats.push(head.chat);
                    Some((head.chat, since))
                }
                Entered::Before => Some((head.chat, head.revision)),
                Entered::Stale | Entered::Gone => None,
            };
            let entered: Option<Vec<_>> = memberships.chats.iter().map(enter).collect();
            let Some(entered) = entered else { continue };
            let mut link_state = link.state();
            if entered.iter().all(|(chat, revision)| link_state.has_joined_since(*chat, *revision)) {
                link.has_entered(memberships.count);
                taken.chats.clear();
                return Ok(begin(&mut link_state, &memberships, &entered));
            }
        }
        Err(Error::unavailable())
    }

    /// Lets the connection of a person who is a member at `head` join a room; with `show`, its client is to be shown
    /// the chat.
    fn enter(&self, link: &Arc<Link>, head: &ChatHead, show: bool) -> Entered {
        if let Some(peer) = head.peer {
            self.watch_peer(link, peer);
        }
        // Does not look at the room, because this is the usual case when a client resumes.
        if link.state().chats.get(&head.chat).is_some_and(|chat_state| chat_state.has_joined()) {
            return Entered::Before;
        }
        let entered = self.in_room(head.chat, head.revision, |room| room.enter(link, head.revision, show));
        if entered == Entered::Gone {
            // The room may have been made for this connection.
            self.close_room(head.chat);
        }
        entered
    }

    /// Runs `act` in the room of a chat, which is created, with everything up to `delivered` given out, if it does not
    /// exist. Runs under the map's lock, or the room could be closed in the meantime for being empty.
    fn in_room<T>(&self, chat: ChatId, delivered: Revision, act: impl FnOnce(&Room) -> T) -> T {
        let mut made = false;
        let room = self.rooms.entry(chat).or_insert_with(|| {
            made = true;
            Arc::new(Room::new(chat, delivered, self.context.now()))
        });
        let done = act(&room);
        drop(room);
        if made {
            self.topic_wanted(Topic::Chat(chat));
            self.checks.want(&[chat], &[]);
        }
        done
    }

    fn exit(&self, link: &Link, chat: ChatId) {
        if self.room(chat).is_some_and(|room| room.leave(link)) {
            self.close_room(chat);
        }
    }

    fn close_room(&self, chat: ChatId) {
        if self.rooms.remove_if(&chat, |_, room| room.close_if_idle()).is_some() {
            self.topic_unwanted(Topic::Chat(chat));
        }
    }

    /// Counts the chats that a connection has named in parts of a resume; an error if there are too many.
    fn has_named(&self, link: &Link, chats: usize) -> Result<()> {
        let before = link.has_named(chats);
        let in_all = self.named.fetch_add(chats, Ordering::Relaxed).saturating_add(chats);
        self.named.fetch_sub(before, Ordering::Relaxed);
        if chats <= before {
            return Ok(());
        }
        let by_one: usize = self.links_of(link.user).iter().map(|link| link.named()).sum();
        if by_one > NAMED_BY_ONE {
            return Err(Error::invalid("chats", "are more than a person may name in parts"));
        }
        if in_all - before > NAMED_IN_ALL { Err(Error::unavailable()) } else { Ok(()) }
    }

    /// Removes a connection. Its lease is returned by the next tick.
    fn leave(&self, link: &Arc<Link>) {
        let (chats, watched) = {
            let mut link_state = link.state();
            link_state.gone = true;
            (std::mem::take(&mut link_state.chats), std::mem::take(&mut link_state.watched))
        };
        for (chat, chat_state) in chats {
            if chat_state.has_joined() {
                self.exit(link, chat);
            }
        }
        for user in watched.into_keys() {
            self.unwatch(link, user);
        }
        if let Some(mut links) = self.users.get_mut(&link.user) {
            links.retain(|other| other.id != link.id);
        }
        if self.users.remove_if(&link.user, |_, links| links.is_empty()).is_some() {
            self.topic_unwanted(Topic::User(link.user));
        }
        lock(self.group(link.id)).retain(|other| other.id != link.id);
        self.has_departed(link.lease());
        self.named.fetch_sub(link.has_named(0), Ordering::Relaxed);
        self.open.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!("messenger_connections").decrement(1);
    }

    /// Ends all connections of the node.
    pub(crate) fn end_all(&self) {
        for group in &self.wheel {
            for link in lock(group).iter() {
                link.mailbox.end(Ending::GoingAway);
            }
        }
    }

    /// Applies a message from the bus, or of this node, to the connections of this node.
    pub(crate) fn apply(&self, message: &BusMessage) {
        match &*message.hint {
            Hint::Event(event) => self.apply_event(message, event),
            Hint::Added { chat, revision, users } => {
                users.iter().for_each(|user| self.admit(*chat, *revision, *user));
            }
            Hint::SessionsEnded { user, sessions } => self.end_sessions(*user, sessions),
            Hint::Invalidate {} | Hint::Sealed(_) => self.compare(&message.topics),
        }
    }

    fn apply_event(&self, message: &BusMessage, event: &Event) {
        let delivery = || Arc::new(Delivery::of_hint(Arc::clone(&message.hint)));
        match event {
            Event::PresenceChanged(presence) => self.deliver_presence(*presence),
            Event::Typing(typing) => self.broadcast(typing.chat_id, delivery, Some(typing.user_id)),
            Event::ReadMoved(mark) | Event::DeliveredMoved(mark) => {
                if message.topics.contains(&Topic::Chat(mark.chat_id)) {
                    self.broadcast(mark.chat_id, delivery, None);
                } else {
                    self.deliver_to_user(mark.user_id, delivery);
                }
            }
            event => {
                if let Some((chat, revision)) = event.change() {
                    self.apply_change(chat, revision, &delivery());
                }
            }
        }
    }

    fn apply_change(&self, chat: ChatId, revision: Revision, delivery: &Arc<Delivery>) {
        while let Some(room) = self.room(chat) {
            let outcome = room.announce(revision, Arc::clone(delivery), |user| self.links_of(user));
            // Closed between the lookup and the announcement: there may be another room by now.
            if outcome.closed {
                continue;
            }
            self.follow_up(chat, &outcome);
            if outcome.old {
                break;
            }
            return;
        }
        // No room has given this change to the people it adds: no connection here was in the chat, or the room had read
        // the change before this node was told of it.
        if let Event::ChatUpdated(update) = delivery.event()
            && let Some(note) = &update.message.system
            && note.event == SystemEvent::MembersAdded
        {
            note.user_ids.iter().for_each(|user| self.admit(chat, revision, *user));
        }
    }

    /// The room of a chat, without the map's lock: work in it may take a while.
    fn room(&self, chat: ChatId) -> Option<Arc<Room>> {
        self.rooms.get(&chat).map(|room| Arc::clone(&room))
    }

    fn follow_up(&self, chat: ChatId, outcome: &Outcome) {
        if outcome.gap {
            self.checks.want(&[chat], &[]);
        }
        if outcome.idle {
            self.close_room(chat);
        }
    }

    /// Lets a person join a chat that they are a member of at `revision`.
    fn admit(&self, chat: ChatId, revision: Revision, user: UserId) {
        for link in self.links_of(user) {
            let head = ChatHead { chat, revision, peer: None };
            if self.enter(&link, &head, true) == Entered::Stale {
                // The current state of the store decides.
                self.checks.want(&[], &[user]);
            }
        }
    }

    fn broadcast(&self, chat: ChatId, delivery: impl FnOnce() -> Arc<Delivery>, except: Option<UserId>) {
        if let Some(room) = self.room(chat) {
            room.broadcast(&delivery(), except);
        }
    }

    fn deliver_to_user(&self, user: UserId, delivery: impl FnOnce() -> Arc<Delivery>) {
        let links = self.links_of(user);
        if !links.is_empty() {
            let delivery = delivery();
            links.iter().for_each(|link| link.mailbox.push(Item::of(&delivery)));
        }
    }

    fn end_sessions(&self, user: UserId, sessions: &[SessionId]) {
        for link in self.links_of(user) {
            if link.session.is_some_and(|session| sessions.contains(&session)) {
                link.mailbox.end(Ending::SessionEnded);
            }
        }
    }

    fn links_of(&self, user: UserId) -> Vec<Arc<Link>> {
        self.users.get(&user).map(|links| links.clone()).unwrap_or_default()
    }

    fn topic_wanted(&self, topic: Topic) {
        self.checks.subscribe(topic, true);
    }

    /// Passes all wanted topics to the bus again.
    fn want_all_topics(&self) {
        self.topic_wanted(Topic::Nodes);
        let chats = self.rooms.iter().map(|room| Topic::Chat(*room.key())).collect::<Vec<_>>();
        let people = self.users.iter().map(|links| *links.key()).collect::<Vec<_>>();
        let watched = self.watched.iter().map(|watched| *watched.key()).collect::<Vec<_>>();
        let people = people.into_iter().chain(watched).map(Topic::User);
        chats.into_iter().chain(people).for_each(|topic| self.topic_wanted(topic));
    }

    fn topic_unwanted(&self, topic: Topic) {
        // Whoever begins to need the topic is in the map before they request it under this lock: either they are seen
        // here, or their request comes after this one.
        self.checks.subscribe_if(topic, || match topic {
            Topic::Chat(chat) => self.rooms.contains_key(&chat),
            Topic::User(user) => self.users.contains_key(&user) || self.watched.contains_key(&user),
            Topic::Nodes => true,
        });
    }

    /// Publishes to the connections of this node, and to the other nodes, which receive it if the bus can be reached
    /// and find it in the store otherwise.
    pub(crate) fn publish(&self, messages: Vec<BusMessage>) {
        for message in &messages {
            self.apply(message);
        }
        self.outgoing.push(messages);
    }

    /// The same; if that panics, everything is compared with the store, and the lane that waits for this continues.
    pub(crate) fn publish_or_compare(&self, messages: Vec<BusMessage>) {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.publish(messages))).is_err() {
            tracing::error!("what was stored could not be told");
            self.compare_everything();
            self.outgoing.has_lost();
        }
    }

    fn group(&self, id: ConnectionId) -> &Mutex<Vec<Arc<Link>>> {
        let bytes = id.as_bytes();
        &self.wheel[usize::from(u16::from_be_bytes([bytes[14], bytes[15]])) % self.wheel.len()]
    }
}

/// Rooms that were joined for a client that has yet to be told; if it is not told, the rooms are left again, or the
/// next check would find that the connection lacks nothing.
struct Taken<'a> {
    hub: &'a Hub,
    link: &'a Link,
    chats: Vec<ChatId>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        for chat in self.chats.drain(..) {
            if self.hub.room(chat).is_some_and(|room| room.undo_enter(self.link)) {
                self.hub.close_room(chat);
            }
        }
    }
}
