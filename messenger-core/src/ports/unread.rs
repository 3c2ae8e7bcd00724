use async_trait::async_trait;

use super::{
    MessageRecord, NewJob, StoreResult,
    told::{MailState, Told},
};
use crate::domain::{ChatId, Seq, Timestamp, UserId};

/// What people have not read, for those who tell them of it outside the chat.
///
/// A text message is *pending* for a member if it is somebody else's, not deleted, and after both the member's read mark
/// and the last message that the member was told of. A member is told of a chat as long as they are in it, have not muted
/// it, and want more than [nothing](crate::NotifyLevel::None) of it.
///
/// Each chat has a time since which something may be pending in it. While it is unset, the next text message sets it, in the
/// write that stores the message, to the time of that message or of another one that is stored in the same commit; so a
/// message costs nothing more than without. Looking at the chat sets it to the next message that was too new for this look.
#[async_trait]
pub trait UnreadStore: Send + Sync + 'static {
    /// Claims chats in which something may have been pending since [`due`](ClaimUnread::due) or longer, the longest first,
    /// at most `limit`. Nobody else gets them until the lease ends.
    ///
    /// # Behavior
    /// - `claim_unread_chats_finds_chats_with_texts_that_are_old_enough`
    /// - `claim_unread_chats_has_the_longest_waiting_first`
    /// - `claim_unread_chats_finds_none_for_system_messages`
    /// - `claim_unread_chats_keeps_the_time_of_the_first_text`: those that follow don't put it off.
    /// - `claim_unread_chats_leaves_what_others_hold`
    /// - `claim_unread_chats_takes_over_what_a_dead_worker_had`
    /// - `claim_unread_chats_of_racing_workers_takes_each_once`
    /// - `claim_unread_chats_of_a_message_that_was_refused_is_nothing`
    /// - `claim_unread_chats_finds_what_a_batch_stores_beside_what_it_refuses`
    async fn claim_unread_chats(&self, claim: &ClaimUnread, limit: usize) -> StoreResult<Vec<ClaimedChat>>;

    /// Ends the claim of a chat that was looked at for messages up to `due`, and tells whether it was still held; if not,
    /// nothing is changed. The chat is due again when the first message is that was sent later, or was stored after the
    /// claim.
    ///
    /// # Behavior
    /// - `finish_unread_chat_waits_for_the_next_text`
    /// - `finish_unread_chat_leaves_what_was_too_new`
    /// - `finish_unread_chat_forgets_no_message_that_came_meanwhile`: even one that says it was sent before.
    /// - `finish_unread_chat_passes_over_what_was_deleted`
    /// - `finish_unread_chat_of_a_lost_claim_is_nothing`
    /// - `finish_unread_chat_forgets_nothing_while_others_send`
    async fn finish_unread_chat(&self, claimed: &ClaimedChat, due: Timestamp) -> StoreResult<bool>;

    /// Reads the members of a chat for whom something that was sent at [`due`](AskUnread::due) or before is pending, in the
    /// order of their ids, after `after`, at most `limit`. Members who muted the chat beyond [`now`](AskUnread::now) are
    /// left out.
    ///
    /// # Behavior
    /// - `unread_members_have_an_old_text_of_somebody_else_after_their_mark`
    /// - `unread_members_are_not_those_who_have_read_it`
    /// - `unread_members_have_what_is_old_enough_after_what_is_not`: the clocks of nodes differ.
    /// - `unread_members_are_not_those_who_left_or_were_erased`
    /// - `unread_members_are_not_those_who_want_no_news`: who have muted the chat, until the mute ends, or want nothing.
    /// - `unread_members_have_nothing_of_deleted_and_system_messages`
    /// - `unread_members_have_nothing_from_before_they_joined`
    /// - `unread_members_page_by_id`
    /// - `unread_members_tell_what_they_were_told`
    async fn unread_members(
        &self,
        asked: &AskUnread,
        after: Option<UserId>,
        limit: usize,
    ) -> StoreResult<Vec<PendingMember>>;

    /// Reads the chats of a person in which something that was sent at `until` or before is pending, the newest message
    /// first, at most `limit`. Chats muted beyond `now` are left out.
    ///
    /// # Behavior
    /// - `unread_chats_have_the_newest_first`
    /// - `unread_chats_count_what_is_pending`: neither what was deleted nor what is one's own.
    /// - `unread_chats_are_those_one_wants_to_hear_of`
    /// - `unread_chats_tell_how_often_one_was_told`
    async fn unread_chats(
        &self,
        user: UserId,
        until: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<PendingChat>>;

    /// Reads the newest `lines` text messages of others of each of these ranges of chats that the person is in, as they are now, in
    /// the order of the ranges and of their seqs. Deleted ones are left out.
    ///
    /// # Behavior
    /// - `unread_lines_are_the_newest_as_they_are_now`
    /// - `unread_lines_of_a_stranger_are_none`
    async fn unread_lines(
        &self,
        user: UserId,
        ranges: &[UnreadRange],
        lines: usize,
    ) -> StoreResult<Vec<MessageRecord>>;

    /// Records that a person is told of messages, and enqueues the jobs that do it, both or nothing. Tells whether it was
    /// done: only if the person was told of nothing else meanwhile, is still in all these chats, and has neither read nor
    /// been told of anything there. A job that [`enqueue_jobs`](super::JobStore::enqueue_jobs) would pass over is passed
    /// over.
    ///
    /// # Behavior
    /// - `record_notified_moves_marks_and_enqueues_its_jobs`
    /// - `record_notified_of_what_was_read_meanwhile_is_nothing`
    /// - `record_notified_of_somebody_who_was_told_of_another_chat_is_nothing`
    /// - `record_notified_of_many_racers_is_done_by_one`: also where they tell of different chats.
    /// - `record_notified_of_somebody_who_left_or_was_erased_is_nothing`
    async fn record_notified(&self, notified: &Notified) -> StoreResult<bool>;

    /// Lists people who were last seen after the given place and at `until` or before, in that order, at most `limit`.
    ///
    /// # Behavior
    /// - `people_last_seen_come_in_the_order_in_which_they_went`
    async fn people_last_seen(
        &self,
        after: SeenPlace,
        until: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<SeenPlace>>;
}

/// Which chats to claim.
#[derive(Debug, Clone, Copy)]
pub struct ClaimUnread {
    /// Those in which something may have been pending since then or longer.
    pub due: Timestamp,
    /// The time at which leases that have ended are over.
    pub now: Timestamp,
    /// The end of the new leases.
    pub until: Timestamp,
}

/// A chat that was claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimedChat {
    /// The chat.
    pub chat: ChatId,
    /// The number of the claim, which rises with each claim of the chat.
    pub number: u64,
    /// Since when something may have been pending.
    pub since: Timestamp,
    /// The seq of its last message at that moment.
    pub last_seq: Seq,
}

