//! One run: the steps of a plan, one after the other, and at last the comparison with what there is.

use std::{future::Future, sync::Arc, time::Duration};

use messenger_core::{
    Actor, ChatId, Command, Error, Messenger, Result, Revision, UserId, commands::*, hub::HubSettings,
    ports::Topic,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    cluster::Cluster,
    device::{Device, Order},
    plan::{Action, Setup, Step},
    record::Record,
};

/// How a run ended.
pub(crate) struct Outcome {
    /// What was wrong first.
    pub(crate) violation: Option<String>,
    pub(crate) record: Record,
    pub(crate) told: usize,
    pub(crate) changes: u64,
    pub(crate) digest: u64,
}

impl Outcome {
    /// What a device was told, and when, in seconds.
    pub(crate) fn told_to(&self, device: usize) -> Vec<(f64, String)> {
        let name = format!("device {device} of ");
        let told = |line: &String| {
            let (time, rest) = line.trim_start().split_once(' ')?;
            let (_, what) = rest.strip_prefix(&name)?.split_once(" is told ")?;
            Some((time.parse().ok()?, what.to_owned()))
        };
        self.record.lines().iter().filter_map(told).collect()
    }
}

/// Runs the steps on a runtime of their own, whose time passes when nobody has anything to do.
pub(crate) fn run(seed: u64, setup: &Setup, steps: &[Step]) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime needs nothing but memory");
    runtime.block_on(async {
        let mut run = Run::new(seed, setup.clone()).await;
        for step in steps {
            sleep(step.after).await;
            run.begin(&step.action);
            if run.cluster.record.is_wrong() {
                break;
            }
        }
        if !run.cluster.record.is_wrong() {
            run.settle().await;
        }
        run.outcome()
    })
}

struct Run {
    cluster: Arc<Cluster>,
    devices: Vec<mpsc::UnboundedSender<Order>>,
    /// What clients have under way.
    work: JoinSet<()>,
    said: usize,
}

impl Run {
    async fn new(seed: u64, setup: Setup) -> Self {
        let cluster = Cluster::new(seed, setup).await;
        let mut devices = Vec::new();
        for number in 0..cluster.setup.devices {
            let user = number % cluster.people.len();
            let name = format!("device {number} of {}", cluster.record.lock().name(cluster.people[user]));
            let (orders, received) = mpsc::unbounded_channel();
            let device = Device::new(name, cluster.people[user], Arc::clone(&cluster));
            tokio::spawn(device.run(received));
            devices.push(orders);
        }
        Self { cluster, devices, work: JoinSet::new(), said: 0 }
    }

    fn begin(&mut self, action: &Action) {
        self.cluster.record.log(format!("{action:?}"));
        match action {
            Action::Connect { device, node, how } => self.order(*device, Order::Connect(*node, *how)),
            Action::Resume { device, how } => self.order(*device, Order::Resume(*how)),
            Action::Watch { device, whom } => self.order(*device, Order::Watch(self.cluster.people[*whom])),
            Action::Stall { device, time } => self.order(*device, Order::Stall(*time)),
            Action::Vanish { device } => self.order(*device, Order::Vanish),
            Action::CutBus { node, time } => self.cluster.network.cut(*node, *time),
            Action::LoseOnBus { node, messages } => self.cluster.network.lose(*node, *messages),
            Action::MuteBus { node, time } => self.cluster.network.mute(*node, *time),
            Action::DelayBus { node, time } => self.cluster.network.delay(*node, *time),
            Action::EndBus { node } => self.cluster.network.end(*node),
            Action::CutPresence { node, time } => self.cluster.presence_of(*node).cut(*time),
            Action::LoseAnswers { node, writes } => {
                self.cluster.store_of(*node).faults().lose_answers = *writes;
            }
            Action::RefuseWrites { node, writes } => {
                self.cluster.store_of(*node).faults().refuse_writes = *writes;
            }
            Action::FailReads { node, time } => {
                self.cluster.store_of(*node).faults().reads_fail_until =
                    Some(tokio::time::Instant::now() + *time);
            }
            Action::SlowStore { node, time } => {
                self.cluster.store_of(*node).faults().slow_until = Some(tokio::time::Instant::now() + *time);
            }
            Action::Crash { node } => self.crash(*node),
            Action::Stop { node } => self.stop(*node),
            action => self.command(action),
        }
    }

    fn order(&self, device: usize, order: Order) {
        let _ = self.devices[device].send(order);
    }

    fn crash(&mut self, node: usize) {
        if self.cluster.crash(node).is_none() {
            return;
        }
        for device in &self.devices {
            let _ = device.send(Order::Lost(node));
        }
        self.restart_later(node);
    }

