//! The example of several nodes: its Compose file, its balancer, and `scripts/cluster`.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use messenger_testing::{
    RedisServer,
    faults::{Frame, Socket, Wire},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    live::Group,
    stores::{TestStore, block_on},
    support::{self, PATIENCE, Server, binary},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn example(file: &str) -> PathBuf {
    root().join("examples/cluster").join(file)
}

/// A process that is killed when dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_compose_file_names_settings_that_there_are() {
    let compose: Value =
        serde_saphyr::from_str(&fs::read_to_string(example("compose.yaml")).unwrap()).unwrap();
    let help = String::from_utf8(binary().arg("--help").output().unwrap().stdout).unwrap();
    // Without its line breaks.
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut nodes = 0;
    for (name, service) in compose["services"].as_object().unwrap() {
        let settings = service["environment"].as_object().into_iter().flatten();
        let settings: Vec<_> = settings.filter(|(name, _)| name.starts_with("MESSENGER_")).collect();
        if settings.is_empty() {
            continue;
        }
        nodes += 1;
        let mut check = binary();
        for (setting, value) in &settings {
            assert!(help.contains(&format!("[env: {setting}]")), "{name} has {setting}");
            check.env(setting, value.as_str().unwrap());
        }
        let checked = check.arg("check-config").output().unwrap();
        assert!(checked.status.success(), "{name}: {}", String::from_utf8_lossy(&checked.stderr));
        for part in service["depends_on"].as_object().unwrap().keys() {
            assert!(compose["services"].get(part).is_some(), "{name} depends on {part}");
        }
    }
    assert_eq!(nodes, 2);
    let balancer = &compose["services"]["balancer"];
    let settings = fs::read_to_string(example("haproxy.cfg")).unwrap();
    for (variable, _) in balancer["environment"].as_object().unwrap() {
        assert!(settings.contains(&format!("\"${{{variable}}}\"")), "{variable}");
    }
    for file in [&compose["x-node"]["build"]["dockerfile"], &json!("examples/cluster/haproxy.cfg")] {
        assert!(root().join(file.as_str().unwrap()).exists(), "{file}");
    }
}

/// HAProxy with the settings of the example, in front of two servers.
struct Balancer {
    address: SocketAddr,
    _process: Killed,
}

impl Balancer {
    fn start(nodes: [SocketAddr; 2]) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = Command::new(haproxy())
            .arg("-f")
            .arg(example("haproxy.cfg"))
            .env("BALANCER_LISTEN", address.to_string())
            .env("NODE_1", nodes[0].to_string())
            .env("NODE_2", nodes[1].to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        let process = Killed(process.unwrap());
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < until, "the balancer listens");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { address, _process: process }
    }
}

fn haproxy() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where Debian has it, which is not on the path of everybody.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let found = folders.map(|folder| folder.join("haproxy")).find(|file| file.exists());
    found.unwrap_or_else(|| {
        panic!("this test needs HAProxy: scripts/test installs it (Debian's package is haproxy)")
    })
}

/// A client that goes on with another connection when one ends.
struct Client {
    wire: Wire,
    address: SocketAddr,
    token: String,
    socket: Socket,
}

impl Client {
    async fn open(wire: Wire, address: SocketAddr, token: &str) -> Self {
        let socket = Self::connect(wire, address, token).await;
        Self { wire, address, token: token.to_owned(), socket }
    }

