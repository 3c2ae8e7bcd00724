//! What one connection may be told: the contract of `docs/realtime.md`, held against the journal.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    time::Duration,
};

use messenger_core::{Chat, ChatId, ChatKind, Event, Revision, UserId};
use tokio::time::Instant;

use crate::{
    journal::History,
    plan::{Setup, Trouble},
    promise::Promise,
    record::State,
};

/// No change at all.
const SURE: RangeInclusive<Revision> = Revision::new(1)..=Revision::ZERO;

/// What comes later has waited for a poll or a sweep. Longer than a connection holds back what it is told before its first
/// request.
const AT_ONCE: Duration = Duration::from_secs(2);
/// When changes are told of that this node has not heard of: a poll comes every four seconds.
const POLLED: Duration = Duration::from_secs(5);
/// The same of direct chats without a message, and of presence, which are found by a sweep.
const SWEPT: Duration = Duration::from_secs(12);

/// One connection's side of the contract.
pub(crate) struct Checker {
    user: UserId,
    /// Changes of one chat that a catch-up may have at most.
    catch_up: usize,
    trouble: Trouble,
    /// Whether everything is to be told at once, for as long as the node hears everything.
    at_once: bool,
    /// Since when the node has heard, or has been told that it has not heard, everything.
    whole_since: Option<Instant>,
    /// Since when the client takes what it is told.
    awake: Instant,
    chats: BTreeMap<ChatId, Place>,
    /// Changes that made messages which the client was not told of, because they have changed since.
    unseen: BTreeMap<ChatId, BTreeSet<Revision>>,
    /// Changes of the time in which the client connected: where live events begin is for the node to say.
    unsure: BTreeMap<ChatId, RangeInclusive<Revision>>,
    resumes: Vec<Resuming>,
    has_told_changes: bool,
    /// Whether each of the people watched was there, when the client was last told.
    watched: BTreeMap<UserId, Option<bool>>,
}

/// A chat, as far as the client knows of it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    /// The client has everything up to this change. What comes after it and up to `connected` it may be sent or not.
    Has { revision: Revision, connected: Revision },
    /// The client has no such chat, and was told so of a time that ended with this change.
    Left(Revision),
    /// The person came or went while the client was connecting.
    Open,
}

/// A resume that has been answered, and whose end has not been told.
#[derive(Debug, Default)]
struct Resuming {
    named: BTreeMap<ChatId, Revision>,
    /// The person's chats when the client asked.
    heads: BTreeMap<ChatId, Revision>,
    /// Chats of which something happened before the answer that the client had not named, though changes had gone out
    /// already.
    late: BTreeSet<ChatId>,
}

impl Checker {
    /// For a connection that was asked for when the person's chats were at `before`.
    pub(crate) fn new(
        user: UserId,
        setup: &Setup,
        before: &BTreeMap<ChatId, Revision>,
        state: &State,
    ) -> Self {
        let (mut chats, mut unsure) = (BTreeMap::new(), BTreeMap::new());
        for (chat, history) in state.journal.chats_of(user) {
            let connected = history.head();
            let place = match before.get(&chat) {
                Some(revision) if history.left_after(user, *revision).is_none() => {
                    unsure.insert(chat, revision.next()..=connected);
                    Place::Has { revision: *revision, connected }
                }
                _ => Place::Open,
            };
            chats.insert(chat, place);
        }
        for chat in before.keys() {
            chats.entry(*chat).or_insert(Place::Open);
        }
        Self {
            user,
            catch_up: setup.catch_up,
            trouble: setup.trouble,
            at_once: setup.nodes == 1
                || setup.promise.reports()
                || setup.promise == Promise::Hint && setup.trouble == Trouble::Nothing,
            whole_since: None,
            awake: Instant::now(),
            chats,
            unseen: BTreeMap::new(),
            unsure,
            resumes: Vec::new(),
            has_told_changes: false,
            watched: BTreeMap::new(),
        }
    }

