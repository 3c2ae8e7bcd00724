//! What a host writes: the hub, and what it keeps of each client.

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

/// What clients connect to.
///
/// There is one hub and a [`HubClient`] for each connection; dropping that is how a hub learns of the end. The
/// runnable `examples/hub.rs` of this crate is a whole hub.
#[async_trait]
pub trait Hub: Send + Sync + 'static {
    /// Who a client is.
    type User: Clone + Eq + Hash + Send + Sync + 'static;
    /// What is kept of a connection.
    type Client: HubClient;

    /// Who asks, or the answer to who may not. It comes before anything else, with each request; all that belong to
    /// one connection must be of the same user.
    ///
    /// `token` is from `Authorization: Bearer`, or from `access_token` in the query, where browsers put it.
    async fn authenticate(&self, request: HubRequest<'_>) -> Result<Self::User, Response>;

    /// The method of this name, which clients may write in any case.
    fn method(&self, name: &str) -> Option<HubMethod>;

    /// A client has connected: its handshake is done. On an error the connection is ended.
    async fn connect(&self, user: Self::User, caller: Caller) -> Result<Self::Client, HubError>;
}

/// A request that is to be authenticated.
#[derive(Debug, Clone, Copy)]
pub struct HubRequest<'r> {
    /// The request without its body.
    pub parts: &'r Parts,
    /// The token that came with it.
    pub token: Option<&'r str>,
    /// Whether it begins something, such as a connection, and is not one of the many that carry it.
    pub begins: bool,
}

/// What is kept of one connection: it answers what the client asks and says what it is told.
pub trait HubClient: Send + 'static {
    /// Starts what the client asks for. The next invocation is not started before this has returned, nor, unless it
    /// is a stream, before the work is done or [placed](Invoked::Staged); so invocations of one connection take effect
    /// in the order in which they were sent.
    fn invoke(&mut self, invocation: Invocation<'_>) -> impl Future<Output = Invoked> + Send;

    /// What the client is to be told next. Dropping the future must lose nothing.
    fn next(&mut self) -> impl Future<Output = Push> + Send;

    /// The same, if it is known without waiting: so that what is there goes out together.
    fn try_next(&mut self) -> Option<Push>;
}

/// What a hub has under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HubMethod {
    /// Whether its result is a stream.
    pub streaming: bool,
    /// How many streams it takes from the client.
    pub uploads: usize,
}

/// What a client asks for. Its name is a method of the hub, of the kind that was asked for, and it brings as many
/// streams as the method takes.
#[derive(Debug)]
pub struct Invocation<'r> {
    /// The name of the method, as the client writes it.
    pub target: &'r str,
    /// What comes with it, streams apart.
    pub arguments: Vec<Argument<'r>>,
    /// The client's streams, in order.
    pub uploads: Vec<Upload>,
}

impl Invocation<'_> {
    /// The one argument of a method that has one.
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

/// What comes of an invocation.
pub enum Invoked {
    /// A result that takes work, which starts when all that was started before is done. The next invocation waits for it.
    Work(BoxFuture<'static, Result<Payload, HubError>>),
    /// The same in two stages: once the work is [placed](Placed), later invocations can't overtake it any more, and the
    /// next one is started meanwhile.
    Staged(BoxFuture<'static, Placed<Result<Payload, HubError>>>, StartAfter),
    /// A result that is there already.
    Done(Result<Payload, HubError>),
    /// Items; only from methods that are [streaming](HubMethod::streaming). They are asked for only while something can be
    /// written to the client: what must not wait for that, such as a read of a database, is best in a task of its own.
    Stream(BoxStream<'static, Result<Payload, HubError>>),
}

/// What a hub has for a client.
#[derive(Debug)]
pub enum Push {
    /// An invocation in the client's protocol, from [`Protocol::invocation`](super::Protocol::invocation): the bytes may be shared by many clients.
    Message(Bytes),
    /// The connection is to be ended.
    End(Close),
}

/// How a connection is ended by its hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// What the client is told.
    pub error: Option<Cow<'static, str>>,
    /// Whether a client that reconnects by itself should.
    pub allow_reconnect: bool,
    /// Whether what is under way is still answered, for at most 5 s.
    pub answers_first: bool,
}
