use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use async_trait::async_trait;

use super::{
    MemoryStore, State,
    retention::Keeping,
    unread::{ToldOf, Unread},
    users::distinct,
};
use crate::{
    domain::{ChatId, ChatKind, MessageKind, NotifyLevel, Revision, Role, Seq, Timestamp, UserId},
    ports::{
        Activity, ChangedChat, ChatHead, ChatRecord, ChatStore, ChatView, Content, DirectChat, MemberChat,
        MemberRecord, Membership, Memberships, MessageRecord, NewGroup, NewSystemMessage, Opened, Roster,
        RosterChange, RosterChanged, StoreErrorKind, StoreResult, Unique,
    },
};

#[async_trait]
impl ChatStore for MemoryStore {
    async fn open_direct(&self, chat: DirectChat) -> StoreResult<Opened> {
        let mut state = self.lock()?;
        state.users.check_live(&chat.users)?;
        if let Some(existing) = state.pairs.get(&chat.pair_key()) {
            return Ok(Opened::existing(*existing, None, None));
        }
        state.insert_chat(chat.id, ChatKind::Direct, None, chat.created_at)?;
        for user in chat.users {
            state.admit(chat.id, user, Role::Member, chat.created_at);
        }
        state.pairs.insert(chat.pair_key(), chat.id);
        Ok(Opened::new(chat.id))
    }

    async fn create_group(&self, group: NewGroup) -> StoreResult<Opened> {
        let mut state = self.lock()?;
        let name = group.client_id.map(|(id, fingerprint)| ((group.creator, id), fingerprint));
        let known = name.as_ref().and_then(|(name, asked)| Some((state.groups.get(name)?, *asked)));
        if let Some(((chat, stored), asked)) = known {
            return Ok(Opened::existing(*chat, Some(*stored), Some(asked)));
        }
        state.users.check_live(&[group.creator])?;
        state.users.check_live(&group.members)?;
        state.insert_chat(group.id, ChatKind::Group, Some(group.title), group.created_at)?;
        state.admit(group.id, group.creator, Role::Owner, group.created_at);
        for member in group.members {
            state.admit(group.id, member, Role::Member, group.created_at);
        }
        state.write_system(group.id, group.message);
        if let Some((name, fingerprint)) = name {
            state.groups.insert(name, (group.id, fingerprint));
        }
        Ok(Opened::new(group.id))
    }

    async fn chat_views(&self, user: UserId, chats: &[ChatId], preview: usize) -> StoreResult<Vec<ChatView>> {
        let state = self.lock()?;
        Ok(distinct(chats).filter_map(|chat| state.view(state.chats.get(&chat)?, user, preview)).collect())
    }

    async fn list_chats(
        &self,
        user: UserId,
        after: Option<Activity>,
        limit: usize,
        preview: usize,
    ) -> StoreResult<Vec<ChatView>> {
        let state = self.lock()?;
        let mut views: Vec<_> =
            state.chats_of(user).filter_map(|chat| state.view(chat, user, preview)).collect();
        views.retain(|view| after.is_none_or(|after| view.activity() < after));
        views.sort_by_key(|view| Reverse(view.activity()));
        views.truncate(limit);
        Ok(views)
    }

    async fn membership(&self, chat: ChatId, user: UserId) -> StoreResult<Membership> {
        let state = self.lock()?;
        let chat = state.chats.get(&chat).ok_or(StoreErrorKind::NotMember)?;
        let member = chat.member(user).ok_or(StoreErrorKind::NotMember)?;
        Ok(Membership { chat: chat.record.clone(), member: member.clone() })
    }

    async fn roster(&self, chat: ChatId) -> StoreResult<Roster> {
        let state = self.lock()?;
        let chat = state.chats.get(&chat).ok_or(StoreErrorKind::NotFound)?;
        let mut present: Vec<_> = chat.entries.values().filter(|entry| entry.here).collect();
        present.sort_by_key(|entry| entry.order);
        let members = present.into_iter().map(|entry| entry.member.clone()).collect();
        Ok(Roster { chat: chat.record.clone(), members })
    }

