//! What the hub does by itself: repairing gaps, sweeping, presence, pings, listening to the bus.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Ending, Hub, Link, lock};
use crate::{
    convert,
    domain::{ChatId, Event, Presence as PresenceOf, Revision, UserId},
    error::{Error, Result},
    ports::{BusEvent, BusMessage, Changes, Hint, Lease, Subscription, Topic},
};

/// Things asked of the store, presence or the bus in one call.
const AT_ONCE: usize = 500;
/// Changes of one chat read in one step of a repair.
const CHANGES_AT_ONCE: usize = 500;
/// Before something that failed is tried again.
const RETRY: Duration = Duration::from_millis(250);

impl Hub {
    /// Starts the hub's tasks; they end with `stop`.
    pub(crate) fn start(self: &Arc<Self>, tasks: &TaskTracker, stop: &CancellationToken) {
        let hub = Arc::clone(self);
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move { hub.listen().await }));
        let hub = Arc::clone(self);
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move { hub.check_what_is_wanted().await }));
        let hub = Arc::clone(self);
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move { hub.sweep_at_intervals().await }));
        let hub = Arc::clone(self);
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move { hub.tick_each_second().await }));
    }

    async fn listen(&self) {
        let mut bus: Option<Box<dyn Subscription>> = None;
        loop {
            let Some(open) = &mut bus else {
                match self.bus.join(self.node).await {
                    Ok(joined) => bus = Some(joined),
                    Err(error) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "the bus was not joined");
                        tokio::time::sleep(RETRY).await;
                    }
                }
                continue;
            };
            match open.next().await {
                Some(BusEvent::Message(message)) => self.apply(&message),
                Some(BusEvent::Gap) => self.want_all_checked(),
                None => {
                    bus = None;
                    self.want_all_checked();
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    fn want_all_checked(&self) {
        let chats: Vec<ChatId> = self.rooms.iter().map(|room| *room.key()).collect();
        let users: Vec<UserId> = self.users.iter().map(|user| *user.key()).collect();
        let mut checks = lock(&self.checks);
        checks.chats.extend(chats);
        checks.users.extend(users);
        drop(checks);
        self.checks_wanted.notify_one();
    }

    /// Compares with the store what has been asked for. While one comparison is under way the next ones gather, so
    /// a burst of new connections costs few of them.
    async fn check_what_is_wanted(&self) {
        loop {
            self.checks_wanted.notified().await;
            let wanted = std::mem::take(&mut *lock(&self.checks));
            // The bus first: what it brings from now on and what the store says now leave no gap between them.
            if let Err(error) = self.tell_topics(&wanted.topics).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "topics were not subscribed");
                lock(&self.checks).topics.splice(0..0, wanted.topics);
                self.put_back(wanted.chats, wanted.users);
                tokio::time::sleep(RETRY).await;
                continue;
            }
            let chats: Vec<ChatId> = wanted.chats.into_iter().collect();
            let users: Vec<UserId> = wanted.users.into_iter().collect();
            if let Err(error) = self.check(&chats, &users).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "connections were not compared with the store"
                );
                self.put_back(chats, users);
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    fn put_back(&self, chats: impl IntoIterator<Item = ChatId>, users: impl IntoIterator<Item = UserId>) {
        let mut checks = lock(&self.checks);
        checks.chats.extend(chats);
        checks.users.extend(users);
        drop(checks);
        self.checks_wanted.notify_one();
    }

    async fn tell_topics(&self, topics: &[(Topic, bool)]) -> Result<(), crate::ports::BusError> {
        // Consecutive ones of the same kind go together; the order between the kinds matters.
        for run in topics.chunk_by(|a, b| a.1 == b.1) {
            let topics: Vec<Topic> = run.iter().map(|(topic, _)| *topic).collect();
            if run[0].1 {
                self.bus.subscribe(self.node, &topics).await?;
            } else {
                self.bus.unsubscribe(self.node, &topics).await?;
            }
        }
        Ok(())
    }

    async fn check(&self, chats: &[ChatId], users: &[UserId]) -> Result<()> {
        for some in chats.chunks(AT_ONCE) {
            self.check_chats(some).await?;
        }
        for some in users.chunks(AT_ONCE) {
            self.check_users(some).await?;
            self.check_sessions(some).await?;
        }
        Ok(())
    }

    /// Reads what rooms have not given out yet.
    async fn check_chats(&self, chats: &[ChatId]) -> Result<()> {
        let heads = self.store.revisions(chats).await?;
        let behind: Vec<(ChatId, Revision)> = heads
            .into_iter()
            .filter_map(|(chat, head)| {
                let delivered = self.room(chat)?.delivered();
                (head > delivered).then_some((chat, delivered))
            })
            .collect();
        // A few at a time, because each may have many changes.
        for some in behind.chunks(20) {
            for changes in self.store.changes(some, CHANGES_AT_ONCE).await? {
                self.repair(&changes);
            }
        }
        Ok(())
    }

    fn repair(&self, changes: &Changes) {
        let Some(room) = self.room(changes.chat.id) else { return };
        let outcome = room.repair(changes, |since, index| {
            let event = convert::event(changes.messages[index].clone(), &changes.chat, since);
            event
                .inspect_err(|error| {
                    tracing::error!(error = error as &dyn std::error::Error, "a message can't be read");
                })
                .ok()
        });
        metrics::counter!("messenger_rooms_repaired_total").increment(1);
        self.follow_up(changes.chat.id, outcome);
    }

    /// Finds chats that people were added to without this node hearing of it.
    async fn check_users(&self, users: &[UserId]) -> Result<()> {
        for (user, count) in self.store.membership_counts(users).await? {
            let known = self.users.get(&user).map(|local| local.memberships);
            if known.is_some_and(|known| count > known) {
                self.enter_missed_chats(user).await?;
            }
        }
        Ok(())
    }

    async fn enter_missed_chats(&self, user: UserId) -> Result<()> {
        let memberships = self.store.memberships(user).await?;
        // Before the entering, which may ask for another look.
        if let Some(mut local) = self.users.get_mut(&user) {
            local.memberships = local.memberships.max(memberships.count);
        }
        for link in self.links_of(user) {
            for head in &memberships.chats {
                let is_in = self.room(head.chat).is_some_and(|room| room.has(&link));
                if !is_in {
                    self.enter_added_link(&link, head.chat, head.revision);
                }
            }
        }
        Ok(())
    }

    /// Ends connections whose session was ended without this node hearing of it.
    async fn check_sessions(&self, users: &[UserId]) -> Result<()> {
        let links: Vec<Arc<Link>> = users.iter().flat_map(|user| self.links_of(*user)).collect();
        let with_session = links.iter().filter_map(|link| Some((link, link.session?)));
        let (links, sessions): (Vec<_>, Vec<_>) = with_session.unzip();
        if sessions.is_empty() {
            return Ok(());
        }
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

    async fn sweep_at_intervals(&self) {
        loop {
            tokio::time::sleep(self.settings.sweep_interval).await;
            self.want_all_checked();
            self.extend_sessions().await;
        }
    }

    /// A live connection is a use of its session.
    async fn extend_sessions(&self) {
        let now = self.context.now();
        let expires = now.after(self.session_lifetime);
        let soon = now.after(self.session_lifetime / 2);
        let due: Vec<Arc<Link>> = self
            .wheel
            .iter()
            .flat_map(|group| {
                lock(group).iter().filter(|link| link.expires_at() < soon).cloned().collect::<Vec<_>>()
            })
            .collect();
        for link in due {
            let Some(session) = link.session else { continue };
            match self.store.touch_session(session, now, expires).await {
                Ok(()) => link.extend(expires),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a session was not extended");
                    return;
                }
            }
        }
    }

    /// One turn of the wheel: a group of connections is pinged and its leases are renewed; who has gone is announced.
    async fn tick_each_second(&self) {
        let mut ticks =
            tokio::time::interval_at(Instant::now() + Duration::from_secs(1), Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let renewals = (self.settings.lease / 3).as_secs().max(1);
        for turn in 0_u64.. {
            ticks.tick().await;
            self.ping_group(turn);
            let done = async {
                self.renew_leases(turn, renewals).await?;
                self.release_departed().await?;
                self.announce_offline().await
            };
            if let Err(error) = done.await {
                tracing::warn!(error = &error as &dyn std::error::Error, "presence was not kept up");
            }
        }
    }

    fn ping_group(&self, turn: u64) {
        let now = self.context.now();
        let group = &self.wheel[(turn % self.wheel.len() as u64) as usize];
        for link in lock(group).iter() {
            if link.has_expired(now) {
                link.mailbox.end(Ending::SessionEnded);
            } else {
                link.mailbox.ping();
            }
        }
    }

    /// Every lease is renewed once in `renewals` turns.
    async fn renew_leases(&self, turn: u64, renewals: u64) -> Result<()> {
        let due: Vec<Lease> = self
            .wheel
            .iter()
            .enumerate()
            .filter(|(index, _)| *index as u64 % renewals == turn % renewals)
            .flat_map(|(_, group)| lock(group).iter().map(|link| link.lease()).collect::<Vec<_>>())
            .collect();
        for some in due.chunks(AT_ONCE) {
            let online = self.presence.renew(some, self.settings.lease).await.map_err(presence_failed)?;
            self.announce_online(&online);
        }
        Ok(())
    }

    async fn release_departed(&self) -> Result<()> {
        let departed = std::mem::take(&mut *lock(&self.departed));
        for (index, some) in departed.chunks(AT_ONCE).enumerate() {
            if let Err(error) = self.presence.release(some).await {
                // Their leases end by themselves if this goes on.
                lock(&self.departed).extend_from_slice(&departed[index * AT_ONCE..]);
                return Err(presence_failed(error));
            }
        }
        Ok(())
    }

    async fn announce_offline(&self) -> Result<()> {
        let gone =
            self.presence.sweep(self.settings.offline_grace, AT_ONCE).await.map_err(presence_failed)?;
        if gone.is_empty() {
            return Ok(());
        }
        let seen: Vec<_> = gone.iter().map(|gone| (gone.user, gone.last_seen)).collect();
        let stored = self.store.set_last_seen(&seen).await;
        for (user, last_seen) in seen {
            self.announce_presence(PresenceOf {
                user_id: user,
                online: false,
                last_seen_at: Some(last_seen),
            });
        }
        Ok(stored?)
    }

    pub(super) fn announce_presence(&self, presence: PresenceOf) {
        let topics = vec![Topic::User(presence.user_id)];
        let hint = Arc::new(Hint::Event(Event::PresenceChanged(presence)));
        self.tell(vec![BusMessage { topics, hint }]);
    }
}

fn presence_failed(error: crate::ports::PresenceError) -> Error {
    Error::Unavailable(Some(Box::new(error)))
}
