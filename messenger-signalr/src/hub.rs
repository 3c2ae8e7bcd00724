//! The traits that a host implements: the hub, and its state for each client.

use std::{borrow::Cow, hash::Hash};

use async_trait::async_trait;
use axum::response::Response;
use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};
use http::request::Parts;

use super::{
    caller::Caller,
    error::HubError,
    protocol::{Argument, Payload},
    uploads::Upload,
};
use messenger_socket::{Placed, StartAfter};

/// The hub that clients connect to.
///
/// There is one hub, and a [`HubClient`] for each connection, which is dropped when the connection ends. The runnable
/// `examples/hub.rs` of this crate is a complete hub.
#[async_trait]
pub trait Hub: Send + Sync + 'static {
    /// The identity of a client.
    type User: Clone + Eq + Hash + Send + Sync + 'static;
    /// The state of a connection.
    type Client: HubClient;

    /// Authenticates the caller, or returns the response for one who is not allowed. Called first for each request; all
    /// requests of one connection must have the same user.
    ///
    /// `token` is from `Authorization: Bearer`, or from `access_token` in the query, where browsers put it.
    async fn authenticate(&self, request: HubRequest<'_>) -> Result<Self::User, Response>;

    /// Finds the method with this name, which clients may write in any case.
    fn method(&self, name: &str) -> Option<HubMethod>;

    /// A client has completed its handshake. On an error the connection is ended.
    async fn connect(&self, user: Self::User, caller: Caller) -> Result<Self::Client, HubError>;
}

/// A request to authenticate.
#[derive(Debug, Clone, Copy)]
pub struct HubRequest<'r> {
    /// The request without its body.
    pub parts: &'r Parts,
    /// The token that came with it.
    pub token: Option<&'r str>,
    /// Whether it begins something, such as a connection, and is not one of the many requests that carry a connection.
    pub begins: bool,
}

/// The state of one connection: it runs the client's invocations and supplies messages for the client.
pub trait HubClient: Send + 'static {
    /// Starts an invocation. The next invocation is not started before this has returned, nor, unless it is a stream,
    /// before the work is done or [placed](Invoked::Staged); so invocations of one connection take effect in the order
    /// in which they were sent.
    fn invoke(&mut self, invocation: Invocation<'_>) -> impl Future<Output = Invoked> + Send;

    /// Waits for the next message for the client. Dropping the future must lose nothing.
    fn next(&mut self) -> impl Future<Output = Push> + Send;

    /// The next message, if there is one without waiting: so that available messages are sent together.
    fn try_next(&mut self) -> Option<Push>;
}

/// The properties of a method of the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HubMethod {
    /// Whether its result is a stream.
    pub streaming: bool,
    /// How many streams it takes from the client.
    pub uploads: usize,
}

/// A call of a client. `target` is a method of the hub, of the requested kind, and the call comes with as many streams
/// as the method takes.
#[derive(Debug)]
pub struct Invocation<'r> {
    /// The name of the method, as the client writes it.
    pub target: &'r str,
    /// The arguments, except streams.
    pub arguments: Vec<Argument<'r>>,
    /// The client's streams, in order.
    pub uploads: Vec<Upload>,
}

impl Invocation<'_> {
    /// The only argument of a method with one argument.
    ///
    /// # Errors
    /// [`HubError::arguments`] if there are more or fewer.
    pub fn argument(&self) -> Result<&Argument<'_>, HubError> {
        match &*self.arguments {
            [one] => Ok(one),
            others => Err(HubError::arguments(others.len(), 1)),
        }
    }
}

/// The result of starting an invocation.
pub enum Invoked {
    /// A result that takes work, which starts when all earlier work is done. The next invocation waits for it.
    Work(BoxFuture<'static, Result<Payload, HubError>>),
    /// The same in two stages: once the work is [placed](Placed), later invocations can no longer overtake it, and the
    /// next one starts in the meantime.
    Staged(BoxFuture<'static, Placed<Result<Payload, HubError>>>, StartAfter),
    /// A result that is available at once.
    Done(Result<Payload, HubError>),
    /// Items; only from methods that are [streaming](HubMethod::streaming). The stream is polled only while something
    /// can be written to the client: work that must not wait for that, such as a database read, should run in a task of
    /// its own.
    Stream(BoxStream<'static, Result<Payload, HubError>>),
}

/// Something for a client.
#[derive(Debug)]
pub enum Push {
    /// An invocation in the client's protocol, from [`Protocol::invocation`](super::Protocol::invocation): many clients
    /// may share the bytes.
    Message(Bytes),
    /// Ends the connection.
    End(Close),
}

/// How a hub ends a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// The error that the client is told.
    pub error: Option<Cow<'static, str>>,
    /// Whether a client with automatic reconnect should reconnect.
    pub allow_reconnect: bool,
    /// Whether running invocations are still answered, for at most 5 s.
    pub answers_first: bool,
}
