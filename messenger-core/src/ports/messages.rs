use async_trait::async_trait;

use super::{Budget, ChatRecord, Content, Fingerprint, MessageRecord, StoreResult};
use crate::domain::{ChatId, ClientId, MessageId, Revision, Seq, Timestamp, UserId};

/// Messages.
#[async_trait]
pub trait MessageStore: Send + Sync + 'static {
    /// Appends a batch of text messages in one commit, and answers for each in the same order.
    ///
    /// For every message in the order of the batch: the sender must be a member who is not erased; if the same sender has
    /// already used its client id (before, or earlier in the batch), the answer is the stored message; otherwise, unless
    /// the chat is a direct one whose other person is erased, the message gets the chat's next seq and revision. The sender's read and delivered marks move to the sender's last message of the
    /// batch.
    ///
    /// # Behavior
    /// - `append_gives_out_seqs_and_revisions_without_gaps`
    /// - `append_by_a_stranger_is_not_member`: only that message fails; the others of the batch are stored.
    /// - `append_by_the_erased_is_not_member`: also of what they have stored before.
    /// - `append_to_the_erased_is_not_member`: in a direct chat; what was stored before is still answered.
    /// - `append_answers_a_repeated_client_id_with_the_stored_message`: also within one batch, in another chat, and
    ///   after the message was edited or deleted.
    /// - `append_keeps_client_ids_of_different_senders_apart`
    /// - `append_moves_the_senders_marks`
    /// - `append_of_many_racers_leaves_no_gap_and_no_double`
    /// - `append_of_an_empty_batch_is_nothing`
    async fn append_messages(&self, batch: &[NewMessage]) -> StoreResult<Vec<StoreResult<Appended>>>;

    /// Reads one message of a chat.
    ///
    /// # Behavior
    /// - `message_of_another_chat_is_not_found`
    async fn message(&self, chat: ChatId, message: MessageId) -> StoreResult<MessageRecord>;

    /// Reads a page of the history of a chat that this person is a member of.
    ///
    /// # Behavior
    /// - `history_pages_in_both_directions`: as [`Anchor::range`] defines.
    /// - `history_beyond_the_budget_is_cut`: the messages farthest from the anchor that do not fit are left out, and
    ///   are not read.
    /// - `history_of_a_stranger_is_not_member`
    async fn history(
        &self,
        chat: ChatId,
        user: UserId,
        anchor: Anchor,
        budget: Budget,
    ) -> StoreResult<HistoryRange>;

    /// Changes the text of a message, which gets the chat's next revision. The fingerprint of the original request is
    /// kept. Its author must not be erased.
    ///
    /// # Behavior
    /// - `edit_message_of_another_chat_is_not_found`
    /// - `edit_message_keeps_place_and_gives_a_new_revision`
    /// - `edit_message_conflicts_with_an_older_revision`
    /// - `edit_message_by_the_erased_is_not_member`
    async fn edit_message(&self, edit: EditMessage) -> StoreResult<MessageRecord>;

    /// Turns a message into a tombstone, which gets the chat's next revision: text and fingerprint are removed,
    /// everything else is kept.
    ///
    /// # Behavior
    /// - `delete_message_of_another_chat_is_not_found`
    /// - `delete_message_leaves_a_tombstone`
    /// - `delete_message_conflicts_with_an_older_revision`
    async fn delete_message(&self, delete: DeleteMessage) -> StoreResult<MessageRecord>;

    /// Turns at most `limit` of the person's text messages in a chat into tombstones, the oldest first, each with a
    /// revision of its own, and returns them; returns none when none is left. The person need not be a member.
    ///
    /// Of somebody who is erased none is left then for good: not even one that others were storing when this was called.
    ///
    /// # Behavior
    /// - `erase_messages_goes_on_until_none_is_left`
    /// - `erase_messages_of_the_erased_leaves_none_behind`: however many were being sent and changed at the same time.
    async fn erase_messages(
        &self,
        chat: ChatId,
        sender: UserId,
        at: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<MessageRecord>>;

    /// For each of the chats, reads its head and the messages whose last change is after the given revision, in the
    /// order of revisions. Head and messages are one consistent snapshot. Unknown chats are left out.
    ///
    /// The budget limits the number of messages of each chat, and the total weight over all chats, in the order of the
    /// chats' ids.
    ///
    /// # Behavior
    /// - `changes_carry_new_edited_and_deleted_messages`
    /// - `changes_beyond_the_limit_are_truncated`: the first ones are returned, with `truncated` set.
    /// - `changes_beyond_the_budget_are_truncated`: a message that is too heavy is left out with all that follow it,
    ///   and is not read.
    /// - `changes_skip_unknown_chats`
    /// - `changes_are_of_one_moment`: also during concurrent writes; so is a page of [`MessageStore::history`].
    async fn changes(&self, since: &[(ChatId, Revision)], budget: Budget) -> StoreResult<Vec<Changes>>;
}

