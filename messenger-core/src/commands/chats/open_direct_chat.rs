use serde::Deserialize;

use crate::{
    announcements,
    commands::view,
    cx::Cx,
    domain::{Chat, Revision, UserId},
    error::{Error, ErrorCode, OrNotFound as _, Result},
    operation::{Command, Idempotent},
    ports::{DirectChat, Topic},
};

/// Opens the direct chat with another person, or returns the existing one.
///
/// Errors: `notFound` for an unknown person, `invalid` for oneself.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::{ChatKind, commands::OpenDirectChat};
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// # let bob = messenger_core::doc::register(&messenger, "bob").await;
/// let opened = messenger.execute(&ada, OpenDirectChat { user_id: bob.user()? }).await?;
/// assert_eq!(opened.value.kind, ChatKind::Direct);
/// assert!(opened.created);
///
/// // There is one for each two people, whoever asks.
/// let found = messenger.execute(&bob, OpenDirectChat { user_id: ada.user()? }).await?;
/// assert_eq!(found.value.id, opened.value.id);
/// assert!(!found.created);
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OpenDirectChat {
    /// The other person.
    pub user_id: UserId,
}

impl Command for OpenDirectChat {
    type Output = Idempotent<Chat>;
    const NAME: &'static str = "OpenDirectChat";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::NotFound, ErrorCode::Invalid];

    async fn run(self, cx: &mut Cx) -> Result<Idempotent<Chat>> {
        let user = cx.actor().user()?;
        if user == self.user_id {
            return Err(Error::invalid("userId", "must be somebody else"));
        }
        let users = [user, self.user_id];
        let chat = DirectChat { id: cx.context().id(), users, created_at: cx.context().now() };
        cx.begin_write(users.map(Topic::User));
        let opened = cx.store().open_direct(chat).await.or_not_found(|| Error::NotFound("person"))?;
        if opened.created {
            let added = announcements::added(opened.chat, Revision::ZERO, users.to_vec());
            cx.publish(Some(opened.chat), added);
        } else {
            // The call that opened it may have lost its answer, and then has not told anybody.
            cx.invalidate(users.map(Topic::User).to_vec());
        }
        Ok(Idempotent { value: view(cx, opened.chat, user).await?, created: opened.created })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{ChatKind, Role},
        ports::StoreErrorKind,
        testing::{Scene, Told, Who::*, code, pointers},
    };

    #[tokio::test]
    async fn two_people_have_one_chat_whoever_opens_it() {
        let scene = Scene::new().await;
        let opened = scene.must(Admin, OpenDirectChat { user_id: scene.id(Stranger) }).await;
        assert!(opened.created);
        let chat = opened.value;
        assert_eq!((chat.kind, chat.member_count, chat.me.role), (ChatKind::Direct, 2, Role::Member));
        assert_eq!((chat.title.as_ref(), chat.last_seq.get(), chat.revision.get()), (None, 0, 0));
        assert_eq!(chat.peer.as_ref().unwrap().id, scene.id(Stranger));
        assert_eq!(chat.created_at, scene.messenger.service().context.now());
        assert_eq!(scene.told().await, [Told::added(chat.id, 0, &scene.ids([Admin, Stranger]))]);

        for (who, other) in [(Admin, Stranger), (Stranger, Admin)] {
            let again = scene.must(who, OpenDirectChat { user_id: scene.id(other) }).await;
            assert_eq!((again.value.id, again.created), (chat.id, false), "{who:?}");
            assert_eq!(again.value, scene.chat(who, chat.id).await);
            assert_eq!(again.value.peer.unwrap().id, scene.id(other));
        }
        assert_eq!(scene.told().await, []);
    }

    #[tokio::test]
    async fn nobody_has_a_direct_chat_with_oneself() {
        let scene = Scene::new().await;
        let answer = scene.execute(Member, OpenDirectChat { user_id: scene.id(Member) }).await;
        assert_eq!(pointers(&answer), ["/userId"]);
    }

    #[tokio::test]
    async fn who_has_no_account_is_not_found() {
        let scene = Scene::new().await;
        for whom in [Nobody, Erased] {
            let answer = scene.execute(Member, OpenDirectChat { user_id: scene.id(whom) }).await;
            assert_eq!(code(&answer), "notFound", "{whom:?}");
            assert!(answer.unwrap_err().to_string().contains("such person"));
        }
        assert_eq!(scene.told().await, []);
    }

    #[tokio::test]
    async fn a_store_that_fails_is_no_unknown_person() {
        let scene = Scene::new().await;
        scene.store.fail("open_direct", StoreErrorKind::Unavailable, 1);
        let answer = scene.execute(Member, OpenDirectChat { user_id: scene.id(Stranger) }).await;
        assert_eq!(code(&answer), "unavailable");
    }
}
