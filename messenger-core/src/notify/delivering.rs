//! The job that delivers a notification.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};

use super::{
    Notifications, digest, looking, meters,
    outbox::{ACCOUNT, RETRY, Telling, UNREAD, What, kind_named},
};
use crate::{
    context::Context,
    domain::{DisplayName, EmailAddress, Timestamp, UserId},
    error::Result,
    jobs::{JobError, JobResult, Jobs, Registration},
    ports::{
        ClaimId, ClaimedJob, MailOutcome, Notice, Notification, NotifyError, PresenceStore, Recipient,
        Refusal, Refused, Store, StoreErrorKind, StoreResult, UserRecord,
    },
};

/// How long a notifier may take, and what the store and presence take beside it.
const TIMEOUT: Duration = Duration::from_secs(200);
/// How many of a kind one node delivers at the same time.
const PARALLEL: usize = 4;

/// What the work of notifications is done with.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(super) notifications: Arc<Notifications>,
    pub(super) store: Arc<dyn Store>,
    pub(super) presence: Arc<dyn PresenceStore>,
    pub(super) context: Context,
    pub(super) jobs: Jobs,
    /// When this node began: who was online before is not known where presence is kept in memory, so that nobody counts as away
    /// since earlier.
    pub(super) began: Timestamp,
}

/// What is to be done with a notification, now that it is its turn.
#[derive(Debug)]
pub(super) enum Composed {
    /// It is delivered.
    Ready(Notice),
    /// As [`Ready`](Self::Ready), to another address than the account's.
    ReadyFor(EmailAddress, Notice),
    /// It is not time for it.
    NotYet(Duration, &'static str),
    /// Nothing is left to be told, for this reason.
    Nothing(&'static str),
}

/// The kinds of jobs that deliver notifications.
pub(crate) fn registrations(desk: &Desk) -> Result<Vec<Registration>> {
    let delivering = |kind| {
        let desk = desk.clone();
        Ok(Registration {
            kind: kind_named(kind)?,
            retry: RETRY,
            timeout: TIMEOUT,
            parallel: PARALLEL,
            handler: Arc::new(move |claimed: ClaimedJob| deliver(desk.clone(), claimed).boxed()),
        })
    };
    let delivering = [UNREAD, ACCOUNT].into_iter().map(delivering);
    delivering.chain([looking::registration(desk)]).collect()
}

fn deliver(desk: Desk, claimed: ClaimedJob) -> BoxFuture<'static, JobResult> {
    async move {
        let telling: Telling = serde_json::from_slice(&claimed.payload.0).map_err(|error| {
            JobError::failed(format!("the payload can't be read, at its byte {}", error.column()))
        })?;
        desk.deliver(telling, &claimed).await
    }
    .boxed()
}

impl Desk {
    async fn deliver(&self, telling: Telling, claimed: &ClaimedJob) -> JobResult {
        let kind = claimed.kind.as_str();
        let Some(account) = self.account(telling.user).await? else {
            return skipped(kind, "erased");
        };
        let (address, notice) = match self.compose(&account, &telling.what, claimed.created_at).await? {
            Composed::Ready(notice) => (None, notice),
            Composed::ReadyFor(address, notice) => (Some(address), notice),
            Composed::NotYet(time, why) => {
                meters::outcome(kind, "postponed", why);
                return Err(JobError::snooze(time));
            }
            Composed::Nothing(why) => return skipped(kind, why),
        };
        // What is sent to another address says nothing about the account's.
        let is_own = address.is_none();
        let to = self.recipient(&account, address)?;
        let claim = ClaimId::from_bytes(*claimed.claim.job.as_bytes());
        let notification = Notification { claim, at: claimed.created_at, to, notice };
        let answer = self.notifications.notifier.notify(&notification).await;
        self.answered(&account, kind, is_own, answer).await
    }

    async fn compose(
        &self,
        account: &UserRecord,
        what: &What,
        made_at: Timestamp,
    ) -> std::result::Result<Composed, JobError> {
        match what {
            What::Unread { chats } => digest::compose(self, account, chats, made_at).await,
        }
    }

    /// The account, unless it was erased.
    pub(super) async fn account(&self, user: UserId) -> StoreResult<Option<UserRecord>> {
        match self.store.user(user).await {
            Ok(account) => Ok(Some(account).filter(|account| account.erased_at.is_none())),
            Err(error) if error.kind() == StoreErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn recipient(&self, account: &UserRecord, address: Option<EmailAddress>) -> StoreResult<Recipient> {
        let own = || {
            let email = account.email.as_ref().ok_or(StoreErrorKind::NotFound)?;
            StoreResult::Ok(EmailAddress::trusted(email.content.to_text()?))
        };
        let language = account.preferences.language.clone();
        Ok(Recipient {
            user: account.id,
            email: address.map_or_else(own, Ok)?,
            display_name: DisplayName::trusted(account.display_name.to_text()?),
            language: language.unwrap_or_else(|| self.notifications.settings.language.clone()),
        })
    }

    async fn answered(
        &self,
        account: &UserRecord,
        kind: &str,
        is_own: bool,
        answer: std::result::Result<(), NotifyError>,
    ) -> JobResult {
        match answer {
            Ok(()) => {
                meters::outcome(kind, "sent", "");
                // A write for each mail would say what the account says already.
                if is_own && account.mail.refusals > 0 {
                    self.note(account, MailOutcome::Accepted).await;
                }
                Ok(())
            }
            Err(NotifyError::Refused(refusal)) => self.refused(account, kind, is_own, refusal).await,
            Err(error @ NotifyError::Unavailable(_)) => {
                meters::outcome(kind, "retried", "unavailable");
                Err(error.into())
            }
        }
    }

    async fn refused(&self, account: &UserRecord, kind: &str, is_own: bool, refusal: Refusal) -> JobResult {
        match refusal.what {
            Refused::Address => {
                meters::outcome(kind, "refused", "address");
                if is_own {
                    let (at, most) = (self.context.now(), self.notifications.settings.refusals);
                    self.note(account, MailOutcome::Refused { at, most }).await;
                    if account.mail.refusals + 1 >= most {
                        tracing::warn!(user = %account.id, refusals = most, "an address gets no more mail until its person sets one: it was refused too often");
                    }
                }
                Err(JobError::dead(refusal))
            }
            Refused::Content => {
                meters::outcome(kind, "refused", "content");
                Err(JobError::dead(refusal))
            }
            Refused::Sender => {
                meters::outcome(kind, "retried", "sender");
                // Until somebody mends the settings.
                Err(JobError::failed(refusal))
            }
        }
    }

    /// Notes what became of a mail. Without it, the address gets one mail more.
    async fn note(&self, account: &UserRecord, outcome: MailOutcome) {
        let Some(email) = &account.email else { return };
        if let Err(error) = self.store.note_mail(account.id, &email.key, outcome).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(user = %account.id, error, "what became of a mail was not stored");
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it is the answer of a handler")]
fn skipped(kind: &str, why: &'static str) -> JobResult {
    meters::outcome(kind, "skipped", why);
    Ok(())
}
