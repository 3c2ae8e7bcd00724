//! What people are told about their accounts: an address is to be confirmed, was changed, or a password can be set anew.
//!
//! A job about a change is stored before the change, so that a crash in between forgets nobody. So it looks for itself whether the
//! change is there, and waits a while for it.

use std::time::Duration;

use super::{
    desk::{Composed, Desk},
    notifications::Notifications,
    outbox::{AboutAccount, SPAN},
};
use crate::{
    domain::{AccountLink, AccountToken, EmailAddress, Fingerprint, Timestamp},
    ports::{
        AddressChanged, AddressConfirmation, LoginKey, Notice, PasswordReset, StoreErrorKind, StoreResult,
        UserRecord,
    },
};

/// For how long a change may come that a job was stored for: longer than any command takes, and as long as the job stands for others
/// that are about the same address.
const SETTLED: Duration = SPAN;

/// The account's address; none if it was erased.
pub(crate) fn address(account: &UserRecord) -> StoreResult<Option<EmailAddress>> {
    let address = |email: &crate::ports::StoredAddress| email.content.to_text().map(EmailAddress::trusted);
    account.email.as_ref().map(address).transpose()
}

/// What has to be the same of an account for a link to be good; none if it was erased.
///
/// A link that resets a password is void once that has changed: so it can be used once. Each is void once the address has changed.
pub(crate) fn fingerprint(link: AccountLink, account: &UserRecord) -> Option<Fingerprint> {
    let (key, hash) = (&account.email.as_ref()?.key, account.password_hash.as_ref()?);
    Some(match link {
        AccountLink::ResetPassword => Fingerprint::of(&[key, hash.as_bytes()]),
        AccountLink::ConfirmAddress => Fingerprint::of(&[key]),
    })
}

impl Notifications {
    /// A token that is good for this account, unless it has expired.
    fn token(&self, link: AccountLink, account: &UserRecord, expires_at: Timestamp) -> Option<String> {
        let token = AccountToken { user: account.id, expires_at, fingerprint: fingerprint(link, account)? };
        Some(token.sign(link, &self.settings.keys))
    }

    /// What a token says that is for this, and has not expired.
    pub(crate) fn verify(&self, link: AccountLink, token: &str, now: Timestamp) -> Option<AccountToken> {
        AccountToken::verify(token, link, &self.settings.keys, now)
    }
}

impl Desk {
    /// What is to be told, and to whom.
    pub(super) async fn about_account(
        &self,
        about: &AboutAccount,
        created_at: Timestamp,
    ) -> StoreResult<(Option<UserRecord>, Composed)> {
        let account = match about {
            AboutAccount::ConfirmAddress { email } | AboutAccount::ResetPassword { email } => {
                self.account_of(email).await?
            }
            AboutAccount::AddressChanged { user, .. } => self.account(*user).await?,
        };
        let composed = match (about, &account) {
            (AboutAccount::ConfirmAddress { .. }, Some(account)) => self.confirm_address(account, created_at),
            (AboutAccount::ConfirmAddress { .. }, None) => self.unless_it_comes(created_at),
            (AboutAccount::ResetPassword { .. }, Some(account)) => self.reset_password(account, created_at),
            (AboutAccount::ResetPassword { .. }, None) => Composed::Nothing("unknown"),
            (AboutAccount::AddressChanged { former, .. }, Some(account)) => {
                self.address_changed(account, former, created_at)?
            }
            (AboutAccount::AddressChanged { .. }, None) => Composed::Nothing("erased"),
        };
        Ok((account, composed))
    }

    fn confirm_address(&self, account: &UserRecord, created_at: Timestamp) -> Composed {
        if account.email_confirmed_at.is_some() {
            return Composed::Nothing("confirmed");
        }
        let valid_for = self.notifications.settings.confirm_within;
        let link = self.link(AccountLink::ConfirmAddress, account, created_at, valid_for);
        link.map_or(Composed::Nothing("expired"), |link| {
            Composed::Ready(Notice::ConfirmAddress(AddressConfirmation { link, valid_for }))
        })
    }

    fn reset_password(&self, account: &UserRecord, created_at: Timestamp) -> Composed {
        let valid_for = self.notifications.settings.reset_within;
        let link = self.link(AccountLink::ResetPassword, account, created_at, valid_for);
        link.map_or(Composed::Nothing("expired"), |link| {
            Composed::Ready(Notice::ResetPassword(PasswordReset { link, valid_for }))
        })
    }

