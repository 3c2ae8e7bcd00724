use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use messenger_core::ports::{Bus, BusError, BusMessage, NodeId, Subscription, Topic};
use tokio::time::timeout;

use super::{
    line::{Line, LineError, Server},
    listen::Node,
    payload::written,
};

/// Notifications in one statement.
const AT_ONCE: usize = 200;
/// Longest name of a channel, in bytes.
const NAME: usize = 63;

/// A [`Bus`] on `LISTEN` and `NOTIFY` of PostgreSQL, for a few nodes that have no Redis.
///
/// No content travels: of a message that somebody has written, a node is told which chat it should look up in the store.
/// Everything comes to each node, over one channel, and each passes on what it has subscribed to. Messages are published many in
/// one notification, outside of the store's transactions and over a connection of their own.
///
/// PostgreSQL keeps nothing for a node that is away, so every loss of its connection becomes a
/// [`BusEvent::Gap`](messenger_core::ports::BusEvent::Gap). A loss is noticed when the server closes the connection, or when it
/// does not answer a question, asked each second, within
/// [`PostgresNodesBuilder::timeout`](super::PostgresNodesBuilder::timeout).
///
/// ```no_run
/// use messenger_core::{context::Context, ports::{Bus as _, NodeId, Topic}};
/// use messenger_sqlx::PostgresNodes;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let bus = PostgresNodes::open("postgres://chat@db.example.org/chat")?.bus();
/// let mut subscription = bus.join(NodeId(1)).await?;
/// bus.subscribe(NodeId(1), &[Topic::Chat(Context::system().id())]).await?;
/// let event = subscription.next().await;
/// # drop(event);
/// # Ok(())
/// # }
/// ```
pub struct PostgresBus {
    server: Arc<Server>,
    line: Line,
    channel: String,
    /// One in a host, several in tests.
    nodes: Mutex<HashMap<NodeId, Arc<Node>>>,
}

impl PostgresBus {
    pub(super) fn new(server: Arc<Server>) -> Self {
        let mut channel = format!("messenger_bus_{}", server.schema.name());
        // Of two schemas whose names begin alike, nodes hear more than concerns them.
        channel.truncate(NAME);
        let line = Line::new(Arc::clone(&server), "messenger bus");
        Self { server, line, channel, nodes: Mutex::default() }
    }

    fn node(&self, id: NodeId) -> Arc<Node> {
        // No holder leaves the map half changed.
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let start = || Arc::new(Node::start(id, Arc::clone(&self.server), self.channel.clone()));
        Arc::clone(nodes.entry(id).or_insert_with(start))
    }

    async fn notify(&self, texts: &[String]) -> Result<(), LineError> {
        let mut open = self.line.open().await?;
        let notify = sqlx::query("SELECT pg_notify($1, text) FROM unnest($2::text[]) AS text");
        let notify = notify.bind(&self.channel).bind(texts).execute(&mut open.connection);
        timeout(self.server.timeout, notify).await.map_err(|_| LineError::Late)??;
        open.keep();
        Ok(())
    }
}

impl fmt::Debug for PostgresBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresBus")
            .field("place", &self.server.place)
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Bus for PostgresBus {
    async fn join(&self, node: NodeId) -> Result<Box<dyn Subscription>, BusError> {
        let node = self.node(node);
        let subscription = node.begin();
        node.is_up().await.map_err(failed)?;
        Ok(subscription)
    }

    async fn publish(&self, from: NodeId, messages: &[BusMessage]) -> Result<(), BusError> {
        for texts in written(from, messages).chunks(AT_ONCE) {
            self.notify(texts).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn subscribe(&self, node: NodeId, topics: &[Topic]) -> Result<(), BusError> {
        self.node(node).topics().extend(topics);
        Ok(())
    }

    async fn unsubscribe(&self, node: NodeId, topics: &[Topic]) -> Result<(), BusError> {
        let node = self.node(node);
        let mut wanted = node.topics();
        for topic in topics {
            wanted.remove(topic);
        }
        if wanted.len() < wanted.capacity() / 4 {
            // What a burst of connections took is given back.
            wanted.shrink_to_fit();
        }
        Ok(())
    }
}

fn failed(error: LineError) -> BusError {
    BusError(error.into())
}
