//! Operations that send mail about accounts, or are done with a token from one. Each is counted before it is done, and none is taken
//! back: the answer must not tell whether there was anything to be sent, and nobody is to be flooded.

use futures::{FutureExt as _, future, future::BoxFuture};
use messenger_core::{
    Begun, Command,
    commands::{RequestPasswordReset, ResetPassword},
};
use serde::de::DeserializeOwned;

use super::{Answer, Call, form::Form, passwords};
use crate::{door::Door, limits::Account};

/// Runs `RequestPasswordReset`, which counts against the address, too, whether or not there is such an account.
pub(super) fn to_address<F: Form<()>>(door: &Door, call: &Call<'_>) -> BoxFuture<'static, Begun<Answer>> {
    counted::<RequestPasswordReset, F>(door, call, |command| Some(Account::mailed(&command.email)))
}

/// Runs a command that counts against the person, if they are known. If not, the log-ins of their network are counted.
pub(super) fn of_person<C, F>(door: &Door, call: &Call<'_>) -> BoxFuture<'static, Begun<Answer>>
where
    C: Command + DeserializeOwned,
    F: Form<C::Output>,
{
    counted::<C, F>(door, call, |_| None)
}

/// Runs `ResetPassword`, which also takes a turn on passwords.
pub(super) fn reset<F: Form<()>>(door: &Door, call: &Call<'_>) -> BoxFuture<'static, Begun<Answer>> {
    let command: ResetPassword = match call.fields.read() {
        Ok(command) => command,
        Err(error) => return future::ready(Begun::Done(Err(error))).boxed(),
    };
    let (door, actor, client, writing) = (door.clone(), call.actor, (call.client, call.bytes), call.writing);
    async move {
        count(&door, actor.user().ok().map(Account::mails_of)).await?;
        F::answer(passwords::in_turn(&door, actor, client, command).await?, writing)
    }
    .map(Begun::Done)
    .boxed()
}

fn counted<C, F>(
    door: &Door,
    call: &Call<'_>,
    address: impl Fn(&C) -> Option<Account>,
) -> BoxFuture<'static, Begun<Answer>>
where
    C: Command + DeserializeOwned,
    F: Form<C::Output>,
{
    let command: C = match call.fields.read() {
        Ok(command) => command,
        Err(error) => return future::ready(Begun::Done(Err(error))).boxed(),
    };
    let accounts = [call.actor.user().ok().map(Account::mails_of), address(&command)];
    let (door, actor, writing) = (door.clone(), call.actor, call.writing);
    async move {
        count(&door, accounts.into_iter().flatten()).await?;
        F::answer(door.messenger.execute(&actor, command).await?, writing)
    }
    .map(Begun::Done)
    .boxed()
}

async fn count(door: &Door, accounts: impl IntoIterator<Item = Account>) -> messenger_core::Result<()> {
    for account in accounts {
        door.limits.try_password(account).await?;
    }
    Ok(())
}
