use serde::Deserialize;

use super::{new_session, publish_ended};
use crate::{
    commands::attempts::Attempts,
    convert,
    cx::Cx,
    domain::{Authenticated, Device, Password, Username},
    error::{Checks, Error, ErrorCode, Result},
    operation::Command,
    passwords::Fit,
    ports::{LoginKey, StoreErrorKind, Topic, UserRecord},
};

/// Begins a session.
///
/// Errors: `invalidCredentials`, for an unknown account as for a wrong password, after the same time.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::{Actor, Password, commands::LogIn};
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// let log_in = LogIn { login: "ada@example.org".into(), password: Password::new("correct horse"), device: None };
/// let session = messenger.execute(&Actor::anonymous(), log_in.clone()).await?;
/// let ada = messenger.authenticate(session.token.expose()).await?;
///
/// let wrong = LogIn { password: Password::new("wrong horse"), ..log_in };
/// let refused = messenger.execute(&Actor::anonymous(), wrong).await;
/// assert_eq!(refused.unwrap_err().code(), "invalidCredentials");
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogIn {
    /// The username or the mail address, case-insensitive.
    pub login: String,
    /// The password.
    pub password: Password,
    /// The device that the session is used on, described for its owner.
    pub device: Option<String>,
}

impl Command for LogIn {
    type Output = Authenticated;
    const NAME: &'static str = "LogIn";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::InvalidCredentials, ErrorCode::Invalid];

    async fn run(self, cx: &mut Cx) -> Result<Authenticated> {
        let mut checks = Checks::default();
        let device = checks.optional("device", self.device.as_deref().map(|d| Device::parse(d, cx.limits())));
        checks.finish()?;

        let mut attempts = Attempts::new();
        let mut good = None;
        loop {
            let account = self.verified(cx, &mut good).await?;
            let (session, token) = new_session(cx, account.id, device.clone());
            let expires_at = session.expires_at;
            cx.begin_write([Topic::User(account.id)]);
            // Of another version if the password was changed since it was read: the session would outlive that.
            let ended = cx.store().create_session(session, account.version, cx.limits().sessions).await;
            let ended = match ended {
                // The account was erased since it was read.
                Err(error) if error.kind() == StoreErrorKind::NotFound => {
                    return Err(Error::InvalidCredentials);
                }
                ended => attempts.settled(ended).map_err(busy)?,
            };
            if let Some(ended) = ended {
                publish_ended(cx, account.id, ended);
                if let Some((_, Fit::Outdated)) = good {
                    hash_anew(cx, &account, self.password).await;
                }
                return Ok(Authenticated { user: convert::me(account)?, token, expires_at });
            }
        }
    }
}

impl LogIn {
    /// The account as it is now, if the password is that of it. `good` is the hash that the password was compared with
    /// before: to compare is expensive.
    async fn verified(&self, cx: &Cx, good: &mut Option<(String, Fit)>) -> Result<UserRecord> {
        let account = find(cx, &self.login).await?;
        let hash = account.as_ref().and_then(|account| account.password_hash.as_deref());
        if hash.is_none() || hash != good.as_ref().map(|(hash, _)| hash.as_str()) {
            let fit = cx.passwords().fit(self.password.clone(), hash).await?;
            if fit == Fit::Wrong {
                return Err(Error::InvalidCredentials);
            }
            *good = hash.map(|hash| (hash.to_owned(), fit));
        }
        account.ok_or(Error::InvalidCredentials)
    }
}

/// To who logs in it does not matter why it can't be done now.
fn busy(error: Error) -> Error {
    if let Error::Conflict = error { Error::unavailable() } else { error }
}

/// Gives the account a hash of today. If that can't be done now, the next log-in tries again.
async fn hash_anew(cx: &Cx, account: &UserRecord, password: Password) {
    let hash = cx.passwords().hash_if_idle(password, cx.context().random()).await;
    let (Some(Ok(hash)), Some(former)) = (hash, &account.password_hash) else { return };
    if let Err(error) = cx.store().upgrade_password(account.id, former, &hash).await {
        let error = &error as &dyn std::error::Error;
        tracing::debug!(user = %account.id, error, "a password was not hashed anew");
    }
}