/// A text message to append.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// Its id.
    pub id: MessageId,
    /// The chat.
    pub chat: ChatId,
    /// Who sends it.
    pub sender: UserId,
    /// The text: plain, or sealed by a wrapper.
    pub body: Content,
    /// The client id of the sender's request, and the fingerprint by which a repetition is recognised.
    pub client_id: Option<(ClientId, Fingerprint)>,
    /// The message of the same chat that it replies to.
    pub reply_to: Option<MessageId>,
    /// When it was sent.
    pub created_at: Timestamp,
}

/// The outcome for one message of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// It was stored.
    New(MessageRecord),
    /// The same sender already stored a message with the same client id.
    Existing {
        /// That message in its current state.
        record: MessageRecord,
        /// Whether it was stored with the same [`Fingerprint`]. Also true where the fingerprint was removed because the
        /// message was deleted.
        same_request: bool,
    },
}

impl Appended {
    /// The outcome for `new` if `record` is already stored under its client id.
    pub fn existing(record: MessageRecord, new: &NewMessage) -> Self {
        let asked = new.client_id.as_ref().map(|(_, fingerprint)| *fingerprint);
        let same_request = record.fingerprint.is_none() || record.fingerprint == asked;
        Self::Existing { record, same_request }
    }

    /// The stored message.
    pub fn into_record(self) -> MessageRecord {
        let (Self::New(record) | Self::Existing { record, .. }) = self;
        record
    }
}

/// Where a page of history is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// The last messages.
    Newest,
    /// The messages immediately before this one.
    Before(Seq),
    /// The messages immediately after this one.
    After(Seq),
    /// The messages around this one: `limit / 2` before it, the rest beginning with it.
    Around(Seq),
}

impl Anchor {
    /// The first and the last place of a page of `limit` messages in a chat whose last message is `last`. Seqs have no
    /// gaps, so a page is a range. `None` if the page is empty.
    ///
    /// ```
    /// use messenger_core::{Seq, ports::Anchor};
    ///
    /// let range = Anchor::Before(Seq::new(51)).range(Seq::new(100), 10);
    /// assert_eq!(range, Some((Seq::new(41), Seq::new(50))));
    /// assert_eq!(Anchor::After(Seq::new(100)).range(Seq::new(100), 10), None);
    /// ```
    pub fn range(self, last: Seq, limit: usize) -> Option<(Seq, Seq)> {
        let (last, limit) = (last.get(), limit as u64);
        let (low, high) = match self {
            Self::Newest => ((last + 1).saturating_sub(limit), last),
            Self::Before(seq) => {
                let high = last.min(seq.get().saturating_sub(1));
                ((high + 1).saturating_sub(limit), high)
            }
            Self::After(seq) => (seq.get() + 1, seq.get().saturating_add(limit)),
            Self::Around(seq) => {
                let low = seq.get().saturating_sub(limit / 2).max(1);
                (low, low.saturating_add(limit).saturating_sub(1))
            }
        };
        let (low, high) = (low.max(1), high.min(last));
        (low <= high && limit > 0).then(|| (Seq::new(low), Seq::new(high)))
    }

    /// The place that the page is anchored at. Where a page does not fit into a [`Budget`], the messages nearest to this
    /// place are kept; of two at the same distance, the later one.
    ///
    /// ```
    /// use messenger_core::{Seq, ports::Anchor};
    ///
    /// assert_eq!(Anchor::Newest.place(), Seq::MAX);
    /// assert_eq!(Anchor::After(Seq::new(5)).place(), Seq::new(5));
    /// ```
    pub const fn place(self) -> Seq {
        match self {
            Self::Newest => Seq::MAX,
            Self::Before(seq) | Self::After(seq) | Self::Around(seq) => seq,
        }
    }
}

/// A page of history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRange {
    /// The seq of the chat's last message.
    pub last_seq: Seq,
    /// In ascending order of seq.
    pub messages: Vec<MessageRecord>,
}

/// A change of a message's text.
#[derive(Debug, Clone)]
pub struct EditMessage {
    /// The chat.
    pub chat: ChatId,
    /// The message.
    pub message: MessageId,
    /// The author, whom the store already knows: for a wrapper that binds a sealed text to its author.
    pub sender: UserId,
    /// The revision of the message that the change was decided on.
    pub expected: Revision,
    /// The new text: plain, or sealed by a wrapper.
    pub body: Content,
    /// When it was edited.
    pub edited_at: Timestamp,
}

/// The deletion of a message.
#[derive(Debug, Clone, Copy)]
pub struct DeleteMessage {
    /// The chat.
    pub chat: ChatId,
    /// The message.
    pub message: MessageId,
    /// The revision of the message that the deletion was decided on.
    pub expected: Revision,
    /// When it was deleted.
    pub deleted_at: Timestamp,
}

/// The changes of a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The chat.
    pub chat: ChatRecord,
    /// In ascending order of revision.
    pub messages: Vec<MessageRecord>,
    /// Whether there are more changes.
    pub truncated: bool,
}
