//! What lies between the nodes: a bus that can be late, lose, end and be cut, within what it [promises](Promise).

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use messenger_core::ports::*;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    end::{Arrival, End},
    promise::Promise,
    record::Record,
};

/// What is not heard of a node that loses what it says, without knowing it, is found by a poll.
const POLLED: Duration = Duration::from_secs(5);
/// When a node that could say nothing tells the others so, at the latest.
const OWNED_UP: Duration = Duration::from_millis(300);

/// The bus, as all nodes together see it.
pub(crate) struct Network {
    promise: Promise,
    record: Record,
    ends: Mutex<Vec<End>>,
}

impl Network {
    pub(crate) fn new(promise: Promise, nodes: usize, record: Record) -> Arc<Self> {
        let ends = (0..nodes).map(|_| End::new(0)).collect();
        Arc::new(Self { promise, record, ends: Mutex::new(ends) })
    }

    /// The bus as this node reaches it.
    pub(crate) fn bus(self: &Arc<Self>, node: usize) -> Arc<dyn Bus> {
        let life = self.ends()[node].life;
        Arc::new(SimBus { network: Arc::clone(self), node, life })
    }

    fn ends(&self) -> MutexGuard<'_, Vec<End>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node's connections are lost, and can't be had again for so long.
    pub(crate) fn cut(self: &Arc<Self>, node: usize, time: Duration) {
        if self.promise == Promise::None {
            return;
        }
        let until = Instant::now() + time;
        let (cut, life) = {
            let mut ends = self.ends();
            let cut = ends[node].cut(until, self.promise.reports());
            for (other, end) in ends.iter_mut().enumerate() {
                if other != node {
                    end.lacks_until(until + OWNED_UP);
                }
            }
            (cut, ends[node].life)
        };
        let network = Arc::clone(self);
        tokio::spawn(async move {
            let reconnected = if network.promise.reports() { network.notice(node, cut).await } else { until };
            sleep_until(reconnected.max(until)).await;
            let end = &mut network.ends()[node];
            if end.life == life {
                end.hears_again(cut);
            }
        });
    }

    /// Says that the connection is lost when that is noticed. When it is reached again, if that is possible then.
    async fn notice(&self, node: usize, cut: u64) -> Instant {
        let slow = if self.promise == Promise::Memory { 0 } else { 1 };
        sleep(self.record.millis(0, 2000 * slow)).await;
        self.ends()[node].is_down(cut);
        Instant::now() + self.record.millis(100 * slow, 1500 * slow)
    }

    /// So many messages are lost before the node has taken them.
    pub(crate) fn lose(&self, node: usize, messages: usize) {
        self.ends()[node].lose = messages;
    }

    /// What the node says is lost for so long. On PostgreSQL it knows; elsewhere it does not.
    pub(crate) fn mute(&self, node: usize, time: Duration) {
        if matches!(self.promise, Promise::None | Promise::Memory) {
            return;
        }
        let until = Instant::now() + time;
        let found = until + if self.promise == Promise::Postgres { OWNED_UP } else { POLLED };
        for (other, end) in self.ends().iter_mut().enumerate() {
            if other == node {
                end.mute_until = Some(until);
            } else {
                end.lacks_until(found);
            }
        }
    }

    pub(crate) fn delay(&self, node: usize, time: Duration) {
        if self.promise != Promise::Memory {
            self.ends()[node].delay(Instant::now() + time);
        }
    }

    /// The node's subscription ends.
    pub(crate) fn end(&self, node: usize) {
        if self.promise != Promise::None {
            self.ends()[node].end();
        }
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
        ends[node] = End::new(life);
    }

    /// What each node wants to hear of.
    pub(crate) fn topics(&self) -> Vec<Vec<Topic>> {
        self.ends().iter().map(|end| end.topics.iter().copied().collect()).collect()
    }

