use std::{
    collections::HashSet,
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use messenger_core::ports::{BusMessage, Inbox, NodeId, Subscription, Topic};
use sqlx::{
    Executor as _,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    line::{CONNECT, LineError, Server},
    payload::{Heard, read},
};

/// The messages, and the bytes of messages, that may wait for a node. Messages beyond that are lost, and reported as a gap.
const MESSAGES: usize = 10_000;
const BYTES: usize = 4 << 20;
/// Interval of the questions that show whether the connection still works.
const PING: Duration = Duration::from_secs(1);
/// Pause between two attempts to connect: the shortest and the longest, before jitter of up to half of it.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];

/// The listening connection of a node, kept open by a task that ends with this.
#[derive(Debug)]
pub(super) struct Node {
    shared: Arc<Shared>,
    up: watch::Receiver<bool>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    id: NodeId,
    server: Arc<Server>,
    channel: String,
    topics: Mutex<HashSet<Topic>>,
    /// The queue of the latest subscription.
    inbox: Mutex<Arc<Inbox>>,
}

impl Node {
    /// Must be called within a Tokio runtime.
    pub(super) fn start(id: NodeId, server: Arc<Server>, channel: String) -> Self {
        let inbox = Mutex::new(Inbox::ended());
        let shared = Arc::new(Shared { id, server, channel, topics: Mutex::default(), inbox });
        let (is_up, up) = watch::channel(false);
        let task = tokio::spawn(Arc::clone(&shared).keep_up(is_up)).abort_handle();
        Self { shared, up, task }
    }

    /// Begins a new subscription, and ends the former one.
    pub(super) fn begin(&self) -> Box<dyn Subscription> {
        let inbox = Inbox::begin(MESSAGES, BYTES);
        std::mem::replace(&mut *lock(&self.shared.inbox), Arc::clone(&inbox)).end();
        Inbox::subscription(&inbox)
    }

    /// Waits until the connection listens, within a time limit.
    pub(super) async fn is_up(&self) -> Result<(), LineError> {
        let mut up = self.up.clone();
        match timeout(CONNECT + self.shared.server.timeout, up.wait_for(|up| *up)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(LineError::Away),
        }
    }

    /// The topics of which the node is told. Nobody else has to know them: everything comes to each node.
    pub(super) fn topics(&self) -> MutexGuard<'_, HashSet<Topic>> {
        lock(&self.shared.topics)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
        lock(&self.shared.inbox).end();
    }
}

impl Shared {
    /// Connects, and reconnects for as long as the node exists.
    async fn keep_up(self: Arc<Self>, up: watch::Sender<bool>) {
        let (mut away, mut pause) = (None, PAUSES[0]);
        loop {
            let error = match self.connect().await {
                Ok(mut listener) => {
                    if let Some(since) = away.take() {
                        let seconds = Instant::elapsed(&since).as_secs_f32();
                        tracing::info!(
                            place = self.server.place,
                            seconds,
                            "the bus on PostgreSQL is reached again"
                        );
                    }
                    pause = PAUSES[0];
                    up.send_replace(true);
                    let error = self.attend(&mut listener).await;
                    up.send_replace(false);
                    error
                }
                Err(error) => error,
            };
            if away.is_none() {
                away = Some(Instant::now());
                tracing::warn!(
                    place = self.server.place,
                    error = &error as &dyn std::error::Error,
                    "the bus on PostgreSQL is out of reach: what other nodes do is seen in the store, some seconds later"
                );
            }
            lock(&self.inbox).down();
            sleep(pause + jitter(pause / 2)).await;
            pause = (pause * 2).min(PAUSES[1]);
        }
    }

    /// Opens a connection that listens, and reports a gap for what came before.
    async fn connect(&self) -> Result<PgListener, LineError> {
        // A pool for each attempt: the connection before may be so dead that it keeps its place for minutes.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(CONNECT)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with(self.server.options.clone().application_name("messenger bus: listening"));
        let connect = async {
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.ignore_pool_close_event(true);
            // It would come back by itself, and nobody would know what was missed meanwhile.
            listener.eager_reconnect(false);
            listener.listen(&self.channel).await?;
            Ok(listener)
        };
        let listener = match timeout(CONNECT + self.server.timeout, connect).await {
            Ok(Ok(listener)) => listener,
            Ok(Err(sqlx::Error::PoolTimedOut)) => return Err(LineError::Away),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Err(LineError::Late),
        };
        // Whatever was published before this moment is in the store already.
        lock(&self.inbox).gap();
        Ok(listener)
    }

    /// Serves a connection until it is lost.
    async fn attend(&self, listener: &mut PgListener) -> LineError {
        let mut ticks = interval(PING);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let heard = tokio::select! {
                biased;
                _ = ticks.tick() => {
                    match timeout(self.server.timeout, listener.execute("SELECT 1")).await {
                        Ok(Ok(_)) => continue,
                        Ok(Err(error)) => return error.into(),
                        Err(_) => return LineError::Late,
                    }
                }
                heard = listener.try_recv() => heard,
            };
            match heard {
                Ok(Some(notification)) => self.take_in(notification.payload()),
                Ok(None) => return LineError::Away,
                Err(error) => return error.into(),
            }
        }
    }

    fn take_in(&self, text: &str) {
        let inbox = Arc::clone(&lock(&self.inbox));
        let lines = match read(self.id, text) {
            Heard::Messages(lines) => lines,
            Heard::Own => return,
            // It may have meant anything.
            Heard::Unknown => return inbox.gap(),
        };
        for line in lines {
            match BusMessage::from_bytes(line.as_bytes()) {
                Ok(message) if !self.is_wanted(&message) => {}
                Ok(message) => inbox.push(message, line.len()),
                Err(_) => inbox.gap(),
            }
        }
    }

    fn is_wanted(&self, message: &BusMessage) -> bool {
        let topics = lock(&self.topics);
        message.topics.iter().any(|topic| topics.contains(topic))
    }
}

/// Keeps nodes that lost a server at the same moment from all coming back at the same moment.
fn jitter(most: Duration) -> Duration {
    most.mul_f64(RandomState::new().hash_one(()) as f64 / u64::MAX as f64)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No holder leaves the value half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
