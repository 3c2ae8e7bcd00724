//! Operations on passwords. They take turns of their own, because they take long; and each wrong password counts
//! against the account, wherever the attempt comes from.

use futures::{FutureExt as _, future, future::BoxFuture};
use messenger_core::{
    Actor, Begun, Command, Error, Result,
    commands::{LogIn, RegisterUser},
};
use serde::de::DeserializeOwned;

use super::{Answer, Call, form::Form};
use crate::{client::Client, door::Door, limits::Account};

/// Runs `RegisterUser`, which sets a password without trying one.
pub(super) fn register<F: Form<<RegisterUser as Command>::Output>>(
    door: &Door,
    call: &Call<'_>,
) -> BoxFuture<'static, Begun<Answer>> {
    let command: RegisterUser = match call.fields.read() {
        Ok(command) => command,
        Err(error) => return future::ready(Begun::Done(Err(error))).boxed(),
    };
    let (door, actor, client, writing) = (door.clone(), call.actor, (call.client, call.bytes), call.writing);
    async move { F::answer(in_turn(&door, actor, client, command).await?, writing) }.map(Begun::Done).boxed()
}

/// Runs `LogIn`, guarded by the given login name, whether or not there is such an account.
pub(super) fn log_in<F: Form<<LogIn as Command>::Output>>(
    door: &Door,
    call: &Call<'_>,
) -> BoxFuture<'static, Begun<Answer>> {
    guarded::<LogIn, F>(door, call, |command| Ok(Account::named(&command.login)))
}

/// Runs a command that requires the logged-in person to enter the password again.
pub(super) fn asked_again<C, F>(door: &Door, call: &Call<'_>) -> BoxFuture<'static, Begun<Answer>>
where
    C: Command + DeserializeOwned,
    F: Form<C::Output>,
{
    guarded::<C, F>(door, call, |_| call.actor.user().map(Account::of_user))
}

fn guarded<C, F>(
    door: &Door,
    call: &Call<'_>,
    account: impl Fn(&C) -> Result<Account>,
) -> BoxFuture<'static, Begun<Answer>>
where
    C: Command + DeserializeOwned,
    F: Form<C::Output>,
{
    let read = || -> Result<(C, Account)> {
        let command: C = call.fields.read()?;
        let account = account(&command)?;
        Ok((command, account))
    };
    let (command, account) = match read() {
        Ok(read) => read,
        Err(error) => return future::ready(Begun::Done(Err(error))).boxed(),
    };
    let (door, actor, client, writing) = (door.clone(), call.actor, (call.client, call.bytes), call.writing);
    async move {
        door.limits.try_password(account).await?;
        let output = in_turn(&door, actor, client, command).await;
        if !matches!(output, Err(Error::InvalidCredentials)) {
            door.limits.not_wrong(account);
        }
        F::answer(output?, writing)
    }
    .map(Begun::Done)
    .boxed()
}

pub(super) async fn in_turn<C: Command>(
    door: &Door,
    actor: Actor,
    (client, bytes): (Client, usize),
    command: C,
) -> Result<C::Output> {
    let _turn = door.admission.passwords.take(client, bytes).await?;
    door.messenger.execute(&actor, command).await
}
