use std::sync::Arc;

use serde::Deserialize;

use crate::{
    domain::{ChatId, Event, Typing},
    error::Result,
    messenger::{Command, Cx},
    ports::{BusMessage, Hint, Topic},
};

/// After so long without another word a person has stopped writing.
const EXPIRES_IN_MS: u32 = 6000;

/// Tells the others of a chat that one is writing, or has stopped. In a large chat nobody is told.
///
/// Errors: `notFound`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetTyping {
    /// The chat.
    pub chat_id: ChatId,
    /// Whether one is writing.
    pub typing: bool,
}

impl Command for SetTyping {
    type Output = ();
    const NAME: &'static str = "SetTyping";

    async fn run(self, cx: &mut Cx) -> Result<()> {
        let user = cx.actor().user()?;
        let chat = cx.store().membership(self.chat_id, user).await?.chat;
        if chat.member_count as usize <= cx.limits().lively_members {
            let expires_in_ms = if self.typing { EXPIRES_IN_MS } else { 0 };
            let typing = Typing { chat_id: chat.id, user_id: user, typing: self.typing, expires_in_ms };
            let hint = Arc::new(Hint::Event(Event::Typing(typing)));
            cx.tell(Some(chat.id), BusMessage { topics: vec![Topic::Chat(chat.id)], hint });
        }
        Ok(())
    }
}
