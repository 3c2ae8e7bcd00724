use std::cmp::Ordering;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Content, MessageRecord, StoreResult, UserRecord};
use crate::domain::{
    ChatId, ChatKind, Checkpoint, ClientId, MessageId, NotifyLevel, Position, RetentionPeriod, Revision,
    Role, Seq, Timestamp, UserId,
};
use crate::ports::Fingerprint;

/// Chats and their members.
///
/// The store remembers everybody who was ever a member (so that erasing a person finds all their chats), but every
/// other method treats former members as non-members.
#[async_trait]
pub trait ChatStore: Send + Sync + 'static {
    /// Opens the direct chat of two different people, or returns the existing one. Both are [members](Role::Member). No
    /// message is written: seq and revision begin at 0.
    ///
    /// # Behavior
    /// - `open_direct_makes_one_chat_for_each_pair`: also with the two people in reverse order, and with many
    ///   concurrent callers.
    /// - `open_direct_with_unknown_or_erased_user_is_not_found`: even if the two already have a chat.
    /// - `open_direct_counts_a_membership_for_both`: [`UserRecord::memberships`] of both rises.
    async fn open_direct(&self, chat: DirectChat) -> StoreResult<Opened>;

    /// Creates a group with its first members and the system message that announces it (seq 1, revision 1), or returns
    /// the group that this creator made with the same client id.
    ///
    /// # Behavior
    /// - `create_group_stores_members_roles_and_the_system_message`: the creator is the owner, the others are
    ///   members; their marks are 0, and nothing is unread by any of them.
    /// - `create_group_finds_the_one_made_with_the_same_client_id`: even if the rest of the request differs.
    /// - `create_group_keeps_client_ids_of_different_creators_apart`: and apart from the client ids of messages.
    /// - `create_group_with_unknown_or_erased_member_is_not_found`: nothing is stored.
    /// - `create_group_counts_a_membership_for_everyone`
    async fn create_group(&self, group: NewGroup) -> StoreResult<Opened>;

    /// Reads those of the given chats that this person is a member of, in no particular order, as the person sees them.
    /// Of the body of each last message at most the first `preview` bytes are returned: a wrapper that seals bodies
    /// asks for all of them.
    ///
    /// # Behavior
    /// - `chat_views_skip_chats_of_others`
    /// - `chat_views_show_peer_last_message_and_unread`
    /// - `chat_views_cut_the_last_message`: and set [`ChatView::is_cut`]; so does a page of [`ChatStore::list_chats`].
    /// - `chat_views_are_of_one_moment`: chat, marks and last message of a view are one consistent snapshot, also
    ///   during concurrent writes; so are chat and member of a [`Membership`].
    async fn chat_views(&self, user: UserId, chats: &[ChatId], preview: usize) -> StoreResult<Vec<ChatView>>;

    /// Reads at most `limit` of the person's chats, newest [activity](ChatView::activity) first, beginning after
    /// `after`; `preview` as in [`ChatStore::chat_views`].
    ///
    /// # Behavior
    /// - `list_chats_has_the_newest_activity_first`
    /// - `list_chats_pages_without_gap_or_repetition`
    async fn list_chats(
        &self,
        user: UserId,
        after: Option<Activity>,
        limit: usize,
        preview: usize,
    ) -> StoreResult<Vec<ChatView>>;

    /// Reads the person's membership of the chat.
    ///
    /// # Behavior
    /// - `membership_of_a_stranger_is_not_member`: also if the chat does not exist, and after leaving it.
    async fn membership(&self, chat: ChatId, user: UserId) -> StoreResult<Membership>;

    /// Reads the chat with all its members, longest-standing members first.
    ///
    /// # Behavior
    /// - `roster_lists_members_in_the_order_of_joining`: members added by the same change are in the order of its list
    ///   (in a new group, the creator first); a member who returns is last.
    /// - `roster_of_unknown_chat_is_not_found`
    /// - `roster_is_of_one_moment`: the members are those of the returned version, also during concurrent writes.
    async fn roster(&self, chat: ChatId) -> StoreResult<Roster>;

    /// Changes members, roles or title, and writes the system messages that record it, each with the next seq and
    /// revision. New members have joined at the time of the first of these messages. A person added for the first time
    /// has the role [`Role::Member`], read and delivered marks at the chat's last message before the change, no mute and
    /// the level [`NotifyLevel::All`]; one who returns keeps their former marks where those are further ahead. The version rises by one.
    ///
    /// # Behavior
    /// - `change_roster_adds_removes_and_gives_roles`
    /// - `change_roster_conflicts_with_an_older_version`: nothing is changed.
    /// - `change_roster_of_unknown_chat_is_not_found`
    /// - `change_roster_brings_back_one_who_left`
    /// - `change_roster_writes_its_system_messages_in_order`
    /// - `change_roster_leaves_nothing_unread_for_the_added`
    /// - `change_roster_with_unknown_or_erased_user_is_not_found`: nothing is changed.
    /// - `change_roster_counts_a_membership_for_the_added`
    async fn change_roster(&self, change: RosterChange) -> StoreResult<RosterChanged>;

    /// Mutes the chat for this person until the given time, or unmutes it.
    ///
    /// # Behavior
    /// - `set_mute_is_ones_own`
    /// - `set_mute_of_a_stranger_is_not_member`
    async fn set_mute(&self, chat: ChatId, user: UserId, until: Option<Timestamp>) -> StoreResult<()>;

    /// Sets about which messages of the chat this person wants to be told outside of it.
    ///
    /// # Behavior
    /// - `set_notify_level_is_ones_own`
    /// - `set_notify_level_of_a_stranger_is_not_member`
    /// - `set_notify_level_ends_with_the_membership`
    async fn set_notify_level(&self, chat: ChatId, user: UserId, level: NotifyLevel) -> StoreResult<()>;

    /// Reads all chats that the person is in, with their revisions and commits; and, with `left_after`, the chats that
    /// the person left in a later commit than that one. The whole answer is one consistent snapshot.
    ///
    /// # Behavior
    /// - `memberships_lists_every_chat_with_its_revision`
    /// - `memberships_count_is_no_later_than_the_list`: also during concurrent writes.
    /// - `memberships_number_commits_or_tell_nothing_of_them`
    /// - `memberships_have_a_later_commit_after_every_change`: of messages, members, roles and title. What does not
    ///   change the chat, such as a mark, may or may not raise the commit.
    /// - `memberships_tell_of_chats_that_were_left`: except chats that the person has joined again.
    /// - `memberships_commits_miss_nothing_while_others_write`: what was missing from one list has a later commit than
    ///   the [settled](Memberships::settled) one of that list.
    async fn memberships(&self, user: UserId, left_after: Option<u64>) -> StoreResult<Memberships>;

    /// Reads [`UserRecord::memberships`] of those of the people that exist.
    ///
    /// # Behavior
    /// - `membership_counts_rise_when_one_is_added`
    async fn membership_counts(&self, users: &[UserId]) -> StoreResult<Vec<(UserId, u64)>>;

    /// Reads the revisions of those of the chats that exist.
    ///
    /// # Behavior
    /// - `revisions_skips_unknown_chats`
    async fn revisions(&self, chats: &[ChatId]) -> StoreResult<Vec<(ChatId, Revision)>>;

    /// Lists chats that were changed at `since` or later, by the clocks of the nodes that changed them, in no particular
    /// order; at most `limit`. Its cost depends on how much was changed since then, and not on how much is stored: a
    /// node asks this every few seconds, in case it was not told of something.
    ///
    /// A store may take the time of a message from its id, which is a UUIDv7.
    ///
    /// # Behavior
    /// - `changed_since_lists_chats_with_new_edited_and_deleted_messages`
    /// - `changed_since_begins_with_that_time`: whatever is of an earlier millisecond is not listed.
    /// - `changed_since_says_where_somebody_may_have_joined`: where there is a system message, or a first message.
    /// - `changed_since_lists_no_more_than_the_limit`
    async fn changed_since(&self, since: Timestamp, limit: usize) -> StoreResult<Vec<ChangedChat>>;

    /// Lists all chats that the person is or ever was a member of.
    ///
    /// # Behavior
    /// - `chats_ever_joined_includes_those_left`
    async fn chats_ever_joined(&self, user: UserId) -> StoreResult<Vec<ChatId>>;
}

