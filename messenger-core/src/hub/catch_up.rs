use std::{
    collections::{BTreeSet, HashMap, VecDeque, hash_map::Entry},
    sync::Arc,
};

use super::{
    Hub,
    bounds::{ATTEMPTS, fitting},
    link::{ChatState, Link, LinkState},
    room::Entered,
};
use crate::{
    convert,
    domain::{Chat, ChatId, Checkpoint, Event, Position, Revision, Seq, SystemEvent, UserId},
    error::{Error, Result},
    ports::{Budget, Changes, ChatHead, ChatView, MemberChat, Memberships, MessageRecord, StoreErrorKind},
};

/// Maximum number of chats read in one step.
const CHATS_AT_ONCE: usize = 50;
/// The changes sent over all chats are at most this many times the limit for one chat; the chats beyond that are reset.
const CHATS_IN_FULL: u64 = 20;
/// Maximum number of chats whose revisions the client is asked for. If there are more, it must state the revisions of
/// all its chats.
const ASKED_AT_MOST: usize = 10_000;

/// What a client lacks and has yet to be sent. Read step by step, so that memory use is bounded.
#[derive(Debug, Default)]
pub(super) struct CatchUp {
    /// Events ready to send.
    pub(super) ready: VecDeque<Event>,
    /// Ordered by id, as the store fills the budget in this order.
    behind: VecDeque<Behind>,
    /// What was already sent of the first of those chats, if part of it was.
    part: Part,
    reset: VecDeque<ChatId>,
    added: VecDeque<ChatId>,
    /// How many `CaughtUp` events are still to be sent.
    ends: usize,
    /// The client's position at the end, if it is given everything that it lacks.
    position: Option<Position>,
}

/// The result of comparing what a client has with the store.
#[derive(Debug)]
pub(super) enum Plan {
    /// It is known what the client lacks.
    Made(CatchUp),
    /// The client must also state its revisions of these chats.
    NeedsRevisions(Unnamed),
    /// The client's position is not known to this store.
    UnknownPosition,
}

/// The chats whose revisions at the client are known, and those whose are not.
#[derive(Debug)]
pub(super) struct Unnamed {
    pub(super) known: HashMap<ChatId, Revision>,
    pub(super) unknown: Vec<ChatId>,
}

#[derive(Debug, Clone, Copy)]
struct Behind {
    chat: ChatId,
    /// The client's revision.
    since: Revision,
    head: Revision,
    /// If the person stopped being a member after this revision, the client is told so.
    member_at: Revision,
}

/// For a chat whose missed changes do not fit into one step: what was sent so far. A message that is changed in the
/// meantime is sent once more, and is then already known to the client.
#[derive(Debug, Default)]
struct Part {
    /// The last revision that was sent, if any was.
    up_to: Option<Revision>,
    messages: BTreeSet<Seq>,
}

impl Behind {
    const fn changes(&self) -> u64 {
        self.head.get().saturating_sub(self.since.get())
    }
}

impl CatchUp {
    /// For a client that has missed nothing.
    pub(super) fn nothing() -> Self {
        Self { ends: 1, ..Self::default() }
    }

    /// For a client that lacks the changes of one chat from `since` to `head`, during which the person was a member.
    pub(super) fn one(hub: &Hub, chat: ChatId, since: Revision, head: Revision) -> Self {
        let behind = Behind { chat, since, head, member_at: since };
        if behind.changes() > hub.limits.catch_up as u64 {
            return Self { reset: VecDeque::from([chat]), ..Self::default() };
        }
        Self { behind: VecDeque::from([behind]), ..Self::default() }
    }

    /// For a client that is to be shown a chat.
    pub(super) fn shown(chat: ChatId) -> Self {
        Self { added: VecDeque::from([chat]), ..Self::default() }
    }

    /// Sends no position: for a client that does not use positions.
    pub(super) fn forget_position(&mut self) {
        self.position = None;
    }

    /// Sends one more `CaughtUp`, because the client has resumed once more.
    pub(super) fn end_once_more(&mut self) {
        self.ends += 1;
    }

    /// Compares what the client has with the store. If changes have been sent already, older ones can no longer be sent
    /// in order, and a chat that has such changes is reset.
    ///
    /// From here on the connection has joined the room of every chat of its person, so there is no gap between what is
    /// read later and what goes to its mailbox.
    pub(super) async fn plan(
        hub: &Hub,
        link: &Arc<Link>,
        mut named: HashMap<ChatId, Revision>,
        since: Option<Checkpoint>,
        has_told_changes: bool,
    ) -> Result<Plan> {
        let most = if has_told_changes { 0 } else { hub.limits.catch_up as u64 };
        hub.enter_all(link, since.map(|since| since.commit), |link_state, memberships, heads| {
            if let Some(since) = since {
                let Some(unknown) = what_has_changed(&mut named, memberships, &since) else {
                    return Plan::UnknownPosition;
                };
                if !unknown.is_empty() {
                    return Plan::NeedsRevisions(Unnamed { known: named, unknown });
                }
            }
            link_state.chats.values_mut().for_each(ChatState::forget);
            let position = memberships.position();
            Plan::Made(Self { position, ..Self::compare(link_state, heads, named, most) })
        })
        .await
    }

