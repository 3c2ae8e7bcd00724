//! What the hub does by itself: listening to the bus, comparing with the store, presence, pings.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{AT_ONCE, Ending, Hub, Link, RETRY, leases, lock, watching::unreachable, within};
use crate::{
    domain::Presence as PresenceOf,
    error::Result,
    ports::{BusError, BusEvent, BusMessage, Hint, Lease, Subscription, Topic},
};

impl Hub {
    /// Starts the hub's tasks; they end with `stop`.
    pub(crate) fn start(
        self: &Arc<Self>,
        abroad: mpsc::Receiver<Vec<BusMessage>>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let hub = Arc::clone(self);
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move { hub.listen().await }));
        let hub = Arc::clone(self);
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move { hub.keep_topics().await }));
        let hub = Arc::clone(self);
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move { hub.check_what_is_wanted().await }));
        let hub = Arc::clone(self);
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move { hub.sweep_at_intervals().await }));
        let hub = Arc::clone(self);
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move { hub.keep_presence().await }));
        let hub = Arc::clone(self);
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move { hub.tick_each_second().await }));
        let (hub, stop) = (Arc::clone(self), stop.clone());
        tasks.spawn(async move { hub.publish(abroad, &stop).await });
    }

    async fn listen(&self) {
        let mut bus: Option<Box<dyn Subscription>> = None;
        loop {
            let Some(open) = &mut bus else {
                match within(self.bus.join(self.node)).await {
                    Ok(joined) => bus = Some(joined),
                    Err(error) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "the bus was not joined");
                        sleep(RETRY).await;
                    }
                }
                continue;
            };
            match open.next().await {
                Some(BusEvent::Message(message)) => self.apply(&message),
                Some(BusEvent::Gap) => self.compare_all(),
                None => {
                    bus = None;
                    sleep(RETRY).await;
                }
            }
        }
    }

    /// Tells the bus which topics are wanted. What is stored is compared without it, too: it may be out of reach.
    async fn keep_topics(&self) {
        loop {
            self.checks.topics_changed.notified().await;
            let (wanted, unwanted) = self.checks.take_topics();
            let mut told = Ok(());
            for some in wanted.chunks(AT_ONCE) {
                let subscribed = within(self.bus.subscribe(self.node, some)).await;
                match subscribed {
                    // What was said before nobody has heard, and what comes from now on does.
                    Ok(()) => self.compare(some),
                    Err(error) => {
                        self.checks.put_back_topics(some, true);
                        told = Err(error);
                    }
                }
            }
            for some in unwanted.chunks(AT_ONCE) {
                if let Err(error) = within(self.bus.unsubscribe(self.node, some)).await {
                    self.checks.put_back_topics(some, false);
                    told = Err(error);
                }
            }
            if let Err(error) = told {
                tracing::warn!(error = &error as &dyn std::error::Error, "topics were not subscribed");
                sleep(RETRY).await;
                self.checks.topics_changed.notify_one();
            }
        }
    }

    async fn check_what_is_wanted(&self) {
        loop {
            self.checks.is_wanted.notified().await;
            let (chats, users) = self.checks.take();
            if !self.check(&chats, &users).await {
                sleep(RETRY).await;
            }
        }
    }

    async fn sweep_at_intervals(&self) {
        loop {
            sleep(self.settings.sweep_interval).await;
            self.compare_all();
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

    /// Compares what watchers were told with presence, with each sweep.
    async fn keep_presence(&self) {
        loop {
            self.checks.presence_wanted.notified().await;
            if let Err(error) = self.check_presence().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "presence was not compared");
                sleep(RETRY).await;
                self.checks.presence_wanted.notify_one();
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

    async fn release_departed(&self) -> Result<()> {
        let departed = std::mem::take(&mut *lock(&self.departed));
        for (index, some) in departed.chunks(AT_ONCE).enumerate() {
            if let Err(error) = within(self.presence.release(some)).await {
                // Their leases end by themselves if this goes on.
                lock(&self.departed).extend_from_slice(&departed[index * AT_ONCE..]);
                return Err(unreachable(error));
            }
            self.remember_departed(some);
        }
        Ok(())
    }

    fn remember_departed(&self, leases: &[Lease]) {
        let now = self.context.now();
        let mut lately = lock(&self.departed_lately);
        while lately.front().is_some_and(|(at, _)| now.since(*at) > self.settings.offline_grace) {
            lately.pop_front();
        }
        lately.extend(leases.iter().map(|lease| (now, lease.user)));
    }

    async fn announce_offline(&self) -> Result<()> {
        let swept = within(self.presence.sweep(self.settings.offline_grace, AT_ONCE)).await;
        let gone = swept.map_err(unreachable)?;
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

    /// Gives back all leases, after the tasks have ended: nobody renews them any more. Whether somebody is offline then
    /// is for the other nodes to find; if there is none, at least the moment is stored.
    pub(crate) async fn depart(&self) -> Result<()> {
        let mut all: Vec<Lease> = self.wheel.iter().flat_map(leases).collect();
        all.append(&mut lock(&self.departed));
        let now = self.context.now();
        let mut seen: Vec<_> = lock(&self.departed_lately).iter().map(|(at, user)| (*user, *at)).collect();
        seen.extend(all.iter().map(|lease| (lease.user, now)));
        let mut released = Ok(());
        for some in all.chunks(AT_ONCE) {
            released = released.and(within(self.presence.release(some)).await.map_err(unreachable));
        }
        for some in seen.chunks(AT_ONCE) {
            self.store.set_last_seen(some).await?;
        }
        released
    }

    /// Tells the other nodes, in order; to the end of the queue once this node stops.
    async fn publish(&self, mut queue: mpsc::Receiver<Vec<BusMessage>>, stop: &CancellationToken) {
        let mut batches = Vec::new();
        loop {
            let lost = self.abroad.lost.any.load(Ordering::Acquire);
            tokio::select! {
                biased;
                count = queue.recv_many(&mut batches, 64) => if count == 0 { return },
                () = stop.cancelled(), if !queue.is_closed() => { queue.close(); continue }
                () = self.abroad.lost.noticed.notified() => {}
                // What is told about a loss is told until it is heard.
                () = sleep(RETRY), if lost => {}
            }
            let messages: Vec<BusMessage> = batches.drain(..).flatten().collect();
            if let Err(error) = self.publish_all(messages).await {
                // The others find it in the store.
                tracing::warn!(error = &error as &dyn std::error::Error, "the other nodes were not told");
                self.abroad.lost.any.store(true, Ordering::Release);
            }
        }
    }

    async fn publish_all(&self, messages: Vec<BusMessage>) -> Result<(), BusError> {
        if !messages.is_empty() {
            within(self.bus.publish(self.node, &messages)).await?;
        }
        if self.abroad.lost.any.swap(false, Ordering::AcqRel) {
            let gap = BusMessage { topics: vec![Topic::Nodes], hint: Arc::new(Hint::Invalidate {}) };
            within(self.bus.publish(self.node, &[gap])).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{Messenger, doc};

    #[tokio::test(start_paused = true)]
    async fn when_people_were_last_seen_is_stored_when_the_node_stops() {
        let messenger = Messenger::in_memory();
        let mut people = Vec::new();
        for name in ["here", "gone", "never"] {
            people.push(doc::register(&messenger, name).await);
        }
        let _here = messenger.connect(&people[0]).await.unwrap();
        // Given back, and not so long ago that anybody would be offline.
        drop(messenger.connect(&people[1]).await.unwrap());
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        messenger.hub().depart().await.unwrap();
        let mut seen = Vec::new();
        for person in &people {
            let record = messenger.store().user(person.user().unwrap()).await.unwrap();
            seen.push(record.last_seen_at.is_some());
        }
        assert_eq!(seen, [true, true, false]);
    }
}