    /// Since when the node has heard, or has been told that it has not heard, everything; none if it does not at present.
    pub(crate) fn whole_since(&self, node: usize) -> Option<Instant> {
        self.ends()[node].whole_since()
    }

    /// From now on nothing goes wrong.
    pub(crate) fn heal(&self) {
        self.ends().iter_mut().for_each(End::heal);
    }

    /// On its way to this node.
    fn carry(&self, from: usize, message: &BusMessage, end: &mut End) {
        // Who listens to everything decides when it comes.
        let wanted = |topic: &&Topic| self.promise == Promise::Postgres || end.topics.contains(topic);
        let topics: Vec<Topic> = message.topics.iter().filter(wanted).copied().collect();
        if topics.is_empty() {
            return;
        }
        let times = || match self.promise {
            Promise::Memory => Duration::ZERO,
            _ if end.is_late() => self.record.millis(0, 4000),
            _ => self.record.millis(0, 8),
        };
        match self.promise {
            Promise::None => {}
            Promise::Memory | Promise::Postgres => {
                let at = end.way(None, times());
                end.carry(Arrival { at, message: message.clone() }, self.promise.reports());
            }
            // Topics are ways of their own: a message of several comes several times, and not at the same time.
            Promise::Hint | Promise::Redis => {
                let times: Vec<_> = topics.iter().map(|topic| (*topic, times())).collect();
                let arrivals = times.into_iter().map(|(topic, time)| end.way(Some((from, topic)), time));
                let mut arrivals: Vec<_> = arrivals.collect();
                if self.promise == Promise::Redis {
                    // It is known by its number the second time.
                    arrivals = arrivals.into_iter().min().into_iter().collect();
                }
                for at in arrivals {
                    end.carry(Arrival { at, message: written(message) }, self.promise.reports());
                }
            }
        }
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
        if !matches!(self.network.promise, Promise::Memory | Promise::None) {
            let time = self.network.record.millis(0, 3);
            sleep(time).await;
        }
        let ends = self.network.ends();
        let end = &ends[self.node];
        if end.is_cut() || end.dead || end.life != self.life {
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
        if end.is_deaf() && self.network.promise.reports() {
            return Err(BusError("the bus is out of reach".into()));
        }
        let number = end.join(node, self.network.promise);
        Ok(Box::new(SimSubscription { network: Arc::clone(&self.network), node: self.node, number }))
    }

    async fn publish(&self, _: NodeId, messages: &[BusMessage]) -> Result<(), BusError> {
        let network = &self.network;
        if network.promise == Promise::None {
            return Ok(());
        }
        self.travel().await?;
        let mut ends = network.ends();
        let is_mute = ends[self.node].is_mute();
        // Whether it was done before the connection was lost is for the server to know.
        let is_lost =
            is_mute && (network.promise != Promise::Postgres || network.record.lock().rng.chance(50));
        if !is_lost {
            for message in network.promise.told(messages) {
                let others = ends.iter_mut().enumerate().filter(|(to, end)| *to != self.node && end.takes());
                others.for_each(|(_, end)| network.carry(self.node, &message, end));
            }
        }
        if is_mute && network.promise == Promise::Postgres {
            return Err(BusError("no answer".into()));
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

impl SimSubscription {
    fn is_wanted(event: &BusEvent, topics: &HashSet<Topic>) -> bool {
        match event {
            BusEvent::Message(message) => message.topics.iter().any(|topic| topics.contains(topic)),
            _ => true,
        }
    }
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
                if let Some(event) = end.take() {
                    if self.network.promise != Promise::Postgres || Self::is_wanted(&event, &end.topics) {
                        return Some(event);
                    }
                    continue;
                }
                (Arc::clone(&end.arrived), end.first_comes_at())
            };
            tokio::select! {
                biased;
                () = arrived.notified() => {}
                () = sleep_until(first.unwrap_or_else(Instant::now)), if first.is_some() => {}
            }
        }
    }
}
