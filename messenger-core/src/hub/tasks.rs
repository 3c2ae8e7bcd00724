//! The hub's background tasks: listening to the bus, comparing with the store, presence, pings.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use tokio::{
    sync::mpsc,
    time::{Instant, Interval, MissedTickBehavior, interval_at, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    Ending, Hub,
    bounds::{AT_ONCE, RETRY},
    link::Link,
    lock::lock,
    outage::Dependency,
    within::within,
};
use crate::{
    error::Result,
    ports::{BusError, BusEvent, BusMessage, Hint, Subscription, Topic},
    tasks::TaskGroup,
};

impl Hub {
    /// Starts the hub's tasks.
    pub(crate) fn start(self: &Arc<Self>, outgoing: mpsc::Receiver<Vec<BusMessage>>, tasks: &TaskGroup) {
        let work: [fn(Arc<Self>) -> BoxFuture<'static, ()>; 9] = [
            |hub| Box::pin(async move { hub.listen().await }),
            |hub| Box::pin(async move { hub.keep_topics().await }),
            |hub| Box::pin(async move { hub.check_what_is_wanted().await }),
            |hub| Box::pin(async move { hub.poll_at_intervals().await }),
            |hub| Box::pin(async move { hub.sweep_at_intervals().await }),
            |hub| Box::pin(async move { hub.keep_presence().await }),
            |hub| Box::pin(async move { hub.ping_at_intervals().await }),
            |hub| Box::pin(async move { hub.keep_leases().await }),
            |hub| Box::pin(async move { hub.last_seen.keep(&*hub.store).await }),
        ];
        for work in work {
            let hub = Arc::clone(self);
            tasks.spawn_until_stop(async move { hub.go_on_with(work).await });
        }
        let hub = Arc::clone(self);
        tasks.spawn_with_stop(async move |stop| hub.publish_outgoing(outgoing, &stop).await);
    }

    /// Runs endless work. If it panics, as a host's bus or presence may, it is restarted: without it, connections would
    /// miss events for as long as the node runs, unnoticed.
    async fn go_on_with(self: Arc<Self>, work: impl Fn(Arc<Self>) -> BoxFuture<'static, ()>) {
        while AssertUnwindSafe(work(Arc::clone(&self))).catch_unwind().await.is_err() {
            tracing::error!("a task of the hub has panicked, and is begun anew");
            self.want_all_topics();
            self.compare_everything();
            sleep(RETRY).await;
        }
    }

    async fn listen(&self) {
        let mut bus: Option<Box<dyn Subscription>> = None;
        let mut joining = self.outages.watch(Dependency::Bus, "joining");
        let mut hearing = self.outages.watch(Dependency::Bus, "hearing");
        loop {
            let Some(open) = &mut bus else {
                let joined = within(self.bus.join(self.node)).await;
                joining.note(&joined);
                match joined {
                    Ok(joined) => bus = Some(joined),
                    Err(_) => sleep(RETRY).await,
                }
                continue;
            };
            match open.next().await {
                Some(BusEvent::Message(message)) => self.apply(&message),
                Some(BusEvent::Gap) => {
                    hearing.note::<_, BusError>(&Ok(()));
                    self.compare_all();
                }
                Some(BusEvent::Down) => {
                    hearing.note::<(), _>(&Err(BusError("the connection is lost".into())));
                }
                None => {
                    bus = None;
                    sleep(RETRY).await;
                }
            }
        }
    }