    fn stop(&mut self, node: usize) {
        let Some(messenger) = self.cluster.take(node) else { return };
        let cluster = Arc::clone(&self.cluster);
        let life = cluster.network.life(node);
        self.work.spawn(async move {
            let closed = timeout(Duration::from_secs(60), messenger.close()).await;
            if closed.is_err() {
                cluster.record.wrong(format!("node {node} did not close"));
            }
            cluster.network.kill(node, life);
        });
        self.restart_later(node);
    }

    fn restart_later(&self, node: usize) {
        let cluster = Arc::clone(&self.cluster);
        let time = cluster.record.millis(500, 6000);
        tokio::spawn(async move {
            sleep(time).await;
            cluster.restart(node);
        });
    }

    /// What a client asks for over HTTP, from a node of its choice, again if it was not told what became of it.
    fn command(&mut self, action: &Action) {
        let cluster = Arc::clone(&self.cluster);
        let who = |number: usize| cluster.people[number];
        match action.clone() {
            Action::Group { by, with } => {
                let member_ids = with.into_iter().map(who).collect();
                let command =
                    CreateGroupChat { title: "Group".into(), member_ids, client_id: Some(self.client_id()) };
                self.ask(who(by), command);
            }
            Action::Direct { by, with } if by != with => {
                self.ask(who(by), OpenDirectChat { user_id: who(with) });
            }
            Action::Send { by, chat, times } => {
                let Some(chat_id) = self.chat(chat) else { return };
                for _ in 0..times {
                    let client_id = self.client_id();
                    let body = format!("text {client_id}");
                    self.send(
                        who(by),
                        SendMessage { chat_id, body, client_id: Some(client_id), reply_to: None },
                    );
                }
            }
            Action::Edit { by, chat } => {
                let Some((chat_id, message_id)) = self.text_of(chat, who(by)) else { return };
                self.said += 1;
                self.ask(who(by), EditMessage { chat_id, message_id, body: format!("edited {}", self.said) });
            }
            Action::Delete { by, chat } => {
                let Some((chat_id, message_id)) = self.text_of(chat, who(by)) else { return };
                self.ask(who(by), DeleteMessage { chat_id, message_id });
            }
            Action::Add { by, chat, whom } => {
                let Some(chat_id) = self.chat(chat) else { return };
                self.ask(who(by), AddMembers { chat_id, user_ids: whom.into_iter().map(who).collect() });
            }
            Action::Remove { by, chat, whom } => {
                let Some(chat_id) = self.chat(chat) else { return };
                self.ask(who(by), RemoveMember { chat_id, user_id: who(whom) });
            }
            Action::Leave { by, chat } => {
                let Some(chat_id) = self.chat(chat) else { return };
                self.ask(who(by), LeaveChat { chat_id });
            }
            Action::Rename { by, chat } => {
                let Some(chat_id) = self.chat(chat) else { return };
                self.said += 1;
                self.ask(who(by), UpdateChat { chat_id, title: format!("Group {}", self.said) });
            }
            Action::Type { by, chat } => {
                let Some(chat_id) = self.chat(chat) else { return };
                self.ask(who(by), SetTyping { chat_id, typing: true });
            }
            Action::Mark { by, chat, read } => {
                let Some(chat_id) = self.chat(chat) else { return };
                let state = self.cluster.record.lock();
                let Some(history) = state.journal.get(chat_id) else { return };
                let seq = history.last_seq(history.head());
                drop(state);
                if read {
                    self.ask(who(by), MarkRead { chat_id, seq });
                } else {
                    self.ask(who(by), MarkDelivered { chat_id, seq });
                }
            }
            _ => {}
        }
    }

    fn client_id(&mut self) -> String {
        self.said += 1;
        format!("c{}", self.said)
    }

    fn chat(&self, number: usize) -> Option<ChatId> {
        let state = self.cluster.record.lock();
        let chats = state.journal.chats();
        chats.get(number % chats.len().max(1)).copied()
    }

    fn text_of(&self, chat: usize, user: UserId) -> Option<(ChatId, messenger_core::MessageId)> {
        let chat = self.chat(chat)?;
        let mut state = self.cluster.record.lock();
        let history = state.journal.get(chat)?;
        let own: Vec<_> = history.texts().filter(|message| message.sender == user).map(|m| m.id).collect();
        Some((chat, state.rng.pick(&own)?))
    }

    fn ask<C>(&mut self, user: UserId, command: C)
    where
        C: Command + Clone + Sync,
        C::Output: Sync,
    {
        let cluster = Arc::clone(&self.cluster);
        self.work.spawn(async move {
            let _ = persist(&cluster, user, command).await;
        });
    }

    fn send(&mut self, user: UserId, command: SendMessage) {
        let cluster = Arc::clone(&self.cluster);
        self.work.spawn(async move {
            let client_id = command.client_id.clone().unwrap_or_default();
            if let Ok(sent) = persist(&cluster, user, command).await {
                let mut state = cluster.record.lock();
                let history = state.journal.get(sent.value.chat_id);
                let stored =
                    history.and_then(|history| history.sent().find(|m| m.id == sent.value.id)).cloned();
                let Some(stored) = stored else {
                    drop(state);
                    return cluster.record.wrong(format!("{client_id} was acknowledged and not stored"));
                };
                state.acknowledged.insert(client_id, stored);
            }
        });
    }

