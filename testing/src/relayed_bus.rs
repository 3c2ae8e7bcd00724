use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use messenger_core::{
    ports::{Bus, BusError, BusMessage, NodeId, Subscription, Topic},
    testkit::{Carried, FreshBus},
};
use tokio::sync::OnceCell;

use crate::Relay;

/// A bus for the conformance kit, whose nodes reach their server each through a relay of its own, which can be cut.
#[derive(Debug)]
pub struct RelayedBus(Arc<Nodes>, Carried);

/// Makes a bus that reaches the server at this address, `HOST:PORT`.
type Dial = Box<dyn Fn(&str) -> Arc<dyn Bus> + Send + Sync>;

struct Nodes {
    server: String,
    dial: Dial,
    nodes: Mutex<HashMap<NodeId, Arc<OnceCell<Reached>>>>,
}

struct Reached {
    relay: Relay,
    bus: Arc<dyn Bus>,
}

impl RelayedBus {
    /// `server` is `HOST:PORT`; `dial` makes a bus that reaches it at the address of a relay.
    pub fn to<B: Bus>(
        server: &str,
        carried: Carried,
        dial: impl Fn(&str) -> B + Send + Sync + 'static,
    ) -> Self {
        let dial: Dial = Box::new(move |address| Arc::new(dial(address)));
        Self(Arc::new(Nodes { server: server.to_owned(), dial, nodes: Mutex::default() }), carried)
    }
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nodes").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Nodes {
    async fn with<T>(&self, node: NodeId, act: impl AsyncFnOnce(&Reached) -> T) -> T {
        let cell = Arc::clone(self.nodes.lock().unwrap().entry(node).or_default());
        let reached = cell.get_or_init(async || {
            let relay = Relay::to(&self.server).await;
            let bus = (self.dial)(&relay.address().to_string());
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

#[async_trait]
impl FreshBus for RelayedBus {
    fn bus(&self) -> Arc<dyn Bus> {
        Arc::clone(&self.0) as _
    }

    fn carried(&self) -> Carried {
        self.1
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
