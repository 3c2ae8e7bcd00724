use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use messenger_core::{
    ChatId, Timestamp, UserId,
    context::{Clock as _, Context, SystemClock},
    ports::{Bus, BusError, BusEvent, BusMessage, Hint, Lease, NodeId, PresenceStore, Subscription, Topic},
    testkit::{Carried, FreshBus, FreshPresence},
};
use messenger_redis::{Redis, RedisBus, RedisPresence};
use messenger_testing::{RedisCluster, RedisServer, RelayedBus};
use tokio::time::timeout;

/// Longer than anything takes here on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const HERE: NodeId = NodeId(1);
pub(crate) const THERE: NodeId = NodeId(2);
/// Longer than a test.
pub(crate) const TTL: Duration = Duration::from_secs(60);

pub(crate) fn redis(address: &str) -> Redis {
    redis_at(&format!("redis://{address}"))
}

pub(crate) fn redis_at(url: &str) -> Redis {
    Redis::builder(url).prefix("test").build().unwrap()
}

pub(crate) fn about(chat: ChatId) -> BusMessage {
    BusMessage { topics: vec![Topic::Chat(chat)], hint: Arc::new(Hint::Invalidate {}) }
}

pub(crate) async fn next(subscription: &mut Box<dyn Subscription>) -> Option<BusEvent> {
    timeout(PATIENCE, subscription.next()).await.expect("something is heard")
}

/// Publishes until it is heard after a gap.
pub(crate) async fn is_heard_again(redis: &Redis, subscription: &mut Box<dyn Subscription>, chat: ChatId) {
    let speaker = redis.bus();
    let again = async {
        let mut has_gap = false;
        loop {
            let _ = speaker.publish(THERE, &[about(chat)]).await;
            match timeout(Duration::from_millis(100), subscription.next()).await {
                Ok(Some(BusEvent::Gap)) => has_gap = true,
                Ok(Some(BusEvent::Message(message))) if has_gap && message == about(chat) => return,
                Ok(None) => panic!("the subscription has ended"),
                _ => {}
            }
        }
    };
    timeout(PATIENCE, again).await.expect("it is heard again");
}

/// People of two nodes, 40 each.
pub(crate) struct People {
    pub(crate) presence: [RedisPresence; 2],
    pub(crate) people: [Vec<Lease>; 2],
}

impl People {
    pub(crate) async fn new(redis: &Redis) -> Self {
        let context = Context::system();
        let lease = || Lease { user: context.id(), connection: context.id() };
        let people = std::array::from_fn(|_| (0..40).map(|_| lease()).collect());
        let nodes = Self { presence: [redis.presence(), redis.presence()], people };
        for node in 0..2 {
            assert_eq!(nodes.renew(node).await.len(), 40);
        }
        nodes
    }

    pub(crate) async fn renew(&self, node: usize) -> Vec<UserId> {
        self.presence[node].renew(&self.people[node], TTL).await.unwrap()
    }

    /// What a node does each second; whoever is said to have come or gone is an error. Returns whether all calls succeeded.
    pub(crate) async fn tick(&self) -> bool {
        let mut all = true;
        for node in 0..2 {
            let swept = self.presence[node].sweep(Duration::ZERO, 500).await;
            let came = self.presence[node].renew(&self.people[node][..4], TTL).await;
            all &= swept.is_ok() && came.is_ok();
            assert_eq!(swept.unwrap_or_default(), [], "nobody has gone");
            assert_eq!(came.unwrap_or_default(), [], "nobody has come");
        }
        all
    }

