//! Does what `messenger-server retention` is asked for, on the store, beside servers that run.

use std::fmt::Write as _;

use messenger_core::{
    ChatId, Error, Messenger, RetentionPeriod,
    ports::{Hold, HoldSubject, PurgeId, PurgeRecord},
};

use super::cli::{RetentionCommand, Subject};
use crate::{config::Config, error::ServerError, keys::Opened, store};

/// How much is asked for at once.
const PAGE: usize = 500;
/// How many chats are counted.
const COUNTED: usize = 1000;

/// Answers what is to be printed.
pub(crate) async fn run(config: &Config, command: &RetentionCommand) -> Result<String, ServerError> {
    let Opened { store, .. } = store::open_beside(config).await?;
    let mut builder = Messenger::builder(store).workers(false);
    if let Some(period) = config.retention {
        builder = builder.retention(period);
    }
    let messenger = builder.build().map_err(ServerError::start)?;
    let answer = answer(&messenger, command).await;
    messenger.close().await;
    answer
}

async fn answer(messenger: &Messenger, command: &RetentionCommand) -> Result<String, ServerError> {
    match command {
        RetentionCommand::Status => status(messenger).await,
        RetentionCommand::Hold { subject, reason } => {
            let subject = found(messenger, subject).await?;
            let is_new = messenger.retention().hold(subject, reason).await.map_err(refused)?;
            let what = named(subject);
            Ok(if is_new {
                format!("The {what} is under a hold: nothing of it is purged any more.\n")
            } else {
                format!("The {what} was under a hold before, which stays as it is.\n")
            })
        }
        RetentionCommand::Release { subject } => {
            let subject = found(messenger, subject).await?;
            let was_held = messenger.retention().release(subject).await.map_err(refused)?;
            let what = named(subject);
            Ok(if was_held {
                format!(
                    "The {what} is under a hold no more: what is overdue is purged by the next run of the job.\n"
                )
            } else {
                format!("The {what} was under no hold.\n")
            })
        }
        RetentionCommand::List => Ok(holds(messenger).await?.iter().map(line_of_hold).collect()),
        RetentionCommand::Audit { after } => {
            let after = after.as_deref().map(parsed::<PurgeId>).transpose()?;
            Ok(purges(messenger, after).await?.iter().map(line_of_purge).collect())
        }
    }
}

async fn status(messenger: &Messenger) -> Result<String, ServerError> {
    let retention = messenger.retention();
    let overdue = retention.overdue(COUNTED).await.map_err(refused)?;
    let (holds, purges) = (holds(messenger).await?, purges(messenger, None).await?);
    let mut text = match retention.period() {
        Some(period) => format!(
            "Messages are kept for {}, or for less where the owner of a group wants that.\n",
            said(period)
        ),
        None => "Messages are kept for good, except where the owner of a group wants less.\n".to_owned(),
    };
    let or_more = if overdue.len() == COUNTED { " or more" } else { "" };
    let messages: u64 = purges.iter().map(|record| record.messages).sum();
    // Writing to a String never fails.
    let _ = write!(
        text,
        "{}{or_more} chats are to be looked at now.\n{} holds.\n{messages} messages were purged, in {} steps.\n",
        overdue.len(),
        holds.len(),
        purges.len()
    );
    Ok(text)
}

async fn found(messenger: &Messenger, subject: &Subject) -> Result<HoldSubject, ServerError> {
    match subject {
        Subject::Chat(id) => parsed::<ChatId>(id).map(HoldSubject::Chat),
        Subject::User(name) => match messenger.accounts().find(name).await {
            Ok(account) => Ok(HoldSubject::User(account.id)),
            Err(Error::NotFound(_)) => Err(ServerError::Retention(format!("There is no account `{name}`."))),
            Err(error) => Err(refused(error)),
        },
    }
}

fn parsed<T: std::str::FromStr>(id: &str) -> Result<T, ServerError> {
    id.parse().map_err(|_| ServerError::Retention(format!("`{id}` is no id, which is a UUID.")))
}

async fn holds(messenger: &Messenger) -> Result<Vec<Hold>, ServerError> {
    let (mut all, mut after) = (vec![], None);
    loop {
        let page = messenger.retention().holds(after, PAGE).await.map_err(refused)?;
        let is_last = page.len() < PAGE;
        after = page.last().map(|hold| hold.subject);
        all.extend(page);
        if is_last {
            return Ok(all);
        }
    }
}

async fn purges(messenger: &Messenger, mut after: Option<PurgeId>) -> Result<Vec<PurgeRecord>, ServerError> {
    let mut all = vec![];
    loop {
        let page = messenger.retention().purges(after, PAGE).await.map_err(refused)?;
        let is_last = page.len() < PAGE;
        after = page.last().map(|record| record.id);
        all.extend(page);
        if is_last {
            return Ok(all);
        }
    }
}

fn named(subject: HoldSubject) -> String {
    match subject {
        HoldSubject::Chat(chat) => format!("chat {chat}"),
        HoldSubject::User(user) => format!("person {user}"),
    }
}

fn line_of_hold(hold: &Hold) -> String {
    format!("{} since {} {}", named(hold.subject), hold.at, hold.reason).trim_end().to_owned() + "\n"
}

fn line_of_purge(record: &PurgeRecord) -> String {
    let PurgeRecord { id, chat, at, before, retention, is_own, first, last, messages } = record;
    let whose = if *is_own { "the group" } else { "the service" };
    format!(
        "{id} {at} chat {chat} seq {} to {}: {messages} messages older than {before}, as {whose} keeps them for {}\n",
        first.get(),
        last.get(),
        said(*retention)
    )
}

/// In the largest unit that fits.
fn said(period: RetentionPeriod) -> String {
    let seconds = period.as_secs();
    let units = [(86_400, "d"), (3600, "h"), (60, "m")];
    let (size, unit) = units.into_iter().find(|(size, _)| seconds.is_multiple_of(*size)).unwrap_or((1, "s"));
    format!("{}{unit}", seconds / size)
}

fn refused(error: Error) -> ServerError {
    match error {
        Error::NotFound(what) => ServerError::Retention(format!("There is no such {what}, or it is erased.")),
        Error::Invalid(_) => ServerError::Retention(format!("That is not possible: {error}.")),
        other => ServerError::RetentionUnreachable(other),
    }
}
