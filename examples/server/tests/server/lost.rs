//! Clients of the hub whose way to the server is dead without anybody being told, with the times that are set by
//! default.

use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures::{SinkExt as _, StreamExt as _};
use messenger_testing::Relay;
use serde_json::{Value, json};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use crate::{
    live::Socket,
    support::{Client, PATIENCE, Server},
};

const HANDSHAKE: &str = "{\"protocol\":\"json\",\"version\":1}\u{1e}";
/// The server misses a client after 50 s at most, and says so 5 s later; it looks every second.
const MISSED: Duration = Duration::from_secs(50 + 5 + 2);

#[test]
fn who_is_lost_before_the_first_ping_goes_offline() {
    let server = Server::in_memory([]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let relay = runtime.block_on(Relay::to(&server.address.to_string()));
    let people = ["ada", "bob", "eve"].map(|name| server.register(name));
    let [ada, bob, eve] = &people;
    let ids = [bob, eve]
        .map(|token| server.request("GET", "/api/v1/users/me", Some(token), None).json()["id"].clone());
    let mut watching = runtime.block_on(Socket::open(server.address, ada)).unwrap();

    let _bobs = runtime.block_on(over_a_web_socket(relay.address(), bob));
    let _eves = over_an_event_stream(&server, relay.address(), eve);
    while online(&runtime, &mut watching, &ids) != [true, true] {}
    relay.stall();
    let began = Instant::now();
    while online(&runtime, &mut watching, &ids) != [false, false] {
        assert!(began.elapsed() < MISSED + PATIENCE, "they are still online");
        std::thread::sleep(Duration::from_millis(200));
    }
}

async fn over_a_web_socket(address: SocketAddr, token: &str) -> WebSocketStream<tokio::net::TcpStream> {
    let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    let url = format!("ws://{address}/api/v1/hub?access_token={token}");
    let mut socket = client_async(url, tcp).await.unwrap().0;
    socket.send(Message::text(HANDSHAKE)).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("{}\u{1e}"));
    socket
}

/// What it says goes past the dead way, which is as good as not at all once it has said its handshake.
fn over_an_event_stream(server: &Server, address: SocketAddr, token: &str) -> Client {
    let offer = server.request("POST", "/api/v1/hub/negotiate?negotiateVersion=1", Some(token), None);
    let path = format!("/api/v1/hub?id={}", offer.json()["connectionToken"].as_str().unwrap());
    let head = |method, length| {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n\
             Authorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let mut events = Client::connect(address);
    events.send(&head("GET", 0));
    let mut shake = server.connect();
    shake.send(&head("POST", HANDSHAKE.len()));
    shake.0.write_all(HANDSHAKE.as_bytes()).unwrap();
    assert_eq!(shake.answer().status(), 200);
    let mut heard = String::new();
    while !heard.contains("data: {}\u{1e}") {
        let mut bytes = [0; 1024];
        let count = events.0.read(&mut bytes).unwrap();
        assert!(count > 0, "{heard}");
        heard.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
    }
    events
}

fn online(runtime: &tokio::runtime::Runtime, watching: &mut Socket, ids: &[Value; 2]) -> [bool; 2] {
    runtime.block_on(async {
        watching.say(1, "WatchPresence", &json!({"userIds": ids})).await.unwrap();
        loop {
            let frame = watching.hear().await.unwrap();
            if frame["id"] == 1 {
                let items = &frame["result"]["items"];
                return [0, 1].map(|place| {
                    let item = items.as_array().unwrap().iter().find(|item| item["userId"] == ids[place]);
                    item.unwrap()["online"].as_bool().unwrap()
                });
            }
        }
    })
}
