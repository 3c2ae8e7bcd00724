use std::cmp::Ordering;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Content, MessageRecord, StoreResult, UserRecord};
use crate::domain::{
    ChatId, ChatKind, Checkpoint, ClientId, MessageId, Position, Revision, Role, Seq, Timestamp, UserId,
};
use crate::ports::Fingerprint;

/// Chats and who is in them.
///
/// Whoever was once a member stays known to the store (so that erasing a person finds all chats), but is a
/// member to no method here.
#[async_trait]
pub trait ChatStore: Send + Sync + 'static {
    /// Opens the direct chat of two different people, or finds the one there is. Both are
    /// [members](Role::Member). No message is written: seq and revision begin with 0.
    ///
    /// # Behavior
    /// - `open_direct_makes_one_chat_for_each_pair`: also with the two the other way round, and of many racers.
    /// - `open_direct_with_unknown_or_erased_user_is_not_found`: also if there is a chat of the two.
    /// - `open_direct_counts_a_membership_for_both`: [`UserRecord::memberships`] of both rises.
    async fn open_direct(&self, chat: DirectChat) -> StoreResult<Opened>;

    /// Makes a group with its first members and the system message that says so (seq 1, revision 1), or finds
    /// the one that this creator made with the same client id.
    ///
    /// # Behavior
    /// - `create_group_stores_members_roles_and_the_system_message`: the creator is the owner, the others are
    ///   members; their marks are 0, and nothing is unread by any of them.
    /// - `create_group_finds_the_one_made_with_the_same_client_id`: whatever else the request says by now.
    /// - `create_group_keeps_client_ids_of_different_creators_apart`: and apart from those of messages.
    /// - `create_group_with_unknown_or_erased_member_is_not_found`: nothing is stored.
    /// - `create_group_counts_a_membership_for_everyone`
    async fn create_group(&self, group: NewGroup) -> StoreResult<Opened>;

    /// The chats that have these ids and this person as a member, in no particular order, as the person sees them. Of
    /// the body of each last message no more than the first `preview` bytes are given: a wrapper that seals bodies asks
    /// for all of them.
    ///
    /// # Behavior
    /// - `chat_views_skip_chats_of_others`
    /// - `chat_views_show_peer_last_message_and_unread`
    /// - `chat_views_cut_the_last_message`: and say so; a page of [`ChatStore::list_chats`] likewise.
    /// - `chat_views_are_of_one_moment`: chat, marks and last message of a view agree, also while others write;
    ///   chat and member of a [`Membership`] likewise.
    async fn chat_views(&self, user: UserId, chats: &[ChatId], preview: usize) -> StoreResult<Vec<ChatView>>;

    /// At most `limit` of the person's chats, newest [activity](ChatView::activity) first, beginning after `after`;
    /// `preview` as for [`ChatStore::chat_views`].
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

    /// The person's place in the chat.
    ///
    /// # Behavior
    /// - `membership_of_a_stranger_is_not_member`: also for a chat that does not exist, and after leaving.
    async fn membership(&self, chat: ChatId, user: UserId) -> StoreResult<Membership>;

    /// The chat with all its members, those longest in it first.
    ///
    /// # Behavior
    /// - `roster_lists_members_in_the_order_of_joining`: within one change, in the order of its list (of a new
    ///   group, the creator first); one who comes back is last.
    /// - `roster_of_unknown_chat_is_not_found`
    /// - `roster_is_of_one_moment`: the members are those of the version, also while others write.
    async fn roster(&self, chat: ChatId) -> StoreResult<Roster>;

    /// Changes members, roles or title, and writes the system messages that say so, each with the next seq and
    /// revision. The moment of the first of them is when the added have joined. A member added anew has the role
    /// [`Role::Member`] and begins with read and delivered marks at the chat's last message before the change,
    /// not muted; one who comes back keeps the marks they had, if those are further. The version rises by one.
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

    /// Silences the chat for this person until then, or no longer.
    ///
    /// # Behavior
    /// - `set_mute_is_ones_own`
    /// - `set_mute_of_a_stranger_is_not_member`
    async fn set_mute(&self, chat: ChatId, user: UserId, until: Option<Timestamp>) -> StoreResult<()>;

    /// All chats that the person is in, with their revisions and commits; and with `left_after` the chats that the person
    /// has left in a later commit than that one. All of it as it was at one moment.
    ///
    /// # Behavior
    /// - `memberships_lists_every_chat_with_its_revision`
    /// - `memberships_count_is_no_later_than_the_list`: also while others write.
    /// - `memberships_number_commits_or_tell_nothing_of_them`
    /// - `memberships_have_a_later_commit_after_every_change`: of messages, members, roles and title. What is no change
    ///   of the chat, such as a mark, may or may not have one.
    /// - `memberships_tell_of_chats_that_were_left`: not of those that the person is in again.
    /// - `memberships_commits_miss_nothing_while_others_write`: what was not in one list has a later commit than what that
    ///   one says is [settled](Memberships::settled).
    async fn memberships(&self, user: UserId, left_after: Option<u64>) -> StoreResult<Memberships>;

    /// [`UserRecord::memberships`] of those of the people that exist.
    ///
    /// # Behavior
    /// - `membership_counts_rise_when_one_is_added`
    async fn membership_counts(&self, users: &[UserId]) -> StoreResult<Vec<(UserId, u64)>>;

    /// The revisions of those of the chats that exist.
    ///
    /// # Behavior
    /// - `revisions_skips_unknown_chats`
    async fn revisions(&self, chats: &[ChatId]) -> StoreResult<Vec<(ChatId, Revision)>>;

    /// All chats that the person is or ever was a member of.
    ///
    /// # Behavior
    /// - `chats_ever_joined_includes_those_left`
    async fn chats_ever_joined(&self, user: UserId) -> StoreResult<Vec<ChatId>>;
}

