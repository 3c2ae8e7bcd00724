//! Who watches whose presence, and what the watchers are told.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    Hub,
    bounds::AT_ONCE,
    delivery::Delivery,
    link::{Link, LinkState, Watch},
    mailbox::Item,
    watched::Watched,
    within::within,
};
use crate::{
    domain::{Event, Presence, UserId},
    error::{Error, Result},
    ports::{BusMessage, Hint, PresenceError, PresenceState, Topic},
};

impl Hub {
    pub(super) fn check_presence_users(&self, users: &[UserId]) -> Result<()> {
        let max = self.limits.presence_users;
        if users.len() > max {
            Err(Error::invalid("userIds", format!("may name at most {max} people")))
        } else {
            Ok(())
        }
    }

    /// Makes the connection watch all of these people, or none if they are too many. Returns those it was not asked to
    /// watch before.
    pub(super) fn watch_asked(&self, link: &Arc<Link>, users: &[UserId]) -> Option<HashSet<UserId>> {
        let asked = |link_state: &LinkState, user: &UserId| {
            link_state.watched.get(user).is_some_and(|watch| watch.asked)
        };
        let link_state = link.state();
        let new: HashSet<UserId> = users.iter().filter(|user| !asked(&link_state, user)).copied().collect();
        let before = link_state.watched.values().filter(|watch| watch.asked).count();
        drop(link_state);
        if before + new.len() > self.settings.watched {
            return None;
        }
        new.iter().for_each(|user| self.watch(link, *user, |watch| watch.asked = true));
        Some(new)
    }

