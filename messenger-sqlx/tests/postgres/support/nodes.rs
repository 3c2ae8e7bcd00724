//! Nodes that share a database, each by a way of its own.

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
use messenger_sqlx::{PostgresBus, PostgresNodes};
use messenger_testing::{Database, Relay};
use sqlx::postgres::PgConnectOptions;
use tokio::sync::OnceCell;

/// Longer than anything takes here on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn nodes(url: &str) -> PostgresNodes {
    PostgresNodes::open(url).unwrap()
}

/// A way to the server of a database, and the URL by that way.
pub(crate) async fn relay(url: &str) -> (Relay, String) {
    let target: PgConnectOptions = url.parse().unwrap();
    let relay = Relay::to(&format!("{}:{}", target.get_host(), target.get_port())).await;
    let (user, database) = (target.get_username(), target.get_database().unwrap());
    let url = format!("postgres://{user}@{}/{database}", relay.address());
    (relay, url)
}

/// Nodes that reach the server each through a relay of its own.
pub(crate) struct Nodes {
    url: String,
    nodes: Mutex<HashMap<NodeId, Arc<OnceCell<Reached>>>>,
}

struct Reached {
    relay: Relay,
    bus: PostgresBus,
}

impl Nodes {
    pub(crate) fn of(database: &Database) -> Self {
        Self { url: database.url(), nodes: Mutex::default() }
    }

    async fn with<T>(&self, node: NodeId, act: impl AsyncFnOnce(&Reached) -> T) -> T {
        let cell = Arc::clone(self.nodes.lock().unwrap().entry(node).or_default());
        let reached = cell.get_or_init(async || {
            let (relay, url) = relay(&self.url).await;
            Reached { relay, bus: nodes(&url).bus() }
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
        Carried::NoContent
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

/// Presence that lives by real time.
pub(crate) struct RealPresence(pub(crate) Database);

#[async_trait]
impl FreshPresence for RealPresence {
    fn presence(&self) -> Arc<dyn PresenceStore> {
        Arc::new(nodes(&self.0.url()).presence())
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
