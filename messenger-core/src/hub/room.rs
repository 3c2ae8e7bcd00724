use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Delivery, Link, mailbox::Item};
use crate::{
    domain::{ChatId, Event, Revision, SystemEvent, UserId},
    ports::Changes,
};

/// Changes that came too early and wait for one that is missing; beyond so many they are left to the store.
const PARKED_AT_MOST: usize = 1024;

/// The connections of this node that are in one chat, and the last change that they were given.
///
/// Whatever the order in which changes arrive, they go out by revision: the next one is delivered, an older one is
/// dropped, and one that comes too early waits until the gap has been filled from the store.
#[derive(Debug)]
pub(super) struct Room {
    chat: ChatId,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    delivered: Revision,
    /// The last change by which somebody stopped being a member.
    removed: Revision,
    parked: BTreeMap<Revision, Arc<Delivery>>,
    links: Vec<Arc<Link>>,
}

/// What is left to do after changes were delivered.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// A change is missing: read it from the store.
    pub(super) gap: bool,
    /// These people have become members by these changes.
    pub(super) added: Vec<(UserId, Revision)>,
}

impl Room {
    pub(super) fn new(chat: ChatId, delivered: Revision) -> Self {
        let state = State { delivered, removed: Revision::ZERO, parked: BTreeMap::new(), links: Vec::new() };
        Self { chat, state: Mutex::new(state) }
    }

    /// The last change that was given to the connections.
    pub(super) fn delivered(&self) -> Revision {
        self.lock().delivered
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().links.is_empty()
    }

    pub(super) fn has(&self, link: &Link) -> bool {
        self.lock().has(link)
    }

    /// Lets a connection in. False if somebody was removed after `known`, the revision at which the person was seen
    /// to be a member: then it may have been this one.
    pub(super) fn enter(&self, link: &Arc<Link>, known: Revision) -> bool {
        let mut state = self.lock();
        if !state.has(link) {
            state.links.push(Arc::clone(link));
        }
        state.removed <= known
    }

    /// Lets a connection in whose person was a member at `revision`, and tells it. False if somebody was removed
    /// since: then it may have been this one, and it is not let in.
    pub(super) fn enter_added(&self, link: &Arc<Link>, revision: Revision) -> bool {
        let mut state = self.lock();
        // Who is in already has read the chat at or after this change when connecting.
        if state.has(link) {
            return true;
        }
        if state.removed > revision {
            return false;
        }
        state.links.push(Arc::clone(link));
        link.mailbox.push(Item::Added(self.chat, revision));
        true
    }

    /// Answers whether the room is empty then.
    pub(super) fn leave(&self, link: &Link) -> bool {
        let mut state = self.lock();
        state.links.retain(|other| other.id != link.id);
        state.links.is_empty()
    }

    /// A change of the chat has been announced.
    pub(super) fn announce(&self, revision: Revision, delivery: Arc<Delivery>) -> Outcome {
        let mut state = self.lock();
        let mut outcome = Outcome::default();
        if revision == state.delivered.next() {
            state.deliver(self.chat, revision, &delivery, &mut outcome);
            state.deliver_parked(self.chat, &mut outcome);
        } else if revision > state.delivered {
            if state.parked.len() >= PARKED_AT_MOST {
                // The store has them all.
                state.parked.clear();
            }
            state.parked.insert(revision, delivery);
            outcome.gap = true;
        }
        outcome
    }

    /// What the store has after [`delivered`](Self::delivered), or after an earlier revision.
    pub(super) fn repair(
        &self,
        changes: &Changes,
        event_of: impl Fn(Revision, usize) -> Option<Event>,
    ) -> Outcome {
        let mut state = self.lock();
        let mut outcome = Outcome::default();
        let before = state.delivered;
        for (index, message) in changes.messages.iter().enumerate() {
            if message.revision > state.delivered
                && let Some(event) = event_of(before, index)
            {
                let delivery = Arc::new(Delivery::new(event));
                state.deliver(self.chat, message.revision, &delivery, &mut outcome);
            }
        }
        if changes.truncated {
            outcome.gap = true;
            return outcome;
        }
        state.delivered = state.delivered.max(changes.chat.revision);
        let delivered = state.delivered;
        state.parked.retain(|revision, _| *revision > delivered);
        state.deliver_parked(self.chat, &mut outcome);
        outcome.gap = !state.parked.is_empty();
        outcome
    }