    fn compare(
        link_state: &mut LinkState,
        heads: &[(ChatId, Revision)],
        mut named: HashMap<ChatId, Revision>,
        most: u64,
    ) -> Self {
        let mut plan = Self::nothing();
        let mut in_all = 0;
        for (chat, head) in heads.iter().copied() {
            let chat_state = link_state.chats.entry(chat).or_default();
            chat_state.join(head);
            let Some(since) = named.remove(&chat) else {
                plan.added.push_back(chat);
                continue;
            };
            // A revision beyond the head, from another store, must not affect the order of what is sent here.
            chat_state.set_snapshot(since.min(head));
            let behind = Behind { chat, since, head, member_at: head };
            let changes = behind.changes();
            in_all += changes;
            let is_too_much = changes > most || in_all > most * CHATS_IN_FULL;
            if since > head || (changes > 0 && is_too_much) {
                plan.reset.push_back(chat);
            } else if changes > 0 {
                plan.behind.push_back(behind);
            }
        }
        plan.behind.make_contiguous().sort_unstable_by_key(|behind| behind.chat);
        let mut gone: Vec<ChatId> = named.into_keys().collect();
        gone.sort_unstable();
        plan.ready.extend(gone.into_iter().map(|chat_id| Event::ChatRemoved { chat_id }));
        plan
    }

