//! Compares what this node has announced with what is stored.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    Ending, Hub,
    bounds::{AT_ONCE, fitting},
    delivery::{Delivery, Read},
    link::Link,
    room::{Entered, Room},
};
use crate::{
    convert,
    domain::{ChatId, Revision, UserId},
    error::{Error, Result},
    ports::{Budget, Changes, ChatRecord, MemberChat, MessageRecord, StoreErrorKind, Topic},
};

/// Maximum weight of the missed changes read at once, in bytes; a chat whose missed changes weigh more is skipped to
/// its current state.
const REPAIRED_AT_ONCE: usize = 4 << 20;

impl Hub {
    /// Requests that everything these topics name is compared with the store.
    pub(super) fn compare(&self, topics: &[Topic]) {
        for topic in topics {
            match topic {
                Topic::Chat(chat) if self.rooms.contains_key(chat) => self.checks.want(&[*chat], &[]),
                Topic::User(user) if self.users.contains_key(user) => self.checks.want(&[], &[*user]),
                Topic::Chat(_) | Topic::User(_) => {}
                Topic::Nodes => self.compare_all(),
            }
        }
    }

    /// Requests a comparison with the store and with presence after something may have been lost: of everything the
    /// connections of this node are told of, chats only where they have changed.
    pub(super) fn compare_all(&self) {
        if !self.polls() {
            return self.compare_everything();
        }
        let users: Vec<UserId> = self.users.iter().map(|user| *user.key()).collect();
        self.checks.want(&[], &users);
        self.checks.presence_wanted.notify_one();
        self.checks.poll_wanted.notify_one();
    }

    /// The same, and of each chat.
    pub(super) fn compare_everything(&self) {
        let chats: Vec<ChatId> = self.rooms.iter().map(|room| *room.key()).collect();
        let users: Vec<UserId> = self.users.iter().map(|user| *user.key()).collect();
        self.checks.want(&chats, &users);
        self.checks.presence_wanted.notify_one();
    }

    /// Compares; what could not be compared is requested again. True if everything was compared.
    pub(super) async fn check(&self, chats: &[ChatId], users: &[UserId]) -> bool {
        let mut all = true;
        for some in chats.chunks(AT_ONCE) {
            all &= self.was_checked(self.check_chats(some).await, some, &[]);
        }
        for some in users.chunks(AT_ONCE) {
            all &= self.was_checked(self.check_users(some).await, &[], some);
            all &= self.was_checked(self.check_sessions(some).await, &[], some);
        }
        all
    }

