//! The SignalR endpoint, `/hub`: the chat as a hub.

mod history;

use std::{
    borrow::Cow,
    hash::{Hash, Hasher},
    sync::Arc,
};

use async_trait::async_trait;
use axum::{
    Router,
    middleware::map_response,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use messenger_core::{
    Actor, Error, Event, Result, Signal,
    hub::{Delivery, Ending, FrameEncoder},
};
use tokio::sync::Semaphore;

use crate::{
    door::Door,
    encoding::Encoding,
    fields::Fields,
    operation::Answer,
    problem::{Problem, Refusal},
    sockets::{
        Sockets,
        caller::{Called, Caller, has_method},
        origin,
    },
};
use history::{Reader, Readers};
use messenger_signalr::{
    Close, Hub, HubClient, HubError, HubMethod, HubRequest, Invocation, Invoked, Payload, Protocol, Push,
    Refused,
};
use messenger_socket::Account;

/// Encodes events as invocations, in each protocol.
static JSON: FrameEncoder = FrameEncoder::new(|event| encode(Protocol::Json, event));
static MESSAGE_PACK: FrameEncoder = FrameEncoder::new(|event| encode(Protocol::MessagePack, event));

/// How many requests may be refused for their rate before the connection is closed; each accepted request offsets one.
const REFUSALS: u32 = 200;

/// The routes of the hub.
pub(crate) fn routes(Sockets { door, unsent }: &Sockets) -> Router<Door> {
    let options = door.options.signalr.clone();
    let hub = ChatHub { door: door.clone(), readers: Arc::default() };
    let hub = messenger_signalr::router_counted_in(hub, options, Arc::clone(unsent));
    let hub = hub.layer(map_response(as_problem));
    Router::new().nest("/hub", hub)
}

/// Gives refusals the same form as those of all other routes.
async fn as_problem(response: Response) -> Response {
    match response.extensions().get::<Refused>() {
        Some(Refused { status, text }) => Problem::from(Refusal::Hub(*status, text)).into_response(),
        None => response,
    }
}

struct ChatHub {
    door: Door,
    readers: Arc<Readers>,
}

/// A logged-in person, whatever the session.
#[derive(Debug, Clone)]
struct Person(Actor);

impl PartialEq for Person {
    fn eq(&self, other: &Self) -> bool {
        // An anonymous caller can't log in here, so there are always two people to compare.
        matches!((self.0.user(), other.0.user()), (Ok(one), Ok(two)) if one == two)
    }
}

impl Eq for Person {}

impl Hash for Person {
    /// Hashes a person as the other sockets do.
    fn hash<S: Hasher>(&self, state: &mut S) {
        self.0.user().ok().hash(state);
    }
}

#[async_trait]
impl Hub for ChatHub {
    type User = Person;
    type Client = Client;

    async fn authenticate(&self, request: HubRequest<'_>) -> Result<Person, Response> {
        let who = async {
            origin::check(request.parts, &self.door.options)?;
            // Otherwise a client that was just told to go away would come back to the same node.
            if request.begins && self.door.messenger.stopping().now_or_never().is_some() {
                return Err(Error::unavailable());
            }
            self.door.log_in(request.parts, request.token, request.begins).await
        };
        let who = tokio::time::timeout(self.door.timeout(), who).await;
        who.unwrap_or_else(|late| Err(Error::Unavailable(Some(late.into()))))
            .map(Person)
            .map_err(|error| Problem::report(&error).into_response())
    }

    fn method(&self, name: &str) -> Option<HubMethod> {
        if name.eq_ignore_ascii_case(STREAM_HISTORY) {
            return Some(HubMethod { streaming: true, uploads: 0 });
        }
        has_method(name).then(HubMethod::default)
    }

    async fn connect(&self, person: Person, caller: messenger_signalr::Caller) -> Result<Client, HubError> {
        let connection = self.door.messenger.connect(&person.0).await.map_err(|error| match error {
            Error::Unavailable(_) => HubError::Unavailable,
            error => told(&error),
        })?;
        let protocol = caller.protocol();
        let account = Arc::clone(caller.account());
        let caller = Caller { door: self.door.clone(), connection };
        let readers = Arc::clone(&self.readers);
        Ok(Client { caller, readers, account, protocol, page: None, refusals: 0, ending: None })
    }
}

/// A connection to the chat.
struct Client {
    caller: Caller,
    readers: Arc<Readers>,
    account: Arc<Account>,
    /// The permit for the one page of a history that may wait here; only used by streams.
    page: Option<Arc<Semaphore>>,
    protocol: Protocol,
    refusals: u32,
    ending: Option<Close>,
}

impl HubClient for Client {
    async fn invoke(&mut self, invocation: Invocation<'_>) -> Invoked {
        let json = match &*invocation.arguments {
            [] => Cow::Borrowed(&b""[..]),
            [fields] => match fields.json() {
                Ok(json) => json,
                Err(error) => return refused(&invocation, &Error::Malformed(error.to_string())),
            },
            more => return Invoked::Done(Err(HubError::arguments(more.len(), 1))),
        };
        // Absent and null mean the same.
        let json = if *json == *b"null" { &[] } else { &*json };
        if invocation.target.eq_ignore_ascii_case(STREAM_HISTORY) {
            return match self.caller.admit() {
                Ok(()) => self.stream_history(json),
                Err(error) => self.too_often(&invocation, &error),
            };
        }
        let called = self.caller.call(invocation.target, json, encoding(self.protocol)).await;
        if let Called::TooOften(error) = called {
            return self.too_often(&invocation, &error);
        }
        self.refusals = self.refusals.saturating_sub(1);
        match called {
            Called::Done(answer) => Invoked::Done(value(answer)),
            Called::Work(work, start) => {
                Invoked::Staged(Box::pin(async move { work.await.map(value) }), start)
            }
            // The hub has already looked up the name.
            Called::NoSuchMethod | Called::TooOften(_) => Invoked::Done(Err(HubError::Internal)),
        }
    }

    async fn next(&mut self) -> Push {
        loop {
            if let Some(close) = self.ending.take() {
                return Push::End(close);
            }
            let signal = self.caller.connection.next().await;
            if let Some(push) = self.push(signal) {
                return push;
            }
        }
    }

    fn try_next(&mut self) -> Option<Push> {
        if let Some(close) = self.ending.take() {
            return Some(Push::End(close));
        }
        loop {
            let signal = self.caller.connection.try_next()?;
            if let Some(push) = self.push(signal) {
                return Some(push);
            }
        }
    }
}

impl Client {
    fn push(&self, signal: Signal) -> Option<Push> {
        let (error, allow_reconnect, answers_first) = match signal {
            Signal::Event(delivery) => {
                let message = message(self.protocol, &delivery);
                // An event that could not be encoded is not sent.
                return (!message.is_empty()).then_some(Push::Message(message));
            }
            // The protocol has its own pings.
            Signal::Ping => return None,
            Signal::End(Ending::GoingAway) => (None, true, true),
            // The client may come back with another token.
            Signal::End(Ending::SessionEnded) => (Some("The session has ended."), true, true),
            Signal::End(Ending::TooFarBehind) => {
                (Some("Too far behind; connect again and resume."), true, false)
            }
            // For any ending added later: the client connects again.
            Signal::End(_) => (None, true, true),
            _ => return None,
        };
        Some(Push::End(Close { error: error.map(Cow::Borrowed), allow_reconnect, answers_first }))
    }

    fn too_often(&mut self, invocation: &Invocation<'_>, error: &Error) -> Invoked {
        self.refusals += 1;
        if self.refusals > REFUSALS {
            let error = Some(Cow::Borrowed("Too many requests."));
            self.ending = Some(Close { error, allow_reconnect: false, answers_first: false });
        }
        refused(invocation, error)
    }

    /// Streams every message of a chat after one seq and before another, oldest first.
    fn stream_history(&mut self, json: &[u8]) -> Invoked {
        self.caller.connection.go_live();
        let reader = Reader {
            messenger: self.caller.door.messenger.clone(),
            readers: Arc::clone(&self.readers),
            actor: *self.caller.connection.actor(),
            protocol: self.protocol,
            account: Arc::clone(&self.account),
            turn: Arc::clone(self.page.get_or_insert_with(|| Arc::new(Semaphore::new(1)))),
        };
        match Fields::of_json(&[], json).read() {
            Ok(range) => Invoked::Stream(reader.stream(range).map_err(|error| told(&error)).boxed()),
            Err(error) => Invoked::Stream(stream::iter([Err(told(&error))]).boxed()),
        }
    }
}

/// Streams the messages of a chat; not a command or query, because those have one result.
const STREAM_HISTORY: &str = "StreamHistory";

/// The refusal of an invocation that has not begun, as a result or a stream, whichever was asked for.
fn refused(invocation: &Invocation<'_>, error: &Error) -> Invoked {
    let error = Err(told(error));
    if invocation.target.eq_ignore_ascii_case(STREAM_HISTORY) {
        Invoked::Stream(stream::iter([error]).boxed())
    } else {
        Invoked::Done(error)
    }
}

fn value(answer: Result<Answer>) -> Result<Payload, HubError> {
    match answer {
        Ok(answer) => Ok(answer.value().cloned().map_or(Ok(Payload::void()), Payload::encoded)?),
        Err(error) => Err(told(&error)),
    }
}

const fn encoding(protocol: Protocol) -> Encoding {
    match protocol {
        Protocol::Json => Encoding::Json,
        Protocol::MessagePack => Encoding::MessagePack,
    }
}

/// The error as clients see it: `code: detail`.
fn told(error: &Error) -> HubError {
    let problem = Problem::report(error);
    match error {
        Error::Internal(_) => HubError::Internal,
        _ => HubError::exception(format!("{}: {}", problem.code(), problem.detail())),
    }
}

/// An event in a protocol; encoded once for all connections.
fn message(protocol: Protocol, delivery: &Delivery) -> Bytes {
    delivery.frame(match protocol {
        Protocol::Json => &JSON,
        Protocol::MessagePack => &MESSAGE_PACK,
    })
}

fn encode(protocol: Protocol, event: &Event) -> Bytes {
    // Domain types can always be encoded.
    protocol.invocation(event.name(), &event.payload()).unwrap_or_else(|error| {
        tracing::error!(event = event.name(), %error, "an event could not be encoded");
        Bytes::new()
    })
}
