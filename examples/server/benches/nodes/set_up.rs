//! Servers that hear of each other in one of several ways, with their clients.

use futures::future::try_join_all;
use messenger_core::ChatId;
use messenger_testing::{
    RedisServer,
    sockets::{
        crowd::{Load, Pace, Round, Side},
        process::{Pages, Process},
        wire::Wire,
    },
};

use crate::{
    Plan, Result, socket_io,
    world::{RECEIVERS, World},
};

/// How many nodes of what there are, and how they hear of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    OneNode,
    Redis,
    Postgres,
    /// Another build, on Redis.
    Beside,
    OneSocketIo,
    SocketIo,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::OneNode => "one node",
            Self::Redis => "two nodes, Redis",
            Self::Postgres => "two nodes, PostgreSQL",
            Self::Beside => "two nodes, Redis, other build",
            Self::OneSocketIo => "Socket.IO, one node",
            Self::SocketIo => "Socket.IO, two nodes, Redis",
        }
    }

    /// Whether it stores what is sent.
    pub(crate) const fn stores(self) -> bool {
        !matches!(self, Self::OneSocketIo | Self::SocketIo)
    }

    /// What this adds a bus to.
    pub(crate) const fn alone(self) -> Option<Self> {
        match self {
            Self::OneNode | Self::OneSocketIo => None,
            Self::Redis | Self::Postgres | Self::Beside => Some(Self::OneNode),
            Self::SocketIo => Some(Self::OneSocketIo),
        }
    }

    /// As part of the name of a database.
    const fn word(self) -> &'static str {
        match self {
            Self::OneNode => "one",
            Self::Redis => "redis",
            Self::Postgres => "postgres",
            Self::Beside => "beside",
            Self::OneSocketIo | Self::SocketIo => "none",
        }
    }
}

/// Nodes with clients.
pub(crate) struct SetUp {
    pub(crate) kind: Kind,
    pub(crate) side: Side,
    pub(crate) redis: Option<RedisServer>,
    /// How many of the sockets are those of senders: the first ones.
    pub(crate) senders: usize,
}

impl SetUp {
    /// Starts the nodes of each kind, and connects so many senders to the first one and so many of those who listen to the
    /// last one.
    pub(crate) async fn start_all(
        plan: &Plan,
        world: &World,
        kinds: impl IntoIterator<Item = Kind>,
        (senders, receivers): (usize, usize),
    ) -> Result<Vec<Self>> {
        let mut all = Vec::new();
        for kind in kinds {
            eprintln!("starting {}", kind.name());
            all.push(Self::start(plan, world, kind).await?);
        }
        // Only then, because nobody answers pings while others start.
        for set_up in &mut all {
            set_up.connect(world, senders, receivers).await?;
        }
        Ok(all)
    }

    /// One without clients.
    pub(crate) async fn start(plan: &Plan, world: &World, kind: Kind) -> Result<Self> {
        let redis = match kind {
            Kind::Redis | Kind::Beside | Kind::SocketIo => Some(RedisServer::start().await),
            Kind::OneNode | Kind::Postgres | Kind::OneSocketIo => None,
        };
        let mut side = if kind.stores() {
            messenger(plan, world, kind, redis.as_ref()).await?
        } else {
            socket_io::start(redis.as_ref())?
        };
        side.bus = redis.as_ref().map(RedisServer::cpu);
        Ok(Self { kind, side, redis, senders: 0 })
    }

    pub(crate) async fn connect(&mut self, world: &World, senders: usize, receivers: usize) -> Result {
        let Self { side, .. } = self;
        let last = side.others.last().unwrap_or(&side.process).address;
        side.connect(world.senders[..senders].iter().map(|person| (person, 0))).await?;
        side.connect_to(last, world.receivers[..receivers].iter().map(|person| (person, 0))).await?;
        self.senders = senders;
        side.resume().await
    }

    /// A round of each of these, one after the other. Those whose turn it is not answer pings.
    pub(crate) async fn round_of_each(all: &mut [Self], load: impl Fn(&Self) -> Load) -> Result<Vec<Round>> {
        let mut rounds = Vec::with_capacity(all.len());
        for turn in 0..all.len() {
            let (before, rest) = all.split_at_mut(turn);
            let Some((set_up, after)) = rest.split_first_mut() else { break };
            let load = load(set_up);
            let idle = before.iter_mut().chain(after).map(|other| other.side.idle(load.pace.length()));
            let (round, idle) = tokio::join!(set_up.side.round(&load), try_join_all(idle));
            idle?;
            rounds.push(round?);
        }
        Ok(rounds)
    }

    /// The senders write to the group.
    pub(crate) fn to_group(&self, group: ChatId, pace: Pace) -> Load {
        let senders = (0..self.senders).map(|sender| (sender, group)).collect();
        Load::new(senders, (self.senders + RECEIVERS) as u64, pace)
    }
}

async fn messenger(plan: &Plan, world: &World, kind: Kind, redis: Option<&RedisServer>) -> Result<Side> {
    let store = world.copy(kind.word()).await?;
    let redis = redis.map(RedisServer::url);
    let more = match (kind, &redis) {
        (_, Some(url)) => vec!["--redis-url", url],
        (Kind::Postgres, None) => vec!["--bus", "postgres", "--presence", "postgres"],
        _ => vec!["--bus", "memory", "--presence", "memory"],
    };
    let arguments = [&["--store-url", &*store], &*more].concat();
    let binary = match kind {
        Kind::Beside => plan.beside.as_deref().unwrap_or(plan.binary()),
        _ => plan.binary(),
    };
    let node = || Process::server(binary, &arguments, Pages::Any);
    let mut side = Side::server(node()?, Some(world.cpu()), Wire::WebSocket);
    if kind != Kind::OneNode {
        side.others.push(node()?);
    }
    Ok(side)
}
