use async_trait::async_trait;

use super::StoreResult;
use crate::domain::{ChatId, Seq, UserId};

/// How far each member has read, and how far messages have reached them.
#[async_trait]
pub trait MarkerStore: Send + Sync + 'static {
    /// Moves marks forward, in one commit, and answers for each in the same order. A mark beyond the chat's
    /// last message goes to that message. Reading implies delivery.
    ///
    /// # Behavior
    /// - `move_markers_only_moves_forward`: an earlier place answers with the mark as it is, `moved` unset.
    /// - `move_markers_stops_at_the_last_message`
    /// - `move_markers_read_implies_delivered`
    /// - `move_markers_counts_only_texts_as_unread`
    /// - `move_markers_by_a_stranger_is_not_member`: only for that one; the others of the batch are moved.
    async fn move_markers(&self, batch: &[MoveMarker]) -> StoreResult<Vec<StoreResult<MarkerMoved>>>;
}

/// A mark to be moved.
#[derive(Debug, Clone, Copy)]
pub struct MoveMarker {
    /// The chat.
    pub chat: ChatId,
    /// Whose mark.
    pub user: UserId,
    /// Where to.
    pub seq: Seq,
    /// The read mark (and with it the delivered mark), or the delivered mark alone.
    pub read: bool,
}

/// The marks after a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkerMoved {
    /// The read mark.
    pub read_seq: Seq,
    /// The delivered mark.
    pub delivered_seq: Seq,
    /// Text messages after the read mark.
    pub unread: u64,
    /// Whether the mark that was asked for moved.
    pub moved: bool,
    /// How many people are in the chat.
    pub member_count: u32,
}
