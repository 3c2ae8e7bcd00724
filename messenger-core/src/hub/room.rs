use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Delivery, Ending, Link, mailbox::Item};
use crate::{
    domain::{ChatId, Event, MessageKind, Revision, SystemEvent, SystemNote, Timestamp, UserId},
    ports::{Changes, ChatRecord, MessageRecord, Roster},
};

/// Maximum number of changes that came too early and wait for a missing one; beyond it they are read from the store.
const PARKED_AT_MOST: usize = 1024;

/// The connections of this node that are in one chat, and the last change that they were given.
///
/// Whatever the order in which changes arrive, they go out by revision: the next one is delivered, an older one is
/// dropped, and one that comes too early waits until the gap has been filled from the store. A new member joins the
/// room with the change that adds them, and a former member leaves it with the change that removes them, so that
/// everybody is given exactly what happened in the chat while they were a member.
///
/// Locks are taken in this order: the map of rooms, a room, the state of a connection.
#[derive(Debug)]
pub(super) struct Room {
    chat: ChatId,
    made_at: Timestamp,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The last change that was given out.
    delivered: Revision,
    /// The last change that was pushed: before `delivered` if a later change could not be read.
    pushed: Revision,
    /// No change after this one, up to `delivered`, ended a membership.
    removed: Revision,
    parked: BTreeMap<Revision, Arc<Delivery>>,
    links: Vec<Arc<Link>>,
    /// The room has been removed from the hub: work in it would reach nobody.
    closed: bool,
}

/// The result of an attempt to join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entered {
    /// Everything that the room gives out after `since` goes to the connection's mailbox.
    Now {
        /// At least the revision at which the person is known to be a member.
        since: Revision,
    },
    /// The connection had joined before.
    Before,
    /// The known revision is too old to tell whether the person is still a member: read it anew.
    Stale,
    /// The connection is gone.
    Gone,
}

/// The follow-up work after changes were delivered.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// A change is missing: read it from the store.
    pub(super) gap: bool,
    /// Nobody is in the room.
    pub(super) idle: bool,
    /// The room had already given out this change, or was created after it.
    pub(super) old: bool,
    /// The room was closed before anything was done in it.
    pub(super) closed: bool,
    /// A change could not be read that may have added or removed members.
    pub(super) unreadable: bool,
}

impl Room {
    pub(super) fn new(chat: ChatId, delivered: Revision, made_at: Timestamp) -> Self {
        let state = State {
            delivered,
            pushed: delivered,
            // Earlier removals are unknown.
            removed: delivered,
            parked: BTreeMap::new(),
            links: Vec::new(),
            closed: false,
        };
        Self { chat, made_at, state: Mutex::new(state) }
    }

    /// When it was made: it has let in nobody whom an earlier change has added, but those who asked.
    pub(super) const fn made_at(&self) -> Timestamp {
        self.made_at
    }

    /// The last change that was given to the connections.
    pub(super) fn delivered(&self) -> Revision {
        self.lock().delivered
    }

    /// Closes the room if it is empty and no change is parked, and returns whether it is closed.
    pub(super) fn close_if_idle(&self) -> bool {
        let mut state = self.lock();
        state.closed |= state.is_idle();
        state.closed
    }

    /// Lets a connection join whose person is a member at `known`; with `show`, its client is to be shown the chat.
    pub(super) fn enter(&self, link: &Arc<Link>, known: Revision, show: bool) -> Entered {
        let mut state = self.lock();
        let mut link_state = link.state();
        if link_state.gone {
            return Entered::Gone;
        }
        let chat_state = link_state.chats.entry(self.chat).or_default();
        if chat_state.has_joined() {
            return Entered::Before;
        }
        // The removed member may be this person.
        if state.removed > known {
            return Entered::Stale;
        }
        chat_state.join(known);
        drop(link_state);
        state.links.push(Arc::clone(link));
        let since = known.max(state.delivered);
        if show {
            link.mailbox.push(Item::Show(self.chat, since));
        }
        Entered::Now { since }
    }

    /// Removes a connection; returns whether the room is then idle.
    pub(super) fn leave(&self, link: &Link) -> bool {
        let mut state = self.lock();
        state.links.retain(|other| other.id != link.id);
        state.is_idle()
    }

    /// Ends the connections in the room, and empties it.
    pub(super) fn give_up(&self) {
        let mut state = self.lock();
        state.parked.clear();
        for link in state.links.drain(..) {
            link.mailbox.end(Ending::TooFarBehind);
        }
    }