    /// What the client has, to be named in its next resume.
    pub(crate) fn has(&self) -> BTreeMap<ChatId, Revision> {
        let places = self.chats.iter();
        let has = places.filter_map(|(chat, place)| match place {
            Place::Has { revision, .. } => Some((*chat, *revision)),
            Place::Left(_) | Place::Open => None,
        });
        has.collect()
    }

    /// The client has asked to resume with these, and it was granted.
    pub(crate) fn resumes(
        &mut self,
        named: Option<&BTreeMap<ChatId, Revision>>,
        heads: BTreeMap<ChatId, Revision>,
        state: &State,
    ) {
        let Some(named) = named else {
            self.resumes.push(Resuming::default());
            return;
        };
        let is_late = |(chat, has): &(&ChatId, &Revision)| {
            self.has_told_changes && state.journal.get(**chat).is_some_and(|history| **has < history.head())
        };
        let late = named.iter().filter(is_late).map(|(chat, _)| *chat).collect();
        self.resumes.clear();
        self.chats.clear();
        self.unseen.clear();
        self.unsure.clear();
        for (chat, revision) in named {
            self.chats.insert(*chat, Place::Has { revision: *revision, connected: *revision });
        }
        self.resumes.push(Resuming { named: named.clone(), heads, late });
    }

    /// The client has not taken anything for a while.
    pub(crate) fn wakes(&mut self) {
        self.awake = Instant::now();
    }

    pub(crate) fn hears_all_since(&mut self, whole_since: Option<Instant>) {
        self.whole_since = whole_since;
    }

    /// Where nothing is wrong but the bus, what happened is told at once, or where the bus can't tell of it, when it is `found`.
    fn in_time(&self, since: Instant, found: Duration) -> Result<(), String> {
        if self.trouble == Trouble::All {
            return Ok(());
        }
        let late = since.max(self.awake).elapsed();
        if late > found {
            return Err(format!(
                "{} ms late, and should be found in {}",
                late.as_millis(),
                found.as_millis()
            ));
        }
        let Some(whole_since) = self.whole_since.filter(|_| self.at_once) else { return Ok(()) };
        let late = since.max(self.awake).max(whole_since).elapsed();
        if late > AT_ONCE {
            return Err(format!("{} ms late, though the bus tells of it", late.as_millis()));
        }
        Ok(())
    }

    pub(crate) fn watches(&mut self, user: UserId, online: Option<bool>) {
        if online.is_some() || !self.watched.contains_key(&user) {
            self.watched.insert(user, online);
        }
    }

    /// What is wrong with being told this now.
    pub(crate) fn told(&mut self, event: &Event, state: &State) -> Result<(), String> {
        match event {
            Event::MessageCreated(_)
            | Event::MessageEdited(_)
            | Event::MessageDeleted(_)
            | Event::ChatUpdated(_) => self.changed(event, state),
            Event::ChatAdded { chat } => self.added(chat, state),
            Event::ChatReset { chat } => self.reset(chat, state),
            Event::ChatRemoved { chat_id } => self.removed(*chat_id, state),
            Event::ReadMoved(mark) | Event::DeliveredMoved(mark) => self.hears_of(mark.chat_id),
            Event::Typing(typing) if typing.user_id == self.user => Err("one's own typing".into()),
            Event::Typing(typing) => self.hears_of(typing.chat_id),
            Event::PresenceChanged(presence) => match self.watched.get_mut(&presence.user_id) {
                // The chat that makes them one may be told of in a moment.
                None if peers(self.user, state).contains(&presence.user_id) => {
                    self.watches(presence.user_id, Some(presence.online));
                    Ok(())
                }
                None => Err("nobody watches this person".into()),
                Some(known) if *known == Some(presence.online) => Err("this is known already".into()),
                Some(known) => {
                    *known = Some(presence.online);
                    let grace = Duration::from_secs(if presence.online { 0 } else { 6 });
                    let turned = state.turned.get(&presence.user_id).copied().unwrap_or(self.awake);
                    self.in_time(turned + grace, SWEPT)
                }
            },
            Event::CaughtUp { .. } => self.caught_up(state),
            event => Err(format!("an event that is not known here: {event:?}")),
        }
    }

