mod delete;
mod edit;
mod send;

pub use delete::DeleteMessage;
pub use edit::EditMessage;
pub use send::SendMessage;

use crate::{
    cx::Cx,
    domain::{ChatId, Message, MessageId, MessageKind, Revision, UserId},
    error::{Error, OrNotFound as _, Result},
    ports::{Membership, MessageRecord},
};

/// Reads a text message of a chat that the actor is in, with the actor's membership.
async fn find(
    cx: &Cx,
    chat: ChatId,
    message: MessageId,
    user: UserId,
) -> Result<(Membership, MessageRecord)> {
    let membership = cx.store().membership(chat, user).await?;
    let record = cx.store().message(chat, message).await.or_not_found(|| Error::NotFound("message"))?;
    if record.kind == MessageKind::System {
        return Err(Error::Forbidden("What the chat itself says can't be changed."));
    }
    Ok((membership, record))
}

/// Announces a changed message, and returns it.
fn changed(cx: &mut Cx, membership: &Membership, record: MessageRecord) -> Result<Message> {
    let message = crate::convert::message(record.clone());
    cx.publish_changes(&membership.chat, vec![record]);
    debug_assert!(message.revision > Revision::ZERO);
    Ok(message)
}