    fn address_changed(
        &self,
        account: &UserRecord,
        former: &EmailAddress,
        created_at: Timestamp,
    ) -> StoreResult<Composed> {
        Ok(match address(account)? {
            None => Composed::Nothing("erased"),
            Some(address) if address.folded() == former.folded() => self.unless_it_comes(created_at),
            Some(new_email) => {
                let notice = Notice::AddressChanged(AddressChanged { new_email, link: None });
                Composed::ReadyFor(former.clone(), notice)
            }
        })
    }

    async fn account_of(&self, email: &EmailAddress) -> StoreResult<Option<UserRecord>> {
        match self.store.user_by_login(LoginKey::Email(email.folded().as_bytes())).await {
            Ok(account) => Ok(Some(account)),
            Err(error) if error.kind() == StoreErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The change that this is about may still come.
    fn unless_it_comes(&self, created_at: Timestamp) -> Composed {
        let age = self.context.now().since(created_at);
        if age >= SETTLED {
            return Composed::Nothing("unchanged");
        }
        Composed::NotYet(age.clamp(Duration::from_secs(1), Duration::from_secs(60)), "unchanged")
    }

    /// A link of which nothing is stored. Its time counts from the request on, so that each try of a mail is the same; none if it
    /// is over.
    fn link(
        &self,
        link: AccountLink,
        account: &UserRecord,
        created_at: Timestamp,
        valid_for: Duration,
    ) -> Option<crate::domain::Link> {
        let expires_at = created_at.after(valid_for);
        let token = self.notifications.token(link, account, expires_at)?;
        let page = match link {
            AccountLink::ResetPassword => "reset-password",
            AccountLink::ConfirmAddress => "confirm-email",
        };
        let is_good = self.context.now() < expires_at;
        is_good.then(|| self.notifications.settings.public_url.link(page, &token))
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use crate::{
        Actor, Password,
        commands::{EraseMe, RegisterUser, UpdateProfile},
        ports::{
            Content, JobState, Notice, NotifyError, Refusal, Refused, StoreErrorKind, UpdateUser,
            UserStore as _,
        },
        testing::{MailScene, code},
    };

    fn to(kind: &'static str, email: &str) -> (&'static str, String) {
        (kind, email.to_owned())
    }

    fn register(name: &str, email: &str) -> RegisterUser {
        RegisterUser {
            username: name.into(),
            email: email.into(),
            password: Password::new("correct horse"),
            display_name: None,
            device: None,
        }
    }

    fn email(email: &str) -> UpdateProfile {
        UpdateProfile { email: Some(email.into()), ..UpdateProfile::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_registers_is_mailed_once() {
        let scene = MailScene::new().await;
        assert_eq!(scene.mailed().await, [to("confirmAddress", "ada@example.org")]);
        assert_eq!(scene.mailed().await, []);
    }

    #[tokio::test(start_paused = true)]
    async fn another_address_is_to_be_confirmed_and_the_former_one_is_told() {
        let scene = MailScene::new().await;
        scene.mails().await;
        scene.moves_to("Ada@example.com").await;
        let mails = scene.mails().await;
        let changed = mails.iter().find(|mail| mail.notice.kind() == "addressChanged").unwrap();
        assert_eq!(changed.to.email.as_str(), "ada@example.org");
        let Notice::AddressChanged(notice) = &changed.notice else { panic!() };
        assert_eq!(notice.new_email.as_str(), "Ada@example.com");
        let confirm = mails.iter().find(|mail| mail.notice.kind() == "confirmAddress").unwrap();
        assert_eq!((confirm.to.email.as_str(), mails.len()), ("Ada@example.com", 2));

        // Nothing else of a profile is told, nor an address that is the same but for its case.
        scene.later().await;
        for same in ["Ada@example.com", "ada@example.com"] {
            scene.moves_to(same).await;
        }
        let name = UpdateProfile { display_name: Some("A.".into()), ..UpdateProfile::default() };
        scene.messenger.execute(&scene.ada, name).await.unwrap();
        assert_eq!(scene.mailed().await, []);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_a_link_counts_from_the_request_also_where_the_mail_is_late() {
        let away = || NotifyError::Unavailable("the network is down".into());
        let scene = MailScene::new().await;
        scene.mails().await;
        (0..4).for_each(|_| scene.notifier.fail_next(away()));
        scene.asks("ada@example.org").await;
        let asked_at = scene.jobs().await[0].created_at;
        tokio::time::sleep(Duration::from_secs(120)).await;
        let token = scene.token("resetPassword").await;
        let end = asked_at.after(Duration::from_secs(1800)).since(scene.context.now());
        tokio::time::sleep(end).await;
        assert_eq!(code(&scene.resets(&token, "battery staple").await), "invalid");

        // One that is later than that is not sent.
        (0..12).for_each(|_| scene.notifier.fail_next(away()));
        scene.asks("ada@example.org").await;
        tokio::time::sleep(Duration::from_secs(5 * 3600)).await;
        assert_eq!(scene.mailed().await, []);
        assert!(scene.jobs().await.iter().all(|job| job.state == JobState::Done));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_is_told_to_nobody() {
        let scene = MailScene::new().await;
        scene.mails().await;
        crate::doc::register(&scene.messenger, "bob").await;
        scene.mails().await;
        scene.later().await;
        let anonymous = Actor::anonymous();
        let taken = scene.messenger.execute(&anonymous, register("ada", "new@example.org")).await;
        assert_eq!(code(&taken), "usernameTaken");
        scene.store.fail("update_user", StoreErrorKind::Unavailable, 1);
        assert_eq!(
            code(&scene.messenger.execute(&scene.ada, email("other@example.org")).await),
            "unavailable"
        );
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(scene.notifier.take(), []);
        assert!(scene.jobs().await.iter().all(|job| job.state == JobState::Done));
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_that_takes_long_is_told_when_it_is_there() {
        let scene = MailScene::new().await;
        scene.mails().await;
        // Time for the jobs to be looked at, before the change.
        for method in ["update_user", "create_user"] {
            scene.store.meanwhile(method, tokio::time::sleep(Duration::from_secs(100)));
        }
        scene.moves_to("ada@example.com").await;
        scene.messenger.execute(&Actor::anonymous(), register("bob", "bob@example.org")).await.unwrap();
        tokio::time::sleep(Duration::from_secs(120)).await;
        let expected = [
            to("addressChanged", "ada@example.org"),
            to("confirmAddress", "ada@example.com"),
            to("confirmAddress", "bob@example.org"),
        ];
        assert_eq!(scene.mailed().await, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_dies_after_the_change_leaves_nobody_untold() {
        let scene = MailScene::new().await;
        scene.mails().await;
        let (other, store) = scene.other_node();
        let (memory, before) = (Arc::clone(&scene.memory), scene.memory.user(scene.id()).await.unwrap());
        let address = crate::ports::StoredAddress {
            content: Content::from("ada@example.com"),
            key: b"ada@example.com".to_vec(),
        };
        let update = UpdateUser { email: Some(address), ..UpdateUser::of(before.id, before.version) };
        store.meanwhile("update_user", async move {
            memory.update_user(update).await.unwrap();
            std::future::pending::<()>().await;
        });
        let change = other.execute(&scene.ada, email("ada@example.com"));
        tokio::time::timeout(Duration::from_secs(1), change).await.unwrap_err();
        store.hang(true);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let expected = [to("addressChanged", "ada@example.org"), to("confirmAddress", "ada@example.com")];
        assert_eq!(scene.mailed().await, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn to_and_fro_is_told_to_each_address_once_in_a_while() {
        let scene = MailScene::new().await;
        scene.mails().await;
        for _ in 0..5 {
            scene.moves_to("ada@example.com").await;
            scene.moves_to("ada@example.org").await;
        }
        scene.moves_to("ada@example.com").await;
        let mut all = scene.mailed().await;
        tokio::time::sleep(Duration::from_secs(100)).await;
        all.extend(scene.mailed().await);
        assert!(all.contains(&to("addressChanged", "ada@example.org")), "{all:?}");
        for address in ["ada@example.org", "ada@example.com"] {
            assert!(all.iter().filter(|(_, email)| email == address).count() <= 2, "{all:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_counts_against_the_accounts_own_address_alone() {
        let scene = MailScene::new().await;
        scene.mails().await;
        let refusal =
            || NotifyError::from(Refusal { what: Refused::Address, code: Some(550), text: String::new() });
        scene.notifier.fail_next(refusal());
        scene.notifier.fail_next(refusal());
        scene.moves_to("ada@example.com").await;
        assert_eq!(scene.mailed().await, []);
        assert_eq!(
            scene.store.user(scene.id()).await.unwrap().mail.refusals,
            1,
            "not that of the former one"
        );
        scene.later().await;
        scene.asks("ada@example.com").await;
        assert_eq!(scene.mailed().await, [to("resetPassword", "ada@example.com")]);
        assert_eq!(scene.store.user(scene.id()).await.unwrap().mail.refusals, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_erased_account_is_told_of_nothing() {
        let scene = MailScene::new().await;
        scene.mails().await;
        scene
            .meanwhile(async {
                scene.moves_to("ada@example.com").await;
                let password = Password::new("correct horse");
                scene.messenger.execute(&scene.ada, EraseMe { password }).await.unwrap();
            })
            .await;
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(scene.mailed().await, []);
    }
}