    /// Undoes a join that the client was never told of. Returns whether the room is then idle.
    pub(super) fn undo_enter(&self, link: &Link) -> bool {
        let mut state = self.lock();
        if let Some(chat_state) = link.state().chats.get_mut(&self.chat) {
            chat_state.leave();
        }
        state.links.retain(|other| other.id != link.id);
        state.is_idle()
    }

    /// Handles an announced change of the chat.
    ///
    /// `links_of` returns the connections that people have to this node.
    pub(super) fn announce(
        &self,
        revision: Revision,
        delivery: Arc<Delivery>,
        links_of: impl Fn(UserId) -> Vec<Arc<Link>>,
    ) -> Outcome {
        let mut state = self.lock();
        if state.closed {
            return Outcome { closed: true, ..Outcome::default() };
        }
        let (mut gap, old) = (false, revision <= state.delivered);
        if revision == state.delivered.next() {
            state.deliver(self.chat, revision, &delivery, &links_of);
            state.deliver_parked(self.chat, &links_of);
        } else if revision > state.delivered {
            if state.parked.len() >= PARKED_AT_MOST {
                // The store has all of them.
                state.parked.clear();
            }
            state.parked.insert(revision, delivery);
            gap = true;
        }
        Outcome { gap, idle: state.is_idle(), old, ..Outcome::default() }
    }

    /// Delivers all changes that the store has after [`delivered`](Self::delivered) or an earlier revision.
    ///
    /// `read_for` prepares a change for those who have everything up to a given revision.
    pub(super) fn repair(
        &self,
        changes: Changes,
        read_for: impl Fn(Revision, &ChatRecord, MessageRecord) -> Option<Arc<Delivery>>,
        links_of: impl Fn(UserId) -> Vec<Arc<Link>>,
    ) -> Outcome {
        let Changes { chat, messages, .. } = changes;
        let mut state = self.lock();
        if state.closed {
            return Outcome { closed: true, ..Outcome::default() };
        }
        let since = state.delivered;
        for message in messages.into_iter().filter(|message| message.revision > since) {
            let (revision, kind) = (message.revision, message.kind);
            match read_for(since, &chat, message) {
                Some(delivery) => state.deliver(self.chat, revision, &delivery, &links_of),
                None if kind == MessageKind::System => {
                    return Outcome { unreadable: true, idle: state.is_idle(), ..Outcome::default() };
                }
                None => {}
            }
        }
        state.delivered = state.delivered.max(chat.revision);
        state.after_repair(self.chat, &links_of)
    }

    /// Skips to the current state of the store, because too many changes are missing: everybody in the room is shown
    /// the chat.
    pub(super) fn skip_to(&self, roster: &Roster, links_of: impl Fn(UserId) -> Vec<Arc<Link>>) -> Outcome {
        let mut state = self.lock();
        if state.closed {
            return Outcome { closed: true, ..Outcome::default() };
        }
        let head = roster.chat.revision;
        if head > state.delivered {
            let members: HashSet<UserId> = roster.members.iter().map(|member| member.user_id).collect();
            (state.delivered, state.pushed) = (head, head);
            state.remove(self.chat, |user| !members.contains(&user));
            for link in &state.links {
                link.mailbox.push(Item::Show(self.chat, head));
            }
            for member in &roster.members {
                state.admit(self.chat, member.user_id, &links_of);
            }
        }
        state.after_repair(self.chat, &links_of)
    }