    fn was_checked(&self, checked: Result<()>, chats: &[ChatId], users: &[UserId]) -> bool {
        let Err(error) = checked else { return true };
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "connections were not compared with the store"
        );
        self.checks.want(chats, users);
        false
    }

    /// Reads the changes that rooms have not given out yet.
    async fn check_chats(&self, chats: &[ChatId]) -> Result<()> {
        let most = self.limits.catch_up as u64;
        let (mut behind, mut far_behind) = (Vec::new(), Vec::new());
        let delivered = |chat: &ChatId| Some((*chat, self.room(*chat)?.delivered()));
        let before: HashMap<ChatId, Revision> = chats.iter().filter_map(delivered).collect();
        for (chat, head) in self.store.revisions(chats).await? {
            let Some(room) = self.room(chat) else { continue };
            if before.get(&chat).is_some_and(|before| *before > head) {
                self.give_up(chat, &room);
                continue;
            }
            let delivered = room.delivered();
            match head.get().saturating_sub(delivered.get()) {
                0 => {}
                missed if missed > most => far_behind.push(chat),
                missed => behind.push(Behind { chat, delivered, missed }),
            }
        }
        for some in steps(&behind) {
            far_behind.extend(self.repair_some(some).await?);
        }
        for chat in far_behind {
            unless_unavailable(self.skip(chat).await)?;
        }
        Ok(())
    }

    /// The room has given out changes that the store does not have, as after a failover that lost commits. The
    /// connections in it are ended; their clients reconnect and are shown the stored state.
    fn give_up(&self, chat: ChatId, room: &Room) {
        tracing::error!(%chat, "a chat has fewer changes than were told of it");
        room.give_up();
        self.close_room(chat);
    }

    /// Returns the chats that lack more changes than expected. A room is given everything that it lacks or nothing, so
    /// that nobody in it is told only a part.
    async fn repair_some(&self, some: &[Behind]) -> Result<Vec<ChatId>> {
        let mut far_behind = Vec::new();
        let mut left = some.to_vec();
        // The store fills the budget in this order.
        left.sort_unstable_by_key(|behind| behind.chat);
        while let Some(first) = left.first().map(|behind| behind.chat) {
            let Some(read) = self.read_missed(&left).await? else {
                if left.len() > 1 {
                    // One unreadable chat must not keep the others from being announced.
                    for one in left.chunks(1) {
                        far_behind.append(&mut Box::pin(self.repair_some(one)).await?);
                    }
                }
                return Ok(far_behind);
            };
            let mut later = HashSet::new();
            for changes in read {
                let is_too_much = changes.messages.len() >= self.limits.catch_up || changes.chat.id == first;
                let chat = changes.chat.id;
                match changes.truncated {
                    true if is_too_much => far_behind.push(chat),
                    true => drop(later.insert(chat)),
                    false if self.repair(changes) => {}
                    false => far_behind.push(chat),
                }
            }
            left.retain(|behind| later.contains(&behind.chat));
        }
        Ok(far_behind)
    }

    /// `None` if some of it is permanently unreadable.
    async fn read_missed(&self, behind: &[Behind]) -> Result<Option<Vec<Changes>>> {
        let since: Vec<_> = behind.iter().map(|behind| (behind.chat, behind.delivered)).collect();
        let budget = Budget { messages: self.limits.catch_up, bytes: REPAIRED_AT_ONCE };
        match self.store.changes(&since, budget).await {
            Err(error) if error.kind() == StoreErrorKind::Unavailable => Err(error.into()),
            Err(error) => {
                if let [_] = behind {
                    tracing::error!(error = &error as &dyn std::error::Error, "a chat can't be read");
                }
                Ok(None)
            }
            Ok(read) => Ok(Some(read)),
        }
    }

    /// False if the members must be read to decide who is told what.
    fn repair(&self, changes: Changes) -> bool {
        let Some(room) = self.room(changes.chat.id) else { return true };
        let chat = changes.chat.id;
        let outcome = room.repair(changes, read_for, |user| self.links_of(user));
        metrics::counter!("messenger_rooms_repaired_total").increment(1);
        self.follow_up(chat, &outcome);
        !outcome.unreadable
    }

    /// Skips a chat to its current state, because too many of its changes were missed to send them.
    async fn skip(&self, chat: ChatId) -> Result<()> {
        let roster = self.store.roster(chat).await?;
        let skip = |room: Arc<Room>| room.skip_to(&roster, |user| self.links_of(user));
        if let Some(outcome) = self.room(chat).map(skip) {
            metrics::counter!("messenger_rooms_skipped_total").increment(1);
            self.follow_up(chat, &outcome);
        }
        Ok(())
    }

    /// Finds chats that people were added to without this node being told.
    async fn check_users(&self, users: &[UserId]) -> Result<()> {
        for (user, count) in self.store.membership_counts(users).await? {
            let behind = |link: &Arc<Link>| link.lacks_chats(count);
            let links: Vec<_> = self.links_of(user).into_iter().filter(behind).collect();
            if !links.is_empty() {
                unless_unavailable(self.enter_missed_chats(user, &links).await)?;
            }
        }
        Ok(())
    }

    async fn enter_missed_chats(&self, user: UserId, links: &[Arc<Link>]) -> Result<()> {
        let memberships = self.store.memberships(user, None).await?;
        for link in links {
            let (mut stale, mut lags) = (false, false);
            for MemberChat { head, .. } in &memberships.chats {
                let entered = self.enter(link, head, true);
                stale |= entered == Entered::Stale;
                // The room may have yet to announce that the person left and returned.
                lags |= entered == Entered::Before
                    && self.room(head.chat).is_none_or(|room| room.delivered() < head.revision);
            }
            if stale {
                self.checks.want(&[], &[user]);
            } else if !lags {
                link.has_entered(memberships.count);
            }
        }
        Ok(())
    }

    /// Ends connections whose session was ended without this node being told.
    async fn check_sessions(&self, users: &[UserId]) -> Result<()> {
        let links = users.iter().flat_map(|user| self.links_of(*user));
        let with_session = links.filter_map(|link| link.session.map(|session| (link, session)));
        let (links, sessions): (Vec<_>, Vec<_>) = with_session.unzip();
        let mut existing = HashSet::new();
        for some in sessions.chunks(AT_ONCE) {
            existing.extend(self.store.existing_sessions(some).await?);
        }
        for (link, session) in links.into_iter().zip(sessions) {
            if !existing.contains(&session) {
                link.mailbox.end(Ending::SessionEnded);
            }
        }
        Ok(())
    }
}

/// An unreadable chat or person must not keep the others from being compared.
fn unless_unavailable(read: Result<()>) -> Result<()> {
    match read {
        Err(error) if !matches!(error, Error::Unavailable(_)) => {
            tracing::error!(error = &error as &dyn std::error::Error, "a chat or a person can't be read");
            Ok(())
        }
        read => read,
    }
}

/// A room that has not given out all changes that the store has.
#[derive(Debug, Clone, Copy)]
struct Behind {
    chat: ChatId,
    delivered: Revision,
    missed: u64,
}

/// Splits the rooms into groups whose changes fit into one call; at least one room each.
fn steps(mut behind: &[Behind]) -> Vec<&[Behind]> {
    let mut steps = Vec::new();
    while !behind.is_empty() {
        let (step, rest) = behind.split_at(fitting(behind.iter().map(|one| one.missed)));
        steps.push(step);
        behind = rest;
    }
    steps
}

/// Prepares a change for connections that have everything up to `since`; `None` if it does not tell who is in the chat.
fn read_for(since: Revision, chat: &ChatRecord, message: MessageRecord) -> Option<Arc<Delivery>> {
    if convert::was_purged_unread(&message, since) {
        return None;
    }
    let created = message.created_revision;
    let event = convert::event(message, chat, since);
    (!convert::hides_members(&event)).then(|| Arc::new(Delivery::of_change(event, Read { created, since })))
}
