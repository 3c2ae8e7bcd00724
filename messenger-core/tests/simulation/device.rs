//! A device of a person: a client that connects, resumes, stalls and vanishes, and is told things meanwhile.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use messenger_core::{
    Actor, ChatId, Connection, Event, Position, Revision, Signal, UserId,
    hub::{Ending, Resumed},
};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use crate::{
    checker::{Checker, heads, peers},
    cluster::Cluster,
    plan::How,
};

/// What a device is to do.
pub(crate) enum Order {
    Connect(usize, How),
    Resume(How),
    Watch(UserId),
    Stall(Duration),
    Vanish,
    /// The process of this node is gone.
    Lost(usize),
    /// Be connected, and read.
    Settle,
    /// What is still missing.
    Report(tokio::sync::oneshot::Sender<Vec<String>>, bool),
}

pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) user: UserId,
    cluster: Arc<Cluster>,
    /// What it keeps while it is not connected.
    has: BTreeMap<ChatId, Revision>,
    /// What it was told last that it has, and what it had then.
    position: Option<(Position, BTreeMap<ChatId, Revision>)>,
    live: Option<Live>,
}

struct Live {
    connection: Connection,
    checker: Checker,
    node: usize,
    /// Whether it has said what it has.
    has_resumed: bool,
}

impl Device {
    pub(crate) fn new(name: String, user: UserId, cluster: Arc<Cluster>) -> Self {
        Self { name, user, cluster, has: BTreeMap::new(), position: None, live: None }
    }

