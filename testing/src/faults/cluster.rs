//! The processes of a run: nodes, the server of their bus, and what lies between.

use std::{
    fs::File,
    io::{self, Read as _},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use super::{
    rng::Rng,
    script::{BusKind, Fault},
};
use crate::{RedisServer, Relay, connect, execute};

/// What starting a node may take on a busy machine.
const START: Duration = Duration::from_secs(60);
/// What ending in good order may take: `shutdown-timeout`, and 5 s for the store.
const STOP: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

pub(super) struct Cluster {
    nodes: Vec<Node>,
    bus: BusServer,
    /// The way of each node to the bus.
    ways: Vec<Relay>,
    database: String,
    folder: TempDir,
}

enum BusServer {
    Redis(RedisServer),
    Postgres,
}

struct Node {
    address: SocketAddr,
    process: Option<Child>,
    binary: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
}

impl Cluster {
    /// Starts all, and waits until all answer.
    pub(super) async fn start(
        binary: &Path,
        database: &str,
        bus: BusKind,
        nodes: usize,
        rng: &mut Rng,
    ) -> Self {
        let folder = tempfile::Builder::new().prefix("messenger-faults-").tempdir().unwrap();
        let (bus, bus_address) = match bus {
            BusKind::Redis => {
                let redis = RedisServer::start().await;
                let address = redis.address();
                (BusServer::Redis(redis), address)
            }
            BusKind::Postgres => (BusServer::Postgres, host_and_port(database)),
        };
        let mut cluster = Self { nodes: vec![], bus, ways: vec![], database: database.to_owned(), folder };
        for number in 0..nodes {
            let way = Relay::to(&bus_address).await;
            let mut arguments = arguments(database);
            arguments.extend(cluster.bus.arguments(&way, database));
            let log = cluster.folder.path().join(format!("node-{number}.log"));
            let address = free_address(rng);
            arguments.extend(["--listen".to_owned(), address.to_string()]);
            let binary = binary.to_owned();
            cluster.nodes.push(Node { address, process: None, binary, arguments, log });
            cluster.ways.push(way);
        }
        for node in &mut cluster.nodes {
            node.start();
            // One after the other: the first makes the tables.
            node.is_up().await;
        }
        cluster
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.address).collect()
    }

    /// Lets it go wrong.
    pub(super) async fn begin(&mut self, fault: Fault) {
        match (fault, &mut self.bus) {
            (Fault::Kill { node }, _) => self.nodes[node].kill(),
            (Fault::Term { node }, _) => self.nodes[node].ask_to_end(),
            (Fault::Restart, BusServer::Redis(redis)) => redis.kill(),
            (Fault::Freeze, BusServer::Redis(redis)) => redis.freeze(),
            (Fault::Flush, BusServer::Redis(redis)) => {
                redis.command("FLUSHALL").await.expect("Redis answers");
            }
            (Fault::Restart | Fault::Freeze | Fault::Flush, BusServer::Postgres) => {}
            (Fault::Break { node }, BusServer::Redis(_)) => self.ways[node].cut(),
            (Fault::Break { .. }, BusServer::Postgres) => end_connections(&self.database).await,
            (Fault::Cut { node }, _) => {
                self.ways[node].refuse(true);
                self.ways[node].cut();
            }
            (Fault::Stall { node }, _) => self.ways[node].stall(),
            (Fault::Slow { node, delay }, _) => self.ways[node].slow(delay),
        }
    }

    /// Lets it be right again.
    pub(super) async fn end(&mut self, fault: Fault) {
        match (fault, &mut self.bus) {
            (Fault::Kill { node } | Fault::Term { node }, _) => {
                self.nodes[node].has_ended().await;
                self.nodes[node].start();
            }
            (Fault::Restart, BusServer::Redis(redis)) => redis.go_on().await,
            (Fault::Freeze, BusServer::Redis(redis)) => redis.thaw(),
            (Fault::Cut { node }, _) => self.ways[node].refuse(false),
            (Fault::Stall { node }, _) => self.ways[node].resume(),
            (Fault::Slow { node, .. }, _) => self.ways[node].slow(Duration::ZERO),
            _ => {}
        }
    }

    /// Waits until all nodes answer.
    pub(super) async fn is_up(&mut self) {
        for node in &mut self.nodes {
            node.is_up().await;
        }
    }

    /// Where the logs of the nodes are; they stay.
    pub(super) fn keep_logs(self) -> PathBuf {
        let Self { nodes, folder, .. } = self;
        drop(nodes);
        folder.keep()
    }
}

