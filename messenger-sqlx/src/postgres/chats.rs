use async_trait::async_trait;
use messenger_core::{
    ChatId, ChatKind, ClientId, MessageId, NotifyLevel, Revision, Role, Timestamp, UserId,
    ports::{
        Activity, ChangedChat, ChatRecord, ChatStore, ChatView, Content, DirectChat, Fingerprint,
        MemberRecord, Membership, Memberships, NewGroup, Opened, Roster, RosterChange, RosterChanged,
        StoreErrorKind, StoreResult,
    },
};
use messenger_sql::{
    columns::{chat_kind, cut_at, role, rows},
    memberships::{self, Listed},
    records::new_chat,
    unread::stored_level,
};

use super::{
    connections::{Mode, Session},
    messages,
    sql::{Bind as _, distinct, uuids},
    store::PostgresStore,
    users,
};

#[async_trait]
impl ChatStore for PostgresStore {
    async fn open_direct(&self, chat: DirectChat) -> StoreResult<Opened> {
        self.run(Mode::Transaction, move |session| {
            Box::pin(async move {
                // Concurrent attempts to open the chat are serialised by these locks.
                users::lock_live(session, &chat.users).await?;
                let [low, high] = pair(&chat);
                let by_pair = session.query(&session.statements.chats.by_pair).id(low).id(high);
                if let Some(chat) = session.one(by_pair, |columns| columns.id()).await? {
                    return Ok(Opened::existing(chat, None, None));
                }
                insert_direct(session, &chat).await?;
                Ok(Opened::new(chat.id))
            })
        })
        .await
    }

    async fn create_group(&self, group: NewGroup) -> StoreResult<Opened> {
        self.run(Mode::Transaction, move |session| {
            Box::pin(async move {
                let (creator, name) = (group.creator, group.client_id.clone());
                if let Some(found) = named(session, creator, name.as_ref()).await? {
                    return Ok(found);
                }
                let mut users = vec![creator];
                users.extend(&group.members);
                users::lock_live(session, &users).await?;
                // Created in the meantime by a repetition of the request, which had the lock before.
                if let Some(found) = named(session, creator, name.as_ref()).await? {
                    return Ok(found);
                }
                insert_group(session, group, &users).await
            })
        })
        .await
    }

    async fn chat_views(&self, user: UserId, chats: &[ChatId], preview: usize) -> StoreResult<Vec<ChatView>> {
        let query = self.query(&self.sql().chats.views).id(user).bind(distinct(chats)).bind(cut_at(preview));
        self.all(query, |columns| columns.chat_view()).await
    }

    async fn list_chats(
        &self,
        user: UserId,
        after: Option<Activity>,
        limit: usize,
        preview: usize,
    ) -> StoreResult<Vec<ChatView>> {
        let after = after.unwrap_or(Activity { at: i64::MAX, chat: ChatId::from_bytes([0xff; 16]) });
        let query = self.query(&self.sql().chats.page).id(user).bind(after.at).id(after.chat);
        self.all(query.bind(rows(limit)).bind(cut_at(preview)), |columns| columns.chat_view()).await
    }

    async fn membership(&self, chat: ChatId, user: UserId) -> StoreResult<Membership> {
        let query = self.query(&self.sql().chats.membership).id(chat).id(user);
        let found =
            self.one(query, |columns| Ok(Membership { chat: columns.chat()?, member: columns.member()? }));
        found.await?.ok_or_else(|| StoreErrorKind::NotMember.into())
    }

