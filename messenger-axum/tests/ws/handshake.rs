//! Who may open a socket, and how.

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{
    client_async,
    tungstenite::{Error, client::IntoClientRequest as _},
};

use crate::support::{ID, PATIENCE, Person, Server, Socket};

/// Opens a socket with this query and this header; the problem if that is refused.
async fn open(server: &Server, query: &str, authorization: &str) -> Result<Socket, (u16, Value)> {
    let url = format!("ws://{}/api/v1/ws{query}", server.address);
    let mut request = url.into_client_request().unwrap();
    if !authorization.is_empty() {
        request.headers_mut().insert("authorization", authorization.parse().unwrap());
    }
    let tcp = TcpStream::connect(server.address).await.unwrap();
    match client_async(request, tcp).await {
        Ok((stream, _)) => Ok(Socket::of(stream)),
        Err(Error::Http(response)) => {
            let (head, body) = response.into_parts();
            assert_eq!(head.headers["content-type"], "application/problem+json");
            let problem: Value = serde_json::from_slice(&body.unwrap()).unwrap();
            assert_eq!(problem["status"], head.status.as_u16());
            assert_eq!(problem["requestId"], head.headers["x-request-id"].to_str().unwrap());
            Err((head.status.as_u16(), problem))
        }
        Err(error) => panic!("{error}"),
    }
}

/// Sends a request as it is, and answers with status and problem.
async fn plain(server: &Server, request: &str) -> (u16, Value) {
    let mut tcp = TcpStream::connect(server.address).await.unwrap();
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, tcp.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
}

async fn is_of(socket: &mut Socket, person: &Person) {
    assert_eq!(socket.ok("GetMe", json!({})).await["id"], person.id);
}

#[tokio::test]
async fn the_token_is_in_the_header_or_in_the_query() {
    let server = Server::new().await;
    let ada = server.register("ada").await;
    let (query, header) = (format!("?access_token={}", ada.token), format!("Bearer {}", ada.token));
    let among_others = format!("?v=1&access_token={}&x=%20", ada.token);
    for (query, header) in [
        (query.as_str(), ""),
        (&among_others, ""),
        ("", &header),
        ("", &header.replace("Bearer", "bearer")),
        // Such as a proxy in front may ask for.
        (&query, "Basic YWRhOmFkYQ=="),
    ] {
        is_of(&mut open(&server, query, header).await.unwrap(), &ada).await;
    }
}

#[tokio::test]
async fn nobody_else_gets_in() {
    let server = Server::new().await;
    let ada = server.register("ada").await;
    ada.call("LogOut", json!({})).await;
    let (old_query, old_header) = (format!("?access_token={}", ada.token), format!("Bearer {}", ada.token));
    for (query, header) in [
        ("", ""),
        ("?access_token=", ""),
        ("?access_token=%00", ""),
        ("?access_token=wrong", ""),
        ("?token=wrong", ""),
        ("", "Bearer"),
        ("", "Bearer wrong"),
        ("", "Bearer \u{e9}"),
        ("", &format!("Bearer {ID}")),
        (&old_query, ""),
        ("", &old_header),
    ] {
        let Err((status, problem)) = open(&server, query, header).await else { panic!("{query} {header}") };
        assert_eq!((status, &problem["code"]), (401, &json!("unauthenticated")), "{query} {header}");
        let text = problem.to_string();
        assert!(!text.contains("wrong") && !text.contains(&ada.token), "{text}");
    }
    server.has_connections(0).await;
}

#[tokio::test]
async fn a_request_that_is_no_handshake_is_told_so() {
    let server = Server::new().await;
    let ada = server.register("ada").await;
    let request = |method: &str, more: &str| {
        format!(
            "{method} /api/v1/ws HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
             Authorization: Bearer {}\r\n{more}\r\n",
            ada.token
        )
    };
    let (status, problem) = plain(&server, &request("GET", "")).await;
    assert_eq!((status, &problem["code"]), (400, &json!("malformed")));
    assert!(problem["detail"].as_str().unwrap().contains("WebSocket"), "{problem}");
    let (status, problem) = plain(&server, &request("POST", "Content-Length: 0\r\n")).await;
    assert_eq!((status, &problem["code"]), (405, &json!("methodNotAllowed")));
    for bad in [
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: nonsense\r\n",
        "Upgrade: websocket\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "Upgrade: h2c\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    ] {
        let request = request("GET", bad).replace("Connection: close", "Connection: close, upgrade");
        let (status, problem) = plain(&server, &request).await;
        assert_eq!((status, &problem["code"]), (400, &json!("malformed")), "{bad}");
    }
    server.has_connections(0).await;
}

#[tokio::test]
async fn a_node_that_ends_takes_no_more_sockets() {
    let server = Server::new().await;
    let ada = server.register("ada").await;
    server.messenger.drain();
    let Err((status, problem)) = open(&server, &format!("?access_token={}", ada.token), "").await else {
        panic!("it was opened")
    };
    assert_eq!((status, &problem["code"]), (503, &json!("unavailable")));
}

#[tokio::test]
async fn one_person_has_only_so_many_sockets() {
    let server =
        Server::with_hub(messenger_core::hub::HubSettings { connections_of_one: 2, ..Default::default() })
            .await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let (first, _second) = (ada.connect().await, ada.connect().await);
    let query = format!("?access_token={}", ada.token);
    let Err((status, problem)) = open(&server, &query, "").await else { panic!("it was opened") };
    assert_eq!((status, &problem["code"]), (429, &json!("rateLimited")));
    bob.connect().await;
    drop(first);
    server.has_connections(1).await;
    is_of(&mut open(&server, &query, "").await.unwrap(), &ada).await;
}