    /// Lets the nodes do what they do for so many seconds after it has begun to work again.
    pub(crate) async fn live_on(&self, seconds: u32) {
        let again = async {
            while !self.tick().await {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(PATIENCE, again).await.expect("it is reached again");
        for _ in 0..seconds {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.tick().await;
        }
        self.all_are_online().await;
    }

    pub(crate) async fn all_are_online(&self) {
        let all: Vec<UserId> = self.people.concat().iter().map(|lease| lease.user).collect();
        for presence in &self.presence {
            let states = presence.query(&all).await.unwrap();
            assert_eq!(states.iter().filter(|state| state.online).count(), all.len());
        }
    }

    /// Lets all people of the first node go.
    pub(crate) async fn first_go(&self) {
        self.presence[0].release(&self.people[0]).await.unwrap();
        let mut gone = vec![];
        let all = async {
            while gone.len() < 40 {
                gone.extend(self.presence[1].sweep(Duration::ZERO, 500).await.unwrap());
            }
        };
        timeout(PATIENCE, all).await.expect("all have gone");
        assert_eq!(gone.len(), 40);
    }
}

/// A bus whose nodes reach the server each through a relay of its own.
pub(crate) fn relayed(server: &RedisServer) -> RelayedBus {
    RelayedBus::to(&server.address(), Carried::Everything, |address| redis(address).bus())
}

/// Nodes that log in to a cluster each with a user of its own, who may be shut out.
pub(crate) struct ClusterNodes {
    cluster: RedisCluster,
    buses: Mutex<HashMap<NodeId, Arc<RedisBus>>>,
}

impl ClusterNodes {
    pub(crate) async fn new() -> Self {
        let cluster = RedisCluster::start().await;
        for node in 1..=4 {
            run_everywhere(&cluster, &format!("ACL SETUSER node{node} on >secret ~* &* +@all")).await;
        }
        Self { cluster, buses: Mutex::default() }
    }

    fn of(&self, node: NodeId) -> Arc<RedisBus> {
        let mut buses = self.buses.lock().unwrap();
        let bus = buses.entry(node).or_insert_with(|| {
            let url = self.cluster.url().replace("://", &format!("://node{}:secret@", node.0));
            Arc::new(redis_at(&url).bus())
        });
        Arc::clone(bus)
    }
}

pub(crate) async fn run_everywhere(cluster: &RedisCluster, command: &str) {
    for server in &cluster.servers {
        let answer = server.command(command).await.unwrap();
        assert!(!answer.starts_with('-'), "{command}: {answer}");
    }
}

#[async_trait]
impl Bus for ClusterNodes {
    async fn join(&self, node: NodeId) -> Result<Box<dyn Subscription>, BusError> {
        self.of(node).join(node).await
    }

    async fn publish(&self, from: NodeId, messages: &[BusMessage]) -> Result<(), BusError> {
        self.of(from).publish(from, messages).await
    }

    async fn subscribe(&self, node: NodeId, topics: &[Topic]) -> Result<(), BusError> {
        self.of(node).subscribe(node, topics).await
    }

    async fn unsubscribe(&self, node: NodeId, topics: &[Topic]) -> Result<(), BusError> {
        self.of(node).unsubscribe(node, topics).await
    }
}

pub(crate) struct FreshClusterNodes(pub(crate) Arc<ClusterNodes>);

#[async_trait]
impl FreshBus for FreshClusterNodes {
    fn carried(&self) -> Carried {
        Carried::Everything
    }

    fn bus(&self) -> Arc<dyn Bus> {
        Arc::clone(&self.0) as _
    }

    async fn cut(&self, node: NodeId) {
        run_everywhere(&self.0.cluster, &format!("ACL SETUSER node{} off", node.0)).await;
        run_everywhere(&self.0.cluster, &format!("CLIENT KILL USER node{}", node.0)).await;
    }

    async fn heal(&self, node: NodeId) {
        run_everywhere(&self.0.cluster, &format!("ACL SETUSER node{} on", node.0)).await;
    }

    async fn end(&self, _: NodeId) -> bool {
        false
    }
}

/// What is a Redis of its own for a case of presence.
pub(crate) trait Place: Send + Sync {
    fn redis(&self) -> Redis;
}

impl Place for RedisServer {
    fn redis(&self) -> Redis {
        redis(&self.address())
    }
}

impl Place for RedisCluster {
    fn redis(&self) -> Redis {
        redis_at(&self.url())
    }
}

/// Presence that lives by real time, with a server of its own.
pub(crate) struct RealPresence<P>(pub(crate) P);

#[async_trait]
impl<P: Place> FreshPresence for RealPresence<P> {
    fn presence(&self) -> Arc<dyn PresenceStore> {
        Arc::new(self.0.redis().presence())
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
