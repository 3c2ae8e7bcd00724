use serde::Deserialize;

use crate::{
    commands::{attempts::Attempts, auth::stored_address, notices::Notices},
    convert,
    cx::Cx,
    domain::{
        ChangeNotifications, DailyHours, DisplayName, EmailAddress, Language, Limits, Me, QuietHours,
        TimeZone, minute_of_day,
    },
    error::{Checks, ErrorCode, Result},
    notify::{AboutAccount, address},
    operation::Command,
    ports::{Preferences, StoredName, UpdateUser, UserRecord},
};

/// Changes the caller's account; fields that are absent stay unchanged. An empty language or time zone is none.
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
/// let change = UpdateProfile { language: Some("pt-BR".into()), ..UpdateProfile::default() };
/// let me = messenger.execute(&ada, change).await?;
/// assert_eq!(me.language.unwrap().as_str(), "pt-br");
///
/// let change = UpdateProfile { email: Some("bob@example.org".into()), ..UpdateProfile::default() };
/// assert_eq!(messenger.execute(&ada, change).await.unwrap_err().code(), "emailTaken");
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateProfile {
    /// The name that others see.
    pub display_name: Option<String>,
    /// The mail address.
    pub email: Option<String>,
    /// The language that the person reads (RFC 5646), such as `en` or `pt-BR`; empty for none.
    pub language: Option<String>,
    /// The time zone that the person lives in, by its IANA name, such as `Europe/Berlin`; empty for none.
    pub time_zone: Option<String>,
    /// Which notifications the person wants outside the chat.
    pub notifications: Option<ChangeNotifications>,
}

/// Preferences to set; `Some(None)` clears one.
struct Wanted {
    language: Option<Option<Language>>,
    time_zone: Option<Option<TimeZone>>,
    quiet_hours: Option<Option<QuietHours>>,
}

impl Wanted {
    fn checked(profile: &UpdateProfile, checks: &mut Checks, limits: &Limits) -> Self {
        let language = |text: &str| Language::parse(text, limits);
        let time_zone = |text: &str| TimeZone::known(text).map_err(|error| error.to_string());
        let hours =
            profile.notifications.as_ref().and_then(|notifications| notifications.quiet_hours.as_ref());
        Self {
            language: checks
                .optional("language", profile.language.as_deref().map(|text| unless_empty(text, language))),
            time_zone: checks
                .optional("timeZone", profile.time_zone.as_deref().map(|text| unless_empty(text, time_zone))),
            quiet_hours: hours.and_then(|hours| quiet_hours(hours, checks)),
        }
    }

    /// All of them, since a store replaces them together; `None` if nothing is to be set.
    fn after(&self, before: Preferences) -> Option<Preferences> {
        let Self { language, time_zone, quiet_hours } = self;
        if language.is_none() && time_zone.is_none() && quiet_hours.is_none() {
            return None;
        }
        Some(Preferences {
            language: language.clone().unwrap_or(before.language),
            time_zone: time_zone.clone().unwrap_or(before.time_zone),
            quiet_hours: quiet_hours.unwrap_or(before.quiet_hours),
        })
    }
}

fn unless_empty<T>(
    text: &str,
    parse: impl FnOnce(&str) -> std::result::Result<T, String>,
) -> std::result::Result<Option<T>, String> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}

