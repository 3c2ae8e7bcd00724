use serde::Deserialize;

use super::new_session;
use crate::{
    commands::notices::Notices,
    convert,
    cx::Cx,
    domain::{Authenticated, Device, DisplayName, EmailAddress, Password, Username},
    error::{Checks, Error, ErrorCode, Result},
    notify::AboutAccount,
    operation::Command,
    ports::{Content, MailState, NewUser, Preferences, StoredAddress, StoredName, UserRecord},
};

/// Creates an account and logs it in. Where the service sends mail, one is sent to confirm the address.
///
/// Errors: `invalid`, `usernameTaken`, `emailTaken`.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::{Actor, Messenger, Password, commands::RegisterUser};
///
/// let messenger = Messenger::in_memory();
/// let command = RegisterUser {
///     username: "Ada".into(),
///     email: "ada@example.org".into(),
///     password: Password::new("correct horse"),
///     display_name: Some("Ada Lovelace".into()),
///     device: Some("laptop".into()),
/// };
/// let registered = messenger.execute(&Actor::anonymous(), command.clone()).await?;
/// assert_eq!(registered.user.user.username.as_str(), "ada");
/// let ada = messenger.authenticate(registered.token.expose()).await?;
///
/// let again = messenger.execute(&Actor::anonymous(), command).await;
/// assert_eq!(again.unwrap_err().code(), "usernameTaken");
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegisterUser {
    /// The username, for logging in: `a-z 0-9 _ . -`, compared case-insensitively.
    pub username: String,
    /// The mail address.
    pub email: String,
    /// The password.
    pub password: Password,
    /// The name that others see; the username if absent.
    pub display_name: Option<String>,
    /// The device that the session is used on, described for its owner.
    pub device: Option<String>,
}

impl Command for RegisterUser {
    type Output = Authenticated;
    const NAME: &'static str = "RegisterUser";
    const ERRORS: &'static [ErrorCode] =
        &[ErrorCode::Invalid, ErrorCode::UsernameTaken, ErrorCode::EmailTaken];

    async fn run(self, cx: &mut Cx) -> Result<Authenticated> {
        let limits = cx.limits();
        let mut checks = Checks::default();
        let username = checks.field("username", Username::parse(&self.username, limits));
        let email = checks.field("email", EmailAddress::parse(&self.email, limits));
        checks.field("password", self.password.check(limits));
        let display_name = self.display_name.as_deref().unwrap_or(&self.username);
        let display_name = match &username {
            Some(_) => checks.field("displayName", DisplayName::parse(display_name, limits)),
            None => checks
                .optional("displayName", self.display_name.as_deref().map(|n| DisplayName::parse(n, limits))),
        };
        let device = checks.optional("device", self.device.as_deref().map(|d| Device::parse(d, limits)));
        checks.finish()?;
        let (Some(username), Some(email), Some(display_name)) = (username, email, display_name) else {
            return Err(Error::Malformed("The request is not complete.".into()));
        };

        let salt = cx.context().random();
        let password_hash = cx.passwords().hash(self.password, salt).await?;
        let user = NewUser {
            id: cx.context().id(),
            username,
            display_name: StoredName::from(&display_name),
            email: stored_address(&email),
            password_hash,
            created_at: cx.context().now(),
        };
        let (session, token) = new_session(cx, user.id, device);
        let expires_at = session.expires_at;
        let notices = Notices::store(cx, [AboutAccount::ConfirmAddress { email }]).await?;
        cx.store().create_user(user.clone(), session).await?;
        notices.are_due(cx);
        Ok(Authenticated { user: convert::me(new_record(user))?, token, expires_at })
    }
}

/// Makes the stored form of an address, with its lookup key.
pub(crate) fn stored_address(email: &EmailAddress) -> StoredAddress {
    StoredAddress { content: Content::from(email.as_str()), key: email.folded().into_bytes() }
}