    async fn change_roster(&self, change: RosterChange) -> StoreResult<RosterChanged> {
        let mut state = self.lock()?;
        let chat = state.chats.get(&change.chat).ok_or(StoreErrorKind::NotFound)?;
        if chat.record.roster_version != change.expected {
            return Err(StoreErrorKind::Conflict.into());
        }
        state.users.check_live(&change.add)?;
        let joined_at = change.messages.first().map_or(chat.record.created_at, |message| message.at);
        for user in change.add {
            state.admit(change.chat, user, Role::Member, joined_at);
        }
        let commit = state.next_commit();
        let chat = state.chats.get_mut(&change.chat).ok_or(StoreErrorKind::NotFound)?;
        chat.apply(&change.remove, &change.roles, change.title, commit);
        let messages = change.messages.into_iter();
        let messages = messages.filter_map(|message| state.write_system(change.chat, message)).collect();
        let chat = state.chats.get(&change.chat).ok_or(StoreErrorKind::NotFound)?;
        Ok(RosterChanged { chat: chat.record.clone(), messages })
    }

    async fn set_mute(&self, chat: ChatId, user: UserId, until: Option<Timestamp>) -> StoreResult<()> {
        let mut state = self.lock()?;
        let member = state.chats.get_mut(&chat).and_then(|chat| chat.member_mut(user));
        member.ok_or(StoreErrorKind::NotMember)?.muted_until = until;
        Ok(())
    }

    async fn set_notify_level(&self, chat: ChatId, user: UserId, level: NotifyLevel) -> StoreResult<()> {
        let mut state = self.lock()?;
        let member = state.chats.get_mut(&chat).and_then(|chat| chat.member_mut(user));
        member.ok_or(StoreErrorKind::NotMember)?.notify_level = level;
        Ok(())
    }

    async fn memberships(&self, user: UserId, left_after: Option<u64>) -> StoreResult<Memberships> {
        let state = self.lock()?;
        let count = state.users.get(user).map_or(0, |user| user.memberships);
        let (history, settled) = (Some(state.history.0), state.commits);
        let mut memberships = Memberships { count, history, settled, ..Memberships::default() };
        for chat in state.chats_of(user) {
            let (id, revision) = (chat.record.id, chat.record.revision);
            match chat.entries.get(&user) {
                Some(entry) if entry.here => {
                    let head = ChatHead { chat: id, revision, peer: chat.peer_of(user) };
                    memberships.chats.push(MemberChat { head, commit: chat.commit });
                }
                Some(entry) if left_after.is_some_and(|after| entry.left > after) => {
                    memberships.left.push(id);
                }
                _ => {}
            }
        }
        Ok(memberships)
    }

    async fn membership_counts(&self, users: &[UserId]) -> StoreResult<Vec<(UserId, u64)>> {
        let state = self.lock()?;
        let users = distinct(users).filter_map(|user| state.users.get(user));
        Ok(users.map(|user| (user.id, user.memberships)).collect())
    }

    async fn revisions(&self, chats: &[ChatId]) -> StoreResult<Vec<(ChatId, Revision)>> {
        let state = self.lock()?;
        let chats = distinct(chats).filter_map(|chat| state.chats.get(&chat));
        Ok(chats.map(|chat| (chat.record.id, chat.record.revision)).collect())
    }

    async fn changed_since(&self, since: Timestamp, limit: usize) -> StoreResult<Vec<ChangedChat>> {
        let state = self.lock()?;
        let changed = state.chats.values().filter(|chat| chat.changed_at >= since).take(limit);
        let changed = changed.map(|chat| ChangedChat {
            chat: chat.record.id,
            revision: chat.record.revision,
            may_have_new_members: chat.members_changed_at >= since,
        });
        Ok(changed.collect())
    }

