//! Finds people who have not read something, and decides whether they are told of it.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use serde::{Deserialize, Serialize};

use super::{
    deciding::{self, Person, Reason, Verdict},
    desk::Desk,
    meters,
    outbox::{Telling, UnreadIn, What, kind_named},
};
use crate::{
    domain::{Timestamp, UserId},
    error::{Error, Result},
    jobs::{JobError, JobResult, Registration, Retry},
    ports::{
        AskUnread, ClaimUnread, ClaimedChat, ClaimedJob, Content, JobPriority, NewJob, Notified,
        PendingMember, PresenceError, SeenPlace, StoreErrorKind, StoreResult, UniqueJob, UserRecord,
    },
};

/// Maximum number of chats that are claimed at once.
const CHATS: usize = 100;
/// Maximum number of people who are looked at in one step.
const PEOPLE: usize = 500;
/// How many of them are decided on at the same time.
const AT_ONCE: usize = 8;
/// How long a chat is held. A look at a chat that takes longer goes on beside the next one, and nobody is told twice.
const LEASE: Duration = Duration::from_secs(120);
/// The most chats that somebody is told of at once.
const CHATS_OF_ONE: usize = 100;
/// How often it is decided anew where others decide at the same time.
const DECISIONS: usize = 4;

/// The kind of the jobs that look at one person again.
const LOOK: &str = "messenger.look-at-unread";
const RETRY: Retry = Retry { max_attempts: 25, ..Retry::DEFAULT };

/// Whom to look at again.
#[derive(Debug, Serialize, Deserialize)]
struct Look {
    user: UserId,
}

/// What has been looked at already of those who went offline. It is not stored: who is passed over because of that has a
/// [job](LOOK).
#[derive(Debug, Clone, Copy)]
pub(super) struct Gone {
    after: SeenPlace,
}

