use std::sync::Arc;

use serde::Deserialize;

use crate::{
    cx::Cx,
    domain::{ChatId, Event, Typing},
    error::{ErrorCode, Result},
    operation::Command,
    ports::{BusMessage, Hint, Topic},
};

/// A person counts as having stopped typing this long after their last typing request.
const EXPIRES_IN_MS: u32 = 6000;

/// Tells the other members of a chat that the caller is typing, or has stopped. In a large chat nobody is told.
///
/// Errors: `notFound`.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::{Event, commands::SetTyping, hub::Signal};
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// # let bob = messenger_core::doc::register(&messenger, "bob").await;
/// # let chat_id = messenger_core::doc::direct(&messenger, &ada, &bob).await;
/// let mut connection = messenger.connect(&bob).await?;
/// connection.go_live();
/// messenger.execute(&ada, SetTyping { chat_id, typing: true }).await?;
/// let Signal::Event(told) = connection.next().await else { panic!() };
/// assert!(matches!(told.event(), Event::Typing(typing) if typing.user_id == ada.user()?));
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetTyping {
    /// The chat.
    pub chat_id: ChatId,
    /// Whether the caller is typing.
    pub typing: bool,
}

impl Command for SetTyping {
    type Output = ();
    const NAME: &'static str = "SetTyping";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::NotFound];

    async fn run(self, cx: &mut Cx) -> Result<()> {
        let user = cx.actor().user()?;
        let chat = cx.store().membership(self.chat_id, user).await?.chat;
        if chat.member_count as usize <= cx.limits().ephemeral_members {
            let expires_in_ms = if self.typing { EXPIRES_IN_MS } else { 0 };
            let typing = Typing { chat_id: chat.id, user_id: user, typing: self.typing, expires_in_ms };
            let hint = Arc::new(Hint::Event(Event::Typing(typing)));
            cx.publish(Some(chat.id), BusMessage { topics: vec![Topic::Chat(chat.id)], hint });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::Limits,
        testing::{Scene, Setup, Told, Who::*, code},
    };

    #[tokio::test]
    async fn the_others_are_told_for_how_long_one_is_writing() {
        let scene = Scene::new().await;
        for chat_id in [scene.group, scene.direct] {
            for (typing, expires_in_ms) in [(true, 6000), (true, 6000), (false, 0)] {
                scene.must(Member, SetTyping { chat_id, typing }).await;
                let user_id = scene.id(Member);
                let told = Event::Typing(Typing { chat_id, user_id, typing, expires_in_ms });
                assert_eq!(scene.told().await, [Told::in_chat(chat_id, told)]);
            }
        }
    }

    #[tokio::test]
    async fn in_a_large_chat_nobody_is_told() {
        // The group has five members.
        for (ephemeral_members, told) in [(5, 1), (4, 0)] {
            let limits = Limits { ephemeral_members, ..Limits::default() };
            let scene = Scene::with(Setup { limits, ..Setup::default() }).await;
            scene.must(Member, SetTyping { chat_id: scene.group, typing: true }).await;
            assert_eq!(scene.told().await.len(), told, "{ephemeral_members}");
        }
    }

    #[tokio::test]
    async fn to_those_who_are_not_in_it_there_is_no_such_chat() {
        let scene = Scene::new().await;
        for who in [Left, Removed, Erased, Stranger, Nobody] {
            let typing = SetTyping { chat_id: scene.group, typing: true };
            assert_eq!(code(&scene.execute(who, typing).await), "notFound", "{who:?}");
        }
        assert_eq!(scene.told().await, []);
    }
}
