use serde::Deserialize;

use crate::{
    commands::notices::{Notices, notifications},
    cx::Cx,
    error::{Error, ErrorCode, OrNotFound as _, Result},
    notify::{AboutAccount, address},
    operation::Command,
};

/// Sends a link by mail with which the caller's address is confirmed, as registering and a new address do, too.
///
/// To each address goes at most one such mail in five minutes, and to one that was confirmed none.
///
/// Errors: `forbidden` where the service sends no mail.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::commands::RequestEmailConfirmation;
///
/// # let (messenger, notifier) = messenger_core::doc::mailing();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// messenger.execute(&ada, RequestEmailConfirmation {}).await?;
/// let mail = messenger_core::doc::mail(&notifier, "confirmAddress").await;
/// assert_eq!(mail.to.email.as_str(), "ada@example.org");
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestEmailConfirmation {}

impl Command for RequestEmailConfirmation {
    type Output = ();
    const NAME: &'static str = "RequestEmailConfirmation";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::Forbidden, ErrorCode::NotFound];

    async fn run(self, cx: &mut Cx) -> Result<()> {
        let user = cx.actor().user()?;
        notifications(cx)?;
        let account = cx.store().user(user).await.or_not_found(|| Error::NotFound("account"))?;
        let email = address(&account)?.ok_or(Error::NotFound("account"))?;
        if account.email_confirmed_at.is_none() {
            Notices::store(cx, [AboutAccount::ConfirmAddress { email }]).await?.are_due(cx);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ports::StoreErrorKind,
        testing::{MailScene, Scene, Who::*, code},
    };

    async fn ask(scene: &MailScene) -> &'static str {
        code(&scene.messenger.execute(&scene.ada, RequestEmailConfirmation {}).await)
    }

    #[tokio::test(start_paused = true)]
    async fn the_address_is_mailed_again_until_it_is_confirmed() {
        let scene = MailScene::new().await;
        scene.mails().await;
        assert_eq!(ask(&scene).await, "ok");
        assert_eq!(scene.mailed().await, [], "it was mailed a moment ago");
        scene.later().await;
        assert_eq!((ask(&scene).await, ask(&scene).await), ("ok", "ok"));
        let token = scene.token("confirmAddress").await;
        scene.confirms(&token).await.unwrap();
        scene.later().await;
        assert_eq!(ask(&scene).await, "ok");
        assert_eq!(scene.mailed().await, []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_fails_is_told_of() {
        let scene = MailScene::new().await;
        for method in ["user", "enqueue_jobs"] {
            scene.store.fail(method, StoreErrorKind::Unavailable, 1);
            assert_eq!(ask(&scene).await, "unavailable", "{method}");
        }
    }

    #[tokio::test]
    async fn where_nobody_is_mailed_there_is_none() {
        let scene = Scene::new().await;
        assert_eq!(code(&scene.execute(Member, RequestEmailConfirmation {}).await), "forbidden");
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_no_account_has_no_address() {
        let scene = MailScene::new().await;
        let nobody = crate::Actor::on_behalf_of(scene.context.id());
        assert_eq!(code(&scene.messenger.execute(&nobody, RequestEmailConfirmation {}).await), "notFound");
        let password = crate::Password::new("correct horse");
        scene.messenger.execute(&scene.ada, crate::commands::EraseMe { password }).await.unwrap();
        let erased = crate::Actor::on_behalf_of(scene.id());
        assert_eq!(code(&scene.messenger.execute(&erased, RequestEmailConfirmation {}).await), "notFound");
    }
}
