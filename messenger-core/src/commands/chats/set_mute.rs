use serde::Deserialize;

use crate::{
    commands::view,
    cx::Cx,
    domain::{Chat, ChatId, Timestamp},
    error::{ErrorCode, Result},
    operation::Command,
};

/// Mutes a chat for the caller until the given time; without one, unmutes it.
///
/// Errors: `notFound`.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::{Timestamp, commands::SetMute};
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// # let bob = messenger_core::doc::register(&messenger, "bob").await;
/// # let chat_id = messenger_core::doc::direct(&messenger, &ada, &bob).await;
/// let until: Timestamp = "2100-01-01T00:00:00Z".parse().unwrap();
/// let chat = messenger.execute(&ada, SetMute { chat_id, until: Some(until) }).await?;
/// assert_eq!(chat.me.muted_until, Some(until));
/// let chat = messenger.execute(&ada, SetMute { chat_id, until: None }).await?;
/// assert_eq!(chat.me.muted_until, None);
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetMute {
    /// The chat.
    pub chat_id: ChatId,
    /// When the mute ends.
    pub until: Option<Timestamp>,
}

impl Command for SetMute {
    type Output = Chat;
    const NAME: &'static str = "SetMute";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::NotFound];

    async fn run(self, cx: &mut Cx) -> Result<Chat> {
        let user = cx.actor().user()?;
        cx.store().set_mute(self.chat_id, user, self.until).await?;
        view(cx, self.chat_id, user).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::{Scene, Who::*, code};

    #[tokio::test]
    async fn a_chat_is_silenced_for_oneself_alone_and_nobody_is_told() {
        let scene = Scene::new().await;
        let until = Some(scene.messenger.service().context.now().after(Duration::from_secs(60)));
        for chat_id in [scene.group, scene.direct] {
            let muted = scene.must(Member, SetMute { chat_id, until }).await;
            assert_eq!(muted.me.muted_until, until);
            assert_eq!(muted, scene.chat(Member, chat_id).await);
            assert_eq!(scene.chat(Owner, chat_id).await.me.muted_until, None);
            let heard = scene.must(Member, SetMute { chat_id, until: None }).await;
            assert_eq!(heard.me.muted_until, None);
            assert_eq!(heard, scene.chat(Member, chat_id).await);
        }
        assert_eq!(scene.told().await, []);
    }

    #[tokio::test]
    async fn to_those_who_are_not_in_it_there_is_no_such_chat() {
        let scene = Scene::new().await;
        for who in [Left, Removed, Erased, Stranger, Nobody] {
            let mute = SetMute { chat_id: scene.group, until: None };
            assert_eq!(code(&scene.execute(who, mute).await), "notFound", "{who:?}");
        }
    }
}
