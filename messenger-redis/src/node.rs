use std::{
    collections::HashSet,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use messenger_core::ports::{Inbox, NodeId, Subscription, Topic};
use redis::{AsyncConnectionConfig, PushInfo, PushKind, Value, aio::MultiplexedConnection};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    inbox::{HEADER, Last, Payload, begin},
    server::{Server, ServerError},
};

/// Channels in one command.
const AT_ONCE: usize = 1000;
/// Changes of topics that may be queued.
const CHANGES: usize = 64;
/// Interval of the pings that show whether the connection still works.
const PING: Duration = Duration::from_secs(1);
/// Pause between two attempts to connect: the shortest and the longest, before jitter of up to half of it.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];

/// The subscribing connection of a node, kept open by a task that ends with this.
pub(crate) struct Node {
    shared: Arc<Shared>,
    changes: mpsc::Sender<Change>,
    up: watch::Receiver<bool>,
    _task: AbortOnDropHandle<()>,
}

struct Shared {
    id: NodeId,
    server: Arc<Server>,
    topics: Mutex<HashSet<Topic>>,
    /// The queue of the latest subscription.
    inbox: Mutex<Arc<Inbox<Payload>>>,
    last: Last,
    /// The number of the connection whose messages are accepted; 0 while none is subscribed to all topics.
    live: AtomicU64,
}

/// Topics to subscribe to or to unsubscribe from, according to [`Shared::topics`] at the time when this is processed.
struct Change {
    topics: Vec<Topic>,
    done: oneshot::Sender<()>,
}

impl Node {
    /// Must be called within a Tokio runtime.
    pub(crate) fn start(id: NodeId, server: Arc<Server>) -> Self {
        let shared = Shared {
            id,
            server,
            topics: Mutex::default(),
            inbox: Mutex::new(Inbox::ended()),
            last: Last::default(),
            live: AtomicU64::new(0),
        };
        let shared = Arc::new(shared);
        let (changes, waiting) = mpsc::channel(CHANGES);
        let (is_up, up) = watch::channel(false);
        let task = tokio::spawn(Arc::clone(&shared).keep_up(waiting, is_up));
        Self { shared, changes, up, _task: AbortOnDropHandle::new(task) }
    }

    /// Begins a new subscription, and ends the former one.
    pub(crate) fn begin(&self) -> Box<dyn Subscription> {
        let inbox = begin();
        std::mem::replace(&mut *lock(&self.shared.inbox), Arc::clone(&inbox)).end();
        Inbox::subscription(&inbox)
    }

    /// Waits until the connection is subscribed to all topics, within a time limit.
    pub(crate) async fn is_up(&self) -> Result<(), ServerError> {
        let mut up = self.up.clone();
        match timeout(self.patience(), up.wait_for(|up| *up)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(ServerError::Away),
        }
    }

    /// Adds or removes topics, and waits for the server's confirmation, within a time limit. The change is remembered even if
    /// the server can't be reached.
    pub(crate) async fn change(&self, topics: &[Topic], wanted: bool) -> Result<(), ServerError> {
        {
            let mut known = lock(&self.shared.topics);
            for topic in topics {
                if wanted {
                    known.insert(*topic);
                } else {
                    known.remove(topic);
                }
            }
            if known.len() < known.capacity() / 4 {
                // What a burst of connections took is given back.
                known.shrink_to_fit();
            }
        }
        let (done, is_done) = oneshot::channel();
        let change = Change { topics: topics.to_vec(), done };
        let changed = async {
            self.changes.send(change).await.map_err(|_| ServerError::Away)?;
            is_done.await.map_err(|_| ServerError::Away)
        };
        timeout(self.patience(), changed).await.unwrap_or(Err(ServerError::Late))
    }

    /// Time to connect and to get an answer.
    fn patience(&self) -> Duration {
        self.shared.server.timeout * 2 + Duration::from_secs(1)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        lock(&self.shared.inbox).end();
    }
}

impl Shared {
    /// Connects, and reconnects for as long as the node exists.
    async fn keep_up(self: Arc<Self>, mut changes: mpsc::Receiver<Change>, up: watch::Sender<bool>) {
        let (mut away, mut pause) = (None, PAUSES[0]);
        for number in 1.. {
            let lost = Arc::new(Notify::new());
            let error = match self.connect(number, Arc::clone(&lost)).await {
                Ok(connection) => {
                    if let Some(since) = away.take() {
                        let seconds = Instant::elapsed(&since).as_secs_f32();
                        tracing::info!(address = self.server.address(), seconds, "Redis is reached again");
                    }
                    pause = PAUSES[0];
                    up.send_replace(true);
                    let error = self.attend(connection, &lost, &mut changes).await;
                    self.live.store(0, Ordering::Release);
                    up.send_replace(false);
                    error
                }
                Err(error) => error,
            };
            if away.is_none() {
                away = Some(Instant::now());
                tracing::warn!(
                    address = self.server.address(),
                    error = &error as &dyn std::error::Error,
                    "Redis is out of reach: what other nodes do is seen in the store, some seconds later"
                );
            }
            refuse_all(&mut changes);
            sleep(pause + jitter(pause / 2)).await;
            pause = (pause * 2).min(PAUSES[1]);
        }
    }