    /// Something that has no place in the order of changes: typing, marks. Its own person is left out on request.
    pub(super) fn broadcast(&self, delivery: &Arc<Delivery>, except: Option<UserId>) {
        for link in &self.lock().links {
            if Some(link.user) != except {
                link.mailbox.push(Item::Event(Arc::clone(delivery)));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing here panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has(&self, link: &Link) -> bool {
        self.links.iter().any(|other| other.id == link.id)
    }

    fn deliver(&mut self, chat: ChatId, revision: Revision, delivery: &Arc<Delivery>, outcome: &mut Outcome) {
        self.delivered = revision;
        if let Event::ChatUpdated(update) = delivery.event()
            && let Some(note) = &update.message.system
        {
            match note.event {
                SystemEvent::MembersRemoved | SystemEvent::MemberLeft => self.remove(chat, &note.user_ids),
                SystemEvent::MembersAdded => {
                    outcome.added.extend(note.user_ids.iter().map(|user| (*user, revision)));
                }
                SystemEvent::Created | SystemEvent::RoleChanged | SystemEvent::TitleChanged => {}
            }
        }
        for link in &self.links {
            link.mailbox.push(Item::Event(Arc::clone(delivery)));
        }
    }

    fn deliver_parked(&mut self, chat: ChatId, outcome: &mut Outcome) {
        while let Some(next) = self.parked.first_entry()
            && *next.key() <= self.delivered.next()
        {
            let (revision, delivery) = next.remove_entry();
            if revision > self.delivered {
                self.deliver(chat, revision, &delivery, outcome);
            }
        }
    }

    /// Before the change that removed them is delivered, so that they see nothing of the chat from it on.
    fn remove(&mut self, chat: ChatId, users: &[UserId]) {
        self.removed = self.delivered;
        let gone = Arc::new(Delivery::new(Event::ChatRemoved { chat_id: chat }));
        self.links.retain(|link| {
            let stays = !users.contains(&link.user);
            if !stays {
                link.mailbox.push(Item::Removed(Arc::clone(&gone), chat, self.removed));
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Actor,
        context::Context,
        domain::{ChatUpdate, Message, MessageKind, Seq, SystemNote},
        hub::mailbox::Mailbox,
    };

    /// A change of the members of a chat.
    fn change(context: &Context, chat: ChatId, revision: u64, event: SystemEvent, user: UserId) -> Event {
        let revision = Revision::new(revision);
        let message = Message {
            id: context.id(),
            chat_id: chat,
            seq: Seq::new(revision.get()),
            revision,
            kind: MessageKind::System,
            sender_id: context.id(),
            body: None,
            client_id: None,
            reply_to: None,
            created_at: context.now(),
            edited_at: None,
            deleted_at: None,
            system: Some(SystemNote { event, user_ids: vec![user], title: None, role: None }),
        };
        Event::ChatUpdated(ChatUpdate { chat_id: chat, revision, title: None, member_count: 2, message })
    }

    #[test]
    fn who_was_removed_again_before_entering_stays_outside() {
        let context = Context::fixed();
        let (chat, user) = (context.id(), context.id());
        let link = || {
            let id = context.id();
            Arc::new(Link::new(id, user, &Actor::on_behalf_of(user), Mailbox::new(8)))
        };
        let room = Room::new(chat, Revision::new(4));
        let announce = |revision, event| {
            let event = change(&context, chat, revision, event, user);
            room.announce(Revision::new(revision), Arc::new(Delivery::new(event)))
        };
        let added = announce(5, SystemEvent::MembersAdded).added;
        assert_eq!(added, [(user, Revision::new(5))]);
        // Somebody else's turn comes before the one who was added is let in.
        announce(6, SystemEvent::MembersRemoved);
        let late = link();
        assert!(!room.enter_added(&late, Revision::new(5)));
        assert!(!room.has(&late));
        // Who reads the chats while connecting is told that what they have read may be old.
        assert!(!room.enter(&link(), Revision::new(5)));
        announce(7, SystemEvent::MembersAdded);
        assert!(room.enter_added(&late, Revision::new(7)));
        assert!(room.has(&late));
    }
}
