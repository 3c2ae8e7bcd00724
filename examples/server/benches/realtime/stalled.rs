//! A client of the SignalR hub that asks for streams and reads nothing of them, by each transport.

use std::{net::SocketAddr, time::Duration};

use messenger_core::ChatId;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::{
    Result,
    client::Client,
    http::{Http, connect_small, head, request},
};

/// How it gets what the hub sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    WebSockets,
    /// Whose way is lost when the streams are asked for, and that may come back.
    LostWebSocket,
    ServerSentEvents,
    LongPolling,
}

/// What has to stay open.
#[expect(dead_code, reason = "it is only held")]
pub(crate) enum Stalled {
    Socket(Client),
    /// The answer, and what was posted by.
    Stream(TcpStream, Http),
    Gone,
}

/// After asking, before its way is lost.
const A_MOMENT: Duration = Duration::from_millis(500);

impl Transport {
    pub(crate) const ALL: [Self; 4] =
        [Self::WebSockets, Self::LostWebSocket, Self::ServerSentEvents, Self::LongPolling];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::WebSockets => "WebSockets",
            Self::LostWebSocket => "lost stateful WebSocket",
            Self::ServerSentEvents => "Server-Sent Events",
            Self::LongPolling => "long polling",
        }
    }

    /// Opens so many streams of this chat's history.
    pub(crate) async fn stall(
        self,
        address: SocketAddr,
        token: &str,
        chat: ChatId,
        streams: usize,
    ) -> Result<Stalled> {
        let asks: String = (0..streams).map(|number| stream_history(number, chat)).collect();
        match self {
            Self::WebSockets => {
                let mut client = Client::connect_small(address, "/api/v1/hub", token).await?;
                shake_hands(&mut client, 1).await?;
                client.send(&[asks.into_bytes()], false).await?;
                Ok(Stalled::Socket(client))
            }
            Self::LostWebSocket => {
                let id = negotiate(&mut Http::new(address, token), "&useStatefulReconnect=true").await?;
                let mut client =
                    Client::connect_small(address, &format!("/api/v1/hub?id={id}"), token).await?;
                shake_hands(&mut client, 2).await?;
                client.send(&[asks.into_bytes()], false).await?;
                tokio::time::sleep(A_MOMENT).await;
                Ok(Stalled::Gone)
            }
            Self::ServerSentEvents => {
                let mut http = Http::new(address, token);
                let path = format!("/hub?id={}", negotiate(&mut http, "").await?);
                let mut events = connect_small(address).await?;
                let get = request(address, token, "GET", &path, "");
                events.write_all(&accepting_events(&get)).await?;
                head(&mut events).await?;
                post(&mut http, &path, HELLO).await?;
                post(&mut http, &path, &asks).await?;
                Ok(Stalled::Stream(events, http))
            }
            Self::LongPolling => {
                let mut http = Http::new(address, token);
                let path = format!("/hub?id={}", negotiate(&mut http, "").await?);
                // The first poll only says that there is one, the second one brings the answer to the handshake.
                let mut polls = Http::new(address, token);
                polls.ask("GET", &path, "").await?;
                post(&mut http, &path, HELLO).await?;
                polls.ask("GET", &path, "").await?;
                post(&mut http, &path, &asks).await?;
                let mut poll = connect_small(address).await?;
                poll.write_all(&request(address, token, "GET", &path, "")).await?;
                Ok(Stalled::Stream(poll, http))
            }
        }
    }
}

const HELLO: &str = "{\"protocol\":\"json\",\"version\":1}\u{1e}";

fn stream_history(number: usize, chat: ChatId) -> String {
    format!(
        "{{\"type\":4,\"invocationId\":\"{number}\",\"target\":\"StreamHistory\",\"arguments\":[{{\"chatId\":\"{chat}\"}}]}}\u{1e}"
    )
}

async fn shake_hands(client: &mut Client, version: u8) -> Result {
    let hello = format!("{{\"protocol\":\"json\",\"version\":{version}}}\u{1e}");
    client.send(&[hello.into_bytes()], false).await?;
    let mut answered = false;
    while !answered {
        client.receive(|_| answered = true).await?;
    }
    Ok(())
}

async fn negotiate(http: &mut Http, more: &str) -> Result<String> {
    let (status, body) = http.ask("POST", &format!("/hub/negotiate?negotiateVersion=1{more}"), "").await?;
    let offer: serde_json::Value = serde_json::from_slice(&body)?;
    let token = offer["connectionToken"].as_str().map(str::to_owned);
    token.ok_or_else(|| format!("the negotiation was answered with {status}, {offer}").into())
}

async fn post(http: &mut Http, path: &str, records: &str) -> Result {
    match http.ask("POST", path, records).await? {
        (200..=299, _) => Ok(()),
        (status, body) => {
            Err(format!("a post was answered with {status}, {}", String::from_utf8_lossy(&body)).into())
        }
    }
}

fn accepting_events(request: &[u8]) -> Vec<u8> {
    let request = String::from_utf8_lossy(request);
    request.replacen("\r\n", "\r\nAccept: text/event-stream\r\n", 1).into_bytes()
}
