//! One operation is one name with three doors: its REST route, and its method on both kinds of socket.

mod access;
mod form;
mod passwords;
mod pieces;
mod success;
mod table;

use std::{
    marker::PhantomData,
    sync::{Arc, atomic::AtomicBool},
};

use futures::{FutureExt as _, future, future::BoxFuture};
use http::Method;
use messenger_core::{Actor, Command, ErrorCode, Messenger, Query, Result};
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use crate::{client::Client, door::Door, fields::Fields, openapi::Described};

pub(crate) use access::Access;
pub(crate) use form::{Answer, Writing};
pub(crate) use success::Success;
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
    /// What it may answer besides, of its own.
    pub(crate) errors: &'static [ErrorCode],
    pub(crate) input: Described,
    pub(crate) output: Option<Described>,
    /// Whether it changes nothing, so that it can be asked again.
    pub(crate) only_reads: bool,
    /// Whether it takes a turn of another kind than most, by itself.
    pub(crate) has_own_turns: bool,
    run: Run,
}

/// Reads the fields when it is called; the rest is in the future, which borrows nothing, so that a socket can have
/// many under way.
type Run = fn(&Door, &Call<'_>) -> BoxFuture<'static, Result<Answer>>;

/// Who asks, and what.
pub(crate) struct Call<'a> {
    pub(crate) actor: Actor,
    pub(crate) client: Client,
    /// Of the body, or of what stands for it.
    pub(crate) bytes: usize,
    pub(crate) fields: Fields<'a>,
    pub(crate) writing: Writing,
    /// For a connection that may have many calls under way: set as soon as its next one may begin.
    pub(crate) placed: Option<Arc<AtomicBool>>,
}

impl Operation {
    /// Starts it. The fields are read before this returns, and the work begins with the first poll.
    pub(crate) fn run(&self, door: &Door, call: &Call<'_>) -> BoxFuture<'static, Result<Answer>> {
        (self.run)(door, call)
    }

    fn open(mut self) -> Self {
        self.access = Access::Anyone;
        self
    }

    /// Something that tries or sets a password, and takes its turn for that.
    fn on_passwords(mut self, run: Run) -> Self {
        self.run = run;
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

fn operation<A: Ask, F: Form<A::Output>>(method: Method, path: &'static str, _: F) -> Operation {
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
        has_own_turns: false,
        run: run::<A, F>,
    }
}

fn run<A: Ask, F: Form<A::Output>>(door: &Door, call: &Call<'_>) -> BoxFuture<'static, Result<Answer>> {
    let input = match call.fields.read() {
        Ok(input) => input,
        Err(error) => return future::ready(Err(error)).boxed(),
    };
    let (door, actor, writing, placed) = (door.clone(), call.actor, call.writing, call.placed.clone());
    async move { F::answer(A::ask(&door.messenger, actor, placed, input).await?, writing) }.boxed()
}

/// What commands and queries have in common here.
trait Ask: 'static {
    type Input: DeserializeOwned + ToSchema + Send;
    type Output: Send;
    const NAME: &'static str;
    const ERRORS: &'static [ErrorCode];

    fn ask(
        messenger: &Messenger,
        actor: Actor,
        placed: Option<Arc<AtomicBool>>,
        input: Self::Input,
    ) -> impl Future<Output = Result<Self::Output>> + Send;
}

struct OfCommand<C>(PhantomData<C>);

impl<C: Command + DeserializeOwned + ToSchema> Ask for OfCommand<C> {
    type Input = C;
    type Output = C::Output;
    const NAME: &'static str = C::NAME;
    const ERRORS: &'static [ErrorCode] = C::ERRORS;

    async fn ask(
        messenger: &Messenger,
        actor: Actor,
        placed: Option<Arc<AtomicBool>>,
        input: C,
    ) -> Result<C::Output> {
        match placed {
            Some(placed) => messenger.execute_placed(&actor, input, placed).await,
            None => messenger.execute(&actor, input).await,
        }
    }
}

struct OfQuery<Q>(PhantomData<Q>);

impl<Q: Query + DeserializeOwned + ToSchema> Ask for OfQuery<Q> {
    type Input = Q;
    type Output = Q::Output;
    const NAME: &'static str = Q::NAME;
    const ERRORS: &'static [ErrorCode] = Q::ERRORS;

    async fn ask(
        messenger: &Messenger,
        actor: Actor,
        _: Option<Arc<AtomicBool>>,
        input: Q,
    ) -> Result<Q::Output> {
        messenger.query(&actor, input).await
    }
}