    async fn roster(&self, chat: ChatId) -> StoreResult<Roster> {
        let query = self.query(&self.sql().chats.roster).id(chat);
        let rows = self.all(query, |columns| {
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
        self.run(Mode::Transaction, move |session| Box::pin(apply(session, change))).await
    }

    async fn set_mute(&self, chat: ChatId, user: UserId, until: Option<Timestamp>) -> StoreResult<()> {
        let query = self.query(&self.sql().chats.mute).id(chat).id(user).optional_time(until);
        let muted = self.run(Mode::Statement, |session| Box::pin(session.execute(query))).await?;
        if muted == 0 { Err(StoreErrorKind::NotMember.into()) } else { Ok(()) }
    }

    async fn set_notify_level(&self, chat: ChatId, user: UserId, level: NotifyLevel) -> StoreResult<()> {
        let query = self.query(&self.sql().chats.set_level).id(chat).id(user).bind(stored_level(level));
        let set = self.run(Mode::Statement, |session| Box::pin(session.execute(query))).await?;
        if set == 0 { Err(StoreErrorKind::NotMember.into()) } else { Ok(()) }
    }

    async fn memberships(&self, user: UserId, left_after: Option<u64>) -> StoreResult<Memberships> {
        let query = self.query(&self.sql().chats.memberships);
        let query = query.id(user).bind(memberships::left_after(left_after));
        Ok(memberships::memberships(self.all(query, Listed::read).await?))
    }

    async fn membership_counts(&self, users: &[UserId]) -> StoreResult<Vec<(UserId, u64)>> {
        let query = self.query(&self.sql().chats.membership_counts).ids(users);
        self.all(query, |columns| Ok((columns.id()?, columns.number()?))).await
    }

    async fn revisions(&self, chats: &[ChatId]) -> StoreResult<Vec<(ChatId, Revision)>> {
        let query = self.query(&self.sql().chats.revisions).bind(distinct(chats));
        self.all(query, |columns| Ok((columns.id()?, columns.revision()?))).await
    }

    async fn changed_since(&self, since: Timestamp, limit: usize) -> StoreResult<Vec<ChangedChat>> {
        let query = self.query(&self.sql().chats.changed_since);
        let query = query.id(MessageId::least_at(since)).time(since).bind(rows(limit));
        self.all_planned(query, |columns| columns.changed_chat()).await
    }

    async fn chats_ever_joined(&self, user: UserId) -> StoreResult<Vec<ChatId>> {
        let query = self.query(&self.sql().chats.ever_joined).id(user);
        self.all(query, |columns| columns.id()).await
    }
}

/// The lower id, then the higher.
fn pair(chat: &DirectChat) -> [UserId; 2] {
    let mut pair = chat.users;
    pair.sort_unstable();
    pair
}

/// Finds the group that this person created with this client id.
async fn named(
    session: &mut Session,
    creator: UserId,
    name: Option<&(ClientId, Fingerprint)>,
) -> StoreResult<Option<Opened>> {
    let Some((name, asked)) = name else { return Ok(None) };
    let query =
        session.query(&session.statements.chats.by_client_id).id(creator).bind(name.as_str().to_owned());
    session
        .one(query, |columns| Ok(Opened::existing(columns.id()?, columns.fingerprint()?, Some(*asked))))
        .await
}

async fn insert_direct(session: &mut Session, direct: &DirectChat) -> StoreResult<()> {
    let mut chat = new_chat(direct.id, ChatKind::Direct, None, direct.created_at);
    chat.member_count = 2;
    insert(session, &chat, Origin::Direct(pair(direct))).await?;
    let members = direct.users.map(|user| (user, Role::Member));
    admit(session, &chat, &members, direct.created_at).await
}

async fn insert_group(session: &mut Session, group: NewGroup, users: &[UserId]) -> StoreResult<Opened> {
    let mut chat = new_chat(group.id, ChatKind::Group, Some(group.title), group.created_at);
    insert(session, &chat, Origin::Group(group.creator, group.client_id.as_ref())).await?;
    let role_of = |user| if user == group.creator { Role::Owner } else { Role::Member };
    let members: Vec<_> = users.iter().map(|user| (*user, role_of(*user))).collect();
    admit(session, &chat, &members, group.created_at).await?;
    chat.member_count = u32::try_from(members.len()).unwrap_or(u32::MAX);
    let at = group.message.at;
    messages::append_system(session, &mut chat, group.message).await?;
    update(session, &chat, Some(at)).await?;
    Ok(Opened::new(chat.id))
}

/// How an existing chat is found when it is to be created a second time.
enum Origin<'o> {
    Direct([UserId; 2]),
    Group(UserId, Option<&'o (ClientId, Fingerprint)>),
}

async fn insert(session: &mut Session, chat: &ChatRecord, origin: Origin<'_>) -> StoreResult<()> {
    let (pair, creator, name) = match origin {
        Origin::Direct([low, high]) => ((Some(low), Some(high)), None, None),
        Origin::Group(creator, name) => ((None, None), Some(creator), name),
    };
    let insert = session
        .query(&session.statements.chats.insert)
        .id(chat.id)
        .bind(smallint(chat_kind(chat.kind)))
        .bind(chat.title.clone().map(Content::into_text).transpose()?)
        .time(chat.created_at)
        .bind(count(chat))
        .number(chat.roster_version)
        .optional_id(pair.0)
        .optional_id(pair.1)
        .optional_id(creator)
        .bind(name.map(|(name, _)| name.as_str().to_owned()))
        .bind(name.map(|(_, fingerprint)| fingerprint.0.to_vec()));
    session.execute(insert).await.map(drop)
}

/// Makes people, whose accounts are locked, members of the chat in its state before the change.
async fn admit(
    session: &mut Session,
    chat: &ChatRecord,
    members: &[(UserId, Role)],
    joined_at: Timestamp,
) -> StoreResult<()> {
    if members.is_empty() {
        return Ok(());
    }
    let (users, roles) = columns_of(members);
    let admit = session
        .query(&session.statements.chats.admit)
        .id(chat.id)
        .time(joined_at)
        .number(chat.last_seq.get())
        .number(chat.texts)
        .ids(&users)
        .bind(roles);
    session.execute(admit).await?;
    users::count_memberships(session, &users).await
}

async fn apply(session: &mut Session, change: RosterChange) -> StoreResult<RosterChanged> {
    let mut chat = messages::lock_chat(session, change.chat).await?;
    if chat.roster_version != change.expected {
        return Err(StoreErrorKind::Conflict.into());
    }
    users::lock_live(session, &change.add).await?;
    lock_members(session, &change).await?;
    let at = change.messages.first().map_or(chat.created_at, |message| message.at);
    let added: Vec<_> = change.add.iter().map(|user| (*user, Role::Member)).collect();
    admit(session, &chat, &added, at).await?;
    let removed = remove(session, chat.id, &change.remove, at).await?;
    give_roles(session, chat.id, &change.roles).await?;

    let count = u64::from(chat.member_count) + added.len() as u64 - removed;
    chat.member_count = u32::try_from(count).unwrap_or(u32::MAX);
    chat.roster_version += 1;
    chat.title = change.title.or(chat.title);
    let mut messages = Vec::with_capacity(change.messages.len());
    for message in change.messages {
        messages.push(messages::append_system(session, &mut chat, message).await?);
    }
    update(session, &chat, messages.last().map(|message| message.created_at)).await?;
    Ok(RosterChanged { chat, messages })
}

/// Locks the members first, so that marks are not moved in a different lock order.
async fn lock_members(session: &mut Session, change: &RosterChange) -> StoreResult<()> {
    let given = change.roles.iter().map(|(user, _)| user);
    let users = uuids(change.add.iter().chain(&change.remove).chain(given));
    if users.len() < 2 {
        return Ok(());
    }
    let lock = session.query(&session.statements.chats.lock_members).id(change.chat).bind(users);
    session.execute(lock).await.map(drop)
}

async fn remove(session: &mut Session, chat: ChatId, users: &[UserId], at: Timestamp) -> StoreResult<u64> {
    if users.is_empty() {
        return Ok(0);
    }
    let remove = session.query(&session.statements.chats.remove).id(chat).time(at).ids(users);
    session.execute(remove).await
}

async fn give_roles(session: &mut Session, chat: ChatId, roles: &[(UserId, Role)]) -> StoreResult<()> {
    if roles.is_empty() {
        return Ok(());
    }
    let (users, roles) = columns_of(roles);
    let give = session.query(&session.statements.chats.give_roles).id(chat).ids(&users).bind(roles);
    session.execute(give).await.map(drop)
}

/// Stores everything that changes in the chat.
pub(super) async fn update(
    session: &mut Session,
    chat: &ChatRecord,
    last_message_at: Option<Timestamp>,
) -> StoreResult<()> {
    let update = session
        .query(&session.statements.chats.update)
        .id(chat.id)
        .bind(chat.title.clone().map(Content::into_text).transpose()?)
        .number(chat.revision.get())
        .number(chat.last_seq.get())
        .number(chat.texts)
        .bind(count(chat))
        .number(chat.roster_version)
        .optional_time(last_message_at);
    session.execute(update).await.map(drop)
}

fn columns_of(members: &[(UserId, Role)]) -> (Vec<UserId>, Vec<i16>) {
    members.iter().map(|(user, given)| (*user, smallint(role(*given)))).unzip()
}

fn smallint(number: i64) -> i16 {
    i16::try_from(number).unwrap_or(i16::MAX)
}

fn count(chat: &ChatRecord) -> i32 {
    i32::try_from(chat.member_count).unwrap_or(i32::MAX)
}
