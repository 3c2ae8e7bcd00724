use serde::Deserialize;

use super::publish_ended;
use crate::{
    commands::{
        attempts::Attempts,
        notices::{invalid_token, notifications},
    },
    cx::Cx,
    domain::{AccountLink, AccountToken, LinkToken, Password, SessionId},
    error::{Checks, ErrorCode, OrNotFound as _, Result},
    notify::fingerprint,
    operation::Command,
    ports::{StoreErrorKind, Topic, UserRecord},
};

/// Sets a new password with the token that [`RequestPasswordReset`](super::RequestPasswordReset) has mailed, and ends all sessions.
///
/// A token is good for one new password, and for none once the password or the address has been changed otherwise. Its use
/// confirms the address.
///
/// Errors: `invalid`, of `/token` for one that is no good, whatever the reason; `forbidden` where the service sends no mail.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::{Actor, Password, commands::{RequestPasswordReset, ResetPassword}};
///
/// # let (messenger, notifier) = messenger_core::doc::mailing();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// let request = RequestPasswordReset { email: "ada@example.org".into() };
/// messenger.execute(&Actor::anonymous(), request).await?;
///
/// // From the link in the mail.
/// let token = messenger_core::doc::token(&messenger_core::doc::mail(&notifier, "resetPassword").await);
/// let reset = ResetPassword { token, new: Password::new("battery staple") };
/// messenger.execute(&Actor::anonymous(), reset.clone()).await?;
/// assert_eq!(messenger.execute(&Actor::anonymous(), reset).await.unwrap_err().code(), "invalid");
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResetPassword {
    /// The token from the link.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub token: LinkToken,
    /// The new password.
    pub new: Password,
}

impl Command for ResetPassword {
    type Output = ();
    const NAME: &'static str = "ResetPassword";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::Invalid, ErrorCode::Forbidden, ErrorCode::Conflict];

    async fn run(self, cx: &mut Cx) -> Result<()> {
        let notifications = notifications(cx)?;
        let mut checks = Checks::default();
        checks.field("new", self.new.check(cx.limits()));
        checks.finish()?;
        let now = cx.context().now();
        let token = notifications.verify(AccountLink::ResetPassword, self.token.expose(), now);
        let token = token.ok_or_else(invalid_token)?;
        let mut attempts = Attempts::new();
        loop {
            let account = account_of(cx, &token).await?;
            let hash = cx.passwords().hash(self.new.clone(), cx.context().random()).await?;
            cx.begin_write([Topic::User(account.id)]);
            // Whoever has changed the password meanwhile has made another version: of several who use the token one succeeds.
            let changed = cx.store().change_password(account.id, account.version, &hash, None).await;
            let changed = match changed {
                Err(error) if error.kind() == StoreErrorKind::NotFound => return Err(invalid_token()),
                changed => changed,
            };
            if let Some(ended) = attempts.settled(changed)? {
                reset(cx, &account, ended).await;
                return Ok(());
            }
        }
    }
}

/// The account that the token is for, as long as it is good.
async fn account_of(cx: &Cx, token: &AccountToken) -> Result<UserRecord> {
    let account = cx.store().user(token.user).await.or_not_found(invalid_token)?;
    let is_good = fingerprint(AccountLink::ResetPassword, &account) == Some(token.fingerprint);
    if is_good { Ok(account) } else { Err(invalid_token()) }
}