async fn find(cx: &Cx, login: &str) -> Result<Option<UserRecord>> {
    let folded = login.to_lowercase();
    let username;
    let key = if folded.contains('@') {
        LoginKey::Email(folded.as_bytes())
    } else {
        match Username::parse(&folded, cx.limits()) {
            Ok(parsed) => username = parsed,
            Err(_) => return Ok(None),
        }
        LoginKey::Username(&username)
    };
    // Longer than any address: no need to ask the store.
    if folded.len() > 320 {
        return Ok(None);
    }
    match cx.store().user_by_login(key).await {
        Err(error) if error.kind() == StoreErrorKind::NotFound => Ok(None),
        found => Ok(Some(found?)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        Actor, PasswordCost, Settings,
        commands::{ChangePassword, EraseMe, UpdateProfile},
        domain::Limits,
        ports::{SessionStore as _, UserStore as _},
        queries::{GetMe, ListSessions},
        testing::{Scene, Setup, Told, Who::*, code, pointers},
    };

    fn with(login: &str, password: &str) -> LogIn {
        LogIn { login: login.into(), password: Password::new(password), device: None }
    }

    async fn log_in(scene: &Scene, command: LogIn) -> Result<Authenticated> {
        scene.messenger.execute(&Actor::anonymous(), command).await
    }

    #[tokio::test]
    async fn one_logs_in_with_username_or_address_without_regard_to_case() {
        let scene = Scene::new().await;
        for login in ["member", "MEMBER", "member@example.org", "Member@Example.ORG"] {
            let answer = log_in(&scene, with(login, "correct horse")).await.unwrap();
            assert_eq!(answer.user, scene.ask(Member, GetMe {}).await, "{login}");
            let actor = scene.messenger.authenticate(answer.token.expose()).await.unwrap();
            assert_eq!(actor.user().unwrap(), scene.id(Member), "{login}");
        }
        assert_eq!(scene.told().await, []);
    }

    #[tokio::test]
    async fn an_unknown_account_is_answered_as_a_wrong_password_is() {
        let scene = Scene::new().await;
        let cases = [
            ("member", "wrong horse"),
            ("member@example.org", "Correct horse"),
            ("member", ""),
            // An unknown account.
            ("nobody", "correct horse"),
            ("nobody@example.org", "correct horse"),
            ("nobody", "nobody"),
            // An erased account.
            ("erased", "correct horse"),
            ("erased@example.org", "correct horse"),
            // Logins that no account can have.
            ("", "correct horse"),
            ("mem ber", "correct horse"),
            ("member\0", "correct horse"),
            ("@", "correct horse"),
        ];
        for (login, password) in cases {
            assert_eq!(code(&log_in(&scene, with(login, password)).await), "invalidCredentials", "{login:?}");
        }
        let erased = format!("deleted:{}", scene.id(Erased));
        assert_eq!(code(&log_in(&scene, with(&erased, "correct horse")).await), "invalidCredentials");
    }

    #[tokio::test]
    async fn a_password_is_tried_whether_there_is_an_account_or_not() {
        let password_cost = PasswordCost { wait: Duration::ZERO, ..PasswordCost::default() };
        let settings = Settings { password_cost, ..Settings::default() };
        let scene = Scene::with(Setup { settings, ..Setup::default() }).await;
        let turns = scene.messenger.service().passwords.take_all_turns();
        let long = format!("{}@example.org", "x".repeat(1000));
        let logins = ["member", "nobody", "nobody@example.org", "mem ber", "", &*long];
        for login in logins {
            assert_eq!(code(&log_in(&scene, with(login, "wrong horse")).await), "unavailable", "{login:?}");
        }
        drop(turns);
        for login in logins {
            let answer = log_in(&scene, with(login, "wrong horse")).await;
            assert_eq!(code(&answer), "invalidCredentials", "{login:?}");
        }
    }

    #[tokio::test]
    async fn a_login_that_nobody_can_have_is_no_question_to_the_store() {
        let scene = Scene::new().await;
        let domain = "@example.org";
        for (length, questions) in [(320, 1), (321, 0)] {
            let login = "x".repeat(length - domain.len()) + domain;
            let before = scene.store.calls("user_by_login");
            assert_eq!(code(&log_in(&scene, with(&login, "correct horse")).await), "invalidCredentials");
            assert_eq!(scene.store.calls("user_by_login") - before, questions, "{length}");
        }
    }

    #[tokio::test]
    async fn a_session_lasts_from_its_log_in_and_is_called_what_the_client_says() {
        let settings = Settings { session_lifetime: Duration::from_secs(3600), ..Settings::default() };
        let scene = Scene::with(Setup { settings, ..Setup::default() }).await;
        scene.clock.advance(Duration::from_secs(60));
        let now = scene.messenger.service().context.now();
        let on_phone = LogIn { device: Some("phone".into()), ..with("member", "correct horse") };
        let answer = log_in(&scene, on_phone).await.unwrap();
        assert_eq!(answer.expires_at, now.after(Duration::from_secs(3600)));
        let session = scene.store.session_by_token(&answer.token.hash()).await.unwrap();
        assert_eq!((session.created_at, session.expires_at), (now, answer.expires_at));
        assert_eq!(session.device.unwrap().to_text().unwrap(), "phone");
    }

    #[tokio::test]
    async fn a_device_has_1_to_128_characters() {
        let scene = Scene::new().await;
        for (length, wrong) in [(0, "/device"), (1, ""), (128, ""), (129, "/device")] {
            let device = Some("x".repeat(length));
            let answer = log_in(&scene, LogIn { device, ..with("member", "correct horse") }).await;
            assert_eq!(pointers(&answer).concat(), wrong, "{length}");
        }
    }

    #[tokio::test]
    async fn one_session_too_many_ends_the_one_longest_unused() {
        let limits = Limits { sessions: 2, ..Limits::default() };
        let scene = Scene::with(Setup { limits, ..Setup::default() }).await;
        let first = scene.session(Member);
        scene.clock.advance(Duration::from_secs(1));
        log_in(&scene, with("member", "correct horse")).await.unwrap();
        assert_eq!(scene.told().await, []);
        scene.clock.advance(Duration::from_secs(1));
        log_in(&scene, with("member", "correct horse")).await.unwrap();
        assert_eq!(scene.told().await, [Told::ended(scene.id(Member), &[first])]);
        let list = ListSessions { limit: None, cursor: None };
        let sessions = scene.ask(Member, list).await.items;
        assert_eq!(sessions.len(), 2);
        assert!(sessions.iter().all(|session| session.id != first));
    }

    #[tokio::test]
    async fn an_account_that_is_erased_meanwhile_is_an_unknown_one() {
        let scene = Scene::new().await;
        let (messenger, member) = (scene.messenger.clone(), scene.actor(Member));
        scene.store.meanwhile("create_session", async move {
            let password = Password::new("correct horse");
            messenger.execute(&member, EraseMe { password }).await.unwrap();
        });
        let answer = log_in(&scene, with("member", "correct horse")).await;
        assert_eq!(code(&answer), "invalidCredentials");
    }

    #[tokio::test]
    async fn a_store_that_fails_is_no_wrong_password() {
        for method in ["user_by_login", "create_session"] {
            let scene = Scene::new().await;
            scene.store.fail(method, StoreErrorKind::Unavailable, 1);
            assert_eq!(
                code(&log_in(&scene, with("member", "correct horse")).await),
                "unavailable",
                "{method}"
            );
        }
    }

    const TYPED: &str = "Zoe\u{308} und ein Pferd";

    /// Somebody whose password was hashed as it was typed.
    async fn with_a_hash_of_before(scene: &Scene) -> UserRecord {
        use argon2::{Argon2, Params, PasswordHasher as _};
        let argon2 = Argon2::from(Params::new(8, 1, 1, None).unwrap());
        let hash = argon2.hash_password_with_salt(TYPED.as_bytes(), &[7; 16]).unwrap().to_string();
        let member = scene.id(Member);
        let version = scene.store.user(member).await.unwrap().version;
        scene.store.change_password(member, version, &hash, Some(scene.session(Member))).await.unwrap();
        scene.store.user(member).await.unwrap()
    }

    #[tokio::test]
    async fn a_hash_of_before_is_replaced_and_nothing_else() {
        let scene = Scene::new().await;
        let before = with_a_hash_of_before(&scene).await;
        assert_eq!(code(&log_in(&scene, with("member", "wrong horse")).await), "invalidCredentials");
        assert_eq!(scene.store.calls("upgrade_password"), 0);
        log_in(&scene, with("member", TYPED)).await.unwrap();
        let after = scene.store.user(scene.id(Member)).await.unwrap();
        assert_ne!(after.password_hash, before.password_hash);
        assert_eq!(after, UserRecord { password_hash: after.password_hash.clone(), ..before });
        assert_eq!(scene.store.sessions(scene.id(Member)).await.unwrap().len(), 2);
        // As it is typed elsewhere; and a hash of today stays.
        log_in(&scene, with("member", "Zo\u{eb} und ein Pferd")).await.unwrap();
        assert_eq!(scene.store.user(scene.id(Member)).await.unwrap(), after);
        assert_eq!(scene.store.calls("upgrade_password"), 1);
        assert_eq!(scene.told().await, []);
    }

    #[tokio::test]
    async fn a_hash_that_can_not_be_replaced_is_no_reason_to_refuse() {
        let scene = Scene::new().await;
        let before = with_a_hash_of_before(&scene).await;
        scene.store.fail("upgrade_password", StoreErrorKind::Unavailable, 1);
        log_in(&scene, with("member", TYPED)).await.unwrap();
        assert_eq!(scene.store.user(scene.id(Member)).await.unwrap(), before);
        log_in(&scene, with("member", TYPED)).await.unwrap();
        assert_ne!(scene.store.user(scene.id(Member)).await.unwrap(), before);
    }

    #[tokio::test]
    async fn a_password_that_is_changed_meanwhile_stays() {
        let scene = Scene::new().await;
        with_a_hash_of_before(&scene).await;
        let (messenger, member) = (scene.messenger.clone(), scene.actor(Member));
        scene.store.meanwhile("upgrade_password", async move {
            let new = Password::new("another horse");
            messenger.execute(&member, ChangePassword { current: Password::new(TYPED), new }).await.unwrap();
        });
        log_in(&scene, with("member", TYPED)).await.unwrap();
        assert_eq!(code(&log_in(&scene, with("member", TYPED)).await), "invalidCredentials");
        log_in(&scene, with("member", "another horse")).await.unwrap();
    }

    #[tokio::test]
    async fn with_a_password_that_is_changed_meanwhile_nobody_gets_in() {
        let scene = Scene::new().await;
        let (messenger, member) = (scene.messenger.clone(), scene.actor(Member));
        let (current, new) = (Password::new("correct horse"), Password::new("battery staple"));
        scene.store.meanwhile("create_session", async move {
            messenger.execute(&member, ChangePassword { current, new }).await.unwrap();
        });
        let log_in = with("member", "correct horse");
        assert_eq!(code(&scene.messenger.execute(&Actor::anonymous(), log_in).await), "invalidCredentials");
        let left = scene.store.sessions(scene.id(Member)).await.unwrap();
        assert_eq!(left.iter().map(|session| session.id).collect::<Vec<_>>(), [scene.session(Member)]);
    }

    #[tokio::test]
    async fn another_change_of_the_account_is_no_hindrance() {
        let scene = Scene::new().await;
        let (messenger, member) = (scene.messenger.clone(), scene.actor(Member));
        let rename = UpdateProfile { display_name: Some("M.".into()), ..UpdateProfile::default() };
        scene.store.meanwhile("create_session", async move {
            messenger.execute(&member, rename).await.unwrap();
        });
        let answer = scene.messenger.execute(&Actor::anonymous(), with("member", "correct horse")).await;
        assert_eq!(answer.unwrap().user.user.display_name.as_str(), "M.");
    }

    #[tokio::test]
    async fn others_may_get_ahead_of_it_seven_times() {
        for (times, outcome) in [(7, "ok"), (8, "unavailable")] {
            let scene = Scene::new().await;
            scene.store.fail("create_session", StoreErrorKind::Conflict, times);
            let answer = scene.messenger.execute(&Actor::anonymous(), with("member", "correct horse")).await;
            assert_eq!(code(&answer), outcome, "{times}");
        }
    }
}
