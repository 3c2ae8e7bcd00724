use std::{fmt, str::FromStr};

use async_trait::async_trait;

use super::{MessageRecord, NewSystemMessage, RosterChanged, StoreResult};
use crate::domain::{ChatId, Id, RetentionPeriod, Seq, Timestamp, UserId};

/// How long messages are kept, what was purged when that time was over, and what is under a legal hold.
///
/// Messages are kept for the shorter one of two times: that of the chat, and that of the deployment, which every call names.
/// A message that is older is *overdue*: it is turned into a tombstone as by
/// [`delete_message`](super::MessageStore::delete_message), whatever its kind is.
///
/// A store remembers of each chat up to which message it was looked through, and the time of the first message after that, so
/// that a purge reads each message once, and chats in which nothing can be overdue are not looked at. A chat is looked at for
/// the first time when it is asked for the first time, and a chat without messages after that once in the time for which they
/// are kept.
#[async_trait]
pub trait RetentionStore: Send + Sync + 'static {
    /// Sets how long messages of a group are kept, or leaves that to the deployment, and writes the system message that
    /// records it, with the next seq and revision. The roster version rises by one.
    ///
    /// # Behavior
    /// - `set_retention_is_told_and_seen`: as a change of members is, and in [`ChatView::retention`](super::ChatView::retention).
    /// - `set_retention_conflicts_with_an_older_version`: nothing is changed.
    /// - `set_retention_of_unknown_chat_is_not_found`
    async fn set_retention(&self, change: RetentionChange) -> StoreResult<RosterChanged>;

    /// Lists chats in which a message may be overdue, those that have waited longest first, at most `limit`. Its cost depends
    /// on how many there are, and not on how many chats are stored.
    ///
    /// # Behavior
    /// - `overdue_chats_are_those_with_old_messages`: until they were purged.
    /// - `overdue_chats_go_by_their_own_time`: also where the deployment has none.
    async fn overdue_chats(&self, asked: &AskOverdue, limit: usize) -> StoreResult<Vec<OverdueChat>>;

    /// Looks through the next messages of a chat, in the order of their seqs, [`limit`](Purge::limit) at most, up to the first
    /// one that is not overdue. Those that are overdue become tombstones, each with a revision of its own, and what was done is
    /// recorded in the same transaction; if nothing was, there is no record. Messages whose sender is under a hold, and all
    /// of a chat that is, are passed over.
    ///
    /// # Behavior
    /// - `purge_turns_what_is_overdue_into_tombstones`: texts and system messages; seqs stay, and revisions have no gap.
    /// - `purge_goes_on_where_it_was`: with what is left, and does nothing to what it has passed.
    /// - `purge_goes_by_the_shorter_time`: also when the time of the chat has changed since it was listed.
    /// - `purge_records_what_it_has_done`
    /// - `purge_of_a_chat_that_keeps_all_is_nothing`: neither is one of an unknown chat.
    /// - `purge_passes_over_what_is_held`
    /// - `purge_comes_back_to_what_was_released`
    /// - `purge_of_racers_does_each_message_once`: while others send, edit and delete.
    async fn purge(&self, purge: &Purge) -> StoreResult<Purged>;

    /// Puts a chat or a person under a hold, and tells whether it was not before. An earlier hold stays as it is. When this
    /// has answered, no purge and no [erasure](super::UserStore::erase_user) that began before is still under way.
    ///
    /// # Behavior
    /// - `hold_is_listed_until_it_is_released`
    /// - `hold_of_the_unknown_and_the_erased_is_not_found`
    /// - `hold_ends_the_purges_that_are_under_way`: what is overdue when it answers stays.
    /// - `hold_keeps_an_account_from_being_erased`: with [`Held`](super::StoreErrorKind::Held), and nothing is changed.
    async fn hold(&self, hold: &Hold) -> StoreResult<bool>;

    /// Ends a hold, and tells whether there was one. What is overdue and was passed over for it is looked at again, also if
    /// there was none.
    async fn release(&self, subject: HoldSubject) -> StoreResult<bool>;

    /// Lists holds, chats first, each by rising ids, after `after`, at most `limit`.
    ///
    /// # Behavior
    /// - `holds_page_by_subject`
    async fn holds(&self, after: Option<HoldSubject>, limit: usize) -> StoreResult<Vec<Hold>>;

    /// Lists what was purged, by the rising ids of the records, after `after`, at most `limit`.
    ///
    /// # Behavior
    /// - `purges_page_by_id`
    async fn purges(&self, after: Option<PurgeId>, limit: usize) -> StoreResult<Vec<PurgeRecord>>;
}