/// Why a look was not finished.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookError {
    #[error(transparent)]
    Store(#[from] crate::ports::StoreError),
    #[error(transparent)]
    Presence(#[from] PresenceError),
    #[error(transparent)]
    Other(#[from] Error),
}

impl LookError {
    /// Whether it may concern what is stored of one person, and not everybody.
    fn is_of_one(&self) -> bool {
        matches!(self, Self::Store(error) if error.kind() != StoreErrorKind::Unavailable)
    }
}

impl Desk {
    /// Looks at all chats that are due, and at people who have gone. Tells whether there is more.
    pub(super) async fn look(&self, gone: &mut Gone) -> std::result::Result<bool, LookError> {
        let chats = self.look_at_chats().await?;
        let people = self.look_at_gone(gone).await?;
        Ok(chats || people)
    }

    /// Looks at chats in which something has been unread for long enough.
    pub(super) async fn look_at_chats(&self) -> std::result::Result<bool, LookError> {
        let now = self.context.now();
        let due = now.before(self.after());
        let claim = ClaimUnread { due, now, until: now.after(LEASE) };
        let claimed = self.store.claim_unread_chats(&claim, CHATS).await?;
        meters::oldest(claimed.iter().map(|chat| due.since(chat.since)).max());
        for chat in &claimed {
            match self.look_at_chat(chat, due).await {
                Err(error) if error.is_of_one() => {
                    // The others don't wait for it; it is looked at again when its lease has ended.
                    tracing::error!(chat = %chat.chat, error = &error as &dyn std::error::Error, "a chat was not looked at");
                }
                looked => looked?,
            }
        }
        Ok(claimed.len() == CHATS)
    }

    async fn look_at_chat(
        &self,
        claimed: &ClaimedChat,
        due: Timestamp,
    ) -> std::result::Result<(), LookError> {
        let mut after = None;
        loop {
            let asked = AskUnread { chat: claimed.chat, due, now: self.context.now() };
            let members = self.store.unread_members(&asked, after, PEOPLE).await?;
            self.look_at_members(&members).await?;
            match members.last() {
                Some(last) if members.len() == PEOPLE => after = Some(last.user),
                _ => break,
            }
        }
        self.store.finish_unread_chat(claimed, due).await?;
        Ok(())
    }

    async fn look_at_members(&self, members: &[PendingMember]) -> std::result::Result<(), LookError> {
        let now = self.context.now();
        let may_be_told = |member: &&PendingMember| {
            let never = Person::of_member(member, None).never();
            never.inspect(|reason| meters::look("nothing", *reason)).is_none()
        };
        let members: Vec<&PendingMember> = members.iter().filter(may_be_told).collect();
        let people: Vec<UserId> = members.iter().map(|member| member.user).collect();
        let online = self.who_is_online(&people).await?;
        let (mut now_away, mut later) = (Vec::new(), Vec::new());
        for (member, online) in members.into_iter().zip(online) {
            match self.of_member(member, online, now) {
                Some(Verdict::Wait(at, reason)) => {
                    meters::look("waiting", reason);
                    later.push(self.look_again(member.user, at)?);
                }
                Some(Verdict::Nothing(_) | Verdict::Tell) | None => now_away.push((member.user, online)),
            }
        }
        later.extend(self.decide_on(now_away).await?);
        self.enqueue(&later).await?;
        Ok(())
    }

    /// What the membership alone says: so that a chat in which many read nothing costs little each time.
    fn of_member(&self, member: &PendingMember, online: Option<bool>, now: Timestamp) -> Option<Verdict> {
        let settings = &self.notifications.settings;
        let person = Person::of_member(member, online);
        let paused =
            || deciding::pause_end(settings, member.told_at, member.told_times).filter(|end| *end > now);
        let away = person.away(self.absence(), now).or_else(|| person.enough(settings, now));
        away.or_else(|| paused().map(|end| Verdict::Wait(end, Reason::Paused)))
    }

    /// Looks at people who have been away for long enough by now.
    async fn look_at_gone(&self, gone: &mut Gone) -> std::result::Result<bool, LookError> {
        // When somebody was seen is stored a moment later, and not in order.
        let until =
            self.context.now().before(self.after()).before(self.after().min(Duration::from_secs(20)) / 4);
        let seen = self.store.people_last_seen(gone.after, until, PEOPLE).await?;
        let Some(last) = seen.last() else { return Ok(false) };
        let people: Vec<UserId> = seen.iter().map(|place| place.user).collect();
        let online = self.who_is_online(&people).await?;
        let away = people.into_iter().zip(online).filter(|(_, online)| *online == Some(false)).collect();
        let later = self.decide_on(away).await?;
        self.enqueue(&later).await?;
        gone.after = *last;
        Ok(seen.len() == PEOPLE)
    }

    /// Decides on people, and gives the jobs that look at those again who wait for something.
    async fn decide_on(
        &self,
        people: Vec<(UserId, Option<bool>)>,
    ) -> std::result::Result<Vec<NewJob>, LookError> {
        let decisions = stream::iter(people).map(|(user, online)| async move {
            match self.decide(user, online).await {
                // The chat is looked at again when the message is old enough.
                Ok(Verdict::Wait(_, Reason::Recent) | Verdict::Tell | Verdict::Nothing(_)) => Ok(None),
                Ok(Verdict::Wait(at, _)) => Ok(Some(self.look_again(user, at)?)),
                Err(error) if error.is_of_one() => {
                    // Nobody else waits for that. The job fails for as long as it lasts, where an operator sees it.
                    tracing::error!(%user, error = &error as &dyn std::error::Error, "whether somebody is told is not known");
                    Ok(Some(self.look_again(user, self.context.now().after(self.after()))?))
                }
                Err(error) => Err(error),
            }
        });
        let jobs: Vec<Option<NewJob>> = decisions.buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(jobs.into_iter().flatten().collect())
    }

    /// Decides whether a person is told, and of what, and has it delivered.
    pub(super) async fn decide(
        &self,
        user: UserId,
        online: Option<bool>,
    ) -> std::result::Result<Verdict, LookError> {
        for _ in 0..DECISIONS {
            let verdict = self.decide_once(user, online).await?;
            if let Some(verdict) = verdict {
                match verdict {
                    Verdict::Tell => meters::look("told", Reason::Read),
                    Verdict::Wait(_, reason) => meters::look("waiting", reason),
                    Verdict::Nothing(reason) => meters::look("nothing", reason),
                }
                return Ok(verdict);
            }
        }
        Ok(Verdict::Wait(self.context.now().after(self.after()), Reason::Contended))
    }

    /// `None` if others have changed meanwhile what it was decided on.
    async fn decide_once(
        &self,
        user: UserId,
        online: Option<bool>,
    ) -> std::result::Result<Option<Verdict>, LookError> {
        let (settings, now) = (&self.notifications.settings, self.context.now());
        let Some(account) = self.account(user).await? else {
            return Ok(Some(Verdict::Nothing(Reason::Erased)));
        };
        let person = Person::of_account(&account, online);
        if let Some(verdict) = person.away(self.absence(), now) {
            return Ok(Some(verdict));
        }
        let chats = self.store.unread_chats(user, now, now, CHATS_OF_ONE).await?;
        let verdict = match deciding::chats(settings, &chats, now) {
            Verdict::Tell => deciding::hours(settings, &account, now)
                .or_else(|| person.enough(settings, now))
                .unwrap_or(Verdict::Tell),
            other => other,
        };
        if verdict != Verdict::Tell {
            return Ok(Some(verdict));
        }
        let chats = chats.iter().map(|pending| {
            let range = pending.range();
            UnreadIn { chat: range.chat, after: range.after, up_to: range.up_to, unread: pending.unread }
        });
        let is_told = self.tell(&account, chats.collect(), now).await?;
        Ok(is_told.then_some(Verdict::Tell))
    }

    /// Records that a person is told of these messages, and enqueues the notification: both or nothing.
    async fn tell(
        &self,
        account: &UserRecord,
        chats: Vec<UnreadIn>,
        now: Timestamp,
    ) -> std::result::Result<bool, LookError> {
        let before = account.mail.told;
        let ranges = chats.iter().map(|unread| unread.range()).collect();
        let telling = Telling { user: account.id, what: What::Unread { chats } };
        let notified = Notified {
            user: account.id,
            expected: before.map(|told| told.at),
            told: deciding::told(before, now),
            ranges,
            jobs: vec![telling.into_job(&self.context)?],
        };
        let answer = self.store.record_notified(&notified).await;
        // Also when the answer was lost: it may be stored.
        self.jobs.note(&notified.jobs);
        Ok(answer?)
    }

    /// A job that looks at a person again. One that waits already stays as it is.
    fn look_again(&self, user: UserId, at: Timestamp) -> Result<NewJob> {
        Ok(NewJob {
            id: self.context.id(),
            kind: kind_named(LOOK)?,
            payload: Content(serde_json::to_vec(&Look { user }).map_err(Error::internal)?),
            priority: JobPriority::Normal,
            run_at: at,
            max_attempts: RETRY.max_attempts,
            unique: Some(UniqueJob { key: user.to_string(), since: None }),
            after: None,
            created_at: self.context.now(),
        })
    }

    async fn enqueue(&self, jobs: &[NewJob]) -> StoreResult<()> {
        if !jobs.is_empty() {
            self.jobs.enqueue_new(jobs).await?;
        }
        Ok(())
    }

    async fn look_at_person(&self, claimed: &ClaimedJob) -> JobResult {
        let Look { user } = serde_json::from_slice(&claimed.payload.0).map_err(|error| {
            JobError::failed(format!("the payload can't be read, at its byte {}", error.column()))
        })?;
        let online = self.is_online(user).await?;
        let now = self.context.now();
        match self.decide(user, online).await? {
            Verdict::Tell | Verdict::Nothing(_) => Ok(()),
            Verdict::Wait(_, Reason::Online) => {
                Err(JobError::snooze(self.patience(now.since(claimed.created_at))))
            }
            Verdict::Wait(at, _) => Err(JobError::snooze(at.since(now))),
        }
    }
}

impl Gone {
    /// All who went a little before now.
    pub(super) fn beginning(desk: &Desk) -> Self {
        let at = desk.context.now().before(2 * desk.after()).before(Duration::from_secs(600));
        Self { after: SeenPlace { at, user: UserId::from_bytes([0; 16]) } }
    }
}

/// The kind of jobs that look at somebody again.
pub(super) fn registration(desk: &Desk) -> Result<Registration> {
    let desk = desk.clone();
    let handler = move |claimed: ClaimedJob| -> BoxFuture<'static, JobResult> {
        let desk = desk.clone();
        async move { desk.look_at_person(&claimed).await }.boxed()
    };
    Ok(Registration {
        kind: kind_named(LOOK)?,
        retry: RETRY,
        timeout: Duration::from_secs(60),
        parallel: AT_ONCE,
        handler: Arc::new(handler),
    })
}