fn new_record(user: NewUser) -> UserRecord {
    UserRecord {
        id: user.id,
        username: user.username,
        display_name: user.display_name.content,
        email: Some(user.email),
        email_confirmed_at: None,
        password_hash: Some(user.password_hash),
        notify_email: true,
        preferences: Preferences::default(),
        mail: MailState::default(),
        created_at: user.created_at,
        last_seen_at: None,
        erased_at: None,
        version: 1,
        memberships: 0,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        Actor, Settings,
        domain::{Limits, Notifications},
        ports::{SessionStore as _, StoreErrorKind, UserStore as _},
        queries::GetMe,
        testing::{Scene, Setup, code, pointers},
    };

    fn ada() -> RegisterUser {
        RegisterUser {
            username: "ada".into(),
            email: "ada@example.org".into(),
            password: Password::new("correct horse"),
            display_name: None,
            device: None,
        }
    }

    async fn register(scene: &Scene, command: RegisterUser) -> Result<Authenticated> {
        scene.messenger.execute(&Actor::anonymous(), command).await
    }

    #[tokio::test]
    async fn who_registers_has_an_account_and_is_logged_in() {
        let settings = Settings { session_lifetime: Duration::from_secs(3600), ..Settings::default() };
        let scene = Scene::with(Setup { settings, ..Setup::default() }).await;
        let now = scene.messenger.service().context.now();
        let given =
            RegisterUser { display_name: Some("Ada L.".into()), device: Some("phone".into()), ..ada() };
        let answer = register(&scene, given).await.unwrap();
        let me = &answer.user;
        assert_eq!((me.user.username.as_str(), me.user.display_name.as_str()), ("ada", "Ada L."));
        assert_eq!(
            (me.email.as_str(), me.notifications),
            ("ada@example.org", Notifications { email: true, quiet_hours: None })
        );
        assert_eq!(me.user.created_at, now);
        assert_eq!(answer.expires_at, now.after(Duration::from_secs(3600)));

        let actor = scene.messenger.authenticate(answer.token.expose()).await.unwrap();
        assert_eq!(actor.user().unwrap(), me.user.id);
        assert_eq!(scene.messenger.query(&actor, GetMe {}).await.unwrap(), *me);
        let session = scene.store.session_by_token(&answer.token.hash()).await.unwrap();
        assert_eq!((session.created_at, session.expires_at), (now, answer.expires_at));
        assert_eq!(session.device.unwrap().to_text().unwrap(), "phone");
        assert_eq!(scene.told().await, []);
    }

    #[tokio::test]
    async fn one_is_shown_as_one_writes_ones_username_unless_one_says_otherwise() {
        let scene = Scene::new().await;
        let answer = register(&scene, RegisterUser { username: "AdA".into(), ..ada() }).await.unwrap();
        let user = answer.user.user;
        assert_eq!((user.username.as_str(), user.display_name.as_str()), ("ada", "AdA"));
    }

    #[tokio::test]
    async fn each_field_has_its_bounds() {
        let of = |n: usize| "x".repeat(n);
        let cases = [
            (RegisterUser { username: of(2), ..ada() }, "/username"),
            (RegisterUser { username: of(3), ..ada() }, ""),
            (RegisterUser { username: of(32), ..ada() }, ""),
            (RegisterUser { username: of(33), ..ada() }, "/username"),
            (RegisterUser { username: "a da".into(), ..ada() }, "/username"),
            (RegisterUser { email: "ada".into(), ..ada() }, "/email"),
            (RegisterUser { password: of(7).into(), ..ada() }, "/password"),
            (RegisterUser { password: of(8).into(), ..ada() }, ""),
            (RegisterUser { password: of(256).into(), ..ada() }, ""),
            (RegisterUser { password: of(257).into(), ..ada() }, "/password"),
            (RegisterUser { display_name: Some(of(0)), ..ada() }, "/displayName"),
            (RegisterUser { display_name: Some(of(1)), ..ada() }, ""),
            (RegisterUser { display_name: Some(of(64)), ..ada() }, ""),
            (RegisterUser { display_name: Some(of(65)), ..ada() }, "/displayName"),
            (RegisterUser { device: Some(of(0)), ..ada() }, "/device"),
            (RegisterUser { device: Some(of(1)), ..ada() }, ""),
            (RegisterUser { device: Some(of(128)), ..ada() }, ""),
            (RegisterUser { device: Some(of(129)), ..ada() }, "/device"),
        ];
        for (command, wrong) in cases {
            let scene = Scene::new().await;
            let answer = register(&scene, command.clone()).await;
            assert_eq!(pointers(&answer).concat(), wrong, "{command:?}");
            assert_eq!(code(&answer), if wrong.is_empty() { "ok" } else { "invalid" }, "{command:?}");
        }
    }

    #[tokio::test]
    async fn all_fields_that_do_not_fit_are_named_at_once() {
        let scene = Scene::new().await;
        let bad = RegisterUser {
            username: "a da".into(),
            email: "nowhere".into(),
            password: Password::new("short"),
            display_name: Some("\n".into()),
            device: Some(String::new()),
        };
        let answer = register(&scene, bad.clone()).await;
        let all = ["/username", "/email", "/password", "/displayName", "/device"];
        assert_eq!(pointers(&answer), all);
        // One fault is reported once: an invalid username is not reported again as a display name.
        let answer = register(&scene, RegisterUser { display_name: None, device: None, ..bad }).await;
        assert_eq!(pointers(&answer), all[..3]);
        // Where a host limits display names to fewer characters, a longer username needs a display name.
        let limits = Limits { display_name: 1..=12, ..Limits::default() };
        let scene = Scene::with(Setup { limits, ..Setup::default() }).await;
        let answer = register(&scene, RegisterUser { username: "ada-lovelace-".into(), ..ada() }).await;
        assert_eq!(pointers(&answer), ["/displayName"]);
    }

    #[tokio::test]
    async fn a_username_and_an_address_belong_to_one_account_without_regard_to_case() {
        let scene = Scene::new().await;
        register(&scene, ada()).await.unwrap();
        let (name, mail) = ("ADA".to_owned(), "Ada@Example.ORG".to_owned());
        for (command, outcome) in [
            (
                RegisterUser { username: name.clone(), email: "b@example.org".into(), ..ada() },
                "usernameTaken",
            ),
            (RegisterUser { username: "bob".into(), email: mail.clone(), ..ada() }, "emailTaken"),
            (RegisterUser { username: name, email: mail, ..ada() }, "usernameTaken"),
            (RegisterUser { username: "bob".into(), email: "b@example.org".into(), ..ada() }, "ok"),
        ] {
            assert_eq!(code(&register(&scene, command.clone()).await), outcome, "{command:?}");
        }
    }

    #[tokio::test]
    async fn an_address_is_kept_as_it_was_written() {
        let scene = Scene::new().await;
        let answer = register(&scene, RegisterUser { email: "Ada@Example.ORG".into(), ..ada() }).await;
        assert_eq!(answer.unwrap().user.email.as_str(), "Ada@Example.ORG");
    }

    #[tokio::test]
    async fn every_account_has_its_own_salt_and_token() {
        let scene = Scene::new().await;
        let first = register(&scene, ada()).await.unwrap();
        let bob = RegisterUser { username: "bob".into(), email: "bob@example.org".into(), ..ada() };
        let second = register(&scene, bob).await.unwrap();
        assert_ne!(first.token.expose(), second.token.expose());
        let mut hashes = Vec::new();
        for answer in [first, second] {
            hashes.push(scene.store.user(answer.user.user.id).await.unwrap().password_hash);
        }
        assert_ne!(hashes[0], hashes[1]);
    }

    #[tokio::test]
    async fn a_store_that_fails_makes_no_account() {
        let scene = Scene::new().await;
        scene.store.fail("create_user", StoreErrorKind::Unavailable, 1);
        assert_eq!(code(&register(&scene, ada()).await), "unavailable");
        assert_eq!(code(&register(&scene, ada()).await), "ok");
    }
}
