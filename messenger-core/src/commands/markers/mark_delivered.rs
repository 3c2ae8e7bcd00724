use serde::Deserialize;

use super::{Marks, move_mark};
use crate::{
    cx::Cx,
    domain::{ChatId, Seq},
    error::{ErrorCode, Result},
    operation::Command,
};

/// Marks everything up to a message as delivered to one of the person's devices. A mark only moves forward, and not
/// beyond the last message.
///
/// Errors: `notFound`.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::commands::MarkDelivered;
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// # let bob = messenger_core::doc::register(&messenger, "bob").await;
/// # let chat_id = messenger_core::doc::direct(&messenger, &ada, &bob).await;
/// # let message = messenger_core::doc::say(&messenger, &ada, chat_id, "hi").await;
/// let marks = messenger.execute(&bob, MarkDelivered { chat_id, seq: message.seq }).await?;
/// assert_eq!(marks.unread, 1); // it is there, and not read yet
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MarkDelivered {
    /// The chat.
    pub chat_id: ChatId,
    /// The seq of that message.
    pub seq: Seq,
}

impl Command for MarkDelivered {
    type Output = Marks;
    const NAME: &'static str = "MarkDelivered";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::NotFound];
    /// The lane stores the mark and announces it.
    const DETACHED: bool = false;

    async fn run(self, cx: &mut Cx) -> Result<Marks> {
        move_mark(cx, self.chat_id, self.seq, false).await
    }
}
