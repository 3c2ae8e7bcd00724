//! How an account is erased: first it is marked, in one step with a job, and then all that it has left is erased.
//!
//! Nothing can be added to what is left once the mark is there, so this comes to an end, however often it is broken off
//! and whoever does it at the same time.

use std::{collections::HashSet, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    commands::{attempts::Attempts, auth::publish_ended, chats::leave},
    context::Context,
    convert,
    cx::Cx,
    domain::{ChatId, ChatKind, JobId, UserId, Username},
    error::{Error, OrNotFound as _, Result},
    ports::{
        Content, EraseUser, JobChange, JobPriority, NewJob, StoreErrorKind, StoreResult, Topic, UserRecord,
    },
};

/// The kind of the jobs that finish what was broken off.
pub(crate) const KIND: &str = "messenger.erase-user";

/// How often such a job is tried: for more than a year, with [pauses](crate::jobs::Retry::longest) of an hour.
pub(crate) const RETRIES: u32 = 10_000;

/// How long the job waits for whoever marked the account, who does the same work at once.
const WAIT: Duration = Duration::from_secs(60);

/// How many messages are erased in one transaction.
const MESSAGES_AT_ONCE: usize = 200;

/// Whose remains are to be erased.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Remains {
    pub(crate) user: UserId,
}

/// What an erasure has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Erasure {
    /// How many chats the person is or ever was in, as far as is known.
    pub chats: u64,
    /// In how many of them nothing is left.
    pub chats_done: u64,
    /// How many groups it took the person out of.
    pub groups_left: u64,
    /// How many messages it turned into tombstones.
    pub messages: u64,
}

/// Is told how far an erasure has come.
pub(crate) type Listener<'l> = &'l (dyn Fn(&Erasure) + Send + Sync);

/// Marks the account as erased, with a job that finishes it, and tells which one that is; `None` if somebody else has
/// changed the account meanwhile.
pub(crate) async fn mark(
    cx: &mut Cx,
    account: &UserRecord,
    attempts: &mut Attempts,
) -> Result<Option<JobId>> {
    let erase = intent(cx.context(), account)?;
    cx.begin_write([Topic::User(account.id)]);
    let erased = cx.store().erase_user(&erase).await;
    let Some(ended) = attempts.settled(erased)? else { return Ok(None) };
    publish_ended(cx, account.id, ended);
    cx.flush().await;
    Ok(erase.jobs.first().map(|job| job.id))
}

fn intent(context: &Context, account: &UserRecord) -> Result<EraseUser> {
    let (id, at) = (account.id, context.now());
    let job = NewJob {
        id: context.id(),
        kind: KIND.parse().map_err(Error::internal)?,
        payload: Content(serde_json::to_vec(&Remains { user: id }).map_err(Error::internal)?),
        priority: JobPriority::High,
        run_at: at.after(WAIT),
        max_attempts: RETRIES,
        unique: None,
        after: None,
        created_at: at,
    };
    Ok(EraseUser {
        id,
        expected: account.version,
        // Nobody can register this name: it is longer than a username may be, and has a character that no username may
        // have.
        username: Username::trusted(format!("deleted:{id}")),
        display_name: convert::erased_display_name(),
        at,
        jobs: vec![job],
    })
}

/// Erases all that a marked account has left: it leaves its groups, and its messages become tombstones.
///
/// In each chat that comes first which keeps it from writing there, and what it wrote only then. At last its data key is destroyed: nothing
/// in the store or in a later backup opens what may be left of its texts somewhere.
pub(crate) async fn finish(cx: &mut Cx, user: UserId, listener: Listener<'_>) -> Result<Erasure> {
    let (mut so_far, mut done) = (Erasure::default(), HashSet::new());
    loop {
        let mut chats = cx.store().chats_ever_joined(user).await?;
        chats.retain(|chat| !done.contains(chat));
        if chats.is_empty() {
            // Last, so that nobody reads what can't be opened while it is still there.
            cx.store().destroy_keys(user, cx.context().now()).await?;
            return Ok(so_far);
        }
        so_far.chats += chats.len() as u64;
        for chat in chats {
            so_far.groups_left += u64::from(leave_group(cx, chat, user).await?);
            while let Some(erased) = erase_some(cx, chat, user).await? {
                so_far.messages += erased;
                listener(&so_far);
            }
            so_far.chats_done += 1;
            listener(&so_far);
            done.insert(chat);
        }
    }
}

/// Tells whether the person was in this group until now.
async fn leave_group(cx: &mut Cx, chat: ChatId, user: UserId) -> Result<bool> {
    match cx.store().membership(chat, user).await {
        Err(error) if error.kind() == StoreErrorKind::NotMember => Ok(false),
        Ok(membership) if membership.chat.kind == ChatKind::Direct => Ok(false),
        found => {
            found?;
            match leave(cx, chat, user).await {
                // Somebody else removed the person in the meantime.
                Err(Error::NotFound(_)) => return Ok(false),
                left => left?,
            }
            cx.flush().await;
            Ok(true)
        }
    }
}

/// Erases some of what the person wrote in the chat, and tells how many messages; `None` if none is left.
async fn erase_some(cx: &mut Cx, chat: ChatId, user: UserId) -> Result<Option<u64>> {
    let at = cx.context().now();
    cx.begin_write([Topic::Chat(chat)]);
    let erased = cx.store().erase_messages(chat, user, at, MESSAGES_AT_ONCE).await?;
    if erased.is_empty() {
        return Ok(None);
    }
    let count = erased.len() as u64;
    let head = cx.store().roster(chat).await?.chat;
    cx.publish_changes(&head, erased);
    // Announced at once: a long history would be much to keep in memory until the end.
    cx.flush().await;
    Ok(Some(count))
}

/// Erases an account without its password, or goes on with one that was erased. Tells whether it was erased before, and
/// what has been done now.
pub(crate) async fn erase(cx: &mut Cx, user: UserId, listener: Listener<'_>) -> Result<(bool, Erasure)> {
    let (mut attempts, mut job) = (Attempts::new(), None);
    let was_erased = loop {
        let account = cx.store().user(user).await.or_not_found(|| Error::NotFound("account"))?;
        if account.erased_at.is_some() {
            break true;
        }
        job = mark(cx, &account, &mut attempts).await?;
        if job.is_some() {
            break false;
        }
    };
    let done = finish(cx, user, listener).await?;
    if let Some(job) = job {
        forget(cx, job).await;
    }
    Ok((was_erased, done))
}

/// Removes the job of an erasure that is finished. Without that it finds nothing left to do.
pub(crate) async fn forget(cx: &Cx, job: JobId) {
    let dropped: StoreResult<_> = cx.store().change_job(job, JobChange::Drop, cx.context().now()).await;
    if let Err(error) = dropped {
        let error = &error as &dyn std::error::Error;
        tracing::debug!(%job, error, "the job of an erasure that is finished is still there");
    }
}
