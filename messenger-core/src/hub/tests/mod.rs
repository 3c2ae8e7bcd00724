//! What a connection is told when something happens at a critical moment: while a chat is read for it, while the bus
//! accepts nothing, at a limit.

mod comparing;
mod connecting;
mod leases;
mod polling;
mod resuming;
mod watching;

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use tokio::time::timeout;

use super::{
    Connection, Delivery, Ending, Entered, HubSettings, Item, Link, NAMED_BY_ONE, NAMED_IN_ALL, Signal,
    bounds::fitting, link::leases,
};
use crate::{
    Limits, PageLimits, Settings,
    commands::*,
    convert,
    domain::{ChatId, Event, Revision, Role, SystemEvent, SystemNote, Timestamp, UserId},
    error::Error,
    ports::{
        Budget, BusMessage, ChatHead, ChatStore as _, Content, Hint, MessageStore as _, NewGroup, NewMessage,
        NewSystemMessage, RosterChange, StoreErrorKind, Topic,
    },
    testing::{Scene, Setup, Who},
};

const SOON: Duration = Duration::from_secs(20);
/// Announcements of a command are made by a task of its own.
const UNTIL_TOLD: Duration = Duration::from_millis(10);

/// A scene without sweeps, which would make up for losses.
async fn scene(limits: Limits) -> Scene {
    let hub = HubSettings {
        poll_interval: Duration::ZERO,
        sweep_interval: Duration::from_secs(1_000_000),
        ..HubSettings::default()
    };
    Scene::with(Setup { limits, settings: Settings { hub, ..Settings::default() }, ..Setup::default() }).await
}

impl Scene {
    async fn connect(&self, who: Who) -> Connection {
        self.messenger.connect(&self.actor(who)).await.unwrap()
    }

    /// A connection that has caught up.
    async fn caught_up(&self, who: Who) -> Connection {
        let mut connection = self.connect(who).await;
        connection.resume(Some(HashMap::new())).await.unwrap();
        until_caught_up(&mut connection).await;
        // Let the comparison made for every new connection finish.
        tokio::time::sleep(UNTIL_TOLD).await;
        connection
    }

    fn link(&self, connection: &Connection) -> std::sync::Arc<Link> {
        std::sync::Arc::clone(&connection.link)
    }

    /// Lets another node add people to the group, or remove them, without this node being told.
    async fn elsewhere(&self, add: &[Who], remove: &[Who]) -> Revision {
        let roster = self.store.roster(self.group).await.unwrap();
        let ids = |who: &[Who]| who.iter().map(|who| self.id(*who)).collect::<Vec<_>>();
        let event = if add.is_empty() { SystemEvent::MembersRemoved } else { SystemEvent::MembersAdded };
        let user_ids = if add.is_empty() { ids(remove) } else { ids(add) };
        let note = SystemNote { event, user_ids, title: None, role: None, retention: None };
        let context = &self.messenger.service().context;
        let message = NewSystemMessage {
            id: context.id(),
            sender: self.id(Who::Owner),
            note: convert::write_note(&note),
            at: context.now(),
        };
        let change = RosterChange {
            chat: self.group,
            expected: roster.chat.roster_version,
            add: ids(add),
            remove: ids(remove),
            roles: Vec::<(UserId, Role)>::new(),
            title: None,
            messages: vec![message],
        };
        self.store.change_roster(change).await.unwrap().chat.revision
    }

    /// Lets another node make a group of two people, without this node being told.
    async fn is_made_elsewhere(&self, creator: UserId, member: UserId) {
        let context = &self.messenger.service().context;
        let note = SystemNote {
            event: SystemEvent::Created,
            user_ids: vec![member],
            title: None,
            role: None,
            retention: None,
        };
        let (sender, at) = (creator, context.now());
        let message = NewSystemMessage { id: context.id(), sender, note: convert::write_note(&note), at };
        let group = NewGroup {
            id: context.id(),
            creator,
            members: vec![member],
            title: Content::from("Made elsewhere"),
            client_id: None,
            created_at: at,
            message,
        };
        self.store.create_group(group).await.unwrap();
    }

    /// Lets another node store a message of the owner's, without this node being told.
    async fn says_elsewhere(&self, chat: ChatId) {
        self.says_at_length_elsewhere(chat, 9).await;
    }

    /// The same, with a text of this many bytes.
    async fn says_at_length_elsewhere(&self, chat: ChatId, length: usize) {
        self.stores_elsewhere(chat, length, self.messenger.service().context.now()).await;
    }

    /// The same, by a node whose clock says `at`.
    async fn says_at_elsewhere(&self, chat: ChatId, at: Timestamp) {
        self.stores_elsewhere(chat, 9, at).await;
    }

    async fn stores_elsewhere(&self, chat: ChatId, length: usize, created_at: Timestamp) {
        let message = NewMessage {
            id: self.messenger.service().context.id(),
            chat,
            sender: self.id(Who::Owner),
            body: Content::from(&*"x".repeat(length)),
            client_id: None,
            reply_to: None,
            created_at,
        };
        self.store.append_messages(&[message]).await.unwrap().remove(0).unwrap();
    }

    async fn revision(&self) -> Revision {
        self.store.roster(self.group).await.unwrap().chat.revision
    }

    /// Waits until the node has subscribed to exactly these topics.
    async fn wants(&self, topics: impl IntoIterator<Item = Topic>) {
        let expected: BTreeSet<Topic> = topics.into_iter().collect();
        let wanted = async {
            while self.bus.topics() != expected {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let in_time = timeout(SOON, wanted).await.is_ok();
        assert!(in_time, "{:?} are wanted, and not {expected:?}", self.bus.topics());
    }
}

async fn event(connection: &mut Connection) -> Event {
    loop {
        match timeout(SOON, connection.next()).await.expect("an event comes") {
            Signal::Event(delivery) => return delivery.event().clone(),
            Signal::Ping => {}
            Signal::End(ending) => panic!("ended: {ending:?}"),
        }
    }
}

async fn until_caught_up(connection: &mut Connection) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        match event(connection).await {
            Event::CaughtUp { .. } => return events,
            event => events.push(event),
        }
    }
}

/// What the client has been told of chats so far, one short text per event.
async fn told(connection: &mut Connection) -> Vec<String> {
    let mut told = Vec::new();
    while let Ok(signal) = timeout(Duration::from_secs(5), connection.next()).await {
        let delivery = match signal {
            Signal::Event(delivery) => delivery,
            Signal::Ping => continue,
            Signal::End(ending) => {
                told.push(format!("{ending:?}"));
                break;
            }
        };
        match (delivery.event(), delivery.event().change()) {
            (Event::PresenceChanged(_), _) => {}
            (event @ (Event::ChatAdded { chat } | Event::ChatReset { chat }), _) => {
                told.push(format!("{} {}", event.name(), chat.revision));
            }
            (event, Some((_, revision))) => told.push(format!("{} {revision}", event.name())),
            (event, None) => told.push(event.name().to_owned()),
        }
    }
    told
}
