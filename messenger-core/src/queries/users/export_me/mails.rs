//! What is known of mail to the person.

use serde::Serialize;

use super::{
    lines::Lines,
    place::{Mailing, Place},
};
use crate::{
    cx::Cx,
    domain::{ChatId, EmailAddress, JobId, Seq, Timestamp, UserId},
    error::{Error, Result},
    notify::{self, ACCOUNT, AboutAccount, Telling, UNREAD, UnreadIn, What},
    ports::{JobFilter, JobRecord, JobState, Told, UserRecord},
};

/// How many jobs are read for one part.
const JOBS: usize = 100;
/// How many chats with something unread are looked at. Nobody is told of more at once.
const CHATS: usize = 200;

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum MailLine<'a> {
    /// Whether the address takes mail, and when the person was told of something.
    Address {
        refusals: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        suppressed_at: Option<Timestamp>,
        #[serde(skip_serializing_if = "Option::is_none")]
        told_at: Option<Timestamp>,
        #[serde(skip_serializing_if = "Option::is_none")]
        told_times: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        told_since: Option<Timestamp>,
    },
    /// When the person was told of what is unread in a chat.
    Chat { chat_id: ChatId, told_at: Timestamp, told_times: u32 },
    /// A mail about what is unread.
    Unread {
        #[serde(flatten)]
        mail: Mail,
        chats: Vec<UnreadLine>,
    },
    /// A mail about the account.
    Account {
        #[serde(flatten)]
        mail: Mail,
        about: &'static str,
        email: &'a EmailAddress,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Mail {
    id: JobId,
    state: &'static str,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UnreadLine {
    chat_id: ChatId,
    after: Seq,
    up_to: Seq,
    unread: u64,
}

/// What is kept with the account, and with chats.
pub(super) async fn known(cx: &Cx, account: &UserRecord, lines: &mut Lines) -> Result<Option<Place>> {
    let told: Option<Told> = account.mail.told;
    lines.push(&MailLine::Address {
        refusals: account.mail.refusals,
        suppressed_at: account.mail.suppressed_at,
        told_at: told.map(|told| told.at),
        told_times: told.map(|told| told.times),
        told_since: told.map(|told| told.since),
    })?;
    let now = cx.context().now();
    for chat in cx.store().unread_chats(account.id, now, now, CHATS).await? {
        if let Some(told_at) = chat.told_at {
            lines.push(&MailLine::Chat { chat_id: chat.chat, told_at, told_times: chat.told_times })?;
        }
    }
    Ok(Some(Place::Sent(Mailing::Unread, None)))
}

/// What is kept of mails: their jobs. Nobody's are found by their person, so those of all are looked through, back to when
/// the account was made.
pub(super) async fn sent(
    cx: &Cx,
    account: &UserRecord,
    (mailing, before): (Mailing, Option<JobId>),
    lines: &mut Lines,
) -> Result<Option<Place>> {
    let (kind, then) = match mailing {
        Mailing::Unread => (UNREAD, Some(Place::Sent(Mailing::Account, None))),
        Mailing::Account => (ACCOUNT, None),
    };
    let filter = JobFilter { kind: Some(kind.parse().map_err(Error::internal)?), state: None };
    let jobs = cx.store().jobs(&filter, before, JOBS).await?;
    for job in &jobs {
        match mailing {
            Mailing::Unread => unread(account.id, job, lines)?,
            Mailing::Account => about_account(account, job, lines)?,
        }
    }
    let next = jobs.last().filter(|last| jobs.len() == JOBS && last.created_at >= account.created_at);
    Ok(next.map(|last| Place::Sent(mailing, Some(last.id))).or(then))
}

// Of a payload that can't be read nobody knows whose it is.
fn unread(user: UserId, job: &JobRecord, lines: &mut Lines) -> Result<()> {
    let Ok(Telling { user: told, what: What::Unread { chats } }) = serde_json::from_slice(&job.payload.0)
    else {
        return Ok(());
    };
    if told != user {
        return Ok(());
    }
    let chats = chats.iter().map(|unread: &UnreadIn| UnreadLine {
        chat_id: unread.chat,
        after: unread.after,
        up_to: unread.up_to,
        unread: unread.unread,
    });
    lines.push(&MailLine::Unread { mail: mail(job), chats: chats.collect() })
}

fn about_account(account: &UserRecord, job: &JobRecord, lines: &mut Lines) -> Result<()> {
    let Ok(about) = serde_json::from_slice::<AboutAccount>(&job.payload.0) else { return Ok(()) };
    // An address that can't be read is like no other.
    let own = notify::address(account).ok().flatten();
    let is_own = |email: &EmailAddress| own.as_ref().is_some_and(|own| own.folded() == email.folded());
    let (about, email) = match &about {
        AboutAccount::ConfirmAddress { email } if is_own(email) => ("confirmAddress", email),
        AboutAccount::ResetPassword { email } if is_own(email) => ("resetPassword", email),
        AboutAccount::AddressChanged { user, former } if *user == account.id => ("addressChanged", former),
        _ => return Ok(()),
    };
    lines.push(&MailLine::Account { mail: mail(job), about, email })
}

fn mail(job: &JobRecord) -> Mail {
    let state = match job.state {
        JobState::Waiting | JobState::Blocked | JobState::Running => "waiting",
        JobState::Done => "done",
        JobState::Dead => "failed",
        JobState::Cancelled => "cancelled",
    };
    Mail { id: job.id, state, created_at: job.created_at, ended_at: job.ended_at }
}