    async fn chats_ever_joined(&self, user: UserId) -> StoreResult<Vec<ChatId>> {
        Ok(self.lock()?.joined.get(&user).cloned().unwrap_or_default())
    }
}

impl State {
    fn insert_chat(
        &mut self,
        id: ChatId,
        kind: ChatKind,
        title: Option<Content>,
        created_at: Timestamp,
    ) -> StoreResult<()> {
        if self.chats.contains_key(&id) {
            return Err(StoreErrorKind::AlreadyExists(Unique::Id).into());
        }
        let record = ChatRecord {
            id,
            kind,
            title,
            created_at,
            revision: Revision::ZERO,
            last_seq: Seq::ZERO,
            texts: 0,
            member_count: 0,
            roster_version: 1,
        };
        let chat = ChatState {
            record,
            entries: HashMap::new(),
            joins: 0,
            messages: vec![],
            by_revision: BTreeMap::new(),
            commit: self.next_commit(),
            changed_at: Timestamp::from_micros(0),
            members_changed_at: Timestamp::from_micros(0),
            unread: Unread::default(),
            keeping: Keeping::default(),
        };
        self.chats.insert(id, chat);
        Ok(())
    }

    fn admit(&mut self, chat: ChatId, user: UserId, role: Role, at: Timestamp) {
        let Some(chat) = self.chats.get_mut(&chat) else { return };
        if chat.admit(user, role, at) {
            self.joined.entry(user).or_default().push(chat.record.id);
        }
        self.users.count_membership(user);
    }

    pub(super) fn write_system(&mut self, chat: ChatId, message: NewSystemMessage) -> Option<MessageRecord> {
        let record = MessageRecord {
            id: message.id,
            chat,
            seq: Seq::ZERO,
            created_revision: Revision::ZERO,
            revision: Revision::ZERO,
            kind: MessageKind::System,
            sender: message.sender,
            body: Some(message.note),
            client_id: None,
            fingerprint: None,
            reply_to: None,
            created_at: message.at,
            edited_at: None,
            deleted_at: None,
        };
        let commit = self.next_commit();
        let record = self.chats.get_mut(&chat)?.push(record, commit);
        self.places.insert(record.id, (chat, record.seq));
        Some(record)
    }

    /// All chats of the person, including those that they have left.
    pub(super) fn chats_of(&self, user: UserId) -> impl Iterator<Item = &ChatState> {
        self.joined.get(&user).into_iter().flatten().filter_map(|chat| self.chats.get(chat))
    }

    fn view(&self, chat: &ChatState, user: UserId, preview: usize) -> Option<ChatView> {
        let mut is_cut = false;
        let last_message = chat.messages.last().map(|StoredMessage { record, .. }| {
            let body = record.body.as_ref().map(|body| {
                is_cut = body.0.len() > preview;
                Content(body.0.iter().take(preview).copied().collect())
            });
            MessageRecord { body, ..record.clone() }
        });
        Some(ChatView {
            chat: chat.record.clone(),
            me: chat.member(user)?.clone(),
            peer: chat.peer_of(user).and_then(|peer| self.users.get(peer)).cloned(),
            last_message,
            is_cut,
            retention: chat.keeping.retention,
        })
    }
}

pub(super) fn make_tombstone(message: &mut MessageRecord, at: Timestamp) {
    message.body = None;
    message.fingerprint = None;
    message.deleted_at = Some(at);
}

#[derive(Debug)]
pub(super) struct ChatState {
    pub(super) record: ChatRecord,
    pub(super) entries: HashMap<UserId, Entry>,
    /// How many joins there have been.
    joins: usize,
    /// The message of seq `n` is at `n - 1`.
    pub(super) messages: Vec<StoredMessage>,
    /// The message last changed by each revision; revisions replaced by a later change are missing.
    pub(super) by_revision: BTreeMap<Revision, Seq>,
    /// The commit of its last change.
    pub(super) commit: u64,
    /// The latest time of a change.
    pub(super) changed_at: Timestamp,
    /// The latest time of a change by which somebody may have become a member.
    members_changed_at: Timestamp,
    pub(super) unread: Unread,
    pub(super) keeping: Keeping,
}

