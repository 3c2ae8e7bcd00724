use serde::Deserialize;

use super::{Marks, move_mark};
use crate::{
    cx::Cx,
    domain::{ChatId, Seq},
    error::{ErrorCode, Result},
    operation::Command,
};

/// Says that all up to a message has reached one of the person's devices.
/// A mark only moves forward, and not beyond the last message.
///
/// Errors: `notFound`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MarkDelivered {
    /// The chat.
    pub chat_id: ChatId,
    /// The place of that message.
    pub seq: Seq,
}

impl Command for MarkDelivered {
    type Output = Marks;
    const NAME: &'static str = "MarkDelivered";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::NotFound];
    /// The lane stores it and tells of it.
    const DETACHED: bool = false;

    async fn run(self, cx: &mut Cx) -> Result<Marks> {
        move_mark(cx, self.chat_id, self.seq, false).await
    }
}
