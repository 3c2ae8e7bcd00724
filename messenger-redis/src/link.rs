use std::{
    collections::HashSet,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use messenger_core::ports::Topic;
use redis::{
    AsyncConnectionConfig, Pipeline, PushInfo, PushKind, RedisResult, Value, aio::MultiplexedConnection,
};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    inbox::{HEADER, lines},
    layout::{Layout, Member},
    listener::{Listener, topic},
    server::{ServerError, is_elsewhere},
    topology::Known,
};

/// Channels in one exchange.
const AT_ONCE: usize = 1000;
/// Changes of topics that may be queued.
const CHANGES: usize = 64;
/// Interval of the pings that show whether the connection still works.
const PING: Duration = Duration::from_secs(1);
/// Pause between two attempts to connect: the shortest and the longest, before jitter of up to half of it.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];

/// The subscribing connection of a node to a server, kept open by a task that ends with this.
pub(crate) struct Link {
    pub(crate) changes: mpsc::Sender<Change>,
    pub(crate) state: watch::Receiver<LinkState>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkState {
    /// For the first time, or once there is a connection: what is remembered from now on may not be subscribed with it.
    Trying,
    /// Subscribed to all topics.
    Up,
    /// Of a server that does not know what it is asked for, such as sharded channels.
    Unusable,
    /// Out of reach. Once there is a connection again, all topics that are remembered by then are subscribed, and a gap follows.
    Away,
}

/// Topics to subscribe to or to unsubscribe from, according to what is wanted at the time when this is processed.
pub(crate) struct Change {
    pub(crate) topics: Vec<Topic>,
    pub(crate) done: oneshot::Sender<()>,
}

impl Link {
    /// Must be called within a Tokio runtime.
    pub(crate) fn start(member: Member, listener: Arc<Listener>, layout: Arc<Layout>) -> Self {
        let (changes, waiting) = mpsc::channel(CHANGES);
        let (told, link) = watch::channel(LinkState::Trying);
        let layouts = listener.topology.layouts();
        let state = Arc::new(State::default());
        let work = Work { member, listener, layouts, layout, state };
        Self {
            changes,
            state: link,
            _task: AbortOnDropHandle::new(tokio::spawn(work.keep_up(waiting, told))),
        }
    }
}

struct Work {
    member: Member,
    listener: Arc<Listener>,
    layouts: watch::Receiver<Known>,
    /// The one by which this is subscribed.
    layout: Arc<Layout>,
    state: Arc<State>,
}

/// What the task shares with what takes in what the connection brings.
#[derive(Default)]
struct State {
    /// The number of the connection whose messages are accepted; 0 while none is subscribed to all topics.
    live: AtomicU64,
    /// Whether an answer is awaited.
    is_asking: AtomicBool,
    /// Topics that the server has, by the layout, and to which this is not subscribed.
    missing: Mutex<HashSet<Topic>>,
}

impl State {
    fn missing(&self) -> std::sync::MutexGuard<'_, HashSet<Topic>> {
        // No holder leaves it half changed.
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    /// Connects, and reconnects for as long as the link exists.
    async fn keep_up(mut self, mut changes: mpsc::Receiver<Change>, told: watch::Sender<LinkState>) {
        let (mut away, mut pause) = (None, PAUSES[0]);
        for number in 1.. {
            let lost = Arc::new(Notify::new());
            let error = match self.connect(number, &lost, &told).await {
                Ok(connection) => {
                    if let Some(since) = away.take() {
                        let seconds = Instant::elapsed(&since).as_secs_f32();
                        tracing::info!(address = &*self.member.address, seconds, "Redis is reached again");
                    }
                    pause = PAUSES[0];
                    told.send_replace(LinkState::Up);
                    let error = self.attend(connection, &lost, &mut changes).await;
                    self.state.live.store(0, Ordering::Release);
                    error
                }
                Err(error) => error,
            };
            if away.is_none() {
                away = Some(Instant::now());
                tracing::warn!(
                    address = &*self.member.address,
                    error = &error as &dyn std::error::Error,
                    "Redis is out of reach: what other nodes do is seen in the store, some seconds later"
                );
            }
            let is_old = matches!(error, ServerError::Old(_));
            told.send_replace(if is_old { LinkState::Unusable } else { LinkState::Away });
            self.listener.inbox().down();
            self.listener.topology.doubt();
            refuse_all(&mut changes);
            sleep(pause + jitter(pause / 2)).await;
            pause = (pause * 2).min(PAUSES[1]);
        }
    }

