//! Operations that try a password: each wrong one counts against the account, from wherever it is tried.

use futures::{FutureExt as _, future, future::BoxFuture};
use messenger_core::{Command, Error, Result, commands::LogIn};
use serde::de::DeserializeOwned;

use super::{Answer, Call, form::Form};
use crate::{door::Door, limits::Account};

/// Runs `LogIn`, guarded by the name that is given, whether or not there is such an account.
pub(super) fn log_in<F: Form<<LogIn as Command>::Output>>(
    door: &Door,
    call: &Call<'_>,
) -> BoxFuture<'static, Result<Answer>> {
    guarded::<LogIn, F>(door, call, |command| Ok(door.limits.account_named(&command.login)))
}

/// Runs a command that asks the person who is logged in for the password again.
pub(super) fn asked_again<C, F>(door: &Door, call: &Call<'_>) -> BoxFuture<'static, Result<Answer>>
where
    C: Command + DeserializeOwned,
    F: Form<C::Output>,
{
    guarded::<C, F>(door, call, |_| call.actor.user().map(|user| door.limits.account_of(user)))
}

fn guarded<C, F>(
    door: &Door,
    call: &Call<'_>,
    account: impl Fn(&C) -> Result<Account>,
) -> BoxFuture<'static, Result<Answer>>
where
    C: Command + DeserializeOwned,
    F: Form<C::Output>,
{
    let read = || -> Result<(C, Account)> {
        let command: C = call.fields.read()?;
        let account = account(&command)?;
        door.limits.try_password(account)?;
        Ok((command, account))
    };
    let (command, account) = match read() {
        Ok(read) => read,
        Err(error) => return future::ready(Err(error)).boxed(),
    };
    let (door, actor, protocol) = (door.clone(), call.actor, call.protocol);
    async move {
        let output = door.messenger.execute(&actor, command).await;
        if !matches!(output, Err(Error::InvalidCredentials)) {
            door.limits.not_wrong(account);
        }
        F::answer(output?, protocol)
    }
    .boxed()
}
