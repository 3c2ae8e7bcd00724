use std::sync::Arc;

use async_trait::async_trait;
use messenger_core::{
    ChatId, MessageId, NotifyLevel, Revision, Role, Timestamp, UserId,
    ports::{
        Activity, ChangedChat, ChatRecord, ChatStore, ChatView, Content, DirectChat, MemberRecord,
        Membership, Memberships, NewGroup, Opened, Roster, RosterChange, RosterChanged, StoreErrorKind,
        StoreResult,
    },
};
use messenger_sql::{
    columns::{cut_at, integer, role, rows},
    memberships::{self, Listed},
    records::system_message,
    unread::stored_level,
};

use crate::{
    call::Call,
    sql::{Bytes, distinct, fits, int, list},
    store::MssqlStore,
};

#[async_trait]
impl ChatStore for MssqlStore {
    async fn open_direct(&self, chat: DirectChat) -> StoreResult<Opened> {
        let [first, second] = chat.users;
        let call = Call::procedure(Arc::clone(&self.sql().chats.open_direct))
            .id("@id", chat.id)
            .id("@low", first.min(second))
            .id("@high", first.max(second))
            .id("@first", first)
            .time("@at", chat.created_at);
        let opened = self.one(call, |columns| {
            Ok(Opened { chat: columns.id()?, created: columns.flag()?, same_request: true })
        });
        opened.await?.ok_or_else(|| StoreErrorKind::Other.into())
    }

    async fn create_group(&self, group: NewGroup) -> StoreResult<Opened> {
        let (name, fingerprint) =
            group.client_id.as_ref().map(|(name, fingerprint)| (name.as_str(), fingerprint.0)).unzip();
        let users: Vec<_> = std::iter::once(group.creator).chain(group.members).collect();
        fits(users.len())?;
        let role_of = |user: &UserId| if *user == group.creator { Role::Owner } else { Role::Member };
        let members = people(users.iter().map(|user| (*user, ADDED, role_of(user))));
        let call = Call::procedure(Arc::clone(&self.sql().chats.create_group))
            .id("@id", group.id)
            .id("@creator", group.creator)
            .text("@title", group.title.to_text()?)
            .time("@at", group.created_at)
            .optional_bytes("@client_id", name)
            .optional_bytes("@fingerprint", fingerprint)
            .bytes("@members", members)
            .bytes("@locked", list(&distinct(&users)))
            .id("@message", group.message.id)
            .id("@sender", group.message.sender)
            .bytes("@note", group.message.note.0)
            .time("@message_at", group.message.at);
        let opened = self.one(call, move |columns| {
            let (chat, created) = (columns.id()?, columns.flag()?);
            let same_request = columns.fingerprint()?.map(|stored| stored.0) == fingerprint;
            Ok(Opened { chat, created, same_request })
        });
        opened.await?.ok_or_else(|| StoreErrorKind::Other.into())
    }

    async fn chat_views(&self, user: UserId, chats: &[ChatId], preview: usize) -> StoreResult<Vec<ChatView>> {
        let call = Call::statement(Arc::clone(&self.sql().chats.views))
            .id("@P1", user)
            .number("@P2", cut_at(preview).into());
        self.listed(call, &distinct(chats), |columns| columns.chat_view()).await
    }

    async fn list_chats(
        &self,
        user: UserId,
        after: Option<Activity>,
        limit: usize,
        preview: usize,
    ) -> StoreResult<Vec<ChatView>> {
        let after = after.unwrap_or(Activity { at: i64::MAX, chat: ChatId::from_bytes([0xff; 16]) });
        let call = Call::statement(Arc::clone(&self.sql().chats.page))
            .id("@P1", user)
            .number("@P2", after.at)
            .id("@P3", after.chat)
            .number("@P4", rows(limit))
            .number("@P5", cut_at(preview).into());
        self.all(call, |columns| columns.chat_view()).await
    }

    async fn membership(&self, chat: ChatId, user: UserId) -> StoreResult<Membership> {
        let call = Call::statement(Arc::clone(&self.sql().chats.membership)).id("@P1", chat).id("@P2", user);
        let found =
            self.one(call, |columns| Ok(Membership { chat: columns.chat()?, member: columns.member()? }));
        found.await?.ok_or_else(|| StoreErrorKind::NotMember.into())
    }

    async fn roster(&self, chat: ChatId) -> StoreResult<Roster> {
        let call = Call::statement(Arc::clone(&self.sql().chats.roster)).id("@P1", chat);
        let rows = self.all(call, |columns| {
            let chat = columns.chat()?;
            let member = if columns.flag()? { Some(columns.member()?) } else { None };
            Ok((chat, member))
        });
        let (mut chats, members): (Vec<ChatRecord>, Vec<Option<MemberRecord>>) =
            rows.await?.into_iter().unzip();
        let chat = chats.pop().ok_or(StoreErrorKind::NotFound)?;
        Ok(Roster { chat, members: members.into_iter().flatten().collect() })
    }