/// A direct chat to open.
#[derive(Debug, Clone, Copy)]
pub struct DirectChat {
    /// Its id, if the pair has no chat yet.
    pub id: ChatId,
    /// The two people; they differ.
    pub users: [UserId; 2],
    /// When it is opened.
    pub created_at: Timestamp,
}

impl DirectChat {
    /// Returns the same 32 bytes for the same two people in either order: the lower id, then the higher.
    pub fn pair_key(&self) -> [u8; 32] {
        let [a, b] = self.users;
        let (low, high) = if a < b { (a, b) } else { (b, a) };
        let mut key = [0; 32];
        key[..16].copy_from_slice(low.as_bytes());
        key[16..].copy_from_slice(high.as_bytes());
        key
    }
}

/// A group to create.
#[derive(Debug, Clone)]
pub struct NewGroup {
    /// Its id.
    pub id: ChatId,
    /// The person who creates it and owns it.
    pub creator: UserId,
    /// The other first members: different from each other and from the creator.
    pub members: Vec<UserId>,
    /// Its title: plain, or sealed as text by a wrapper. At most 1,600 UTF-16 code units.
    pub title: Content,
    /// The client id of the creator's request, and the fingerprint by which a repetition is recognised.
    pub client_id: Option<(ClientId, Fingerprint)>,
    /// When it is created.
    pub created_at: Timestamp,
    /// The system message that announces the group.
    pub message: NewSystemMessage,
}

