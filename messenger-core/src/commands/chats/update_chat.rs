use serde::Deserialize;

use super::roster::{Draft, change, note};
use crate::{
    commands::view,
    cx::Cx,
    domain::{Chat, ChatId, SystemEvent, SystemNote, Title},
    error::{Checks, Error, ErrorCode, Result},
    operation::Command,
    ports::Content,
};

/// Changes the title of a group; for its owner and admins. Setting the same title again changes nothing.
///
/// Errors: `notFound`, `forbidden`, `invalid`.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::commands::UpdateChat;
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// # let bob = messenger_core::doc::register(&messenger, "bob").await;
/// # let chat_id = messenger_core::doc::group(&messenger, &ada, &[&bob]).await;
/// let chat = messenger.execute(&ada, UpdateChat { chat_id, title: "Difference engines".into() }).await?;
/// assert_eq!(chat.title.unwrap().as_str(), "Difference engines");
///
/// let refused = messenger.execute(&ada, UpdateChat { chat_id, title: String::new() }).await;
/// assert_eq!(refused.unwrap_err().code(), "invalid");
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateChat {
    /// The group.
    pub chat_id: ChatId,
    /// The new title.
    pub title: String,
}

impl Command for UpdateChat {
    type Output = Chat;
    const NAME: &'static str = "UpdateChat";
    const ERRORS: &'static [ErrorCode] =
        &[ErrorCode::NotFound, ErrorCode::Forbidden, ErrorCode::Invalid, ErrorCode::Conflict];

    async fn run(self, cx: &mut Cx) -> Result<Chat> {
        let user = cx.actor().user()?;
        let mut checks = Checks::default();
        let title = checks.field("title", Title::parse(&self.title, cx.limits()));
        checks.finish()?;
        let title = title.ok_or_else(|| Error::invalid("title", "is missing"))?;
        change(cx, self.chat_id, user, |snapshot| {
            snapshot.require_admin()?;
            let stored = Content::from(title.as_str());
            if snapshot.roster.chat.title.as_ref() == Some(&stored) {
                return Ok(None);
            }
            let said =
                SystemNote { title: Some(title.clone()), ..note(SystemEvent::TitleChanged, Vec::new()) };
            Ok(Some(Draft { title: Some(stored), notes: vec![said], ..Draft::default() }))
        })
        .await?;
        view(cx, self.chat_id, user).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ports::StoreErrorKind,
        testing::{Scene, Who::*, code, pointers},
    };

    fn rename(scene: &Scene, title: &str) -> UpdateChat {
        UpdateChat { chat_id: scene.group, title: title.into() }
    }

    fn renamed(title: &str) -> SystemNote {
        SystemNote { title: Some(Title::trusted(title)), ..note(SystemEvent::TitleChanged, Vec::new()) }
    }

    #[tokio::test]
    async fn only_the_owner_and_admins_change_the_title() {
        for (who, outcome) in [(Owner, "ok"), (Admin, "ok"), (Member, "forbidden"), (Stranger, "notFound")] {
            let scene = Scene::new().await;
            let answer = scene.execute(who, rename(&scene, "Coffee")).await;
            assert_eq!(code(&answer), outcome, "{who:?}");
            let expected = [scene.update(who, renamed("Coffee"))];
            assert_eq!(scene.updates().await, expected[..usize::from(outcome == "ok")], "{who:?}");
            let chat = scene.chat(Owner, scene.group).await;
            assert_eq!(chat.title.unwrap().as_str(), if outcome == "ok" { "Coffee" } else { "Tea" });
            if let Ok(answer) = answer {
                assert_eq!(answer, scene.chat(who, scene.group).await);
            }
        }
    }

    #[tokio::test]
    async fn the_title_that_it_has_changes_nothing() {
        let scene = Scene::new().await;
        let before = scene.chat(Admin, scene.group).await;
        assert_eq!(scene.must(Admin, rename(&scene, "Tea")).await, before);
        assert_eq!(scene.updates().await, []);
        // The command is still reserved for the owner and admins.
        assert_eq!(code(&scene.execute(Member, rename(&scene, "Tea")).await), "forbidden");
        // Titles are compared case-sensitively.
        scene.must(Admin, rename(&scene, "tea")).await;
        assert_eq!(scene.updates().await, [scene.update(Admin, renamed("tea"))]);
    }

    #[tokio::test]
    async fn a_title_is_one_line_of_1_to_128_characters() {
        let scene = Scene::new().await;
        for good in ["x".to_owned(), "ü".repeat(128)] {
            assert_eq!(scene.must(Owner, rename(&scene, &good)).await.title.unwrap().as_str(), good);
        }
        scene.told().await;
        for bad in [String::new(), "ü".repeat(129), "two\nlines".into(), " ".into()] {
            // The title is checked first, whoever the caller is.
            for who in [Owner, Member, Stranger] {
                assert_eq!(pointers(&scene.execute(who, rename(&scene, &bad)).await), ["/title"], "{bad:?}");
            }
        }
        assert_eq!(scene.updates().await, []);
    }

    #[tokio::test]
    async fn what_was_stored_is_told_also_if_it_cannot_be_answered_with() {
        let scene = Scene::new().await;
        scene.store.fail("chat_views", StoreErrorKind::Unavailable, 1);
        assert_eq!(code(&scene.execute(Owner, rename(&scene, "Coffee")).await), "unavailable");
        assert_eq!(scene.updates().await, [scene.update(Owner, renamed("Coffee"))]);
    }
}