/// The id of the record of a purge.
pub type PurgeId = Id<PurgeRecord>;

/// A change of how long messages of a group are kept.
#[derive(Debug, Clone)]
pub struct RetentionChange {
    /// The group.
    pub chat: ChatId,
    /// The [version](super::ChatRecord::roster_version) that the change was decided on.
    pub expected: u64,
    /// How long from now on; `None` for as long as the deployment does.
    pub retention: Option<RetentionPeriod>,
    /// The system message that records it.
    pub message: NewSystemMessage,
}

/// Which chats are asked for.
#[derive(Debug, Clone, Copy)]
pub struct AskOverdue {
    /// The time.
    pub now: Timestamp,
    /// How long the deployment keeps messages; `None` for good.
    pub retention: Option<RetentionPeriod>,
}

/// A chat in which a message may be overdue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverdueChat {
    /// The chat.
    pub chat: ChatId,
    /// No message that was not looked at is older than this.
    pub since: Timestamp,
    /// How long messages of the chat are kept if that is its own.
    pub retention: Option<RetentionPeriod>,
}

/// A step of a purge.
#[derive(Debug, Clone, Copy)]
pub struct Purge {
    /// The id of its record.
    pub id: PurgeId,
    /// The chat.
    pub chat: ChatId,
    /// The time, which also becomes that of the deletions.
    pub now: Timestamp,
    /// How long the deployment keeps messages; `None` for good.
    pub retention: Option<RetentionPeriod>,
    /// How many messages are looked at.
    pub limit: usize,
}

/// What a step of a purge has done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Purged {
    /// The new tombstones, in the order of their seqs.
    pub messages: Vec<MessageRecord>,
    /// Whether the next messages may be overdue, too.
    pub more: bool,
}

/// The record of a step of a purge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurgeRecord {
    /// Its id.
    pub id: PurgeId,
    /// The chat.
    pub chat: ChatId,
    /// When it was done.
    pub at: Timestamp,
    /// All messages that it purged are older than this.
    pub before: Timestamp,
    /// How long messages of the chat were kept.
    pub retention: RetentionPeriod,
    /// Whether that was the chat's own time, and not that of the deployment.
    pub is_own: bool,
    /// The first message that was purged.
    pub first: Seq,
    /// The last message that was purged.
    pub last: Seq,
    /// How many messages were purged.
    pub messages: u64,
}

/// What is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HoldSubject {
    /// All messages of a chat.
    Chat(ChatId),
    /// All messages that a person has sent, wherever, and the account.
    User(UserId),
}

impl HoldSubject {
    /// The number of the kind, as stores keep it, and the bytes of the id.
    pub const fn parts(&self) -> (i64, &[u8; 16]) {
        match self {
            Self::Chat(chat) => (0, chat.as_bytes()),
            Self::User(user) => (1, user.as_bytes()),
        }
    }

    /// The subject of these [`parts`](Self::parts), if there is such a kind.
    pub const fn of_parts(kind: i64, id: [u8; 16]) -> Option<Self> {
        match kind {
            0 => Some(Self::Chat(ChatId::from_bytes(id))),
            1 => Some(Self::User(UserId::from_bytes(id))),
            _ => None,
        }
    }
}

/// A legal hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// What is held.
    pub subject: HoldSubject,
    /// Why.
    pub reason: HoldReason,
    /// Since when.
    pub at: Timestamp,
}

/// Why something is held, such as the number of a case: one line of at most 200 characters, which may be empty.
///
/// Nothing seals it: stores keep it as it is.
///
/// ```
/// use messenger_core::ports::HoldReason;
///
/// assert_eq!("case 7/2026".parse::<HoldReason>()?.as_str(), "case 7/2026");
/// assert!("two\nlines".parse::<HoldReason>().is_err());
/// assert!("x".repeat(201).parse::<HoldReason>().is_err());
/// # Ok::<(), messenger_core::ports::InvalidHoldReason>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HoldReason(String);

impl HoldReason {
    /// Characters at most.
    pub const LONGEST: usize = 200;

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HoldReason {
    type Err = InvalidHoldReason;

    fn from_str(text: &str) -> Result<Self, InvalidHoldReason> {
        if text.chars().count() > Self::LONGEST || text.chars().any(char::is_control) {
            return Err(InvalidHoldReason);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no [`HoldReason`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be one line of at most 200 characters")]
pub struct InvalidHoldReason;
