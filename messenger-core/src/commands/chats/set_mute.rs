use serde::Deserialize;

use crate::{
    commands::view,
    domain::{Chat, ChatId, Timestamp},
    error::Result,
    messenger::{Command, Cx},
};

/// Silences a chat for oneself until a moment; without one, no longer.
///
/// Errors: `notFound`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetMute {
    /// The chat.
    pub chat_id: ChatId,
    /// Until when.
    pub until: Option<Timestamp>,
}

impl Command for SetMute {
    type Output = Chat;
    const NAME: &'static str = "SetMute";

    async fn run(self, cx: &mut Cx) -> Result<Chat> {
        let user = cx.actor().user()?;
        cx.store().set_mute(self.chat_id, user, self.until).await?;
        view(cx, self.chat_id, user).await
    }
}
