//! Several servers on one database, with a Redis and without.

use std::{
    net::TcpListener,
    process::Command,
    time::{Duration, Instant},
};

use messenger_testing::{Pooler, PrivateServer, RedisServer};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    live::{Ended, Group, Socket},
    stores::{TestStore, block_on},
    support::{PATIENCE, Server, binary, file, refused},
};

/// Two servers, and the people of a group.
struct Nodes {
    servers: [Server; 2],
    group: Group,
}

impl Nodes {
    fn start(command: impl Fn() -> Command) -> Self {
        let servers = [(); 2].map(|()| Server::start(&mut command()));
        let group = Group::of(&servers[0], &["ada", "bob"]);
        Self { servers, group }
    }

    /// With a Redis that may be killed.
    async fn on_redis(store: &TestStore) -> (Self, RedisServer) {
        let redis = RedisServer::start().await;
        let nodes = Self::start(|| {
            let mut command = store.command_for_load();
            command.args(["--redis-url", &redis.url()]);
            command
        });
        (nodes, redis)
    }

    /// With nothing but the database.
    fn on_postgres(store: &TestStore) -> Self {
        Self::start(|| store.command_for_load())
    }

    /// The socket of a person, each on a server of their own; it is live.
    async fn socket(&self, person: usize) -> Socket {
        let mut socket =
            Socket::open(self.servers[person].address, &self.group.tokens[person]).await.unwrap();
        answer(&mut socket, "Resume", &json!({})).await;
        heard(&mut socket, "caughtUp").await;
        socket
    }

    async fn user_id(&self, person: usize) -> String {
        let token = Some(&*self.group.tokens[person]);
        let me = self.servers[0].request("GET", "/api/v1/users/me", token, None).json();
        me["id"].as_str().unwrap().to_owned()
    }
}

async fn answer(socket: &mut Socket, method: &str, params: &Value) -> Value {
    socket.say(1, method, params).await.unwrap();
    loop {
        let frame = socket.hear().await.unwrap();
        if frame["id"] == 1 {
            assert!(frame.get("result").is_some(), "{frame}");
            return frame["result"].clone();
        }
    }
}

async fn heard(socket: &mut Socket, event: &str) -> Value {
    loop {
        let frame = socket.hear().await.unwrap();
        if frame["method"] == event {
            return frame["params"].clone();
        }
    }
}

/// Says something and waits until it is heard, so many times.
async fn talk(nodes: &Nodes, sockets: &mut [Socket; 2], times: usize) {
    for n in 0..times {
        let [speaker, hearer] = sockets;
        let body = format!("{n} of {times}");
        answer(speaker, "SendMessage", &json!({"chatId": nodes.group.chat, "body": body})).await;
        assert_eq!(heard(hearer, "messageCreated").await["message"]["body"], body);
    }
}

#[test]
fn what_is_said_to_one_node_is_heard_from_the_other_at_once_and_without_redis_soon() {
    let store = TestStore::postgres();
    block_on(async {
        let (nodes, mut redis) = Nodes::on_redis(&store).await;
        let mut sockets = [nodes.socket(0).await, nodes.socket(1).await];
        // What is only found in the store comes up to five seconds later each time.
        timeout(PATIENCE, talk(&nodes, &mut sockets, 20)).await.expect("at once");
        redis.kill();
        talk(&nodes, &mut sockets, 2).await;
        redis.go_on().await;
        // The first may be said before the servers have found the way again.
        talk(&nodes, &mut sockets, 2).await;
        timeout(PATIENCE, talk(&nodes, &mut sockets, 20)).await.expect("at once");
        let bodies = nodes.group.history(&nodes.servers[1]);
        assert_eq!(bodies.iter().filter(|message| message["kind"] == "text").count(), 44);
    });
}

async fn comes_and_goes(nodes: &Nodes) {
    let (mut ada, bob) = (nodes.socket(0).await, nodes.socket(1).await);
    let id = nodes.user_id(1).await;
    let states = answer(&mut ada, "WatchPresence", &json!({"userIds": [id]})).await;
    assert_eq!(states["items"][0]["online"], true, "{states}");
    drop(bob);
    let gone = heard(&mut ada, "presenceChanged").await;
    assert_eq!((&gone["userId"], &gone["online"]), (&json!(id), &json!(false)));
    let _bob = nodes.socket(1).await;
    assert_eq!(heard(&mut ada, "presenceChanged").await["online"], true);
}

#[test]
fn who_comes_and_goes_on_one_node_does_so_on_the_other() {
    let (store, other) = (TestStore::postgres(), TestStore::postgres());
    block_on(async {
        let (nodes, _redis) = Nodes::on_redis(&store).await;
        comes_and_goes(&nodes).await;
        drop(nodes);
        comes_and_goes(&Nodes::on_postgres(&other)).await;
    });
}