fn quiet_hours(hours: &DailyHours, checks: &mut Checks) -> Option<Option<QuietHours>> {
    let mut minute = |bound: &str, clock: &str| {
        let minute = minute_of_day(clock).ok_or_else(|| "must be a time such as 22:00".to_owned());
        checks.field(&format!("notifications/quietHours/{bound}"), minute)
    };
    let (from, to) = (minute("from", &hours.from), minute("to", &hours.to));
    // Of the bounds it can only be wrong that they are the same.
    Some(QuietHours::new(from?, to?).ok())
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
        let wanted = Wanted::checked(&self, &mut checks, limits);
        checks.finish()?;
        let notify_email = self.notifications.and_then(|notifications| notifications.email);
        let mut attempts = Attempts::new();
        loop {
            let before = cx.store().user(user).await?;
            let notices = Notices::store(cx, change_of_address(&before, email.as_ref())?).await?;
            let update = UpdateUser {
                id: user,
                expected: before.version,
                display_name: display_name.as_ref().map(StoredName::from),
                email: email.as_ref().map(stored_address),
                notify_email,
                preferences: wanted.after(before.preferences),
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
        UpdateProfile::default()
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
        let mail = |email| ChangeNotifications { email: Some(email), quiet_hours: None };
        let quiet = UpdateProfile { notifications: Some(mail(false)), ..nothing() };
        let loud = UpdateProfile { notifications: Some(mail(true)), ..nothing() };
        for change in [nothing(), name("M. Ember"), email("M@example.org"), quiet, loud] {
            if let Some(name) = &change.display_name {
                expected.user.display_name = DisplayName::trusted(name.as_str());
            }
            if let Some(email) = &change.email {
                expected.email = EmailAddress::trusted(email.as_str());
            }
            if let Some(email) = change.notifications.as_ref().and_then(|notifications| notifications.email) {
                expected.notifications.email = email;
            }
            assert_eq!(scene.must(Member, change.clone()).await, expected, "{change:?}");
            assert_eq!(scene.ask(Member, GetMe {}).await, expected, "{change:?}");
        }
        assert_eq!(scene.told().await, []);
    }

    fn hours(from: &str, to: &str) -> UpdateProfile {
        let hours = DailyHours { from: from.into(), to: to.into() };
        let notifications = ChangeNotifications { email: None, quiet_hours: Some(hours) };
        UpdateProfile { notifications: Some(notifications), ..nothing() }
    }

    fn language(language: &str) -> UpdateProfile {
        UpdateProfile { language: Some(language.into()), ..nothing() }
    }

    fn zone(zone: &str) -> UpdateProfile {
        UpdateProfile { time_zone: Some(zone.into()), ..nothing() }
    }

    #[tokio::test]
    async fn each_preference_is_set_and_cleared_alone() {
        let scene = Scene::new().await;
        let mail = ChangeNotifications { email: Some(false), quiet_hours: None };
        let steps = [
            (language("pt-BR"), "pt-br - - true"),
            (zone("europe/berlin"), "pt-br Europe/Berlin - true"),
            (hours("22:00", "07:30"), "pt-br Europe/Berlin 22:00-07:30 true"),
            (nothing(), "pt-br Europe/Berlin 22:00-07:30 true"),
            (
                UpdateProfile { notifications: Some(mail), ..name("M. Ember") },
                "pt-br Europe/Berlin 22:00-07:30 false",
            ),
            (language(""), "- Europe/Berlin 22:00-07:30 false"),
            (hours("00:00", "00:00"), "- Europe/Berlin - false"),
            (zone(""), "- - - false"),
        ];
        for (change, expected) in steps {
            let me = scene.must(Member, change.clone()).await;
            assert_eq!(me, scene.ask(Member, GetMe {}).await, "{change:?}");
            let hours = me.notifications.quiet_hours.map(DailyHours::from);
            let shown = [
                me.language.map(|language| language.as_str().to_owned()),
                me.time_zone.map(|zone| zone.to_string()),
                hours.map(|hours| format!("{}-{}", hours.from, hours.to)),
                Some(me.notifications.email.to_string()),
            ];
            let shown = shown.map(|one| one.unwrap_or_else(|| "-".to_owned())).join(" ");
            assert_eq!(shown, expected, "{change:?}");
        }
        assert_eq!(scene.told().await, []);
    }

    #[tokio::test]
    async fn a_preference_that_another_change_set_meanwhile_stays() {
        let scene = Scene::new().await;
        let (messenger, member) = (scene.messenger.clone(), scene.actor(Member));
        scene.store.meanwhile("update_user", async move {
            messenger.execute(&member, language("ru")).await.unwrap();
        });
        let me = scene.must(Member, zone("Europe/Moscow")).await;
        assert_eq!(me.language.unwrap().as_str(), "ru");
        assert_eq!(me.time_zone.unwrap().as_str(), "Europe/Moscow");
    }

    #[tokio::test]
    async fn preferences_that_there_are_not_are_named() {
        let scene = Scene::new().await;
        for (change, wrong) in [
            (language("en_US"), "/language"),
            (zone("Europe/Atlantis"), "/timeZone"),
            (hours("22:00", "7:00"), "/notifications/quietHours/to"),
            (hours("24:00", "07:00"), "/notifications/quietHours/from"),
        ] {
            assert_eq!(pointers(&scene.execute(Member, change).await), [wrong]);
        }
        let both = scene.execute(Member, hours("", "")).await;
        assert_eq!(pointers(&both), ["/notifications/quietHours/from", "/notifications/quietHours/to"]);
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