/// The result of [`ChatStore::open_direct`] and [`ChatStore::create_group`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The chat.
    pub chat: ChatId,
    /// Whether this call created it.
    pub created: bool,
    /// Whether it was created by this request or by one with the same [`Fingerprint`]; always true for direct chats.
    pub same_request: bool,
}

impl Opened {
    /// This request created the chat.
    pub const fn new(chat: ChatId) -> Self {
        Self { chat, created: true, same_request: true }
    }

    /// The chat existed before, created by a request with the fingerprint `stored`.
    pub fn existing(chat: ChatId, stored: Option<Fingerprint>, asked: Option<Fingerprint>) -> Self {
        Self { chat, created: false, same_request: stored == asked }
    }
}

/// A system message to write.
#[derive(Debug, Clone)]
pub struct NewSystemMessage {
    /// Its id.
    pub id: MessageId,
    /// The person whose action it records.
    pub sender: UserId,
    /// A [`SystemNote`](crate::SystemNote) as JSON: plain, or sealed by a wrapper.
    pub note: Content,
    /// When it is written.
    pub at: Timestamp,
}

/// A chat as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatRecord {
    /// Its id.
    pub id: ChatId,
    /// Direct or group.
    pub kind: ChatKind,
    /// The title of a group, as [`NewGroup::title`].
    pub title: Option<Content>,
    /// When it was opened.
    pub created_at: Timestamp,
    /// The number of its last change.
    pub revision: Revision,
    /// The seq of its last message.
    pub last_seq: Seq,
    /// How many text messages it has, deleted ones included.
    pub texts: u64,
    /// How many members it has.
    pub member_count: u32,
    /// Rises by one with every change of members, roles or title; begins with 1.
    pub roster_version: u64,
}

/// One person in a chat, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRecord {
    /// The person.
    pub user_id: UserId,
    /// Their role.
    pub role: Role,
    /// When they joined.
    pub joined_at: Timestamp,
    /// The read mark.
    pub read_seq: Seq,
    /// How many text messages there are up to the read mark.
    pub read_texts: u64,
    /// The delivered mark; never before the read mark.
    pub delivered_seq: Seq,
    /// Notifications are muted until then.
    pub muted_until: Option<Timestamp>,
    /// About which messages the person wants to be told outside the chat.
    pub notify_level: NotifyLevel,
}