    /// Reads the next step into `ready`; returns false when everything has been sent.
    pub(super) async fn read_more(&mut self, hub: &Hub, link: &Arc<Link>) -> Result<bool> {
        if !self.behind.is_empty() {
            self.read_changes(hub, link).await?;
        } else if !self.reset.is_empty() {
            let step = step(&self.reset);
            let shown = self.show(hub, link, &step).await?;
            self.reset.drain(..step.len());
            let is_shown = |chat: &ChatId| shown.iter().any(|shown| shown.id == *chat);
            let gone: Vec<ChatId> = step.into_iter().filter(|chat| !is_shown(chat)).collect();
            for chat_id in gone {
                link.forget(chat_id);
                self.ready.push_back(Event::ChatRemoved { chat_id });
            }
            self.ready.extend(shown.into_iter().map(|chat| Event::ChatReset { chat: Box::new(chat) }));
        } else if !self.added.is_empty() {
            let step = step(&self.added);
            let shown = self.show(hub, link, &step).await?;
            self.added.drain(..step.len());
            self.ready.extend(shown.into_iter().map(|chat| Event::ChatAdded { chat: Box::new(chat) }));
        } else if self.ends > 0 {
            let caught_up = Event::CaughtUp { position: self.position.clone() };
            self.ready.extend(std::iter::repeat_n(caught_up, self.ends));
            self.ends = 0;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    async fn show(&mut self, hub: &Hub, link: &Arc<Link>, chats: &[ChatId]) -> Result<Vec<Chat>> {
        let (shown, is_all) = hub.show(link, chats).await?;
        if !is_all {
            // With a position, the client would count as having the missing chats.
            self.position = None;
        }
        Ok(shown)
    }

    /// Reads as many chats as fit, and a part of a chat that exceeds the budget alone. The others are left for later.
    async fn read_changes(&mut self, hub: &Hub, link: &Link) -> Result<()> {
        let mut count = fitting(self.behind.iter().take(CHATS_AT_ONCE).map(Behind::changes));
        let budget = Budget { messages: hub.limits.catch_up, bytes: hub.limits.page.bytes() };
        let read = loop {
            match hub.store.changes(&self.since(count), budget).await {
                Ok(read) => break read,
                Err(error) if error.kind() == StoreErrorKind::Unavailable => return Err(error.into()),
                // One of the chats is permanently unreadable, which must not keep the client from getting the others.
                Err(_) if count > 1 => count = 1,
                Err(error) => {
                    if let Some(Behind { chat, .. }) = self.behind.pop_front() {
                        is_unreadable(chat, &error);
                        self.reset.push_back(chat);
                    }
                    self.part = Part::default();
                    return Ok(());
                }
            }
        };
        let mut read: HashMap<ChatId, Changes> =
            read.into_iter().map(|changes| (changes.chat.id, changes)).collect();
        for place in 0..count {
            let Some(behind) = self.behind.front().copied() else { break };
            let Some(found) = read.remove(&behind.chat) else {
                self.behind.pop_front();
                self.part = Part::default();
                continue;
            };
            let is_last = !found.truncated;
            // Reading the first chat always makes progress, unless its stored data is inconsistent.
            let is_stuck = place == 0 && found.messages.is_empty();
            let since = behind.since;
            let hides = found.messages.iter().any(|message| convert::was_purged_unread(message, since));
            if hides || !is_last && (is_stuck || self.has_too_much(&found, budget.messages)) {
                self.reset.push_back(behind.chat);
            } else {
                match self.take(found, behind, link) {
                    Ok(true) if !is_last => return Ok(()),
                    Ok(_) => {}
                    Err(error) => {
                        is_unreadable(behind.chat, &error);
                        self.reset.push_back(behind.chat);
                    }
                }
            }
            self.behind.pop_front();
            self.part = Part::default();
        }
        Ok(())
    }

    /// The revisions from which the first chats are read.
    fn since(&self, count: usize) -> Vec<(ChatId, Revision)> {
        let mut since: Vec<_> =
            self.behind.iter().take(count).map(|behind| (behind.chat, behind.since)).collect();
        if let (Some((_, first)), Some(up_to)) = (since.first_mut(), self.part.up_to) {
            *first = up_to;
        }
        since
    }

    /// Whether a chat has meanwhile grown beyond what is sent of one chat.
    fn has_too_much(&self, found: &Changes, most: usize) -> bool {
        self.part.messages.len() + found.messages.len() >= most
    }

    /// Converts what was read of a chat to events; returns false if no more of it will be sent, because some change
    /// removed the person.
    fn take(&mut self, found: Changes, behind: Behind, link: &Link) -> Result<bool> {
        let Changes { chat, messages, truncated } = found;
        let events: Vec<Event> = messages
            .into_iter()
            .map(|message| {
                let since = self.part.known(&message, behind.since);
                convert::event(message, &chat, since)
            })
            .collect();
        if events.iter().any(convert::hides_members) {
            return Err(Error::internal("a message that may have changed the members can't be read"));
        }
        let Some(removal) = removal_of(link.user, &events, behind.member_at) else {
            if !truncated {
                link.set_snapshot(chat.id, chat.revision);
            }
            self.ready.extend(events);
            return Ok(true);
        };
        // The client must not receive what happened while the person was not a member, even if they have returned
        // since.
        let with_them = |event: &Event| event.change().is_some_and(|(_, revision)| revision < removal);
        self.ready.extend(events.into_iter().filter(with_them));
        self.ready.push_back(Event::ChatRemoved { chat_id: chat.id });
        link.forget(chat.id);
        self.added.push_back(chat.id);
        Ok(false)
    }
}

impl Part {
    /// The revision that decides whether the client already knows this message; `since` is the client's revision at the
    /// resume. From here on the client knows the message.
    fn known(&mut self, message: &MessageRecord, since: Revision) -> Revision {
        self.up_to = Some(message.revision);
        let is_new = self.messages.insert(message.seq);
        if is_new { since } else { since.max(message.created_revision) }
    }
}

/// Adds to `named` the unnamed chats that have not changed since the client had everything up to `since`, and returns
/// those that have; `None` if there are too many, or if this store does not know what the client has.
fn what_has_changed(
    named: &mut HashMap<ChatId, Revision>,
    memberships: &Memberships,
    since: &Checkpoint,
) -> Option<Vec<ChatId>> {
    if !memberships.knows(since, |chat| named.get(chat).copied()) {
        return None;
    }
    let mut changed: Vec<ChatId> = Vec::new();
    for MemberChat { head, commit } in &memberships.chats {
        match named.entry(head.chat) {
            Entry::Occupied(_) => {}
            Entry::Vacant(unnamed) if *commit <= since.commit => drop(unnamed.insert(head.revision)),
            Entry::Vacant(_) => changed.push(head.chat),
        }
    }
    changed.extend(memberships.left.iter().filter(|chat| !named.contains_key(chat)));
    changed.sort_unstable();
    (changed.len() <= ASKED_AT_MOST).then_some(changed)
}

fn step(chats: &VecDeque<ChatId>) -> Vec<ChatId> {
    chats.iter().take(CHATS_AT_ONCE).copied().collect()
}

/// The first of these changes after `member_at` that removed the person.
fn removal_of(user: UserId, events: &[Event], member_at: Revision) -> Option<Revision> {
    events.iter().find_map(|event| {
        let Event::ChatUpdated(update) = event else { return None };
        let note = update.message.system.as_ref()?;
        let is_removal = matches!(note.event, SystemEvent::MembersRemoved | SystemEvent::MemberLeft);
        (is_removal && update.revision > member_at && note.user_ids.contains(&user))
            .then_some(update.revision)
    })
}

impl Hub {
    /// Reads these chats to show them to the client; from then on the client has each of them up to the revision shown.
    /// Chats that the person is no longer in are left out, and so are unreadable ones: the flag is false if there are
    /// any.
    pub(super) async fn show(&self, link: &Arc<Link>, chats: &[ChatId]) -> Result<(Vec<Chat>, bool)> {
        let mut is_all = true;
        let mut shown: Vec<Chat> = Vec::with_capacity(chats.len());
        let mut left = chats.to_vec();
        for _ in 0..ATTEMPTS {
            let views = self.views(link.user, &left, &mut is_all).await?;
            left.clear();
            for view in views {
                let peer = view.peer.as_ref().map(|peer| peer.id);
                let head = ChatHead { chat: view.chat.id, revision: view.chat.revision, peer };
                let chat = convert::chat(view);
                match self.enter(link, &head, false) {
                    // The room gave out changes between the read and the entering.
                    Entered::Now { since } if since > head.revision => left.push(head.chat),
                    Entered::Now { .. } | Entered::Before => shown.push(chat),
                    Entered::Stale => left.push(head.chat),
                    Entered::Gone => {}
                }
            }
            let mut link_state = link.state();
            let stale = shown.extract_if(.., |chat| !link_state.has_joined_since(chat.id, chat.revision));
            left.extend(stale.map(|chat| chat.id));
            if left.is_empty() {
                for chat in &shown {
                    let chat_state = link_state.chats.entry(chat.id).or_default();
                    chat_state.join(chat.revision);
                    chat_state.set_snapshot(chat.revision);
                }
                return Ok((shown, is_all));
            }
        }
        Err(Error::unavailable())
    }

    /// Reads these chats as the person sees them, without those that can't be read.
    async fn views(&self, user: UserId, chats: &[ChatId], is_all: &mut bool) -> Result<Vec<ChatView>> {
        match self.store.chat_views(user, chats, convert::PREVIEW).await {
            Ok(views) => return Ok(views),
            Err(error) if error.kind() == StoreErrorKind::Unavailable => return Err(error.into()),
            Err(error) => {
                if let [chat] = chats {
                    is_unreadable(*chat, &error);
                    *is_all = false;
                    return Ok(Vec::new());
                }
            }
        }
        let mut views = Vec::with_capacity(chats.len());
        for chat in chats.chunks(1) {
            views.append(&mut Box::pin(self.views(user, chat, is_all)).await?);
        }
        Ok(views)
    }
}

/// Only logged: if its connection ended for it, the client would reconnect again and again, and get no chat at all.
fn is_unreadable(chat: ChatId, error: &(dyn std::error::Error + 'static)) {
    tracing::error!(%chat, error, "a chat can't be read");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> ChatId {
        ChatId::from_bytes((n as u128).to_be_bytes())
    }

    /// Commits 1 to `count`, each of which changed one chat.
    fn memberships(count: usize) -> Memberships {
        let chat = |n: usize| MemberChat {
            head: ChatHead { chat: id(n), revision: Revision::new(5), peer: None },
            commit: n as u64,
        };
        let chats = (1..=count).map(chat).collect();
        Memberships { chats, history: Some(1), settled: count as u64, ..Memberships::default() }
    }

    fn since(commit: u64) -> Checkpoint {
        Checkpoint { history: 1, commit, newest: None }
    }

    #[test]
    fn what_has_not_changed_is_known_and_what_has_is_asked_for_unless_it_is_named() {
        let (third, left) = ((id(3), Revision::new(2)), id(9));
        let all = Memberships { left: vec![left], ..memberships(4) };
        let mut named = HashMap::from([third]);
        assert_eq!(what_has_changed(&mut named, &all, &since(2)), Some(vec![id(4), left]));
        let head = Revision::new(5);
        assert_eq!(named, HashMap::from([(id(1), head), (id(2), head), third]));
        // The client need not be asked for a chat that it has named.
        named.insert(left, Revision::new(1));
        assert_eq!(what_has_changed(&mut named, &all, &since(4)), Some(vec![]));
    }

    #[test]
    fn nobody_is_asked_for_more_than_so_many_chats() {
        for (changed, is_asked) in [(ASKED_AT_MOST, true), (ASKED_AT_MOST + 1, false)] {
            let unknown = what_has_changed(&mut HashMap::new(), &memberships(changed), &since(0));
            assert_eq!(unknown.map(|unknown| unknown.len()), is_asked.then_some(changed));
        }
    }
}