    async fn connect(wire: Wire, address: SocketAddr, token: &str) -> Socket {
        let connected = timeout(PATIENCE, async {
            loop {
                if let Ok(mut socket) = Socket::open(wire, address, token).await
                    && socket.ask(0, "Resume", &json!({})).await.is_ok()
                {
                    return socket;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        connected.await.unwrap()
    }

    async fn comes_back(&mut self) {
        self.socket = Self::connect(self.wire, self.address, &self.token).await;
    }

    /// Says something; whether it was acknowledged.
    async fn says(&mut self, chat: &str, body: &str) -> bool {
        let params = json!({"chatId": chat, "body": body, "clientId": body.replace(' ', "-")});
        if self.socket.ask(7, "SendMessage", &params).await.is_err() {
            return false;
        }
        loop {
            match timeout(PATIENCE, self.socket.next()).await.unwrap() {
                Ok(Frame::Answer { id: 7, result }) => return result.map(|_| true).unwrap(),
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }

    /// Whether this comes before the socket ends.
    async fn hears(&mut self, body: &str) -> bool {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.unwrap() {
                Ok(Frame::Event { name, params })
                    if name == "messageCreated" && params["message"]["body"] == body =>
                {
                    return true;
                }
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }
}

/// What the first says the second hears, and the other way round.
async fn talk(clients: &mut [Client; 2], chat: &str, from: usize, to: usize) {
    for n in from..to {
        let [one, other] = clients;
        let (speaker, hearer) = if n % 2 == 0 { (one, other) } else { (other, one) };
        let body = format!("message {n}");
        assert!(speaker.says(chat, &body).await);
        assert!(hearer.hears(&body).await);
    }
}

#[test]
fn clients_of_both_kinds_talk_over_the_balancer_of_the_example_and_go_on_when_a_node_is_gone() {
    let store = TestStore::postgres();
    block_on(async {
        let redis = RedisServer::start().await;
        let start = || {
            let command = &mut store.command_for_load();
            Server::start(command.args(["--redis-url", &redis.url(), "--trusted-proxies", "1"]))
        };
        let servers = [start(), start()];
        let group = Group::of(&servers[0], &["ada", "bob"]);
        let balancer = Balancer::start(servers.each_ref().map(|server| server.address));
        let mut clients = [
            Client::open(Wire::WebSocket, balancer.address, &group.tokens[0]).await,
            Client::open(Wire::SignalR, balancer.address, &group.tokens[1]).await,
        ];
        talk(&mut clients, &group.chat, 0, 10).await;

        let [first, second] = servers;
        drop(first);
        for client in &mut clients {
            while !client.says(&group.chat, "still here").await {
                client.comes_back().await;
            }
        }
        talk(&mut clients, &group.chat, 10, 20).await;
        let bodies: Vec<_> =
            group.history(&second).into_iter().map(|message| message["body"].clone()).collect();
        for n in 0..20 {
            assert_eq!(
                bodies.iter().filter(|body| **body == format!("message {n}")).count(),
                1,
                "{bodies:?}"
            );
        }
    });
}

#[test]
fn a_negotiation_finds_its_node_again_over_the_balancer() {
    let store = TestStore::postgres();
    let servers = [store.start(), store.start()];
    let balancer = Balancer::start(servers.each_ref().map(|server| server.address));
    for person in 0..6 {
        let token = servers[0].register(&format!("person{person}"));
        let mut http = support::Client::connect(balancer.address);
        http.send(&format!(
            "POST /api/v1/hub/negotiate?negotiateVersion=1 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
             Authorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n"
        ));
        let answer = http.answer();
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let id = answer.json()["connectionToken"].as_str().unwrap().to_owned();
        let address = balancer.address;
        block_on(async {
            let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
            // As browsers do, which can't set headers here.
            let url = format!("ws://{address}/api/v1/hub?id={id}&access_token={token}");
            tokio_tungstenite::client_async(url, tcp).await.unwrap();
        });
    }
}

#[test]
fn metrics_do_not_come_out_of_the_balancer() {
    let server = Server::in_memory([]);
    let balancer = Balancer::start([server.address; 2]);
    for (path, status) in [("/metrics", 404), ("/health/ready", 200)] {
        assert_eq!(get(balancer.address, path), Some(status));
    }
}

fn get(address: SocketAddr, path: &str) -> Option<u16> {
    TcpStream::connect(address).ok()?;
    let mut http = support::Client::connect(address);
    http.send(&format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"));
    Some(http.answer().status())
}

/// What `scripts/cluster` says of a part: its address, and its process if it names one.
fn part(line: &str) -> (SocketAddr, Option<i32>) {
    let (_, rest) = line.split_once("://").unwrap();
    let address = rest.split(' ').next().unwrap().parse().unwrap();
    let process =
        rest.split_once("(process ").map(|(_, rest)| rest.split([',', ')']).next().unwrap().parse().unwrap());
    (address, process)
}

#[test]
fn the_script_starts_what_it_says_and_ends_all_of_it() {
    let mut script = Command::new(root().join("scripts/cluster"));
    script.arg("3").env("MESSENGER_SERVER_BIN", env!("CARGO_BIN_EXE_messenger-server"));
    let mut script = Killed(script.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap());
    let mut said = BufReader::new(script.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let says: Vec<String> = said.by_ref().take_while(|line| line != "To try:").collect();
    let parts = |name: &str| {
        let lines = says.iter().filter(|line| line.starts_with(name));
        lines.map(|line| part(line)).collect::<Vec<_>>()
    };
    let (nodes, redis, all) = (parts("node "), parts("Redis "), parts("all "));
    assert_eq!((nodes.len(), redis.len(), all.len()), (3, 1, 1), "{says:#?}");
    for (address, _) in nodes.iter().chain(&all) {
        let until = Instant::now() + PATIENCE;
        while get(*address, "/health/ready") != Some(200) {
            assert!(Instant::now() < until, "{address} is ready");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    signal(nodes[0].1.unwrap(), Signal::KILL);
    for _ in 0..10 {
        assert_eq!(get(all[0].0, "/health/ready"), Some(200));
    }
    signal(redis[0].1.unwrap(), Signal::STOP);
    signal(script.0.id() as i32, Signal::INT);
    let until = Instant::now() + PATIENCE;
    while script.0.try_wait().unwrap().is_none() {
        assert!(Instant::now() < until, "the script ends");
        std::thread::sleep(Duration::from_millis(50));
    }
    for (address, _) in nodes.iter().chain(&redis).chain(&all) {
        assert!(TcpStream::connect(address).is_err(), "nobody is at {address} any more");
    }
}

#[test]
fn the_script_says_what_it_does_not_understand() {
    for arguments in [&["0"][..], &["many"], &["17"], &["2", "3"]] {
        let output = Command::new(root().join("scripts/cluster")).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8(output.stderr).unwrap().contains("--help"));
    }
}

fn signal(process: i32, signal: Signal) {
    kill_process(Pid::from_raw(process).unwrap(), signal).unwrap();
}
