use serde::Deserialize;

use crate::{
    commands::view,
    cx::Cx,
    domain::{Chat, ChatId, NotifyLevel},
    error::{ErrorCode, Result},
    operation::Command,
};

/// Sets about which messages of a chat the caller wants to be told outside of it, such as by mail.
///
/// Errors: `notFound`.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::{NotifyLevel, commands::SetNotifications};
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// # let bob = messenger_core::doc::register(&messenger, "bob").await;
/// # let chat_id = messenger_core::doc::direct(&messenger, &ada, &bob).await;
/// let chat = messenger.execute(&ada, SetNotifications { chat_id, level: NotifyLevel::None }).await?;
/// assert_eq!(chat.me.notifications, NotifyLevel::None);
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetNotifications {
    /// The chat.
    pub chat_id: ChatId,
    /// About which messages.
    pub level: NotifyLevel,
}

impl Command for SetNotifications {
    type Output = Chat;
    const NAME: &'static str = "SetNotifications";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::NotFound];

    async fn run(self, cx: &mut Cx) -> Result<Chat> {
        let user = cx.actor().user()?;
        cx.store().set_notify_level(self.chat_id, user, self.level).await?;
        view(cx, self.chat_id, user).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scene, Who::*, code};

    #[tokio::test]
    async fn a_level_is_ones_own_and_nobody_is_told() {
        let scene = Scene::new().await;
        for chat_id in [scene.group, scene.direct] {
            assert_eq!(scene.chat(Member, chat_id).await.me.notifications, NotifyLevel::All);
            for level in [NotifyLevel::None, NotifyLevel::Mentions, NotifyLevel::All] {
                let chat = scene.must(Member, SetNotifications { chat_id, level }).await;
                assert_eq!(chat.me.notifications, level);
                assert_eq!(chat, scene.chat(Member, chat_id).await);
                assert_eq!(scene.chat(Owner, chat_id).await.me.notifications, NotifyLevel::All);
            }
        }
        assert_eq!(scene.told().await, []);
    }

    #[tokio::test]
    async fn to_those_who_are_not_in_it_there_is_no_such_chat() {
        let scene = Scene::new().await;
        for who in [Left, Removed, Erased, Stranger, Nobody] {
            let set = SetNotifications { chat_id: scene.group, level: NotifyLevel::None };
            assert_eq!(code(&scene.execute(who, set).await), "notFound", "{who:?}");
        }
    }
}