async fn reset(cx: &mut Cx, account: &UserRecord, ended: Vec<SessionId>) {
    publish_ended(cx, account.id, ended);
    // Whoever has the token has read the mail. The password is set all the same if this fails.
    if let (Some(email), None) = (&account.email, account.email_confirmed_at) {
        let confirmed = cx.store().confirm_email(account.id, &email.key, cx.context().now()).await;
        if let Err(error) = confirmed {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(user = %account.id, error, "that an address was confirmed was not stored");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        Actor, Error,
        commands::{ChangePassword, EraseMe},
        domain::Timestamp,
        hub::{Ending, Signal},
        ports::{SessionStore as _, StoreErrorKind, UserStore as _},
        testing::{MailScene, Scene, code, pointers},
    };

    const NEW: &str = "battery staple";

    async fn asked() -> (MailScene, LinkToken) {
        let scene = MailScene::new().await;
        scene.mails().await;
        scene.asks("ada@example.org").await;
        let token = scene.token("resetPassword").await;
        (scene, token)
    }

    #[track_caller]
    fn is_no_good(answer: &Result<()>) {
        assert_eq!(pointers(answer), ["/token"], "{answer:?}");
        assert_eq!(answer.as_ref().unwrap_err().to_string(), Error::Invalid(fields()).to_string());
    }

    fn fields() -> Vec<crate::FieldError> {
        let Error::Invalid(fields) = invalid_token() else { panic!() };
        fields
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_sets_one_new_password_and_ends_all_sessions() {
        let (scene, token) = asked().await;
        let session = scene.log_in("correct horse").await.unwrap();
        scene.resets(&token, NEW).await.unwrap();
        assert_eq!(scene.memory.sessions(scene.id()).await.unwrap(), []);
        assert_eq!(code(&scene.messenger.authenticate(session.token.expose()).await), "unauthenticated");
        assert_eq!(code(&scene.log_in("correct horse").await), "invalidCredentials");
        scene.log_in(NEW).await.unwrap();
        is_no_good(&scene.resets(&token, "something else").await);
        is_no_good(&scene.resets(&token, NEW).await);
        scene.log_in(NEW).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_connected_with_the_old_password_is_thrown_out_at_once() {
        let (scene, token) = asked().await;
        let mut connection = scene.messenger.connect(&scene.ada).await.unwrap();
        scene.resets(&token, NEW).await.unwrap();
        let at = tokio::time::Instant::now();
        loop {
            if let Signal::End(ending) = connection.next().await {
                break assert_eq!(ending, Ending::SessionEnded);
            }
        }
        assert!(at.elapsed() < Duration::from_secs(1), "{:?}", at.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn its_use_confirms_the_address_at_once_or_not_at_all() {
        let (scene, token) = asked().await;
        assert!(!scene.me().await.email_confirmed);
        scene.store.fail("confirm_email", StoreErrorKind::Unavailable, 1);
        scene.resets(&token, NEW).await.unwrap();
        assert_eq!(scene.store.user(scene.id()).await.unwrap().email_confirmed_at, None);
        scene.later().await;
        scene.asks("ada@example.org").await;
        let token = scene.token("resetPassword").await;
        scene.resets(&token, "correct horse").await.unwrap();
        assert!(scene.store.user(scene.id()).await.unwrap().email_confirmed_at.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn it_works_for_thirty_minutes_from_the_request_on() {
        let (scene, token) = asked().await;
        let asked_at: Timestamp = scene.jobs().await[0].created_at;
        let left = asked_at.after(Duration::from_secs(1800)).since(scene.context.now());
        tokio::time::advance(left - Duration::from_millis(1)).await;
        // Still good: the new password is what is wrong.
        assert_eq!(pointers(&scene.resets(&token, "short").await), ["/new"]);
        tokio::time::advance(Duration::from_millis(1)).await;
        is_no_good(&scene.resets(&token, NEW).await);

        let (scene, token) = asked().await;
        let asked_at: Timestamp = scene.jobs().await[0].created_at;
        let left = asked_at.after(Duration::from_secs(1800)).since(scene.context.now());
        tokio::time::advance(left - Duration::from_millis(1)).await;
        scene.resets(&token, NEW).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn another_password_or_address_makes_it_void() {
        let (scene, token) = asked().await;
        let (current, new) = (Password::new("correct horse"), Password::new(NEW));
        scene.messenger.execute(&scene.ada, ChangePassword { current, new }).await.unwrap();
        is_no_good(&scene.resets(&token, "something else").await);

        let (scene, token) = asked().await;
        // Whoever reads the former address can no longer do anything.
        scene.moves_to("ada@example.com").await;
        is_no_good(&scene.resets(&token, NEW).await);
        scene.log_in("correct horse").await.unwrap();

        // What is no change of these is no hindrance.
        let (scene, token) = asked().await;
        scene.moves_to("ADA@example.org").await;
        scene.resets(&token, NEW).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_of_another_purpose_account_or_service_is_none() {
        let scene = MailScene::new().await;
        let confirmation = scene.token("confirmAddress").await;
        is_no_good(&scene.resets(&confirmation, NEW).await);
        for none in ["", "AQEB", "not base64!", &"A".repeat(100_000)] {
            is_no_good(&scene.resets(&LinkToken::from(none), NEW).await);
        }
        crate::doc::register(&scene.messenger, "bob").await;
        scene.asks("bob@example.org").await;
        let of_bob = scene.token("resetPassword").await;
        scene.resets(&of_bob, NEW).await.unwrap();
        scene.log_in("correct horse").await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_erased_account_has_no_password_to_set() {
        let (scene, token) = asked().await;
        let (messenger, ada) = (scene.messenger.clone(), scene.ada);
        let password = Password::new("correct horse");
        scene.store.meanwhile("change_password", async move {
            messenger.execute(&ada, EraseMe { password }).await.unwrap();
        });
        is_no_good(&scene.resets(&token, NEW).await);
        is_no_good(&scene.resets(&token, NEW).await);
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_who_use_it_at_once_one_succeeds() {
        let (scene, token) = asked().await;
        let (other, _) = scene.other_node();
        let reset = ResetPassword { token: token.clone(), new: Password::new("something else") };
        scene.store.meanwhile("change_password", async move {
            other.execute(&Actor::anonymous(), reset).await.unwrap();
        });
        is_no_good(&scene.resets(&token, NEW).await);
        scene.log_in("something else").await.unwrap();

        let (scene, token) = asked().await;
        let (messengers, token) = ([scene.messenger.clone(), scene.other_node().0], &token);
        let uses = (0..8).map(|n| {
            let reset = ResetPassword { token: token.clone(), new: Password::new(format!("{NEW} {n}")) };
            let messenger = messengers[n % 2].clone();
            async move { messenger.execute(&Actor::anonymous(), reset).await }
        });
        let answers = futures::future::join_all(uses).await;
        let won: Vec<_> = (0..8).filter(|n| answers[*n].is_ok()).collect();
        let [winner] = won[..] else { panic!("{won:?}") };
        answers.iter().filter(|answer| answer.is_err()).for_each(is_no_good);
        scene.log_in(&format!("{NEW} {winner}")).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn another_change_of_the_account_is_no_hindrance_and_too_many_are() {
        for (times, outcome) in [(7, "ok"), (8, "conflict")] {
            let (scene, token) = asked().await;
            scene.store.fail("change_password", StoreErrorKind::Conflict, times);
            assert_eq!(code(&scene.resets(&token, NEW).await), outcome, "{times}");
        }
        let (scene, token) = asked().await;
        for method in ["user", "change_password"] {
            scene.store.fail(method, StoreErrorKind::Unavailable, 1);
            assert_eq!(code(&scene.resets(&token, NEW).await), "unavailable", "{method}");
        }
        scene.resets(&token, NEW).await.unwrap();
    }

    #[tokio::test]
    async fn where_nobody_is_mailed_there_are_no_tokens() {
        let scene = Scene::new().await;
        let reset = ResetPassword { token: "AQEB".into(), new: Password::new(NEW) };
        assert_eq!(code(&scene.messenger.execute(&Actor::anonymous(), reset).await), "forbidden");
    }
}
