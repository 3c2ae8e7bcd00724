use async_trait::async_trait;

use super::StoreResult;
use crate::domain::{ChatId, Seq, UserId};

/// How far each member has read, and how far messages have reached them.
#[async_trait]
pub trait MarkerStore: Send + Sync + 'static {
    /// Moves marks forward, in one commit, and answers for each in the same order. A mark beyond the chat's last
    /// message stops at that message. Reading implies delivery.
    ///
    /// # Behavior
    /// - `move_markers_only_moves_forward`: a target before the current mark returns the mark unchanged, with `moved`
    ///   unset.
    /// - `move_markers_stops_at_the_last_message`
    /// - `move_markers_read_implies_delivered`
    /// - `move_markers_counts_only_texts_as_unread`
    /// - `move_markers_by_a_stranger_is_not_member`: only that entry fails; the others of the batch are moved.
    async fn move_markers(&self, batch: &[MoveMarker]) -> StoreResult<Vec<StoreResult<MarkerMoved>>>;
}

/// A mark to move.
#[derive(Debug, Clone, Copy)]
pub struct MoveMarker {
    /// The chat.
    pub chat: ChatId,
    /// The person whose mark it is.
    pub user: UserId,
    /// The target.
    pub seq: Seq,
    /// Whether to move the read mark (and with it the delivered mark), or only the delivered mark.
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
    /// Whether the requested mark moved.
    pub moved: bool,
    /// How many members the chat has.
    pub member_count: u32,
}
