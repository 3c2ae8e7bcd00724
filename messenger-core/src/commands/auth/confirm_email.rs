use serde::Deserialize;

use crate::{
    commands::notices::{invalid_token, notifications},
    cx::Cx,
    domain::{AccountLink, LinkToken},
    error::{ErrorCode, OrNotFound as _, Result},
    notify::fingerprint,
    operation::Command,
};

/// Confirms an address with the token that was mailed to it, whoever is logged in.
///
/// A token is good as long as it has not expired and the address is the account's; to confirm it again changes nothing.
///
/// Errors: `invalid`, of `/token` for one that is no good, whatever the reason; `forbidden` where the service sends no mail.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::{Actor, commands::ConfirmEmail, queries::GetMe};
///
/// # let (messenger, notifier) = messenger_core::doc::mailing();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// assert!(!messenger.query(&ada, GetMe {}).await?.email_confirmed);
///
/// // From the link in the mail.
/// let token = messenger_core::doc::token(&messenger_core::doc::mail(&notifier, "confirmAddress").await);
/// messenger.execute(&Actor::anonymous(), ConfirmEmail { token }).await?;
/// assert!(messenger.query(&ada, GetMe {}).await?.email_confirmed);
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfirmEmail {
    /// The token from the link.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub token: LinkToken,
}

impl Command for ConfirmEmail {
    type Output = ();
    const NAME: &'static str = "ConfirmEmail";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::Invalid, ErrorCode::Forbidden];

    async fn run(self, cx: &mut Cx) -> Result<()> {
        let now = cx.context().now();
        let token = notifications(cx)?.verify(AccountLink::ConfirmAddress, self.token.expose(), now);
        let token = token.ok_or_else(invalid_token)?;
        let account = cx.store().user(token.user).await.or_not_found(invalid_token)?;
        let is_good = fingerprint(AccountLink::ConfirmAddress, &account) == Some(token.fingerprint);
        let email = account.email.filter(|_| is_good).ok_or_else(invalid_token)?;
        let is_confirmed = cx.store().confirm_email(account.id, &email.key, now).await?;
        if is_confirmed { Ok(()) } else { Err(invalid_token()) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        Actor, Password,
        commands::EraseMe,
        ports::StoreErrorKind,
        testing::{MailScene, Scene, code, pointers},
    };

    #[track_caller]
    fn is_no_good(answer: &Result<()>) {
        assert_eq!(pointers(answer), ["/token"], "{answer:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_confirms_the_address_to_which_it_was_mailed() {
        let scene = MailScene::new().await;
        let token = scene.token("confirmAddress").await;
        assert!(!scene.me().await.email_confirmed);
        scene.confirms(&token).await.unwrap();
        assert!(scene.me().await.email_confirmed);
        // A link that is followed twice is no fault.
        scene.confirms(&token).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn it_works_for_two_days() {
        let scene = MailScene::new().await;
        let token = scene.token("confirmAddress").await;
        tokio::time::advance(Duration::from_secs(2 * 86_400 - 10)).await;
        scene.confirms(&token).await.unwrap();
        tokio::time::advance(Duration::from_secs(10)).await;
        is_no_good(&scene.confirms(&token).await);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_void_for_another_address() {
        let scene = MailScene::new().await;
        let token = scene.token("confirmAddress").await;
        scene.confirms(&token).await.unwrap();
        scene.moves_to("ada@example.com").await;
        assert!(!scene.me().await.email_confirmed);
        is_no_good(&scene.confirms(&token).await);
        let of_new = scene.token("confirmAddress").await;
        scene.confirms(&of_new).await.unwrap();
        assert!(scene.me().await.email_confirmed);
        // Only the case changes.
        scene.moves_to("ADA@example.com").await;
        assert!(scene.me().await.email_confirmed);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_is_changed_meanwhile_is_not_confirmed() {
        let scene = MailScene::new().await;
        let token = scene.token("confirmAddress").await;
        let (messenger, ada) = (scene.messenger.clone(), scene.ada);
        scene.store.meanwhile("confirm_email", async move {
            let email = Some("ada@example.com".into());
            let change = crate::commands::UpdateProfile { email, ..Default::default() };
            messenger.execute(&ada, change).await.unwrap();
        });
        is_no_good(&scene.confirms(&token).await);
        assert!(!scene.me().await.email_confirmed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_of_another_purpose_or_an_erased_account_is_none() {
        let scene = MailScene::new().await;
        let token = scene.token("confirmAddress").await;
        scene.asks("ada@example.org").await;
        let reset = scene.token("resetPassword").await;
        is_no_good(&scene.confirms(&reset).await);
        is_no_good(&scene.confirms(&LinkToken::from("")).await);
        for method in ["user", "confirm_email"] {
            scene.store.fail(method, StoreErrorKind::Unavailable, 1);
            assert_eq!(code(&scene.confirms(&token).await), "unavailable", "{method}");
        }
        let password = Password::new("correct horse");
        scene.messenger.execute(&scene.ada, EraseMe { password }).await.unwrap();
        is_no_good(&scene.confirms(&token).await);
    }

    #[tokio::test]
    async fn where_nobody_is_mailed_there_are_no_tokens() {
        let scene = Scene::new().await;
        let confirm = ConfirmEmail { token: "AQEB".into() };
        assert_eq!(code(&scene.messenger.execute(&Actor::anonymous(), confirm).await), "forbidden");
    }
}
