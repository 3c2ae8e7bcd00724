use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use futures::future::join_all;
use messenger_core::ports::{Bus, BusError, BusMessage, NodeId, Subscription, Topic};
use redis::{Pipeline, Value};

use crate::{
    connections::Connections,
    inbox::{self, HEADER},
    layout::{Layout, Member},
    listener::channel,
    node::Node,
    server::{ServerError, is_elsewhere, must_be_primary},
    topology::Topology,
};

/// The number of commands, and of bytes, after which a batch is sent.
const COMMANDS: usize = 512;
const BYTES: usize = 1 << 20;

/// A [`Bus`] on Redis channels: one for each chat and each person, so that a node receives what concerns its connections and
/// little else.
///
/// Messages in a row about the same topics are published together, once for each of these topics, and a batch in one exchange. Redis keeps nothing for a subscriber
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
    connections: Connections,
    /// One in a host, several in tests.
    nodes: Mutex<HashMap<NodeId, Arc<Node>>>,
    /// The number of payloads published so far.
    published: AtomicU64,
}

impl RedisBus {
    pub(crate) fn new(topology: Arc<Topology>) -> Self {
        let connections = Connections::new(topology);
        Self { connections, nodes: Mutex::default(), published: AtomicU64::new(0) }
    }

    fn topology(&self) -> &Arc<Topology> {
        &self.connections.topology
    }

    fn node(&self, id: NodeId) -> Arc<Node> {
        // No holder leaves the map half changed.
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(nodes.entry(id).or_insert_with(|| Arc::new(Node::start(id, Arc::clone(self.topology())))))
    }

    fn header(&self, from: NodeId) -> [u8; HEADER] {
        let number = self.published.fetch_add(1, Ordering::Relaxed) + 1;
        ((u128::from(from.0) << 64) | u128::from(number)).to_be_bytes()
    }

    async fn send(&self, commands: Vec<Command>) -> Result<(), ServerError> {
        let layout = self.topology().layout().await?;
        let Err((error, left)) = self.send_by(&layout, commands).await else { return Ok(()) };
        self.topology().doubt();
        if !is_elsewhere(&error) {
            return Err(error);
        }
        // What has been sent already is sent again, and dropped by the nodes that have it.
        let layout = self.topology().after(&layout).await?;
        self.send_by(&layout, left).await.map_err(|(error, _)| error)
    }

    /// Sends each server what concerns it, in one exchange. Fails with an error of one of them and with all that was not sent.
    async fn send_by(
        &self,
        layout: &Layout,
        commands: Vec<Command>,
    ) -> Result<(), (ServerError, Vec<Command>)> {
        let mut parts: HashMap<_, (Option<Member>, Vec<Command>)> = HashMap::new();
        for command in commands {
            let member = layout.of(&command.channel);
            let part = parts.entry(member.map(|member| Arc::clone(&member.address)));
            part.or_insert_with(|| (member.cloned(), vec![])).1.push(command);
        }
        let has_role = self.topology().server.has_role;
        let name = if layout.is_cluster() { "SPUBLISH" } else { "PUBLISH" };
        let sent = parts.into_values().map(|(member, commands)| async move {
            let mut pipeline = Pipeline::new();
            for Command { channel, payload } in &commands {
                pipeline.cmd(name).arg(channel).arg(&**payload);
            }
            if has_role {
                // A replica takes messages, too, and tells only those who are subscribed to it.
                pipeline.cmd("ROLE");
            }
            let sent = async {
                let requests = self.connections.to(&member.ok_or(ServerError::Slot)?, layout);
                let open = requests.open().await?;
                let answers: Vec<Value> = requests.run(&open, &pipeline).await?;
                if has_role && let Err(error) = must_be_primary(answers.last()) {
                    requests.give_up(open.number).await;
                    return Err(error);
                }
                Ok(())
            };
            sent.await.map_err(|error| (error, commands))
        });
        let failed = join_all(sent).await.into_iter().filter_map(Result::err);
        failed
            .reduce(|(error, mut left), (_, more)| {
                left.extend(more);
                (error, left)
            })
            .map_or(Ok(()), Err)
    }
}

impl fmt::Debug for RedisBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBus").field("address", &self.topology().address()).finish_non_exhaustive()
    }
}

/// A payload to be published to one of its topics.
struct Command {
    channel: String,
    payload: Arc<Vec<u8>>,
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
        let (mut commands, mut bytes) = (vec![], 0);
        for alike in messages.chunk_by(|one, next| one.topics == next.topics) {
            let mut left = alike;
            while !left.is_empty() {
                let payload;
                (payload, left) = inbox::payload(self.header(from), left);
                let payload = Arc::new(payload);
                for topic in &alike[0].topics {
                    let channel = channel(&self.topology().server.prefix, topic);
                    commands.push(Command { channel, payload: Arc::clone(&payload) });
                    bytes += payload.len();
                }
                if commands.len() >= COMMANDS || bytes >= BYTES {
                    bytes = 0;
                    self.send(std::mem::take(&mut commands)).await.map_err(failed)?;
                }
            }
        }
        if commands.is_empty() {
            return Ok(());
        }
        self.send(commands).await.map_err(failed)
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
