use serde::{Deserialize, Serialize};

use crate::{
    convert,
    domain::{ChatId, Message, Seq},
    error::{Error, Result},
    messenger::{Cx, Query},
    ports::Anchor,
    queries::page_size,
};

/// A page of a chat's history. Of `before`, `after` and `around` at most one; with none, the newest messages.
///
/// Errors: `notFound`, `invalid`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetHistory {
    /// The chat.
    pub chat_id: ChatId,
    /// The messages right before this place.
    pub before: Option<Seq>,
    /// The messages right after this place.
    pub after: Option<Seq>,
    /// The messages on both sides of this place.
    pub around: Option<Seq>,
    /// Messages on a page.
    pub limit: Option<u32>,
}

/// A page of a chat's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// By place, ascending.
    pub items: Vec<Message>,
    /// Whether there are messages before these.
    pub has_more_before: bool,
    /// Whether there are messages after these.
    pub has_more_after: bool,
}

impl Query for GetHistory {
    type Output = History;
    const NAME: &'static str = "GetHistory";

    async fn run(self, cx: &Cx) -> Result<History> {
        let user = cx.actor().user()?;
        let limit = page_size(self.limit, cx.limits())?;
        let anchor = match (self.before, self.after, self.around) {
            (None, None, None) => Anchor::Newest,
            (Some(seq), None, None) => Anchor::Before(seq),
            (None, Some(seq), None) => Anchor::After(seq),
            (None, None, Some(seq)) => Anchor::Around(seq),
            _ => return Err(Error::invalid("before", "can't be combined with after or around")),
        };
        let range = cx.store().history(self.chat_id, user, anchor, limit).await?;
        let (first, last) = (range.messages.first().map(|m| m.seq), range.messages.last().map(|m| m.seq));
        let (has_more_before, has_more_after) = match (first, last) {
            (Some(first), Some(last)) => (first > Seq::new(1), last < range.last_seq),
            // Nothing on the page: all there is lies on the other side of the anchor.
            _ => match anchor {
                Anchor::After(_) | Anchor::Around(_) => (range.last_seq > Seq::ZERO, false),
                Anchor::Before(_) => (false, range.last_seq > Seq::ZERO),
                Anchor::Newest => (false, false),
            },
        };
        Ok(History { items: convert::messages(range.messages)?, has_more_before, has_more_after })
    }
}