/// A direct chat to be opened.
#[derive(Debug, Clone, Copy)]
pub struct DirectChat {
    /// Its id, if there is none for this pair.
    pub id: ChatId,
    /// The two people; different.
    pub users: [UserId; 2],
    /// The moment.
    pub created_at: Timestamp,
}

impl DirectChat {
    /// The same 32 bytes for the same two people, whichever comes first: the lower id, then the higher.
    pub fn pair_key(&self) -> [u8; 32] {
        let [a, b] = self.users;
        let (low, high) = if a < b { (a, b) } else { (b, a) };
        let mut key = [0; 32];
        key[..16].copy_from_slice(low.as_bytes());
        key[16..].copy_from_slice(high.as_bytes());
        key
    }
}

/// A group to be made.
#[derive(Debug, Clone)]
pub struct NewGroup {
    /// Its id.
    pub id: ChatId,
    /// Who makes it and owns it.
    pub creator: UserId,
    /// The other first members: different from each other and from the creator.
    pub members: Vec<UserId>,
    /// Its title: plain, or sealed as text by a wrapper. At most 1,600 UTF-16 code units.
    pub title: Content,
    /// What the creator's client calls the request, with the mark by which its repetition is known.
    pub client_id: Option<(ClientId, Fingerprint)>,
    /// The moment.
    pub created_at: Timestamp,
    /// Says that the group was made.
    pub message: NewSystemMessage,
}

/// What [`ChatStore::open_direct`] and [`ChatStore::create_group`] answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The chat.
    pub chat: ChatId,
    /// Whether this call made it.
    pub created: bool,
    /// Whether it was made by this request or one with the same [`Fingerprint`]; of direct chats always true.
    pub same_request: bool,
}

impl Opened {
    /// This request made the chat.
    pub const fn new(chat: ChatId) -> Self {
        Self { chat, created: true, same_request: true }
    }

    /// There was the chat before, made by a request with the fingerprint `stored`.
    pub fn existing(chat: ChatId, stored: Option<Fingerprint>, asked: Option<Fingerprint>) -> Self {
        Self { chat, created: false, same_request: stored == asked }
    }
}

/// A system message to be written.
#[derive(Debug, Clone)]
pub struct NewSystemMessage {
    /// Its id.
    pub id: MessageId,
    /// Whose doing it is.
    pub sender: UserId,
    /// A [`SystemNote`](crate::SystemNote) as JSON: plain, or sealed by a wrapper.
    pub note: Content,
    /// The moment.
    pub at: Timestamp,
}

/// A chat as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatRecord {
    /// Its id.
    pub id: ChatId,
    /// Between two, or a group.
    pub kind: ChatKind,
    /// The title of a group, as [`NewGroup::title`].
    pub title: Option<Content>,
    /// When it was opened.
    pub created_at: Timestamp,
    /// The number of its last change.
    pub revision: Revision,
    /// The place of its last message.
    pub last_seq: Seq,
    /// How many text messages it has, deleted ones included.
    pub texts: u64,
    /// How many people are in it.
    pub member_count: u32,
    /// Rises by one with every change of members, roles or title; begins with 1.
    pub roster_version: u64,
}

