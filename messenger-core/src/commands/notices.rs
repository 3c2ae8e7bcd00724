use crate::{
    cx::Cx,
    error::{Error, Result},
    notify::{AboutAccount, Notifications},
    ports::NewJob,
};

/// What people are to be told of a change, stored before the change: so a crash in between forgets nothing. What delivers it looks
/// whether the change has come, and if it does not tells nobody. So nothing is taken back either: it may stand for what others have
/// asked for.
#[must_use = "somebody waits for them"]
pub(super) struct Notices(Vec<NewJob>);

impl Notices {
    /// Stores them; nothing where nobody is told.
    pub(super) async fn store(cx: &Cx, all: impl IntoIterator<Item = AboutAccount>) -> Result<Self> {
        let mut jobs = Vec::new();
        if let Some(notifications) = cx.notifications() {
            for about in all {
                jobs.push(about.into_job(cx.context(), &notifications.settings.keys)?);
            }
        }
        if !jobs.is_empty() {
            cx.store().enqueue_jobs(&jobs).await?;
        }
        Ok(Self(jobs))
    }

    /// The change is there: now the workers of this node may know.
    pub(super) fn are_due(self, cx: &Cx) {
        cx.jobs().note(&self.0);
    }
}

/// How people are told.
///
/// # Errors
/// [`Error::Forbidden`] where they are not.
pub(super) fn notifications(cx: &Cx) -> Result<&Notifications> {
    cx.notifications().ok_or(Error::Forbidden("This service sends no mail, so that can't be done here."))
}

/// The error for a token that is good for nothing, whatever the reason: the same for all.
pub(super) fn invalid_token() -> Error {
    Error::invalid("token", "is not valid, or no longer: ask for a new link")
}
