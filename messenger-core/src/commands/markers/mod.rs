mod mark_delivered;
mod mark_read;

use std::sync::Arc;

pub use mark_delivered::MarkDelivered;
pub use mark_read::MarkRead;
use serde::Serialize;

use crate::{
    domain::{ChatId, Event, MarkMove, Seq},
    error::Result,
    messenger::Cx,
    ports::{BusMessage, Hint, MarkerMoved, MoveMarker, StoreResult, Topic},
};

/// One's marks in a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Marks {
    /// All up to here is read.
    pub read_seq: Seq,
    /// Text messages after it.
    pub unread: u64,
}

async fn move_mark(cx: &Cx, chat: ChatId, seq: Seq, read: bool) -> Result<Marks> {
    let user = cx.actor().user()?;
    let placed = cx.marks().place(chat, MoveMarker { chat, user, seq, read }).await?;
    cx.placed();
    let marks = placed.answer().await?;
    Ok(Marks { read_seq: marks.read_seq, unread: marks.unread })
}

/// What the others are to be told of a batch of moves: of a large chat, only the person's own connections.
pub(crate) fn moved(
    batch: &[MoveMarker],
    outcomes: &[StoreResult<MarkerMoved>],
    lively_members: usize,
) -> Vec<BusMessage> {
    batch
        .iter()
        .zip(outcomes)
        .filter_map(|(asked, outcome)| {
            let moved = outcome.as_ref().ok().filter(|outcome| outcome.moved)?;
            let mark = |seq| MarkMove { chat_id: asked.chat, user_id: asked.user, seq };
            let event = if asked.read {
                Event::ReadMoved(mark(moved.read_seq))
            } else {
                Event::DeliveredMoved(mark(moved.delivered_seq))
            };
            let is_lively = moved.member_count as usize <= lively_members;
            let topic = if is_lively { Topic::Chat(asked.chat) } else { Topic::User(asked.user) };
            Some(BusMessage { topics: vec![topic], hint: Arc::new(Hint::Event(event)) })
        })
        .collect()
}
