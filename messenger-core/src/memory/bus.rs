use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use crate::ports::{Bus, BusError, BusMessage, Inbox, NodeId, Subscription, Topic};

/// A [`Bus`] between several nodes within one process, which can be made to fail as a network does.
///
/// ```
/// use std::sync::Arc;
/// use messenger_core::{context::Context, memory::MemoryBus, ports::*};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let (bus, chat) = (MemoryBus::new(), Context::fixed().id());
/// let (here, there) = (NodeId(1), NodeId(2));
/// let mut subscription = bus.join(here).await.unwrap();
/// bus.subscribe(here, &[Topic::Chat(chat)]).await.unwrap();
///
/// let hint = Arc::new(Hint::Invalidate {});
/// bus.publish(there, &[BusMessage { topics: vec![Topic::Chat(chat)], hint }]).await.unwrap();
/// assert_eq!(subscription.next().await, Some(BusEvent::Gap));
/// assert!(matches!(subscription.next().await, Some(BusEvent::Message(_))));
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct MemoryBus {
    state: Mutex<State>,
    capacity: usize,
}

impl MemoryBus {
    /// Makes a bus without nodes that queues up to 1,024 messages for each.
    pub fn new() -> Self {
        Self::with_capacity(1024)
    }

    /// Makes a bus that queues up to `capacity` messages for each node. Messages that find the queue full are lost, and
    /// one [`BusEvent::Gap`](crate::ports::BusEvent::Gap) is queued in their place.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { state: Mutex::default(), capacity }
    }

    /// Cuts a node off: it finds a [`BusEvent::Down`](crate::ports::BusEvent::Down), what is published for it is lost, and its own calls fail with a
    /// [`BusError`].
    pub fn cut(&self, node: NodeId) {
        let mut state = self.lock();
        if state.cut.insert(node)
            && let Some(node) = state.nodes.get(&node)
        {
            node.inbox.down();
        }
    }

    /// Reconnects the node; it finds a [`BusEvent::Gap`](crate::ports::BusEvent::Gap).
    pub fn heal(&self, node: NodeId) {
        let mut state = self.lock();
        if state.cut.remove(&node)
            && let Some(node) = state.nodes.get(&node)
        {
            node.inbox.gap();
        }
    }

    /// Ends the node's subscription; queued events can still be taken.
    pub fn end(&self, node: NodeId) {
        if let Some(node) = self.lock().nodes.get(&node) {
            node.inbox.end();
        }
    }

    /// Loses the next `n` published messages without reporting a gap: a faulty bus.
    pub fn lose_next(&self, n: usize) {
        self.lock().to_lose += n;
    }

    /// No call leaves the state half changed, so a poisoned lock can be used.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reach(&self, node: NodeId) -> Result<MutexGuard<'_, State>, BusError> {
        let state = self.lock();
        if state.cut.contains(&node) {
            return Err(BusError("this node is cut off".into()));
        }
        Ok(state)
    }
}

impl Default for MemoryBus {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for MemoryBus {
    fn drop(&mut self) {
        self.lock().nodes.values().for_each(|node| node.inbox.end());
    }
}

#[async_trait]
impl Bus for MemoryBus {
    async fn join(&self, node: NodeId) -> Result<Box<dyn Subscription>, BusError> {
        let inbox = Inbox::begin(self.capacity, usize::MAX);
        let mut state = self.reach(node)?;
        let node = state.nodes.entry(node).or_default();
        std::mem::replace(&mut node.inbox, Arc::clone(&inbox)).end();
        Ok(Inbox::subscription(&inbox))
    }

    async fn publish(&self, from: NodeId, messages: &[BusMessage]) -> Result<(), BusError> {
        let mut state = self.reach(from)?;
        let lost = state.to_lose.min(messages.len());
        state.to_lose -= lost;
        for message in &messages[lost..] {
            state.deliver(from, message);
        }
        Ok(())
    }

    async fn subscribe(&self, node: NodeId, topics: &[Topic]) -> Result<(), BusError> {
        self.reach(node)?.nodes.entry(node).or_default().topics.extend(topics);
        Ok(())
    }

