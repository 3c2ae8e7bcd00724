use std::fmt;

use crate::{
    commands::verified_end_of_mail,
    cx::Cx,
    domain::UnsubscribeScope,
    error::{ErrorCode, Result},
    operation::Query,
};

/// What [`EndMail`](crate::commands::EndMail) with this token would end, for a page that asks before it does.
///
/// Errors: `invalid`, `notFound` without a [notifier](crate::Builder::notifier).
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::{Actor, queries::CheckEndMail};
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// let check = CheckEndMail { token: "abc".into() };
/// assert_eq!(messenger.query(&Actor::anonymous(), check).await.unwrap_err().code(), "notFound");
/// # });
/// ```
#[derive(Clone)]
pub struct CheckEndMail {
    /// What stands in the link of the mail.
    pub token: String,
}

impl Query for CheckEndMail {
    type Output = UnsubscribeScope;
    const NAME: &'static str = "CheckEndMail";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::Invalid, ErrorCode::NotFound];

    async fn run(self, cx: &Cx) -> Result<UnsubscribeScope> {
        Ok(verified_end_of_mail(cx, &self.token)?.scope)
    }
}

/// Without the token, by which its person's mail can be ended.
impl fmt::Debug for CheckEndMail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckEndMail").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Actor, Unsubscribe,
        queries::GetMe,
        testing::{Scene, Setup, Who::*, code, link_keys},
    };

    #[tokio::test]
    async fn it_says_what_would_end_and_ends_nothing() {
        let scene = Scene::with(Setup { notifies: true, ..Setup::default() }).await;
        for wanted in [UnsubscribeScope::Everything, UnsubscribeScope::Chat(scene.group)] {
            let token = Unsubscribe { user: scene.id(Member), scope: wanted }.sign(&link_keys());
            let said = scene.messenger.query(&Actor::anonymous(), CheckEndMail { token }).await.unwrap();
            assert_eq!(said, wanted);
        }
        assert!(scene.ask(Member, GetMe {}).await.notifications.email);
        let none = CheckEndMail { token: "x".into() };
        assert_eq!(code(&scene.messenger.query(&Actor::anonymous(), none).await), "invalid");
    }
}
