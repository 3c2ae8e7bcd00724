//! One operation is one name with three doors: its REST route, and its method on both kinds of socket.

mod form;
mod passwords;
mod table;

use std::marker::PhantomData;

use futures::{FutureExt as _, future, future::BoxFuture};
use http::Method;
use messenger_core::Result;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use crate::{
    door::Door,
    fields::Fields,
    openapi::Described,
    seam::{Actor, Command, Messenger, Query},
};

pub(crate) use form::{Answer, Success};
pub(crate) use table::operations;

use form::Form;

/// A command or query with its route.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    pub(crate) method: Method,
    /// Below where the router is mounted; parameters are called like the fields they fill.
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pub(crate) success: Success,
    pub(crate) input: Described,
    pub(crate) output: Option<Described>,
    run: Run,
}

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Also who is not logged in; not on sockets.
    Anyone,
    /// Who has a session.
    Session,
}

/// Reads the fields when it is called; the rest is in the future, which borrows nothing, so that a socket can have
/// many under way.
type Run = fn(&Door, &Actor, Fields<'_>) -> BoxFuture<'static, Result<Answer>>;

impl Operation {
    /// Starts it. The fields are read before this returns, and the work begins with the first poll.
    pub(crate) fn run(
        &self,
        door: &Door,
        actor: &Actor,
        fields: Fields<'_>,
    ) -> BoxFuture<'static, Result<Answer>> {
        (self.run)(door, actor, fields)
    }

    fn open(mut self) -> Self {
        self.access = Access::Anyone;
        self
    }

    fn run_by(mut self, run: Run) -> Self {
        self.run = run;
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
    operation::<OfQuery<Q>, _>(method, path, form)
}

fn operation<A: Ask, F: Form<A::Output>>(method: Method, path: &'static str, _: F) -> Operation {
    Operation {
        name: A::NAME,
        method,
        path,
        access: Access::Session,
        success: F::SUCCESS,
        input: Described::of::<A::Input>(),
        output: F::described(),
        run: run::<A, F>,
    }
}

fn run<A: Ask, F: Form<A::Output>>(
    door: &Door,
    actor: &Actor,
    fields: Fields<'_>,
) -> BoxFuture<'static, Result<Answer>> {
    let input = match fields.read() {
        Ok(input) => input,
        Err(error) => return future::ready(Err(error)).boxed(),
    };
    let (door, actor) = (door.clone(), actor.clone());
    async move { F::answer(A::ask(&door.messenger, &actor, input).await?) }.boxed()
}

/// What commands and queries have in common here.
trait Ask: 'static {
    type Input: DeserializeOwned + ToSchema + Send;
    type Output: Send;
    const NAME: &'static str;

    fn ask(
        messenger: &Messenger,
        actor: &Actor,
        input: Self::Input,
    ) -> impl Future<Output = Result<Self::Output>> + Send;
}

struct OfCommand<C>(PhantomData<C>);

impl<C: Command + DeserializeOwned + ToSchema> Ask for OfCommand<C> {
    type Input = C;
    type Output = C::Output;
    const NAME: &'static str = C::NAME;

    async fn ask(messenger: &Messenger, actor: &Actor, input: C) -> Result<C::Output> {
        messenger.execute(actor, input).await
    }
}

struct OfQuery<Q>(PhantomData<Q>);

impl<Q: Query + DeserializeOwned + ToSchema> Ask for OfQuery<Q> {
    type Input = Q;
    type Output = Q::Output;
    const NAME: &'static str = Q::NAME;

    async fn ask(messenger: &Messenger, actor: &Actor, input: Q) -> Result<Q::Output> {
        messenger.query(actor, input).await
    }
}