    /// Opens a connection that is subscribed to all topics, and reports a gap for what came before.
    async fn connect(
        self: &Arc<Self>,
        number: u64,
        lost: Arc<Notify>,
    ) -> Result<MultiplexedConnection, ServerError> {
        let shared = Arc::clone(self);
        let config = AsyncConnectionConfig::new().set_push_sender(move |info: PushInfo| {
            shared.take_in(number, info, &lost);
            Ok::<(), std::convert::Infallible>(())
        });
        let mut connection = self.server.connect(config).await?;
        let topics: Vec<Topic> = lock(&self.topics).iter().copied().collect();
        for some in topics.chunks(AT_ONCE) {
            connection.subscribe(self.channels(some)).await?;
        }
        // Whatever was published before this moment is in the store already.
        self.live.store(number, Ordering::Release);
        lock(&self.inbox).gap();
        Ok(connection)
    }

    /// Serves a connection until it is lost.
    async fn attend(
        &self,
        mut connection: MultiplexedConnection,
        lost: &Notify,
        changes: &mut mpsc::Receiver<Change>,
    ) -> ServerError {
        let mut ticks = interval(PING);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let answer = tokio::select! {
                biased;
                () = lost.notified() => return ServerError::Away,
                change = changes.recv() => match change {
                    Some(change) => self.make(&mut connection, change).await,
                    // The node is gone, and this task ends with it.
                    None => return ServerError::Away,
                },
                _ = ticks.tick() => redis::cmd("PING").query_async::<()>(&mut connection).await,
            };
            if let Err(error) = answer {
                return error.into();
            }
        }
    }

    async fn make(&self, connection: &mut MultiplexedConnection, change: Change) -> redis::RedisResult<()> {
        let (wanted, unwanted): (Vec<Topic>, Vec<Topic>) = {
            let known = lock(&self.topics);
            change.topics.into_iter().partition(|topic| known.contains(topic))
        };
        for some in wanted.chunks(AT_ONCE) {
            connection.subscribe(self.channels(some)).await?;
        }
        for some in unwanted.chunks(AT_ONCE) {
            connection.unsubscribe(self.channels(some)).await?;
        }
        // The caller may be gone.
        let _ = change.done.send(());
        Ok(())
    }

    fn channels(&self, topics: &[Topic]) -> Vec<String> {
        topics.iter().map(|topic| channel(&self.server.prefix, topic)).collect()
    }

    fn take_in(&self, number: u64, info: PushInfo, lost: &Notify) {
        match (info.kind, info.data.into_iter().nth(1)) {
            (PushKind::Disconnection, _) => lost.notify_one(),
            (PushKind::Message, Some(Value::BulkString(payload)))
                if !payload.starts_with(&self.id.0.to_be_bytes()) =>
            {
                let inbox = Arc::clone(&lock(&self.inbox));
                let Some(header) = payload.first_chunk::<HEADER>().copied() else { return inbox.gap() };
                let bytes = payload.len();
                inbox.push_if(Payload(payload), bytes, || {
                    self.live.load(Ordering::Acquire) == number && self.last.is_another(header)
                });
            }
            _ => {}
        }
    }
}

/// The channel of a topic.
pub(crate) fn channel(prefix: &str, topic: &Topic) -> String {
    match topic {
        Topic::Chat(chat) => format!("{prefix}:chat:{chat}"),
        Topic::User(user) => format!("{prefix}:user:{user}"),
        Topic::Nodes => format!("{prefix}:nodes"),
    }
}

/// Fails the callers that wait at once, by dropping their channels, instead of when the connection is back.
fn refuse_all(changes: &mut mpsc::Receiver<Change>) {
    while changes.try_recv().is_ok() {}
}

/// Keeps nodes that lost a server at the same moment from all coming back at the same moment.
fn jitter(most: Duration) -> Duration {
    most.mul_f64(RandomState::new().hash_one(()) as f64 / u64::MAX as f64)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No holder leaves the value half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
