use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use messenger_core::ports::{Bus, BusError, BusMessage, NodeId, Subscription, Topic};
use redis::Pipeline;

use crate::{
    inbox::HEADER,
    node::{Node, channel},
    requests::Requests,
    server::{Server, ServerError},
};

/// The number of commands, and of bytes, after which a batch is sent.
const COMMANDS: usize = 512;
const BYTES: usize = 1 << 20;

/// A [`Bus`] on Redis channels: one for each chat and each person, so that a node receives what concerns its connections and
/// little else.
///
/// A message is published once for each of its topics, a batch of messages in one exchange. Redis keeps nothing for a subscriber
/// that is away, so every loss of a connection becomes a [`BusEvent::Gap`](messenger_core::ports::BusEvent::Gap). A loss is
/// noticed when the server closes the connection, or when it does not answer a `PING`, sent each second, within
/// [`RedisBuilder::timeout`](crate::RedisBuilder::timeout).
///
/// ```no_run
/// use messenger_core::{context::Context, ports::{Bus as _, NodeId, Topic}};
/// use messenger_redis::Redis;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let bus = Redis::open("redis://127.0.0.1")?.bus();
/// let mut subscription = bus.join(NodeId(1)).await?;
/// bus.subscribe(NodeId(1), &[Topic::Chat(Context::system().id())]).await?;
/// let event = subscription.next().await;
/// # drop(event);
/// # Ok(())
/// # }
/// ```
pub struct RedisBus {
    server: Arc<Server>,
    requests: Requests,
    /// One in a host, several in tests.
    nodes: Mutex<HashMap<NodeId, Arc<Node>>>,
    /// The number of messages published so far.
    published: AtomicU64,
}

impl RedisBus {
    pub(crate) fn new(server: Arc<Server>) -> Self {
        let requests = Requests::new(Arc::clone(&server));
        Self { server, requests, nodes: Mutex::default(), published: AtomicU64::new(0) }
    }

    fn node(&self, id: NodeId) -> Arc<Node> {
        // No holder leaves the map half changed.
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(nodes.entry(id).or_insert_with(|| Arc::new(Node::start(id, Arc::clone(&self.server)))))
    }

    async fn send(&self, commands: &mut Commands) -> Result<(), ServerError> {
        if commands.count == 0 {
            return Ok(());
        }
        let Commands { pipeline, .. } = std::mem::take(commands);
        let open = self.requests.open().await?;
        let _receivers: Vec<i64> = self.requests.run(&open, &pipeline).await?;
        Ok(())
    }
}

impl fmt::Debug for RedisBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBus").field("address", &self.server.address()).finish_non_exhaustive()
    }
}

/// Commands to be sent.
#[derive(Default)]
struct Commands {
    pipeline: Pipeline,
    count: usize,
    bytes: usize,
}

#[async_trait]
impl Bus for RedisBus {
    async fn join(&self, node: NodeId) -> Result<Box<dyn Subscription>, BusError> {
        let node = self.node(node);
        let subscription = node.begin();
        node.is_up().await.map_err(failed)?;
        Ok(subscription)
    }

    async fn publish(&self, from: NodeId, messages: &[BusMessage]) -> Result<(), BusError> {
        let mut commands = Commands::default();
        for message in messages {
            let number = self.published.fetch_add(1, Ordering::Relaxed) + 1;
            let text = message.to_bytes();
            let mut payload = Vec::with_capacity(HEADER + text.len());
            payload.extend(from.0.to_be_bytes());
            payload.extend(number.to_be_bytes());
            payload.extend(text);
            for topic in &message.topics {
                commands.pipeline.cmd("PUBLISH").arg(channel(&self.server.prefix, topic)).arg(&payload);
                commands.count += 1;
                commands.bytes += payload.len();
            }
            if commands.count >= COMMANDS || commands.bytes >= BYTES {
                self.send(&mut commands).await.map_err(failed)?;
            }
        }
        self.send(&mut commands).await.map_err(failed)
    }

    async fn subscribe(&self, node: NodeId, topics: &[Topic]) -> Result<(), BusError> {
        self.node(node).change(topics, true).await.map_err(failed)
    }

    async fn unsubscribe(&self, node: NodeId, topics: &[Topic]) -> Result<(), BusError> {
        self.node(node).change(topics, false).await.map_err(failed)
    }
}

fn failed(error: ServerError) -> BusError {
    BusError(error.into())
}
