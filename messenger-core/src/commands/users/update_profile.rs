use serde::Deserialize;

use crate::{
    commands::{attempts::Attempts, auth::stored_address, notices::Notices},
    convert,
    cx::Cx,
    domain::{DisplayName, EmailAddress, Me, Notifications},
    error::{Checks, ErrorCode, Result},
    notify::{AboutAccount, address},
    operation::Command,
    ports::{StoredName, UpdateUser, UserRecord},
};

/// Changes the caller's account; fields that are absent stay unchanged.
///
/// Another address is not confirmed. Where the service sends mail, one is sent to confirm it, and the former address is told of the
/// change.
///
/// Errors: `invalid`, `emailTaken`.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::commands::UpdateProfile;
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// # let bob = messenger_core::doc::register(&messenger, "bob").await;
/// let change = UpdateProfile { display_name: Some("Ada L.".into()), email: None, notifications: None };
/// let me = messenger.execute(&ada, change).await?;
/// assert_eq!(me.user.display_name.as_str(), "Ada L.");
///
/// let change = UpdateProfile { display_name: None, email: Some("bob@example.org".into()), notifications: None };
/// assert_eq!(messenger.execute(&ada, change).await.unwrap_err().code(), "emailTaken");
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateProfile {
    /// The name that others see.
    pub display_name: Option<String>,
    /// The mail address.
    pub email: Option<String>,
    /// Which notifications the person wants outside the chat.
    pub notifications: Option<Notifications>,
}

impl Command for UpdateProfile {
    type Output = Me;
    const NAME: &'static str = "UpdateProfile";
    const ERRORS: &'static [ErrorCode] =
        &[ErrorCode::Invalid, ErrorCode::EmailTaken, ErrorCode::Conflict, ErrorCode::NotFound];

    async fn run(self, cx: &mut Cx) -> Result<Me> {
        let user = cx.actor().user()?;
        let mut checks = Checks::default();
        let limits = cx.limits();
        let display_name = checks
            .optional("displayName", self.display_name.as_deref().map(|n| DisplayName::parse(n, limits)));
        let email = checks.optional("email", self.email.as_deref().map(|e| EmailAddress::parse(e, limits)));
        checks.finish()?;
        let mut attempts = Attempts::new();
        loop {
            let account = cx.store().user(user).await?;
            let notices = Notices::store(cx, change_of_address(&account, email.as_ref())?).await?;
            let expected = account.version;
            let update = UpdateUser {
                id: user,
                expected,
                display_name: display_name.as_ref().map(StoredName::from),
                email: email.as_ref().map(stored_address),
                notify_email: self.notifications.map(|notifications| notifications.email),
                preferences: None,
            };
            if let Some(updated) = attempts.settled(cx.store().update_user(update).await)? {
                notices.are_due(cx);
                return Ok(convert::me(updated)?);
            }
        }
    }
}