/// A chat as one of its members sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatView {
    /// The chat.
    pub chat: ChatRecord,
    /// The member whose view it is.
    pub me: MemberRecord,
    /// The other person, in a direct chat.
    pub peer: Option<UserRecord>,
    /// The message at `last_seq`, with as much of its body as was asked for.
    pub last_message: Option<MessageRecord>,
    /// Whether the body of the last message was cut.
    pub is_cut: bool,
    /// How long its messages are kept, if the chat has a time of its own.
    pub retention: Option<RetentionPeriod>,
}

impl ChatView {
    /// The position of this chat in the list: by the time of the last message, or of opening if there is none; then by
    /// id.
    pub fn activity(&self) -> Activity {
        let at = self.last_message.as_ref().map_or(self.chat.created_at, |message| message.created_at);
        Activity { at: at.as_micros(), chat: self.chat.id }
    }
}

/// A position in a list of chats ordered by newest activity; greater is newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Activity {
    /// Microseconds since 1970.
    pub at: i64,
    /// Breaks ties between chats of the same time.
    pub chat: ChatId,
}

/// A person's membership of a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The chat.
    pub chat: ChatRecord,
    /// The person.
    pub member: MemberRecord,
}

/// A chat with all its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roster {
    /// The chat.
    pub chat: ChatRecord,
    /// Longest-standing members first.
    pub members: Vec<MemberRecord>,
}

/// A change of members, roles or title.
#[derive(Debug, Clone)]
pub struct RosterChange {
    /// The chat.
    pub chat: ChatId,
    /// The [version](ChatRecord::roster_version) that the change was decided on.
    pub expected: u64,
    /// People to add; none of them is a member.
    pub add: Vec<UserId>,
    /// People to remove; all of them are members.
    pub remove: Vec<UserId>,
    /// Members to give new roles; none of them is removed.
    pub roles: Vec<(UserId, Role)>,
    /// A new title, as [`NewGroup::title`].
    pub title: Option<Content>,
    /// The system messages that record the change; at least one.
    pub messages: Vec<NewSystemMessage>,
}

/// The result of [`ChatStore::change_roster`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RosterChanged {
    /// The chat after the change.
    pub chat: ChatRecord,
    /// The system messages, in order.
    pub messages: Vec<MessageRecord>,
}

/// A chat that was changed lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangedChat {
    /// The chat.
    pub chat: ChatId,
    /// The revision of the last change in that time.
    pub revision: Revision,
    /// Whether somebody may have become a member in that time.
    pub may_have_new_members: bool,
}

/// All chats of a person.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memberships {
    /// [`UserRecord::memberships`], read no later than the list.
    pub count: u64,
    /// The chats, in no particular order.
    pub chats: Vec<MemberChat>,
    /// Chats that the person has left, in no particular order.
    pub left: Vec<ChatId>,
    /// Identifies the sequence that the commit numbers belong to. It differs if the numbers may have started again, as
    /// in another database. `None` if the store does not number its commits: then no client is given a position, and
    /// each client states its revision of every chat.
    pub history: Option<u64>,
    /// The list is complete up to this commit. Later commits may be in it, too, while some before them are not: where
    /// several writers commit at once, their numbers do not become visible in order.
    pub settled: u64,
}

impl Memberships {
    /// The position of a client that has received all of this. It is based on the last change of a chat of the person,
    /// not on the last commit of the store: so it stays the same while none of their chats changes.
    pub(crate) fn position(&self) -> Option<Position> {
        let history = self.history?;
        let settled = self.chats.iter().filter(|chat| chat.commit <= self.settled);
        let newest = settled.max_by_key(|chat| chat.commit);
        Some(Position::of(&Checkpoint {
            history,
            commit: newest.map_or(0, |chat| chat.commit),
            newest: newest.map(|chat| (chat.head.chat, chat.head.revision)),
        }))
    }

