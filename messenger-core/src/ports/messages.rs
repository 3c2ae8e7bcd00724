use async_trait::async_trait;

use super::{Budget, ChatRecord, Content, Fingerprint, MessageRecord, StoreResult};
use crate::domain::{ChatId, ClientId, MessageId, Revision, Seq, Timestamp, UserId};

/// Messages.
#[async_trait]
pub trait MessageStore: Send + Sync + 'static {
    /// Appends a batch of text messages in one commit, and answers for each in the same order.
    ///
    /// For every message in the order of the batch: the sender must be a member; a message of the same sender
    /// with the same client id is answered with the one stored (from before or from earlier in the batch);
    /// otherwise the message gets the chat's next seq and revision. The sender's read and delivered marks move
    /// to the sender's last message of the batch.
    ///
    /// # Behavior
    /// - `append_gives_out_seqs_and_revisions_without_gaps`
    /// - `append_by_a_stranger_is_not_member`: only for that message; the others of the batch are stored.
    /// - `append_answers_a_repeated_client_id_with_the_stored_message`: also within one batch, in another chat,
    ///   and after it was edited or deleted.
    /// - `append_keeps_client_ids_of_different_senders_apart`
    /// - `append_moves_the_senders_marks`
    /// - `append_of_many_racers_leaves_no_gap_and_no_double`
    /// - `append_of_an_empty_batch_is_nothing`
    async fn append_messages(&self, batch: &[NewMessage]) -> StoreResult<Vec<StoreResult<Appended>>>;

    /// One message of a chat.
    ///
    /// # Behavior
    /// - `message_of_another_chat_is_not_found`
    async fn message(&self, chat: ChatId, message: MessageId) -> StoreResult<MessageRecord>;

    /// A page of the history of a chat that this person is in.
    ///
    /// # Behavior
    /// - `history_pages_in_both_directions`: as [`Anchor::range`] says.
    /// - `history_beyond_the_budget_is_cut`: of what does not fit, those farthest from the anchor are left out, and are
    ///   not read.
    /// - `history_of_a_stranger_is_not_member`
    async fn history(
        &self,
        chat: ChatId,
        user: UserId,
        anchor: Anchor,
        budget: Budget,
    ) -> StoreResult<HistoryRange>;

    /// Changes the text of a message, which gets the chat's next revision. The fingerprint stays that of the
    /// first text.
    ///
    /// # Behavior
    /// - `edit_message_of_another_chat_is_not_found`
    /// - `edit_message_keeps_place_and_gives_a_new_revision`
    /// - `edit_message_conflicts_with_an_older_revision`
    async fn edit_message(&self, edit: EditMessage) -> StoreResult<MessageRecord>;

    /// Makes a message a tombstone, which gets the chat's next revision: text and fingerprint are gone, all else
    /// stays.
    ///
    /// # Behavior
    /// - `delete_message_of_another_chat_is_not_found`
    /// - `delete_message_leaves_a_tombstone`
    /// - `delete_message_conflicts_with_an_older_revision`
    async fn delete_message(&self, delete: DeleteMessage) -> StoreResult<MessageRecord>;

    /// Makes tombstones of at most `limit` of the person's text messages in a chat, the oldest first, each with
    /// a revision of its own, and answers with them; none when none is left. The person need not be a member.
    ///
    /// # Behavior
    /// - `erase_messages_goes_on_until_none_is_left`
    async fn erase_messages(
        &self,
        chat: ChatId,
        sender: UserId,
        at: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<MessageRecord>>;

    /// For each of the chats: its head, and the messages whose last change is after the given revision, by
    /// revision. Head and messages are of one moment. Unknown chats are left out.
    ///
    /// The budget counts the messages of each chat, and weighs those of all together, in the order of the chats' ids.
    ///
    /// # Behavior
    /// - `changes_carry_new_edited_and_deleted_messages`
    /// - `changes_beyond_the_limit_are_truncated`: the first ones, with `truncated` set.
    /// - `changes_beyond_the_budget_are_truncated`: what is too heavy is left out with all that follows, and is not
    ///   read.
    /// - `changes_skip_unknown_chats`
    /// - `changes_are_of_one_moment`: also while others write; and so is a page of [`MessageStore::history`].
    async fn changes(&self, since: &[(ChatId, Revision)], budget: Budget) -> StoreResult<Vec<Changes>>;
}

/// A text message to be appended.
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
    /// What the sender's client calls it, with the mark by which its repetition is known.
    pub client_id: Option<(ClientId, Fingerprint)>,
    /// The message of the same chat that it answers.
    pub reply_to: Option<MessageId>,
    /// The moment.
    pub created_at: Timestamp,
}

/// What became of a message of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// It was stored.
    New(MessageRecord),
    /// The same sender stored one under the same client id before.
    Existing {
        /// That message, as it is now.
        record: MessageRecord,
        /// Whether it was stored with the same [`Fingerprint`]. Also true where it has none any more because it was
        /// deleted.
        same_request: bool,
    },
}

impl Appended {
    /// What is answered for `new`, where `record` was stored before.
    pub fn existing(record: MessageRecord, new: &NewMessage) -> Self {
        let asked = new.client_id.as_ref().map(|(_, fingerprint)| *fingerprint);
        let same_request = record.fingerprint.is_none() || record.fingerprint == asked;
        Self::Existing { record, same_request }
    }

    /// The message that is stored.
    pub fn into_record(self) -> MessageRecord {
        let (Self::New(record) | Self::Existing { record, .. }) = self;
        record
    }
}

/// Where a page of history lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// The last messages.
    Newest,
    /// The messages right before this one.
    Before(Seq),
    /// The messages right after this one.
    After(Seq),
    /// This message in the middle: `limit / 2` before it, the rest from it on.
    Around(Seq),
}

impl Anchor {
    /// The first and the last place of a page of `limit` messages in a chat whose last message is `last`.
    /// Seqs have no gaps, so a page is a range. `None` if there is nothing on it.
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

    /// The place that a page is to be near to. Where not all of a page fits into a [`Budget`], the messages nearest to
    /// this place come; of two that are as near, the later one.
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
    /// The place of the chat's last message.
    pub last_seq: Seq,
    /// By place, ascending.
    pub messages: Vec<MessageRecord>,
}

/// A change of a message's text.
#[derive(Debug, Clone)]
pub struct EditMessage {
    /// The chat.
    pub chat: ChatId,
    /// The message.
    pub message: MessageId,
    /// Who wrote it, which a store has already: for a wrapper that binds a sealed text to its author.
    pub sender: UserId,
    /// The message's revision that the change was decided on.
    pub expected: Revision,
    /// The new text: plain, or sealed by a wrapper.
    pub body: Content,
    /// The moment.
    pub edited_at: Timestamp,
}

/// The deletion of a message.
#[derive(Debug, Clone, Copy)]
pub struct DeleteMessage {
    /// The chat.
    pub chat: ChatId,
    /// The message.
    pub message: MessageId,
    /// The message's revision that the deletion was decided on.
    pub expected: Revision,
    /// The moment.
    pub deleted_at: Timestamp,
}

/// What changed in a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The chat.
    pub chat: ChatRecord,
    /// By revision, ascending.
    pub messages: Vec<MessageRecord>,
    /// Whether there are more.
    pub truncated: bool,
}