    /// Sends an ephemeral event: typing, marks. The person it is about is left out on request.
    pub(super) fn broadcast(&self, delivery: &Arc<Delivery>, except: Option<UserId>) {
        for link in &self.lock().links {
            if Some(link.user) != except {
                link.mailbox.push(Item::of(delivery));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing here panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_idle(&self) -> bool {
        self.links.is_empty() && self.parked.is_empty()
    }

    fn deliver(
        &mut self,
        chat: ChatId,
        revision: Revision,
        delivery: &Arc<Delivery>,
        links_of: &impl Fn(UserId) -> Vec<Arc<Link>>,
    ) {
        self.delivered = revision;
        if let Event::ChatUpdated(update) = delivery.event()
            && let Some(note) = &update.message.system
        {
            self.move_members(chat, note, links_of);
        }
        let since = std::mem::replace(&mut self.pushed, revision);
        for link in &self.links {
            link.mailbox.push(Item::Event(Arc::clone(delivery), since));
        }
    }

    /// Runs before the change is delivered: people whom it removes see nothing of the chat from it on, and people whom
    /// it adds are shown the chat first.
    fn move_members(
        &mut self,
        chat: ChatId,
        note: &SystemNote,
        links_of: &impl Fn(UserId) -> Vec<Arc<Link>>,
    ) {
        match note.event {
            SystemEvent::MembersRemoved | SystemEvent::MemberLeft => {
                self.remove(chat, |user| note.user_ids.contains(&user));
            }
            SystemEvent::MembersAdded => {
                note.user_ids.iter().for_each(|user| self.admit(chat, *user, links_of));
            }
            SystemEvent::Created
            | SystemEvent::RoleChanged
            | SystemEvent::TitleChanged
            | SystemEvent::RetentionChanged => {}
        }
    }

    fn remove(&mut self, chat: ChatId, is_removed: impl Fn(UserId) -> bool) {
        let removal = self.delivered;
        self.removed = removal;
        self.links.retain(|link| {
            if !is_removed(link.user) {
                return true;
            }
            let mut link_state = link.state();
            let chat_state = link_state.chats.entry(chat).or_default();
            // A person known to be a member later has returned since.
            if chat_state.member_at().is_some_and(|member_at| member_at >= removal) {
                return true;
            }
            chat_state.leave();
            drop(link_state);
            link.mailbox.push(Item::Removed(chat, removal));
            false
        });
    }

    /// Lets the connections of a new member join.
    fn admit(&mut self, chat: ChatId, user: UserId, links_of: &impl Fn(UserId) -> Vec<Arc<Link>>) {
        for link in links_of(user) {
            let mut link_state = link.state();
            if link_state.gone {
                continue;
            }
            let chat_state = link_state.chats.entry(chat).or_default();
            if !chat_state.has_joined() {
                chat_state.join(self.delivered);
                drop(link_state);
                link.mailbox.push(Item::Show(chat, self.delivered));
                self.links.push(link);
            }
        }
    }

    fn deliver_parked(&mut self, chat: ChatId, links_of: &impl Fn(UserId) -> Vec<Arc<Link>>) {
        while let Some(next) = self.parked.first_entry()
            && *next.key() <= self.delivered.next()
        {
            let (revision, delivery) = next.remove_entry();
            if revision > self.delivered {
                self.deliver(chat, revision, &delivery, links_of);
            }
        }
    }

    fn after_repair(&mut self, chat: ChatId, links_of: &impl Fn(UserId) -> Vec<Arc<Link>>) -> Outcome {
        self.deliver_parked(chat, links_of);
        Outcome { gap: !self.parked.is_empty(), idle: self.is_idle(), ..Outcome::default() }
    }
}

#[cfg(test)]
mod tests {
    use futures::task::noop_waker;

    use super::*;
    use crate::{
        Actor,
        context::Context,
        domain::{ChatKind, Seq},
        hub::mailbox::Mailbox,
        ports::MemberRecord,
    };

    fn room(delivered: u64) -> Room {
        Room::new(Context::system().id(), Revision::new(delivered), Timestamp::from_micros(0))
    }

    fn link() -> Arc<Link> {
        let context = Context::system();
        let user = context.id();
        Arc::new(Link::new(context.id(), user, &Actor::on_behalf_of(user), Mailbox::new(16, 1 << 20)))
    }

    fn event() -> Arc<Delivery> {
        Arc::new(Delivery::new(Event::CaughtUp { position: None }))
    }

    fn nobody(_: UserId) -> Vec<Arc<Link>> {
        Vec::new()
    }

    fn chat(room: &Room, revision: u64) -> ChatRecord {
        ChatRecord {
            id: room.chat,
            kind: ChatKind::Group,
            title: None,
            created_at: Timestamp::from_micros(0),
            revision: Revision::new(revision),
            last_seq: Seq::new(revision),
            texts: 0,
            member_count: 1,
            roster_version: 1,
        }
    }

    fn nothing_since(room: &Room, revision: u64) -> Changes {
        Changes { chat: chat(room, revision), messages: vec![], truncated: false }
    }

    fn roster(room: &Room, revision: u64) -> Roster {
        Roster { chat: chat(room, revision), members: Vec::<MemberRecord>::new() }
    }

    fn waits(link: &Link) -> usize {
        let (mut inbox, waker) = (Default::default(), noop_waker());
        let _ = link.mailbox.poll_take(&mut inbox, false, &mut std::task::Context::from_waker(&waker));
        inbox.len()
    }

    #[test]
    fn in_a_room_that_is_closed_nothing_is_done() {
        let room = room(3);
        assert!(room.close_if_idle());
        let outcomes = [
            room.announce(Revision::new(4), event(), nobody),
            room.repair(nothing_since(&room, 4), |_, _, _| None, nobody),
            room.skip_to(&roster(&room, 4), nobody),
        ];
        for outcome in outcomes {
            assert_eq!(outcome, Outcome { closed: true, ..Outcome::default() });
        }
        assert_eq!(room.delivered().get(), 3);
    }

    #[test]
    fn what_becomes_of_a_change_depends_on_its_place() {
        let (room, link) = (room(3), link());
        assert_eq!(room.enter(&link, Revision::new(3), false), Entered::Now { since: Revision::new(3) });
        let announce = |revision| room.announce(Revision::new(revision), event(), nobody);
        for revision in [2, 3] {
            assert_eq!(announce(revision), Outcome { old: true, ..Outcome::default() });
        }
        assert_eq!(announce(4), Outcome::default());
        assert_eq!(announce(6), Outcome { gap: true, ..Outcome::default() });
        assert_eq!(waits(&link), 1);
        // The store has no more changes: one is still missing.
        let repaired = room.repair(nothing_since(&room, 4), |_, _, _| None, nobody);
        assert_eq!(repaired, Outcome { gap: true, ..Outcome::default() });
        assert_eq!(announce(5), Outcome::default());
        assert_eq!((waits(&link), room.delivered().get()), (2, 6));
        assert!(room.leave(&link));
        assert_eq!(announce(7), Outcome { idle: true, ..Outcome::default() });
        let repaired = room.repair(nothing_since(&room, 8), |_, _, _| None, nobody);
        assert_eq!(repaired, Outcome { idle: true, ..Outcome::default() });
    }

    #[test]
    fn nobody_is_shown_a_chat_in_which_nothing_was_missed() {
        let (room, link) = (room(3), link());
        room.enter(&link, Revision::new(3), false);
        assert_eq!(room.skip_to(&roster(&room, 3), nobody), Outcome::default());
        assert_eq!((waits(&link), room.delivered().get()), (0, 3));
        // A former member is told of the removal, and the room is empty.
        assert_eq!(room.skip_to(&roster(&room, 4), nobody), Outcome { idle: true, ..Outcome::default() });
        assert_eq!((waits(&link), room.delivered().get()), (1, 4));
    }

    fn message(room: &Room, kind: MessageKind, revision: u64) -> MessageRecord {
        let context = Context::system();
        MessageRecord {
            id: context.id(),
            chat: room.chat,
            seq: Seq::new(revision),
            revision: Revision::new(revision),
            created_revision: Revision::new(revision),
            kind,
            sender: context.id(),
            body: None,
            client_id: None,
            fingerprint: None,
            reply_to: None,
            created_at: Timestamp::from_micros(0),
            edited_at: None,
            deleted_at: None,
        }
    }

    #[test]
    fn what_was_given_out_is_not_repaired_and_what_cannot_be_read_is_passed_over_or_asked_for() {
        let (room, link) = (room(3), link());
        room.enter(&link, Revision::new(3), false);
        let read = |unreadable: u64| {
            move |_, _: &ChatRecord, message: MessageRecord| {
                (message.revision.get() != unreadable).then(event)
            }
        };
        let text = |revision| message(&room, MessageKind::Text, revision);
        let repair = |messages: Vec<MessageRecord>, unreadable| {
            let head = messages.iter().map(|message| message.revision.get()).max().unwrap();
            let changes = Changes { chat: chat(&room, head), messages, truncated: false };
            room.repair(changes, read(unreadable), nobody)
        };
        assert_eq!(repair(vec![text(3), text(4)], 0), Outcome::default());
        assert_eq!(waits(&link), 1);
        // One unreadable text affects nothing else.
        assert_eq!(repair(vec![text(5), text(6)], 5), Outcome::default());
        assert_eq!((waits(&link), room.delivered().get()), (1, 6));
        // An unreadable system message may have changed the members.
        let unreadable = repair(vec![text(7), message(&room, MessageKind::System, 8), text(9)], 8);
        assert_eq!(unreadable, Outcome { unreadable: true, ..Outcome::default() });
        assert_eq!((waits(&link), room.delivered().get()), (1, 7));
    }

    #[test]
    fn only_so_many_changes_wait_for_one_that_is_missing() {
        let (room, link) = (room(3), link());
        room.enter(&link, Revision::new(3), false);
        let parked = || room.lock().parked.len();
        for revision in 0..PARKED_AT_MOST as u64 {
            room.announce(Revision::new(5 + revision), event(), nobody);
        }
        assert_eq!(parked(), PARKED_AT_MOST);
        let one_more = room.announce(Revision::new(5 + PARKED_AT_MOST as u64), event(), nobody);
        assert_eq!((one_more.gap, parked()), (true, 1));
    }
}
