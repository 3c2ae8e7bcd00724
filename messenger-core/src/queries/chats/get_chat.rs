use serde::Deserialize;

use crate::{
    commands::view,
    domain::{Chat, ChatId},
    error::Result,
    messenger::{Cx, Query},
};

/// One of one's chats.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetChat {
    /// Which.
    pub chat_id: ChatId,
}

impl Query for GetChat {
    type Output = Chat;
    const NAME: &'static str = "GetChat";

    async fn run(self, cx: &Cx) -> Result<Chat> {
        view(cx, self.chat_id, cx.actor().user()?).await
    }
}
