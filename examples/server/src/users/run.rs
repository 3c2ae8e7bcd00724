//! Does what `messenger-server users` is asked for, on the store, beside servers that run.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use messenger_core::{Account, Accounts, ErasedAccount, Error, Messenger, commands::Erasure};

use super::{cli::UsersCommand, export};
use crate::{config::Config, error::ServerError, keys::Opened, serve, store};

/// Answers what is to be printed.
pub(crate) async fn run(config: &Config, command: &UsersCommand) -> Result<String, ServerError> {
    let Opened { store, sealed } = store::open_beside(config).await?;
    // Those who are online at other nodes are told at once where there is a bus, and within seconds where there is none.
    let builder = serve::among_nodes(Messenger::builder(store), config, sealed.as_deref());
    let messenger = builder.workers(false).build().map_err(ServerError::start)?;
    let accounts = messenger.accounts();
    let answer = match command {
        UsersCommand::Erase { name, sure } => erase(&accounts, name, *sure).await,
        UsersCommand::Export { name, file } => export(&accounts, name, file).await,
    };
    messenger.close().await;
    answer
}

async fn erase(accounts: &Accounts, name: &str, sure: bool) -> Result<String, ServerError> {
    let account = accounts.find(name).await.map_err(|error| refused(name, error))?;
    if !sure {
        return Err(ServerError::Users(unsure(&account)));
    }
    let told = Mutex::new(Instant::now());
    let listener = |so_far: &Erasure| {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= EVERY {
            *told = Instant::now();
            eprintln!("{} of {} chats, {} messages", so_far.chats_done, so_far.chats, so_far.messages);
        }
    };
    let erased = accounts.erase(account.id, listener).await.map_err(broken_off)?;
    Ok(said(&account, &erased))
}

async fn export(accounts: &Accounts, name: &str, file: &Path) -> Result<String, ServerError> {
    let account = accounts.find(name).await.map_err(|error| refused(name, error))?;
    if account.erased_at.is_some() {
        return Err(ServerError::Users(format!(
            "The account {} is erased; there is nothing to export.",
            account.id
        )));
    }
    export::export(accounts, &account, file).await
}

/// How often it is said how far it has come.
const EVERY: Duration = Duration::from_secs(1);

fn unsure(account: &Account) -> String {
    let Account { id, username, .. } = account;
    if account.erased_at.is_some() {
        return format!("The account {id} is erased; with --yes it is looked for what is left of it.");
    }
    format!(
        "This erases the account `{}` ({id}) and all that it wrote, for good; say --yes if that is wanted.",
        username.as_str()
    )
}

fn said(account: &Account, erased: &ErasedAccount) -> String {
    let Erasure { chats, messages, groups_left, .. } = erased.done;
    let id = account.id;
    if erased.was_erased && messages == 0 && groups_left == 0 {
        return format!("The account {id} was erased before, and nothing was left of it in {chats} chats.\n");
    }
    let name = if erased.was_erased { String::new() } else { format!(" `{}`", account.username.as_str()) };
    format!(
        "The account{name} ({id}) is erased: {messages} messages in {chats} chats, of which it has left {groups_left} \
         groups. Nothing is left.\n"
    )
}

/// An account under a hold is not erased, not even in part.
fn broken_off(error: Error) -> ServerError {
    match error {
        Error::Forbidden(why) => ServerError::Users(why.to_owned()),
        other => ServerError::ErasureBrokenOff(other),
    }
}

fn refused(name: &str, error: Error) -> ServerError {
    match error {
        Error::NotFound(_) => ServerError::Users(format!(
            "There is no account `{name}`; an erased one is found by its id alone."
        )),
        other => ServerError::UsersUnreachable(other),
    }
}