    /// Lets everything come to its end, and looks at what everybody has.
    async fn settle(&mut self) {
        let record = self.cluster.record.clone();
        record.log("faults end");
        self.cluster.heal();
        let work = async { while self.work.join_next().await.is_some() {} };
        if timeout(Duration::from_secs(120), work).await.is_err() {
            record.wrong("a client waits for an answer");
        }
        for device in &self.devices {
            let _ = device.send(Order::Settle);
        }
        // A node that was cut off is reached again after 8 s; then a sweep finds what is missing.
        let HubSettings { sweep_interval, lease, offline_grace, .. } = HubSettings::default();
        sleep(Duration::from_secs(8) + sweep_interval + Duration::from_secs(2)).await;
        record.log("all should be there");
        self.report(false).await;
        sleep(lease + offline_grace + sweep_interval + Duration::from_secs(2)).await;
        self.report(true).await;
        self.check_acknowledged();
        self.check_that_nothing_is_kept().await;
    }

    /// When nobody is connected any more, no node wants to hear of anybody.
    async fn check_that_nothing_is_kept(&self) {
        for device in &self.devices {
            // It may have ended.
            let _ = device.send(Order::Vanish);
        }
        sleep(Duration::from_secs(25)).await;
        for (node, topics) in self.cluster.network.topics().into_iter().enumerate() {
            if topics.iter().any(|topic| *topic != Topic::Nodes) {
                self.cluster.record.wrong(format!("node {node} wants {topics:?} for nobody"));
            }
        }
    }

    async fn report(&self, presence: bool) {
        for device in &self.devices {
            let (to, answer) = oneshot::channel();
            let _ = device.send(Order::Report(to, presence));
            match timeout(Duration::from_secs(30), answer).await {
                Ok(Ok(lacks)) => lacks.into_iter().for_each(|what| self.cluster.record.wrong(what)),
                _ => self.cluster.record.wrong("a device does not answer"),
            }
        }
    }

    fn check_acknowledged(&self) {
        let state = self.cluster.record.lock();
        let chats = state.journal.chats().iter().filter_map(|chat| state.journal.get(*chat));
        let sent: Vec<_> = chats.flat_map(|history| history.sent()).collect();
        let mut wrong = Vec::new();
        for (client_id, acknowledged) in &state.acknowledged {
            let stored =
                sent.iter().filter(|m| m.client_id.as_ref().is_some_and(|id| id.as_str() == client_id));
            let stored: Vec<_> = stored.map(|message| message.id).collect();
            if stored != [acknowledged.id] {
                wrong.push(format!(
                    "{client_id} was acknowledged as {:?} and stored as {stored:?}",
                    acknowledged.id
                ));
            }
        }
        drop(state);
        wrong.into_iter().for_each(|what| self.cluster.record.wrong(what));
    }

    fn outcome(self) -> Outcome {
        let record = self.cluster.record.clone();
        let digest = record.digest();
        let state = record.lock();
        let heads = state.journal.chats().iter().filter_map(|chat| state.journal.get(*chat));
        let changes = heads.map(|history| history.head()).map(Revision::get).sum();
        let (violation, told) = (state.violation.clone(), state.told);
        drop(state);
        Outcome { violation, record, told, changes, digest }
    }
}

/// Asks until there is an answer that means something.
async fn persist<C>(cluster: &Cluster, user: UserId, command: C) -> Result<C::Output>
where
    C: Command + Clone + Sync,
{
    let actor = Actor::on_behalf_of(user);
    for _ in 0..6 {
        let any = cluster.record.lock().rng.below(cluster.setup.nodes);
        if let Some((node, messenger)) = cluster.node(cluster.setup.asked.unwrap_or(any)) {
            let answer = ask_once(&messenger, &actor, command.clone()).await;
            let words = answer.as_ref().map_or_else(|error| error.code(), |_| "ok");
            cluster.record.log(format!("    {} of {user} on node {node}: {words}", C::NAME));
            if !matches!(answer, Err(Error::Unavailable(_) | Error::Internal(_))) {
                return answer;
            }
        }
        let time = cluster.record.millis(200, 2500);
        sleep(time).await;
    }
    Err(Error::unavailable())
}

async fn ask_once<C: Command>(messenger: &Messenger, actor: &Actor, command: C) -> Result<C::Output> {
    within(Duration::from_secs(15), messenger.execute(actor, command)).await
}

async fn within<T>(time: Duration, answer: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(time, answer).await.unwrap_or_else(|_| Err(Error::unavailable()))
}
