//! What is to be told, as it waits among the jobs.

use serde::{Deserialize, Serialize};

use crate::{
    context::Context,
    domain::{ChatId, EmailAddress, LinkKeys, Seq, Timestamp, UserId},
    error::{Error, Result},
    jobs::Retry,
    ports::{Content, JobKind, JobPriority, NewJob, UniqueJob, UnreadRange},
};

/// A notification that waits to be delivered. It holds no secret: links are signed when it is delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Telling {
    /// Whom.
    pub(crate) user: UserId,
    /// Of what.
    pub(crate) what: What,
}

/// What a person is told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub(crate) enum What {
    /// Of messages that they have not read.
    Unread {
        /// In these chats, the one with the newest message first.
        chats: Vec<UnreadIn>,
    },
}

/// Messages of a chat that somebody has not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UnreadIn {
    /// The chat.
    pub(crate) chat: ChatId,
    /// Those after this one,
    pub(crate) after: Seq,
    /// and up to this one.
    pub(crate) up_to: Seq,
    /// How many they were.
    pub(crate) unread: u64,
}

impl UnreadIn {
    /// Which messages.
    pub(crate) const fn range(&self) -> UnreadRange {
        UnreadRange { chat: self.chat, after: self.after, up_to: self.up_to }
    }
}

/// What is to be told of an account, as it waits to be delivered. It holds no secret either.
///
/// Whose account it is, if it is anybody's, is looked up when it is delivered, where an address is named: so the answer to a request
/// takes no longer for one address than for another, and what was stored for an address is good for whoever gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub(crate) enum AboutAccount {
    /// That an address is to be confirmed, which is somebody's or is about to be.
    ConfirmAddress {
        /// The address.
        email: EmailAddress,
    },
    /// That the password can be set anew.
    ResetPassword {
        /// The address of the account, if there is one.
        email: EmailAddress,
    },
    /// That an account has got another address, or is about to.
    AddressChanged {
        /// Whose.
        user: UserId,
        /// The one that it had.
        former: EmailAddress,
    },
}

/// Kinds of jobs do not wait for each other: who can't log in does not wait for those who have not read something.
pub(crate) const UNREAD: &str = "messenger.notify-unread";
pub(crate) const ACCOUNT: &str = "messenger.notify-account";

/// How often an address is told the same about accounts: once in each of these spans, whoever asks for it. So nobody is flooded.
pub(super) const SPAN: std::time::Duration = std::time::Duration::from_secs(300);

/// A mail server that is away for a night is no reason to forget what was to be told: about 16 hours.
pub(super) const RETRY: Retry = Retry {
    max_attempts: 25,
    first: std::time::Duration::from_secs(5),
    longest: std::time::Duration::from_secs(3600),
};

impl Telling {
    /// The job that delivers it. The id of the job is the [claim](crate::ports::ClaimId).
    pub(crate) fn into_job(self, context: &Context) -> Result<NewJob> {
        let kind = match self.what {
            What::Unread { .. } => UNREAD,
        };
        job(kind, &self, context)
    }
}

impl AboutAccount {
    /// The job that delivers it, in this span of time the only one. The id of the job is the [claim](crate::ports::ClaimId).
    pub(crate) fn into_job(self, context: &Context, keys: &LinkKeys) -> Result<NewJob> {
        let (what, email) = match &self {
            Self::ConfirmAddress { email } => ("confirm", email),
            Self::ResetPassword { email } => ("reset", email),
            Self::AddressChanged { former, .. } => ("changed", former),
        };
        let job = job(ACCOUNT, &self, context)?;
        let unique = Some(once(what, email, job.created_at, keys));
        Ok(NewJob { unique, priority: JobPriority::High, ..job })
    }
}

fn job(kind: &str, payload: &impl Serialize, context: &Context) -> Result<NewJob> {
    let created_at = context.now();
    Ok(NewJob {
        id: context.id(),
        kind: kind_named(kind)?,
        payload: Content(serde_json::to_vec(payload).map_err(Error::internal)?),
        priority: JobPriority::Normal,
        run_at: created_at,
        max_attempts: RETRY.max_attempts,
        unique: None,
        after: None,
        created_at,
    })
}

fn once(what: &str, email: &EmailAddress, now: Timestamp, keys: &LinkKeys) -> UniqueJob {
    let span = i64::try_from(SPAN.as_micros()).unwrap_or(i64::MAX);
    let number = now.as_micros().div_euclid(span);
    // So that an address of any length will do, and that neither lists of jobs nor the database show it.
    let address = keys.blind(b"mailed\0", email.folded().as_bytes());
    let since = Some(Timestamp::from_micros(number * span));
    UniqueJob { key: format!("{what}:{address:032x}:{number}"), since }
}

pub(super) fn kind_named(name: &str) -> Result<JobKind> {
    name.parse().map_err(Error::internal)
}
