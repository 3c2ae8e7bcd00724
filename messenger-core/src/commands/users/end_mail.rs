use std::fmt;

use crate::{
    commands::attempts::Attempts,
    cx::Cx,
    domain::{ChatId, NotifyLevel, Unsubscribe, UnsubscribeScope, UserId},
    error::{Error, ErrorCode, Result},
    operation::Command,
    ports::{StoreErrorKind, StoreResult, UpdateUser},
};

/// Ends mail about unread messages, all of it or that of one chat, for whom the token of a mail is about. Who has the token may do so,
/// logged in or not, and again as often as they like.
///
/// The answer is the same for an account that is erased and a chat that the person has left: nobody learns more than what the token
/// says. With a [notifier](crate::Builder::notifier) alone.
///
/// Errors: `invalid`, `notFound` without a notifier.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::{Actor, Unsubscribe, UnsubscribeScope, commands::EndMail, queries::GetMe};
/// # use messenger_core::{LinkKeys, Messenger, PublicUrl, memory::*, notify::NotifySettings};
///
/// # let (keys, url) = (LinkKeys::new(&[7; 32]).unwrap(), PublicUrl::parse("https://chat.example.org").unwrap());
/// # let messenger = Messenger::builder(std::sync::Arc::new(MemoryStore::new()))
/// #     .notifier(std::sync::Arc::new(MemoryNotifier::new()), NotifySettings::new(keys.clone(), url))
/// #     .build()?;
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// let token = Unsubscribe { user: ada.user()?, scope: UnsubscribeScope::Everything }.sign(&keys);
/// messenger.execute(&Actor::anonymous(), EndMail { token }).await?;
/// assert!(!messenger.query(&ada, GetMe {}).await?.notifications.email);
///
/// let none = EndMail { token: "of somebody's own making".into() };
/// assert_eq!(messenger.execute(&Actor::anonymous(), none).await.unwrap_err().code(), "invalid");
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct EndMail {
    /// What stands in the link of the mail.
    pub token: String,
}

impl Command for EndMail {
    /// What there is no more mail of.
    type Output = UnsubscribeScope;
    const NAME: &'static str = "EndMail";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::Invalid, ErrorCode::NotFound, ErrorCode::Conflict];

    async fn run(self, cx: &mut Cx) -> Result<UnsubscribeScope> {
        let Unsubscribe { user, scope } = verified(cx, &self.token)?;
        match scope {
            UnsubscribeScope::Everything => end_all(cx, user).await?,
            UnsubscribeScope::Chat(chat) => end_of_chat(cx, chat, user).await?,
        }
        Ok(scope)
    }
}

/// What a token of this deployment says.
pub(crate) fn verified(cx: &Cx, token: &str) -> Result<Unsubscribe> {
    let notifications = cx.notifications().ok_or(Error::NotFound("mail to end"))?;
    Unsubscribe::verify(token, &notifications.settings.keys)
        .map_err(|error| Error::invalid("token", error.to_string()))
}

async fn end_all(cx: &Cx, user: UserId) -> Result<()> {
    let mut attempts = Attempts::new();
    loop {
        let Some(account) = found(cx.store().user(user).await)? else { return Ok(()) };
        if account.erased_at.is_some() || !account.notify_email {
            return Ok(());
        }
        let update = UpdateUser { notify_email: Some(false), ..UpdateUser::of(user, account.version) };
        if attempts.settled(found(cx.store().update_user(update).await))?.is_some() {
            return Ok(());
        }
    }
}

async fn end_of_chat(cx: &Cx, chat: ChatId, user: UserId) -> Result<()> {
    found(cx.store().set_notify_level(chat, user, NotifyLevel::None).await)?;
    Ok(())
}

/// `None` for what is not there any more.
fn found<T>(answer: StoreResult<T>) -> StoreResult<Option<T>> {
    match answer {
        Err(error) if matches!(error.kind(), StoreErrorKind::NotFound | StoreErrorKind::NotMember) => {
            Ok(None)
        }
        answer => answer.map(Some),
    }
}