    /// Passes changes of topics to the bus. Comparing with the store does not depend on this: the bus may be out of
    /// reach.
    async fn keep_topics(&self) {
        let mut outage = self.outages.watch(Dependency::Bus, "subscribing");
        loop {
            self.checks.topics_changed.notified().await;
            let (wanted, unwanted) = self.checks.take_topics();
            let mut told = Ok(());
            for some in wanted.chunks(AT_ONCE) {
                let subscribed = within(self.bus.subscribe(self.node, some)).await;
                match subscribed {
                    // What was published before was not received; what is published from now on is.
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
            outage.note(&told);
            if told.is_err() {
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
        for turn in 1_u64.. {
            sleep(self.settings.sweep_interval).await;
            // A loss that polls don't find: of a change that was stored very late, or of one that the store has lost.
            if turn.is_multiple_of(3) {
                self.compare_everything();
            } else {
                self.compare_all();
            }
            self.extend_sessions().await;
        }
    }

    /// A live connection counts as a use of its session.
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

    /// Compares what watchers were told with presence, at every sweep.
    async fn keep_presence(&self) {
        let mut outage = self.outages.watch(Dependency::Presence, "comparing");
        let mut pause = RETRY;
        loop {
            self.checks.presence_wanted.notified().await;
            let checked = self.check_presence().await;
            outage.note(&checked);
            if checked.is_ok() {
                pause = RETRY;
            } else {
                // With a part of presence away, each time all of the rest is compared.
                sleep(pause).await;
                pause = (2 * pause).min(self.settings.sweep_interval.max(RETRY));
                self.checks.presence_wanted.notify_one();
            }
        }
    }

    /// Pings one group of connections each second.
    async fn ping_at_intervals(&self) {
        let mut ticks = each_second();
        for turn in 0_u64.. {
            ticks.tick().await;
            self.ping_group(turn);
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

    /// Publishes the queued messages on the bus, in order; once this node stops, to the end of the queue.
    async fn publish_outgoing(&self, mut queue: mpsc::Receiver<Vec<BusMessage>>, stop: &CancellationToken) {
        let mut batches = Vec::new();
        let mut outage = self.outages.watch(Dependency::Bus, "publishing");
        loop {
            let lost = self.outgoing.is_loss_noted();
            tokio::select! {
                biased;
                count = queue.recv_many(&mut batches, 64) => if count == 0 { return },
                () = stop.cancelled(), if !queue.is_closed() => { queue.close(); continue }
                () = self.outgoing.loss_noticed() => {}
                // A loss is reported until the report gets through.
                () = sleep(RETRY), if lost => {}
            }
            let messages: Vec<BusMessage> = batches.drain(..).flatten().collect();
            let published = self.publish_all(messages).await;
            outage.note(&published);
            if published.is_err() {
                // The other nodes find it in the store.
                self.outgoing.note_loss();
            }
        }
    }

    async fn publish_all(&self, messages: Vec<BusMessage>) -> Result<(), BusError> {
        if !messages.is_empty() {
            self.publish_once(&messages).await?;
        }
        if self.outgoing.take_loss() {
            let gap = BusMessage { topics: vec![Topic::Nodes], hint: Arc::new(Hint::Invalidate {}) };
            self.publish_once(&[gap]).await?;
        }
        Ok(())
    }

    async fn publish_once(&self, messages: &[BusMessage]) -> Result<(), BusError> {
        let published = AssertUnwindSafe(within(self.bus.publish(self.node, messages))).catch_unwind().await;
        published.unwrap_or_else(|_| Err(BusError("the bus has panicked".into())))
    }
}

pub(super) fn each_second() -> Interval {
    let second = Duration::from_secs(1);
    let mut ticks = interval_at(Instant::now() + second, second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use async_trait::async_trait;
    use tokio::time::{Instant, timeout};

    use crate::{
        Messenger, PasswordCost, Settings, UserId,
        commands::CreateGroupChat,
        context::Context,
        doc,
        hub::{HubSettings, Signal},
        memory::{MemoryBus, MemoryPresence, MemoryStore},
        ports::{
            Bus, BusError, BusMessage, Lease, NodeId, PresenceError, PresenceState, PresenceStore,
            Subscription, Topic, WentOffline,
        },
    };

    /// A bus that panics this many times in each method.
    struct Panics {
        inner: Arc<MemoryBus>,
        publish: AtomicUsize,
        subscribe: AtomicUsize,
        join: AtomicUsize,
    }

    fn may_panic(left: &AtomicUsize) {
        let less = |left: usize| left.checked_sub(1);
        assert!(left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_err(), "as a bug would");
    }

    #[async_trait]
    impl Bus for Panics {
        async fn join(&self, node: NodeId) -> Result<Box<dyn Subscription>, BusError> {
            may_panic(&self.join);
            self.inner.join(node).await
        }

        async fn publish(&self, from: NodeId, messages: &[BusMessage]) -> Result<(), BusError> {
            may_panic(&self.publish);
            self.inner.publish(from, messages).await
        }

        async fn subscribe(&self, node: NodeId, topics: &[Topic]) -> Result<(), BusError> {
            may_panic(&self.subscribe);
            self.inner.subscribe(node, topics).await
        }

        async fn unsubscribe(&self, node: NodeId, topics: &[Topic]) -> Result<(), BusError> {
            self.inner.unsubscribe(node, topics).await
        }
    }

    /// Presence that never answers.
    struct Hangs;

    #[async_trait]
    impl PresenceStore for Hangs {
        async fn renew(&self, _: &[Lease], _: Duration) -> Result<Vec<UserId>, PresenceError> {
            std::future::pending().await
        }

        async fn release(&self, _: &[Lease]) -> Result<(), PresenceError> {
            std::future::pending().await
        }

        async fn sweep(&self, _: Duration, _: usize) -> Result<Vec<WentOffline>, PresenceError> {
            std::future::pending().await
        }

        async fn query(&self, _: &[UserId]) -> Result<Vec<PresenceState>, PresenceError> {
            std::future::pending().await
        }
    }

    /// No sweeps, which would make up for any loss.
    fn settings() -> Settings {
        let hub = HubSettings {
            poll_interval: Duration::ZERO,
            sweep_interval: Duration::from_secs(1_000_000),
            ..HubSettings::default()
        };
        Settings {
            hub,
            password_cost: PasswordCost { memory_kib: 8, passes: 1, ..PasswordCost::default() },
            ..Settings::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_bus_that_panics_once_goes_on_to_be_used() {
        let (store, inner) = (Arc::new(MemoryStore::new()), Arc::new(MemoryBus::new()));
        let presence = Arc::new(MemoryPresence::new(Arc::clone(Context::system().clock())));
        let node = |[publish, subscribe, join]: [usize; 3]| {
            let [publish, subscribe, join] = [publish, subscribe, join].map(AtomicUsize::new);
            let bus = Panics { inner: Arc::clone(&inner), publish, subscribe, join };
            let store = Arc::clone(&store);
            let builder = Messenger::builder(store).presence(Arc::clone(&presence) as _).bus(Arc::new(bus));
            builder.settings(settings()).build().unwrap()
        };
        let panics = [([1, 0, 0], [0, 0, 0]), ([0, 0, 0], [0, 1, 0]), ([0, 0, 0], [0, 0, 1])];
        for (people, (here, there)) in panics.into_iter().enumerate() {
            let (here, there) = (node(here), node(there));
            let names = ["ada", "bob"].map(|name| format!("{name}{people}"));
            let (ada, bob) = (doc::register(&here, &names[0]).await, doc::register(&here, &names[1]).await);
            let mut connection = there.connect(&bob).await.unwrap();
            connection.resume(None).await.unwrap();
            let mut heard = 0;
            for _ in 0..3 {
                let title = "tea".into();
                let create =
                    CreateGroupChat { title, member_ids: vec![bob.user().unwrap()], client_id: None };
                here.execute(&ada, create).await.unwrap();
                while let Ok(Signal::Event(told)) = timeout(Duration::from_secs(5), connection.next()).await {
                    heard += usize::from(told.event().name() == "chatAdded");
                }
            }
            assert_eq!(heard, 3);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_presence_keeps_nobody_from_being_pinged_and_no_node_from_stopping() {
        let builder = Messenger::builder(Arc::new(MemoryStore::new())).presence(Arc::new(Hangs));
        let messenger = builder.settings(settings()).build().unwrap();
        let mut connections = Vec::new();
        for n in 0..12 {
            let person = doc::register(&messenger, &format!("person{n}")).await;
            for _ in 0..100 {
                connections.push(messenger.connect(&person).await.unwrap());
            }
        }
        connections[0].go_live();
        let (begun, mut pings) = (Instant::now(), 0);
        while let Ok(signal) = timeout(Duration::from_secs(100), connections[0].next()).await {
            pings += usize::from(matches!(signal, Signal::Ping));
            if begun.elapsed() > Duration::from_secs(300) {
                break;
            }
        }
        assert!(pings >= 9, "{pings} in 300 s");
        let begun = Instant::now();
        messenger.close().await;
        assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn when_people_were_last_seen_is_stored_when_the_node_stops() {
        let messenger = Messenger::in_memory();
        let mut people = Vec::new();
        for name in ["here", "gone", "never"] {
            people.push(doc::register(&messenger, name).await);
        }
        let _here = messenger.connect(&people[0]).await.unwrap();
        // Returned, but too recently for anybody to be offline.
        drop(messenger.connect(&people[1]).await.unwrap());
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        messenger.service().hub.depart().await.unwrap();
        let mut seen = Vec::new();
        for person in &people {
            let record = messenger.service().store.user(person.user().unwrap()).await.unwrap();
            seen.push(record.last_seen_at.is_some());
        }
        assert_eq!(seen, [true, true, false]);
    }
}