    async fn change_roster(&self, change: RosterChange) -> StoreResult<RosterChanged> {
        let (Some(first), Some(last)) = (change.messages.first(), change.messages.last()) else {
            return Err(StoreErrorKind::Other.into());
        };
        let added = change.add.iter().map(|user| (*user, ADDED, Role::Member));
        let removed = change.remove.iter().map(|user| (*user, REMOVED, Role::Member));
        let given = change.roles.iter().map(|(user, role)| (*user, GIVEN_A_ROLE, *role));
        let changed: Vec<_> = added.chain(removed).chain(given).collect();
        let touched: Vec<_> = changed.iter().map(|(user, ..)| *user).collect();
        fits(changed.len().max(change.messages.len()))?;
        let (mut notes, mut bytes) = (vec![], Bytes::default());
        for message in &change.messages {
            notes.extend_from_slice(message.id.as_bytes());
            notes.extend_from_slice(message.sender.as_bytes());
            notes.extend_from_slice(&message.at.as_micros().to_be_bytes());
            notes.extend_from_slice(&int(bytes.push(&message.note.0)));
            notes.extend_from_slice(&int(message.note.0.len()));
        }
        let call = Call::procedure(Arc::clone(&self.sql().chats.change_roster))
            .id("@chat", change.chat)
            .number("@expected", integer(change.expected))
            .time("@at", first.at)
            .optional_text("@title", change.title.as_ref().map(Content::to_text).transpose()?)
            .bytes("@people", people(changed))
            .bytes("@added", list(&distinct(&change.add)))
            .bytes("@touched", list(&distinct(&touched)))
            .bytes("@notes", notes)
            .bytes("@bytes", bytes.into_bytes())
            .time("@noted_at", last.at);
        let chat = self.one(call, |columns| columns.chat()).await?.ok_or(StoreErrorKind::Other)?;
        // The messages have the last numbers that the chat assigned.
        let mut numbered = ChatRecord { ..chat.clone() };
        let before = |number: u64| number.saturating_sub(change.messages.len() as u64);
        numbered.revision = Revision::new(before(chat.revision.get()));
        numbered.last_seq = messenger_core::Seq::new(before(chat.last_seq.get()));
        let messages =
            change.messages.into_iter().map(|message| system_message(&mut numbered, message)).collect();
        Ok(RosterChanged { chat, messages })
    }

    async fn set_mute(&self, chat: ChatId, user: UserId, until: Option<Timestamp>) -> StoreResult<()> {
        let sql = &self.sql().chats;
        let call = Call::statement(Arc::clone(if until.is_some() { &sql.mute } else { &sql.unmute }));
        let call = call.id("@P1", chat).id("@P2", user);
        let call = match until {
            Some(until) => call.time("@P3", until),
            None => call,
        };
        let muted = self.one(call, |columns| columns.id::<()>()).await?;
        muted.map(drop).ok_or_else(|| StoreErrorKind::NotMember.into())
    }

    async fn set_notify_level(&self, chat: ChatId, user: UserId, level: NotifyLevel) -> StoreResult<()> {
        let (sql, level) = (&self.sql().chats, stored_level(level));
        let call =
            Call::statement(Arc::clone(if level.is_some() { &sql.set_level } else { &sql.clear_level }));
        let call = call.id("@P1", chat).id("@P2", user);
        let call = match level {
            Some(level) => call.number("@P3", level.into()),
            None => call,
        };
        let set = self.one(call, |columns| columns.id::<()>()).await?;
        set.map(drop).ok_or_else(|| StoreErrorKind::NotMember.into())
    }

    async fn memberships(&self, user: UserId, left_after: Option<u64>) -> StoreResult<Memberships> {
        let call = Call::statement(Arc::clone(&self.sql().chats.memberships))
            .id("@P1", user)
            .number("@P2", memberships::left_after(left_after));
        Ok(memberships::memberships(self.all(call, Listed::read).await?))
    }

    async fn membership_counts(&self, users: &[UserId]) -> StoreResult<Vec<(UserId, u64)>> {
        let call = Call::statement(Arc::clone(&self.sql().chats.membership_counts));
        self.listed(call, &distinct(users), |columns| Ok((columns.id()?, columns.number()?))).await
    }

    async fn revisions(&self, chats: &[ChatId]) -> StoreResult<Vec<(ChatId, Revision)>> {
        let call = Call::statement(Arc::clone(&self.sql().chats.revisions));
        self.listed(call, &distinct(chats), |columns| Ok((columns.id()?, columns.revision()?))).await
    }

    async fn changed_since(&self, since: Timestamp, limit: usize) -> StoreResult<Vec<ChangedChat>> {
        let call = Call::statement(Arc::clone(&self.sql().chats.changed_since));
        let call = call.id("@P1", MessageId::least_at(since)).time("@P2", since).number("@P3", rows(limit));
        self.all(call, |columns| columns.changed_chat()).await
    }

    async fn chats_ever_joined(&self, user: UserId) -> StoreResult<Vec<ChatId>> {
        let call = Call::statement(Arc::clone(&self.sql().chats.ever_joined)).id("@P1", user);
        self.all(call, |columns| columns.id()).await
    }
}

const ADDED: u8 = 0;
const REMOVED: u8 = 1;
const GIVEN_A_ROLE: u8 = 2;

/// People whose membership changes, as `messenger_unpack_people` takes them.
fn people(people: impl IntoIterator<Item = (UserId, u8, Role)>) -> Vec<u8> {
    let mut list = vec![];
    for (user, change, given) in people {
        list.extend_from_slice(user.as_bytes());
        list.extend_from_slice(&[change, u8::try_from(role(given)).unwrap_or(u8::MAX)]);
    }
    list
}
