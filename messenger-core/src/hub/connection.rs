use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    future::Future,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::Sleep;

use super::{
    Delivery, Ending, Hub, Link,
    catch_up::CatchUp,
    mailbox::{Found, Item},
};
use crate::{
    Actor, convert,
    domain::{ChatId, ConnectionId, Event, Presence, Revision, UserId},
    error::{Error, Result},
};

/// A live connection of a person: what a socket reads its events from. Dropping it ends it.
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
/// assert_eq!(delivery.event(), &Event::CaughtUp {});
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
pub struct Connection {
    hub: Arc<Hub>,
    link: Arc<Link>,
    actor: Actor,
    inbox: VecDeque<Item>,
    catch_up: Option<Box<CatchUp>>,
    /// Chats of which this connection has been given everything up to a revision by other means than its mailbox.
    known: HashMap<ChatId, Revision>,
    /// Chats that the person was added to and removed from again before the client was told of them.
    untold: HashSet<ChatId>,
    hold: Option<Pin<Box<Sleep>>>,
    /// Whether a change of a chat has gone out.
    has_told_changes: bool,
    ping: bool,
    ending: Option<Ending>,
}

/// What a connection is to do next.
#[derive(Debug, Clone)]
pub enum Signal {
    /// Send this event.
    Event(Arc<Delivery>),
    /// Ask the client to show that it lives, and end the connection if it has not since the last time.
    Ping,
    /// End the connection.
    End(Ending),
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
            known: HashMap::new(),
            untold: HashSet::new(),
            hold,
            has_told_changes: false,
            ping: false,
            ending: None,
        }
    }

    /// Its id.
    pub fn id(&self) -> ConnectionId {
        self.link.id
    }

    /// Whose it is.
    pub const fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Lets events out. Called with the first request that is not a resume; without one, events are held back for
    /// [`HubSettings::resume_grace`](super::HubSettings::resume_grace), so that a resume can still come first.
    pub fn go_live(&mut self) {
        self.hold = None;
    }

    /// Sends what was missed, then [`Event::CaughtUp`], then goes on live.
    ///
    /// `chats` says what the client has. What was missed in these chats follows as events ([`Event::ChatReset`]
    /// where it is too much), other chats of the person as [`Event::ChatAdded`], and chats that are no longer the
    /// person's as [`Event::ChatRemoved`]. With `None` there is nothing to catch up on.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the store can't be read; then nothing has been sent.
    pub async fn resume(&mut self, chats: Option<HashMap<ChatId, Revision>>) -> Result<()> {
        let mut catch_up = match chats {
            Some(chats) => CatchUp::plan(&self.hub, self.link.user, chats, self.has_told_changes).await?,
            None => CatchUp::nothing(),
        };
        self.known.extend(std::mem::take(&mut catch_up.gone));
        self.catch_up = Some(Box::new(catch_up));
        self.hold = None;
        Ok(())
    }

    /// Watches the presence of these people, and answers with what it is now.
    ///
    /// # Errors
    /// [`Error::Invalid`] if they are too many, then none of them is watched; what the host's policy says of
    /// `WatchPresence`; [`Error::Unavailable`].
    pub async fn watch(&self, users: &[UserId]) -> Result<Vec<Presence>> {
        self.hub.allow(&self.actor, "WatchPresence").await?;
        self.hub.check_presence_users(users)?;
        if !self.hub.watch_all(&self.link, users) {
            return Err(Error::invalid("userIds", "are more people than one connection may watch"));
        }
        self.hub.presence_of(users).await
    }

    /// Watches these people no longer, and answers with what their presence is now. The other side of a direct chat
    /// is watched all the same.
    ///
    /// # Errors
    /// [`Error::Invalid`] if they are too many; what the host's policy says of `UnwatchPresence`;
    /// [`Error::Unavailable`].
    pub async fn unwatch(&self, users: &[UserId]) -> Result<Vec<Presence>> {
        self.hub.allow(&self.actor, "UnwatchPresence").await?;
        self.hub.check_presence_users(users)?;
        let peers: Vec<UserId> = self
            .hub
            .store
            .memberships(self.link.user)
            .await?
            .chats
            .iter()
            .filter_map(|head| head.peer)
            .collect();
        for user in users {
            let mut places = self.link.places();
            places.asked.remove(user);
            let was_watched = !peers.contains(user) && places.watched.remove(user);
            drop(places);
            if was_watched {
                self.hub.unwatch(&self.link, *user);
            }
        }
        self.hub.presence_of(users).await
    }

    /// What is to be done next. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Signal {
        loop {
            if let Some(signal) = self.try_next() {
                return signal;
            }
            if self.catch_up.is_some() {
                if self.advance_catch_up().await.is_err() {
                    return Signal::End(Ending::TooFarBehind);
                }
                continue;
            }
            if let Some(Item::Added(chat, revision)) = self.inbox.front() {
                match self.added(*chat, *revision).await {
                    // Taken from the inbox only now: if this future is dropped before, it is done again.
                    Ok(event) => {
                        self.inbox.pop_front();
                        if let Some(event) = event {
                            return Signal::Event(Arc::new(Delivery::new(event)));
                        }
                    }
                    Err(_) => return Signal::End(Ending::TooFarBehind),
                }
                continue;
            }
            let found = poll_fn(|task| self.poll_mailbox(task)).await;
            self.ping |= found.ping;
            self.ending = self.ending.or(found.ending);
        }
    }

    /// What is to be done next, if that is known without waiting: so that what is there goes out together.
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
        loop {
            match self.inbox.front() {
                Some(Item::Event(_)) => {
                    let Some(Item::Event(delivery)) = self.inbox.pop_front() else { return None };
                    if self.is_news(delivery.event()) {
                        return Some(Signal::Event(delivery));
                    }
                }
                Some(Item::Removed(..)) => {
                    let Some(Item::Removed(delivery, chat, revision)) = self.inbox.pop_front() else {
                        return None;
                    };
                    if !self.untold.remove(&chat) && !self.is_known(chat, revision) {
                        return Some(Signal::Event(delivery));
                    }
                }
                Some(Item::Settled(chats)) => {
                    for chat in chats.iter() {
                        self.known.remove(chat);
                    }
                    self.known.shrink_to_fit();
                    self.inbox.pop_front();
                }
                Some(Item::Added(..)) => return None,
                // The rest of what the node had to say has gone out.
                None => return self.ending.map(Signal::End),
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

    fn is_news(&mut self, event: &Event) -> bool {
        let Some((chat, revision)) = event.change() else { return true };
        if self.is_known(chat, revision) || !self.untold.is_empty() && self.untold.contains(&chat) {
            return false;
        }
        self.has_told_changes = true;
        true
    }

    /// Whether the client has been given a change of a chat already, by other means.
    fn is_known(&mut self, chat: ChatId, revision: Revision) -> bool {
        if self.known.is_empty() {
            return false;
        }
        match self.known.get(&chat) {
            Some(known) if revision <= *known => true,
            Some(_) => {
                self.known.remove(&chat);
                false
            }
            None => false,
        }
    }

    async fn advance_catch_up(&mut self) -> Result<()> {
        let Some(catch_up) = &mut self.catch_up else { return Ok(()) };
        let step = catch_up.read_more(&self.hub, self.link.user).await?;
        match step {
            Some(known) => self.known.extend(known),
            None => {
                self.catch_up = None;
                self.settle();
            }
        }
        Ok(())
    }

    /// After a catch-up: a chat whose room has given out all that the catch-up has sent needs no comparison once
    /// what waits in the mailbox now has been read.
    fn settle(&self) {
        let is_settled =
            |chat: ChatId, known: Revision| self.hub.room(chat).is_none_or(|room| room.delivered() >= known);
        let settled: Vec<ChatId> = self
            .known
            .iter()
            .filter(|(chat, known)| is_settled(**chat, **known))
            .map(|(chat, _)| *chat)
            .collect();
        if !settled.is_empty() {
            self.link.mailbox.push(Item::Settled(settled.into()));
        }
    }

    /// The event that tells of a chat that the person was added to by the change `revision`.
    async fn added(&mut self, chat: ChatId, revision: Revision) -> Result<Option<Event>> {
        let Some(view) = self.hub.store.chat_views(self.link.user, &[chat]).await?.pop() else {
            // Gone again meanwhile: a removal waits behind this.
            if !self.known.contains_key(&chat) {
                self.untold.insert(chat);
            }
            return Ok(None);
        };
        self.untold.remove(&chat);
        let chat = convert::chat(view)?;
        if let Some(peer) = &chat.peer {
            self.hub.watch(&self.link, peer.id);
        }
        if self.known.get(&chat.id).is_some_and(|known| *known >= revision) {
            return Ok(None);
        }
        self.known.insert(chat.id, chat.revision);
        Ok(Some(Event::ChatAdded { chat: Box::new(chat) }))
    }
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