async fn logs_out_elsewhere(nodes: &Nodes) {
    let mut bob = nodes.socket(1).await;
    let logout = nodes.servers[0].request("POST", "/api/v1/auth/logout", Some(&nodes.group.tokens[1]), None);
    assert_eq!(logout.status(), 204, "{}", logout.text());
    let ended = async {
        loop {
            if let Err(ended) = bob.hear().await {
                return ended;
            }
        }
    };
    // What is only found in the store comes up to ten seconds later.
    let ended = timeout(Duration::from_secs(5), ended).await.unwrap();
    assert!(matches!(ended, Ended::With(_)));
}

#[test]
fn a_session_that_ends_on_one_node_ends_its_sockets_on_the_other() {
    let (store, other) = (TestStore::postgres(), TestStore::postgres());
    block_on(async {
        let (nodes, _redis) = Nodes::on_redis(&store).await;
        logs_out_elsewhere(&nodes).await;
        drop(nodes);
        logs_out_elsewhere(&Nodes::on_postgres(&other)).await;
    });
}

#[test]
fn without_redis_postgresql_tells_the_other_node_at_once_also_after_a_crash() {
    let server = PrivateServer::start(&[]);
    block_on(async {
        let nodes = Nodes::start(|| on(server.url(), &[]));
        let mut sockets = [nodes.socket(0).await, nodes.socket(1).await];
        timeout(AT_ONCE, talk(&nodes, &mut sockets, 20)).await.expect("at once");
        server.crash_and_restart();
        while nodes.servers.iter().any(|server| server.get("/health/ready").status() != 200) {}
        // The first may be said before the servers have found the way again.
        talk(&nodes, &mut sockets, 2).await;
        timeout(AT_ONCE, talk(&nodes, &mut sockets, 20)).await.expect("at once");
    });
}

#[test]
fn with_a_pooler_for_transactions_nodes_hear_each_other_by_the_direct_way() {
    let store = TestStore::postgres();
    block_on(async {
        let pooler = Pooler::start(&store.url()).await;
        let direct = store.url();
        let nodes =
            Nodes::start(|| on(pooler.url(), &["--store-transaction-pooling", "on", "--bus-url", &direct]));
        let mut sockets = [nodes.socket(0).await, nodes.socket(1).await];
        timeout(AT_ONCE, talk(&nodes, &mut sockets, 20)).await.expect("at once");
        drop(sockets);
        comes_and_goes(&nodes).await;
    });
}

#[test]
fn with_a_bus_in_memory_the_other_node_is_told_late() {
    let store = TestStore::postgres();
    block_on(async {
        let nodes = Nodes::start(|| on(&store.url(), &["--bus", "memory"]));
        let mut sockets = [nodes.socket(0).await, nodes.socket(1).await];
        assert!(timeout(AT_ONCE, talk(&nodes, &mut sockets, 20)).await.is_err(), "it was turned off");
    });
}

/// What is only found in the store comes up to five seconds later each time.
const AT_ONCE: Duration = Duration::from_secs(15);

fn on(store: &str, arguments: &[&str]) -> Command {
    let mut command = binary();
    command.args(["--rate-limits", "off", "--log", "error", "--store-url", store]).args(arguments);
    command
}

#[test]
fn a_server_starts_without_the_redis_that_it_is_told_of() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = Server::in_memory(["--redis-url", &format!("redis://127.0.0.1:{port}")]);
    assert_eq!(server.get("/health/ready").status(), 200);
    server.register("ada");
}