    async fn unsubscribe(&self, node: NodeId, topics: &[Topic]) -> Result<(), BusError> {
        if let Some(node) = self.reach(node)?.nodes.get_mut(&node) {
            for topic in topics {
                node.topics.remove(topic);
            }
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct State {
    nodes: HashMap<NodeId, Node>,
    cut: HashSet<NodeId>,
    to_lose: usize,
}

#[derive(Debug)]
struct Node {
    /// The inbox of the last subscription; one that has ended accepts nothing.
    inbox: Arc<Inbox>,
    topics: HashSet<Topic>,
}

impl Default for Node {
    /// A node that has not joined.
    fn default() -> Self {
        Self { inbox: Inbox::ended(), topics: HashSet::new() }
    }
}

impl State {
    fn deliver(&self, from: NodeId, message: &BusMessage) {
        let others = self.nodes.iter().filter(|(id, _)| **id != from && !self.cut.contains(id));
        for (_, node) in others {
            if message.topics.iter().any(|topic| node.topics.contains(topic)) {
                node.inbox.push(message.clone(), 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        context::Context,
        domain::ChatId,
        ports::{BusEvent, Hint},
    };

    const HERE: NodeId = NodeId(1);
    const THERE: NodeId = NodeId(2);

    struct Scene {
        bus: MemoryBus,
        chat: ChatId,
        here: Box<dyn Subscription>,
    }

    impl Scene {
        async fn new(capacity: usize) -> Self {
            let (bus, chat) = (MemoryBus::with_capacity(capacity), Context::fixed().id());
            let mut here = bus.join(HERE).await.unwrap();
            assert_eq!(here.next().await, Some(BusEvent::Gap));
            bus.subscribe(HERE, &[Topic::Chat(chat)]).await.unwrap();
            Self { bus, chat, here }
        }

        fn message(&self, n: u8) -> BusMessage {
            let users = vec![crate::UserId::from_bytes([n; 16])];
            let hint = Hint::Added { chat: self.chat, revision: crate::Revision::ZERO, users };
            BusMessage { topics: vec![Topic::Chat(self.chat)], hint: Arc::new(hint) }
        }

        async fn say(&self, numbers: std::ops::Range<u8>) {
            let messages: Vec<_> = numbers.map(|n| self.message(n)).collect();
            self.bus.publish(THERE, &messages).await.unwrap();
        }

        async fn hear(&mut self, number: u8) {
            let message = self.message(number);
            assert_eq!(self.here.next().await, Some(BusEvent::Message(message)));
        }

        async fn hear_gap(&mut self) {
            assert_eq!(self.here.next().await, Some(BusEvent::Gap));
        }
    }

    #[tokio::test]
    async fn full_queue_has_one_gap_where_messages_were_lost() {
        let mut scene = Scene::new(2).await;
        scene.say(0..5).await;
        scene.hear(0).await;
        scene.say(5..6).await;
        scene.hear(1).await;
        scene.hear_gap().await;
        scene.say(6..7).await;
        scene.hear(6).await;
    }

    #[tokio::test]
    async fn node_that_was_cut_off_finds_a_gap() {
        let mut scene = Scene::new(10).await;
        scene.say(0..1).await;
        scene.bus.cut(HERE);
        scene.say(1..3).await;
        scene.bus.publish(HERE, &[scene.message(9)]).await.unwrap_err();
        scene.bus.heal(HERE);
        scene.say(3..4).await;
        scene.hear(0).await;
        scene.hear_gap().await;
        scene.hear(3).await;
    }

    #[tokio::test]
    async fn losing_bus_tells_nobody() {
        let mut scene = Scene::new(10).await;
        scene.bus.lose_next(2);
        scene.say(0..1).await;
        scene.say(1..3).await;
        scene.hear(2).await;
    }

    #[tokio::test]
    async fn subscription_ends_with_the_bus_or_when_its_node_joins_anew() {
        let mut scene = Scene::new(10).await;
        scene.say(0..1).await;
        let mut again = scene.bus.join(HERE).await.unwrap();
        scene.hear(0).await;
        assert_eq!(scene.here.next().await, None);
        drop(scene);
        assert_eq!(again.next().await, Some(BusEvent::Gap));
        assert_eq!(again.next().await, None);
    }
}