    /// Until nobody has orders any more.
    pub(crate) async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        loop {
            let Some(live) = &mut self.live else {
                match orders.recv().await {
                    Some(order) => self.obey(order).await,
                    None => return,
                }
                continue;
            };
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => return,
                },
                signal = live.connection.next() => self.signal(signal).await,
            }
        }
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Connect(node, how) => {
                self.leave("connects anew");
                self.connect(node, how).await;
            }
            Order::Resume(how) => self.resume(how).await,
            Order::Watch(user) => self.watch(user).await,
            Order::Stall(time) => {
                sleep(time).await;
                if let Some(live) = &mut self.live {
                    live.checker.wakes();
                }
            }
            Order::Vanish => self.leave("vanishes"),
            Order::Lost(node) => {
                if self.live.as_ref().is_some_and(|live| live.node == node) {
                    self.leave("has lost its node");
                    self.come_back().await;
                }
            }
            Order::Settle => {
                for _ in 0..20 {
                    if self.live.is_some() {
                        break;
                    }
                    self.connect(0, How::All).await;
                    sleep(Duration::from_millis(100)).await;
                }
            }
            Order::Report(to, presence) => {
                let online = if presence { Some(self.cluster.online().await) } else { None };
                let state = self.cluster.record.lock();
                let lacks = match &self.live {
                    Some(live) => live.checker.lacks(online.as_ref(), &state),
                    None => vec!["it could not connect".into()],
                };
                let _ = to.send(lacks.into_iter().map(|what| format!("{}: {what}", self.name)).collect());
            }
        }
    }

    fn leave(&mut self, why: &str) {
        if let Some(live) = self.live.take() {
            self.cluster.record.log(format!("{} {why}", self.name));
            self.has = live.checker.has();
            self.cluster.left(live.connection.id());
        }
    }

    async fn connect(&mut self, node: usize, how: How) {
        let Some((node, messenger)) = self.cluster.node(node) else { return };
        let before = heads(self.user, &self.cluster.record.lock());
        let actor = Actor::on_behalf_of(self.user);
        // A node that dies meanwhile answers nothing.
        let Ok(Ok(connection)) = timeout(Duration::from_secs(5), messenger.connect(&actor)).await else {
            self.cluster.record.log(format!("{} could not connect to node {node}", self.name));
            return;
        };
        {
            let mut state = self.cluster.record.lock();
            state.log(&format!("{} is connected to node {node}", self.name));
            let mut checker = Checker::new(self.user, &self.cluster.setup, &before, &state);
            for peer in peers(self.user, &state) {
                checker.watches(peer, None);
            }
            drop(state);
            self.cluster.came(connection.id(), self.user);
            self.live = Some(Live { connection, checker, node, has_resumed: false });
        }
        // The first that it says may come before anything is told, or after.
        if how != How::Silent {
            self.resume(how).await;
        }
    }

    async fn come_back(&mut self) {
        let time = self.cluster.record.millis(0, 3000);
        sleep(time).await;
        let node = self.cluster.record.lock().rng.below(self.cluster.setup.nodes);
        self.connect(node, How::All).await;
    }

    async fn resume(&mut self, how: How) {
        let record = self.cluster.record.clone();
        let Some(live) = &mut self.live else { return };
        let mut has = self.has.clone();
        has.extend(live.checker.has());
        if how == How::Since {
            // By the position it has, or by none if it never had one.
            let has = if live.has_resumed { live.checker.has() } else { self.has.clone() };
            return self.resume_since(has).await;
        }
        // What it says now has nothing to do with what it was told to have.
        if !matches!(how, How::Silent | How::Later) {
            self.position = None;
        }
        let named = match how {
            How::All | How::InParts => Some(has),
            How::Less => Some(less(has)),
            How::Nothing => Some(BTreeMap::new()),
            How::Ahead => {
                Some(has.into_iter().map(|(chat, at)| (chat, Revision::new(at.get() + 1000))).collect())
            }
            How::Live => None,
            How::Silent => return live.connection.go_live(),
            How::Later | How::Since => return,
        };
        let mut asked: Option<HashMap<_, _>> = named.clone().map(|named| named.into_iter().collect());
        if let (How::InParts, Some(named)) = (how, &named) {
            for (chat, revision) in named {
                // There are never too many.
                let _ = live.connection.resume_part(HashMap::from([(*chat, *revision)]));
                sleep(record.millis(0, 40)).await;
            }
            asked = Some(HashMap::new());
        }
        let before = heads(self.user, &record.lock());
        match timeout(Duration::from_secs(10), live.connection.resume(asked)).await {
            Ok(Ok(())) => {
                record.log(format!("{} resumes with {named:?}", self.name));
                live.has_resumed |= named.is_some();
                live.checker.resumes(named.as_ref(), before, &record.lock());
            }
            _ => {
                record.log(format!("{} was refused to resume", self.name));
                self.leave("gives up");
            }
        }
    }

    async fn resume_since(&mut self, has: BTreeMap<ChatId, Revision>) {
        let record = self.cluster.record.clone();
        let Some(live) = &mut self.live else { return };
        let all: HashMap<_, _> = has.iter().map(|(chat, revision)| (*chat, *revision)).collect();
        let mut before = heads(self.user, &record.lock());
        let connection = &mut live.connection;
        let resumed = timeout(Duration::from_secs(20), async {
            let Some((position, had)) = &self.position else {
                return connection.resume_since(None, all).await.map(drop);
            };
            let mut named = all.clone();
            // It may name what it was told since, and is asked for the rest.
            let names = record.lock().rng.below(2) == 0;
            named.retain(|chat, revision| names && had.get(chat) != Some(revision));
            let asked = match connection.resume_since(Some(position), named).await? {
                Resumed::Begun => return Ok(()),
                Resumed::NeedsRevisions(chats) => {
                    all.into_iter().filter(|(chat, _)| chats.contains(chat)).collect::<HashMap<_, _>>()
                }
                // A store that forgets nothing knows what it has given out.
                Resumed::UnknownPosition => {
                    record.wrong(format!("{} is at a position that is not known", self.name));
                    all
                }
            };
            record.log(format!("{} is asked and has {asked:?}", self.name));
            sleep(record.millis(0, 100)).await;
            before = heads(self.user, &record.lock());
            connection.resume(Some(asked)).await
        });
        match resumed.await {
            Ok(Ok(())) => {
                record.log(format!("{} resumes by its position with {has:?}", self.name));
                live.has_resumed = true;
                live.checker.resumes(Some(&has), before, &record.lock());
            }
            _ => {
                record.log(format!("{} was refused to resume", self.name));
                self.leave("gives up");
            }
        }
    }

    async fn watch(&mut self, user: UserId) {
        let Some(live) = &mut self.live else { return };
        let answer = timeout(Duration::from_secs(5), live.connection.watch(&[user])).await;
        self.cluster.record.log(format!("{} watches {user}: {answer:?}", self.name));
        match answer {
            Ok(Ok(answer)) => live.checker.watches(user, answer.first().map(|presence| presence.online)),
            Ok(Err(_)) => {}
            // Perhaps it is watched, and the answer came too late.
            Err(_) => live.checker.watches(user, None),
        }
    }

    async fn signal(&mut self, signal: Signal) {
        let Some(live) = &mut self.live else { return };
        match signal {
            Signal::Event(delivery) => {
                let event = delivery.event();
                live.checker.hears_all_since(self.cluster.network.whole_since(live.node));
                let mut state = self.cluster.record.lock();
                state.told += 1;
                state.log(&format!("{} is told {}", self.name, in_short(event)));
                let told = live.checker.told(event, &state);
                drop(state);
                if let Event::CaughtUp { position: Some(position) } = event {
                    self.position = Some((position.clone(), live.checker.has()));
                }
                if let Err(what) = told {
                    self.cluster.record.wrong(format!(
                        "{} on node {}: {}: {what}",
                        self.name,
                        live.node,
                        in_short(event)
                    ));
                }
            }
            Signal::End(ending) => {
                self.leave(&format!("is ended: {ending:?}"));
                if ending != Ending::SessionEnded {
                    self.come_back().await;
                }
            }
            _ => {}
        }
    }
}

/// What a client had a while ago.
fn less(has: BTreeMap<ChatId, Revision>) -> BTreeMap<ChatId, Revision> {
    let earlier = has.into_iter().enumerate();
    let some = earlier.filter(|(n, _)| n % 3 != 2);
    some.map(|(n, (chat, revision))| (chat, Revision::new(revision.get().saturating_sub(n as u64 % 3 * 2))))
        .collect()
}

fn in_short(event: &Event) -> String {
    match event {
        Event::ChatAdded { chat } | Event::ChatReset { chat } => {
            format!("{} {} at {}", event.name(), chat.id, chat.revision)
        }
        Event::ChatRemoved { chat_id } => format!("chatRemoved {chat_id}"),
        Event::ReadMoved(mark) | Event::DeliveredMoved(mark) => {
            format!("{} {} of {:?} to {}", event.name(), mark.chat_id, mark.user_id, mark.seq)
        }
        Event::Typing(typing) => format!("typing {} by {:?}", typing.chat_id, typing.user_id),
        Event::PresenceChanged(presence) => {
            format!(
                "presenceChanged {:?} {}",
                presence.user_id,
                if presence.online { "online" } else { "offline" }
            )
        }
        Event::CaughtUp { .. } => "caughtUp".into(),
        event => match event.change() {
            Some((chat, revision)) => format!("{} {chat} {revision}", event.name()),
            None => event.name().into(),
        },
    }
}
