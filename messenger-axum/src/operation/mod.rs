//! Operations: each has one name, a REST route, and a method on both kinds of socket.

mod access;
mod download;
mod form;
mod mailed;
mod passwords;
mod pieces;
mod success;
mod table;

use std::marker::PhantomData;

use futures::{FutureExt as _, future, future::BoxFuture};
use http::Method;
use messenger_core::{Actor, Begun, Command, Error, ErrorCode, Messenger, Query};
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use crate::{client::Client, door::Door, fields::Fields, openapi::Described};

pub(crate) use access::Access;
pub(crate) use download::ExportMe;
pub(crate) use form::{Answer, Writing};
pub(crate) use success::Success;
pub(crate) use table::operations;

use form::Form;

/// A command or query with its route.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    pub(crate) method: Method,
    /// The path below the router's mount point; parameters are named like the fields they fill.
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pub(crate) success: Success,
    /// The operation's own errors.
    pub(crate) errors: &'static [ErrorCode],
    pub(crate) input: Described,
    pub(crate) output: Option<Described>,
    /// Whether it changes nothing, so that it can be repeated.
    pub(crate) only_reads: bool,
    /// Whether it need not see the effects of earlier requests on the same socket, and takes its place behind them in
    /// the queue for the next commit. Many such requests can be in progress at once.
    #[cfg(any(feature = "ws", feature = "signalr"))]
    pub(crate) overlaps: bool,
    /// Whether it takes a turn of another kind by itself.
    pub(crate) has_own_turns: bool,
    /// `None` if it is a download, which REST alone has.
    run: Option<Run>,
}

/// Reads the fields when it is called; the rest is in the future, which borrows nothing, so that a socket can have many
/// in progress.
type Run = fn(&Door, &Call<'_>) -> BoxFuture<'static, Begun<Answer>>;

/// A caller and the fields of the request.
pub(crate) struct Call<'a> {
    pub(crate) actor: Actor,
    pub(crate) client: Client,
    /// The length of the body, or of what takes its place.
    pub(crate) bytes: usize,
    pub(crate) fields: Fields<'a>,
    pub(crate) writing: Writing,
}

impl Operation {
    /// Starts it. The fields are read before this returns, and the work begins with the first poll.
    pub(crate) fn run(&self, door: &Door, call: &Call<'_>) -> BoxFuture<'static, Begun<Answer>> {
        match self.run {
            Some(run) => run(door, call),
            None => future::ready(Begun::Done(Err(Error::NotFound("method")))).boxed(),
        }
    }

    /// Whether it answers with a file, in a stream.
    pub(crate) const fn is_download(&self) -> bool {
        self.run.is_none()
    }

    fn open(mut self) -> Self {
        self.access = Access::Anyone;
        self
    }

    /// Also for callers who are not logged in, on sockets and elsewhere.
    fn everywhere(mut self) -> Self {
        self.access = Access::Everywhere;
        self
    }

    fn overlapping(self) -> Self {
        #[cfg(any(feature = "ws", feature = "signalr"))]
        let operation = Self { overlaps: true, ..self };
        #[cfg(not(any(feature = "ws", feature = "signalr")))]
        let operation = self;
        operation
    }

    /// Makes this an operation that is counted apart.
    fn counted(mut self, run: Run) -> Self {
        self.run = Some(run);
        self
    }

    /// Makes this an operation that tries or sets a password, and takes a turn for that.
    fn on_passwords(mut self, run: Run) -> Self {
        self.run = Some(run);
        self.has_own_turns = true;
        self
    }
}

fn command<C>(method: Method, path: &'static str, form: impl Form<C::Output>) -> Operation
where
    C: Command + DeserializeOwned + ToSchema,
{
    operation::<OfCommand<C>, _>(method, path, form)
}

fn query<Q>(method: Method, path: &'static str, form: impl Form<Q::Output>) -> Operation
where
    Q: Query + DeserializeOwned + ToSchema,
{
    Operation { only_reads: true, ..operation::<OfQuery<Q>, _>(method, path, form) }
}

fn operation<A: Handler, F: Form<A::Output>>(method: Method, path: &'static str, _: F) -> Operation {
    Operation {
        name: A::NAME,
        method,
        path,
        access: Access::Session,
        success: F::SUCCESS,
        errors: A::ERRORS,
        input: Described::of::<A::Input>(),
        output: F::described(),
        only_reads: false,
        #[cfg(any(feature = "ws", feature = "signalr"))]
        overlaps: false,
        has_own_turns: false,
        run: Some(run::<A, F>),
    }
}

fn run<A: Handler, F: Form<A::Output>>(door: &Door, call: &Call<'_>) -> BoxFuture<'static, Begun<Answer>> {
    let input = match call.fields.read() {
        Ok(input) => input,
        Err(error) => return future::ready(Begun::Done(Err(error))).boxed(),
    };
    let (door, actor, writing) = (door.clone(), call.actor, call.writing);
    async move {
        let begun = A::begin(&door.messenger, actor, input).await;
        begun.and_then(move |output| F::answer(output, writing))
    }
    .boxed()
}

/// The common part of commands and queries in this module.
trait Handler: 'static {
    type Input: DeserializeOwned + ToSchema + Send;
    type Output: Send + 'static;
    const NAME: &'static str;
    const ERRORS: &'static [ErrorCode];

    fn begin(
        messenger: &Messenger,
        actor: Actor,
        input: Self::Input,
    ) -> impl Future<Output = Begun<Self::Output>> + Send;
}

struct OfCommand<C>(PhantomData<C>);

impl<C: Command + DeserializeOwned + ToSchema> Handler for OfCommand<C> {
    type Input = C;
    type Output = C::Output;
    const NAME: &'static str = C::NAME;
    const ERRORS: &'static [ErrorCode] = C::ERRORS;

    async fn begin(messenger: &Messenger, actor: Actor, input: C) -> Begun<C::Output> {
        messenger.begin(&actor, input).await
    }
}

struct OfQuery<Q>(PhantomData<Q>);

impl<Q: Query + DeserializeOwned + ToSchema> Handler for OfQuery<Q> {
    type Input = Q;
    type Output = Q::Output;
    const NAME: &'static str = Q::NAME;
    const ERRORS: &'static [ErrorCode] = Q::ERRORS;

    async fn begin(messenger: &Messenger, actor: Actor, input: Q) -> Begun<Q::Output> {
        Begun::Done(messenger.query(&actor, input).await)
    }
}