    /// Opens a connection that is subscribed to all topics of this server, and reports a gap for what came before.
    async fn connect(
        &mut self,
        number: u64,
        lost: &Arc<Notify>,
        told: &watch::Sender<LinkState>,
    ) -> Result<MultiplexedConnection, ServerError> {
        let (state, listener, lost) = (Arc::clone(&self.state), Arc::clone(&self.listener), Arc::clone(lost));
        let config = AsyncConnectionConfig::new().set_push_sender(move |info: PushInfo| {
            take_in(&state, &listener, number, info, &lost);
            Ok::<(), std::convert::Infallible>(())
        });
        let mut connection = self.listener.topology.server.connect(&self.member, config).await?;
        // Before the layout and the topics are read, so that whoever finds it away is among what is read.
        told.send_replace(LinkState::Trying);
        if let Some(layout) = self.layouts.borrow_and_update().layout() {
            self.layout = Arc::clone(layout);
        }
        self.state.missing().clear();
        let topics = self.listener.topics(|topic| self.has(topic));
        self.subscribe(&mut connection, &topics).await?;
        // Whatever was published before this moment is in the store already.
        self.state.live.store(number, Ordering::Release);
        self.listener.inbox().gap();
        Ok(connection)
    }

    /// Serves a connection until it is lost.
    async fn attend(
        &mut self,
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
                _ = self.layouts.changed() => self.follow(&mut connection).await,
                change = changes.recv() => match change {
                    Some(change) => self.make(&mut connection, change).await,
                    // The link is gone, and this task ends with it.
                    None => return ServerError::Away,
                },
                _ = ticks.tick() => self.tick(&mut connection).await,
            };
            if let Err(error) = answer {
                return error;
            }
        }
    }

    async fn tick(&mut self, connection: &mut MultiplexedConnection) -> Result<(), ServerError> {
        let missing: Vec<Topic> = std::mem::take(&mut *self.state.missing()).into_iter().collect();
        let (wanted, _) = self.split(missing);
        if !wanted.is_empty() && self.subscribe(connection, &wanted).await? {
            self.listener.inbox().gap();
        }
        let _asking = self.asks();
        self.listener.topology.server.ask_for_life(connection).await
    }

    /// Takes over what other servers had, and leaves to them what they have now.
    async fn follow(&mut self, connection: &mut MultiplexedConnection) -> Result<(), ServerError> {
        let known = self.layouts.borrow_and_update().layout().cloned();
        let Some(layout) = known.filter(|layout| !Arc::ptr_eq(layout, &self.layout)) else { return Ok(()) };
        let former = std::mem::replace(&mut self.layout, layout);
        let had = |topic: &Topic| self.is_of(&former, topic);
        let came = self.listener.topics(|topic| self.has(topic) && !had(topic));
        let went = self.listener.topics(|topic| !self.has(topic) && had(topic));
        if !came.is_empty() {
            self.subscribe(connection, &came).await?;
            self.listener.inbox().gap();
        }
        self.unsubscribe(connection, &went).await
    }

    async fn make(
        &mut self,
        connection: &mut MultiplexedConnection,
        change: Change,
    ) -> Result<(), ServerError> {
        // Whoever made the change may know a newer layout than this.
        self.follow(connection).await?;
        let (wanted, unwanted) = self.split(change.topics);
        let is_done = self.subscribe(connection, &wanted).await?;
        self.unsubscribe(connection, &unwanted).await?;
        if is_done {
            // The caller may be gone.
            let _ = change.done.send(());
        }
        Ok(())
    }

    /// The wanted topics of this server, and the unwanted ones.
    fn split(&self, topics: Vec<Topic>) -> (Vec<Topic>, Vec<Topic>) {
        let (wanted, unwanted): (Vec<_>, Vec<_>) =
            topics.into_iter().partition(|topic| self.listener.wants(topic));
        (wanted.into_iter().filter(|topic| self.has(topic)).collect(), unwanted)
    }

    fn has(&self, topic: &Topic) -> bool {
        self.is_of(&self.layout, topic)
    }

    fn is_of(&self, layout: &Layout, topic: &Topic) -> bool {
        let member = layout.of(&self.listener.channel(topic));
        member.is_some_and(|member| member.address == self.member.address)
    }

    /// Subscribes to topics. Returns whether the server has all of them: if not, the layout is not what it was.
    async fn subscribe(
        &self,
        connection: &mut MultiplexedConnection,
        topics: &[Topic],
    ) -> Result<bool, ServerError> {
        let mut has_all = true;
        for some in topics.chunks(AT_ONCE) {
            let _asking = self.asks();
            if !self.layout.is_cluster() {
                connection.subscribe(self.channels(some)).await?;
                continue;
            }
            let answers = self.exchange("SSUBSCRIBE", connection, some).await?;
            for (topic, answer) in some.iter().zip(answers) {
                match answer.map_err(ServerError::from) {
                    Ok(_) => {}
                    Err(error) if is_elsewhere(&error) => {
                        self.state.missing().insert(*topic);
                        self.listener.topology.doubt();
                        has_all = false;
                    }
                    Err(ServerError::Redis(error)) if is_unknown(&error) => {
                        return Err(ServerError::Old(error));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(has_all)
    }

    async fn unsubscribe(
        &self,
        connection: &mut MultiplexedConnection,
        topics: &[Topic],
    ) -> Result<(), ServerError> {
        for some in topics.chunks(AT_ONCE) {
            let _asking = self.asks();
            if self.layout.is_cluster() {
                // The server may have ended it already, with the slot.
                self.exchange("SUNSUBSCRIBE", connection, some).await?;
            } else {
                connection.unsubscribe(self.channels(some)).await?;
            }
        }
        Ok(())
    }

    /// A command for each channel, because a server does not take channels of several slots in one.
    async fn exchange(
        &self,
        command: &str,
        connection: &mut MultiplexedConnection,
        topics: &[Topic],
    ) -> RedisResult<Vec<RedisResult<Value>>> {
        let mut commands = Pipeline::new();
        commands.ignore_errors();
        for topic in topics {
            commands.cmd(command).arg(self.listener.channel(topic));
        }
        commands.query_async(connection).await
    }

    fn channels(&self, topics: &[Topic]) -> Vec<String> {
        topics.iter().map(|topic| self.listener.channel(topic)).collect()
    }

    fn asks(&self) -> Asking {
        self.state.is_asking.store(true, Ordering::Release);
        Asking(Arc::clone(&self.state))
    }
}

/// While an answer is awaited.
struct Asking(Arc<State>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.is_asking.store(false, Ordering::Release);
    }
}

fn take_in(state: &State, listener: &Listener, number: u64, info: PushInfo, lost: &Notify) {
    let mut data = info.data.into_iter();
    match (info.kind, data.next(), data.next()) {
        (PushKind::Disconnection, ..) => lost.notify_one(),
        (kind @ (PushKind::Message | PushKind::SMessage), _, Some(Value::BulkString(payload))) => {
            if payload.starts_with(&listener.id.0.to_be_bytes()) {
                return;
            }
            let inbox = listener.inbox();
            let Some(header) = payload.first_chunk::<HEADER>().copied() else { return inbox.gap() };
            // Only in a cluster the topics of a message may have several connections.
            let is_new = || kind != PushKind::SMessage || listener.is_new(header);
            inbox.push_if(lines(payload), || {
                state.live.load(Ordering::Acquire) == number && listener.is_another(header) && is_new()
            });
        }
        (PushKind::SUnsubscribe, Some(Value::BulkString(channel)), _) => {
            let ended = topic(&listener.topology.server.prefix, &channel);
            let Some(ended) = ended.filter(|topic| listener.wants(topic)) else { return };
            // The slot has been moved to another server.
            state.missing().insert(ended);
            listener.topology.doubt();
            if state.is_asking.load(Ordering::Acquire) {
                // The client has taken it for the answer.
                lost.notify_one();
            }
        }
        _ => {}
    }
}

fn is_unknown(error: &redis::RedisError) -> bool {
    error.to_string().contains("unknown command")
}

/// Fails the callers that wait at once, by dropping their channels, instead of when the connection is back.
fn refuse_all(changes: &mut mpsc::Receiver<Change>) {
    while changes.try_recv().is_ok() {}
}

/// Keeps nodes that lost a server at the same moment from all coming back at the same moment.
fn jitter(most: Duration) -> Duration {
    most.mul_f64(RandomState::new().hash_one(()) as f64 / u64::MAX as f64)
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;

    use messenger_core::{context::Context, ports::NodeId};
    use redis::RedisConnectionInfo;

    use super::*;
    use crate::{server::Server, topology::Topology};

    fn listener() -> Listener {
        let server = Server {
            login: RedisConnectionInfo::default(),
            is_encrypted: false,
            authorities: None,
            has_role: false,
            prefix: "test".to_owned(),
            client_name: "test".to_owned(),
            timeout: PING,
        };
        let member = server.member("h", 1).unwrap();
        Listener::new(NodeId(1), Arc::new(Topology::of_one(Arc::new(server), member)))
    }

    /// Whether the connection counts as lost after the server has ended a subscription to a topic.
    fn is_lost_by(listener: &Listener, state: &State, topic: &Topic) -> bool {
        let (lost, channel) = (Notify::new(), listener.channel(topic).into_bytes());
        let data = vec![Value::BulkString(channel), Value::Int(0)];
        take_in(state, listener, 1, PushInfo { kind: PushKind::SUnsubscribe, data }, &lost);
        let mut notified = std::pin::pin!(lost.notified());
        notified.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_ready()
    }

    #[test]
    fn a_subscription_that_ends_unasked_costs_the_connection_only_while_an_answer_is_awaited() {
        let (listener, state) = (listener(), State::default());
        let [wanted, other]: [Topic; 2] = std::array::from_fn(|_| Topic::Chat(Context::system().id()));
        listener.remember(&[wanted], true);
        assert!(!is_lost_by(&listener, &state, &wanted));
        assert!(state.missing().contains(&wanted), "it is to be subscribed to again");
        state.is_asking.store(true, Ordering::Release);
        assert!(!is_lost_by(&listener, &state, &other), "that is an answer");
        assert!(is_lost_by(&listener, &state, &wanted));
    }
}
