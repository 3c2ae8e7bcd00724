use serde::Deserialize;

use crate::{
    commands::notices::{Notices, notifications},
    cx::Cx,
    domain::EmailAddress,
    error::{Checks, ErrorCode, Result},
    notify::AboutAccount,
    operation::Command,
};

/// Sends a link by mail with which a forgotten password can be set anew.
///
/// It works once, within 30 minutes, or what the host has set. The answer is the same, after the same time, whether or not the address is somebody's; and to each address goes at most one mail
/// in five minutes.
///
/// Errors: `invalid` for what is no address, `forbidden` where the service sends no mail.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::{Actor, commands::RequestPasswordReset, ports::Notice};
///
/// # let (messenger, notifier) = messenger_core::doc::mailing();
/// # messenger_core::doc::register(&messenger, "ada").await;
/// for email in ["ada@example.org", "nobody@example.org"] {
///     messenger.execute(&Actor::anonymous(), RequestPasswordReset { email: email.into() }).await?;
/// }
/// let mail = messenger_core::doc::mail(&notifier, "resetPassword").await;
/// assert_eq!(mail.to.email.as_str(), "ada@example.org");
/// let Notice::ResetPassword(reset) = mail.notice else { panic!() };
/// assert!(reset.link.as_str().starts_with("https://chat.example.org/reset-password?token="));
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestPasswordReset {
    /// The mail address of the account.
    pub email: String,
}

impl Command for RequestPasswordReset {
    type Output = ();
    const NAME: &'static str = "RequestPasswordReset";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::Invalid, ErrorCode::Forbidden];

    async fn run(self, cx: &mut Cx) -> Result<()> {
        notifications(cx)?;
        let mut checks = Checks::default();
        let email = checks.field("email", EmailAddress::parse(&self.email, cx.limits()));
        checks.finish()?;
        // One job for each, whether or not there is such an account.
        let request = email.map(|email| AboutAccount::ResetPassword { email });
        Notices::store(cx, request).await?.are_due(cx);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Actor,
        ports::{NotifyError, StoreErrorKind},
        testing::{MailScene, Scene, code, pointers},
    };

    #[tokio::test(start_paused = true)]
    async fn the_answer_and_the_work_are_the_same_for_an_unknown_address() {
        let scene = MailScene::new().await;
        scene.mails().await;
        let calls = |method| scene.store.calls(method);
        scene
            .meanwhile(async {
                for email in ["ada@example.org", "nobody@example.org"] {
                    let before = (calls("user_by_login") + calls("user"), calls("enqueue_jobs"));
                    assert_eq!(scene.asks(email).await, "ok");
                    let after = (calls("user_by_login") + calls("user"), calls("enqueue_jobs"));
                    assert_eq!(after, (before.0, before.1 + 1), "{email}");
                }
            })
            .await;
        assert_eq!(scene.mailed().await, [("resetPassword", "ada@example.org".to_owned())]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_is_mailed_once_in_five_minutes_in_whatever_case_it_is_written() {
        let scene = MailScene::new().await;
        scene.mails().await;
        for _ in 0..3 {
            for email in ["ada@example.org", "Ada@Example.ORG"] {
                assert_eq!(scene.asks(email).await, "ok");
            }
        }
        assert_eq!(scene.mailed().await.len(), 1);
        assert_eq!(scene.asks("ada@example.org").await, "ok");
        assert_eq!(scene.mailed().await, []);
        scene.later().await;
        assert_eq!(scene.asks("ada@example.org").await, "ok");
        assert_eq!(scene.mailed().await.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_to_be_mailed_holds_no_secret() {
        let scene = MailScene::new().await;
        scene.asks("ada@example.org").await;
        scene.moves_to("ada@example.com").await;
        scene.mails().await;
        let stored = scene.jobs().await;
        assert_eq!(stored.len(), 4);
        for job in stored {
            let payload: serde_json::Value = serde_json::from_slice(&job.payload.0).unwrap();
            let kind = payload["kind"].as_str().unwrap();
            let fields: Vec<_> = payload.as_object().unwrap().keys().map(String::as_str).collect();
            let expected: &[&str] =
                if kind == "addressChanged" { &["former", "kind", "user"] } else { &["email", "kind"] };
            assert_eq!(fields, expected);
            assert!(!job.unique_key.unwrap().contains("example"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_mail_is_the_same_for_each_try_and_none_once_its_link_has_expired() {
        let scene = MailScene::new().await;
        scene.mails().await;
        scene.notifier.fail_next(NotifyError::Unavailable("the network is down".into()));
        scene.asks("ada@example.org").await;
        let asked = scene.context.now();
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        let mails = scene.notifier.take();
        assert_eq!(mails.len(), 1);
        assert_eq!(mails[0].at, asked, "the time counts from the request");

        scene.later().await;
        for _ in 0..100 {
            scene.notifier.fail_next(NotifyError::Unavailable("the network is down".into()));
        }
        scene.asks("ada@example.org").await;
        tokio::time::sleep(std::time::Duration::from_secs(29 * 60)).await;
        tokio::time::advance(std::time::Duration::from_secs(60)).await;
        let tries = scene.store.calls("user_by_login");
        while scene.notifier.take().is_empty() && scene.jobs().await[0].ended_at.is_none() {
            tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        }
        assert!(scene.store.calls("user_by_login") > tries, "it was looked at");
        assert_eq!(scene.notifier.delivered(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn an_erased_account_gets_nothing() {
        let scene = MailScene::new().await;
        scene.mails().await;
        let password = crate::Password::new("correct horse");
        scene.messenger.execute(&scene.ada, crate::commands::EraseMe { password }).await.unwrap();
        assert_eq!(scene.asks("ada@example.org").await, "ok");
        assert_eq!(scene.mailed().await, []);
    }

    #[tokio::test]
    async fn what_is_no_address_is_told_and_where_nobody_is_mailed_so_is_that() {
        let scene = Scene::new().await;
        let ask = |email: &str| RequestPasswordReset { email: email.into() };
        for email in ["owner@example.org", "nobody@example.org", "nowhere"] {
            assert_eq!(code(&scene.messenger.execute(&Actor::anonymous(), ask(email)).await), "forbidden");
        }
        let (messenger, _) = crate::doc::mailing();
        let answer = messenger.execute(&Actor::anonymous(), ask("nowhere")).await;
        assert_eq!(pointers(&answer), ["/email"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_fails_is_told_of() {
        let scene = MailScene::new().await;
        scene.store.fail("enqueue_jobs", StoreErrorKind::Unavailable, 1);
        assert_eq!(scene.asks("ada@example.org").await, "unavailable");
    }
}