impl BusServer {
    fn arguments(&self, way: &Relay, database: &str) -> Vec<String> {
        let address = way.address();
        match self {
            Self::Redis(_) => vec!["--redis-url".to_owned(), format!("redis://{address}")],
            Self::Postgres => {
                let over_the_way = database.replacen(&host_and_port(database), &address.to_string(), 1);
                let own = ["--bus", "postgres", "--presence", "postgres", "--bus-url", &over_the_way];
                own.map(str::to_owned).into()
            }
        }
    }
}

fn arguments(database: &str) -> Vec<String> {
    ["--store-url", database, "--rate-limits", "off", "--log", "info"].map(str::to_owned).into()
}

/// Ends the connections of the bus and of presence, of all nodes.
async fn end_connections(database: &str) {
    let mut conn = connect(database).await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
               AND (application_name LIKE 'messenger bus%' OR application_name LIKE 'messenger presence%')";
    execute(&mut conn, end).await;
}

fn host_and_port(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    authority.rsplit('@').next().unwrap_or(authority).to_owned()
}

impl Node {
    /// What it says is added to its log.
    fn start(&mut self) {
        let log = || File::options().create(true).append(true).open(&self.log).unwrap();
        let mut command = Command::new(&self.binary);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("MESSENGER_") {
                command.env_remove(name);
            }
        }
        command.args(&self.arguments).stdin(Stdio::null()).stdout(log()).stderr(log());
        self.process = Some(command.spawn().expect("messenger-server can be started"));
    }

    fn kill(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    fn ask_to_end(&mut self) {
        if let Some(process) = &self.process {
            let id = rustix::process::Pid::from_child(process);
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        }
    }

    fn exit(&mut self) -> io::Result<Option<ExitStatus>> {
        self.process.as_mut().map_or(Ok(None), Child::try_wait)
    }

    async fn has_ended(&mut self) {
        let until = Instant::now() + STOP;
        while self.exit().unwrap().is_none() {
            assert!(Instant::now() < until, "a node ends in time; its log: {}", self.said());
            sleep(POLL).await;
        }
    }

    async fn is_up(&mut self) {
        let until = Instant::now() + START;
        while !matches!(timeout(POLL * 50, TcpStream::connect(self.address)).await, Ok(Ok(_))) {
            let exit = self.exit().unwrap();
            assert!(exit.is_none(), "a node ended with {exit:?}: {}", self.said());
            assert!(Instant::now() < until, "a node answers in time; its log: {}", self.said());
            sleep(POLL).await;
        }
    }

    fn said(&self) -> String {
        let mut said = String::new();
        let _ = File::open(&self.log).and_then(|mut file| file.read_to_string(&mut said));
        let from = said.len().saturating_sub(2000);
        said.get(from..).unwrap_or(&said).to_owned()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that the system gives to no connection by chance while the node is away.
fn free_address(rng: &mut Rng) -> SocketAddr {
    loop {
        let address = SocketAddr::from(([127, 0, 0, 1], 20_000 + rng.below(10_000) as u16));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_database_is() {
        for url in ["postgres://a:b@h:1/x", "postgres://h:1", "postgres://a@h:1?sslmode=disable"] {
            assert_eq!(host_and_port(url), "h:1");
        }
    }
}
