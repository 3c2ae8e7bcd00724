use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use messenger_core::{
    Timestamp,
    context::{Clock as _, SystemClock},
    ports::{Bus, BusError, BusMessage, NodeId, PresenceStore, Subscription, Topic},
    testkit::{Carried, FreshBus, FreshPresence},
};
use messenger_redis::{Redis, RedisBus};
use messenger_testing::{RedisServer, Relay};
use tokio::sync::OnceCell;

/// Longer than anything takes here on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn redis(address: &str) -> Redis {
    Redis::builder(&format!("redis://{address}")).prefix("test").build().unwrap()
}

/// Nodes that reach the server each through a relay of its own.
pub(crate) struct Nodes {
    server: String,
    nodes: Mutex<HashMap<NodeId, Arc<OnceCell<Reached>>>>,
}

struct Reached {
    relay: Relay,
    bus: RedisBus,
}

impl Nodes {
    pub(crate) fn of(server: &RedisServer) -> Self {
        Self { server: server.address(), nodes: Mutex::default() }
    }

    async fn with<T>(&self, node: NodeId, act: impl AsyncFnOnce(&Reached) -> T) -> T {
        let cell = Arc::clone(self.nodes.lock().unwrap().entry(node).or_default());
        let reached = cell.get_or_init(async || {
            let relay = Relay::to(&self.server).await;
            let bus = redis(&relay.address().to_string()).bus();
            Reached { relay, bus }
        });
        act(reached.await).await
    }
}

#[async_trait]
impl Bus for Nodes {
    async fn join(&self, node: NodeId) -> Result<Box<dyn Subscription>, BusError> {
        self.with(node, async |reached| reached.bus.join(node).await).await
    }

    async fn publish(&self, from: NodeId, messages: &[BusMessage]) -> Result<(), BusError> {
        self.with(from, async |reached| reached.bus.publish(from, messages).await).await
    }

    async fn subscribe(&self, node: NodeId, topics: &[Topic]) -> Result<(), BusError> {
        self.with(node, async |reached| reached.bus.subscribe(node, topics).await).await
    }

    async fn unsubscribe(&self, node: NodeId, topics: &[Topic]) -> Result<(), BusError> {
        self.with(node, async |reached| reached.bus.unsubscribe(node, topics).await).await
    }
}

pub(crate) struct FreshNodes(pub(crate) Arc<Nodes>);

#[async_trait]
impl FreshBus for FreshNodes {
    fn bus(&self) -> Arc<dyn Bus> {
        Arc::clone(&self.0) as _
    }

    fn carried(&self) -> Carried {
        Carried::Everything
    }

    async fn cut(&self, node: NodeId) {
        self.0
            .with(node, async |reached| {
                reached.relay.refuse(true);
                reached.relay.cut();
            })
            .await;
    }

    async fn heal(&self, node: NodeId) {
        self.0.with(node, async |reached| reached.relay.refuse(false)).await;
    }

    async fn end(&self, _: NodeId) -> bool {
        false
    }
}

/// Presence that lives by real time, with a server of its own.
pub(crate) struct RealPresence(pub(crate) RedisServer);

#[async_trait]
impl FreshPresence for RealPresence {
    fn presence(&self) -> Arc<dyn PresenceStore> {
        Arc::new(redis(&self.0.address()).presence())
    }

    fn unit(&self) -> Duration {
        // A machine that is busy with other tests takes long for some calls.
        Duration::from_secs(1)
    }

    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}