/// Without the token, by which its person's mail can be ended.
impl fmt::Debug for EndMail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndMail").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Actor,
        commands::UpdateProfile,
        queries::GetMe,
        testing::{LINK_KEY, Scene, Setup, Who, Who::*, code, link_keys, pointers},
    };

    async fn scene() -> Scene {
        Scene::with(Setup { notifies: true, ..Setup::default() }).await
    }

    fn token(user: UserId, scope: UnsubscribeScope) -> EndMail {
        EndMail { token: Unsubscribe { user, scope }.sign(&link_keys()) }
    }

    async fn end(scene: &Scene, command: EndMail) -> Result<UnsubscribeScope> {
        scene.messenger.execute(&Actor::anonymous(), command).await
    }

    /// Whether mail is wanted at all, and of which messages of the group and of the direct chat.
    async fn wanted(scene: &Scene, who: Who) -> (bool, [NotifyLevel; 2]) {
        let mail = scene.ask(who, GetMe {}).await.notifications.email;
        let chats = [scene.chat(who, scene.group).await, scene.chat(who, scene.direct).await];
        (mail, chats.map(|chat| chat.me.notifications))
    }

    const ALL: NotifyLevel = NotifyLevel::All;

    #[tokio::test]
    async fn all_mail_of_one_person_ends() {
        let scene = scene().await;
        for _ in 0..2 {
            let ended = end(&scene, token(scene.id(Member), UnsubscribeScope::Everything)).await;
            assert_eq!(ended.unwrap(), UnsubscribeScope::Everything);
            assert_eq!(wanted(&scene, Member).await, (false, [ALL; 2]));
            assert_eq!(wanted(&scene, Owner).await, (true, [ALL; 2]));
        }
        assert_eq!(scene.told().await, []);
    }

    #[tokio::test]
    async fn mail_of_one_chat_ends() {
        let scene = scene().await;
        for _ in 0..2 {
            let ended = end(&scene, token(scene.id(Member), UnsubscribeScope::Chat(scene.group))).await;
            assert_eq!(ended.unwrap(), UnsubscribeScope::Chat(scene.group));
            assert_eq!(wanted(&scene, Member).await, (true, [NotifyLevel::None, ALL]));
            assert_eq!(wanted(&scene, Owner).await, (true, [ALL; 2]));
        }
        assert_eq!(scene.told().await, []);
    }

    #[tokio::test]
    async fn who_is_not_there_any_more_is_nobody_s_business() {
        let scene = scene().await;
        for who in [Left, Removed, Erased, Stranger, Nobody] {
            for scope in [UnsubscribeScope::Everything, UnsubscribeScope::Chat(scene.group)] {
                assert_eq!(end(&scene, token(scene.id(who), scope)).await.unwrap(), scope, "{who:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_token_that_is_none_ends_nothing() {
        let scene = scene().await;
        let user = scene.id(Member);
        let of_another = Unsubscribe { user, scope: UnsubscribeScope::Everything }
            .sign(&crate::LinkKeys::new(&[8; 32]).unwrap());
        for token in ["", "x", &of_another] {
            let answer = end(&scene, EndMail { token: token.into() }).await;
            assert_eq!((code(&answer), pointers(&answer)), ("invalid", vec!["/token"]), "{token}");
        }
        assert_eq!(wanted(&scene, Member).await, (true, [ALL; 2]));
        assert_ne!(LINK_KEY, [8; 32]);
    }

    #[tokio::test]
    async fn without_a_notifier_there_is_no_mail_to_end() {
        let scene = Scene::new().await;
        let answer = end(&scene, token(scene.id(Member), UnsubscribeScope::Everything)).await;
        assert_eq!(code(&answer), "notFound");
    }

    #[tokio::test]
    async fn another_change_of_the_account_is_no_hindrance() {
        let scene = scene().await;
        let (messenger, member) = (scene.messenger.clone(), scene.actor(Member));
        scene.store.meanwhile("update_user", async move {
            let rename = UpdateProfile { display_name: Some("M.".into()), ..UpdateProfile::default() };
            messenger.execute(&member, rename).await.unwrap();
        });
        end(&scene, token(scene.id(Member), UnsubscribeScope::Everything)).await.unwrap();
        let me = scene.ask(Member, GetMe {}).await;
        assert_eq!((me.notifications.email, me.user.display_name.as_str()), (false, "M."));
    }

    #[tokio::test]
    async fn a_store_that_fails_is_told() {
        let scene = scene().await;
        for (method, scope) in [
            ("user", UnsubscribeScope::Everything),
            ("update_user", UnsubscribeScope::Everything),
            ("set_notify_level", UnsubscribeScope::Chat(scene.group)),
        ] {
            scene.store.fail(method, StoreErrorKind::Unavailable, 1);
            assert_eq!(code(&end(&scene, token(scene.id(Member), scope)).await), "unavailable", "{method}");
        }
    }
}
