//! What lies between the nodes: a bus that can be late, lose, end and be cut, and presence that can be out of reach.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use messenger_core::{memory::MemoryPresence, ports::*};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use crate::record::Record;

/// The bus, as all nodes together see it.
pub(crate) struct Network {
    record: Record,
    ends: Mutex<Vec<End>>,
}

/// One node's end of it.
#[derive(Default)]
struct End {
    id: Option<NodeId>,
    topics: HashSet<Topic>,
    /// By the moment of arrival.
    inbox: BTreeMap<(Instant, u64), BusEvent>,
    numbered: u64,
    /// When the last message of a topic from a node arrives: the next one comes no earlier.
    last: HashMap<(usize, Topic), Instant>,
    arrived: Arc<Notify>,
    /// Rises with each `join`, and when the subscription is ended.
    subscription: u64,
    ended: bool,
    cut_until: Option<Instant>,
    late_until: Option<Instant>,
    /// So many messages are lost without a word.
    lose: usize,
    dead: bool,
    /// Which of the processes that took this place one after the other it is.
    life: u64,
}

impl Network {
    pub(crate) fn new(nodes: usize, record: Record) -> Arc<Self> {
        Arc::new(Self { record, ends: Mutex::new((0..nodes).map(|_| End::default()).collect()) })
    }

    /// The bus as this node reaches it.
    pub(crate) fn bus(self: &Arc<Self>, node: usize) -> Arc<dyn Bus> {
        let life = self.ends()[node].life;
        Arc::new(SimBus { network: Arc::clone(self), node, life })
    }

    fn ends(&self) -> MutexGuard<'_, Vec<End>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn cut(self: &Arc<Self>, node: usize, time: Duration) {
        let until = Instant::now() + time;
        self.ends()[node].cut_until = Some(until);
        let network = Arc::clone(self);
        tokio::spawn(async move {
            sleep_until(until).await;
            network.ends()[node].arrive(Instant::now(), BusEvent::Gap);
        });
    }

    pub(crate) fn lose(&self, node: usize, messages: usize) {
        self.ends()[node].lose = messages;
    }

    pub(crate) fn delay(&self, node: usize, time: Duration) {
        self.ends()[node].late_until = Some(Instant::now() + time);
    }

    /// The node's subscription ends.
    pub(crate) fn end(&self, node: usize) {
        self.ends()[node].end();
    }

    pub(crate) fn life(&self, node: usize) -> u64 {
        self.ends()[node].life
    }

    /// The process is no more: what it says from now on is said to nobody.
    pub(crate) fn kill(&self, node: usize, life: u64) {
        let end = &mut self.ends()[node];
        if end.life != life {
            return;
        }
        end.dead = true;
        end.end();
    }

    /// Another process takes the node's place.
    pub(crate) fn revive(&self, node: usize) {
        let mut ends = self.ends();
        let life = ends[node].life + 1;
        ends[node] = End { life, ..End::default() };
    }

    /// What each node wants to hear of.
    pub(crate) fn topics(&self) -> Vec<Vec<Topic>> {
        self.ends().iter().map(|end| end.topics.iter().copied().collect()).collect()
    }

    /// From now on nothing goes wrong.
    pub(crate) fn heal(&self) {
        for end in self.ends().iter_mut() {
            (end.lose, end.late_until) = (0, None);
        }
    }
}

impl End {
    fn is_cut(&self) -> bool {
        self.cut_until.is_some_and(|until| Instant::now() < until)
    }

    fn arrive(&mut self, at: Instant, event: BusEvent) {
        self.numbered += 1;
        self.inbox.insert((at, self.numbered), event);
        self.arrived.notify_one();
    }

    fn end(&mut self) {
        self.ended = true;
        self.subscription += 1;
        self.inbox.clear();
        self.arrived.notify_one();
    }
}

struct SimBus {
    network: Arc<Network>,
    node: usize,
    life: u64,
}

impl SimBus {
    /// To the bus and back.
    async fn travel(&self) -> Result<(), BusError> {
        let time = self.network.record.millis(0, 3);
        sleep(time).await;
        let ends = self.network.ends();
        if ends[self.node].is_cut() || ends[self.node].dead || ends[self.node].life != self.life {
            return Err(BusError("the bus is out of reach".into()));
        }
        Ok(())
    }
}

#[async_trait]
impl Bus for SimBus {
    async fn join(&self, node: NodeId) -> Result<Box<dyn Subscription>, BusError> {
        self.travel().await?;
        let mut ends = self.network.ends();
        let end = &mut ends[self.node];
        let again = end.id == Some(node);
        end.subscription += 1;
        end.ended = false;
        end.id = Some(node);
        end.inbox.clear();
        if again {
            end.arrive(Instant::now(), BusEvent::Gap);
        }
        let (network, number) = (Arc::clone(&self.network), end.subscription);
        Ok(Box::new(SimSubscription { network, node: self.node, number }))
    }