/// Whose unread messages are asked for.
#[derive(Debug, Clone, Copy)]
pub struct AskUnread {
    /// In this chat.
    pub chat: ChatId,
    /// Of messages that were sent then or before.
    pub due: Timestamp,
    /// The time at which mutes that have ended are over.
    pub now: Timestamp,
}

/// A member for whom something is pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingMember {
    /// The person.
    pub user: UserId,
    /// When the first of these messages was sent.
    pub since: Timestamp,
    /// When the person last went offline.
    pub last_seen_at: Option<Timestamp>,
    /// Whether the person wants mail.
    pub notify_email: bool,
    /// What is known of mail to the person.
    pub mail: MailState,
    /// As [`PendingChat::told_at`].
    pub told_at: Option<Timestamp>,
    /// As [`PendingChat::told_times`].
    pub told_times: u32,
}

/// A chat in which something is pending for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingChat {
    /// The chat.
    pub chat: ChatId,
    /// The messages after this one are pending: the read mark, or the last message that the person was told of.
    pub after: Seq,
    /// The last of them that was asked for.
    pub up_to: Seq,
    /// When the first of them was sent.
    pub since: Timestamp,
    /// When the last of them was sent.
    pub last_at: Timestamp,
    /// How many they are; [`COUNTED`](Self::COUNTED) if they are more.
    pub unread: u64,
    /// When the person was last told of this chat without having moved the read mark since.
    pub told_at: Option<Timestamp>,
    /// How many times that was, since the read mark last moved.
    pub told_times: u32,
}

impl PendingChat {
    /// How far messages are counted.
    pub const COUNTED: u64 = 1000;

    /// The range of what is pending.
    pub const fn range(&self) -> UnreadRange {
        UnreadRange { chat: self.chat, after: self.after, up_to: self.up_to }
    }
}

/// Messages of a chat, of which a person has read none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnreadRange {
    /// The chat.
    pub chat: ChatId,
    /// Those after this one,
    pub after: Seq,
    /// and up to this one.
    pub up_to: Seq,
}

/// A record of what a person is told of.
#[derive(Debug, Clone)]
pub struct Notified {
    /// The person.
    pub user: UserId,
    /// When the person was last told of something, as [the account](MailState::told) says.
    pub expected: Option<Timestamp>,
    /// What the account says from now on.
    pub told: Told,
    /// What the person is told of; no chat comes twice.
    pub ranges: Vec<UnreadRange>,
    /// The jobs that do it.
    pub jobs: Vec<NewJob>,
}

/// A place in the list of those who were last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeenPlace {
    /// When.
    pub at: Timestamp,
    /// Whom.
    pub user: UserId,
}
