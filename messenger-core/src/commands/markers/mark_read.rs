use serde::Deserialize;

use super::{Marks, move_mark};
use crate::{
    cx::Cx,
    domain::{ChatId, Seq},
    error::{ErrorCode, Result},
    operation::Command,
};

/// Marks everything up to a message as read, and therefore also as delivered. A mark only moves forward, and not beyond
/// the last message.
///
/// Errors: `notFound`.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::{Seq, commands::MarkRead};
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// # let bob = messenger_core::doc::register(&messenger, "bob").await;
/// # let chat_id = messenger_core::doc::direct(&messenger, &ada, &bob).await;
/// # let first = messenger_core::doc::say(&messenger, &ada, chat_id, "one").await;
/// # let second = messenger_core::doc::say(&messenger, &ada, chat_id, "two").await;
/// let marks = messenger.execute(&bob, MarkRead { chat_id, seq: first.seq }).await?;
/// assert_eq!(marks.unread, 1);
///
/// // Not beyond the last message, and not back.
/// let marks = messenger.execute(&bob, MarkRead { chat_id, seq: Seq::new(1000) }).await?;
/// assert_eq!((marks.read_seq, marks.unread), (second.seq, 0));
/// let marks = messenger.execute(&bob, MarkRead { chat_id, seq: first.seq }).await?;
/// assert_eq!(marks.read_seq, second.seq);
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MarkRead {
    /// The chat.
    pub chat_id: ChatId,
    /// The seq of that message.
    pub seq: Seq,
}

impl Command for MarkRead {
    type Output = Marks;
    const NAME: &'static str = "MarkRead";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::NotFound];
    /// The lane stores the mark and announces it.
    const DETACHED: bool = false;

    async fn run(self, cx: &mut Cx) -> Result<Marks> {
        move_mark(cx, self.chat_id, self.seq, true).await
    }
}