/// The membership of a current or former member.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) member: MemberRecord,
    pub(super) here: bool,
    /// The ordinal of this join among those of the chat.
    order: usize,
    /// The commit in which they left.
    left: u64,
    pub(super) told_of: ToldOf,
}

#[derive(Debug)]
pub(super) struct StoredMessage {
    pub(super) record: MessageRecord,
    /// The number of text messages up to and including this one.
    texts: u64,
}

impl ChatState {
    pub(super) fn member(&self, user: UserId) -> Option<&MemberRecord> {
        self.entries.get(&user).filter(|entry| entry.here).map(|entry| &entry.member)
    }

    pub(super) fn member_mut(&mut self, user: UserId) -> Option<&mut MemberRecord> {
        self.entries.get_mut(&user).filter(|entry| entry.here).map(|entry| &mut entry.member)
    }

    pub(super) fn get(&self, seq: Seq) -> Option<&StoredMessage> {
        self.messages.get(usize::try_from(seq.get()).ok()?.checked_sub(1)?)
    }

    pub(super) fn texts_up_to(&self, seq: Seq) -> u64 {
        self.get(seq).map_or(0, |stored| stored.texts)
    }

    /// Stores the message with the next seq and revision.
    pub(super) fn push(&mut self, message: MessageRecord, commit: u64) -> MessageRecord {
        self.commit = commit;
        let chat = &mut self.record;
        chat.revision = chat.revision.next();
        chat.last_seq = chat.last_seq.next();
        chat.texts += u64::from(message.kind == MessageKind::Text);
        let (seq, revision) = (chat.last_seq, chat.revision);
        let record = MessageRecord { seq, created_revision: revision, revision, ..message };
        self.by_revision.insert(revision, seq);
        self.changed_at = self.changed_at.max(record.created_at);
        if record.kind == MessageKind::System || seq == Seq::ZERO.next() {
            self.members_changed_at = self.members_changed_at.max(record.created_at);
        }
        self.unread.note(&record);
        self.messages.push(StoredMessage { record: record.clone(), texts: self.record.texts });
        record
    }

    /// Adds a member; returns whether the person was never in this chat before.
    fn admit(&mut self, user: UserId, role: Role, at: Timestamp) -> bool {
        self.joins += 1;
        let former = self.entries.remove(&user);
        let is_new = former.is_none();
        let (read, delivered, told_of) = former.map_or_else(Default::default, |entry| {
            (entry.member.read_seq, entry.member.delivered_seq, entry.told_of)
        });
        let read_seq = read.max(self.record.last_seq);
        let member = MemberRecord {
            user_id: user,
            role,
            joined_at: at,
            read_seq,
            read_texts: self.texts_up_to(read_seq),
            delivered_seq: delivered.max(read_seq),
            muted_until: None,
            notify_level: NotifyLevel::All,
        };
        self.entries.insert(user, Entry { member, here: true, order: self.joins, left: 0, told_of });
        self.record.member_count += 1;
        is_new
    }

    fn apply(&mut self, remove: &[UserId], roles: &[(UserId, Role)], title: Option<Content>, commit: u64) {
        self.commit = commit;
        for user in remove {
            if let Some(entry) = self.entries.get_mut(user).filter(|entry| entry.here) {
                entry.here = false;
                entry.left = commit;
                self.record.member_count -= 1;
            }
        }
        for (user, role) in roles {
            if let Some(member) = self.member_mut(*user) {
                member.role = *role;
            }
        }
        if title.is_some() {
            self.record.title = title;
        }
        self.record.roster_version += 1;
    }

    /// The other person, in a direct chat.
    pub(super) fn peer_of(&self, user: UserId) -> Option<UserId> {
        let others = || self.entries.keys().copied().find(|other| *other != user);
        (self.record.kind == ChatKind::Direct).then(others).flatten()
    }
}