    fn changed(&mut self, event: &Event, state: &State) -> Result<(), String> {
        let Some((chat, revision)) = event.change() else { return Ok(()) };
        let history = history(chat, state)?;
        let in_resume = self.resumes.iter().any(|resuming| resuming.named.contains_key(&chat));
        if !history.was_member(self.user, revision) && !in_resume {
            return Err("the person is no member then".into());
        }
        match self.chats.get(&chat) {
            None | Some(Place::Left(_)) => return Err("the client has no such chat".into()),
            Some(Place::Open) => {}
            Some(Place::Has { revision: has, connected }) => {
                // Where in the time of connecting live events begin is for the node to say.
                let last = Revision::new(revision.get().saturating_sub(1));
                let began = last.min(*connected).max(*has);
                let unseen = self.unseen.entry(chat).or_default();
                let mut before = unseen.clone();
                let unsure = self.unsure.get(&chat).unwrap_or(&SURE);
                if history.check_change(began, unsure, &mut before, event).is_ok() {
                    *unseen = before;
                } else {
                    history.check_change(*has, unsure, unseen, event)?;
                }
                if !in_resume && history.left_after(self.user, *has).is_some_and(|left| left <= revision) {
                    return Err(format!("nothing was said of an end after {has}"));
                }
            }
        }
        self.has_told_changes = true;
        self.chats.insert(chat, Place::Has { revision, connected: revision });
        if in_resume { Ok(()) } else { self.in_time(history.stored_at(revision), POLLED) }
    }

    fn added(&mut self, chat: &Chat, state: &State) -> Result<(), String> {
        match self.chats.get(&chat.id) {
            Some(Place::Has { .. }) => return Err("the client has this chat already".into()),
            Some(Place::Left(left)) => {
                let since = history(chat.id, state)?.member_since(self.user, chat.revision);
                if since.is_some_and(|since| since < *left) {
                    return Err(format!("the client was told that this membership has ended by {left}"));
                }
            }
            Some(Place::Open) | None => {}
        }
        self.show(chat, state)?;
        if !self.resumes.is_empty() {
            return Ok(());
        }
        let history = history(chat.id, state)?;
        let since = history.member_since(self.user, chat.revision).unwrap_or_default();
        let found = if history.kind == ChatKind::Direct { SWEPT } else { POLLED };
        self.in_time(history.stored_at(since), found)
    }

    fn reset(&mut self, chat: &Chat, state: &State) -> Result<(), String> {
        let Some(Place::Has { revision: has, .. }) = self.chats.get(&chat.id).copied() else {
            return Err("the client has no such chat".into());
        };
        let history = history(chat.id, state)?;
        let named = self.resumes.iter().find(|resuming| resuming.named.contains_key(&chat.id));
        let missed = history.head().get().saturating_sub(has.get());
        let out_of_order = named.is_some_and(|resuming| {
            resuming.late.contains(&chat.id) || resuming.heads.get(&chat.id).is_some_and(|head| has > *head)
        });
        if missed <= self.catch_up as u64 && !out_of_order {
            return Err(format!("only {missed} changes were missed"));
        }
        self.show(chat, state)
    }

    /// The chat as a member sees it.
    fn show(&mut self, chat: &Chat, state: &State) -> Result<(), String> {
        let (history, at) = (history(chat.id, state)?, chat.revision);
        if at > history.head() || !history.was_member(self.user, at) {
            return Err(format!("the person is no member at {at}"));
        }
        if chat.last_seq != history.last_seq(at)
            || chat.member_count as usize != history.member_count(at)
            || chat.title.as_ref().map(|title| title.as_str()) != history.title(at)
        {
            return Err(format!("this is not the chat at {at}: {chat:?}"));
        }
        if let Some(peer) = &chat.peer {
            self.watches(peer.id, None);
        }
        self.unseen.remove(&chat.id);
        self.unsure.remove(&chat.id);
        self.chats.insert(chat.id, Place::Has { revision: at, connected: at });
        Ok(())
    }