/// One person in a chat, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRecord {
    /// Who.
    pub user_id: UserId,
    /// What they may do.
    pub role: Role,
    /// Since when they are in it.
    pub joined_at: Timestamp,
    /// The read checkpoint.
    pub read_seq: Seq,
    /// How many text messages stand up to the read checkpoint.
    pub read_texts: u64,
    /// The delivered mark; never before the read checkpoint.
    pub delivered_seq: Seq,
    /// No notifications until then.
    pub muted_until: Option<Timestamp>,
}

/// A chat as one of its members sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatView {
    /// The chat.
    pub chat: ChatRecord,
    /// The member who asks.
    pub me: MemberRecord,
    /// The other one, in a direct chat.
    pub peer: Option<UserRecord>,
    /// The message at `last_seq`, with as much of its body as was asked for.
    pub last_message: Option<MessageRecord>,
    /// Whether the last message's body goes on.
    pub is_cut: bool,
}

impl ChatView {
    /// The place of this chat in the list: by the moment of the last message, else of opening; then by id.
    pub fn activity(&self) -> Activity {
        let at = self.last_message.as_ref().map_or(self.chat.created_at, |message| message.created_at);
        Activity { at: at.as_micros(), chat: self.chat.id }
    }
}

/// A place in a list of chats by newest activity; greater is newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Activity {
    /// Microseconds since 1970.
    pub at: i64,
    /// Decides between chats of the same moment.
    pub chat: ChatId,
}

/// A person's place in a chat.
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
    /// Those longest in it first.
    pub members: Vec<MemberRecord>,
}

/// A change of members, roles or title.
#[derive(Debug, Clone)]
pub struct RosterChange {
    /// The chat.
    pub chat: ChatId,
    /// The [version](ChatRecord::roster_version) that the change was decided on.
    pub expected: u64,
    /// People who become members; none of them is one.
    pub add: Vec<UserId>,
    /// People who no longer are; all of them are members.
    pub remove: Vec<UserId>,
    /// Members with new roles; none of them is removed.
    pub roles: Vec<(UserId, Role)>,
    /// A new title, as [`NewGroup::title`].
    pub title: Option<Content>,
    /// Say what happened; at least one.
    pub messages: Vec<NewSystemMessage>,
}

/// What [`ChatStore::change_roster`] answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RosterChanged {
    /// The chat after the change.
    pub chat: ChatRecord,
    /// The system messages, in order.
    pub messages: Vec<MessageRecord>,
}

/// All chats of a person.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memberships {
    /// [`UserRecord::memberships`], no later than the list.
    pub count: u64,
    /// The chats, in no particular order.
    pub chats: Vec<MemberChat>,
    /// Chats that the person has left, in no particular order.
    pub left: Vec<ChatId>,
    /// Which order the commits are of. Another one if the numbers may have begun anew, as in another database. `None` of a
    /// store that does not number its commits: then no client is told a position, and each says what it has of all chats.
    pub history: Option<u64>,
    /// Up to this commit everything is in the list. Later ones may be in it, too, while some before them are not: where
    /// several writers commit at once, the numbers do not become visible in their order.
    pub settled: u64,
}

impl Memberships {
    /// How far a client is that is given all of this. That of the last change of a chat of the person, not of the last
    /// commit: so it stays the same while nothing happens to them.
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

    /// Whether this store has had all that a client at this position has, and has named. If it has lost something, what
    /// has changed since can't be told.
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
    /// The commit that changed it last: a number that rises with every commit that changes a chat, over all chats. 0 in a
    /// store that does not number them.
    pub commit: u64,
}

/// A chat's last change, and who is on the other side of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChatHead {
    /// The chat.
    pub chat: ChatId,
    /// The number of its last change.
    pub revision: Revision,
    /// The other one, in a direct chat.
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
            // The same revision in a later commit: what was given out there was taken back.
            (at(1, 19, OTHER, 7), true),
            (at(1, 21, OTHER, 7), false),
            (at(1, 19, OTHER, 6), true),
            // A revision is never of two commits.
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