    /// Ends watches that the client asked for; the peer of a direct chat is still watched.
    pub(super) fn unwatch_asked<'u>(&self, link: &Link, users: impl IntoIterator<Item = &'u UserId>) {
        for user in users {
            let mut link_state = link.state();
            let Some(watch) = link_state.watched.get_mut(user) else { continue };
            watch.asked = false;
            if !watch.peer {
                link_state.watched.remove(user);
                // Under the lock, or a new watcher of the person would be forgotten here.
                let was_last = self.forget_watcher(link, *user);
                drop(link_state);
                if was_last {
                    self.topic_unwanted(Topic::User(*user));
                }
            }
        }
    }

    /// Makes the connection watch the peer of a direct chat.
    pub(super) fn watch_peer(&self, link: &Arc<Link>, peer: UserId) {
        self.watch(link, peer, |watch| watch.peer = true);
    }

    fn watch(&self, link: &Arc<Link>, user: UserId, why: impl FnOnce(&mut Watch)) {
        let mut link_state = link.state();
        if link_state.gone {
            return;
        }
        let is_new = !link_state.watched.contains_key(&user);
        why(link_state.watched.entry(user).or_default());
        if !is_new {
            return;
        }
        let mut watched = self.watched.entry(user).or_default();
        let first = watched.links.is_empty();
        watched.links.push(Arc::clone(link));
        drop(watched);
        drop(link_state);
        if first {
            self.topic_wanted(Topic::User(user));
        }
    }

    pub(super) fn unwatch(&self, link: &Link, user: UserId) {
        if self.forget_watcher(link, user) {
            self.topic_unwanted(Topic::User(user));
        }
    }

    /// Removes a watcher; returns whether nobody here watches the person any more.
    fn forget_watcher(&self, link: &Link, user: UserId) -> bool {
        if let Some(mut watched) = self.watched.get_mut(&user) {
            watched.links.retain(|other| other.id != link.id);
        }
        self.watched.remove_if(&user, |_, watched| watched.links.is_empty()).is_some()
    }

    /// Whether these people are online, in the same order; an unknown person is offline. Where presence does not know at
    /// present, it is what watchers here were last told; whoever nobody was told of is left out, and watchers are told later.
    pub(crate) async fn presence_of(&self, users: &[UserId]) -> Result<Vec<Presence>> {
        let heard = |user: &UserId| self.watched.get(user).map(|watched| watched.heard);
        let heard: HashMap<UserId, Option<u64>> = users.iter().map(|user| (*user, heard(user))).collect();
        let found = within(self.presence.query(users)).await.map_err(unreachable)?;
        let present = if found.len() < users.len() { self.with_last_told(users, &found) } else { found };
        let offline: Vec<UserId> =
            present.iter().filter(|state| !state.online).map(|state| state.user).collect();
        let records = if offline.is_empty() { Vec::new() } else { self.store.users(&offline).await? };
        let last_seen: HashMap<_, _> =
            records.into_iter().filter_map(|record| Some((record.id, record.last_seen_at?))).collect();
        let states = present.iter().map(|state| {
            let stored = last_seen.get(&state.user).copied();
            let last_seen_at = stored.max(self.last_seen.of(state.user)).filter(|_| !state.online);
            let found = Presence { user_id: state.user, online: state.online, last_seen_at };
            self.deliver_found(found, heard.get(&state.user).copied().flatten())
        });
        Ok(states.collect())
    }

    /// Adds those who were not found as they were last told of.
    fn with_last_told(&self, users: &[UserId], found: &[PresenceState]) -> Vec<PresenceState> {
        let found: HashMap<UserId, bool> = found.iter().map(|state| (state.user, state.online)).collect();
        let last_told = |user: &UserId| {
            let mut watched = self.watched.get_mut(user)?;
            if watched.online.is_none() {
                watched.is_owed = true;
                self.checks.presence_wanted.notify_one();
            }
            watched.online
        };
        let state = |user: &UserId| {
            let online = found.get(user).copied().or_else(|| last_told(user))?;
            Some(PresenceState { user: *user, online })
        };
        users.iter().filter_map(state).collect()
    }

    /// Tells the watchers of this person on this node what was announced, if it is news to them.
    pub(super) fn deliver_presence(&self, presence: Presence) {
        let Some(mut watched) = self.watched.get_mut(&presence.user_id) else { return };
        watched.tell(presence);
    }

    /// Tells the watchers what was found by asking, if it differs from what they were told: then they have missed something.
    /// Unless something was heard of the person since: announcements overtake answers. What is known now.
    fn deliver_found(&self, found: Presence, heard: Option<u64>) -> Presence {
        let Some(mut watched) = self.watched.get_mut(&found.user_id) else { return found };
        match watched.online {
            Some(online) if heard != Some(watched.heard) => known(found, online),
            Some(online) if online == found.online => found,
            None if !watched.is_owed => {
                watched.online = Some(found.online);
                found
            }
            _ => {
                watched.tell(found);
                found
            }
        }
    }

    /// Tells this connection once more how a person is, behind all that waits for it.
    pub(super) fn tell_again(&self, link: &Link, answered: Presence) {
        let Some(watched) = self.watched.get(&answered.user_id) else { return };
        let presence = known(answered, watched.online.unwrap_or(answered.online));
        // Before the person is let go of: what is announced from now on comes later.
        link.mailbox.push(Item::of(&Arc::new(Delivery::new(Event::PresenceChanged(presence)))));
    }

    /// Finds changes of presence that this node was not told of. Fails if not all of them can be found at present.
    pub(super) async fn check_presence(&self) -> Result<()> {
        let mut users: Vec<UserId> = self.watched.iter().map(|watched| *watched.key()).collect();
        users.sort_unstable();
        let mut compared = Ok(());
        for some in users.chunks(AT_ONCE) {
            let present = within(self.presence.query(some)).await.map_err(unreachable)?;
            if present.len() < some.len() {
                compared = Err(Error::Unavailable(None));
            }
            let mut missed = Vec::new();
            for state in present {
                let Some(mut watched) = self.watched.get_mut(&state.user) else { continue };
                if watched.is_owed || *watched.online.get_or_insert(state.online) != state.online {
                    missed.push(state.user);
                }
            }
            if !missed.is_empty() {
                self.presence_of(&missed).await?;
            }
        }
        compared
    }

    pub(super) fn announce_online(&self, users: &[UserId]) {
        for user in users {
            self.announce_presence(Presence { user_id: *user, online: true, last_seen_at: None });
        }
    }

    pub(super) fn announce_presence(&self, presence: Presence) {
        let topics = vec![Topic::User(presence.user_id)];
        let hint = Arc::new(Hint::Event(Event::PresenceChanged(presence)));
        self.publish(vec![BusMessage { topics, hint }]);
    }
}

impl Watched {
    fn tell(&mut self, presence: Presence) {
        self.heard += 1;
        self.is_owed = false;
        if self.online.replace(presence.online) != Some(presence.online) {
            let delivery = Arc::new(Delivery::new(Event::PresenceChanged(presence)));
            self.links.iter().for_each(|link| link.mailbox.push(Item::of(&delivery)));
        }
    }
}

/// What was found, as it is now.
fn known(found: Presence, online: bool) -> Presence {
    if online == found.online { found } else { Presence { online, last_seen_at: None, ..found } }
}

pub(super) fn unreachable(error: PresenceError) -> Error {
    Error::Unavailable(Some(Box::new(error)))
}
