//! Several nodes on one store, and the people and devices that use them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use messenger_core::{
    ConnectionId, DisplayName, Limits, Messenger, PasswordCost, Settings, Timestamp, Token, UserId, Username,
    context::{Clock, Context},
    encryption::{KeyRing, SealSettings, SealedStore},
    hub::HubSettings,
    memory::{MemoryPresence, MemoryStore},
    ports::{Content, NewSession, NewUser, PresenceStore as _, Store, StoredAddress, StoredName},
};
use tokio::time::Instant;

use crate::{
    network::Network,
    plan::Setup,
    presence::SimPresence,
    record::Record,
    rng::{Rng, SeededRandom},
    store::SimStore,
};

pub(crate) struct Cluster {
    pub(crate) setup: Setup,
    pub(crate) record: Record,
    pub(crate) network: Arc<Network>,
    pub(crate) people: Vec<UserId>,
    store: Arc<dyn Store>,
    presence: Arc<MemoryPresence>,
    clock: Arc<SimClock>,
    nodes: Mutex<Vec<Node>>,
    /// The connections that are open, and whose they are.
    open: Mutex<BTreeMap<ConnectionId, UserId>>,
}

struct Node {
    messenger: Option<Messenger>,
    store: Arc<SimStore>,
    presence: Arc<SimPresence>,
}

/// 2026-01-01T00:00:00Z, in microseconds.
const BEGINNING: i64 = 1_767_225_600_000_000;

/// The time of the paused runtime.
pub(crate) struct SimClock(Instant);

impl SimClock {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    /// When it was that time.
    pub(crate) fn instant(&self, at: Timestamp) -> Instant {
        let micros = u64::try_from(at.as_micros() - BEGINNING).unwrap_or(0);
        self.0 + Duration::from_micros(micros)
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let micros = i64::try_from(self.0.elapsed().as_micros()).unwrap_or(0);
        Timestamp::from_micros(BEGINNING + micros)
    }
}

async fn store(setup: &Setup, context: &Context) -> Arc<dyn Store> {
    let memory = Arc::new(MemoryStore::new());
    if !setup.sealed {
        return memory;
    }
    let keys = Arc::new(KeyRing::new(&[7; 32]));
    let sealed = SealedStore::open_with(memory, keys, SealSettings::default(), context.clone()).await;
    Arc::new(sealed.expect("the memory store answers"))
}

impl Cluster {
    pub(crate) async fn new(seed: u64, setup: Setup) -> Arc<Self> {
        let mut rng = Rng::new(seed ^ 0xc1a5_7e50);
        let record = Record::new(rng.fork());
        let clock = Arc::new(SimClock::new());
        let context = context(&clock, &mut rng);
        let store = store(&setup, &context).await;
        let people = (0..setup.people).map(|_| context.id()).collect();
        let cluster = Self {
            network: Network::new(setup.promise, setup.nodes, record.clone()),
            presence: Arc::new(MemoryPresence::new(Arc::clone(&clock) as _)),
            store,
            record,
            clock,
            people,
            nodes: Mutex::default(),
            open: Mutex::default(),
            setup,
        };
        for (user, name) in cluster.people.iter().zip(["ada", "bob", "cleo", "dan"]) {
            cluster.register(*user, name, &context).await;
        }
        let nodes = (0..cluster.setup.nodes).map(|node| cluster.start(node)).collect();
        *cluster.nodes() = nodes;
        Arc::new(cluster)
    }

    async fn register(&self, id: UserId, name: &str, context: &Context) {
        let (user, session) = somebody(id, name, context);
        self.store.create_user(user, session).await.expect("the store is empty");
        self.record.lock().names.insert(id, name.into());
    }

    fn start(&self, node: usize) -> Node {
        let store = Arc::new(SimStore::new(Arc::clone(&self.store), self.record.clone()));
        let presence = Arc::new(SimPresence::new(Arc::clone(&self.presence), self.record.clone()));
        let mut rng = self.record.lock().rng.fork();
        let hub = HubSettings { mailbox: self.setup.mailbox, ..HubSettings::default() };
        // A node makes a hash when it starts, though nobody logs in here.
        let password_cost = PasswordCost { memory_kib: 8, passes: 1, ..PasswordCost::default() };
        let limits = Limits {
            catch_up: self.setup.catch_up,
            ephemeral_members: self.setup.ephemeral_members,
            ..Limits::default()
        };
        let messenger = Messenger::builder(Arc::clone(&store) as _)
            .presence(Arc::clone(&presence) as _)
            .bus(self.network.bus(node))
            .context(context(&self.clock, &mut rng))
            .limits(limits)
            .workers(false)
            .settings(Settings { hub, password_cost, ..Settings::default() })
            .build()
            .expect("the settings are possible");
        Node { messenger: Some(messenger), store, presence }
    }

