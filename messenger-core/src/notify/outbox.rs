//! What is to be told, as it waits among the jobs.

use serde::{Deserialize, Serialize};

use crate::{
    context::Context,
    domain::{ChatId, Seq, UserId},
    error::{Error, Result},
    jobs::Retry,
    ports::{Content, JobKind, JobPriority, NewJob, UnreadRange},
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

/// Kinds of jobs do not wait for each other: who can't log in does not wait for those who have not read something.
pub(crate) const UNREAD: &str = "messenger.notify-unread";
pub(crate) const ACCOUNT: &str = "messenger.notify-account";

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
        let created_at = context.now();
        Ok(NewJob {
            id: context.id(),
            kind: kind_named(kind)?,
            payload: Content(serde_json::to_vec(&self).map_err(Error::internal)?),
            priority: JobPriority::Normal,
            run_at: created_at,
            max_attempts: RETRY.max_attempts,
            unique: None,
            after: None,
            created_at,
        })
    }
}

pub(super) fn kind_named(name: &str) -> Result<JobKind> {
    name.parse().map_err(Error::internal)
}
