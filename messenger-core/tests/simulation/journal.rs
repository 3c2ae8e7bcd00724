//! What really happened in every chat, change by change: what connections are told is compared with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use messenger_core::{
    ChatId, ChatKind, Event, Message, MessageChange, MessageKind, Revision, Seq, SystemEvent, SystemNote,
    UserId, ports::MessageRecord,
};
use tokio::time::Instant;

#[derive(Debug, Default)]
pub(crate) struct Journal {
    chats: BTreeMap<ChatId, History>,
    /// In the order in which they were opened.
    order: Vec<ChatId>,
}

/// One chat.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) kind: ChatKind,
    opened: Instant,
    /// The change of revision `n` is at `n - 1`.
    changes: Vec<Change>,
    members: BTreeMap<UserId, Vec<Span>>,
}

#[derive(Debug)]
struct Change {
    at: Instant,
    /// The message as this change left it.
    message: MessageRecord,
    note: Option<SystemNote>,
    /// The next change of the same message.
    superseded: Option<Revision>,
}

/// A time in which somebody was a member.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: Revision,
    /// The change by which they were one no longer.
    until: Option<Revision>,
}

impl Journal {
    pub(crate) fn chats(&self) -> &[ChatId] {
        &self.order
    }

    pub(crate) fn get(&self, chat: ChatId) -> Option<&History> {
        self.chats.get(&chat)
    }

    pub(crate) fn open(&mut self, chat: ChatId, kind: ChatKind, members: &[UserId]) {
        let from = Revision::ZERO;
        let members = members.iter().map(|user| (*user, vec![Span { from, until: None }])).collect();
        let opened = Instant::now();
        self.chats.insert(chat, History { kind, opened, changes: Vec::new(), members });
        self.order.push(chat);
    }

    /// Writes down what has been stored since. The words of it.
    pub(crate) fn add(&mut self, chat: ChatId, messages: Vec<MessageRecord>) -> Vec<String> {
        let Some(history) = self.chats.get_mut(&chat) else { return Vec::new() };
        messages.into_iter().map(|message| history.add(message)).collect()
    }

    /// The chats that a person is in.
    pub(crate) fn chats_of(&self, user: UserId) -> impl Iterator<Item = (ChatId, &History)> {
        let all = self.order.iter().filter_map(|chat| Some((*chat, self.chats.get(chat)?)));
        all.filter(move |(_, history)| history.is_member(user))
    }
}

impl History {
    pub(crate) fn head(&self) -> Revision {
        Revision::new(self.changes.len() as u64)
    }

    /// When this change was stored.
    pub(crate) fn stored_at(&self, revision: Revision) -> Instant {
        self.change(revision).map_or(self.opened, |change| change.at)
    }

    fn change(&self, revision: Revision) -> Option<&Change> {
        self.changes.get(usize::try_from(revision.get()).ok()?.checked_sub(1)?)
    }

    fn add(&mut self, message: MessageRecord) -> String {
        let revision = self.head().next();
        assert_eq!(message.revision, revision, "revisions have no gaps");
        if let Some(former) = self.changes.iter_mut().rfind(|change| change.message.id == message.id) {
            former.superseded = Some(revision);
        }
        let system = message.kind == MessageKind::System;
        let body = message.body.as_ref().filter(|_| system);
        let note: Option<SystemNote> =
            body.map(|body| serde_json::from_slice(&body.0).expect("a note is what the core has written"));
        let words = match &note {
            Some(note) => format!("revision {revision}: {:?} {:?}", note.event, note.user_ids),
            None => format!("revision {revision}: message {} {:?}", message.seq, State::of(&message)),
        };
        if let Some(note) = &note {
            self.move_members(note, revision);
        }
        self.changes.push(Change { at: Instant::now(), message, note, superseded: None });
        words
    }

    fn move_members(&mut self, note: &SystemNote, revision: Revision) {
        for user in &note.user_ids {
            let spans = self.members.entry(*user).or_default();
            match note.event {
                SystemEvent::MembersAdded => spans.push(Span { from: revision, until: None }),
                SystemEvent::MembersRemoved | SystemEvent::MemberLeft => {
                    if let Some(span) = spans.last_mut() {
                        span.until = Some(revision);
                    }
                }
                _ => {}
            }
        }
    }

    pub(crate) fn is_member(&self, user: UserId) -> bool {
        self.span_at(user, self.head()).is_some()
    }

    pub(crate) fn was_member(&self, user: UserId, at: Revision) -> bool {
        self.span_at(user, at).is_some()
    }

    /// The first change by which the person stopped being a member after `since`.
    pub(crate) fn left_after(&self, user: UserId, since: Revision) -> Option<Revision> {
        let spans = self.members.get(&user)?;
        spans.iter().filter_map(|span| span.until).find(|until| *until > since)
    }

    /// When the time began in which the person was a member at this change.
    pub(crate) fn member_since(&self, user: UserId, at: Revision) -> Option<Revision> {
        self.span_at(user, at).map(|span| span.from)
    }