    fn removed(&mut self, chat: ChatId, state: &State) -> Result<(), String> {
        let history = history(chat, state)?;
        let left = match self.chats.get(&chat) {
            None | Some(Place::Left(_)) => return Err("the client has no such chat".into()),
            Some(Place::Open) => history.left_after(self.user, Revision::ZERO),
            Some(Place::Has { revision, .. }) => {
                let named = self.resumes.iter().find(|resuming| resuming.named.contains_key(&chat));
                let was_away = match named.map(|resuming| resuming.heads.get(&chat)) {
                    Some(None) => true,
                    // A revision from elsewhere says nothing about when they were a member.
                    Some(Some(head)) => history.left_after(self.user, *head.min(revision)).is_some(),
                    None => history.left_after(self.user, *revision).is_some(),
                };
                let left = history.left_after(self.user, *revision);
                (was_away || !history.is_member(self.user)).then(|| left.unwrap_or(Revision::ZERO))
            }
        };
        let Some(left) = left else { return Err("the person is a member all the time".into()) };
        let before = self.chats.insert(chat, Place::Left(left));
        if left == Revision::ZERO || !self.resumes.is_empty() || before == Some(Place::Open) {
            return Ok(());
        }
        self.in_time(history.stored_at(left), POLLED)
    }

    fn hears_of(&self, chat: ChatId) -> Result<(), String> {
        match self.chats.get(&chat) {
            None | Some(Place::Left(_)) => Err("the client has no such chat".into()),
            Some(_) => Ok(()),
        }
    }

    fn caught_up(&mut self, state: &State) -> Result<(), String> {
        if self.resumes.is_empty() {
            return Err("nothing was resumed".into());
        }
        let resuming = self.resumes.remove(0);
        for (chat, head) in resuming.heads {
            let history = history(chat, state)?;
            let stayed = history.left_after(self.user, head).is_none();
            let has = match self.chats.get(&chat) {
                Some(Place::Has { revision, .. }) => Some(*revision),
                _ => None,
            };
            if stayed && has.is_none_or(|has| has < head) {
                return Err(format!("{chat} was at {head}, and the client has {has:?}"));
            }
        }
        Ok(())
    }

    /// What the client still lacks, or has and should not have, when all has had its time.
    pub(crate) fn lacks(&self, online: Option<&BTreeSet<UserId>>, state: &State) -> Vec<String> {
        let mut lacks = Vec::new();
        for (chat, history) in state.journal.chats_of(self.user) {
            match self.chats.get(&chat) {
                Some(Place::Has { revision, connected }) if revision.max(connected) == &history.head() => {}
                // A client that has not resumed, and was told nothing since: there was nothing to tell.
                Some(Place::Open) => {}
                other => lacks.push(format!("{chat} is at {}, and the client has {other:?}", history.head())),
            }
        }
        for (chat, place) in &self.chats {
            let gone = state.journal.get(*chat).is_none_or(|history| !history.is_member(self.user));
            if gone && matches!(place, Place::Has { .. }) {
                lacks.push(format!("the person is no member of {chat}, and the client has {place:?}"));
            }
        }
        if !self.resumes.is_empty() {
            lacks.push("the end of a resume was not told".into());
        }
        let Some(online) = online else { return lacks };
        for (user, known) in &self.watched {
            if known.is_some_and(|known| known != online.contains(user)) {
                lacks.push(format!(
                    "{} is taken to be {}",
                    state.name(*user),
                    if known == &Some(true) { "there" } else { "away" }
                ));
            }
        }
        lacks
    }
}

fn history(chat: ChatId, state: &State) -> Result<&History, String> {
    state.journal.get(chat).ok_or_else(|| format!("there is no chat {chat}"))
}

/// The person's chats and where they are.
pub(crate) fn heads(user: UserId, state: &State) -> BTreeMap<ChatId, Revision> {
    state.journal.chats_of(user).map(|(chat, history)| (chat, history.head())).collect()
}

/// Who is on the other side of the person's direct chats.
pub(crate) fn peers(user: UserId, state: &State) -> Vec<UserId> {
    let direct = state.journal.chats_of(user).filter(|(_, history)| history.kind == ChatKind::Direct);
    direct.flat_map(|(_, history)| history.members()).filter(|member| *member != user).collect()
}
