use serde::Deserialize;

use super::publish_ended;
use crate::{
    commands::attempts::Attempts,
    cx::Cx,
    domain::Password,
    error::{Checks, Error, ErrorCode, Result},
    operation::Command,
    ports::Topic,
};

/// Replaces the password and ends all other sessions.
///
/// Errors: `invalidCredentials` if `current` is wrong, `invalid`.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::{Password, commands::ChangePassword};
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// let (old, new) = (Password::new("correct horse"), Password::new("battery staple"));
/// messenger.execute(&ada, ChangePassword { current: old.clone(), new: new.clone() }).await?;
/// let again = messenger.execute(&ada, ChangePassword { current: old, new }).await;
/// assert_eq!(again.unwrap_err().code(), "invalidCredentials");
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangePassword {
    /// The current password.
    pub current: Password,
    /// The new password.
    pub new: Password,
}

impl Command for ChangePassword {
    type Output = ();
    const NAME: &'static str = "ChangePassword";
    const ERRORS: &'static [ErrorCode] =
        &[ErrorCode::InvalidCredentials, ErrorCode::Invalid, ErrorCode::Conflict, ErrorCode::NotFound];

    async fn run(self, cx: &mut Cx) -> Result<()> {
        let user = cx.actor().user()?;
        let mut checks = Checks::default();
        checks.field("new", self.new.check(cx.limits()));
        checks.finish()?;
        let mut attempts = Attempts::new();
        loop {
            let account = cx.store().user(user).await?;
            let passwords = cx.passwords();
            if !passwords.verify(self.current.clone(), account.password_hash.as_deref()).await? {
                return Err(Error::InvalidCredentials);
            }
            let hash = passwords.hash(self.new.clone(), cx.context().random()).await?;
            cx.begin_write([Topic::User(user)]);
            let changed =
                cx.store().change_password(user, account.version, &hash, cx.actor().session()).await;
            if let Some(ended) = attempts.settled(changed)? {
                publish_ended(cx, user, ended);
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Actor,
        commands::{LogIn, UpdateProfile},
        domain::SessionId,
        ports::StoreErrorKind,
        testing::{Scene, Told, Who::*, code, pointers},
    };

    fn change(current: &str, new: &str) -> ChangePassword {
        ChangePassword { current: Password::new(current), new: Password::new(new) }
    }

    async fn log_in(scene: &Scene, password: &str) -> Result<SessionId> {
        let login = LogIn { login: "member".into(), password: Password::new(password), device: None };
        let token = scene.messenger.execute(&Actor::anonymous(), login).await?.token;
        Ok(scene.messenger.authenticate(token.expose()).await?.session().unwrap())
    }

    #[tokio::test]
    async fn the_new_password_is_in_force_and_all_other_sessions_end_with_their_sockets() {
        let scene = Scene::new().await;
        let others =
            [log_in(&scene, "correct horse").await.unwrap(), log_in(&scene, "correct horse").await.unwrap()];
        scene.must(Member, change("correct horse", "battery staple")).await;
        assert_eq!(scene.told().await, [Told::ended(scene.id(Member), &others)]);
        assert_eq!(code(&log_in(&scene, "correct horse").await), "invalidCredentials");
        log_in(&scene, "battery staple").await.unwrap();
        // The session that sent the command stays valid.
        scene.must(Member, change("battery staple", "correct horse")).await;
    }

    #[tokio::test]
    async fn with_no_other_session_there_is_nobody_to_tell() {
        let scene = Scene::new().await;
        scene.must(Member, change("correct horse", "battery staple")).await;
        assert_eq!(scene.told().await, []);
    }

    #[tokio::test]
    async fn asked_by_the_host_all_sessions_end() {
        let scene = Scene::new().await;
        let actor = Actor::on_behalf_of(scene.id(Member));
        let change = change("correct horse", "battery staple");
        scene.messenger.execute(&actor, change).await.unwrap();
        assert_eq!(scene.told().await, [Told::ended(scene.id(Member), &[scene.session(Member)])]);
    }

    #[tokio::test]
    async fn without_the_password_as_it_is_nothing_changes() {
        let scene = Scene::new().await;
        for (who, current) in [(Member, "wrong horse"), (Member, ""), (Erased, "correct horse")] {
            let answer = scene.execute(who, change(current, "battery staple")).await;
            assert_eq!(code(&answer), "invalidCredentials", "{who:?} {current:?}");
        }
        assert_eq!(code(&scene.execute(Nobody, change("correct horse", "battery staple")).await), "notFound");
        assert_eq!(scene.told().await, []);
        log_in(&scene, "correct horse").await.unwrap();
    }

    #[tokio::test]
    async fn a_password_has_8_to_256_characters() {
        let scene = Scene::new().await;
        for bad in [7, 257] {
            // The new password is checked first.
            for current in ["correct horse", "wrong horse"] {
                let answer = scene.execute(Member, change(current, &"ü".repeat(bad))).await;
                assert_eq!(pointers(&answer), ["/new"], "{bad}");
            }
        }
        let (short, long) = ("ü".repeat(8), "ü".repeat(256));
        scene.must(Member, change("correct horse", &short)).await;
        scene.must(Member, change(&short, &long)).await;
        // The length of the current password must not be revealed.
        assert_eq!(code(&scene.execute(Member, change("", "correct horse")).await), "invalidCredentials");
        scene.must(Member, change(&long, "correct horse")).await;
    }

    #[tokio::test]
    async fn a_password_that_is_changed_meanwhile_is_the_one_to_be_known() {
        let scene = Scene::new().await;
        let (messenger, member) = (scene.messenger.clone(), scene.actor(Member));
        let first = change("correct horse", "battery staple");
        scene.store.meanwhile("change_password", async move {
            messenger.execute(&member, first).await.unwrap();
        });
        let answer = scene.execute(Member, change("correct horse", "something else")).await;
        assert_eq!(code(&answer), "invalidCredentials");
        log_in(&scene, "battery staple").await.unwrap();
    }

    #[tokio::test]
    async fn another_change_of_the_account_is_no_hindrance() {
        let scene = Scene::new().await;
        let (messenger, member) = (scene.messenger.clone(), scene.actor(Member));
        let rename = UpdateProfile { display_name: Some("M.".into()), ..UpdateProfile::default() };
        scene.store.meanwhile("change_password", async move {
            messenger.execute(&member, rename).await.unwrap();
        });
        scene.must(Member, change("correct horse", "battery staple")).await;
        log_in(&scene, "battery staple").await.unwrap();
    }

    #[tokio::test]
    async fn others_may_get_ahead_of_it_seven_times() {
        for (times, outcome) in [(7, "ok"), (8, "conflict")] {
            let scene = Scene::new().await;
            scene.store.fail("change_password", StoreErrorKind::Conflict, times);
            let answer = scene.execute(Member, change("correct horse", "battery staple")).await;
            assert_eq!(code(&answer), outcome, "{times}");
        }
    }

    #[tokio::test]
    async fn a_store_that_fails_is_not_asked_again() {
        for method in ["user", "change_password"] {
            let scene = Scene::new().await;
            scene.store.fail(method, StoreErrorKind::Unavailable, 1);
            let answer = scene.execute(Member, change("correct horse", "battery staple")).await;
            assert_eq!(code(&answer), "unavailable", "{method}");
            log_in(&scene, "correct horse").await.unwrap();
        }
    }
}
