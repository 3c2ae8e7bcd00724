//! The nodes, and the people who come to them and go.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use messenger_core::{
    Actor, Connection, Event, Messenger, PasswordCost, Settings, Signal, UserId,
    context::Context,
    hub::HubSettings,
    memory::{MemoryBus, MemoryStore},
    ports::UserStore as _,
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::{
    GRACE, HOUR, LEASE, NODES, PEOPLE,
    leases::{NodeLeases, QUICK, Server},
    truth::{Found, Span, Told, Truth},
};
use crate::{
    cluster::{SimClock, context, somebody},
    rng::Rng,
};

/// How many people one connection asks to watch at a time.
const AT_ONCE: usize = 100;

pub(crate) struct Town {
    store: Arc<MemoryStore>,
    bus: Arc<MemoryBus>,
    server: Arc<Server>,
    clock: Arc<SimClock>,
    people: Vec<UserId>,
    state: Mutex<State>,
    /// Which of the processes that took a node's place one after the other it is.
    lives: Vec<watch::Sender<u64>>,
}

struct State {
    nodes: Vec<Option<(Messenger, Arc<NodeLeases>)>>,
    /// Processes that are no more. What they had is never given back.
    killed: Vec<Messenger>,
    truth: Truth,
    told: Vec<BTreeMap<UserId, Vec<Told>>>,
    rng: Rng,
}

/// A connection, and the process that it leads to.
struct Live {
    connection: Connection,
    node: usize,
    life: u64,
    span: usize,
}

impl Town {
    pub(crate) async fn new(rng: &mut Rng) -> Arc<Self> {
        let clock = Arc::new(SimClock::new());
        let (store, context) = (Arc::new(MemoryStore::new()), context(&clock, rng));
        let mut people = Vec::new();
        for number in 0..PEOPLE {
            let (user, session) = somebody(context.id(), &format!("person{number}"), &context);
            people.push(user.id);
            store.create_user(user, session).await.expect("the store is empty");
        }
        let state = State {
            nodes: (0..NODES).map(|_| None).collect(),
            killed: Vec::new(),
            truth: Truth::default(),
            told: vec![BTreeMap::new(); NODES - 1],
            rng: rng.fork(),
        };
        let town = Arc::new(Self {
            server: Server::new(Arc::clone(&clock) as _, rng.fork()),
            bus: Arc::new(MemoryBus::new()),
            store,
            clock,
            people,
            state: Mutex::new(state),
            lives: (0..NODES).map(|_| watch::channel(0).0).collect(),
        });
        for node in 0..NODES {
            town.start(node);
        }
        for node in 0..NODES - 1 {
            Arc::clone(&town).observe(node, &context).await;
        }
        town
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, node: usize) {
        let leases = NodeLeases::new(&self.server);
        let context = context(&self.clock, &mut self.state().rng);
        let hub = HubSettings { lease: LEASE, offline_grace: GRACE, ..HubSettings::default() };
        let password_cost = PasswordCost { memory_kib: 8, passes: 1, ..PasswordCost::default() };
        let messenger = Messenger::builder(Arc::clone(&self.store) as _)
            .presence(Arc::clone(&leases) as _)
            .bus(Arc::clone(&self.bus) as _)
            .context(context)
            .settings(Settings { hub, password_cost, ..Settings::default() })
            .build()
            .expect("the settings are possible");
        self.state().nodes[node] = Some((messenger, leases));
    }

    /// Somebody who watches everybody from this node.
    async fn observe(self: Arc<Self>, node: usize, context: &Context) {
        let (user, session) = somebody(context.id(), &format!("observer{node}"), context);
        let actor = Actor::on_behalf_of(user.id);
        self.store.create_user(user, session).await.expect("there is room");
        let messenger = self.node(node).1;
        let mut connection = messenger.connect(&actor).await.expect("the node is there");
        for some in self.people.chunks(AT_ONCE) {
            connection.watch(some).await.expect("all of them may be watched");
        }
        connection.go_live();
        tokio::spawn(async move {
            loop {
                match connection.next().await {
                    Signal::Event(delivery) => {
                        if let Event::PresenceChanged(presence) = delivery.event() {
                            let told = Told { at: Instant::now(), online: presence.online };
                            self.state().told[node].entry(presence.user_id).or_default().push(told);
                        }
                    }
                    Signal::End(ending) => panic!("the observer is ended: {ending:?}"),
                    _ => {}
                }
            }
        });
    }