    fn nodes(&self) -> MutexGuard<'_, Vec<Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This node, or the next one that is there.
    pub(crate) fn node(&self, wanted: usize) -> Option<(usize, Messenger)> {
        let nodes = self.nodes();
        let from_there = (0..nodes.len()).map(|n| (wanted + n) % nodes.len());
        from_there.filter_map(|n| Some((n, nodes[n].messenger.clone()?))).next()
    }

    pub(crate) fn store_of(&self, node: usize) -> Arc<SimStore> {
        Arc::clone(&self.nodes()[node].store)
    }

    pub(crate) fn presence_of(&self, node: usize) -> Arc<SimPresence> {
        Arc::clone(&self.nodes()[node].presence)
    }

    /// The process is gone, unless it is none that is running.
    pub(crate) fn crash(&self, node: usize) -> Option<Messenger> {
        let mut nodes = self.nodes();
        let messenger = nodes[node].messenger.take()?;
        nodes[node].store.faults().dead = true;
        nodes[node].presence.kill();
        self.network.kill(node, self.network.life(node));
        Some(messenger)
    }

    pub(crate) fn take(&self, node: usize) -> Option<Messenger> {
        self.nodes()[node].messenger.take()
    }

    pub(crate) fn restart(&self, node: usize) {
        if self.nodes()[node].messenger.is_some() {
            return;
        }
        self.network.revive(node);
        let started = self.start(node);
        self.nodes()[node] = started;
        self.record.log(format!("node {node} has started"));
    }

    /// From now on nothing goes wrong.
    pub(crate) fn heal(&self) {
        self.network.heal();
        for node in 0..self.setup.nodes {
            self.restart(node);
            let store = self.store_of(node);
            let mut faults = store.faults();
            (faults.lose_answers, faults.refuse_writes) = (0, 0);
            (faults.reads_fail_until, faults.slow_until) = (None, None);
        }
    }

    pub(crate) fn came(&self, connection: ConnectionId, user: UserId) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.values().all(|other| *other != user) {
            self.record.lock().turned.insert(user, Instant::now());
        }
        open.insert(connection, user);
    }

    pub(crate) fn left(&self, connection: ConnectionId) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(user) = open.remove(&connection)
            && open.values().all(|other| *other != user)
        {
            self.record.lock().turned.insert(user, Instant::now());
        }
    }

    /// Who has a connection.
    pub(crate) async fn online(&self) -> BTreeSet<UserId> {
        let open: BTreeSet<UserId> =
            self.open.lock().unwrap_or_else(PoisonError::into_inner).values().copied().collect();
        let states = self.presence.query(&self.people).await.expect("memory answers");
        let online: BTreeSet<UserId> =
            states.iter().filter(|state| state.online).map(|state| state.user).collect();
        if open != online {
            self.record.wrong(format!("presence has {online:?}, and {open:?} have connections"));
        }
        online
    }
}

/// Without a password, for nobody logs in here.
pub(crate) fn somebody(id: UserId, name: &str, context: &Context) -> (NewUser, NewSession) {
    let email = format!("{name}@example.org");
    let created_at = context.now();
    let user = NewUser {
        id,
        username: Username::trusted(name),
        display_name: StoredName::from(&DisplayName::trusted(name)),
        email: StoredAddress { content: Content::from(&*email), key: email.into_bytes() },
        password_hash: String::new(),
        created_at,
    };
    let session = NewSession {
        id: context.id(),
        user_id: id,
        token_hash: Token::from_random(&context.random()).hash(),
        device: None,
        created_at,
        expires_at: created_at.after(Duration::from_secs(86_400)),
    };
    (user, session)
}

pub(crate) fn context(clock: &Arc<SimClock>, rng: &mut Rng) -> Context {
    Context::new(Arc::clone(clock) as _, Arc::new(SeededRandom::new(rng.fork())))
}