    async fn publish(&self, _: NodeId, messages: &[BusMessage]) -> Result<(), BusError> {
        self.travel().await?;
        let (record, now) = (&self.network.record, Instant::now());
        let mut ends = self.network.ends();
        for message in messages {
            for (to, end) in ends.iter_mut().enumerate() {
                if to == self.node || end.is_cut() || end.dead {
                    continue;
                }
                // Topics are ways of their own: a message of several comes several times, and not at the same time.
                for topic in message
                    .topics
                    .iter()
                    .filter(|topic| end.topics.contains(topic))
                    .copied()
                    .collect::<Vec<_>>()
                {
                    if end.lose > 0 {
                        end.lose -= 1;
                        continue;
                    }
                    let late = end.late_until.is_some_and(|until| now < until);
                    let time = if late { record.millis(0, 4000) } else { record.millis(0, 8) };
                    let last = end.last.entry((self.node, topic)).or_insert(now);
                    *last = (*last).max(now + time);
                    let at = *last;
                    end.arrive(at, BusEvent::Message(written(message)));
                }
            }
        }
        Ok(())
    }

    async fn subscribe(&self, _: NodeId, topics: &[Topic]) -> Result<(), BusError> {
        self.travel().await?;
        self.network.ends()[self.node].topics.extend(topics);
        Ok(())
    }

    async fn unsubscribe(&self, _: NodeId, topics: &[Topic]) -> Result<(), BusError> {
        self.travel().await?;
        self.network.ends()[self.node].topics.retain(|topic| !topics.contains(topic));
        Ok(())
    }
}

/// As it arrives at the other side of a wire.
fn written(message: &BusMessage) -> BusMessage {
    BusMessage::from_bytes(&message.to_bytes()).expect("what is written can be read")
}

struct SimSubscription {
    network: Arc<Network>,
    node: usize,
    number: u64,
}

#[async_trait]
impl Subscription for SimSubscription {
    async fn next(&mut self) -> Option<BusEvent> {
        loop {
            let (arrived, first) = {
                let mut ends = self.network.ends();
                let end = &mut ends[self.node];
                if end.subscription != self.number {
                    return None;
                }
                if let Some(entry) = end.inbox.first_entry()
                    && entry.key().0 <= Instant::now()
                {
                    return Some(entry.remove());
                }
                (Arc::clone(&end.arrived), end.inbox.first_key_value().map(|(key, _)| key.0))
            };
            tokio::select! {
                biased;
                () = arrived.notified() => {}
                () = sleep_until(first.unwrap_or_else(Instant::now)), if first.is_some() => {}
            }
        }
    }
}

/// Presence as one node reaches it.
pub(crate) struct SimPresence {
    pub(crate) inner: Arc<MemoryPresence>,
    pub(crate) record: Record,
    pub(crate) cut_until: Mutex<Option<Instant>>,
    pub(crate) dead: Mutex<bool>,
}

impl SimPresence {
    pub(crate) fn new(inner: Arc<MemoryPresence>, record: Record) -> Self {
        Self { inner, record, cut_until: Mutex::default(), dead: Mutex::default() }
    }

    pub(crate) fn cut(&self, time: Duration) {
        *self.cut_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + time);
    }

    pub(crate) fn kill(&self) {
        *self.dead.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    async fn travel(&self) -> Result<(), PresenceError> {
        let time = self.record.millis(0, 3);
        sleep(time).await;
        if *self.dead.lock().unwrap_or_else(PoisonError::into_inner) {
            std::future::pending::<()>().await;
        }
        let until = *self.cut_until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.is_some_and(|until| Instant::now() < until) {
            return Err(PresenceError("presence is out of reach".into()));
        }
        Ok(())
    }
}

#[async_trait]
impl PresenceStore for SimPresence {
    async fn renew(
        &self,
        leases: &[Lease],
        ttl: Duration,
    ) -> Result<Vec<messenger_core::UserId>, PresenceError> {
        self.travel().await?;
        let came = self.inner.renew(leases, ttl).await;
        self.travel().await?;
        came
    }
    async fn release(&self, leases: &[Lease]) -> Result<(), PresenceError> {
        self.travel().await?;
        self.inner.release(leases).await
    }
    async fn sweep(&self, grace: Duration, limit: usize) -> Result<Vec<WentOffline>, PresenceError> {
        self.travel().await?;
        let gone = self.inner.sweep(grace, limit).await;
        self.travel().await?;
        gone
    }
    async fn query(&self, users: &[messenger_core::UserId]) -> Result<Vec<PresenceState>, PresenceError> {
        self.travel().await?;
        self.inner.query(users).await
    }
}
