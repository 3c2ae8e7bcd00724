//! The job that delivers a notification.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};

use super::{
    desk::{Composed, Desk},
    digest, meters,
    outbox::{ACCOUNT, AboutAccount, RETRY, Telling, UNREAD, What, kind_named},
};
use crate::{
    domain::{DisplayName, EmailAddress, Timestamp},
    error::Result,
    jobs::{JobError, JobResult, Registration},
    ports::{
        ClaimId, ClaimedJob, MailOutcome, Notification, NotifyError, Recipient, Refusal, Refused,
        StoreErrorKind, StoreResult, UserRecord,
    },
};

/// How long a notifier may take, and what the store and presence take beside it.
const TIMEOUT: Duration = Duration::from_secs(200);
/// How many of a kind one node delivers at the same time.
const PARALLEL: usize = 4;

/// The kinds of jobs that deliver notifications.
pub(super) fn registrations(desk: &Desk) -> Result<Vec<Registration>> {
    type Deliver = fn(Desk, ClaimedJob) -> BoxFuture<'static, JobResult>;
    let delivering = |(kind, deliver): (_, Deliver)| {
        let desk = desk.clone();
        Ok(Registration {
            kind: kind_named(kind)?,
            retry: RETRY,
            timeout: TIMEOUT,
            parallel: PARALLEL,
            handler: Arc::new(move |claimed: ClaimedJob| deliver(desk.clone(), claimed)),
        })
    };
    [(UNREAD, deliver as Deliver), (ACCOUNT, deliver_about_account)].into_iter().map(delivering).collect()
}

fn deliver(desk: Desk, claimed: ClaimedJob) -> BoxFuture<'static, JobResult> {
    async move {
        let telling: Telling = payload(&claimed)?;
        desk.deliver(telling, &claimed).await
    }
    .boxed()
}

fn deliver_about_account(desk: Desk, claimed: ClaimedJob) -> BoxFuture<'static, JobResult> {
    async move {
        let about: AboutAccount = payload(&claimed)?;
        let (account, composed) = desk.about_account(&about, claimed.created_at).await?;
        desk.hand_over(account.as_ref(), composed, &claimed).await
    }
    .boxed()
}

fn payload<T: serde::de::DeserializeOwned>(claimed: &ClaimedJob) -> std::result::Result<T, JobError> {
    // What the error says may quote the payload.
    serde_json::from_slice(&claimed.payload.0).map_err(|error| {
        JobError::failed(format!("the payload can't be read, at its byte {}", error.column()))
    })
}

impl Desk {
    async fn deliver(&self, telling: Telling, claimed: &ClaimedJob) -> JobResult {
        let account = self.account(telling.user).await?;
        let composed = match &account {
            Some(account) => self.compose(account, &telling.what, claimed.created_at).await?,
            None => Composed::Nothing("erased"),
        };
        self.hand_over(account.as_ref(), composed, claimed).await
    }

    async fn hand_over(
        &self,
        account: Option<&UserRecord>,
        composed: Composed,
        claimed: &ClaimedJob,
    ) -> JobResult {
        let kind = claimed.kind.as_str();
        let (address, notice) = match composed {
            Composed::Ready(notice) => (None, notice),
            Composed::ReadyFor(address, notice) => (Some(address), notice),
            Composed::NotYet(time, why) => {
                meters::outcome(kind, "postponed", why);
                return Err(JobError::snooze(time));
            }
            Composed::Nothing(why) => return skipped(kind, why),
        };
        let Some(account) = account else { return skipped(kind, "unknown") };
        // What is sent to another address says nothing about the account's.
        let is_own = address.is_none();
        let to = self.recipient(account, address)?;
        let claim = ClaimId::from_bytes(*claimed.claim.job.as_bytes());
        let notification = Notification { claim, at: claimed.created_at, to, notice };
        let answer = self.notifications.notifier.notify(&notification).await;
        self.answered(account, kind, is_own, answer).await
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