#[test]
fn a_redis_that_can_not_be_used_is_refused_without_the_password() {
    for (arguments, says) in [
        (["--redis-url", "redis://ann:hunter2@h:port", "--bus", ""], "redis://USER:PASSWORD@HOST"),
        (["--redis-url", "http://ann:hunter2@h", "--bus", ""], "each with `rediss`"),
        (["--redis-url", "redis://h", "--redis-prefix", "a b"], "--redis-prefix"),
        (["--redis-url", "redis://h", "--presence", "memory"], "--presence"),
        (["--redis-url", "", "--bus", "redis"], "--redis-url"),
        (["--redis-url", "redis://h", "--bus", "rabbit"], "none of `memory`, `postgres` and `redis`"),
    ] {
        let said = refused(&binary().args(["check-config"]).args(arguments).output().unwrap());
        assert!(said.contains(says) && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_bus_on_postgresql_that_can_not_be_had_is_refused_without_the_password() {
    let (store, url) = ("--store-url", "postgres://ann:hunter2@h/d");
    for (arguments, says) in [
        ([store, "memory:", "--bus", "postgres"], "needs a store on PostgreSQL"),
        ([store, "memory:", "--presence", "postgres"], "needs a store on PostgreSQL"),
        ([store, "memory:", "--bus-url", url], "for a store on PostgreSQL alone"),
        ([store, url, "--bus-url", "postgres://ann:hunter2@h:port/d"], "--bus-url"),
        ([store, url, "--bus-url", "mysql://ann:hunter2@h/d"], "--bus-url"),
        ([store, url, "--presence", "memory"], "--presence"),
    ] {
        let said = refused(&binary().args(["check-config"]).args(arguments).output().unwrap());
        assert!(said.contains(says) && !said.contains("hunter2"), "{said}");
    }
    let pooled = ["check-config", store, url, "--store-transaction-pooling", "on", "--bus", "postgres"];
    let said = refused(&binary().args(pooled).output().unwrap());
    assert!(said.contains("--bus-url") && !said.contains("hunter2"), "{said}");
}

/// Asks whether a server is ready, which it always is, until it goes on without these.
fn goes_on_without(server: &Server, missing: &[&str]) {
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = server.get("/health/ready");
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let text = answer.text().to_owned();
        let lines: Vec<_> = text.lines().skip(1).filter_map(|line| line.split(' ').nth(1)).collect();
        if lines == missing {
            return;
        }
        assert!(Instant::now() < until, "{text}");
    }
}

#[test]
fn a_server_names_what_it_goes_on_without_and_stays_ready() {
    block_on(async {
        let mut redis = RedisServer::start().await;
        let server = Server::in_memory(["--redis-url", &redis.url()]);
        let outage = |of: &str| format!("messenger_outage{{of=\"{of}\"}} 1");
        goes_on_without(&server, &[]);
        redis.kill();
        goes_on_without(&server, &["bus", "presence"]);
        let counted = server.get("/metrics").text().to_owned();
        assert!(["bus", "presence"].iter().all(|of| counted.contains(&outage(of))), "{counted}");
        redis.go_on().await;
        goes_on_without(&server, &[]);
        let counted = server.get("/metrics").text().to_owned();
        assert!(["bus", "presence"].iter().all(|of| !counted.contains(&outage(of))), "{counted}");
    });
}

#[test]
fn wrong_passwords_count_over_all_servers_and_each_counts_for_itself_without_redis() {
    block_on(async {
        let mut redis = RedisServer::start().await;
        let servers = [(); 2].map(|()| Server::in_memory(["--redis-url", &redis.url()]));
        let tries = |server: &Server, login: &str| {
            let wrong = json!({"login": login, "password": "wrong horse battery"});
            server.request("POST", "/api/v1/auth/login", None, Some(&wrong)).status()
        };
        let answers: Vec<u16> = (0..12).map(|n| tries(&servers[n % 2], "ada")).collect();
        assert_eq!(answers, [[401; 10].as_slice(), &[429; 2]].concat());
        redis.kill();
        let answers: Vec<u16> = (0..12).map(|n| tries(&servers[n % 2], "bob")).collect();
        assert_eq!(answers, [401; 12]);
    });
}

#[test]
fn requests_count_over_all_servers() {
    block_on(async {
        let redis = RedisServer::start().await;
        let servers = [(); 2].map(|()| Server::in_memory(["--redis-url", &redis.url()]));
        let request = "GET /api/v1/users/me HTTP/1.1\r\nHost: test\r\n\r\n";
        let begun = Instant::now();
        let mut owing = [false; 2];
        while owing != [true; 2] {
            assert!(begun.elapsed() < PATIENCE, "{owing:?}");
            for (server, owes) in servers.iter().zip(&mut owing) {
                let mut client = server.connect();
                client.send(&request.repeat(100));
                for _ in 0..100 {
                    // By its own count a server always has the next one within a fiftieth of a second.
                    let wait = client.answer().header("retry-after").map(|wait| wait.parse::<u64>().unwrap());
                    *owes |= wait.is_some_and(|seconds| seconds > 1);
                }
            }
        }
    });
}

#[test]
fn a_node_that_has_a_name_is_known_by_it() {
    block_on(async {
        let redis = RedisServer::start().await;
        for (format, begin) in [("json", r#"{"node":"east-1","timestamp""#), ("text", "east-1 20")] {
            let (_folder, log) = file("log", "");
            let mut command = binary();
            command.args(["--store-url", "memory:", "--node-name", "east-1", "--log-format", format]);
            command.args(["--redis-url", &redis.url()]);
            let server = Server::start_logging(&mut command, &log);
            let metrics = server.get("/metrics").text().to_owned();
            let counted = metrics.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
            assert!(
                counted.clone().count() > 0 && counted.clone().all(|line| line.contains(r#"node="east-1""#)),
                "{metrics}"
            );
            let has_name = async {
                while !clients(&redis).await.contains(" name=messenger-server:east-1 ") {
                    tokio::task::yield_now().await;
                }
            };
            timeout(PATIENCE, has_name).await.unwrap();
            server.stop();
            let log = std::fs::read_to_string(log).unwrap();
            assert!(log.lines().count() > 1 && log.lines().all(|line| line.starts_with(begin)), "{log}");
            if format == "json" {
                for line in log.lines() {
                    serde_json::from_str::<Value>(line).unwrap();
                }
            }
        }
    });
}

/// Who is connected to Redis, a line each.
async fn clients(redis: &RedisServer) -> String {
    let mut stream = TcpStream::connect(redis.address()).await.unwrap();
    stream.write_all(b"CLIENT LIST\r\nQUIT\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