/// Who is told of a change of the address: nobody if only its case changes.
fn change_of_address(account: &UserRecord, email: Option<&EmailAddress>) -> Result<Vec<AboutAccount>> {
    let (Some(former), Some(email)) = (address(account)?, email.cloned()) else { return Ok(Vec::new()) };
    if former.folded() == email.folded() {
        return Ok(Vec::new());
    }
    let user = account.id;
    Ok(vec![AboutAccount::ConfirmAddress { email }, AboutAccount::AddressChanged { user, former }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        commands::ChangePassword,
        domain::Password,
        ports::StoreErrorKind,
        queries::GetMe,
        testing::{Scene, Who::*, code, pointers},
    };

    fn nothing() -> UpdateProfile {
        UpdateProfile { display_name: None, email: None, notifications: None }
    }

    fn name(name: &str) -> UpdateProfile {
        UpdateProfile { display_name: Some(name.into()), ..nothing() }
    }

    fn email(email: &str) -> UpdateProfile {
        UpdateProfile { email: Some(email.into()), ..nothing() }
    }

    #[tokio::test]
    async fn what_is_absent_stays_as_it_is_and_nobody_is_told() {
        let scene = Scene::new().await;
        let mut expected = scene.ask(Member, GetMe {}).await;
        let quiet = UpdateProfile { notifications: Some(Notifications { email: false }), ..nothing() };
        let loud = UpdateProfile { notifications: Some(Notifications { email: true }), ..nothing() };
        for change in [nothing(), name("M. Ember"), email("M@example.org"), quiet, loud] {
            if let Some(name) = &change.display_name {
                expected.user.display_name = DisplayName::trusted(name.as_str());
            }
            if let Some(email) = &change.email {
                expected.email = EmailAddress::trusted(email.as_str());
            }
            expected.notifications = change.notifications.unwrap_or(expected.notifications);
            assert_eq!(scene.must(Member, change.clone()).await, expected, "{change:?}");
            assert_eq!(scene.ask(Member, GetMe {}).await, expected, "{change:?}");
        }
        assert_eq!(scene.told().await, []);
    }

    #[tokio::test]
    async fn an_address_belongs_to_one_account_without_regard_to_case() {
        let scene = Scene::new().await;
        assert_eq!(code(&scene.execute(Member, email("Owner@Example.ORG")).await), "emailTaken");
        // Changing the case of the caller's own address does not conflict with another account.
        scene.must(Member, email("Member@Example.ORG")).await;
        scene.must(Member, email("new@example.org")).await;
        // An address that was given up can be used by others.
        scene.must(Owner, email("member@example.org")).await;
    }

    #[tokio::test]
    async fn all_fields_that_do_not_fit_are_named_at_once() {
        let scene = Scene::new().await;
        let before = scene.ask(Member, GetMe {}).await;
        for (length, wrong) in [(0, "/displayName"), (1, ""), (64, ""), (65, "/displayName")] {
            let answer = scene.execute(Member, name(&"ü".repeat(length))).await;
            assert_eq!(pointers(&answer).concat(), wrong, "{length}");
        }
        scene.must(Member, name(before.user.display_name.as_str())).await;
        let bad = UpdateProfile { email: Some("nowhere".into()), ..name("two\nlines") };
        assert_eq!(pointers(&scene.execute(Member, bad).await), ["/displayName", "/email"]);
        let half = UpdateProfile { email: Some("nowhere".into()), ..name("M. Ember") };
        assert_eq!(pointers(&scene.execute(Member, half).await), ["/email"]);
        assert_eq!(scene.ask(Member, GetMe {}).await, before);
    }

    #[tokio::test]
    async fn an_erased_account_is_changed_no_more() {
        let scene = Scene::new().await;
        for who in [Erased, Nobody] {
            assert_eq!(code(&scene.execute(who, name("Me")).await), "notFound", "{who:?}");
        }
    }

    #[tokio::test]
    async fn another_change_of_the_account_is_no_hindrance() {
        let scene = Scene::new().await;
        let (messenger, member) = (scene.messenger.clone(), scene.actor(Member));
        let (current, new) = (Password::new("correct horse"), Password::new("battery staple"));
        scene.store.meanwhile("update_user", async move {
            messenger.execute(&member, ChangePassword { current, new }).await.unwrap();
        });
        assert_eq!(scene.must(Member, name("M. Ember")).await.user.display_name.as_str(), "M. Ember");
    }

    #[tokio::test]
    async fn others_may_get_ahead_of_it_seven_times() {
        for (times, outcome) in [(7, "ok"), (8, "conflict")] {
            let scene = Scene::new().await;
            scene.store.fail("update_user", StoreErrorKind::Conflict, times);
            assert_eq!(code(&scene.execute(Member, name("M. Ember")).await), outcome, "{times}");
        }
    }

    #[tokio::test]
    async fn a_store_that_fails_is_not_asked_again() {
        for method in ["user", "update_user"] {
            let scene = Scene::new().await;
            scene.store.fail(method, StoreErrorKind::Unavailable, 1);
            assert_eq!(code(&scene.execute(Member, name("M. Ember")).await), "unavailable", "{method}");
        }
    }
}
