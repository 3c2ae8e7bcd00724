use serde::Deserialize;

use crate::{
    convert,
    domain::{ChatId, Message, MessageId},
    error::{Error, Result},
    messenger::{Cx, Query},
    ports::StoreErrorKind,
};

/// One message.
///
/// Errors: `notFound`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetMessage {
    /// The chat.
    pub chat_id: ChatId,
    /// The message.
    pub message_id: MessageId,
}

impl Query for GetMessage {
    type Output = Message;
    const NAME: &'static str = "GetMessage";

    async fn run(self, cx: &Cx) -> Result<Message> {
        cx.store().membership(self.chat_id, cx.actor().user()?).await?;
        match cx.store().message(self.chat_id, self.message_id).await {
            Err(error) if error.kind() == StoreErrorKind::NotFound => Err(Error::NotFound("message")),
            found => Ok(convert::message(found?)?),
        }
    }
}
