use serde::Deserialize;

use super::{changed, find};
use crate::{
    commands::ATTEMPTS,
    domain::{ChatId, Message, MessageBody, MessageId},
    error::{Checks, Error, Result},
    messenger::{Command, Cx},
    ports::{self, Content, StoreErrorKind, Topic},
};

/// Changes the text of one's own message.
///
/// Errors: `notFound`, `forbidden` for a message of somebody else or one that is deleted, `invalid`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EditMessage {
    /// The chat.
    pub chat_id: ChatId,
    /// The message.
    pub message_id: MessageId,
    /// The text from now on.
    pub body: String,
}

impl Command for EditMessage {
    type Output = Message;
    const NAME: &'static str = "EditMessage";

    async fn run(self, cx: &mut Cx) -> Result<Message> {
        let user = cx.actor().user()?;
        let mut checks = Checks::default();
        let body = checks.field("body", MessageBody::parse(&self.body, cx.limits()));
        checks.finish()?;
        let mut body = body.ok_or_else(|| Error::invalid("body", "is missing"))?;
        if let Some(policy) = cx.policy() {
            body = policy.text(cx.actor(), self.chat_id, body).await?;
        }
        for _ in 0..ATTEMPTS {
            let (membership, record) = find(cx, self.chat_id, self.message_id, user).await?;
            if record.sender != user {
                return Err(Error::Forbidden("Only who wrote a message may change it."));
            }
            if record.deleted_at.is_some() {
                return Err(Error::Forbidden("A deleted message can't be changed."));
            }
            let edit = ports::EditMessage {
                chat: self.chat_id,
                message: self.message_id,
                expected: record.revision,
                body: Content::from(body.as_str()),
                edited_at: cx.context().now(),
            };
            cx.writes([Topic::Chat(self.chat_id)]);
            match cx.store().edit_message(edit).await {
                Err(error) if error.kind() == StoreErrorKind::Conflict => {}
                edited => return changed(cx, &membership, edited?),
            }
        }
        Err(Error::Conflict)
    }
}
