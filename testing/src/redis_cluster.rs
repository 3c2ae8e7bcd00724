use tempfile::TempDir;

use crate::redis::{RedisServer, free_port};

/// A Redis cluster of one's own, of three servers without replicas; ends with this.
#[derive(Debug)]
pub struct RedisCluster {
    /// Each has a third of the slots.
    pub servers: [RedisServer; 3],
    /// The addresses for encrypted connections, if there are such.
    encrypted: Option<Vec<String>>,
    _folder: TempDir,
}

impl RedisCluster {
    /// The first slot of each server, and the one after the last.
    const SLOTS: [u16; 4] = [0, 5461, 10923, 16384];

    /// # Panics
    /// If there is no Redis 7.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With more arguments of each server's command line.
    ///
    /// # Panics
    /// If there is no Redis 7.
    pub async fn start_with(arguments: &[&str]) -> Self {
        Self::run(arguments, false).await
    }

    /// With connections that may be encrypted, also between the servers, as these arguments say.
    ///
    /// # Panics
    /// If there is no Redis 7 with TLS.
    pub async fn start_encrypted(arguments: &[&str]) -> Self {
        Self::run(&[arguments, &["--tls-cluster", "yes"]].concat(), true).await
    }

    async fn run(arguments: &[&str], is_encrypted: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (mut servers, mut ports, mut buses) = (vec![], vec![], vec![]);
        for number in 0..3 {
            let (file, bus) = (format!("nodes-{number}.conf"), free_port().to_string());
            let place = ["--dir", folder.path().to_str().unwrap(), "--cluster-config-file", &file];
            let cluster =
                ["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "1000"];
            let port = free_port();
            let number = port.to_string();
            let tls = ["--tls-port", &number];
            let tls = if is_encrypted { &tls[..] } else { &[] };
            servers.push(RedisServer::start_with(&[&place[..], &cluster, arguments, tls].concat()).await);
            ports.push(port);
            buses.push(bus);
        }
        let servers: [RedisServer; 3] = servers.try_into().unwrap();
        for (number, server) in servers.iter().enumerate() {
            let (first, last) = (Self::SLOTS[number], Self::SLOTS[number + 1] - 1);
            // Without an epoch of their own they would have to agree on one first.
            for command in [
                format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1),
                format!("CLUSTER ADDSLOTSRANGE {first} {last}"),
                // By its port for the protocol that the servers speak with each other.
                format!(
                    "CLUSTER MEET 127.0.0.1 {} {}",
                    if is_encrypted { ports[0] } else { servers[0].port() },
                    buses[0]
                ),
            ] {
                assert_eq!(server.command(&command).await.as_deref(), Some("+OK"), "{command}");
            }
        }
        let encrypted = is_encrypted.then(|| ports.iter().map(|port| format!("127.0.0.1:{port}")).collect());
        let cluster = Self { servers, encrypted, _folder: folder };
        cluster.is_well().await;
        cluster
    }

    /// Waits until all servers know each other and all slots.
    pub async fn is_well(&self) {
        for server in &self.servers {
            let is_well = |info: &str| info.contains("state:ok") && info.contains("known_nodes:3");
            server.until("CLUSTER INFO", is_well).await;
        }
    }

    /// All addresses, as a URL of `messenger-redis`.
    pub fn url(&self) -> String {
        match &self.encrypted {
            Some(addresses) => format!("rediss+cluster://{}", addresses.join(",")),
            None => {
                format!("redis+cluster://{}", self.servers.each_ref().map(RedisServer::address).join(","))
            }
        }
    }

    /// The place of the server that has a slot at the start.
    pub fn server_of(slot: u16) -> usize {
        Self::SLOTS.iter().filter(|first| **first <= slot).count() - 1
    }

    /// The slot of a key.
    pub async fn slot(&self, key: &str) -> u16 {
        let answer = self.servers[0].command(&format!("CLUSTER KEYSLOT {key}")).await.unwrap();
        answer.trim_start_matches(':').parse().unwrap()
    }

    /// Moves a slot with its keys from one server to another, as `redis-cli --cluster reshard` does.
    pub async fn move_slot(&self, slot: u16, from: usize, to: usize) {
        let (source, target) = (&self.servers[from], &self.servers[to]);
        let ids = (source.bulk("CLUSTER MYID").await.unwrap(), target.bulk("CLUSTER MYID").await.unwrap());
        let run = async |server: &RedisServer, command: String| {
            assert_eq!(server.command(&command).await.as_deref(), Some("+OK"), "{command}");
        };
        run(target, format!("CLUSTER SETSLOT {slot} IMPORTING {}", ids.0)).await;
        run(source, format!("CLUSTER SETSLOT {slot} MIGRATING {}", ids.1)).await;
        let keys = source.bulk(&format!("CLUSTER GETKEYSINSLOT {slot} 1000")).await.unwrap();
        let keys: Vec<&str> = keys.lines().filter(|line| !line.starts_with('$')).collect();
        if !keys.is_empty() {
            let migrate = format!("MIGRATE 127.0.0.1 {} \"\" 0 5000 KEYS {}", target.port(), keys.join(" "));
            run(source, migrate).await;
        }
        run(target, format!("CLUSTER SETSLOT {slot} NODE {}", ids.1)).await;
        run(source, format!("CLUSTER SETSLOT {slot} NODE {}", ids.1)).await;
    }
}