    fn span_at(&self, user: UserId, at: Revision) -> Option<Span> {
        let spans = self.members.get(&user)?;
        spans.iter().copied().find(|span| span.from <= at && span.until.is_none_or(|until| at < until))
    }

    pub(crate) fn members(&self) -> Vec<UserId> {
        self.members.keys().copied().filter(|user| self.is_member(*user)).collect()
    }

    pub(crate) fn member_count(&self, at: Revision) -> usize {
        self.members.keys().filter(|user| self.was_member(**user, at)).count()
    }

    pub(crate) fn title(&self, at: Revision) -> Option<&str> {
        let changes = self.changes.iter().take(at.get() as usize).rev();
        changes.filter_map(|change| change.note.as_ref()?.title.as_ref()).map(|title| title.as_str()).next()
    }

    pub(crate) fn last_seq(&self, at: Revision) -> Seq {
        let messages = self.changes.iter().take(at.get() as usize).map(|change| change.message.seq);
        messages.max().unwrap_or(Seq::ZERO)
    }

    /// The text messages of a person that stand, as they are now.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &MessageRecord> {
        let latest = self.changes.iter().filter(|change| change.superseded.is_none());
        let texts = latest.map(|change| &change.message).filter(|message| message.kind == MessageKind::Text);
        texts.filter(|message| message.deleted_at.is_none())
    }

    /// Every message that was ever sent, as it was sent.
    pub(crate) fn sent(&self) -> impl Iterator<Item = &MessageRecord> {
        self.changes.iter().map(|change| &change.message).filter(|m| m.revision == m.created_revision)
    }

    /// What is wrong with being told this change by somebody who has everything up to `has`, but for the messages in
    /// `unseen`, by the changes that made them. Messages made by a change in `unsure` may be either.
    pub(crate) fn check_change(
        &self,
        has: Revision,
        unsure: &RangeInclusive<Revision>,
        unseen: &mut BTreeSet<Revision>,
        event: &Event,
    ) -> Result<(), String> {
        let Some((_, revision)) = event.change() else { return Ok(()) };
        let change =
            self.change(revision).ok_or_else(|| format!("revision {revision} was never given out"))?;
        if revision <= has {
            return Err(format!("revision {revision} comes after {has}"));
        }
        for skipped in has.get() + 1..revision.get() {
            // A message that has changed since comes once, in its present state.
            match self.change(Revision::new(skipped)) {
                Some(Change { message, superseded: None, .. }) => {
                    return Err(format!(
                        "{revision} comes after {has}, and {} was left out",
                        message.revision
                    ));
                }
                Some(Change { message, .. }) if message.revision == message.created_revision => {
                    unseen.insert(message.revision);
                }
                _ => {}
            }
        }
        let created = change.message.created_revision;
        let is_new = unseen.remove(&created) || created > has;
        let checked = change.check_words(is_new, event);
        if unsure.contains(&created) {
            checked.or_else(|_| change.check_words(!is_new, event))
        } else {
            checked
        }
    }
}

impl Change {
    fn check_words(&self, is_new: bool, event: &Event) -> Result<(), String> {
        let deleted = self.message.deleted_at.is_some();
        let (fits, message) = match event {
            Event::ChatUpdated(update) => (self.note.is_some(), &update.message),
            Event::MessageCreated(MessageChange { message, .. }) => {
                (self.note.is_none() && is_new && !deleted, message)
            }
            Event::MessageEdited(MessageChange { message, .. }) => {
                (self.note.is_none() && !is_new && !deleted, message)
            }
            Event::MessageDeleted(MessageChange { message, .. }) => (self.note.is_none() && deleted, message),
            _ => return Ok(()),
        };
        if !fits {
            let known = if is_new { "new" } else { "known" };
            return Err(format!("{} of a message that is {known} to the client", event.name()));
        }
        if State::of(&self.message) != State::shown(message) || self.note != message.system {
            return Err(format!("{message:?} is not {:?}", self.message));
        }
        Ok(())
    }
}

/// What can be seen of a message.
#[derive(Debug, PartialEq)]
struct State {
    seq: Seq,
    revision: Revision,
    sender: UserId,
    body: Option<String>,
    edited: bool,
    deleted: bool,
}

impl State {
    fn of(message: &MessageRecord) -> Self {
        let text = message.body.as_ref().filter(|_| message.kind == MessageKind::Text);
        Self {
            seq: message.seq,
            revision: message.revision,
            sender: message.sender,
            body: text.map(|body| body.to_text().expect("bodies are text").to_owned()),
            edited: message.edited_at.is_some(),
            deleted: message.deleted_at.is_some(),
        }
    }

    fn shown(message: &Message) -> Self {
        Self {
            seq: message.seq,
            revision: message.revision,
            sender: message.sender_id,
            body: message.body.as_ref().map(|body| body.as_str().to_owned()),
            edited: message.edited_at.is_some(),
            deleted: message.deleted_at.is_some(),
        }
    }
}