    /// This node, or another one that is there.
    fn node(&self, wanted: usize) -> (usize, Messenger) {
        let state = self.state();
        let from_there = (0..NODES).map(|n| (wanted + n) % NODES);
        let found = from_there.filter_map(|n| Some((n, state.nodes[n].as_ref()?.0.clone()))).next();
        found.expect("only one is killed")
    }

    pub(crate) fn flush(&self) {
        self.server.flush();
        self.state().truth.flushed.push(Instant::now());
    }

    pub(crate) fn is_slow(self: Arc<Self>, millis: (u64, u64), until: Instant) {
        self.server.answers_within(millis);
        self.state().truth.slow.push((Instant::now(), until));
        tokio::spawn(async move {
            sleep_until(until).await;
            self.server.answers_within(QUICK);
        });
    }

    pub(crate) fn kill(self: Arc<Self>, node: usize) {
        {
            let mut state = self.state();
            let Some((messenger, leases)) = state.nodes[node].take() else { return };
            leases.kill();
            state.killed.push(messenger);
        }
        self.lives[node].send_modify(|life| *life += 1);
        tokio::spawn(async move {
            sleep(Duration::from_secs(30)).await;
            self.start(node);
        });
    }

    /// Lets everybody's devices do what they do, until they are dropped.
    pub(crate) fn live(self: &Arc<Self>, began: Instant, rng: &mut Rng) -> JoinSet<()> {
        let mut devices = JoinSet::new();
        for user in &self.people {
            for _ in 0..1 + rng.below(3) {
                devices.spawn(Arc::clone(self).device(*user, began, rng.fork()));
            }
        }
        devices
    }

    /// Comes and goes. Nothing happens in the last minutes, so that everything is told in the hour.
    async fn device(self: Arc<Self>, user: UserId, began: Instant, mut rng: Rng) {
        let end = began + HOUR;
        let last = end - Duration::from_secs(200);
        sleep(rng.millis(0, 300_000)).await;
        while Instant::now() < last {
            let mut live = self.connect(user, rng.below(NODES)).await;
            let leaves = Instant::now() + rng.millis(20_000, 900_000);
            let leaves = if leaves < last { leaves } else { end + HOUR };
            let mut life = self.lives[live.node].subscribe();
            let was_killed = tokio::select! {
                biased;
                _ = life.wait_for(|now| *now != live.life) => true,
                () = self.stays(&mut live.connection, leaves) => false,
            };
            self.state().truth.ends(user, live.span, was_killed);
            if was_killed {
                // A process that is gone says no goodbye.
                std::mem::forget(live);
            } else {
                drop(live);
            }
            sleep(away(&mut rng)).await;
        }
    }

    async fn stays(&self, connection: &mut Connection, until: Instant) {
        let reads = async {
            while !matches!(connection.next().await, Signal::End(_)) {}
            panic!("a device is ended");
        };
        tokio::select! {
            biased;
            () = sleep_until(until) => {}
            () = reads => {}
        }
    }

    async fn connect(&self, user: UserId, wanted: usize) -> Live {
        let asked = Instant::now();
        let (node, messenger) = self.node(wanted);
        let life = *self.lives[node].borrow();
        let connection = messenger.connect(&Actor::on_behalf_of(user)).await.expect("the store is there");
        let span = Span { asked, from: Instant::now(), until: None, killed: false };
        let span = self.state().truth.begins(user, span);
        Live { connection, node, life, span }
    }

    pub(crate) async fn compare(&self) -> Found {
        let end = Instant::now();
        let records = self.store.users(&self.people).await.expect("memory answers");
        let state = self.state();
        let mut found = Found::default();
        let nothing = Vec::new();
        for record in records {
            let user = record.id;
            for told in &state.told {
                state.truth.check(user, told.get(&user).unwrap_or(&nothing), end, &mut found);
            }
            let seen = record.last_seen_at.map(|at| self.clock.instant(at));
            state.truth.check_last_seen(user, seen, &mut found);
        }
        found
    }
}

/// How long a device stays away: mostly it has only changed its network.
fn away(rng: &mut Rng) -> Duration {
    match rng.below(10) {
        0..=4 => rng.millis(300, 3000),
        5 => rng.millis(1000, 9000),
        6..=7 => rng.millis(10_000, 90_000),
        _ => rng.millis(90_000, 900_000),
    }
}
