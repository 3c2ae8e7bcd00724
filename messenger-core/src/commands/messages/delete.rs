use serde::Deserialize;

use super::{changed, find};
use crate::{
    commands::ATTEMPTS,
    convert,
    domain::{ChatId, Message, MessageId, Role},
    error::{Error, Result},
    messenger::{Command, Cx},
    ports::{self, StoreErrorKind, Topic},
};

/// Deletes a message: one's own, or anybody's as owner or admin. What is left is a tombstone; deleting that again
/// changes nothing.
///
/// Errors: `notFound`, `forbidden`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeleteMessage {
    /// The chat.
    pub chat_id: ChatId,
    /// The message.
    pub message_id: MessageId,
}

impl Command for DeleteMessage {
    type Output = Message;
    const NAME: &'static str = "DeleteMessage";

    async fn run(self, cx: &mut Cx) -> Result<Message> {
        let user = cx.actor().user()?;
        for _ in 0..ATTEMPTS {
            let (membership, record) = find(cx, self.chat_id, self.message_id, user).await?;
            if record.sender != user && membership.member.role < Role::Admin {
                return Err(Error::Forbidden(
                    "Only who wrote a message, the owner and admins may delete it.",
                ));
            }
            if record.deleted_at.is_some() {
                // Whoever deleted it may not have been answered, and then has told nobody.
                cx.tell_invalid(vec![Topic::Chat(self.chat_id)]);
                return Ok(convert::message(record)?);
            }
            let delete = ports::DeleteMessage {
                chat: self.chat_id,
                message: self.message_id,
                expected: record.revision,
                deleted_at: cx.context().now(),
            };
            cx.writes([Topic::Chat(self.chat_id)]);
            match cx.store().delete_message(delete).await {
                Err(error) if error.kind() == StoreErrorKind::Conflict => {}
                deleted => return changed(cx, &membership, deleted?),
            }
        }
        Err(Error::Conflict)
    }
}