    /// Whether this store has everything that a client at this position has received, and the revisions that it named.
    /// If the store has lost some of it, the changes since then can't be determined.
    pub(crate) fn knows(&self, checkpoint: &Checkpoint, named: impl Fn(&ChatId) -> Option<Revision>) -> bool {
        let has_newest = |(newest, revision): (ChatId, Revision)| {
            let mut chats = self.chats.iter();
            let Some(chat) = chats.find(|chat| chat.head.chat == newest) else {
                return self.left.contains(&newest);
            };
            match chat.head.revision.cmp(&revision) {
                Ordering::Less => false,
                Ordering::Equal => chat.commit >= checkpoint.commit,
                Ordering::Greater => chat.commit > checkpoint.commit,
            }
        };
        let has_named = |MemberChat { head, .. }: &MemberChat| {
            named(&head.chat).is_none_or(|revision| revision <= head.revision)
        };
        self.history == Some(checkpoint.history)
            && checkpoint.newest.is_none_or(has_newest)
            && self.chats.iter().all(has_named)
    }
}

/// A chat that the person is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberChat {
    /// Its last change.
    pub head: ChatHead,
    /// The last commit that changed it: a number that rises with every commit that changes a chat, over all chats. 0 in
    /// a store that does not number its commits.
    pub commit: u64,
}

/// A chat's last change, and the peer in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChatHead {
    /// The chat.
    pub chat: ChatId,
    /// The number of its last change.
    pub revision: Revision,
    /// The other person, in a direct chat.
    pub peer: Option<UserId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ChatId = ChatId::from_bytes([1; 16]);
    const OTHER: ChatId = ChatId::from_bytes([2; 16]);
    const LEFT: ChatId = ChatId::from_bytes([3; 16]);

    fn chat(chat: ChatId, revision: u64, commit: u64) -> MemberChat {
        MemberChat { head: ChatHead { chat, revision: Revision::new(revision), peer: None }, commit }
    }

    fn memberships(settled: u64) -> Memberships {
        let chats = vec![chat(ONE, 4, 10), chat(OTHER, 7, 20)];
        Memberships { count: 3, chats, left: vec![LEFT], history: Some(1), settled }
    }

    #[test]
    fn a_position_is_that_of_the_last_change_before_which_nothing_can_come() {
        let newest = |chat, revision| Some((chat, Revision::new(revision)));
        for (settled, commit, newest) in [
            (9, 0, None),
            (10, 10, newest(ONE, 4)),
            (19, 10, newest(ONE, 4)),
            (20, 20, newest(OTHER, 7)),
            (u64::MAX, 20, newest(OTHER, 7)),
        ] {
            let checkpoint = memberships(settled).position().unwrap().checkpoint();
            assert_eq!(checkpoint, Some(Checkpoint { history: 1, commit, newest }), "{settled}");
        }
        assert_eq!(Memberships { history: None, ..memberships(20) }.position(), None);
    }

    #[test]
    fn a_store_knows_a_position_if_it_has_had_what_was_last_then_and_what_is_named() {
        let at = |history, commit, chat, revision| Checkpoint {
            history,
            commit,
            newest: Some((chat, Revision::new(revision))),
        };
        for (checkpoint, known) in [
            (at(1, 20, OTHER, 7), true),
            (at(2, 20, OTHER, 7), false),
            (Checkpoint { history: 1, commit: 0, newest: None }, true),
            // The same revision in a later commit: the change first stored under that revision was lost.
            (at(1, 19, OTHER, 7), true),
            (at(1, 21, OTHER, 7), false),
            (at(1, 19, OTHER, 6), true),
            // Two commits never share a revision.
            (at(1, 20, OTHER, 6), false),
            (at(1, 19, OTHER, 8), false),
            (at(1, 20, LEFT, 5), true),
            (at(1, 20, ChatId::from_bytes([4; 16]), 5), false),
        ] {
            assert_eq!(memberships(20).knows(&checkpoint, |_| None), known, "{checkpoint:?}");
        }
        for (revision, known) in [(6, true), (7, true), (8, false)] {
            let named = |chat: &ChatId| (*chat == OTHER).then(|| Revision::new(revision));
            assert_eq!(memberships(20).knows(&at(1, 10, ONE, 4), named), known, "{revision}");
        }
        let numbers_nothing = Memberships { history: None, ..memberships(20) };
        assert!(!numbers_nothing.knows(&at(1, 20, OTHER, 7), |_| None));
    }
}
